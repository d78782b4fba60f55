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

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <numpy/ndarraytypes.h>

#include "../../cache/kernel.h"
#include "../../runtime/symbols.h"
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

/* Finds the declarations of a scanned text: macros expanded, the user's headers read. */
static int
read_declarations(const struct program *program, struct translation *unit, struct spot *spot)
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
               : declarations_read(&unit->expanded, &unit->declarations, spot);
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
        refuse_raise(source, spot) < 0 || macros_check(unit->sources, unit->count, spot) < 0) {
        return -1;
    }
    unit->text = malloc(source->length + 1);
    if (unit->text == NULL) {
        *spot = (struct spot){0};
        return -1;
    }
    memcpy(unit->text, source->text, source->length);
    if (read_declarations(program, unit, spot) < 0 ||
        pointers_check(source, sort_parameter, unit, spot) < 0) {
        return -1;
    }
    for (size_t i = 0; i < unit->declarations.count; i++) {
        blank_type(unit, unit->declarations.items[i].type, 0);
    }
    program->variables |= unit->declarations.type_variables;
    return 0;
}

/* A definition, and no declaration of that name says static. */
static bool
is_public(const struct declarations *declarations, const struct declaration *declaration)
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
        if (is_public(&unit->declarations, declaration) && is_wanted(program, declaration->name) &&
            plans_find(plans, declaration->name) == NULL &&
            plan_function(plans, &context, declaration, spot) < 0) {
            return -1;
        }
    }
    unit->plan_count = plans->count - unit->first_plan;
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
    const struct source *own = unit->count == 0 ? NULL : &unit->sources[unit->count - 1];
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
    unit->plan_count = plans->count;
    return 0;
}

