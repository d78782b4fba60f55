/* threads.h: a pool of threads for array expressions.
 *
 * Nothing is started before the first job. After a fork the child has no pool until it needs one. Any thread may
 * hand in jobs; when the pool is at work for another, the caller does its job alone.
 */
#ifndef TINYWEAVE_THREADS_H
#define TINYWEAVE_THREADS_H

#include <stddef.h>

enum { THREADS_MOST = 256 };

/* How many threads a job runs on, the caller's own included. Initially TINYWEAVE_NUM_THREADS, else the number of
 * processors this process may run on. */
int threads_count(void);

/* 1 to THREADS_MOST. Returns the number before. */
int threads_set(int count);

/* Takes what TINYWEAVE_NUM_THREADS says; NULL and "" say nothing. Returns 0, or -1 where it is no number from 1 to
 * THREADS_MOST, and is ignored. */
int threads_configure(const char *text);

/* Calls work(context, part) for each part from 0 to parts - 1, each once, on several threads (parts are handed out in
 * order, to whoever is free), and returns when all are done. Called without the GIL; `work` uses no Python and does not
 * fork. A job inside `work` is done serially, by the thread that asks.
 * Floating-point flags are the threads' own: work looks after them. */
void threads_run(void (*work)(void *context, size_t part), void *context, size_t parts);

/* For tests: how many threads of the pool live in this process, and how many jobs went to it. */
size_t threads_alive(void);
size_t threads_jobs(void);

#endif
