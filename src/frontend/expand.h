/* expand.h: macros, and the tokens they expand to (C99 6.10.3). For preprocess.c. */
#ifndef TINYWEAVE_EXPAND_H
#define TINYWEAVE_EXPAND_H

#include "../arena.h"
#include "lexer.h"

/* Tokens that expansion may copy in one unit, in all: macros that double each other reach it, tables of
 * some hundred thousand entries do not. */
#define EXPAND_TOKENS 2000000
/* Bytes that # and ## may spell in one unit. */
#define EXPAND_BYTES (16 << 20)

/* ---- Tokens on their way ---- */

struct item {
    struct token token;
    bool space;   /* white space before it: # keeps it */
    bool blocked; /* the name of a macro met inside its own expansion: never expanded again */
};

struct items {
    struct item *data;
    size_t count;
    size_t capacity;
};

/* Where tokens come from once no expansion has any left. */
struct feed {
    int (*next)(void *context,
                struct item *item); /* 1; 0: at the end; -1: expander_fail was called */
    bool (*call_follows)(
        void *context); /* whether the next token is a (, with no directive before it */
    void *context;
};

struct macro;

/* Tokens not read yet: of an expansion, or of an argument. */
struct context {
    struct items items;
    size_t at;
    struct macro *macro; /* not expanded inside; NULL: none */
    bool barrier;        /* reading stops at its end, until context_leave */
};

struct expander {
    struct feed feed;
    struct arena *arena;  /* keeps what # and ## spell */
    struct arena scratch; /* the macros */
    struct macro **buckets;
    size_t bucket_count; /* a power of two */
    size_t macro_count;
    size_t defined; /* #defines so far */
    struct context *contexts;
    size_t context_count;
    size_t context_capacity;
    int depth;                   /* arguments being expanded one in another */
    bool collecting;             /* the arguments of a macro are being read */
    bool inside;                 /* the last token came out of a macro */
    bool space;                  /* of an expansion that just began: its first token's */
    struct token place;          /* the outermost macro's name */
    const char *file;            /* __FILE__ */
    const struct source *source; /* where #defines stand now; NULL: libtcc's own */
    bool special;                /* __LINE__ or its like was met since it was last set to false */
    unsigned long counter;       /* __COUNTER__ */
    size_t spent;                /* of EXPAND_TOKENS */
    size_t spelled;              /* of EXPAND_BYTES */
    char failure[300];           /* why -1 was returned; empty: no memory */
};

/* Prepares an expander; feed, arena and file are the caller's to set. Returns 0, or -1: no memory. */
int expander_start(struct expander *expander);
void expander_free(struct expander *expander);

/* Says why, as printf would. Returns -1. */
int expander_fail(struct expander *expander, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Counts tokens against EXPAND_TOKENS. Returns 0, or -1. */
int expander_spend(struct expander *expander, size_t count);

/* Whether white space stands between two tokens of one text. */
bool expander_is_apart(const struct token *before, const struct token *token);

/* The `count` tokens behind "# define", behind "# undef". What is malformed is ignored: libtcc tells.
 * Returns 0, or -1. */
int expander_define(struct expander *expander, const struct token *tokens, size_t count);
void expander_undefine(struct expander *expander, const struct token *name);
bool expander_is_defined(const struct expander *expander, const struct token *name);

/* A macro without parameters. */
struct object_macro {
    struct token name;
    const struct source *source;
    size_t number; /* of its #define */
};

/* Lists those that are defined and not libtcc's own, in the order of their #defines. Returns 0, with *macros to be
 * freed, or -1: no memory. */
int expander_list(const struct expander *expander, struct object_macro **macros, size_t *count);

/* The next token, macros expanded. Returns 1; 0 at the end; -1. */
int expander_next(struct expander *expander, struct item *item);

/* The next token as it stands, for the operand of "defined". Returns as expander_next. */
int expander_raw(struct expander *expander, struct item *item);

/* Reads `count` tokens of one text next, and then nothing until expander_leave. Returns 0, or -1. */
int expander_enter(struct expander *expander, const struct token *tokens, size_t count);
void expander_leave(struct expander *expander);

/* Forgets all that is still to be read, and why it failed. */
void expander_clear(struct expander *expander);

#endif
