/* threads.c: a pool of threads.
 *
 * What is left of a job stands in one word, the ticket: the job's number, and how many of its parts nobody has taken.
 * Whoever lowers it has a part of just that job, and the job cannot end before that part is done. So the caller waits
 * for parts, never for threads: a worker that comes too late finds nothing, and nobody waited for it.
 *
 * The pool is the process's, not the module's: `pool` and `busy` are the only mutable globals here.
 */
#include "threads.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CACHE_LINE 64

/* Only pages that are touched take memory; the C library's thread-local data lies there too. */
#define STACK_SIZE ((size_t)512 << 10)

/* Nanoseconds that a sleeping worker costs a job: some 10000 to wake it, the rest until it begins. Measured on a
 * virtual machine, whose idle processors are slow to wake. A thread spins no longer than that for what it waits for;
 * in the second half it lets others run. A job done in twice the time is done sooner alone. */
#define WAKE_TIME 60000

/* After the system refused a thread, so many jobs do with those there are. */
#define JOBS_BEFORE_RETRY 1000

typedef void work_function(void *context, size_t part);

/* What a thread has taken. */
struct task {
    work_function *work;
    void *context;
    size_t part;
};

/* Words on one cache line change together. Those that are slept on (futex) have 32 bits. */
static struct {
    alignas(CACHE_LINE) _Atomic uint64_t ticket; /* job << 32 | parts that nobody has taken */
    work_function *_Atomic work;
    void *_Atomic context;
    _Atomic uint32_t parts;

    alignas(CACHE_LINE) _Atomic uint32_t unfinished; /* parts; the caller sleeps on it */
    atomic_bool awaited;                             /* ... and does so now */

    alignas(CACHE_LINE) _Atomic uint32_t bell; /* rung once a job; workers sleep on it */
    _Atomic uint32_t sleepers;
    _Atomic uint32_t crew; /* workers wanted << 16 | workers alive */

    alignas(CACHE_LINE) _Atomic int64_t patience; /* nanoseconds a worker spins for a job */
    atomic_size_t jobs;
    atomic_int count;      /* 0: not decided yet */
    atomic_int processors; /* 0: not counted yet */

    atomic_bool owned; /* a caller has the pool, and what follows for its own */
    size_t retry;      /* the job that may ask for threads again */
    int64_t ended;     /* when the last job did */
    int64_t part_time; /* nanoseconds a part took the last caller; 0: not known */
} pool;

/* This thread is inside a job's work, or a worker: jobs in the job are done serially. */
static _Thread_local bool busy;

static pthread_once_t fork_handlers = PTHREAD_ONCE_INIT;

static uint32_t
parts_left(uint64_t ticket)
{
    return (uint32_t)ticket;
}

static uint32_t
crew_wanted(uint32_t crew)
{
    return crew >> 16;
}

static uint32_t
crew_alive(uint32_t crew)
{
    return crew & 0xffff;
}

/* ---- Waiting ---- */

/* Sleeps until woken; not at all when the word is no longer `value`. May return for no reason. */
static void
futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void
futex_wake(_Atomic uint32_t *word, int threads)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

