/* library.h: shared libraries the user names. */
#ifndef TINYWEAVE_LIBRARY_H
#define TINYWEAVE_LIBRARY_H

#include "../problem.h"
#include "../unit.h"

/* Finds the files of libraries, each "z" or a path, in the user's folders and then in the system's, and
 * appends their paths to `paths`. Returns 0, or -1 with a PROBLEM_SYSTEM that lists the folders searched. */
int library_find_all(const struct strings *names, const struct strings *folders,
                     struct strings *paths, struct problem *problem);

/* Opens libraries for their symbols. `handles` has room for paths->count. Returns 0; or -1, with none
 * left open. */
int library_open_all(const struct strings *paths, void **handles, struct problem *problem);
void library_close_all(void **handles, size_t count);

/* Returns the address of a symbol in the first library that has it, or NULL. */
void *library_symbol(void *const *handles, size_t count, const char *name);

/* Returns the address of what the interpreter and the libraries loaded with it export, or NULL. */
void *library_process_symbol(const char *name);

/* Libc's folders of headers, most specific first. */
int library_header_folders(struct strings *folders);

#endif
