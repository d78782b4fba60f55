/* stdio.h: printf and its kin of compiled code reach sys.stdout.
 *
 * What a call prints gathers in a buffer of the call, and is written to sys.stdout when the call
 * ends or raises, whenever it passes 8 KiB, and, in code that uses Python's API (the GIL is held), at
 * once, so that it stays in order with what Python prints. A write that fails is raised at the end.
 */
#ifndef TINYWEAVE_STDIO_H
#define TINYWEAVE_STDIO_H

#include <stdarg.h>
#include <stdio.h>

#include "../src/call/call.h"

/* Makes `call` the one that this thread's prints belong to, until stdio_leave. `direct`: write at once. */
void stdio_enter(struct call *call, bool direct);

/* Hands over what is left. Called with the GIL held and, on an error path, with the exception set: it
 * stays set. Returns 0, or -1 with the exception that sys.stdout raised. */
int stdio_leave(struct call *call);

/* Around Python code that C calls in the middle of this thread's call, the GIL held: what was printed is handed
 * over first, so that it comes in front of what Python prints. */
struct stdio_pause {
    struct call *call;
    bool direct, gil_released;
};
void stdio_pause(struct stdio_pause *pause);
void stdio_resume(const struct stdio_pause *pause);

/* The functions user code links to. Outside of a call, and for streams other than the process's stdout,
 * they do what libc's do. */
int stdio_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int stdio_vprintf(const char *format, va_list arguments);
int stdio_fprintf(FILE *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));
int stdio_vfprintf(FILE *stream, const char *format, va_list arguments);
int stdio_puts(const char *string);
int stdio_putchar(int character);
int stdio_fputs(const char *string, FILE *stream);
int stdio_fputc(int character, FILE *stream);
size_t stdio_fwrite(const void *bytes, size_t size, size_t count, FILE *stream);
int stdio_fflush(FILE *stream);

#endif
