/* function.c: C functions -> plans and a unit (tw.compile).
 *
 *   double sum(int n, const double a[n]) { ... }      becomes
 *
 *   <declarations of the names in use; types of the parameters>
 *   <define_macros, headers>
 *   #line 1 "tw:source"
 *   double sum(int n, const double a[n]) { ... }
 *   tw_nothing tw_enter_0(tw_call_pointer tw_call, tw_slots tw_v)
 *   {
 *       *(tw_type_double *)tw_v[2] = (sum)(*(tw_type_int *)tw_v[0], *(tw_pointer *)tw_v[1]);
 *   }
 *   tw_pointer tw_kernel[] = {tw_enter_0};
 */
#include "function.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <numpy/ndarraytypes.h>

#include "../../cache/kernel.h"
#include "../../runtime/symbols.h"
#include "arithmetic.h"
#include "casts.h"
#include "macros.h"
#include "pointers.h"

/* ---- Reading ---- */

/* Whether a token stands in the user's own text, and not in a macro elsewhere. */
static bool
in_text(const struct translation *unit, const struct token *token)
{
    const struct source *source = &unit->sources[PREAMBLE_TEXTS];
    return token->start >= source->text && token->start < source->text + source->length;
}

/* Makes blanks of tokens in the text that libtcc gets. */
static void
blank(struct translation *unit, const struct token *first, const struct token *last)
{
    const char *text = unit->sources[PREAMBLE_TEXTS].text;
    if (in_text(unit, first) && in_text(unit, last) && first->start <= last->start) {
        memset(unit->text + (first->start - text), ' ',
               (size_t)(last->start + last->length - first->start));
    }
}

static bool
has_name(const struct expression *expression)
{
    bool found = expression->kind == EXPRESSION_NAME;
    for (int i = 0; i < 3 && expression->operands[i] != NULL; i++) {
        found |= has_name(expression->operands[i]);
    }
    return found;
}

/* libtcc looks for the names of a callback's extents among those of the function around it:
 * (*f)(int m, int n, double a[m][n]) becomes (*f)(int m, int n, double a[ ][1]), which it passes alike. */
static void
blank_extents(struct translation *unit, const struct type *type)
{
    bool outermost = true;
    for (; type->kind == TYPE_ARRAY; type = type->target, outermost = false) {
        const struct expression *extent = type->extent;
        if (extent != NULL && has_name(extent) && in_text(unit, extent->first)) {
            blank(unit, extent->first, extent->last);
            const char *text = unit->sources[PREAMBLE_TEXTS].text;
            unit->text[extent->first->start - text] = outermost ? ' ' : '1';
        }
    }
}

/* `out` and `inout` are no C. `depth`: how many lists of parameters stand around the type. */
static void
blank_type(struct translation *unit, const struct type *type, int depth)
{
    for (; type != NULL; type = type->target) {
        for (size_t i = 0; type->kind == TYPE_FUNCTION && i < type->parameter_count; i++) {
            const struct parameter *parameter = &type->parameters[i];
            if (parameter->word != WORD_NONE) {
                blank(unit, parameter->word_token, parameter->word_token);
            }
            if (depth > 0) {
                blank_extents(unit, parameter->type);
            }
            blank_type(unit, parameter->type, depth + 1);
        }
    }
}

/* The function whose body a token stands in, by its place in the text; NULL: none. */
static const struct declaration *
function_around(const struct translation *unit, const struct token *token)
{
    const struct source *source = &unit->sources[PREAMBLE_TEXTS];
    const struct declaration *around = NULL;
    for (size_t i = 0; i < unit->declarations.count; i++) {
        const struct declaration *declaration = &unit->declarations.items[i];
        const char *start = declaration->first->start;
        if (start >= source->text && start < source->text + source->length &&
            start <= token->start) {
            around = declaration->is_definition ? declaration : NULL;
        }
    }
    return around;
}

static enum name_sort
sort_type(const struct type *type)
{
    bool pointer = type->kind == TYPE_ARRAY || type->kind == TYPE_POINTER;
    const struct type *number = pointer ? type->target : type;
    bool real = number->kind == TYPE_BASIC && number->basic < BASIC_COMPLEXF;
    bool floating = real && number->basic >= BASIC_FLOAT;
    return pointer ? (real ? NAME_NUMBERS : NAME_POINTER) : floating ? NAME_FLOATING : NAME_OTHER;
}

