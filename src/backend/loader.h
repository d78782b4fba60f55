/* loader.h: our small linker. ELF relocatable objects, as libtcc and gcc -c -fPIC make them, become
 * code in memory. The bytes may come from anywhere: whatever they hold, they are loaded, or refused
 * by name with PROBLEM_OBJECT, never trusted.
 */
#ifndef TINYWEAVE_LOADER_H
#define TINYWEAVE_LOADER_H

#include <stdbool.h>
#include <stddef.h>

#include "code.h"
#include "../problem.h"

struct object {
    const unsigned char *bytes; /* borrowed; need not be aligned */
    size_t size;
};

struct image;

/* Finds what the objects do not define themselves. Returns the address, or NULL: unknown. */
typedef const void *symbol_resolver(void *context, const char *name);

/* Links `count` objects (as one: they may refer to each other) into fresh memory of the heap. A
 * global of several objects is the one that is defined; a common one comes before a weak one, and two
 * definitions are refused. Visibility plays no part. Undefined symbols that code or data of the
 * objects uses go to `resolve`, once each; a weak one may stay 0, the others are listed in one
 * PROBLEM_SYMBOL. Returns an image the caller frees, or NULL. The bytes must not change meanwhile, and
 * may go away afterwards. */
struct image *image_load(struct code_heap *heap, const struct object *objects, size_t count,
                         symbol_resolver *resolve, void *context, struct problem *problem);

/* Returns the address of a global or weak symbol the image defines, or NULL. */
void *image_symbol(const struct image *image, const char *name);

/* The same for a function; NULL where the name is a variable's. */
void *image_function(const struct image *image, const char *name);

/* Calls `visit` for each global or weak function and variable the image defines, in the order of
 * their names. */
void image_symbols(const struct image *image,
                   void (*visit)(void *context, const char *name, void *address, size_t size,
                                 bool function),
                   void *context);

/* Frees the code. Nothing of it may run any more. */
void image_free(struct image *image);

/* The members of an `ar` archive of objects, e.g. libtcc1.a: calls `visit` for each until it returns
 * nonzero, and returns that, or 0 at the end, or -1 with a problem for what is no archive. */
int archive_visit(const unsigned char *bytes, size_t size,
                  int (*visit)(void *context, const char *name, struct object member),
                  void *context, struct problem *problem);

#endif
