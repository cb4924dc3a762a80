/* Another wall clock for a whole tree of processes; loaded with LD_PRELOAD into a daemon under test.
 *
 * EVIDOCK_CLOCK names a file of 16 bytes, two signed numbers of nanoseconds in the machine's order. The first is added
 * to CLOCK_REALTIME, the second to CLOCK_BOOTTIME. Whoever writes other bytes into it sets the clock of everybody, at
 * once, while they run. Where a clock is set, the second stays as it is, as the kernel leaves CLOCK_BOOTTIME; where time
 * passes, both grow alike. CLOCK_MONOTONIC stands still meanwhile, as on a machine that sleeps.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t nothing[2];
static const volatile int64_t *offset = nothing;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("EVIDOCK_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof nothing, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED)
        offset = map;
}

static int64_t now(clockid_t clock)
{
    struct timespec real;
    syscall(SYS_clock_gettime, clock, &real);
    return real.tv_sec * INT64_C(1000000000) + real.tv_nsec + offset[clock == CLOCK_BOOTTIME];
}

int clock_gettime(clockid_t clock, struct timespec *told)
{
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE && clock != CLOCK_BOOTTIME)
        return syscall(SYS_clock_gettime, clock, told);
    int64_t at = now(clock), second = INT64_C(1000000000);
    told->tv_sec = at / second - (at % second < 0);
    told->tv_nsec = at - told->tv_sec * second;
    return 0;
}

int gettimeofday(struct timeval *restrict told, void *restrict zone)
{
    struct timespec at;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &at);
    told->tv_sec = at.tv_sec;
    told->tv_usec = at.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *told)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (told)
        *told = at.tv_sec;
    return at.tv_sec;
}