static int
read_declare(struct program *program, struct spot *spot)
{
    struct translation *unit = &program->declare;
    if (unit->count == 0) {
        return 0;
    }
    if (scan(unit, spot) < 0 || read_declarations(program, unit, spot) < 0) {
        return -1;
    }
    program->variables |= unit->declarations.type_variables;
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
        if (plans_find(plans, &token) == NULL) {
            const struct source *last = &program->units[program->count - 1].sources[PREAMBLE_TEXTS];
            return spot_fail(spot, last, &last->tokens.items[last->tokens.count],
                             "'functions' names '%.100s', which neither the source nor 'declare' "
                             "declares",
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
    if (plans->count == 0) {
        return spot_fail(spot, last, last->tokens.count > 0 ? last->tokens.items : end,
                         "the source defines no function that is not static");
    }
    return spot_fail(spot, last, end, "no function can be called from Python: %s(): %s",
                     plans->items[0].name, plans->items[0].refusal);
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
    if (read_declare(program, spot) < 0 || plan_declared(program, plans, spot) < 0) {
        return -1;
    }
    for (size_t i = 0; i < program->count; i++) {
        if (plan_unit(program, &program->units[i], plans, spot) < 0) {
            return -1;
        }
    }
    plans->variables = program->variables;
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
}

/* ---- The unit ---- */

/* The plain operators, where no type variable is complex; else the prelude's own forms stay. */
static void
emit_operators(const struct preamble *preamble, struct buffer *text)
{
    static const struct {
        const char *name;
        const char *definition;
    } operators[] = {
        {"tw_add", "(x, y) ((x) + (y))"},
        {"tw_sub", "(x, y) ((x) - (y))"},
        {"tw_mul", "(x, y) ((x) * (y))"},
        {"tw_div", "(x, y) ((x) / (y))"},
        {"tw_neg", "(x) (-(x))"},
        {"tw_conj", "(x) (x)"},
        {"tw_real", "(x) (x)"},
        {"tw_imag", "(x) ((__typeof__(x))((x) * 0))"},
        {"tw_abs", "(x) _Generic((x), double: fabs(x), float: fabsf(x), "
                   "default: ({ __typeof__(x) tw_abs_x = (x); tw_abs_x < 0 ? -tw_abs_x : "
                   "tw_abs_x; }))"},
    };
    for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++) {
        if (preamble_uses(preamble, operators[i].name)) {
            buffer_printf(text, "#undef %s\n#define %s%s\n", operators[i].name, operators[i].name,
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

/* `apart`: the function is declared by emit_declaration. */
static void
emit_entry(struct buffer *text, const struct plan *plan, size_t index, bool apart,
           const struct binding *binding)
{
    if (apart) {
        emit_declaration(text, plan, index, binding);
    }
    else {
        buffer_printf(text, "#undef %s\n", plan->name);
    }
    buffer_printf(text, "tw_nothing tw_enter_%zu(tw_call_pointer tw_call, tw_slots tw_v)\n{\n",
                  index);
    if (plan->result != ROLE_NOTHING) {
        emit_slot(text, plan->result, plan_bound(plan->returned.type, binding), plan->count);
        buffer_append_string(text, plan->result == ROLE_NUMBER ? " = " : " = (tw_pointer)");
    }
    if (apart) {
        buffer_printf(text, "tw_function_%zu(", index);
    }
    else {
        buffer_printf(text, "(%s)(", plan->name);
    }
    for (int i = 0; i < plan->c_count; i++) {
        buffer_append_string(text, i > 0 ? ", " : "");
        emit_slot(text, plan->parameters[i].role, plan_bound(plan->parameters[i].type, binding), i);
    }
    buffer_append_string(text, ");\n}\n");
}

static void
emit_entries(struct buffer *text, const struct plans *plans, size_t first, size_t count, bool apart,
             const struct binding *binding)
{
    for (size_t i = first; i < first + count; i++) {
        if (plans->items[i].refusal == NULL) {
            emit_entry(text, &plans->items[i], i, apart, binding);
        }
    }
}

static void
emit_table(struct buffer *text, const struct plans *plans)
{
    for (size_t i = 0; i < plans->count; i++) {
        if (plans->items[i].refusal == NULL) {
            buffer_printf(text, "tw_nothing tw_enter_%zu(tw_call_pointer, tw_slots);\n", i);
            buffer_printf(text, "tw_nothing tw_address_%zu(tw_nothing) __asm__(\"%s\");\n", i,
                          plans->items[i].name);
        }
    }
    buffer_append_string(text, "tw_pointer " KERNEL_ENTRY "[] = {\n");
    static const char *const columns[] = {"tw_enter", "tw_address"};
    for (size_t column = 0; column < 2; column++) {
        for (size_t i = 0; i < plans->count; i++) {
            if (plans->items[i].refusal != NULL) {
                buffer_append_string(text, "0,\n");
            }
            else {
                buffer_printf(text, "(tw_pointer)%s_%zu,\n", columns[column], i);
            }
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
    if (variables != 0 && !any_complex) {
        emit_operators(&unit->preamble, text);
    }
}

static int
emit_unit(const struct program *program, const struct translation *unit, const struct plans *plans,
          const struct binding *binding, struct buffer *text)
{
    static const char *const more[] = {"tw_call", "tw_complex", "tw_complexf",
                                       "fabs",    "fabsf",      NULL};
    static const char *const fewer[] = {"tw_call", "tw_complex", "tw_complexf", NULL};
    bool absolute = program->variables != 0 && preamble_uses(&unit->preamble, "tw_abs");
    if (preamble_declare(&unit->preamble, absolute ? more : fewer, text) < 0) {
        return -1;
    }
    emit_types(text);
    emit_variables(unit, program->variables, binding, text);
    preamble_headers(&unit->preamble, text);
    struct source blanked = unit->sources[PREAMBLE_TEXTS];
    blanked.text = unit->text;
    preamble_append(&blanked, text);
    buffer_append_string(text, "#line 1 \"tw:generated\"\n");
    emit_entries(text, plans, unit->first_plan, unit->plan_count, false, binding);
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
            emit_entries(text, plans, 0, program->declare.plan_count, true, binding);
            emit_table(text, plans);
        }
        preamble_end(&translation->preamble, text);
    }
    for (size_t i = 0; i < plans->count; i++) {
        unit->needs_gil |= plans->items[i].takes_object;
    }
    emit_signature(&unit->signature, plans, binding);
    return text->failed || headers->failed || unit->signature.failed ? -1 : 0;
}