/* Parameters are arrays more often than not. */
static enum name_sort
sort_parameter(const void *context, const struct token *name)
{
    const struct declaration *function = function_around(context, name);
    for (size_t i = 0; function != NULL && i < function->type->parameter_count; i++) {
        const struct parameter *parameter = &function->type->parameters[i];
        if (parameter->name != NULL && token_compare(parameter->name, name) == 0) {
            return sort_type(parameter->type);
        }
    }
    return NAME_OTHER;
}

/* tw_raise leaves a snippet of inline; a function could not be left so. */
static int
refuse_raise(const struct source *source, struct spot *spot)
{
    for (size_t i = 0; i < source->tokens.count; i++) {
        const struct token *token = &source->tokens.items[i];
        if (token->kind == TOKEN_IDENTIFIER && token_is(token, "tw_raise")) {
            return spot_fail(spot, source, token,
                             "'tw_raise' belongs to snippets of inline; here set the error with "
                             "PyErr_SetString or PyErr_Format, and return");
        }
    }
    return 0;
}

/* Finds the declarations of a scanned text: macros expanded, the user's headers read. `declare`: it is that of
 * declare=. */
static int
read_declarations(const struct program *program, struct translation *unit, bool declare,
                  struct spot *spot)
{
    unit->preamble = (struct preamble){.sources = unit->sources,
                                       .count = unit->count,
                                       .declaring = unit->count,
                                       .include_dirs = program->include_dirs};
    if (preamble_read(&unit->preamble) < 0) {
        *spot = (struct spot){0};
        return -1;
    }
    return preprocess(unit->sources, unit->count, &unit->preamble.includes, program->include_dirs,
                      &unit->expanded, spot) < 0
               ? -1
               : (declare ? declarations_read_declare
                          : declarations_read)(&unit->expanded, &unit->declarations, spot);
}

