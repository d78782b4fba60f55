/* plan.c: a C function's prototype -> a plan of its calls from Python. */
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <numpy/ndarraytypes.h>

/* ---- Plans ---- */

void
plans_free(struct plans *plans)
{
    arena_free(&plans->arena);
    free(plans->items);
    free(plans->records);
    free(plans->globals);
    free(plans->constants);
    *plans = (struct plans){0};
}

static bool
parameters_match(const struct plan *plan, const struct plan *other)
{
    for (int i = 0; i < plan->count; i++) {
        const struct plan_parameter *one = &plan->parameters[i], *two = &other->parameters[i];
        if (one->role != two->role || one->type != two->type ||
            one->dimensions != two->dimensions || strcmp(one->name, two->name) != 0 ||
            strcmp(one->declaration, two->declaration) != 0) {
            return false;
        }
    }
    return true;
}

static bool
functions_match(const struct plan *plan, const struct plan *other)
{
    return strcmp(plan->signature, other->signature) == 0 && plan->count == other->count &&
           plan->result == other->result && plan->returned.type == other->returned.type &&
           strcmp(plan->result_passed, other->result_passed) == 0 &&
           (plan->refusal == NULL) == (other->refusal == NULL) && parameters_match(plan, other);
}

static bool
fields_match(const struct plan_field *field, const struct plan_field *other)
{
    bool match = field->type == other->type && field->offset == other->offset &&
                 field->itemsize == other->itemsize && field->dimensions == other->dimensions;
    for (int i = 0; match && i < field->dimensions; i++) {
        match = field->shape[i] == other->shape[i];
    }
    return match;
}

static bool
records_match(const struct plan_record *record, const struct plan_record *other)
{
    bool match = record->size == other->size && record->count == other->count;
    for (int i = 0; match && i < record->count; i++) {
        match = fields_match(&record->fields[i], &other->fields[i]) &&
                strcmp(record->fields[i].name, other->fields[i].name) == 0;
    }
    return match;
}

static bool
variables_match(const struct plan_variable *variable, const struct plan_variable *other)
{
    return variable->kind == other->kind && variable->readonly == other->readonly &&
           (variable->refusal == NULL) == (other->refusal == NULL) &&
           (variable->refusal != NULL || fields_match(&variable->field, &other->field)) &&
           strcmp(variable->name, other->name) == 0;
}

