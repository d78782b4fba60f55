/* check.h: what nesting.c and check.c share: a text whose brackets and #if are paired, and the rules' notes. */
#ifndef TINYWEAVE_CHECK_H
#define TINYWEAVE_CHECK_H

#include "lexer.h"

/* An open bracket and how deep libtcc's parser is in it. Nodes form a tree and are never removed, so
 * that each branch of a conditional goes on from the same one. */
struct node {
    const struct token *open; /* NULL: the text itself */
    int parent;
    char kind;     /* ( [ { or 0 */
    bool function; /* in the body of a function */
    bool record;   /* the { of a struct or union */
    int base;      /* depth outside */
    int questions; /* ? without their : */
    int chain;     /* right-associative operators since the last , or ; */
    int prefix;    /* prefix operators and casts in a row */
    int nested;    /* if, else, for ... since the last statement ended */
};

struct conditional {
    const struct token *open;
    int start; /* node at the #if */
    int end;   /* node at the end of its first live branch; -1: none ended yet */
    bool has_else;
    bool outer_dead; /* the whole of it is left out */
    bool dead;       /* this branch is left out: #if 0 */
    bool rest_dead;  /* what follows #if 1 */
};

struct live {
    const struct token *token;
    int node; /* a bracket's own node is its content's; the brackets themselves stand in the parent */
};

enum name_flags {
    NAME_CONSTANT = 1, /* #define or enum */
    NAME_GLOBAL = 2,   /* declared at file scope */
    NAME_ATOMIC = 4,
    NAME_ATOMIC_TARGET = 8, /* a pointer to an atomic */
    NAME_ATOMIC_MEMBER = 16,
    NAME_LONG_DOUBLE = 32, /* a member */
};

struct name {
    const char *start;
    size_t length;
    unsigned flags;
    int scope;      /* node of the { an atomic was declared in */
    int parameters; /* node of the parameter list that has it last; -1: none */
};

struct check {
    const struct source *source;
    bool snippet;
    struct spot *spot;
    struct node *nodes;
    int node_count;
    int node; /* the innermost open bracket */
    struct conditional *conditionals;
    size_t conditional_count;
    bool dead;
    bool too_deep;     /* what check_nesting refused was not a bracket out of place */
    struct live *code; /* live tokens outside directives, then one TOKEN_END */
    size_t code_count;
    const struct token **live; /* live tokens, directives too */
    size_t live_count;
    struct name *names; /* hash table, open addressing */
    size_t name_capacity;
    bool has_atomic;
    bool has_alignment;
};

/* Fills the spot with the token's place and a message as printf would. Returns -1. */
int check_refuse(struct check *check, const struct token *token, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* nesting.c: pairs brackets and #if, notes the live tokens in check->code and check->live, and refuses
 * what nests too deeply. The arrays have room for every token. Returns 0, or -1 with the spot. */
int check_nesting(struct check *check);

/* nesting.c: '<%' -> '{'; 0 for what is no bracket. */
char check_bracket(const struct token *token);

/* nesting.c: =, += and their like. */
bool check_is_assignment(const struct token *token);

static inline bool
token_in(const struct token *token, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (token_is(token, *words)) {
            return true;
        }
    }
    return false;
}

static inline bool
is_identifier(const struct token *token)
{
    return token->kind == TOKEN_IDENTIFIER;
}

/* A token's length for "%.*s", cut so that a message stays readable. */
static inline int
shown(const struct token *token)
{
    return token->length < 60 ? (int)token->length : 60;
}

#endif
