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

/* ---- Plans ---- */

void
plans_free(struct plans *plans)
{
    arena_free(&plans->arena);
    free(plans->items);
    *plans = (struct plans){0};
}

static bool
parameters_match(const struct plan *plan, const struct plan *other)
{
    for (int i = 0; i < plan->count; i++) {
        const struct plan_parameter *one = &plan->parameters[i], *two = &other->parameters[i];
        if (one->role != two->role || one->type != two->type ||
            one->dimensions != two->dimensions || strcmp(one->name, two->name) != 0) {
            return false;
        }
    }
    return true;
}

bool
plans_match(const struct plans *plans, const struct plans *others)
{
    if (plans->count != others->count) {
        return false;
    }
    for (size_t i = 0; i < plans->count; i++) {
        const struct plan *plan = &plans->items[i], *other = &others->items[i];
        if (strcmp(plan->signature, other->signature) != 0 || plan->count != other->count ||
            plan->result != other->result || plan->result_type != other->result_type ||
            (plan->refusal == NULL) != (other->refusal == NULL) || !parameters_match(plan, other)) {
            return false;
        }
    }
    return true;
}

/* ---- Types ---- */

static const int BASIC_NUMBERS[] = {
    [BASIC_BOOL] = NPY_BOOL,         [BASIC_CHAR] = NPY_BYTE,
    [BASIC_SCHAR] = NPY_BYTE,        [BASIC_UCHAR] = NPY_UBYTE,
    [BASIC_SHORT] = NPY_SHORT,       [BASIC_USHORT] = NPY_USHORT,
    [BASIC_INT] = NPY_INT,           [BASIC_UINT] = NPY_UINT,
    [BASIC_LONG] = NPY_LONG,         [BASIC_ULONG] = NPY_ULONG,
    [BASIC_LONGLONG] = NPY_LONGLONG, [BASIC_ULONGLONG] = NPY_ULONGLONG,
    [BASIC_FLOAT] = NPY_FLOAT,       [BASIC_DOUBLE] = NPY_DOUBLE,
    [BASIC_LONGDOUBLE] = -1,         [BASIC_COMPLEXF] = NPY_CFLOAT,
    [BASIC_COMPLEX] = NPY_CDOUBLE,
};

/* By NumPy's numbers. */
static const char *const C_TYPES[] = {
    [NPY_BOOL] = "_Bool",
    [NPY_BYTE] = "signed char",
    [NPY_UBYTE] = "unsigned char",
    [NPY_SHORT] = "short",
    [NPY_USHORT] = "unsigned short",
    [NPY_INT] = "int",
    [NPY_UINT] = "unsigned int",
    [NPY_LONG] = "long",
    [NPY_ULONG] = "unsigned long",
    [NPY_LONGLONG] = "long long",
    [NPY_ULONGLONG] = "unsigned long long",
    [NPY_FLOAT] = "float",
    [NPY_DOUBLE] = "double",
    [NPY_CFLOAT] = "tw_complexf",
    [NPY_CDOUBLE] = "tw_complex",
};

#define TYPE_COUNT (sizeof(C_TYPES) / sizeof(*C_TYPES))

const char *
plan_c_type(int type)
{
    return type >= 0 && (size_t)type < TYPE_COUNT ? C_TYPES[type] : NULL;
}

static bool
is_t(const struct type *type)
{
    return type->kind == TYPE_NAMED && type->name != NULL && token_is(type->name, "T");
}

/* NumPy's number of an arithmetic type, PLAN_T, or -1. */
static int
number_of(const struct type *type, bool generic)
{
    switch (type->kind) {
    case TYPE_BASIC:
        return BASIC_NUMBERS[type->basic];
    case TYPE_ENUM:
        return NPY_INT;
    default:
        return generic && is_t(type) ? PLAN_T : -1;
    }
}

static bool
is_integer(int type)
{
    return type >= NPY_BYTE && type <= NPY_ULONGLONG;
}

static bool
is_known(const struct type *type, const char *name)
{
    return (type->known != NULL && strcmp(type->known, name) == 0) ||
           (type->kind == TYPE_NAMED && type->name != NULL && token_is(type->name, name));
}

/* ---- A function becomes a plan ---- */

struct planner {
    struct plans *plans;
    const struct program *program;
    const struct declaration *declaration;
    struct plan *plan;
    const struct source *source;             /* of messages */
    const struct declarations *declarations; /* of the unit */
    struct spot *spot;
    struct buffer refusal; /* the first reason why Python cannot call the function */
    bool no_memory;
};

