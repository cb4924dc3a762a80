/* Lets one chosen call to the C library fail, and counts the calls; loaded with LD_PRELOAD into a daemon under test.
 *
 * evidock_fault("fsync 3 5 refused /state")   the third fsync below /state does nothing and reports errno 5
 * evidock_fault("fsync 3 5 done /state")      the third fsync below /state is done, and reports errno 5 all the same
 * evidock_fault("none 0 0 refused /state")    nothing fails; only counted
 *
 * The same order in EVIDOCK_FAULT arms a program that is started later, such as the one that deletes on devices; with
 * EVIDOCK_FAULT_COUNTS it appends lines like "fsync 12" to that file when it ends. Each process counts for itself.
 * Calls that go around the C library are not seen; CPython and SQLite make none.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define CALLS(X) X(fsync) X(fdatasync) X(write) X(pwrite) X(rename) X(renameat) X(unlink) X(unlinkat) X(ftruncate) X(fallocate)
#define AS_ENUM(name) CALL_##name,
#define AS_TEXT(name) #name,
enum call { CALLS(AS_ENUM) CALL_COUNT };
static const char *const call_names[] = { CALLS(AS_TEXT) };

static atomic_int seen[CALL_COUNT];
static char chosen[32], below[1024];
static int chosen_number, chosen_errno, is_done, armed;

void evidock_fault(const char *order)
{
    char how[16];
    if (sscanf(order, "%31s %d %d %15s %1023s", chosen, &chosen_number, &chosen_errno, how, below) == 5) {
        is_done = strcmp(how, "done") == 0;
        armed = 1;
    }
}

static FILE *at_end; /* opened at the beginning: a program may give up, later, to open anything for writing */

static void tell(FILE *out)
{
    for (int i = 0; out && i < CALL_COUNT; i++)
        fprintf(out, "%s %d\n", call_names[i], seen[i]);
    if (out)
        fclose(out);
}

void evidock_counts(const char *path) { tell(fopen(path, "a")); }

__attribute__((constructor)) static void begin(void)
{
    if (getenv("EVIDOCK_FAULT"))
        evidock_fault(getenv("EVIDOCK_FAULT"));
    if (armed && getenv("EVIDOCK_FAULT_COUNTS"))
        at_end = fopen(getenv("EVIDOCK_FAULT_COUNTS"), "ae");
}

__attribute__((destructor)) static void end(void)
{
    tell(at_end);
}

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
    return ++seen[call] == chosen_number && strcmp(chosen, call_names[call]) == 0;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define AROUND(call, fd, name, act)                       \
    do {                                                  \
        if (!fails(call, fd, name))                       \
            return act;                                   \
        if (is_done)                                      \
            (void)!(act);                                 \
        errno = chosen_errno;                             \
        return -1;                                        \
    } while (0)

int fsync(int fd) { AROUND(CALL_fsync, fd, NULL, NEXT(fsync)(fd)); }
int fdatasync(int fd) { AROUND(CALL_fdatasync, fd, NULL, NEXT(fdatasync)(fd)); }
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
