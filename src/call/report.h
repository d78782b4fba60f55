/* report.h: what went wrong with the user's texts -> an exception. */
#ifndef TINYWEAVE_REPORT_H
#define TINYWEAVE_REPORT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

#include "../frontend/diagnostic.h"
#include "../state.h"

/* Raises CompileError for a spot; an empty message is MemoryError. `file` is the user's own file that the spot
 * stands in, "" for a text. */
void report_spot(const struct state *state, const char *function, const struct spot *spot,
                 const char *file);

/* Finds the place in the sources that a problem of libtcc or of the loader speaks of: true, with spot and file as
 * of diagnostic_locate. Any other problem is raised at once: false. */
bool report_locate(const struct problem *problem, const struct source *sources, size_t count,
                   struct spot *spot, char file[256]);

#endif