static int
scan(struct translation *unit, struct spot *spot)
{
    for (size_t i = 0; i < unit->count; i++) {
        if (lexer_scan(&unit->sources[i], spot) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
read_unit(struct program *program, struct translation *unit, struct spot *spot)
{
    struct source *source = &unit->sources[PREAMBLE_TEXTS];
    if (scan(unit, spot) < 0 || check_source(source, false, spot) < 0 ||
        arithmetic_check(source, spot) < 0 || casts_check(source, COMPLEX_TYPES, spot) < 0 ||
        refuse_raise(source, spot) < 0 ||
        macros_check(unit->sources, unit->count, spot) < 0) {
        return -1;
    }
    unit->text = malloc(source->length + 1);
    if (unit->text == NULL) {
        *spot = (struct spot){0};
        return -1;
    }
    memcpy(unit->text, source->text, source->length);
    if (read_declarations(program, unit, false, spot) < 0 ||
        pointers_check(source, sort_parameter, unit, spot) < 0 ||
        pointers_check_complex(source, COMPLEX_TYPES, NULL, NULL, spot) < 0) {
        return -1;
    }
    for (size_t i = 0; i < unit->declarations.count; i++) {
        blank_type(unit, unit->declarations.items[i].type, 0);
    }
    program->variables |= unit->declarations.type_variables;
    return 0;
}

/* A definition, and no declaration of that name says static. */
bool
program_is_public(const struct declarations *declarations, const struct declaration *declaration)
{
    if (!declaration->is_definition || declaration->type->kind != TYPE_FUNCTION) {
        return false;
    }
    for (size_t i = 0; i < declarations->count; i++) {
        if (declarations->items[i].storage == STORAGE_STATIC &&
            declaration_declares(&declarations->items[i], declaration)) {
            return false;
        }
    }
    return true;
}

static bool
is_wanted(const struct program *program, const struct token *name)
{
    for (size_t i = 0; program->functions != NULL && i < program->functions->count; i++) {
        if (token_is(name, program->functions->items[i])) {
            return true;
        }
    }
    return program->functions == NULL;
}

/* Where a token of the expanded unit comes from. */
static const struct source *
source_of(const struct translation *unit, const struct token *token)
{
    return unit->expanded.from[token - unit->expanded.items];
}

static int
plan_unit(const struct program *program, struct translation *unit, struct plans *plans,
          struct spot *spot)
{
    unit->first_plan = plans->count;
    for (size_t i = 0; i < unit->declarations.count; i++) {
        const struct declaration *declaration = &unit->declarations.items[i];
        struct plan_context context = {.source = source_of(unit, declaration->first),
                                       .declarations = &unit->declarations,
                                       .variables = program->variables};
        if (program_is_public(&unit->declarations, declaration) &&
            is_wanted(program, declaration->name) && plans_find(plans, declaration->name) == NULL &&
            plan_function(plans, &context, declaration, spot) < 0) {
            return -1;
        }
    }
    unit->plan_count = plans->count - unit->first_plan;
    return 0;
}

static bool
is_planned(const struct plans *plans, const struct token *name)
{
    for (size_t i = 0; i < plans->global_count; i++) {
        if (token_is(name, plans->globals[i].name)) {
            return true;
        }
    }
    return false;
}

/* Plans the variables that are not static: those the unit defines, and, `apart`, those that declare= names. */
static int
plan_variables(const struct program *program, const struct translation *unit, bool apart,
               struct plans *plans, struct spot *spot)
{
    const struct source *own = &unit->sources[unit->count - 1];
    for (size_t i = 0; i < unit->declarations.count; i++) {
        const struct declaration *declaration = &unit->declarations.items[i];
        bool there = declaration->storage == STORAGE_NONE ||
                     (apart && declaration->storage == STORAGE_EXTERN);
        bool here = !apart || source_of(unit, declaration->first) == own;
        if (declaration->type->kind != TYPE_FUNCTION && there && here &&
            is_wanted(program, declaration->name) && !is_planned(plans, declaration->name) &&
            plan_file_variable(plans, declaration) < 0) {
            *spot = (struct spot){0};
            return -1;
        }
    }
    return 0;
}

/* ---- declare= ---- */

/* The definition among the sources of what declare= declares; NULL: a library has it. */
static const struct declaration *
find_definition(const struct program *program, const struct declaration *declared)
{
    for (size_t i = 0; i < program->count; i++) {
        const struct declarations *declarations = &program->units[i].declarations;
        for (size_t k = 0; k < declarations->count; k++) {
            if (declarations->items[k].is_definition &&
                declaration_declares(&declarations->items[k], declared)) {
                return &declarations->items[k];
            }
        }
    }
    return NULL;
}

/* What a pointer, an array or a function leads to in the end; NULL: a value. */
static const struct type *
target_of(const struct type *type)
{
    if (type->kind == TYPE_FUNCTION) {
        return type;
    }
    if (type->kind != TYPE_POINTER && type->kind != TYPE_ARRAY) {
        return NULL;
    }
    type = type->target;
    while (type->kind == TYPE_ARRAY) {
        type = type->target;
    }
    return type;
}

/* A struct stands for a complex number where it has two members like it, which libtcc's code passes alike. */
static bool
passes_alike(const struct type *type, const struct type *other)
{
    const struct type *target = target_of(type), *other_target = target_of(other);
    if (target != NULL || other_target != NULL) {
        return target != NULL && other_target != NULL &&
               (target->kind == TYPE_VOID || other_target->kind == TYPE_VOID ||
                passes_alike(target, other_target));
    }
    bool number = type->kind == TYPE_BASIC || type->kind == TYPE_ENUM;
    bool other_number = other->kind == TYPE_BASIC || other->kind == TYPE_ENUM;
    if (number && other_number) {
        enum basic_type one = type->kind == TYPE_ENUM ? BASIC_INT : type->basic;
        enum basic_type two = other->kind == TYPE_ENUM ? BASIC_INT : other->basic;
        return one == two || plan_same_number(one, two);
    }
    return !number || !other_number ? type->kind == other->kind || type->kind == TYPE_STRUCT ||
                                          other->kind == TYPE_STRUCT || type->kind == TYPE_NAMED ||
                                          other->kind == TYPE_NAMED
                                    : false;
}

/* The declaration must pass what the definition takes. */
static int
check_alike(const struct source *source, const struct declaration *declared,
            const struct declaration *defined, struct spot *spot)
{
    const struct type *one = declared->type, *two = defined->type;
    if (one->parameter_count != two->parameter_count) {
        return spot_fail(spot, source, declared->name,
                         "'%.*s' is declared with %zu parameter%s, and defined with %zu",
                         (int)declared->name->length, declared->name->start, one->parameter_count,
                         one->parameter_count == 1 ? "" : "s", two->parameter_count);
    }
    if (!passes_alike(one->target, two->target)) {
        return spot_fail(spot, source, declared->first,
                         "'%.*s' is defined with a result of another type",
                         (int)declared->name->length, declared->name->start);
    }
    for (size_t i = 0; i < one->parameter_count; i++) {
        if (!passes_alike(one->parameters[i].type, two->parameters[i].type)) {
            return spot_fail(spot, source, one->parameters[i].first,
                             "parameter %zu of '%.*s' is defined with another type", i + 1,
                             (int)declared->name->length, declared->name->start);
        }
    }
    return 0;
}

/* Plans the functions of declare='s own text; what stands before it are types it speaks of. */
static int
plan_declared(struct program *program, struct plans *plans, struct spot *spot)
{
    struct translation *unit = &program->declare;
    if (unit->count == 0) {
        return 0;
    }
    const struct source *own = &unit->sources[unit->count - 1];
    for (size_t i = 0; i < unit->declarations.count; i++) {
        const struct declaration *declaration = &unit->declarations.items[i];
        if (source_of(unit, declaration->first) != own ||
            declaration->type->kind != TYPE_FUNCTION || declaration->storage == STORAGE_TYPEDEF ||
            !is_wanted(program, declaration->name) ||
            plans_find(plans, declaration->name) != NULL) {
            continue;
        }
        if (declaration->is_definition) {
            return spot_fail(spot, own, declaration->name,
                             "'%.*s' has a body: 'declare' takes prototypes, code goes into the "
                             "source",
                             (int)declaration->name->length, declaration->name->start);
        }
        const struct declaration *definition = find_definition(program, declaration);
        struct plan_context context = {.source = own,
                                       .declarations = &unit->declarations,
                                       .variables = program->variables,
                                       .apart = true};
        if ((definition != NULL && check_alike(own, declaration, definition, spot) < 0) ||
            plan_function(plans, &context, declaration, spot) < 0) {
            return -1;
        }
    }
    return plan_variables(program, unit, true, plans, spot);
}

static int
read_declare(struct program *program, struct spot *spot)
{
    struct translation *unit = &program->declare;
    if (unit->count == 0) {
        return 0;
    }
    if (scan(unit, spot) < 0 || read_declarations(program, unit, true, spot) < 0) {
        return -1;
    }
    program->variables |= unit->declarations.type_variables;
    return 0;
}

/* ---- Functions of headers ---- */

static int
find_file(const struct strings *folders, const char *name)
{
    char path[PATH_MAX];
    for (size_t i = 0; folders != NULL && i < folders->count; i++) {
        int size = snprintf(path, sizeof(path), "%s/%s", folders->items[i], name);
        if (size < (int)sizeof(path) && access(path, R_OK) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Every header must be there, for libtcc will not be asked. */
static int
check_headers(const struct program *program, const struct source *source, struct spot *spot)
{
    for (size_t i = 2; i < source->tokens.count; i++) {
        const struct token *token = &source->tokens.items[i];
        char name[PATH_MAX];
        if (!token_is(token - 1, "include") || !include_name(token, name) || name[0] == '/' ||
            find_file(program->include_dirs, name) || find_file(program->system_dirs, name)) {
            continue;
        }
        return spot_fail(spot, source, token,
                         "header '%.200s' not found: name its folder in include_dirs=[...]", name);
    }
    return 0;
}

static int
read_headers(struct program *program, struct spot *spot)
{
    struct translation *unit = &program->headers;
    unit->preamble = (struct preamble){.sources = unit->sources,
                                       .count = unit->count,
                                       .declaring = unit->count,
                                       .include_dirs = program->include_dirs};
    if (scan(unit, spot) < 0 ||
        check_headers(program, &unit->sources[PREAMBLE_HEADERS], spot) < 0) {
        return -1;
    }
    if (preamble_read(&unit->preamble) < 0) {
        *spot = (struct spot){0};
        return -1;
    }
    return preprocess_system(unit->sources, unit->count, &unit->preamble.includes,
                             program->include_dirs, program->system_dirs, &unit->expanded, spot) < 0
               ? -1
               : declarations_read(&unit->expanded, &unit->declarations, spot);
}

/* A header may declare a function often, and define it inline: then there may be nothing to call. */
static bool
is_inline(const struct declarations *declarations, const struct declaration *declared)
{
    for (size_t i = 0; i < declarations->count; i++) {
        const struct declaration *declaration = &declarations->items[i];
        if (declaration->is_definition && declaration->storage == STORAGE_STATIC &&
            declaration_declares(declaration, declared)) {
            return true;
        }
    }
    return false;
}

/* Plans those functions and variables asked for that only the headers declare. */
static int
plan_headers(struct program *program, struct plans *plans, struct spot *spot)
{
    struct translation *unit = &program->headers;
    if (unit->count == 0) {
        return 0;
    }
    if (read_headers(program, spot) < 0) {
        return -1;
    }
    for (size_t i = 0; i < unit->declarations.count; i++) {
        const struct declaration *declaration = &unit->declarations.items[i];
        struct plan_context context = {.source = source_of(unit, declaration->first),
                                       .declarations = &unit->declarations};
        bool function = declaration->type->kind == TYPE_FUNCTION;
        if (declaration->storage == STORAGE_TYPEDEF || !is_wanted(program, declaration->name) ||
            (function ? plans_find(plans, declaration->name) != NULL ||
                            find_definition(program, declaration) != NULL ||
                            is_inline(&unit->declarations, declaration)
                      : is_planned(plans, declaration->name))) {
            continue;
        }
        if (function && plan_function(plans, &context, declaration, spot) < 0) {
            return -1;
        }
        if (!function && plan_file_variable(plans, declaration) < 0) {
            *spot = (struct spot){0};
            return -1;
        }
    }
    return 0;
}

/* ---- The program ---- */

/* Every name that was asked for must be there. */
static int
check_wanted(const struct program *program, const struct plans *plans, struct spot *spot)
{
    for (size_t i = 0; program->functions != NULL && i < program->functions->count; i++) {
        const char *name = program->functions->items[i];
        const struct token token = {
            .kind = TOKEN_IDENTIFIER, .start = name, .length = strlen(name)};
        if (plans_find(plans, &token) == NULL && !is_planned(plans, &token)) {
            const struct source *last = &program->units[program->count - 1].sources[PREAMBLE_TEXTS];
            return spot_fail(spot, last, &last->tokens.items[last->tokens.count],
                             "'functions' names '%.100s', which neither the source nor 'declare' "
                             "nor a header declares as something to be called",
                             name);
        }
    }
    return 0;
}

/* Something must be callable. */
static int
check_plans(const struct program *program, const struct plans *plans, struct spot *spot)
{
    const struct source *last = &program->units[program->count - 1].sources[PREAMBLE_TEXTS];
    const struct token *end = &last->tokens.items[last->tokens.count];
    for (size_t i = 0; i < plans->count; i++) {
        if (plans->items[i].refusal == NULL) {
            return 0;
        }
    }
    if (plans->count == 0 && plans->global_count > 0) {
        return 0;
    }
    if (plans->count == 0) {
        return spot_fail(spot, last, last->tokens.count > 0 ? last->tokens.items : end,
                         "the source defines no function that is not static");
    }
    return spot_fail(spot, last, end, "no function can be called from Python: %s(): %s",
                     plans->items[0].name, plans->items[0].refusal);
}

/* Names of structs and constants hang on no function. */
static int
plan_names(const struct program *program, struct plans *plans, struct spot *spot)
{
    int result = plan_name_records(plans, &program->declare.declarations) < 0 ||
                         plan_name_records(plans, &program->headers.declarations) < 0 ||
                         plan_constants(plans, &program->headers.declarations) < 0
                     ? -1
                     : 0;
    for (size_t i = 0; i < program->count && result == 0; i++) {
        const struct declarations *declarations = &program->units[i].declarations;
        result =
            plan_name_records(plans, declarations) < 0 ? -1 : plan_constants(plans, declarations);
    }
    if (result == 0 && program->declare.count > 0) {
        result = plan_constants(plans, &program->declare.declarations);
    }
    if (result < 0) {
        *spot = (struct spot){0};
    }
    return result;
}

int
program_read(struct program *program, struct plans *plans, struct spot *spot)
{
    *plans = (struct plans){0};
    for (size_t i = 0; i < program->count; i++) {
        if (read_unit(program, &program->units[i], spot) < 0) {
            return -1;
        }
    }
    if (read_declare(program, spot) < 0 || plan_declared(program, plans, spot) < 0 ||
        plan_headers(program, plans, spot) < 0) {
        return -1;
    }
    program->apart = plans->count;
    for (size_t i = 0; i < program->count; i++) {
        if (plan_unit(program, &program->units[i], plans, spot) < 0 ||
            plan_variables(program, &program->units[i], false, plans, spot) < 0) {
            return -1;
        }
    }
    plans->variables = program->variables;
    if (plan_names(program, plans, spot) < 0) {
        return -1;
    }
    return check_wanted(program, plans, spot) < 0 ? -1 : check_plans(program, plans, spot);
}

/* The first declaration of that name in a unit, its definition before others; NULL: none. */
static const struct declaration *
find_named(const struct translation *unit, const char *name)
{
    const struct declaration *found = NULL;
    for (size_t i = 0; i < unit->declarations.count; i++) {
        const struct declaration *declaration = &unit->declarations.items[i];
        if (declaration->name != NULL && token_is(declaration->name, name) &&
            (found == NULL || declaration->is_definition)) {
            found = declaration;
        }
    }
    return found;
}

int
program_refuse(const struct program *program, const struct plan *plan, const char *reason,
               struct spot *spot)
{
    *spot = (struct spot){0};
    for (size_t i = 0; i <= program->count; i++) {
        const struct translation *unit = i == 0 ? &program->declare : &program->units[i - 1];
        const struct declaration *found = unit->count == 0 ? NULL : find_named(unit, plan->name);
        if (found != NULL) {
            return spot_fail(spot, source_of(unit, found->name), found->name, "%s(): %s",
                             plan->name, reason);
        }
    }
    return -1;
}

static void
free_translation(struct translation *unit)
{
    declarations_free(&unit->declarations);
    preprocess_free(&unit->expanded);
    preamble_free(&unit->preamble);
    for (size_t i = 0; i < unit->count; i++) {
        lexer_free(&unit->sources[i]);
    }
    free(unit->text);
}

void
program_free(struct program *program)
{
    for (size_t i = 0; i < program->count; i++) {
        free_translation(&program->units[i]);
    }
    free_translation(&program->declare);
    free_translation(&program->headers);
}

/* ---- The unit ---- */

/* Whether complex numbers may be at hand though no type variable is one. */
static bool
speaks_of_complex(const struct preamble *preamble)
{
    static const char *const names[] = {"tw_complex", "tw_complexf", "tw_make",
                                        "tw_makef",   "Py_complex",  NULL};
    bool found = false;
    for (const char *const *name = names; *name != NULL; name++) {
        found |= preamble_uses(preamble, *name);
    }
    return found;
}

/* The plain operators, where no type variable is complex; else the prelude's own forms stay. */
static void
emit_operators(const struct preamble *preamble, struct buffer *text)
{
    static const struct {
        const char *name;  /* in the user's text */
        const char *macro; /* that stands behind it */
        const char *definition;
    } operators[] = {
        {"tw_add", "tw_add2_", "(x, y) ((x) + (y))"},
        {"tw_sub", "tw_sub", "(x, y) ((x) - (y))"},
        {"tw_mul", "tw_mul2_", "(x, y) ((x) * (y))"},
        {"tw_div", "tw_div", "(x, y) ((x) / (y))"},
        {"tw_eq", "tw_eq", "(x, y) ((x) == (y))"},
        {"tw_neg", "tw_neg", "(x) (-(x))"},
        {"tw_conj", "tw_conj", "(x) (x)"},
        {"tw_real", "tw_real", "(x) (x)"},
        {"tw_imag", "tw_imag", "(x) ((void)(x), (__typeof__(x))0)"},
        {"tw_cast", "tw_cast", "(type, x) ((type)(x))"},
        {"tw_abs", "tw_abs",
         "(x) _Generic((x), double: fabs(x), float: fabsf(x), "
         "default: ({ __typeof__(x) tw_abs_x = (x); tw_abs_x < 0 ? -tw_abs_x : "
         "tw_abs_x; }))"},
    };
    for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++) {
        if (preamble_uses(preamble, operators[i].name)) {
            buffer_printf(text, "#undef %s\n#define %s%s\n", operators[i].macro, operators[i].macro,
                          operators[i].definition);
        }
    }
}

/* Types are named in front of the user's macros, so that "#define int long" changes nothing of ours. */
static void
emit_types(struct buffer *text)
{
    for (int type = 0; type <= NPY_CDOUBLE; type++) {
        if (plan_c_type(type) != NULL) {
            buffer_printf(text, "typedef %s tw_type_%d;\n", plan_c_type(type), type);
        }
    }
    buffer_append_string(
        text, "typedef void *tw_pointer;\ntypedef void tw_nothing;\n"
              "typedef double (*tw_slots)[2];\ntypedef struct tw_call *tw_call_pointer;\n");
    loop_types(text);
}

/* "*(tw_type_12 *)tw_v[0]" */
static void
emit_slot(struct buffer *text, enum role role, int type, int index)
{
    if (role == ROLE_NUMBER || role == ROLE_HIDDEN) {
        buffer_printf(text, "*(tw_type_%d *)tw_v[%d]", type, index);
    }
    else {
        buffer_printf(text, "*(tw_pointer *)tw_v[%d]", index);
    }
}

/* A declaration of ours for a function that stands apart, by another name: a header may declare its own. */
static void
emit_declaration(struct buffer *text, const struct plan *plan, size_t index,
                 const struct binding *binding)
{
    if (plan->result == ROLE_NUMBER) {
        buffer_printf(text, "tw_type_%d", plan_bound(plan->returned.type, binding));
    }
    else {
        buffer_append_string(text, plan->result == ROLE_NOTHING ? "tw_nothing" : "tw_pointer");
    }
    buffer_printf(text, " tw_function_%zu(", index);
    for (int i = 0; i < plan->c_count; i++) {
        const struct plan_parameter *parameter = &plan->parameters[i];
        bool number = parameter->role == ROLE_NUMBER || parameter->role == ROLE_HIDDEN;
        buffer_append_string(text, i > 0 ? ", " : "");
        if (number) {
            buffer_printf(text, "tw_type_%d", plan_bound(parameter->type, binding));
        }
        else {
            buffer_append_string(text, "tw_pointer");
        }
    }
    buffer_printf(text, "%s) __asm__(\"%s\");\n", plan->c_count == 0 ? "tw_nothing" : "",
                  plan->name);
}

/* Makes a function callable by `callee`. `apart`: it is declared by emit_declaration. */
static void
emit_callee(struct buffer *text, const struct plan *plan, size_t index, bool apart,
            const struct binding *binding, struct buffer *callee)
{
    if (apart) {
        emit_declaration(text, plan, index, binding);
        buffer_printf(callee, "tw_function_%zu", index);
    }
    else {
        buffer_printf(text, "#undef %s\n", plan->name);
        buffer_printf(callee, "(%s)", plan->name);
    }
}

static void
emit_entry(struct buffer *text, const struct plan *plan, size_t index, const char *callee,
           const struct binding *binding)
{
    buffer_printf(text, "tw_nothing tw_enter_%zu(tw_call_pointer tw_call, tw_slots tw_v)\n{\n",
                  index);
    if (plan->result != ROLE_NOTHING) {
        emit_slot(text, plan->result, plan_bound(plan->returned.type, binding), plan->count);
        buffer_append_string(text, plan->result == ROLE_NUMBER ? " = " : " = (tw_pointer)");
    }
    buffer_printf(text, "%s(", callee);
    for (int i = 0; i < plan->c_count; i++) {
        buffer_append_string(text, i > 0 ? ", " : "");
        emit_slot(text, plan->parameters[i].role, plan_bound(plan->parameters[i].type, binding), i);
    }
    buffer_append_string(text, ");\n}\n");
}

/* Whether a unit gets the entry, or the loops, of a plan. */
static bool
is_emitted(const struct program *program, const struct plans *plans, size_t index)
{
    return plans->items[index].refusal == NULL &&
           (program->loops == LOOP_NONE || program->loop_plan == index);
}

static void
emit_entries(const struct program *program, const struct plans *plans, size_t first, size_t count,
             bool apart, const struct binding *binding, struct buffer *text)
{
    for (size_t i = first; i < first + count; i++) {
        const struct plan *plan = &plans->items[i];
        struct buffer callee = BUFFER_INIT;
        if (!is_emitted(program, plans, i)) {
            continue;
        }
        emit_callee(text, plan, i, apart, binding, &callee);
        text->failed |= callee.failed;
        if (callee.failed) {
            return;
        }
        if (program->loops == LOOP_ELEMENTS) {
            loop_text(plan, binding, callee.data, text);
        }
        else {
            emit_entry(text, plan, i, callee.data, binding);
        }
        buffer_free(&callee);
    }
}

static void
emit_table(const struct program *program, const struct plans *plans, struct buffer *text)
{
    for (size_t i = 0; i < plans->count; i++) {
        if (is_emitted(program, plans, i)) {
            buffer_printf(text, "tw_nothing tw_enter_%zu(tw_call_pointer, tw_slots);\n", i);
            buffer_printf(text, "tw_nothing tw_address_%zu(tw_nothing) __asm__(\"%s\");\n", i,
                          plans->items[i].name);
        }
    }
    for (size_t i = 0; i < plans->global_count; i++) {
        if (plans->globals[i].refusal == NULL) {
            buffer_printf(text, "extern char tw_global_%zu[] __asm__(\"%s\");\n", i,
                          plans->globals[i].name);
        }
    }
    buffer_append_string(text, "tw_pointer " KERNEL_ENTRY "[] = {\n");
    static const char *const columns[] = {"tw_enter", "tw_address"};
    for (size_t column = 0; column < 2; column++) {
        for (size_t i = 0; i < plans->count; i++) {
            if (!is_emitted(program, plans, i)) {
                buffer_append_string(text, "0,\n");
            }
            else {
                buffer_printf(text, "(tw_pointer)%s_%zu,\n", columns[column], i);
            }
        }
    }
    for (size_t i = 0; i < plans->global_count; i++) {
        if (plans->globals[i].refusal != NULL) {
            buffer_append_string(text, "0,\n");
        }
        else {
            buffer_printf(text, "(tw_pointer)tw_global_%zu,\n", i);
        }
    }
    buffer_append_string(text, "};\n");
}

/* typedef double T; */
static void
emit_variables(const struct translation *unit, unsigned variables, const struct binding *binding,
               struct buffer *text)
{
    bool any_complex = false;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        int type = binding->types[i];
        if (variables >> i & 1) {
            buffer_printf(text, "typedef %s %c;\n", plan_c_type(type), TYPE_VARIABLE_NAMES[i]);
            any_complex |= type == NPY_CFLOAT || type == NPY_CDOUBLE;
        }
    }
    if (variables != 0 && !any_complex && !speaks_of_complex(&unit->preamble)) {
        emit_operators(&unit->preamble, text);
    }
}

/* `more`: names that are declared in any case; ends with NULL. */
static int
emit_names(const struct program *program, const struct translation *unit, const char *const *more,
           struct buffer *text)
{
    static const char *const absolute[] = {"fabs", "fabsf", NULL};
    const char *all[8];
    size_t count = 0;
    for (; *more != NULL; more++) {
        all[count++] = *more;
    }
    bool uses = program->variables != 0 && preamble_uses(&unit->preamble, "tw_abs");
    for (size_t i = 0; uses && absolute[i] != NULL; i++) {
        all[count++] = absolute[i];
    }
    all[count] = NULL;
    return preamble_declare(&unit->preamble, all, text);
}

/* The user's macros, headers and text, behind the declarations. */
static void
emit_source(const struct program *program, const struct translation *unit,
            const struct binding *binding, struct buffer *text)
{
    emit_variables(unit, program->variables, binding, text);
    if (program->headers.count == 0 || unit->sources[PREAMBLE_TEXTS].length > 0) {
        preamble_headers(&unit->preamble, text); /* what was asked for of them is declared apart */
    }
    struct source blanked = unit->sources[PREAMBLE_TEXTS];
    blanked.text = unit->text;
    preamble_append(&blanked, text);
    buffer_append_string(text, "#line 1 \"tw:generated\"\n");
}

int
program_text(const struct program *program, const struct translation *unit,
             const struct binding *binding, struct buffer *text)
{
    static const char *const none[] = {NULL};
    static const char *const variables[] = {"tw_complex", "tw_complexf", NULL};
    if (emit_names(program, unit, program->variables != 0 ? variables : none, text) < 0) {
        return -1;
    }
    emit_source(program, unit, binding, text);
    return text->failed ? -1 : 0;
}

static int
emit_unit(const struct program *program, const struct translation *unit, const struct plans *plans,
          const struct binding *binding, struct buffer *text)
{
    static const char *const more[] = {"tw_call", "tw_complex", "tw_complexf", NULL};
    if (emit_names(program, unit, more, text) < 0) {
        return -1;
    }
    emit_types(text);
    emit_source(program, unit, binding, text);
    emit_entries(program, plans, unit->first_plan, unit->plan_count, false, binding, text);
    return 0;
}

static void
emit_signature(struct buffer *signature, const struct plans *plans, const struct binding *binding)
{
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        if (binding->types[i] >= 0) {
            buffer_printf(signature, "%c = %s; ", TYPE_VARIABLE_NAMES[i],
                          plan_c_type(binding->types[i]));
        }
    }
    for (size_t i = 0; i < plans->count; i++) {
        buffer_printf(signature, "%s%s", i > 0 ? "; " : "", plans->items[i].signature);
    }
}

int
program_unit(const struct program *program, const struct plans *plans,
             const struct binding *binding, struct unit *unit, struct buffer *headers)
{
    struct buffer *text = &unit->text;
    for (size_t i = 0; i < program->count; i++) {
        const struct translation *translation = &program->units[i];
        if (i > 0) {
            buffer_append(text, "", 1);
        }
        if (preamble_unit(&translation->preamble, unit, headers) < 0 ||
            emit_unit(program, translation, plans, binding, text) < 0) {
            return -1;
        }
        if (i + 1 == program->count) {
            emit_entries(program, plans, 0, program->apart, true, binding, text);
            if (program->loops != LOOP_ELEMENTS) {
                emit_table(program, plans, text);
            }
        }
        preamble_end(&translation->preamble, text);
    }
    for (size_t i = 0; i < plans->count; i++) {
        unit->needs_gil |= plans->items[i].takes_object;
    }
    emit_signature(&unit->signature, plans, binding);
    return text->failed || headers->failed || unit->signature.failed ? -1 : 0;
}
