/* unit.c: the unit of exchange between front end, cache and back end. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

int
strings_append(struct strings *strings, const char *string, size_t length)
{
    char **items = realloc(strings->items, (strings->count + 1) * sizeof(*items));
    if (items == NULL) {
        return -1;
    }
    strings->items = items;
    char *copy = malloc(length + 1);
    if (copy == NULL) {
        return -1;
    }
    memcpy(copy, string, length);
    copy[length] = '\0';
    strings->items[strings->count++] = copy;
    return 0;
}

void
strings_free(struct strings *strings)
{
    for (size_t i = 0; i < strings->count; i++) {
        free(strings->items[i]);
    }
    free(strings->items);
    *strings = (struct strings){NULL, 0};
}

void
unit_free(struct unit *unit)
{
    buffer_free(&unit->text);
    buffer_free(&unit->signature);
    buffer_free(&unit->options);
    strings_free(&unit->include_dirs);
    strings_free(&unit->system_dirs);
    strings_free(&unit->libraries);
}