static const char *
describe(struct planner *planner, const struct type *type, const char *name)
{
    struct buffer text = BUFFER_INIT;
    type_describe(type, name, true, &text);
    const char *copy =
        text.failed ? NULL : arena_text(&planner->plans->arena, text.data, text.size);
    planner->no_memory |= copy == NULL;
    buffer_free(&text);
    return copy == NULL ? "" : copy;
}

static const char *
copy_token(struct planner *planner, const struct token *token)
{
    const char *copy = token == NULL
                           ? arena_text(&planner->plans->arena, "", 0)
                           : arena_text(&planner->plans->arena, token->start, token->length);
    planner->no_memory |= copy == NULL;
    return copy == NULL ? "" : copy;
}

/* Notes why Python cannot call the function; it stays private. */
static void
refuse(struct planner *planner, const struct plan_parameter *parameter, const char *reason)
{
    if (planner->refusal.size > 0) {
        return;
    }
    if (parameter != NULL) {
        buffer_printf(&planner->refusal, "'%s' (%s): ", parameter->name, parameter->declaration);
    }
    buffer_printf(&planner->refusal, "%s", reason);
}

static void
plan_pointer(struct planner *planner, struct plan_parameter *parameter, const struct type *target)
{
    parameter->role = ROLE_POINTER;
    if (target->kind == TYPE_VOID) {
        parameter->readonly = (target->qualifiers & QUALIFIER_CONST) != 0;
    }
    else if (is_known(target, "PyObject") || is_known(target, "PyArrayObject")) {
        parameter->role = ROLE_OBJECT;
        parameter->is_array = !is_known(target, "PyObject");
        planner->plan->takes_object = true;
    }
    else if (target->kind == TYPE_FUNCTION) {
        refuse(planner, parameter, "functions as arguments are not in this version");
    }
    else {
        refuse(planner, parameter,
               "pointers to this type are not in this version; only to numbers, void and PyObject");
    }
}

/* The role of an array or of a pointer to numbers. */
static void
plan_access(struct planner *planner, struct plan_parameter *parameter, const struct type *element,
            enum parameter_word word)
{
    bool is_const = (element->qualifiers & QUALIFIER_CONST) != 0;
    parameter->role = word == WORD_OUT ? ROLE_OUT : is_const ? ROLE_IN : ROLE_INOUT;
    parameter->type = number_of(element, planner->program->generic);
    planner->plan->generic |= parameter->type == PLAN_T;
    if (parameter->type == -1) {
        refuse(planner, parameter,
               element->kind == TYPE_BASIC ? "libtcc takes long double wrongly"
                                           : "arrays of this type are not in this version");
    }
    if (word != WORD_NONE && is_const) {
        refuse(planner, parameter, "const says that C reads it, out and inout that C writes it");
    }
}

/* The type that an array's elements have in the end. */
static const struct type *
element_of(const struct type *type, int *dimensions)
{
    *dimensions = 0;
    for (; type->kind == TYPE_ARRAY; type = type->target) {
        ++*dimensions;
    }
    return type;
}

static void
plan_type(struct planner *planner, struct plan_parameter *parameter, const struct parameter *given)
{
    const struct type *type = given->type;
    int dimensions;
    const struct type *element = element_of(type, &dimensions);
    parameter->dimensions = -1;
    parameter->type = -1;
    if (dimensions > 0) {
        plan_access(planner, parameter, element, given->word);
        parameter->dimensions = dimensions == 1 && type->extent == NULL ? -1 : dimensions;
    }
    else if (type->kind == TYPE_POINTER) {
        const struct type *target = type->target;
        bool number = number_of(target, planner->program->generic) != -1;
        if (number && target->kind == TYPE_BASIC && target->basic == BASIC_CHAR &&
            (target->qualifiers & QUALIFIER_CONST) != 0 && given->word == WORD_NONE) {
            parameter->role = ROLE_STRING;
        }
        else if (number || target->kind == TYPE_ARRAY) {
            element = element_of(target, &dimensions);
            plan_access(planner, parameter, element, given->word);
            parameter->dimensions = dimensions > 0 ? dimensions + 1 : -1;
        }
        else {
            plan_pointer(planner, parameter, target);
        }
    }
    else {
        parameter->role = ROLE_NUMBER;
        parameter->type = number_of(type, planner->program->generic);
        planner->plan->generic |= parameter->type == PLAN_T;
        if (parameter->type == -1) {
            refuse(planner, parameter,
                   type->kind == TYPE_BASIC ? "libtcc takes long double wrongly"
                                            : "this type by value is not in this version");
        }
    }
    bool array = parameter->role >= ROLE_IN && parameter->role <= ROLE_OUT;
    if (parameter->dimensions > NPY_MAXDIMS) {
        refuse(planner, parameter, "NumPy's arrays have at most 64 dimensions");
    }
    if (parameter->role == ROLE_OUT && parameter->dimensions < 0) {
        parameter->role = ROLE_NUMBER_OUT;
    }
    else if (given->word != WORD_NONE && !array) {
        refuse(planner, parameter, "out and inout belong to arrays and to pointers to numbers");
    }
}

