/* A clock that can be set back a year: preloaded by test_faults_board.py.
 *
 * While the file PAST_CLOCK exists, the time of day is a year ago. Monotonic time and all waits stay
 * as they are, as when the system's clock is set. libfaketime changes waits, too: a sleep during
 * which the clock is set fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define YEAR_S (365 * 24 * 3600)

static time_t behind_s(void)
{
    const char *file = getenv("PAST_CLOCK");
    return file && access(file, F_OK) == 0 ? YEAR_S : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, __func__);
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec -= behind_s();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
    int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, __func__);
    int failed = real(now, zone);
    now->tv_sec -= behind_s();
    return failed;
}

time_t time(time_t *now)
{
    time_t (*real)(time_t *) = dlsym(RTLD_NEXT, __func__);
    time_t seconds = real(NULL) - behind_s();
    if (now)
        *now = seconds;
    return seconds;
}
