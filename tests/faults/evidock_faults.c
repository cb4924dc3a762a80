/* Lets one chosen call to the C library fail, and counts the calls; loaded with LD_PRELOAD into a daemon under test.
 *
 * evidock_fault("fsync 3 5 refused /state")   the third fsync below /state does nothing and reports errno 5
 * evidock_fault("fsync 3 5 done /state")      the third fsync below /state is done, and reports errno 5 all the same
 * evidock_fault("fsync 3 -9 done /state")     after the third fsync below /state the process is killed; `refused`: before
 * evidock_fault("any 70 -9 refused /state")   the seventieth of all these calls
 * evidock_fault("none 0 0 refused /state")    nothing fails; only counted
 *
 * Which one failed is appended to EVIDOCK_FAULT_TOLD, as "fsync 3". The same order in EVIDOCK_FAULT arms a program that is started later, such as the one that deletes on devices; with
 * EVIDOCK_FAULT_COUNTS it appends lines like "fsync 12" to that file when it ends. Each process counts for itself.
 * Calls that go around the C library are not seen; CPython and SQLite make none.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/types.h>
#include <unistd.h>

#define CALLS(X) X(fsync) X(fdatasync) X(syncfs) X(write) X(pwrite) X(rename) X(renameat) X(unlink) X(unlinkat) X(ftruncate) X(fallocate) \
    X(mmap) X(sendfile)
#define AS_ENUM(name) CALL_##name,
#define AS_TEXT(name) #name,
enum call { CALLS(AS_ENUM) CALL_COUNT };
static const char *const call_names[] = { CALLS(AS_TEXT) };

static atomic_int seen[CALL_COUNT], seen_all;
static char chosen[32], below[1024];
static int chosen_number, chosen_errno, is_done, is_any, armed, told = -1;
static FILE *at_end;

void evidock_fault(const char *order)
{
    char how[16];
    memset(seen, 0, sizeof seen);
    seen_all = 0;
    if (sscanf(order, "%31s %d %d %15s %1023s", chosen, &chosen_number, &chosen_errno, how, below) == 5) {
        is_done = strcmp(how, "done") == 0;
        is_any = strcmp(chosen, "any") == 0;
        /* Both opened now: a program may give up, later, to open anything for writing. */
        if (getenv("EVIDOCK_FAULT_TOLD"))
            told = open(getenv("EVIDOCK_FAULT_TOLD"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (getenv("EVIDOCK_FAULT_COUNTS"))
            at_end = fopen(getenv("EVIDOCK_FAULT_COUNTS"), "ae");
        armed = 1;
    }
}

void evidock_end(void)
{
    for (int i = 0; at_end && i < CALL_COUNT; i++)
        fprintf(at_end, "%s %d\n", call_names[i], seen[i]);
    if (at_end)
        fclose(at_end);
    at_end = NULL;
}

__attribute__((constructor)) static void begin(void)
{
    if (getenv("EVIDOCK_FAULT"))
        evidock_fault(getenv("EVIDOCK_FAULT"));
}

__attribute__((destructor)) static void end(void) { evidock_end(); }

/* Is this descriptor, or this name in that folder, below the folder that we were told? */
static int concerns(int fd, const char *name)
{
    char link[48], where[1024];
    if (name && name[0] == '/')
        return strncmp(name, below, strlen(below)) == 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, where, sizeof where - 1);
    if (length <= 0)
        return 0;
    where[length] = 0;
    return strncmp(where, below, strlen(below)) == 0;
}

static int fails(enum call call, int fd, const char *name)
{
    if (!armed)
        return 0;
    int kept = errno, found = concerns(fd, name);
    errno = kept;
    if (!found)
        return 0;
    int number = ++seen[call], number_of_all = ++seen_all;
    if (is_any ? number_of_all != chosen_number : number != chosen_number || strcmp(chosen, call_names[call]) != 0)
        return 0;
    if (told >= 0) {
        armed = 0;
        dprintf(told, "%s %d\n", call_names[call], number);
        armed = 1;
    }
    if (chosen_errno < 0 && !is_done)
        raise(-chosen_errno);
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define AROUND(call, fd, name, act)                       \
    do {                                                  \
        if (!fails(call, fd, name))                       \
            return act;                                   \
        if (is_done)                                      \
            (void)!(act);                                 \
        if (chosen_errno < 0)                             \
            raise(-chosen_errno);                         \
        errno = chosen_errno;                             \
        return -1;                                        \
    } while (0)

int fsync(int fd) { AROUND(CALL_fsync, fd, NULL, NEXT(fsync)(fd)); }
int fdatasync(int fd) { AROUND(CALL_fdatasync, fd, NULL, NEXT(fdatasync)(fd)); }
int syncfs(int fd) { AROUND(CALL_syncfs, fd, NULL, NEXT(syncfs)(fd)); }
ssize_t write(int fd, const void *data, size_t size) { AROUND(CALL_write, fd, NULL, NEXT(write)(fd, data, size)); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { AROUND(CALL_pwrite, fd, NULL, NEXT(pwrite)(fd, data, size, at)); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { AROUND(CALL_pwrite, fd, NULL, NEXT(pwrite64)(fd, data, size, at)); }
int rename(const char *a, const char *b) { AROUND(CALL_rename, -1, b, NEXT(rename)(a, b)); }
int renameat(int fa, const char *a, int fb, const char *b) { AROUND(CALL_renameat, fb, b, NEXT(renameat)(fa, a, fb, b)); }
int unlink(const char *a) { AROUND(CALL_unlink, -1, a, NEXT(unlink)(a)); }
int unlinkat(int fd, const char *a, int flags) { AROUND(CALL_unlinkat, fd, a, NEXT(unlinkat)(fd, a, flags)); }
int ftruncate(int fd, off_t size) { AROUND(CALL_ftruncate, fd, NULL, NEXT(ftruncate)(fd, size)); }
int ftruncate64(int fd, off64_t size) { AROUND(CALL_ftruncate, fd, NULL, NEXT(ftruncate64)(fd, size)); }
int fallocate(int fd, int mode, off_t at, off_t size) { AROUND(CALL_fallocate, fd, NULL, NEXT(fallocate)(fd, mode, at, size)); }
int fallocate64(int fd, int mode, off64_t at, off64_t size) { AROUND(CALL_fallocate, fd, NULL, NEXT(fallocate64)(fd, mode, at, size)); }
ssize_t sendfile(int out, int in, off_t *at, size_t size) { AROUND(CALL_sendfile, in, NULL, NEXT(sendfile)(out, in, at, size)); }
ssize_t sendfile64(int out, int in, off64_t *at, size_t size) { AROUND(CALL_sendfile, in, NULL, NEXT(sendfile64)(out, in, at, size)); }

/* Maps of memory alone are no business of a disk, and are asked for before anything else works. */
void *mmap(void *where, size_t size, int may, int how, int fd, off_t at)
{
    if (fd < 0 || (how & MAP_ANONYMOUS) || !fails(CALL_mmap, fd, NULL))
        return NEXT(mmap)(where, size, may, how, fd, at);
    errno = chosen_errno < 0 ? ENOMEM : chosen_errno;
    return MAP_FAILED;
}
void *mmap64(void *where, size_t size, int may, int how, int fd, off64_t at)
{
    if (fd < 0 || (how & MAP_ANONYMOUS) || !fails(CALL_mmap, fd, NULL))
        return NEXT(mmap64)(where, size, may, how, fd, at);
    errno = chosen_errno < 0 ? ENOMEM : chosen_errno;
    return MAP_FAILED;
}