/* ---- Extents ---- */

static int
find_parameter(const struct planner *planner, const struct token *name)
{
    for (int i = 0; i < planner->plan->count; i++) {
        if (token_is(name, planner->plan->parameters[i].name)) {
            return i;
        }
    }
    return -1;
}

static size_t
count_steps(const struct expression *expression)
{
    size_t count = 1;
    for (int i = 0; i < 3 && expression->operands[i] != NULL; i++) {
        count += count_steps(expression->operands[i]);
    }
    return count;
}

static int
refuse_extent(struct planner *planner, const struct plan_parameter *parameter,
              const struct token *token, const char *reason)
{
    return spot_fail(planner->spot, planner->source, token, "'%.*s' in '%s': %s",
                     token->length < 60 ? (int)token->length : 60, token->start,
                     parameter->declaration, reason);
}

/* Appends an expression's steps, operands first. Returns 0, or -1 with the spot. */
static int
add_steps(struct planner *planner, const struct plan_parameter *parameter,
          const struct expression *expression, struct extent *extent)
{
    for (int i = 0; i < 3 && expression->operands[i] != NULL; i++) {
        if (add_steps(planner, parameter, expression->operands[i], extent) < 0) {
            return -1;
        }
    }
    struct step step = {expression->kind, expression->value};
    if (expression->kind == EXPRESSION_NAME) {
        step.value = find_parameter(planner, expression->name);
        if (step.value < 0) {
            return refuse_extent(planner, parameter, expression->name,
                                 "is no parameter of the function");
        }
        const struct plan_parameter *named = &planner->plan->parameters[step.value];
        if (named->role != ROLE_NUMBER || !is_integer(named->type)) {
            return refuse_extent(planner, parameter, expression->name, "is no integer parameter");
        }
    }
    if (expression->kind == EXPRESSION_OTHER || expression->kind == EXPRESSION_STAR) {
        return refuse_extent(planner, parameter, expression->first,
                             "expected an expression of integer parameters and constants");
    }
    extent->steps[extent->step_count++] = step;
    return 0;
}

static const char *
extent_text(struct planner *planner, const struct expression *expression)
{
    struct buffer text = BUFFER_INIT;
    for (const struct token *token = expression->first; token <= expression->last; token++) {
        buffer_append(&text, token->start, token->length);
    }
    const char *copy =
        text.failed ? NULL : arena_text(&planner->plans->arena, text.data, text.size);
    buffer_free(&text);
    planner->no_memory |= copy == NULL;
    return copy == NULL ? "" : copy;
}

static int
plan_extent(struct planner *planner, const struct plan_parameter *parameter,
            const struct expression *expression, struct extent *extent)
{
    extent->parameter = extent->solves = -1;
    extent->any = expression == NULL;
    extent->text = "";
    if (expression == NULL) {
        return 0;
    }
    extent->text = extent_text(planner, expression);
    extent->steps =
        arena_take(&planner->plans->arena, count_steps(expression) * sizeof(*extent->steps));
    if (extent->steps == NULL) {
        planner->no_memory = true;
        return 0;
    }
    if (add_steps(planner, parameter, expression, extent) < 0) {
        return -1;
    }
    if (extent->step_count == 1 && extent->steps[0].kind == EXPRESSION_NAME) {
        extent->parameter = (int)extent->steps[0].value;
    }
    return 0;
}

static int
plan_extents(struct planner *planner, struct plan_parameter *parameter, const struct type *type)
{
    if (parameter->dimensions < 0 || planner->refusal.size > 0) {
        return 0;
    }
    parameter->extents = arena_take(&planner->plans->arena,
                                    (size_t)parameter->dimensions * sizeof(*parameter->extents));
    if (parameter->extents == NULL) {
        planner->no_memory = true;
        return 0;
    }
    bool pointer = type->kind == TYPE_POINTER; /* (*a)[3]: any number of rows */
    const struct type *axis = pointer ? type->target : type;
    for (int i = 0; i < parameter->dimensions; i++) {
        bool any = pointer && i == 0;
        struct extent *extent = &parameter->extents[i];
        if (plan_extent(planner, parameter, any ? NULL : axis->extent, extent) < 0) {
            return -1;
        }
        if (extent->any && parameter->role == ROLE_OUT) {
            return spot_fail(planner->spot, planner->source, planner->declaration->name,
                             "'%s' is an out whose extent along axis %d nothing tells",
                             parameter->declaration, i);
        }
        axis = any ? axis : axis->target;
    }
    return 0;
}

