/* layout.c: where the members of a struct or union lie, and how large it is: the ABI of x86-64 and aarch64.
 *
 * gcc and libtcc agree on all that is computed here; where they do not, there is a why_not instead.
 */
#include <stdint.h>

#include "check.h"
#include "parse.h"

/* A record as it grows. */
struct layout {
    struct record *record;
    const struct attributes *attributes;
    size_t pack; /* #pragma pack; 0: none */
    size_t size; /* so far */
    size_t alignment;
};

static void
refuse(struct record *record, const struct member *member, const char *why)
{
    record->why_not = why;
    record->culprit = member != NULL ? member->name : NULL;
}

/* The type that arrays of arrays are made of in the end. */
static const struct type *
element_of(const struct type *type)
{
    while (type->kind == TYPE_ARRAY) {
        type = type->target;
    }
    return type;
}

static bool
is_flexible(const struct type *type)
{
    long long extent;
    return type->kind == TYPE_ARRAY &&
           (type->extent == NULL ||
            (expression_constant(type->extent, &extent) == 0 && extent == 0));
}

/* Why the member's place is not computed; NULL: it can be. */
static const char *
obstacle(const struct layout *layout, const struct member *member)
{
    const struct type *element = element_of(member->type);
    size_t size, alignment;
    bool packed = member->packed || layout->attributes->packed;
    if (member->bits >= 0) {
        return "a bit-field";
    }
    if (is_flexible(member->type)) {
        return "a flexible array member";
    }
    if (element->kind == TYPE_BASIC && element->basic == BASIC_LONGDOUBLE) {
        return "a long double";
    }
    if (type_layout(member->type, &size, &alignment) < 0) {
        const struct record *record = element->record;
        return record != NULL && record->why_not != NULL ? record->why_not
                                                         : "a member whose size is not known";
    }
    if (member->asked != 0 && layout->pack != 0) {
        return "an alignment of its own under #pragma pack";
    }
    if (element->alignment != 0 && (packed || layout->pack != 0)) {
        return "a packed member of a type with an alignment of its own";
    }
    return member->asked != 0 && member->asked < alignment && !packed
               ? "an alignment below that of its type"
               : NULL;
}

static size_t
alignment_of(const struct layout *layout, const struct member *member, size_t natural)
{
    size_t alignment = member->packed || layout->attributes->packed ? 1 : natural;
    if (member->asked > alignment) {
        return member->asked;
    }
    return layout->pack != 0 && layout->pack < alignment ? layout->pack : alignment;
}

/* Rounds up to a multiple of a power of two. Returns false when that is too large. */
static bool
round_up(size_t *size, size_t alignment)
{
    bool over = __builtin_add_overflow(*size, alignment - 1, size);
    *size &= ~(alignment - 1);
    return !over && *size <= PTRDIFF_MAX;
}

/* Returns false when the record gets too large. */
static bool
place(struct layout *layout, struct member *member)
{
    size_t size, natural;
    type_layout(member->type, &size, &natural);
    size_t alignment = alignment_of(layout, member, natural);
    layout->alignment = alignment > layout->alignment ? alignment : layout->alignment;
    if (layout->record->kind == TYPE_UNION) {
        layout->size = size > layout->size ? size : layout->size;
        return true;
    }
    if (!round_up(&layout->size, alignment)) {
        return false;
    }
    member->offset = layout->size;
    return !__builtin_add_overflow(layout->size, size, &layout->size);
}

void
layout_record(struct record *record, const struct attributes *attributes, size_t pack)
{
    struct layout layout = {record, attributes, pack, 0, 1};
    if (attributes->strange && record->why_not == NULL) {
        refuse(record, NULL, "an attribute that is not known here");
    }
    for (size_t i = 0; i < record->member_count && record->why_not == NULL; i++) {
        struct member *member = &record->members[i];
        const char *why = obstacle(&layout, member);
        if (why != NULL) {
            refuse(record, member, why);
        }
        else if (!place(&layout, member)) {
            refuse(record, member, "more bytes than memory could have");
        }
    }
    if (record->member_count == 0 && record->why_not == NULL) {
        refuse(record, NULL, "no members");
    }
    if (attributes->aligned > layout.alignment) {
        layout.alignment = attributes->aligned;
    }
    if (record->why_not == NULL && !round_up(&layout.size, layout.alignment)) {
        refuse(record, NULL, "more bytes than memory could have");
    }
    record->size = layout.size;
    record->alignment = layout.alignment;
}
