/* function.h: C functions -> what a call from Python needs to know of each (a plan; program.c), and a unit
 * (tw.compile).
 */
#ifndef TINYWEAVE_FUNCTION_H
#define TINYWEAVE_FUNCTION_H

#include <stdbool.h>
#include <stddef.h>

#include "../unit.h"
#include "loop.h"
#include "plan.h"
#include "preamble.h"

struct translation {
    struct source
        sources[PREAMBLE_TEXTS + 2]; /* macros, headers, the user's text; of declare=: the text it
                                                  speaks of, then its own */
    size_t count;
    struct preamble preamble;
    struct expanded expanded;
    struct declarations declarations;
    char *text; /* the user's text without its in and out words, of the same length */
    size_t first_plan;
    size_t plan_count; /* its functions among the plans */
};

struct program {
    struct translation *units; /* their sources filled by the caller, not yet scanned */
    size_t count;
    struct translation declare; /* the text of declare=, filled likewise; count 0: there is none */
    struct translation
        headers; /* macros and headers alone, where functions of headers are asked for */
    size_t
        apart; /* so many plans, the first ones, are of declare= and of headers; set by program_read */
    const struct strings *include_dirs;
    const struct strings *system_dirs; /* the system's folders of headers */
    const struct strings *functions;   /* the names to plan; NULL: all that can be called */
    /* a bit for each type variable that stands for dtypes; program_read sets those that a prototype uses */
    unsigned variables;
    enum loop_kind
        loops;        /* LOOP_ELEMENTS: the unit's table is that of one function's loops (loop.h) */
    size_t loop_plan; /* the index of its plan */
};

/* Reads and checks the sources, and plans the functions that declare= declares, those asked for that only headers
 * declare, then the non-static ones of the sources. Returns 0, or -1 with the spot (an empty message: no memory). Either way program_free and
 * plans_free are owed. */
int program_read(struct program *program, struct plans *plans, struct spot *spot);
void program_free(struct program *program);

/* Sets the spot to where a planned function is declared, with a message "NAME(): REASON". Returns -1. */
int program_refuse(const struct program *program, const struct plan *plan, const char *reason,
                   struct spot *spot);

/* Writes the unit for what the type variables stand for, with a table `tw_kernel` of entries,
 * `void entry(struct tw_call *, double (*slots)[2])`, one a plan, behind them the addresses of the functions
 * themselves, then of the variables; NULL for a refused one. A slot holds an argument as C has it, the one behind the last the result.
 * `headers` as in preamble_unit. Returns 0, or -1 when memory is out. */
int program_unit(const struct program *program, const struct plans *plans,
                 const struct binding *binding, struct unit *unit, struct buffer *headers);

/* Whether a declaration of the unit is a definition of a function that other units see. */
bool program_is_public(const struct declarations *declarations,
                       const struct declaration *declaration);

/* Appends a translation unit as plain C, without entries: what it uses of the prelude, what the type variables
 * stand for, macros, headers and the user's text. Returns 0, or -1 when memory is out. */
int program_text(const struct program *program, const struct translation *unit,
                 const struct binding *binding, struct buffer *text);

#endif