/* ---- Which sizes the arrays tell ---- */

/* How an expression depends on its one unknown parameter: not at all, linearly, or in a way that cannot be
 * solved. */
enum dependence { CONSTANT, LINEAR, OTHER };

static enum dependence
combine(enum expression_kind kind, enum dependence a, enum dependence b)
{
    switch (kind) {
    case EXPRESSION_ADD:
    case EXPRESSION_SUBTRACT:
        return a > b ? a : b;
    case EXPRESSION_MULTIPLY:
        return a == CONSTANT ? b : b == CONSTANT ? a : OTHER;
    default:
        return a == CONSTANT && b == CONSTANT ? CONSTANT : OTHER;
    }
}

static int
operand_count(enum expression_kind kind)
{
    return kind < EXPRESSION_NEGATE    ? 0
           : kind <= EXPRESSION_NOT    ? 1
           : kind == EXPRESSION_CHOOSE ? 3
                                       : 2;
}

#define MOST_STEPS 200

static enum dependence
dependence_on(const struct extent *extent, int unknown)
{
    enum dependence stack[MOST_STEPS];
    size_t top = 0;
    if (extent->step_count > MOST_STEPS) {
        return OTHER;
    }
    for (size_t i = 0; i < extent->step_count; i++) {
        const struct step *step = &extent->steps[i];
        switch (operand_count(step->kind)) {
        case 0:
            stack[top++] =
                step->kind == EXPRESSION_NAME && step->value == unknown ? LINEAR : CONSTANT;
            break;
        case 1:
            if (step->kind != EXPRESSION_NEGATE && stack[top - 1] != CONSTANT) {
                stack[top - 1] = OTHER;
            }
            break;
        case 2:
            top--;
            stack[top - 1] = combine(step->kind, stack[top - 1], stack[top]);
            break;
        default:
            top -= 2;
            stack[top - 1] =
                stack[top - 1] == CONSTANT && stack[top] == CONSTANT && stack[top + 1] == CONSTANT
                    ? CONSTANT
                    : OTHER;
        }
    }
    return top == 1 ? stack[0] : OTHER;
}

static bool
is_sized(const struct plan_parameter *parameter)
{
    return (parameter->role == ROLE_IN || parameter->role == ROLE_INOUT) &&
           parameter->dimensions > 0;
}

/* The one parameter of an extent that is not known yet, -1: none, -2: several. Known are what the caller
 * gives for certain (nothing, at first: sizes are inferred where they can be) and what arrays told. */
static int
unknown_of(const struct planner *planner, const struct extent *extent)
{
    int unknown = -1;
    for (size_t i = 0; i < extent->step_count; i++) {
        const struct step *step = &extent->steps[i];
        if (step->kind != EXPRESSION_NAME ||
            planner->plan->parameters[step->value].role == ROLE_HIDDEN) {
            continue;
        }
        if (unknown >= 0 && unknown != step->value) {
            return -2;
        }
        unknown = (int)step->value;
    }
    return unknown;
}

/* Hides one more parameter that an input array tells. Returns whether there was one. */
static bool
hide_one(struct planner *planner)
{
    for (int i = 0; i < planner->plan->count; i++) {
        struct plan_parameter *array = &planner->plan->parameters[i];
        for (int axis = 0; is_sized(array) && axis < array->dimensions; axis++) {
            struct extent *extent = &array->extents[axis];
            int unknown = extent->any ? -1 : unknown_of(planner, extent);
            if (unknown >= 0 && dependence_on(extent, unknown) == LINEAR) {
                struct plan_parameter *hidden = &planner->plan->parameters[unknown];
                hidden->role = ROLE_HIDDEN;
                planner->plan->hidden[planner->plan->hidden_count++] = unknown;
                hidden->source = i;
                hidden->source_axis = axis;
                extent->solves = unknown;
                return true;
            }
        }
    }
    return false;
}

