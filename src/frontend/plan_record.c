/* plan_record.c: structs and unions -> dtypes; the constants and the variables at file scope.
 *
 *   struct point {double x, y; char name[8];};     ->     x: float64 at 0, y: float64 at 8, name: S8 at 16
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <numpy/ndarraytypes.h>

#include "plan.h"

static const char NO_MEMORY[] = "no memory";

/* ---- Fields ---- */

static bool
is_char(const struct type *type)
{
    return type->kind == TYPE_BASIC && type->basic == BASIC_CHAR;
}

/* The extents of an array, which must be constants; but the first may be `elements`, if that is not -1. Returns
 * 0, or -1 with the reason. */
static int
fill_shape(struct plans *plans, const struct type *type, long long elements,
           struct plan_field *field, const char **reason)
{
    long long *shape = arena_take(&plans->arena, ((size_t)field->dimensions + 1) * sizeof(*shape));
    field->shape = shape;
    if (shape == NULL) {
        *reason = NO_MEMORY;
        return -1;
    }
    for (int i = 0; i < field->dimensions; i++, type = type->target) {
        bool counted = i == 0 && type->extent == NULL && elements >= 0;
        if (counted) {
            shape[i] = elements;
            continue;
        }
        if (type->extent == NULL || expression_constant(type->extent, &shape[i]) < 0 ||
            shape[i] < 0) {
            *reason = "an array whose extent is no constant";
            return -1;
        }
    }
    return 0;
}

/* An array of char holds a text: its last axis is the length. */
static void
make_text(struct plan_field *field)
{
    field->type = NPY_STRING;
    field->itemsize = (size_t)field->shape[--field->dimensions];
}

/* Fills in type and shape. Returns 0, or -1 with the reason. */
static int
fill_field(struct plans *plans, const struct type *type, long long elements,
           struct plan_field *field, const char **reason)
{
    const struct type *element = plan_element(type, &field->dimensions);
    if (field->dimensions > NPY_MAXDIMS) {
        *reason = "an array of more dimensions than NumPy's, 64";
        return -1;
    }
    if (fill_shape(plans, type, elements, field, reason) < 0) {
        return -1;
    }
    if (element->kind == TYPE_POINTER) {
        field->type = NPY_ULONG; /* an address */
        return 0;
    }
    if (element->kind == TYPE_STRUCT || element->kind == TYPE_UNION) {
        field->type = plan_record_of(plans, element, reason);
        if (field->type == PLAN_NONE && *reason == NULL) {
            *reason = "a member whose type is not complete";
        }
        return field->type == PLAN_NONE ? -1 : 0;
    }
    field->type = plan_number(element);
    if (field->type == PLAN_NONE) {
        *reason = "a member of a type that NumPy has not";
        return -1;
    }
    if (is_char(element) && field->dimensions > 0 && field->shape[field->dimensions - 1] > 0) {
        make_text(field);
    }
    return 0;
}

/* ---- Records ---- */

static size_t
count_fields(const struct record *record)
{
    size_t count = 0;
    for (size_t i = 0; i < record->member_count; i++) {
        const struct member *member = &record->members[i];
        bool inner = member->name == NULL && member->type->record != NULL;
        count += inner ? count_fields(member->type->record) : 1;
    }
    return count;
}

