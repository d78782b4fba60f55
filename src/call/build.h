/* build.h: the sources of a Library -> plans and kernels. */
#ifndef TINYWEAVE_BUILD_H
#define TINYWEAVE_BUILD_H

#include "library.h"
#include "options.h"
#include "source.h"

/* What is only needed while a unit is made. */
struct build {
    struct state *state;
    const struct library *library;
    struct options options;
    struct program program;
    struct unit unit;
    struct buffer headers;
    struct strings functions;
    struct strings system_dirs;  /* where functions of headers are looked for */
    struct source_label *labels; /* of each text */
};

/* What a build starts from. */
#define BUILD_OF(library_)                                                                         \
    {.state = PyModule_GetState((library_)->module), .library = (library_), .headers = BUFFER_INIT}

/* Reads the sources and plans their functions. Returns 0, or -1 with an exception; build_free and plans_free are
 * owed either way. */
int build_start(struct build *build, struct plans *plans);
void build_free(struct build *build);

/* The same once more: the functions must still be those of the Library, else it is a RuntimeError. */
int build_again(struct build *build, struct plans *plans);

/* The kernel for what the type variables stand for, from the caches or the compiler; a new reference. NULL with an
 * exception. */
struct kernel *build_kernel(struct build *build, const struct plans *plans,
                            const struct binding *binding);

/* Finds the libraries named: build->unit.libraries. Returns 0, or -1 with an OSError. */
int build_libraries(struct build *build);

/* Appends the contents of the user's headers. */
void build_headers(const struct build *build, struct buffer *headers);

/* "fdFD", checked. Returns a malloc'ed copy, or NULL with a ValueError. */
char *build_read_letters(const char *letters, int variable, const char *maker);

/* Fills in the lists of dtypes that the user did not give, and refuses what libtcc takes wrongly where these are complex. Returns 0, or -1 with an exception. */
int build_letters(struct library *library, const struct build *build);

/* Raises a CompileError at the spot; without a message, MemoryError. `file` is "" for a source given. */
void build_raise(const struct build *build, const struct spot *spot, const char *file);

#endif