int
extent_value(const struct extent *extent, const long long *values, long long *result)
{
    long long stack[MOST_STEPS];
    size_t top = 0;
    if (extent->step_count > MOST_STEPS) {
        return -1;
    }
    for (size_t i = 0; i < extent->step_count; i++) {
        const struct step *step = &extent->steps[i];
        int count = operand_count(step->kind);
        struct expression leaves[3] = {{.kind = EXPRESSION_CONSTANT},
                                       {.kind = EXPRESSION_CONSTANT},
                                       {.kind = EXPRESSION_CONSTANT}};
        struct expression node = {.kind = step->kind, .value = step->value};
        if (count == 0) {
            stack[top++] = step->kind == EXPRESSION_NAME ? values[step->value] : step->value;
            continue;
        }
        top -= (size_t)count;
        for (int k = 0; k < count; k++) {
            leaves[k].value = stack[top + (size_t)k];
            node.operands[k] = &leaves[k];
        }
        if (expression_constant(&node, &stack[top++]) < 0) {
            return -1;
        }
    }
    *result = stack[0];
    return 0;
}

/* ---- A whole plan ---- */

static void
number_arguments(struct plan *plan)
{
    for (int i = 0; i < plan->count; i++) {
        struct plan_parameter *parameter = &plan->parameters[i];
        bool out = parameter->role == ROLE_OUT || parameter->role == ROLE_NUMBER_OUT;
        parameter->argument = out || parameter->role == ROLE_HIDDEN ? -1 : plan->argument_count++;
        parameter->out = parameter->role == ROLE_OUT ? plan->out_count++ : -1;
        plan->number_out_count += parameter->role == ROLE_NUMBER_OUT;
        plan->write_count += parameter->role == ROLE_INOUT || parameter->role == ROLE_OUT;
        if (parameter->role >= ROLE_IN && parameter->role <= ROLE_OUT) {
            plan->arrays[plan->array_count++] = i;
        }
    }
}

static void
plan_result(struct planner *planner, const struct type *type)
{
    struct plan *plan = planner->plan;
    plan->result_type = number_of(type, planner->program->generic);
    plan->generic |= plan->result_type == PLAN_T;
    if (type->kind == TYPE_VOID) {
        plan->result = ROLE_NOTHING;
    }
    else if (plan->result_type != -1) {
        plan->result = ROLE_NUMBER;
    }
    else if (type->kind == TYPE_POINTER) {
        const struct type *target = type->target;
        bool text = target->kind == TYPE_BASIC && target->basic == BASIC_CHAR &&
                    (target->qualifiers & QUALIFIER_CONST) != 0;
        bool object = is_known(target, "PyObject") || is_known(target, "PyArrayObject");
        plan->result = text ? ROLE_STRING : object ? ROLE_OBJECT : ROLE_POINTER;
        plan->takes_object |= object;
    }
    else {
        refuse(planner, NULL, "a result of this type is not in this version");
    }
}

/* The comment's words, without marks and leading stars. */
static const char *
clean_comment(struct planner *planner, const char *comment, size_t length)
{
    struct buffer text = BUFFER_INIT;
    const char *end = comment + length;
    if (length >= 4 && comment[1] == '*') {
        comment += 2;
        end -= 2;
    }
    while (comment < end) {
        const char *line_end = memchr(comment, '\n', (size_t)(end - comment));
        line_end = line_end == NULL ? end : line_end;
        const char *start = comment;
        while (start < line_end && strchr(" \t*/", *start) != NULL) {
            start++;
        }
        const char *stop = line_end;
        while (stop > start && strchr(" \t\r", stop[-1]) != NULL) {
            stop--;
        }
        if (text.size > 0) {
            buffer_append_string(&text, "\n");
        }
        buffer_append(&text, start, (size_t)(stop - start));
        comment = line_end + 1;
    }
    while (text.size > 0 && text.data[text.size - 1] == '\n') {
        text.size--;
    }
    const char *copy =
        text.failed ? NULL : arena_text(&planner->plans->arena, text.data, text.size);
    buffer_free(&text);
    planner->no_memory |= copy == NULL;
    return copy == NULL ? "" : copy;
}

/* The declaration as written, on one line. */
static const char *
one_line(struct planner *planner)
{
    struct buffer text = BUFFER_INIT;
    const struct token *previous = NULL;
    for (const struct token *token = planner->declaration->first;
         token <= planner->declaration->last; token++) {
        bool tight = previous == NULL || token_is(previous, "(") || token_is(previous, "[") ||
                     token_is(previous, "*") || token_is(token, ")") || token_is(token, "]") ||
                     token_is(token, "[") || token_is(token, ",") ||
                     (token_is(token, "(") && previous->kind == TOKEN_IDENTIFIER);
        buffer_append_string(&text, tight ? "" : " ");
        buffer_append(&text, token->start, token->length);
        previous = token;
    }
    const char *copy =
        text.failed ? NULL : arena_text(&planner->plans->arena, text.data, text.size);
    buffer_free(&text);
    planner->no_memory |= copy == NULL;
    return copy == NULL ? "" : copy;
}

