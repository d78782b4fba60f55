/* program.c: the sources of tw.compile, and the text of declare=, and headers -> plans of their functions. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arithmetic.h"
#include "casts.h"
#include "function.h"
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

/* What the sources of a scanned text use and include. */
static int
read_preamble(const struct program *program, struct translation *unit, struct spot *spot)
{
    unit->preamble = (struct preamble){.sources = unit->sources,
                                       .count = unit->count,
                                       .declaring = unit->count,
                                       .include_dirs = program->include_dirs};
    if (preamble_read(&unit->preamble) < 0) {
        *spot = (struct spot){0};
        return -1;
    }
    return 0;
}

/* Finds the declarations of a scanned text: macros expanded, the user's headers read. `declare`: it is that of
 * declare=. */
static int
read_declarations(const struct program *program, struct translation *unit, bool declare,
                  struct spot *spot)
{
    if (read_preamble(program, unit, spot) < 0) {
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
        refuse_raise(source, spot) < 0 || macros_check(unit->sources, unit->count, spot) < 0) {
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

/* What a pointer or an array leads to in the end, a function itself; NULL: a value. */
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

static bool passes_alike(const struct type *type, const struct type *other);

/* Functions: their results and parameters, each. */
static bool
functions_alike(const struct type *function, const struct type *other)
{
    bool alike = function->parameter_count == other->parameter_count &&
                 passes_alike(function->target, other->target);
    for (size_t i = 0; alike && i < function->parameter_count; i++) {
        alike = passes_alike(function->parameters[i].type, other->parameters[i].type);
    }
    return alike;
}

static bool
numbers_alike(const struct type *type, const struct type *other)
{
    enum basic_type one = type->kind == TYPE_ENUM ? BASIC_INT : type->basic;
    enum basic_type two = other->kind == TYPE_ENUM ? BASIC_INT : other->basic;
    return one == two || plan_same_number(one, two);
}

/* A struct stands for another, or for a complex number, of the same layout. Its name may be any. */
static bool
values_alike(const struct type *type, const struct type *other)
{
    size_t size, other_size, alignment, other_alignment;
    bool number = type->kind == TYPE_BASIC || type->kind == TYPE_ENUM;
    bool other_number = other->kind == TYPE_BASIC || other->kind == TYPE_ENUM;
    if (number && other_number) {
        return numbers_alike(type, other);
    }
    if (type->kind == TYPE_NAMED || other->kind == TYPE_NAMED) {
        return true; /* libtcc tells */
    }
    const struct type *only = number ? type : other_number ? other : NULL;
    bool complex_number =
        only == NULL || (only->kind == TYPE_BASIC &&
                         (only->basic == BASIC_COMPLEX || only->basic == BASIC_COMPLEXF));
    if (only == NULL && type->kind != other->kind) {
        return false;
    }
    return complex_number && (type_layout(type, &size, &alignment) < 0 ||
                              type_layout(other, &other_size, &other_alignment) < 0 ||
                              (size == other_size && alignment == other_alignment));
}

/* Whether C passes a value of the one type as it does one of the other. */
static bool
passes_alike(const struct type *type, const struct type *other)
{
    const struct type *target = target_of(type), *other_target = target_of(other);
    if (target == NULL && other_target == NULL) {
        return values_alike(type, other);
    }
    if (target == NULL || other_target == NULL) {
        return false;
    }
    if (target->kind == TYPE_VOID || other_target->kind == TYPE_VOID) {
        return true;
    }
    bool function = target->kind == TYPE_FUNCTION;
    if (function || other_target->kind == TYPE_FUNCTION) {
        return function && other_target->kind == TYPE_FUNCTION &&
               functions_alike(target, other_target);
    }
    return passes_alike(target, other_target);
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

/* A function that is declared once more must be the same one. */
static int
check_again(const struct translation *unit, const struct source *own,
            const struct declaration *declaration, struct spot *spot)
{
    const struct declaration *first = unit->declarations.items;
    while (!declaration_declares(first, declaration) || source_of(unit, first->first) != own) {
        first++;
    }
    return functions_alike(first->type, declaration->type)
               ? 0
               : spot_fail(spot, own, declaration->name,
                           "'%.*s' is declared before, with other types",
                           (int)declaration->name->length, declaration->name->start);
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
            !is_wanted(program, declaration->name)) {
            continue;
        }
        if (plans_find(plans, declaration->name) != NULL) {
            if (check_again(unit, own, declaration, spot) < 0) {
                return -1;
            }
            continue;
        }
        if (declaration->is_definition) {
            return spot_fail(spot, own, declaration->name,
                             "'%.*s' has a body: 'declare' takes prototypes, code goes into the "
                             "source",
                             (int)declaration->name->length, declaration->name->start);
        }
        const struct declaration *definition = find_definition(program, declaration);
        if (definition != NULL && definition->storage == STORAGE_STATIC) {
            return spot_fail(spot, own, declaration->name,
                             "'%.*s' is static in the source, which keeps it private",
                             (int)declaration->name->length, declaration->name->start);
        }
        struct plan_context context = {.source = own,
                                       .declarations = &unit->declarations,
                                       .variables = program->variables,
                                       .apart = true,
                                       .foreign = definition == NULL};
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
    if (scan(unit, spot) < 0 ||
        check_headers(program, &unit->sources[PREAMBLE_HEADERS], spot) < 0 ||
        read_preamble(program, unit, spot) < 0) {
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
                                       .declarations = &unit->declarations,
                                       .foreign = true};
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

/* Where the sources define a macro of that name with parameters; NULL: they do not. */
static const struct token *
find_function_macro(const struct program *program, const struct token *name,
                    const struct source **source)
{
    for (size_t i = 0; i < program->count; i++) {
        *source = &program->units[i].sources[PREAMBLE_TEXTS];
        const struct token *items = (*source)->tokens.items;
        for (size_t k = 1; k + 1 < (*source)->tokens.count; k++) {
            bool defined = items[k].directive && token_is(&items[k - 1], "define") &&
                           token_compare(&items[k], name) == 0;
            if (defined && token_is(&items[k + 1], "(") &&
                items[k + 1].start == items[k].start + items[k].length) {
                return &items[k];
            }
        }
    }
    return NULL;
}

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
            const struct source *source;
            const struct token *macro = find_function_macro(program, &token, &source);
            if (macro != NULL) {
                return spot_fail(spot, source, macro,
                                 "'functions' names '%.100s', a macro with parameters: write a "
                                 "function that uses it",
                                 name);
            }
            return spot_fail(spot, last, &last->tokens.items[last->tokens.count],
                             "'functions' names '%.100s', which neither the source nor 'declare' "
                             "nor a header declares as something to be called",
                             name);
        }
    }
    return 0;
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
    if (program_refuse(program, &plans->items[0], plans->items[0].refusal, spot) < 0 &&
        spot->message[0] != '\0') {
        return -1;
    }
    return spot_fail(spot, last, end, "%s(): %s", plans->items[0].name, plans->items[0].refusal);
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