bool
plans_match(const struct plans *plans, const struct plans *others)
{
    bool match = plans->count == others->count && plans->variables == others->variables &&
                 plans->record_count == others->record_count &&
                 plans->global_count == others->global_count;
    for (size_t i = 0; match && i < plans->record_count; i++) {
        match = records_match(&plans->records[i], &others->records[i]);
    }
    for (size_t i = 0; match && i < plans->global_count; i++) {
        match = variables_match(&plans->globals[i], &others->globals[i]);
    }
    for (size_t i = 0; match && i < plans->count; i++) {
        match = functions_match(&plans->items[i], &others->items[i]);
    }
    return match;
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

bool
plan_same_number(enum basic_type type, enum basic_type other)
{
    static const int same[][2] = {{NPY_LONG, NPY_LONGLONG}, {NPY_ULONG, NPY_ULONGLONG}};
    int one = BASIC_NUMBERS[type], two = BASIC_NUMBERS[other];
    for (size_t i = 0; i < sizeof(same) / sizeof(*same) && one != two; i++) {
        bool both =
            (one == same[i][0] && two == same[i][1]) || (one == same[i][1] && two == same[i][0]);
        one = both ? two : one;
    }
    return one == two;
}

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

/* PLAN_T or its like where the type is a variable in use, else PLAN_NONE. */
static int
variable_of(const struct type *type, unsigned variables)
{
    unsigned bit = type->kind == TYPE_NAMED && type->name != NULL ? type_variable(type->name) : 0;
    return (bit & variables) != 0 ? PLAN_T - __builtin_ctz(bit) : PLAN_NONE;
}

int
plan_number(const struct type *type)
{
    switch (type->kind) {
    case TYPE_BASIC:
        return BASIC_NUMBERS[type->basic];
    case TYPE_ENUM:
        return type->record == NULL ? NPY_INT : BASIC_NUMBERS[type->record->basic];
    default:
        return PLAN_NONE;
    }
}

/* NumPy's number of an arithmetic type, a type variable, or PLAN_NONE. */
static int
number_of(const struct type *type, unsigned variables)
{
    int number = plan_number(type);
    return number != PLAN_NONE ? number : variable_of(type, variables);
}

/* Notes the type variable that a type is, if it is one. */
static int
note_variable(struct plan *plan, int type)
{
    int variable = plan_variable(type);
    plan->variables |= variable < 0 ? 0 : 1u << variable;
    return type;
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
    const struct plan_context *context;
    const struct declaration *declaration; /* NULL: of a parameter that is a function */
    const struct type *type;               /* the function's */
    const struct planner *outer;           /* of the function that takes it; NULL: it is none */
    const struct token *named;             /* where messages point that have no better place */
    size_t most_sizes;                     /* room for sizes apart */
    struct plan *plan;
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
plan_pointer(struct planner *planner, struct plan_parameter *parameter, const struct type *target,
             enum parameter_word word)
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
    else if (word == WORD_OUT && target->kind == TYPE_POINTER) {
        parameter->role = ROLE_NUMBER_OUT; /* an address returned */
        parameter->type = NPY_ULONG;
    }
    else {
        parameter->readonly = (target->qualifiers & QUALIFIER_CONST) != 0;
    }
}

/* An array of structs, or a pointer to one. */
static void
plan_record_access(struct planner *planner, struct plan_parameter *parameter,
                   const struct type *element)
{
    const char *reason;
    parameter->type = plan_record_of(planner->plans, element, &reason);
    if (parameter->type != PLAN_NONE) {
        return;
    }
    char text[160];
    snprintf(text, sizeof(text), "NumPy has no dtype for it: it has %s", reason);
    refuse(planner, parameter,
           reason != NULL                ? text
           : element->kind == TYPE_BASIC ? "libtcc takes long double wrongly"
                                         : "arrays of this type are not in this version");
}

static void
check_dimensions(struct planner *planner, const struct plan_parameter *array)
{
    if (array->dimensions > NPY_MAXDIMS) {
        refuse(planner, array, "NumPy's arrays have at most 64 dimensions");
    }
}

/* The role of an array or of a pointer to numbers. */
static void
plan_access(struct planner *planner, struct plan_parameter *parameter, const struct type *element,
            enum parameter_word word)
{
    bool is_const = (element->qualifiers & QUALIFIER_CONST) != 0;
    parameter->role = word == WORD_OUT ? ROLE_OUT : is_const ? ROLE_IN : ROLE_INOUT;
    parameter->type = note_variable(planner->plan, number_of(element, planner->context->variables));
    parameter->is_text = element->kind == TYPE_BASIC &&
                         (element->basic == BASIC_CHAR || element->basic == BASIC_UCHAR);
    if (parameter->type == PLAN_NONE) {
        plan_record_access(planner, parameter, element);
    }
    if (word != WORD_NONE && is_const) {
        refuse(planner, parameter, "const says that C reads it, out and inout that C writes it");
    }
}

/* The type that an array's elements have in the end. */
const struct type *
plan_element(const struct type *type, int *dimensions)
{
    *dimensions = 0;
    for (; type->kind == TYPE_ARRAY; type = type->target) {
        ++*dimensions;
    }
    return type;
}

static int plan_callback(struct planner *planner, struct plan_parameter *parameter,
                         const struct type *function);

/* The record of a struct passed itself; PLAN_NONE, with a refusal. */
static int
value_record(struct planner *planner, const struct plan_parameter *parameter,
             const struct type *type)
{
    const char *reason = NULL;
    int record =
        type->kind == TYPE_STRUCT ? plan_record_of(planner->plans, type, &reason) : PLAN_NONE;
    if (record == PLAN_NONE || planner->declaration == NULL) {
        char text[160];
        snprintf(text, sizeof(text), "a struct that has %s is not passed by value; pass a pointer",
                 reason);
        refuse(planner, parameter,
               type->kind == TYPE_BASIC ? "libtcc takes long double wrongly"
               : reason != NULL ? text
                                : "this type by value is not in this version; pass a pointer");
        return PLAN_NONE;
    }
    reason = plan_value_refusal(planner->plans, record, planner->context->foreign);
    if (reason != NULL) {
        refuse(planner, parameter, reason);
    }
    return reason == NULL ? record : PLAN_NONE;
}

static void
plan_value(struct planner *planner, struct plan_parameter *parameter, const struct type *type)
{
    parameter->type = value_record(planner, parameter, type);
    if (parameter->type != PLAN_NONE) {
        parameter->role = ROLE_IN;
        parameter->by_value = true;
        parameter->dimensions = 0;
        planner->plan->by_value = true;
    }
}

/* Returns 0, or -1 with the spot. */
static int
plan_type(struct planner *planner, struct plan_parameter *parameter, const struct parameter *given)
{
    const struct type *type = given->type;
    int dimensions;
    const struct type *element = plan_element(type, &dimensions);
    parameter->dimensions = -1;
    parameter->type = -1;
    const struct type *function = type->kind == TYPE_POINTER ? type->target : type;
    if (function->kind == TYPE_FUNCTION) {
        return plan_callback(planner, parameter, function);
    }
    if (dimensions > 0) {
        plan_access(planner, parameter, element, given->word);
        parameter->dimensions = dimensions == 1 && type->extent == NULL ? -1 : dimensions;
    }
    else if (type->kind == TYPE_POINTER) {
        const struct type *target = type->target;
        const char *reason;
        bool number = number_of(target, planner->context->variables) != PLAN_NONE ||
                      plan_record_of(planner->plans, target, &reason) != PLAN_NONE;
        if (number && target->kind == TYPE_BASIC && target->basic == BASIC_CHAR &&
            (target->qualifiers & QUALIFIER_CONST) != 0 && given->word == WORD_NONE) {
            parameter->role = ROLE_STRING;
        }
        else if (number || target->kind == TYPE_ARRAY) {
            element = plan_element(target, &dimensions);
            plan_access(planner, parameter, element, given->word);
            parameter->dimensions = dimensions > 0 ? dimensions + 1 : -1;
        }
        else {
            plan_pointer(planner, parameter, target, given->word);
        }
    }
    else {
        parameter->role = ROLE_NUMBER;
        parameter->type =
            note_variable(planner->plan, number_of(type, planner->context->variables));
        if (parameter->type == PLAN_NONE) {
            plan_value(planner, parameter, type);
        }
    }
    bool array = (parameter->role >= ROLE_IN && parameter->role <= ROLE_OUT) ||
                 parameter->role == ROLE_NUMBER_OUT;
    check_dimensions(planner, parameter);
    if (parameter->role == ROLE_OUT && type->kind == TYPE_ARRAY && parameter->dimensions < 0) {
        return spot_fail(planner->spot, planner->context->source,
                         given->name != NULL ? given->name : planner->named,
                         "'%s' is an out whose extent nothing tells: give its dimension, or write "
                         "*%s for one value",
                         parameter->declaration, parameter->name);
    }
    if (parameter->role == ROLE_OUT && parameter->dimensions < 0) {
        bool record = plan_is_record(parameter->type);
        parameter->role = record ? ROLE_OUT : ROLE_NUMBER_OUT;
        parameter->dimensions = record ? 0 : -1; /* one struct */
    }
    else if (given->word != WORD_NONE && !array) {
        refuse(planner, parameter, "out and inout belong to arrays and to pointers to numbers");
    }
    return 0;
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

static int
refuse_extent(struct planner *planner, const struct plan_parameter *parameter,
              const struct token *token, const char *reason)
{
    return spot_fail(planner->spot, planner->context->source, token, "'%.*s' in '%s': %s",
                     token->length < 60 ? (int)token->length : 60, token->start,
                     parameter->declaration, reason);
}

/* A size that only dimensions name: behind the parameters of C. There is room for it. */
static int
add_size(struct planner *planner, const struct token *name)
{
    struct plan_parameter *size = &planner->plan->parameters[planner->plan->count];
    *size = (struct plan_parameter){.role = ROLE_NUMBER, .type = NPY_LONG, .apart = true};
    size->name = size->declaration = copy_token(planner, name);
    size->passed = "long";
    return planner->plan->count++;
}

/* A size of a callback's array that is a parameter of the function which takes the callback. -1: there is none. */
static int
add_outer_size(struct planner *planner, const struct token *name)
{
    const struct planner *outer = planner->outer;
    int index = outer == NULL ? -1 : find_parameter(outer, name);
    if (index < 0 || index >= outer->plan->c_count ||
        !is_integer(number_of(outer->type->parameters[index].type, planner->context->variables))) {
        return -1;
    }
    int size = add_size(planner, name);
    planner->plan->parameters[size].role = ROLE_HIDDEN;
    planner->plan->parameters[size].source = index;
    return size;
}

/* The parameter that a name in an extent means; -1 with the spot. */
static int
resolve_name(struct planner *planner, const struct plan_parameter *parameter,
             const struct token *name)
{
    int index = find_parameter(planner, name);
    if (index < 0 && planner->context->apart) {
        return add_size(planner, name);
    }
    index = index < 0 ? add_outer_size(planner, name) : index;
    if (index < 0) {
        return refuse_extent(planner, parameter, name, "is no parameter of the function");
    }
    const struct plan_parameter *named = &planner->plan->parameters[index];
    if ((named->role != ROLE_NUMBER && !named->apart) || !is_integer(named->type)) {
        return refuse_extent(planner, parameter, name, "is no integer parameter");
    }
    return index;
}

/* A copy of an expression that outlives the text, its names resolved. Returns 0, or -1 with the spot. */
static int
keep_expression(struct planner *planner, const struct plan_parameter *parameter,
                const struct expression *expression, const struct expression **kept)
{
    struct expression *copy = arena_take(&planner->plans->arena, sizeof(*copy));
    if (copy == NULL) {
        *planner->spot = (struct spot){0};
        return -1;
    }
    *copy = (struct expression){.kind = expression->kind, .value = expression->value};
    *kept = copy;
    if (expression->kind == EXPRESSION_OTHER || expression->kind == EXPRESSION_STAR) {
        return refuse_extent(planner, parameter, expression->first,
                             "expected an expression of integer parameters and constants");
    }
    if (expression->kind == EXPRESSION_NAME) {
        copy->value = resolve_name(planner, parameter, expression->name);
        return copy->value < 0 ? -1 : 0;
    }
    for (int i = 0; i < 3 && expression->operands[i] != NULL; i++) {
        if (keep_expression(planner, parameter, expression->operands[i], &copy->operands[i]) < 0) {
            return -1;
        }
    }
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
    if (keep_expression(planner, parameter, expression, &extent->expression) < 0) {
        return -1;
    }
    if (extent->expression->kind == EXPRESSION_NAME) {
        extent->parameter = (int)extent->expression->value;
    }
    return 0;
}

/* The extents of an array: a parameter, or what a result points to. */
static int
plan_extents(struct planner *planner, struct plan_parameter *parameter, const struct type *type)
{
    if (parameter->dimensions <= 0 || planner->refusal.size > 0) {
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
            return spot_fail(planner->spot, planner->context->source, planner->named,
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

static enum dependence
dependence_on(const struct expression *expression, int unknown)
{
    enum dependence operands[3] = {CONSTANT, CONSTANT, CONSTANT};
    if (expression->kind == EXPRESSION_NAME) {
        return expression->value == unknown ? LINEAR : CONSTANT;
    }
    for (int i = 0; i < 3 && expression->operands[i] != NULL; i++) {
        operands[i] = dependence_on(expression->operands[i], unknown);
    }
    if (expression->kind == EXPRESSION_NEGATE) {
        return operands[0];
    }
    return operands[2] == CONSTANT ? combine(expression->kind, operands[0], operands[1]) : OTHER;
}

static bool
is_sized(const struct plan_parameter *parameter)
{
    return (parameter->role == ROLE_IN || parameter->role == ROLE_INOUT) &&
           parameter->dimensions > 0;
}

/* Notes the parameters of an expression that are not known yet: -1: none so far, -2: several. Known are what
 * the caller gives for certain (nothing, at first: sizes are inferred where they can be) and what arrays told. */
static void
find_unknown(const struct planner *planner, const struct expression *expression, int *unknown)
{
    if (expression->kind == EXPRESSION_NAME &&
        planner->plan->parameters[expression->value].role != ROLE_HIDDEN) {
        *unknown = *unknown == -1 || *unknown == expression->value ? (int)expression->value : -2;
    }
    for (int i = 0; i < 3 && expression->operands[i] != NULL; i++) {
        find_unknown(planner, expression->operands[i], unknown);
    }
}

/* Hides one more parameter that an input array tells. Returns whether there was one. */
static bool
hide_one(struct planner *planner)
{
    for (int i = 0; i < planner->plan->count; i++) {
        struct plan_parameter *array = &planner->plan->parameters[i];
        for (int axis = 0; is_sized(array) && axis < array->dimensions; axis++) {
            struct extent *extent = &array->extents[axis];
            int unknown = -1;
            if (!extent->any) {
                find_unknown(planner, extent->expression, &unknown);
            }
            if (unknown >= 0 && dependence_on(extent->expression, unknown) == LINEAR) {
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
    return expression_value(extent->expression, values, result);
}

/* ---- A whole plan ---- */

static void
number_arguments(struct plan *plan)
{
    for (int i = 0; i < plan->count; i++) {
        struct plan_parameter *parameter = &plan->parameters[i];
        bool out = parameter->role == ROLE_OUT || parameter->role == ROLE_NUMBER_OUT;
        parameter->argument = out || parameter->role == ROLE_HIDDEN ? -1 : plan->argument_count++;
        plan->callback_count += parameter->role == ROLE_CALLBACK;
        parameter->out = parameter->role == ROLE_OUT ? plan->out_count++ : -1;
        plan->number_out_count += parameter->role == ROLE_NUMBER_OUT;
        plan->write_count += parameter->role == ROLE_INOUT || parameter->role == ROLE_OUT;
        if (parameter->role >= ROLE_IN && parameter->role <= ROLE_OUT) {
            plan->arrays[plan->array_count++] = i;
        }
    }
}

/* double (*table(int n))[n]: what the pointer leads to is an array. */
static int
plan_result_array(struct planner *planner, const struct type *target)
{
    struct plan *plan = planner->plan;
    struct plan_parameter *returned = &plan->returned;
    const struct type *element = plan_element(target, &returned->dimensions);
    plan->result = ROLE_OUT;
    returned->role = ROLE_OUT;
    returned->name = "the result";
    returned->declaration = describe(planner, planner->type->target, "");
    const char *reason;
    returned->type = note_variable(plan, number_of(element, planner->context->variables));
    if (returned->type == PLAN_NONE) {
        returned->type = plan_record_of(planner->plans, element, &reason);
    }
    if (returned->type == PLAN_NONE) {
        refuse(planner, NULL, "a result of this type is not in this version");
    }
    check_dimensions(planner, returned);
    return plan_extents(planner, returned, target);
}

/* Returns 0, or -1 with the spot. */
static int
plan_result(struct planner *planner)
{
    struct plan *plan = planner->plan;
    const struct type *type = planner->type->target;
    plan->returned.type = note_variable(plan, number_of(type, planner->context->variables));
    plan->result_passed = describe(planner, type, "");
    if (type->kind == TYPE_VOID) {
        plan->result = ROLE_NOTHING;
    }
    else if (plan->returned.type != PLAN_NONE) {
        plan->result = ROLE_NUMBER;
    }
    else if (type->kind == TYPE_POINTER && type->target->kind == TYPE_ARRAY) {
        return plan_result_array(planner, type->target);
    }
    else if (planner->declaration != NULL && planner->declaration->out != NULL) {
        return spot_fail(planner->spot, planner->context->source, planner->declaration->out,
                         "'out' in front of %s() needs the dimensions of its result: "
                         "double (*%s(int n))[n]",
                         plan->name, plan->name);
    }
    else if (type->kind == TYPE_POINTER) {
        const struct type *target = type->target;
        bool text = target->kind == TYPE_BASIC && target->basic == BASIC_CHAR &&
                    (target->qualifiers & QUALIFIER_CONST) != 0;
        bool object = is_known(target, "PyObject") || is_known(target, "PyArrayObject");
        const char *reason;
        plan->result = text ? ROLE_STRING : object ? ROLE_OBJECT : ROLE_POINTER;
        plan->takes_object |= object;
        plan->returned.type = plan_record_of(planner->plans, target, &reason);
        plan->returned.readonly = (target->qualifiers & QUALIFIER_CONST) != 0;
    }
    else {
        plan->returned.type = value_record(planner, NULL, type);
        plan->returned.by_value = plan->returned.type != PLAN_NONE;
        plan->by_value |= plan->returned.by_value;
        plan->result = ROLE_OUT;
    }
    return 0;
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

/* A parameter's word, of the definition or of any prototype of the function. */
static enum parameter_word
word_of(const struct planner *planner, size_t index)
{
    if (planner->declaration == NULL) {
        return planner->type->parameters[index].word;
    }
    for (size_t i = 0; i < planner->context->declarations->count; i++) {
        const struct declaration *declaration = &planner->context->declarations->items[i];
        if (declaration_declares(declaration, planner->declaration) &&
            index < declaration->type->parameter_count &&
            declaration->type->parameters[index].word != WORD_NONE) {
            return declaration->type->parameters[index].word;
        }
    }
    return WORD_NONE;
}

/* A parameter without a name gets one, to be spoken of. */
static const char *
name_parameter(struct planner *planner, const struct token *name, int index)
{
    char text[32];
    if (name != NULL) {
        return copy_token(planner, name);
    }
    int length = snprintf(text, sizeof(text), "arg%d", index + 1);
    const char *copy = arena_text(&planner->plans->arena, text, (size_t)length);
    planner->no_memory |= copy == NULL;
    return copy == NULL ? "" : copy;
}

/* The type that C passes: arrays and functions as pointers. */
static const char *
describe_passed(struct planner *planner, const struct type *type)
{
    int dimensions;
    const struct type *inner = type->kind == TYPE_POINTER ? type->target : type;
    const struct type *element = plan_element(inner, &dimensions);
    struct type pointer = {.kind = TYPE_POINTER, .target = element};
    bool decays = dimensions > 0 || type->kind == TYPE_FUNCTION;
    return describe(planner, decays ? &pointer : type, "");
}

/* A size that stands apart must be told by an array that comes in. */
static int
check_sizes(const struct planner *planner)
{
    const struct plan *plan = planner->plan;
    for (int i = plan->c_count; i < plan->count && planner->refusal.size == 0; i++) {
        if (plan->parameters[i].role != ROLE_HIDDEN) {
            return spot_fail(planner->spot, planner->context->source, planner->named,
                             "%s(): nothing tells the size '%s': it is no parameter, and no array "
                             "that is read has it along an axis of its own",
                             plan->name, plan->parameters[i].name);
        }
    }
    return 0;
}

static int
plan_parameters(struct planner *planner)
{
    struct plan *plan = planner->plan;
    const struct type *type = planner->type;
    for (int i = 0; i < plan->c_count; i++) {
        const struct parameter *given = &type->parameters[i];
        struct plan_parameter *parameter = &plan->parameters[i];
        parameter->name = name_parameter(planner, given->name, i);
        parameter->declaration =
            describe(planner, given->type, given->name == NULL ? "" : parameter->name);
        parameter->passed = describe_passed(planner, given->type);
    }
    for (int i = 0; i < plan->c_count; i++) {
        struct parameter given = type->parameters[i];
        given.word = word_of(planner, (size_t)i);
        if (plan_type(planner, &plan->parameters[i], &given) < 0) {
            return -1;
        }
    }
    for (int i = 0; i < plan->c_count; i++) {
        if (plan_extents(planner, &plan->parameters[i], type->parameters[i].type) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Fills a plan whose name, signature and comment are there. Returns 0, or -1 with the spot. */
static int
fill_plan(struct planner *planner)
{
    struct plan *plan = planner->plan;
    const struct type *type = planner->type;
    size_t room = type->parameter_count + planner->most_sizes + 1;
    plan->count = plan->c_count = (int)type->parameter_count;
    plan->parameters = arena_take(&planner->plans->arena, room * sizeof(*plan->parameters));
    plan->hidden = arena_take(&planner->plans->arena, room * sizeof(*plan->hidden));
    plan->arrays = arena_take(&planner->plans->arena, room * sizeof(*plan->arrays));
    if (plan->parameters == NULL || plan->hidden == NULL || plan->arrays == NULL) {
        *planner->spot = (struct spot){0};
        return -1;
    }
    int result = plan_parameters(planner) < 0 ? -1 : plan_result(planner);
    while (result == 0 && planner->refusal.size == 0 && !planner->no_memory && hide_one(planner)) {
    }
    number_arguments(plan);
    if (type->variadic) {
        refuse(planner, NULL, "a function with ... cannot be called from Python");
    }
    result = result == 0 ? check_sizes(planner) : result;
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

/* ---- Functions as parameters ---- */

static bool
has_extents(const struct plan_parameter *parameter)
{
    for (int i = 0; i < parameter->dimensions; i++) {
        if (parameter->extents[i].any) {
            return false;
        }
    }
    return parameter->dimensions >= 0;
}

/* In a callback a pointer to a struct is one struct, an array of unknown extent an address, and so is a function. */
static void
plan_addresses(struct plan *plan)
{
    for (int i = 0; i < plan->c_count; i++) {
        struct plan_parameter *parameter = &plan->parameters[i];
        bool array = parameter->role == ROLE_IN || parameter->role == ROLE_INOUT;
        if (array && parameter->dimensions < 0 && plan_is_record(parameter->type)) {
            parameter->dimensions = 0; /* one struct */
        }
        else if ((array && !has_extents(parameter)) || parameter->role == ROLE_CALLBACK) {
            parameter->role = ROLE_POINTER;
        }
    }
}

static int
plan_callback(struct planner *planner, struct plan_parameter *parameter,
              const struct type *function)
{
    struct plan *plan = arena_take(&planner->plans->arena, sizeof(*plan));
    parameter->role = ROLE_CALLBACK;
    parameter->callback = plan;
    if (plan == NULL) {
        planner->no_memory = true;
        return 0;
    }
    struct planner inner = *planner;
    struct plan_context context = *planner->context;
    context.apart = false; /* C calls: it passes every size */
    inner.context = &context;
    inner.outer = planner;
    inner.declaration = NULL;
    inner.type = function;
    inner.plan = plan;
    inner.refusal = (struct buffer)BUFFER_INIT;
    plan->name = parameter->name;
    plan->signature = parameter->declaration;
    plan->comment = "";
    if (fill_plan(&inner) < 0) {
        return -1;
    }
    planner->no_memory |= inner.no_memory;
    planner->plan->variables |= plan->variables;
    planner->plan->takes_object |= plan->takes_object;
    if (plan->result == ROLE_OUT) {
        refuse(planner, parameter, "a callback that returns an array is not in this version");
    }
    if (plan->refusal == NULL) {
        plan_addresses(plan);
    }
    else {
        refuse(planner, parameter, plan->refusal);
    }
    return 0;
}

/* ---- Functions ---- */

int
plan_function(struct plans *plans, const struct plan_context *context,
              const struct declaration *declaration, struct spot *spot)
{
    struct plan *items = realloc(plans->items, (plans->count + 1) * sizeof(*items));
    if (items == NULL) {
        *spot = (struct spot){0};
        return -1;
    }
    plans->items = items;
    struct plan *plan = &items[plans->count++];
    *plan = (struct plan){0};
    struct planner planner = {.plans = plans,
                              .context = context,
                              .declaration = declaration,
                              .type = declaration->type,
                              .named = declaration->name,
                              .most_sizes = (size_t)(declaration->last - declaration->first),
                              .plan = plan,
                              .spot = spot};
    plan->name = copy_token(&planner, declaration->name);
    plan->signature = one_line(&planner);
    plan->comment = declaration->comment == NULL ? ""
                                                 : clean_comment(&planner, declaration->comment,
                                                                 declaration->comment_length);
    return fill_plan(&planner);
}

struct plan *
plans_find(const struct plans *plans, const struct token *name)
{
    for (size_t i = 0; i < plans->count; i++) {
        if (token_is(name, plans->items[i].name)) {
            return &plans->items[i];
        }
    }
    return NULL;
}