static bool
declares_same(const struct declaration *declaration, const struct declaration *other)
{
    return declaration->type->kind == TYPE_FUNCTION && declaration->storage != STORAGE_TYPEDEF &&
           token_compare(declaration->name, other->name) == 0;
}

/* A parameter's word, of the definition or of any prototype of the function. */
static enum parameter_word
word_of(const struct planner *planner, size_t index)
{
    for (size_t i = 0; i < planner->declarations->count; i++) {
        const struct declaration *declaration = &planner->declarations->items[i];
        if (declares_same(declaration, planner->declaration) &&
            index < declaration->type->parameter_count &&
            declaration->type->parameters[index].word != WORD_NONE) {
            return declaration->type->parameters[index].word;
        }
    }
    return WORD_NONE;
}

static int
plan_parameters(struct planner *planner)
{
    struct plan *plan = planner->plan;
    const struct type *type = planner->declaration->type;
    for (int i = 0; i < plan->count; i++) {
        const struct parameter *given = &type->parameters[i];
        plan->parameters[i].name = copy_token(planner, given->name);
        plan->parameters[i].declaration = describe(planner, given->type, plan->parameters[i].name);
    }
    for (int i = 0; i < plan->count; i++) {
        struct parameter given = type->parameters[i];
        given.word = word_of(planner, (size_t)i);
        plan_type(planner, &plan->parameters[i], &given);
    }
    for (int i = 0; i < plan->count; i++) {
        if (plan_extents(planner, &plan->parameters[i], type->parameters[i].type) < 0) {
            return -1;
        }
    }
    while (planner->refusal.size == 0 && !planner->no_memory && hide_one(planner)) {
    }
    number_arguments(plan);
    return 0;
}

/* Returns 0, or -1 with the spot. */
static int
plan_function(struct planner *planner)
{
    struct plan *plan = planner->plan;
    const struct type *type = planner->declaration->type;
    planner->refusal = (struct buffer)BUFFER_INIT;
    plan->count = (int)type->parameter_count;
    plan->name = copy_token(planner, planner->declaration->name);
    plan->signature = one_line(planner);
    plan->comment = planner->declaration->comment == NULL
                        ? ""
                        : clean_comment(planner, planner->declaration->comment,
                                        planner->declaration->comment_length);
    plan->parameters =
        arena_take(&planner->plans->arena, (type->parameter_count + 1) * sizeof(*plan->parameters));
    plan->hidden =
        arena_take(&planner->plans->arena, (type->parameter_count + 1) * sizeof(*plan->hidden));
    plan->arrays =
        arena_take(&planner->plans->arena, (type->parameter_count + 1) * sizeof(*plan->arrays));
    if (plan->parameters == NULL || plan->hidden == NULL || plan->arrays == NULL) {
        *planner->spot = (struct spot){0};
        return -1;
    }
    int result = plan_parameters(planner);
    plan_result(planner, type->target);
    if (type->variadic) {
        refuse(planner, NULL, "a function with ... cannot be called from Python");
    }
    if (planner->refusal.size > 0) {
        plan->refusal =
            arena_text(&planner->plans->arena, planner->refusal.data, planner->refusal.size);
    }
    buffer_free(&planner->refusal);
    if (result == 0 && planner->no_memory) {
        *planner->spot = (struct spot){0};
        return -1;
    }
    return result;
}

/* ---- Reading ---- */

/* A parameter's `out` becomes blanks in the text that libtcc gets: it may be spelled in the text itself or
 * in a macro there. */
static void
blank_word(struct translation *unit, const struct token *word)
{
    const struct source *source = &unit->sources[PREAMBLE_TEXTS];
    if (word != NULL && word->start >= source->text &&
        word->start < source->text + source->length) {
        memset(unit->text + (word->start - source->text), ' ', word->length);
    }
}