static int
add_fields(struct plans *plans, struct plan_record *record, const struct record *read,
           size_t offset, const char **reason)
{
    for (size_t i = 0; i < read->member_count; i++) {
        const struct member *member = &read->members[i];
        if (member->name == NULL) {
            const struct record *inner = member->type->record;
            if (inner != NULL &&
                add_fields(plans, record, inner, offset + member->offset, reason) < 0) {
                return -1;
            }
            continue;
        }
        struct plan_field *field = &record->fields[record->count++];
        field->offset = offset + member->offset;
        field->name = arena_text(&plans->arena, member->name->start, member->name->length);
        if (field->name == NULL) {
            *reason = NO_MEMORY;
            return -1;
        }
        if (fill_field(plans, member->type, -1, field, reason) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
find_record(const struct plans *plans, const struct record *read)
{
    for (size_t i = 0; i < plans->record_count; i++) {
        if (plans->records[i].read == read) {
            return PLAN_RECORD + (int)i;
        }
    }
    return PLAN_NONE;
}

static const char *
describe(struct plans *plans, const struct type *type, const char *name)
{
    struct buffer text = BUFFER_INIT;
    struct type bare = *type;
    bare.qualifiers = 0;
    type_describe(name[0] == '\0' ? &bare : type, name, name[0] == '\0', &text);
    const char *copy = text.failed ? NULL : arena_text(&plans->arena, text.data, text.size);
    buffer_free(&text);
    return copy;
}

int
plan_record_of(struct plans *plans, const struct type *type, const char **reason)
{
    const struct record *read = type->record;
    *reason = NULL;
    if (read == NULL || !read->complete) {
        return PLAN_NONE;
    }
    int known = find_record(plans, read);
    *reason = read->why_not;
    if (known != PLAN_NONE || read->why_not != NULL) {
        return known;
    }
    if (read->size > INT_MAX) {
        *reason = "more bytes than NumPy's dtypes may have, 2 GiB";
        return PLAN_NONE;
    }
    struct plan_record record = {.read = read,
                                 .name = describe(plans, type, ""),
                                 .size = read->size,
                                 .alignment = read->alignment};
    if (read->name != NULL) {
        record.short_name = arena_text(&plans->arena, read->name->start, read->name->length);
    }
    record.fields = arena_take(&plans->arena, (count_fields(read) + 1) * sizeof(*record.fields));
    if (record.fields == NULL || record.name == NULL) {
        *reason = NO_MEMORY;
        return PLAN_NONE;
    }
    if (add_fields(plans, &record, read, 0, reason) < 0) {
        return PLAN_NONE;
    }
    if (record.count == 0) {
        *reason = "no member";
        return PLAN_NONE;
    }
    struct plan_record *records =
        realloc(plans->records, (plans->record_count + 1) * sizeof(*records));
    if (records == NULL) {
        *reason = NO_MEMORY;
        return PLAN_NONE;
    }
    plans->records = records;
    records[plans->record_count] = record;
    return PLAN_RECORD + (int)plans->record_count++;
}

/* ---- Structs by value ---- */

static size_t
align_up(size_t offset, size_t alignment)
{
    return (offset + alignment - 1) / alignment * alignment;
}

/* Bytes and alignment of one element of a field. */
static void
measure(const struct plans *plans, const struct plan_field *field, size_t *size, size_t *alignment)
{
    static const size_t sizes[] = {
        [NPY_BOOL] = 1,   [NPY_BYTE] = 1,     [NPY_UBYTE] = 1,     [NPY_SHORT] = 2,
        [NPY_USHORT] = 2, [NPY_INT] = 4,      [NPY_UINT] = 4,      [NPY_LONG] = 8,
        [NPY_ULONG] = 8,  [NPY_LONGLONG] = 8, [NPY_ULONGLONG] = 8, [NPY_FLOAT] = 4,
        [NPY_DOUBLE] = 8, [NPY_CFLOAT] = 8,   [NPY_CDOUBLE] = 16,
    };
    if (plan_is_record(field->type)) {
        const struct plan_record *record = &plans->records[field->type - PLAN_RECORD];
        *size = record->size;
        *alignment = record->alignment;
        return;
    }
    bool complex_number = field->type == NPY_CFLOAT || field->type == NPY_CDOUBLE;
    *size = field->type == NPY_STRING ? field->itemsize : sizes[field->type];
    *alignment = field->type == NPY_STRING ? 1 : complex_number ? *size / 2 : *size;
}

/* Whether the members lie one behind the other, each where its alignment puts it. */
static bool
is_natural(const struct plans *plans, const struct plan_record *record)
{
    size_t end = 0, most = 1;
    for (int i = 0; i < record->count; i++) {
        const struct plan_field *field = &record->fields[i];
        size_t size, alignment;
        measure(plans, field, &size, &alignment);
        if (field->offset != align_up(end, alignment) ||
            (plan_is_record(field->type) &&
             !is_natural(plans, &plans->records[field->type - PLAN_RECORD]))) {
            return false;
        }
        for (int axis = 0; axis < field->dimensions; axis++) {
            size *= (size_t)field->shape[axis];
        }
        end = field->offset + size;
        most = alignment > most ? alignment : most;
    }
    return most == record->alignment && align_up(end, most) == record->size;
}

/* Counts the members that floating-point registers take, and all others; -1 of an array of them. */
static void
count_members(const struct plans *plans, const struct plan_record *record, int *floats,
              int *doubles, int *others)
{
    for (int i = 0; i < record->count; i++) {
        const struct plan_field *field = &record->fields[i];
        if (plan_is_record(field->type) && field->dimensions == 0) {
            count_members(plans, &plans->records[field->type - PLAN_RECORD], floats, doubles,
                          others);
        }
        else if (field->dimensions > 0 || field->type >= NPY_CFLOAT) {
            bool integers = field->type <= NPY_ULONGLONG || field->type == NPY_STRING;
            *others += 1;
            *floats += integers ? 0 : 3; /* more than libtcc passes as others do */
        }
        else {
            *floats += field->type == NPY_FLOAT;
            *doubles += field->type == NPY_DOUBLE;
            *others += field->type < NPY_FLOAT;
        }
    }
}

/* Small structs that mix integers with floating-point numbers, or hold arrays of these, are passed otherwise by
 * libtcc than by other compilers. */
static bool
is_passed_alike(const struct plans *plans, const struct plan_record *record)
{
    int floats = 0, doubles = 0, others = 0;
    count_members(plans, record, &floats, &doubles, &others);
    return record->size > 16 || floats + doubles == 0 ||
           (others == 0 && (floats == 0 || (doubles == 0 && floats <= 2)));
}

const char *
plan_value_refusal(const struct plans *plans, int type, bool foreign)
{
    const struct plan_record *record = &plans->records[type - PLAN_RECORD];
    if (!is_natural(plans, record)) {
        return "its members do not lie one behind the other, so that it is not passed by value; "
               "pass a pointer";
    }
    return foreign && !is_passed_alike(plans, record)
               ? "libtcc passes such a small struct by value otherwise than other compilers do"
               : NULL;
}

int
plan_name_records(struct plans *plans, const struct declarations *declarations)
{
    for (size_t i = 0; i < declarations->count; i++) {
        const struct declaration *declaration = &declarations->items[i];
        int index = declaration->storage != STORAGE_TYPEDEF || declaration->type->record == NULL
                        ? PLAN_NONE
                        : find_record(plans, declaration->type->record);
        if (index == PLAN_NONE || plans->records[index - PLAN_RECORD].short_name != NULL) {
            continue;
        }
        const char *name =
            arena_text(&plans->arena, declaration->name->start, declaration->name->length);
        plans->records[index - PLAN_RECORD].short_name = name;
        plans->records[index - PLAN_RECORD].name = name;
        if (name == NULL) {
            return -1;
        }
    }
    return 0;
}

/* ---- Constants ---- */

static int
add_constant(struct plans *plans, const struct constant *constant)
{
    struct plan_constant *planned = &plans->constants[plans->constant_count];
    *planned = (struct plan_constant){.value = *constant};
    planned->name = arena_text(&plans->arena, constant->name->start, constant->name->length);
    planned->value.name = NULL;
    planned->value.from = NULL;
    if (constant->kind == CONSTANT_STRING) {
        planned->value.text = arena_text(&plans->arena, constant->text, constant->length);
    }
    if (planned->name == NULL ||
        (constant->kind == CONSTANT_STRING && planned->value.text == NULL)) {
        return -1;
    }
    plans->constant_count++;
    return 0;
}

int
plan_constants(struct plans *plans, const struct declarations *declarations)
{
    if (declarations->constant_count == 0) {
        return 0;
    }
    size_t count = plans->constant_count + declarations->constant_count;
    struct plan_constant *constants = realloc(plans->constants, count * sizeof(*constants));
    if (constants == NULL) {
        return -1;
    }
    plans->constants = constants;
    for (size_t i = 0; i < declarations->constant_count; i++) {
        if (add_constant(plans, &declarations->constants[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- Variables ---- */

static void
plan_kind(struct plans *plans, struct plan_variable *variable, const struct type *type,
          long long elements)
{
    int dimensions;
    const char *reason = NULL;
    const struct type *element = plan_element(type, &dimensions);
    variable->readonly = (element->qualifiers & QUALIFIER_CONST) != 0;
    if (type->kind == TYPE_POINTER) {
        const struct type *target = type->target;
        bool text = is_char(target) && (target->qualifiers & QUALIFIER_CONST) != 0;
        variable->kind = text ? VARIABLE_TEXT : VARIABLE_ADDRESS;
        variable->readonly |= text; /* nobody could own the new one */
    }
    else if (fill_field(plans, type, elements, &variable->field, &reason) < 0) {
        variable->refusal = reason;
    }
}

int
plan_file_variable(struct plans *plans, const struct declaration *declaration)
{
    struct plan_variable variable = {.kind = VARIABLE_FIELD};
    variable.name = arena_text(&plans->arena, declaration->name->start, declaration->name->length);
    variable.declaration =
        variable.name == NULL ? NULL : describe(plans, declaration->type, variable.name);
    struct plan_variable *globals =
        realloc(plans->globals, (plans->global_count + 1) * sizeof(*globals));
    plans->globals = globals == NULL ? plans->globals : globals;
    if (variable.declaration == NULL || globals == NULL) {
        return -1;
    }
    plan_kind(plans, &variable, declaration->type, declaration->elements);
    globals[plans->global_count++] = variable;
    return variable.refusal == NO_MEMORY ? -1 : 0;
}