static int64_t
nanoseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void
relax_processor(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool
spin_shortly(bool (*ready)(void))
{
    for (int i = 0; i < 16; i++) {
        if (ready()) {
            return true;
        }
        relax_processor();
    }
    return false;
}

/* Looks out for ready() for so many nanoseconds. */
static bool
spin(bool (*ready)(void), int64_t most)
{
    int64_t start = nanoseconds();
    for (int64_t spent = 0; spent < most; spent = nanoseconds() - start) {
        if (spin_shortly(ready)) {
            return true;
        }
        if (spent > most / 2) {
            sched_yield();
        }
    }
    return ready();
}

/* ---- Parts ---- */

static bool
have_parts(void)
{
    return parts_left(atomic_load_explicit(&pool.ticket, memory_order_acquire)) != 0;
}

static bool
parts_are_done(void)
{
    return atomic_load_explicit(&pool.unfinished, memory_order_acquire) == 0;
}

/* Takes the next part, if the ticket still is what it was. Then the job goes on at least until the part is done, hence
 * what was read of it is its own. */
static bool
take_part(uint64_t ticket, struct task *task)
{
    task->work = atomic_load_explicit(&pool.work, memory_order_relaxed);
    task->context = atomic_load_explicit(&pool.context, memory_order_relaxed);
    task->part = atomic_load_explicit(&pool.parts, memory_order_relaxed) - parts_left(ticket);
    return atomic_compare_exchange_strong(&pool.ticket, &ticket, ticket - 1);
}

static void
do_part(const struct task *task)
{
    task->work(task->context, task->part);
    if (atomic_fetch_sub(&pool.unfinished, 1) == 1 && atomic_load(&pool.awaited)) {
        futex_wake(&pool.unfinished, 1);
    }
}

/* ---- Workers ---- */

/* True when there are more workers than wanted, and this one is to go. */
static bool
leave_crew(void)
{
    uint32_t crew = atomic_load(&pool.crew);
    while (crew_alive(crew) > crew_wanted(crew)) {
        if (atomic_compare_exchange_weak(&pool.crew, &crew, crew - 1)) {
            return true;
        }
    }
    return false;
}

/* Does parts until none is left. False: the worker is to end. It looks after it has read the ticket, since a job says
 * how many workers are wanted before it makes its ticket. */
static bool
serve_job(void)
{
    for (;;) {
        struct task task;
        uint64_t ticket = atomic_load_explicit(&pool.ticket, memory_order_acquire);
        if (leave_crew()) {
            return false;
        }
        if (parts_left(ticket) == 0) {
            return true;
        }
        if (take_part(ticket, &task)) {
            do_part(&task);
        }
    }
}

static void
sleep_until_called(uint32_t bell)
{
    atomic_fetch_add(&pool.sleepers, 1);
    futex_wait(&pool.bell, bell);
    atomic_fetch_sub(&pool.sleepers, 1);
}

static void *
run_worker(void *unused)
{
    pthread_setname_np(pthread_self(), "tinyweave");
    busy = true;
    for (;;) {
        uint32_t bell = atomic_load(&pool.bell);
        if (!serve_job()) {
            return unused;
        }
        if (!spin(have_parts, atomic_load(&pool.patience))) {
            sleep_until_called(bell);
        }
    }
}

/* Signals go to the threads of the program; but a fault is the thread's own, and its handler must see it. */
static void
worker_signals(sigset_t *blocked)
{
    const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    sigfillset(blocked);
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        sigdelset(blocked, faults[i]);
    }
}