static void
blank_type(struct translation *unit, const struct type *type)
{
    for (; type != NULL; type = type->target) {
        for (size_t i = 0; type->kind == TYPE_FUNCTION && i < type->parameter_count; i++) {
            blank_word(unit, type->parameters[i].word_token);
            blank_type(unit, type->parameters[i].type);
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

static int
read_unit(struct program *program, struct translation *unit, struct spot *spot)
{
    struct source *source = &unit->sources[PREAMBLE_TEXTS];
    for (int i = 0; i <= PREAMBLE_TEXTS; i++) {
        if (lexer_scan(&unit->sources[i], spot) < 0) {
            return -1;
        }
    }
    if (check_source(source, false, spot) < 0 || refuse_raise(source, spot) < 0 ||
        macros_check(unit->sources, PREAMBLE_TEXTS + 1, spot) < 0) {
        return -1;
    }
    unit->preamble = (struct preamble){.sources = unit->sources,
                                       .count = PREAMBLE_TEXTS + 1,
                                       .declaring = PREAMBLE_TEXTS + 1,
                                       .include_dirs = program->include_dirs};
    unit->text = malloc(source->length + 1);
    if (unit->text == NULL || preamble_read(&unit->preamble) < 0) {
        *spot = (struct spot){0};
        return -1;
    }
    memcpy(unit->text, source->text, source->length);
    if (preprocess(unit->sources, PREAMBLE_TEXTS + 1, &unit->preamble.includes,
                   program->include_dirs, &unit->expanded, spot) < 0 ||
        declarations_read(&unit->expanded, &unit->declarations, spot) < 0 ||
        pointers_check(source, sort_parameter, unit, spot) < 0) {
        return -1;
    }
    for (size_t i = 0; i < unit->declarations.count; i++) {
        blank_type(unit, unit->declarations.items[i].type);
    }
    program->generic |= unit->declarations.uses_type_t;
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
            declares_same(&declarations->items[i], declaration)) {
            return false;
        }
    }
    return true;
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
        if (!is_public(&unit->declarations, declaration)) {
            continue;
        }
        struct plan *items = realloc(plans->items, (plans->count + 1) * sizeof(*items));
        if (items == NULL) {
            *spot = (struct spot){0};
            return -1;
        }
        plans->items = items;
        items[plans->count] = (struct plan){0};
        struct planner planner = {.plans = plans,
                                  .program = program,
                                  .declaration = declaration,
                                  .declarations = &unit->declarations,
                                  .plan = &items[plans->count],
                                  .source = source_of(unit, declaration->first),
                                  .spot = spot};
        plans->count++;
        if (plan_function(&planner) < 0) {
            return -1;
        }
    }
    unit->plan_count = plans->count - unit->first_plan;
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
    for (size_t i = 0; i < program->count; i++) {
        if (plan_unit(program, &program->units[i], plans, spot) < 0) {
            return -1;
        }
    }
    plans->generic = program->generic;
    return check_plans(program, plans, spot);
}

void
program_free(struct program *program)
{
    for (size_t i = 0; i < program->count; i++) {
        struct translation *unit = &program->units[i];
        declarations_free(&unit->declarations);
        preprocess_free(&unit->expanded);
        preamble_free(&unit->preamble);
        for (int k = 0; k <= PREAMBLE_TEXTS; k++) {
            lexer_free(&unit->sources[k]);
        }
        free(unit->text);
    }
}

/* ---- The unit ---- */

/* The plain operators of a real T; of a complex one the prelude's own forms stay. */
static void
emit_operators(const struct preamble *preamble, int type, struct buffer *text)
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
        {"tw_imag", "(x) ((T)((x) * 0))"},
        {"tw_abs", NULL},
    };
    const char *absolute = type == NPY_DOUBLE ? "(x) fabs(x)"
                           : type == NPY_FLOAT
                               ? "(x) fabsf(x)"
                               : "(x) ({ T tw_abs_x = (x); tw_abs_x < 0 ? -tw_abs_x : tw_abs_x; })";
    if (type == NPY_CFLOAT || type == NPY_CDOUBLE) {
        return;
    }
    for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++) {
        if (preamble_uses(preamble, operators[i].name)) {
            const char *definition = operators[i].definition;
            buffer_printf(text, "#undef %s\n#define %s%s\n", operators[i].name, operators[i].name,
                          definition == NULL ? absolute : definition);
        }
    }
}

/* Types are named in front of the user's macros, so that "#define int long" changes nothing of ours. */
static void
emit_types(struct buffer *text)
{
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (C_TYPES[i] != NULL && i != NPY_CFLOAT && i != NPY_CDOUBLE) {
            buffer_printf(text, "typedef %s tw_type_%zu;\n", C_TYPES[i], i);
        }
    }
    buffer_printf(text,
                  "typedef tw_complexf tw_type_%d;\ntypedef tw_complex tw_type_%d;\n"
                  "typedef void *tw_pointer;\ntypedef void tw_nothing;\n"
                  "typedef double (*tw_slots)[2];\ntypedef struct tw_call *tw_call_pointer;\n",
                  NPY_CFLOAT, NPY_CDOUBLE);
}

