/* interface.h: functions -> what a header says of them: types and prototypes. */
#ifndef TINYWEAVE_INTERFACE_H
#define TINYWEAVE_INTERFACE_H

#include "../arena.h"
#include "../buffer.h"
#include "../unit.h"
#include "function.h"

/* A function under one of its names. */
struct instance {
    const struct translation *unit;
    const struct declaration *declaration;
    const char *name; /* "add_float64" */
    unsigned variables;
    const struct binding *binding;
};

/* Appends #include lines; and the types that the functions' prototypes speak of, then the prototypes, each with
 * the comment of its definition, in the order given. Functions of one declaration stand together. Returns 0; or
 * -1 with the spot of a type that holds a type variable, and so is none in a header (an empty message: no
 * memory). */
int interface_write(const struct program *program, const struct instance *instances, size_t count,
                    struct buffer *includes, struct buffer *declarations, struct spot *spot);

#endif
