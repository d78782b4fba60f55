/* parse.h: what the parts of the declaration reader share: the tokens, the memory, the names in scope.
 *
 * declaration.c is the grammar of declarations, record.c that of struct, union and enum, attribute.c that of
 * GNU's attributes, expression.c that of expressions; number.c computes them with C's types, constant.c lists what
 * has a value; type.c makes and prints types, layout.c computes where members lie, comment.c finds the comment above
 * a declaration. Above each function of the grammar stands its
 * rule, in the notation of C99's annex A.
 *
 * Functions that can fail return -1 or NULL, with the spot filled; without memory its message is empty.
 */
#ifndef TINYWEAVE_PARSE_H
#define TINYWEAVE_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "../buffer.h"
#include "declaration.h"

/* ---- Names in scope ---- */

enum entity_kind { ENTITY_TYPEDEF, ENTITY_ENUMERATOR, ENTITY_ORDINARY, ENTITY_TAG };

/* A name declared: an ordinary identifier or a tag, in the words of C99 6.2.3. */
struct entity {
    struct entity *next;    /* in its bucket */
    struct entity *earlier; /* declared before this one */
    const struct token *name;
    enum entity_kind kind;
    int scope;
    const struct type *type; /* ENTITY_TYPEDEF */
    unsigned type_variables; /* ENTITY_TYPEDEF: those that are types in it */
    bool is_static;          /* ENTITY_ORDINARY: declared `static` */
    bool has_value;          /* ENTITY_ENUMERATOR: its value could be computed */
    long long value;
    struct record *record; /* ENTITY_TAG */
};

struct names {
    struct entity **buckets;
    size_t bucket_count;
    struct entity *latest;
    int scope; /* 0: file scope */
};

/* ---- The parser ---- */

/* A walk through a source's text that knows which comment ends where it stands. */
struct comment_walk {
    const struct source *source;
    size_t at;
    int line;          /* of `at` */
    bool dirty;        /* something other than white space stands before `at` on its line */
    bool found;        /* a comment ends right before `at`: [start, end) */
    bool is_line;      /* it is a run of // lines */
    size_t start, end; /* of the comment */
    int breaks;        /* line ends since the comment's end */
};

struct parser {
    const struct expanded *unit;
    size_t at;              /* the next token */
    const size_t *partners; /* of each bracket's index, that of the bracket it pairs with */
    struct names names;
    struct names tags;       /* at file scope */
    struct names inner_tags; /* that prototypes define */
    struct names *prelude;   /* the prelude's types read so far, by the unit's spelling of them */
    bool is_declare;         /* the text is that of `declare=` */
    bool is_prelude;         /* the text parsed is the prelude's own */
    int operators;           /* in the expression at hand */
    int expressions;         /* one in another: a type in sizeof may hold some */
    unsigned met_variables;  /* type variables in the declaration at hand */
    size_t capacity;         /* of declarations->items */
    size_t constant_capacity;
    struct comment_walk walk;
    struct declarations *declarations;
    struct spot *spot;
};

/* ---- Memory ---- */

/* Zeroed memory that lives until declarations_free. */
void *parse_allocate(struct parser *parser, size_t size);

/* Makes room for one more of `count` items of `size` bytes. Returns where the items are now. */
void *parse_grow(struct parser *parser, void *items, size_t count, size_t *capacity, size_t size);

/* ---- Tokens ---- */

/* Pairs the brackets, which no other function here checks again. */
int parse_start(struct parser *parser);

const struct token *parse_token(const struct parser *parser);
const struct token *parse_last(const struct parser *parser); /* the token before; there is one */
const struct token *parse_ahead(const struct parser *parser, size_t count);

/* Whether the token is spelled so; <: is a [. */
bool parse_is(const struct token *token, const char *text);
bool parse_at(const struct parser *parser, const char *text);
bool parse_accept(struct parser *parser, const char *text);
int parse_expect(struct parser *parser, const char *text);

