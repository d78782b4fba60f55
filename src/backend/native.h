/* native.h: the machine's own C compiler. */
#ifndef TINYWEAVE_NATIVE_H
#define TINYWEAVE_NATIVE_H

#include "../buffer.h"
#include "../problem.h"
#include "../unit.h"

struct native {
    struct strings command;     /* the compiler, a path, and the arguments it always gets */
    struct strings environment; /* what it runs in: this process's, its messages in English */
};

/* Finds a compiler: `named` ("gcc-13", "gcc -m64"), which may be NULL; the environment's TINYWEAVE_CC, then
 * CC; cc, gcc and clang on PATH; then the words of `last`, which may be none. The first that is given must
 * be there. Reads the environment, so the GIL is held. Returns 0; or -1 with a PROBLEM_SYSTEM that lists
 * what was looked for. native_free is owed either way. */
int native_find(const char *named, const struct strings *last, struct native *native,
                struct problem *problem);
void native_free(struct native *native);

/* Runs the compiler with `arguments` behind its own, without a shell, and appends all that it prints to
 * `messages`. Needs no GIL. Returns 0; or -1 with PROBLEM_COMPILE where it said no (the text is the
 * beginning of its messages) or PROBLEM_SYSTEM where it could not run. */
int native_run(const struct native *native, const struct strings *arguments,
               struct buffer *messages, struct problem *problem);

/* What a shared library is made of. All but `sources` and `output` may be empty. */
struct native_library {
    const char *output;
    struct strings sources;
    struct strings compile_arguments; /* -I, -D, -O3 ..., in front of the sources */
    struct strings link_arguments;    /* -L, -l ..., behind them */
};

/* Makes a shared library of C sources, at -O2 unless an argument says otherwise. It is written beside
 * `output` and takes its place at once when it is whole; on failure what was there stays. Needs no GIL.
 * Returns as native_run does. */
int native_build(const struct native *native, const struct native_library *library,
                 struct buffer *messages, struct problem *problem);

/* The first error among a compiler's messages, "x.c:3:5: error: text", taken apart. */
struct native_error {
    const char *file; /* into the messages; its length; 0: no place was told */
    size_t file_length;
    int line;   /* 0: none */
    int column; /* in bytes, from 1; 0: none */
    const char *text;
    size_t text_length;
};

/* Returns 0; or -1 where there is no such line (an error of the linker's, say). */
int native_first_error(const char *messages, struct native_error *error);

#endif
