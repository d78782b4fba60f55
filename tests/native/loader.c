/* loader.c: what tests/test_loader.py calls beside the loader's own functions: callbacks in C, loops
 * over many broken objects, and a clock. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../src/backend/loader.h"
#include "../../src/buffer.h"

/* What a test offers to undefined symbols. */
struct offer {
    const char *const *names;
    const void *const *addresses;
    size_t count;
    size_t calls; /* of the resolver */
};

struct image *loader_test_load(struct code_heap *heap, const struct object *objects, size_t count,
                               struct offer *offer, struct problem *problem);
void loader_test_list(const struct image *image, struct buffer *text);
int loader_test_members(const unsigned char *bytes, size_t size, struct buffer *text,
                        struct problem *problem);
size_t loader_test_cut(struct code_heap *heap, const unsigned char *bytes, size_t size);
size_t loader_test_change(struct code_heap *heap, const unsigned char *bytes, size_t size,
                          const unsigned char *values, size_t value_count);
int loader_test_try(struct code_heap *heap, const unsigned char *bytes, size_t size,
                    struct problem *problem);
double loader_test_time(struct code_heap *heap, const struct object *object, struct offer *offer,
                        size_t times);

static const void *
find_offered(void *context, const char *name)
{
    struct offer *offer = context;
    offer->calls++;
    for (size_t i = 0; i < offer->count; i++) {
        if (strcmp(offer->names[i], name) == 0) {
            return offer->addresses[i];
        }
    }
    return NULL;
}

/* Any address will do for code that is never run. */
static const void *
find_anything(void *context, const char *name)
{
    (void)name;
    return context;
}

struct image *
loader_test_load(struct code_heap *heap, const struct object *objects, size_t count,
                 struct offer *offer, struct problem *problem)
{
    return image_load(heap, objects, count, find_offered, offer, problem);
}

static void
list_symbol(void *context, const char *name, void *address, size_t size, bool function)
{
    buffer_printf(context, "%s %p %zu %d\n", name, address, size, function);
}

/* Appends a line of name, address, size and 0 or 1 (a function) for each symbol. */
void
loader_test_list(const struct image *image, struct buffer *text)
{
    image_symbols(image, list_symbol, text);
}

struct member_list {
    const unsigned char *archive;
    struct buffer *text;
};

static int
list_member(void *context, const char *name, struct object member)
{
    struct member_list *list = context;
    buffer_printf(list->text, "%s %zu %zu\n", name, (size_t)(member.bytes - list->archive),
                  member.size);
    return strcmp(name, "stop") == 0 ? 7 : 0;
}

/* Appends a line of name, offset and size for each member, up to one called "stop". */
int
loader_test_members(const unsigned char *bytes, size_t size, struct buffer *text,
                    struct problem *problem)
{
    struct member_list list = {bytes, text};
    return archive_visit(bytes, size, list_member, &list, problem);
}

/* Loads and frees a copy of exactly these bytes, on the heap, where a reader past the end is seen by
 * a sanitizer. Returns 1 if they loaded, 0 if they were refused, -1 if that was without a reason. */
int
loader_test_try(struct code_heap *heap, const unsigned char *bytes, size_t size,
                struct problem *problem)
{
    unsigned char *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        return -1;
    }
    memcpy(copy, bytes, size);
    struct object object = {copy, size};
    *problem = (struct problem){.kind = PROBLEM_NONE};
    struct image *image = image_load(heap, &object, 1, find_anything, copy, problem);
    free(copy);
    image_free(image);
    if (image != NULL) {
        return 1;
    }
    return problem->kind == PROBLEM_NONE || problem->text[0] == '\0' ? -1 : 0;
}

/* Tries every shorter length. Returns how many loaded; SIZE_MAX if one was refused without a reason. */
size_t
loader_test_cut(struct code_heap *heap, const unsigned char *bytes, size_t size)
{
    struct problem problem;
    size_t loaded = 0;
    for (size_t length = 0; length < size; length++) {
        int status = loader_test_try(heap, bytes, length, &problem);
        if (status < 0) {
            return SIZE_MAX;
        }
        loaded += (size_t)status;
    }
    return loaded;
}

/* Tries the object with each byte changed to, and by, each of the values. Returns how many loaded;
 * SIZE_MAX if one was refused without a reason. */
size_t
loader_test_change(struct code_heap *heap, const unsigned char *bytes, size_t size,
                   const unsigned char *values, size_t value_count)
{
    unsigned char *changed = malloc(size);
    if (changed == NULL) {
        return SIZE_MAX;
    }
    memcpy(changed, bytes, size);
    struct problem problem;
    size_t loaded = 0;
    for (size_t at = 0; at < size; at++) {
        for (size_t i = 0; i < 2 * value_count; i++) {
            unsigned char value = values[i / 2];
            changed[at] = i % 2 == 0 ? value : (unsigned char)(bytes[at] + value);
            int status = loader_test_try(heap, changed, size, &problem);
            if (status < 0) {
                free(changed);
                return SIZE_MAX;
            }
            loaded += (size_t)status;
        }
        changed[at] = bytes[at];
    }
    free(changed);
    return loaded;
}

/* Returns the nanoseconds one load and free take, or -1 if the object is refused. */
double
loader_test_time(struct code_heap *heap, const struct object *object, struct offer *offer,
                 size_t times)
{
    struct problem problem;
    struct timespec start;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (size_t i = 0; i < times; i++) {
        struct image *image = image_load(heap, object, 1, find_offered, offer, &problem);
        if (image == NULL) {
            return -1;
        }
        image_free(image);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
           (double)times;
}