/* From an opening bracket to behind its partner. */
void parse_skip_group(struct parser *parser);

/* A keyword and what stands in brackets behind it, if anything does. */
void parse_skip_keyword(struct parser *parser);

/* Writes the token's characters, without line continuations, as far as there is room. Returns their number,
 * which is `size` if they did not fit. */
size_t parse_spell(const struct token *token, char *characters, size_t size);

/* Appends the tokens with one space where something stood between them. */
void parse_append_tokens(const struct token *first, const struct token *last, struct buffer *text);

int parse_error(struct parser *parser, const struct token *token, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "expected a type, found '&'", with a hint where it looks like C++. */
int parse_unexpected(struct parser *parser, const char *expected);

/* Behind the last token of an error's text for "%.*s". */
int parse_shown(const struct token *token);

/* ---- Keywords ---- */

enum keyword_class {
    KEYWORD_NOT,       /* not one, or not an identifier */
    KEYWORD_STORAGE,   /* value: enum storage */
    KEYWORD_LOCAL,     /* auto, register */
    KEYWORD_THREAD,    /* _Thread_local */
    KEYWORD_FUNCTION,  /* value: whether it is `inline` */
    KEYWORD_QUALIFIER, /* value: enum qualifier */
    KEYWORD_TYPE,      /* value: enum type_word */
    KEYWORD_COMPLEX,
    KEYWORD_RECORD, /* value: TYPE_STRUCT or TYPE_UNION */
    KEYWORD_ENUM,
    KEYWORD_TYPEOF,
    KEYWORD_ATTRIBUTE,
    KEYWORD_EXTENSION,
    KEYWORD_ASM,
    KEYWORD_ALIGNAS,
    KEYWORD_ASSERT,
    KEYWORD_OPERATOR, /* sizeof and its kin */
    KEYWORD_STATEMENT,
};

enum type_word {
    TYPE_WORD_VOID = 1,
    TYPE_WORD_CHAR = 2,
    TYPE_WORD_SHORT = 4,
    TYPE_WORD_INT = 8,
    TYPE_WORD_LONG = 16,
    TYPE_WORD_LONGLONG = 32,
    TYPE_WORD_FLOAT = 64,
    TYPE_WORD_DOUBLE = 128,
    TYPE_WORD_SIGNED = 256,
    TYPE_WORD_UNSIGNED = 512,
    TYPE_WORD_BOOL = 1024,
};

struct keyword {
    const char *spelling;
    enum keyword_class keyword_class;
    unsigned value;
};

/* The token's entry; of what is no keyword, one of class KEYWORD_NOT. */
const struct keyword *parse_keyword(const struct token *token);

/* Whether the keyword can start a declaration's specifiers. */
bool parse_is_specifier(const struct keyword *keyword);

/* An identifier that is no keyword. */
bool parse_is_name(const struct token *token);

/* ---- Names ---- */

int names_start(struct parser *parser, struct names *names, size_t bucket_count);
struct entity *names_find(const struct names *names, const struct token *name);

/* Declares the name in the scope at hand. Returns the entity, to be filled further. */
struct entity *names_declare(struct parser *parser, struct names *names, enum entity_kind kind,
                             const struct token *name);
void names_enter(struct names *names);
void names_leave(struct names *names);

/* ---- What declarations are put together from ---- */

/* What an attribute says about how something lies in memory. */
struct attributes {
    bool packed;
    size_t aligned; /* 0: not asked for */
    bool strange;   /* something that is not understood here, or not by libtcc */
};

/* Where specifiers and a declarator stand. */
enum context { CONTEXT_FILE, CONTEXT_PARAMETER, CONTEXT_MEMBER, CONTEXT_TYPE_NAME };

struct specifiers {
    enum context context;
    const struct token *first;
    enum storage storage;
    bool is_inline;
    unsigned qualifiers;
    unsigned words;          /* enum type_word */
    const struct type *type; /* made of a tag or a name, in the end of words too; NULL: none yet */
    const struct token *type_token;
    struct attributes attributes;
    enum parameter_word word;
    const struct token *word_token;
};

/* A pointer, array or function between a name and the type in front. */
struct part {
    struct type type;
    struct part *outer; /* what it points to, is made of or returns; NULL: the type in front */
};

struct declarator {
    enum context context;
    const struct token *name;
    const struct token *last;
    struct part *parts; /* from the name outwards */
    struct part **end;  /* where the next outer one goes */
    int count;
    struct attributes attributes;
    const struct type *type; /* when it is finished */
};

/* ---- The other parts ---- */

/* declaration.c: the name as a type: the unit's or the prelude's typedef. Returns 1 and the entity; 0: neither
 * declares a type of that name; -1: no memory. */
int declaration_find_type(struct parser *parser, const struct token *name,
                          const struct entity **entity);

/* declaration.c: a type without a name. */
const struct type *declaration_type_name(struct parser *parser);

/* declaration.c: the words in front of declarators. */
int declaration_specifiers(struct parser *parser, struct specifiers *specifiers);

/* declaration.c: gives the specifiers their type, which starts at the token. Returns 1, or -1 for a second one, or
 * for no type. */
int declaration_set_type(struct parser *parser, struct specifiers *specifiers,
                         const struct token *token, const struct type *type);

/* declaration.c: reads a declarator whose context is set, then puts its parts and the type in front together. */
int declarator_read(struct parser *parser, struct declarator *declarator);
int declarator_finish(struct parser *parser, struct declarator *declarator,
                      const struct type *type);

/* attribute.c: the attributes that follow, if any do; in `attributes` what they say is added. */
int attribute_read(struct parser *parser, struct attributes *attributes);

/* attribute.c: reads over them. */
void attribute_skip(struct parser *parser);

/* attribute.c: the type of a declaration with the attributes: strange ones make it TYPE_NAMED by `name`. */
const struct type *attribute_apply(struct parser *parser, const struct type *type,
                                   const struct attributes *attributes, const struct token *name);

/* record.c: struct, union and enum with what follows; the specifiers get the type. Returns 1 or -1. */
int record_specifier(struct parser *parser, struct specifiers *specifiers, enum type_kind kind);
int record_enum_specifier(struct parser *parser, struct specifiers *specifiers);

/* layout.c: computes the offsets of a record whose members were read, and its size; or says why not. `pack` is
 * what #pragma pack says: 0: nothing. */
void layout_record(struct record *record, const struct attributes *attributes, size_t pack);

/* expression.c: what stands between [ and ], or is an enumerator's value. */
const struct expression *expression_parse(struct parser *parser);

/* expression.c: whether a ( that opens a type-name stands at the next token. Returns 1, 0 or -1. Of a name that
 * nothing declares only what follows tells: "(T)x". */
int expression_opens_type_name(struct parser *parser);

/* number.c: the value of a constant expression with C's types: 1u << 31, (char)'a' + 1.5f. Returns 0; or -1 for
 * what is no number, or undefined in C (division by zero, a shift out of range). */
int number_compute(const struct expression *expression, struct number *number);

/* number.c: of an integer: whether its type is unsigned. */
bool number_is_unsigned(const struct number *number);

/* constant.c: notes an enumerator of the file. Returns 0 or -1. */
int constant_append_enumerator(struct parser *parser, const struct token *name, long long value);

/* constant.c: notes the unit's macros that stand for constants. Called at the end of the unit. Returns 0; or -1: no
 * memory. */
int constant_read_macros(struct parser *parser);

/* type.c */
struct type *type_make(struct parser *parser, enum type_kind kind, const struct token *name);

/* type.c: a copy with the qualifiers added: of an array, to its elements. */
const struct type *type_qualify(struct parser *parser, const struct type *type,
                                unsigned qualifiers);

/* comment.c: fills in the declaration's comment from the text of its source. */
void comment_find(struct comment_walk *walk, const struct source *source,
                  struct declaration *declaration);

#endif