/* "*(tw_type_12 *)tw_v[0]" */
static void
emit_slot(struct buffer *text, enum role role, int type, int t, int index)
{
    bool number = role == ROLE_NUMBER || role == ROLE_HIDDEN;
    if (number) {
        buffer_printf(text, "*(tw_type_%d *)tw_v[%d]", type == PLAN_T ? t : type, index);
    }
    else {
        buffer_printf(text, "*(tw_pointer *)tw_v[%d]", index);
    }
}

static void
emit_entry(struct buffer *text, const struct plan *plan, size_t index, int t)
{
    buffer_printf(text, "#undef %s\n", plan->name);
    buffer_printf(text, "tw_nothing tw_enter_%zu(tw_call_pointer tw_call, tw_slots tw_v)\n{\n",
                  index);
    if (plan->result != ROLE_NOTHING) {
        emit_slot(text, plan->result, plan->result_type, t, plan->count);
        buffer_append_string(text, plan->result == ROLE_NUMBER ? " = " : " = (tw_pointer)");
    }
    buffer_printf(text, "(%s)(", plan->name);
    for (int i = 0; i < plan->count; i++) {
        buffer_append_string(text, i > 0 ? ", " : "");
        emit_slot(text, plan->parameters[i].role, plan->parameters[i].type, t, i);
    }
    buffer_append_string(text, ");\n}\n");
}

static void
emit_table(struct buffer *text, const struct plans *plans)
{
    for (size_t i = 0; i < plans->count; i++) {
        if (plans->items[i].refusal == NULL) {
            buffer_printf(text, "tw_nothing tw_enter_%zu(tw_call_pointer, tw_slots);\n", i);
        }
    }
    buffer_append_string(text, "tw_pointer " KERNEL_ENTRY "[] = {\n");
    for (size_t i = 0; i < plans->count; i++) {
        bool refused = plans->items[i].refusal != NULL;
        buffer_printf(text, refused ? "0,\n" : "(tw_pointer)tw_enter_%zu,\n", i);
    }
    buffer_append_string(text, "};\n");
}

static int
emit_unit(const struct program *program, const struct translation *unit, const struct plans *plans,
          int type, struct buffer *text)
{
    static const char *const more[] = {"tw_call", "tw_complex", "tw_complexf",
                                       "fabs",    "fabsf",      NULL};
    static const char *const fewer[] = {"tw_call", "tw_complex", "tw_complexf", NULL};
    bool absolute = program->generic && preamble_uses(&unit->preamble, "tw_abs");
    if (preamble_declare(&unit->preamble, absolute ? more : fewer, text) < 0) {
        return -1;
    }
    emit_types(text);
    if (program->generic) {
        buffer_printf(text, "typedef %s T;\n", C_TYPES[type]);
        emit_operators(&unit->preamble, type, text);
    }
    preamble_headers(&unit->preamble, text);
    struct source blanked = unit->sources[PREAMBLE_TEXTS];
    blanked.text = unit->text;
    preamble_append(&blanked, text);
    buffer_append_string(text, "#line 1 \"tw:generated\"\n");
    for (size_t i = unit->first_plan; i < unit->first_plan + unit->plan_count; i++) {
        if (plans->items[i].refusal == NULL) {
            emit_entry(text, &plans->items[i], i, type);
        }
    }
    return 0;
}

static void
emit_signature(struct buffer *signature, const struct plans *plans, int type)
{
    if (type >= 0) {
        buffer_printf(signature, "T = %s; ", C_TYPES[type]);
    }
    for (size_t i = 0; i < plans->count; i++) {
        buffer_printf(signature, "%s%s", i > 0 ? "; " : "", plans->items[i].signature);
    }
}

int
program_unit(const struct program *program, const struct plans *plans, int type, struct unit *unit,
             struct buffer *headers)
{
    struct buffer *text = &unit->text;
    for (size_t i = 0; i < program->count; i++) {
        const struct translation *translation = &program->units[i];
        if (i > 0) {
            buffer_append(text, "", 1);
        }
        if (preamble_unit(&translation->preamble, unit, headers) < 0 ||
            emit_unit(program, translation, plans, type, text) < 0) {
            return -1;
        }
        if (i + 1 == program->count) {
            emit_table(text, plans);
        }
        preamble_end(&translation->preamble, text);
    }
    for (size_t i = 0; i < plans->count; i++) {
        unit->needs_gil |= plans->items[i].takes_object;
    }
    emit_signature(&unit->signature, plans, type);
    return text->failed || headers->failed || unit->signature.failed ? -1 : 0;
}