/* Nobody joins a worker: it ends with the process. Returns 0, or pthread_create's error. */
static int
start_thread(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t blocked, before;
    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        return error;
    }
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    worker_signals(&blocked);
    pthread_sigmask(SIG_BLOCK, &blocked, &before); /* the thread is born with it */
    error = pthread_create(&thread, &attributes, run_worker, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

/* ---- What the owner of the pool does ---- */

static void
set_wanted(uint32_t wanted)
{
    uint32_t before = crew_wanted(atomic_load(&pool.crew));
    if (before != wanted) {
        atomic_fetch_add(&pool.crew, (wanted - before) << 16);
    }
}

static void
recruit(uint32_t needed)
{
    size_t job = atomic_load(&pool.jobs);
    while (crew_alive(atomic_load(&pool.crew)) < needed && job >= pool.retry) {
        atomic_fetch_add(&pool.crew, 1);
        if (start_thread() != 0) {
            atomic_fetch_sub(&pool.crew, 1);
            pool.retry = job + JOBS_BEFORE_RETRY;
        }
    }
}

static void
publish_job(work_function *work, void *context, uint32_t parts)
{
    uint64_t job = (atomic_load(&pool.ticket) >> 32) + 1;
    atomic_store_explicit(&pool.work, work, memory_order_relaxed);
    atomic_store_explicit(&pool.context, context, memory_order_relaxed);
    atomic_store_explicit(&pool.parts, parts, memory_order_relaxed);
    atomic_store_explicit(&pool.unfinished, parts, memory_order_relaxed);
    atomic_store_explicit(&pool.ticket, job << 32 | parts, memory_order_release);
    atomic_fetch_add(&pool.jobs, 1);
}

/* Wakes as many as the spinning ones fall short; all, where some are to go. The bell is rung before the sleepers are
 * counted, and a worker counts itself before it looks at the bell: none oversleeps. */
static void
call_workers(uint32_t needed)
{
    atomic_fetch_add(&pool.bell, 1);
    uint32_t crew = atomic_load(&pool.crew);
    int sleepers = (int)atomic_load(&pool.sleepers);
    int awake = (int)crew_alive(crew) - sleepers;
    bool surplus = crew_alive(crew) > crew_wanted(crew);
    if (sleepers > 0 && (surplus || awake < (int)needed)) {
        futex_wake(&pool.bell, surplus ? INT_MAX : (int)needed - awake);
    }
}

/* Whether workers are called for so many parts: where they take long enough, or are not known to be short. */
static bool
worth_waking(uint32_t parts)
{
    return pool.part_time == 0 || pool.part_time > 2 * WAKE_TIME / parts;
}

/* Does a part and returns how long it took; the last may be a small rest, and tells nothing. */
static int64_t
time_part(const struct task *task, uint32_t left)
{
    int64_t start = nanoseconds();
    do_part(task);
    return left == 0 ? INT64_MAX : nanoseconds() - start + 1;
}

/* The caller's share. When the workers were let sleep, and its parts take longer than thought, they are called now.
 * The shortest part counts: it was not interrupted. */
static void
do_parts(uint32_t needed, bool called)
{
    struct task task;
    uint64_t ticket;
    int64_t shortest = INT64_MAX;
    while (parts_left(ticket = atomic_load(&pool.ticket)) != 0) {
        if (!take_part(ticket, &task)) {
            continue;
        }
        uint32_t left = parts_left(ticket) - 1;
        int64_t time = time_part(&task, left);
        if (time < shortest) {
            pool.part_time = shortest = time;
        }
        if (!called && left > 1 && worth_waking(left)) {
            call_workers(needed);
            called = true;
        }
    }
}

/* All parts are taken: others are at work on those that are not done. */
static void
await_parts(void)
{
    if (spin_shortly(parts_are_done) || spin(parts_are_done, 2 * WAKE_TIME)) {
        return;
    }
    uint32_t unfinished;
    atomic_store(&pool.awaited, true);
    while ((unfinished = atomic_load(&pool.unfinished)) != 0) {
        futex_wait(&pool.unfinished, unfinished);
    }
    atomic_store(&pool.awaited, false);
}

/* How long workers spin for the next job: in full when this one came soon enough for it after the last, else half as
 * long as before; not at all when threads share processors. */
static int64_t
next_patience(uint32_t workers)
{
    if ((int)workers >= atomic_load(&pool.processors)) {
        return 0;
    }
    bool soon = nanoseconds() - pool.ended < WAKE_TIME;
    return soon ? WAKE_TIME : atomic_load(&pool.patience) / 2;
}

/* A single short job lets sleeping workers sleep; in a row of them they are called, to spin for the next. */
static void
run_together(work_function *work, void *context, uint32_t parts, uint32_t workers)
{
    uint32_t needed = parts - 1 < workers ? parts - 1 : workers;
    int64_t patience = next_patience(workers);
    bool called = patience == WAKE_TIME || worth_waking(parts);
    set_wanted(workers);
    atomic_store(&pool.patience, patience);
    publish_job(work, context, parts);
    if (called) {
        call_workers(needed);
    }
    recruit(needed);
    busy = true;
    do_parts(needed, called);
    busy = false;
    await_parts();
    pool.ended = nanoseconds();
}

static void
run_alone(work_function *work, void *context, size_t parts)
{
    bool before = busy;
    busy = true;
    for (size_t part = 0; part < parts; part++) {
        work(context, part);
    }
    busy = before;
}

/* ---- fork ---- */

/* The child has the one thread that forked; what others did with the pool ended at the fork. */
static void
forget_pool(void)
{
    atomic_store(&pool.ticket, 0);
    atomic_store(&pool.unfinished, 0);
    atomic_store(&pool.awaited, false);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.crew, 0);
    atomic_store(&pool.owned, false);
    pool.retry = 0;
    pool.ended = 0;
}

