/* buffer.h: a growable byte string.
 *
 * A failed allocation is sticky: later appends do nothing and `failed` stays true, so that a
 * builder checks once, at its end. The bytes are always followed by a NUL that `size` does not count.
 */
#ifndef TINYWEAVE_BUFFER_H
#define TINYWEAVE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data; /* NULL while nothing was appended */
    size_t size;
    size_t capacity;
    bool failed;
};

#define BUFFER_INIT {NULL, 0, 0, false}

/* Appends `size` bytes. */
void buffer_append(struct buffer *buffer, const void *bytes, size_t size);

/* Appends a NUL-terminated string, without its NUL. */
void buffer_append_string(struct buffer *buffer, const char *string);

/* Appends what printf would print. */
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Makes room for `size` more bytes and returns where to write them (then add to `size`), or NULL. */
char *buffer_reserve(struct buffer *buffer, size_t size);

/* Frees the bytes; the buffer is empty and usable again. */
void buffer_free(struct buffer *buffer);

#endif