static void
install_fork_handlers(void)
{
    pthread_atfork(NULL, NULL, forget_pool);
}

static bool
own_pool(void)
{
    pthread_once(&fork_handlers, install_fork_handlers);
    return !atomic_load_explicit(&pool.owned, memory_order_relaxed) &&
           !atomic_exchange(&pool.owned, true);
}

void
threads_run(void (*work)(void *context, size_t part), void *context, size_t parts)
{
    int count = parts > 1 && parts <= UINT32_MAX && !busy ? threads_count() : 1;
    if (count == 1 || !own_pool()) {
        run_alone(work, context, parts);
        return;
    }
    run_together(work, context, (uint32_t)parts, (uint32_t)count - 1);
    atomic_store(&pool.owned, false);
}

/* ---- How many ---- */

/* Reads a file of /sys into `text`. */
static bool
read_file(const char *path, char *text, int size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool found = fgets(text, size, file) != NULL;
    fclose(file);
    return found;
}

/* The CPU time a container may use, in processors, rounded up; INT_MAX without a limit. */
static int
quota_processors(void)
{
    char text[64], period_text[64];
    long long quota = -1, period = 0;
    if (read_file("/sys/fs/cgroup/cpu.max", text, sizeof(text))) { /* "150000 100000", "max ..." */
        sscanf(text, "%lld %lld", &quota, &period);
    }
    else if (read_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", text, sizeof(text)) &&
             read_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period_text, sizeof(period_text))) {
        quota = atoll(text); /* -1: none */
        period = atoll(period_text);
    }
    if (quota <= 0 || period <= 0 || quota / period >= THREADS_MOST) {
        return INT_MAX;
    }
    return (int)((quota + period - 1) / period);
}

static int
affinity_processors(void)
{
    cpu_set_t processors;
    if (sched_getaffinity(0, sizeof(processors), &processors) == 0) {
        return CPU_COUNT(&processors);
    }
    return (int)sysconf(_SC_NPROCESSORS_ONLN); /* more than cpu_set_t holds */
}

static int
count_processors(void)
{
    int processors = atomic_load_explicit(&pool.processors, memory_order_relaxed);
    if (processors == 0) {
        int affinity = affinity_processors(), quota = quota_processors();
        processors = affinity < quota ? affinity : quota;
        processors = processors < 1 ? 1 : processors;
        atomic_store(&pool.processors, processors);
    }
    return processors;
}

int
threads_count(void)
{
    int processors = count_processors();
    int count = atomic_load_explicit(&pool.count, memory_order_relaxed);
    if (count != 0) {
        return count;
    }
    return processors < THREADS_MOST ? processors : THREADS_MOST;
}

int
threads_set(int count)
{
    int initial = threads_count();
    int before = atomic_exchange(&pool.count, count);
    return before != 0 ? before : initial;
}

int
threads_configure(const char *text)
{
    char *end;
    if (text == NULL || *text == '\0') {
        return 0;
    }
    errno = 0;
    long count = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || errno != 0 || *end != '\0' || count < 1 ||
        count > THREADS_MOST) {
        return -1;
    }
    atomic_store(&pool.count, (int)count);
    return 0;
}

size_t
threads_alive(void)
{
    return crew_alive(atomic_load(&pool.crew));
}

size_t
threads_jobs(void)
{
    return atomic_load(&pool.jobs);
}
