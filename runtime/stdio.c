/* stdio.c: printf and its kin of compiled code reach sys.stdout.
 *
 * `FILE *stdout` itself stays libc's: what user code does to it by any other function goes to the
 * process's standard output.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stdio.h"

#include "../src/call/exception.h"

/* Bytes. As much as C's own streams gather; taking the GIL for each costs less than 1 % then. */
#define OUTPUT_LIMIT 8192

/* Bytes. Room for a line, so that most prints are formatted only once. */
#define LINE_ROOM 256

struct output {
    struct buffer bytes;
    PyObject *error; /* what sys.stdout raised first; from then on, prints are dropped */
};

/* The call this thread is in. printf has no parameter to pass it in. */
static _Thread_local struct call *current;

/* ---- To sys.stdout: the GIL is held, and no exception set ---- */

/* Removes the text from the buffer before anything is called, as what is called may print again. The
 * bytes of a character that is not complete yet stay, unless it is the `last` time. */
static PyObject *
take_text(struct buffer *bytes, bool last)
{
    Py_ssize_t taken = (Py_ssize_t)bytes->size;
    PyObject *text =
        PyUnicode_DecodeUTF8Stateful(bytes->data, taken, "replace", last ? NULL : &taken);
    bytes->size -= (size_t)taken;
    memmove(bytes->data, bytes->data + taken, bytes->size);
    return text;
}

/* Returns a new reference to sys.stdout, or NULL where there is none: like print(), then drop. */
static PyObject *
python_stdout(void)
{
    PyObject *file = PySys_GetObject("stdout");
    return file == NULL || file == Py_None ? NULL : Py_NewRef(file);
}

static int
write_bytes(struct buffer *bytes, bool last)
{
    PyObject *text = take_text(bytes, last);
    if (text == NULL) {
        return -1;
    }
    int status = 0;
    PyObject *file = python_stdout();
    if (file != NULL && PyUnicode_GET_LENGTH(text) > 0) {
        status = PyFile_WriteObject(text, file, Py_PRINT_RAW);
    }
    Py_XDECREF(file);
    Py_DECREF(text);
    return status;
}

static int
flush_file(void)
{
    PyObject *file = python_stdout();
    if (file == NULL) {
        return 0;
    }
    PyObject *result = PyObject_CallMethod(file, "flush", NULL);
    Py_DECREF(file);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Writes what has gathered. A failure is kept in the output, and the exception that was set stays. */
static void
hand_over(struct output *output, bool last, bool flush)
{
    PyObject *pending = exception_take();
    int status = 0;
    if (output->bytes.size > 0) {
        status = write_bytes(&output->bytes, last);
    }
    if (status == 0 && flush) {
        status = flush_file();
    }
    if (status < 0) {
        PyObject *error = exception_take();
        if (output->error == NULL) {
            output->error = error;
        }
        else {
            Py_XDECREF(error);
        }
    }
    if (pending != NULL) {
        exception_set(pending);
    }
}

/* Whether this thread holds the GIL: code built with Python's own headers may let go of it by itself
 * (Py_BEGIN_ALLOW_THREADS). */
static bool
has_gil(const struct call *call)
{
    return !call->gil_released && (!call->direct || PyGILState_Check());
}

/* hand_over from within code that let go of the GIL by itself. */
static int
hand_over_elsewhere(struct call *call, bool flush)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    hand_over(call->output, false, flush);
    PyGILState_Release(gil);
    return call->output->error == NULL ? 0 : -1;
}

/* hand_over from within the code, with or without the GIL. While Python runs, the call says so by
 * gil_released: an interrupt must not unwind it then. */
static int
hand_over_midway(struct call *call, bool flush)
{
    bool released = call->gil_released;
    if (!released && !has_gil(call)) {
        return hand_over_elsewhere(call, flush);
    }
    if (released) {
        PyEval_RestoreThread(call->thread);
        call->gil_released = false;
    }
    hand_over(call->output, false, flush);
    int status = call->output->error == NULL ? 0 : -1;
    if (released) {
        call->gil_released = true;
        call->thread = PyEval_SaveThread();
    }
    return status;
}

/* ---- Into the call's buffer ---- */

/* Returns the output to print to, or NULL: memory is out, or sys.stdout has failed. */
static struct output *
open_output(struct call *call)
{
    if (call->output == NULL) {
        call->output = calloc(1, sizeof *call->output);
        if (call->output == NULL) {
            call->out_of_memory = true;
            return NULL;
        }
    }
    return call->output->error == NULL ? call->output : NULL;
}

/* After an append: writes now, or later. Returns 0, or -1: the print has failed. */
static int
appended(struct call *call)
{
    struct output *output = call->output;
    if (output->bytes.failed) {
        call->out_of_memory = true;
        errno = ENOMEM;
        return -1;
    }
    bool wanted = (call->direct && has_gil(call)) || output->bytes.size >= OUTPUT_LIMIT;
    return wanted ? hand_over_midway(call, false) : 0;
}

static int
print_bytes(const void *bytes, size_t size)
{
    struct output *output = open_output(current);
    if (output == NULL) {
        return -1;
    }
    buffer_append(&output->bytes, bytes, size);
    return appended(current);
}

static int
print_format(const char *format, va_list arguments)
{
    struct output *output = open_output(current);
    if (output == NULL) {
        return -1;
    }
    size_t room = LINE_ROOM;
    for (;;) {
        char *end = buffer_reserve(&output->bytes, room);
        if (end == NULL) {
            break;
        }
        va_list copy;
        va_copy(copy, arguments);
        int size = vsnprintf(end, room + 1, format, copy);
        va_end(copy);
        if (size < 0) {
            return size;
        }
        if ((size_t)size <= room) {
            output->bytes.size += (size_t)size;
            return appended(current) < 0 ? -1 : size;
        }
        room = (size_t)size;
    }
    return appended(current);
}

/* ---- The calls ---- */

void
stdio_enter(struct call *call, bool direct)
{
    call->direct = direct;
    call->outer = current;
    current = call;
}

int
stdio_leave(struct call *call)
{
    current = call->outer;
    struct output *output = call->output;
    if (output == NULL) {
        return 0;
    }
    call->output = NULL;
    if (output->error == NULL) {
        hand_over(output, true, false);
    }
    PyObject *error = output->error;
    buffer_free(&output->bytes);
    free(output);
    if (error == NULL) {
        return 0;
    }
    if (PyErr_Occurred()) {
        Py_DECREF(error);
        return 0;
    }
    exception_set(error);
    return -1;
}

/* ---- Python called by C ---- */

/* has_gil then asks Python itself whether this thread has the GIL, and a print is written at once. */
void
stdio_pause(struct stdio_pause *pause)
{
    pause->call = current;
    if (current == NULL) {
        return;
    }
    pause->direct = current->direct;
    pause->gil_released = current->gil_released;
    current->direct = true;
    current->gil_released = false;
    if (current->output != NULL && current->output->error == NULL) {
        hand_over(current->output, false, false);
    }
}

void
stdio_resume(const struct stdio_pause *pause)
{
    if (pause->call != NULL) {
        pause->call->direct = pause->direct;
        pause->call->gil_released = pause->gil_released;
    }
}

/* ---- What user code links to ---- */

static bool
is_ours(FILE *stream)
{
    return current != NULL && stream == stdout;
}

int
stdio_vfprintf(FILE *stream, const char *format, va_list arguments)
{
    return is_ours(stream) ? print_format(format, arguments) : vfprintf(stream, format, arguments);
}

int
stdio_vprintf(const char *format, va_list arguments)
{
    return stdio_vfprintf(stdout, format, arguments);
}

int
stdio_fprintf(FILE *stream, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = stdio_vfprintf(stream, format, arguments);
    va_end(arguments);
    return size;
}

int
stdio_printf(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = stdio_vfprintf(stdout, format, arguments);
    va_end(arguments);
    return size;
}

int
stdio_puts(const char *string)
{
    if (current == NULL) {
        return puts(string);
    }
    struct output *output = open_output(current);
    if (output == NULL) {
        return EOF;
    }
    buffer_append_string(&output->bytes, string); /* one write for the line and its end */
    buffer_append(&output->bytes, "\n", 1);
    return appended(current) < 0 ? EOF : 1;
}

int
stdio_fputs(const char *string, FILE *stream)
{
    if (!is_ours(stream)) {
        return fputs(string, stream);
    }
    return print_bytes(string, strlen(string)) < 0 ? EOF : 1;
}

int
stdio_fputc(int character, FILE *stream)
{
    if (!is_ours(stream)) {
        return fputc(character, stream);
    }
    unsigned char byte = (unsigned char)character;
    return print_bytes(&byte, 1) < 0 ? EOF : byte;
}

int
stdio_putchar(int character)
{
    return stdio_fputc(character, stdout);
}

size_t
stdio_fwrite(const void *bytes, size_t size, size_t count, FILE *stream)
{
    size_t total;
    if (!is_ours(stream) || __builtin_mul_overflow(size, count, &total)) {
        return fwrite(bytes, size, count, stream);
    }
    return total == 0 || print_bytes(bytes, total) < 0 ? 0 : count;
}

int
stdio_fflush(FILE *stream)
{
    bool ours = current != NULL && (stream == NULL || stream == stdout);
    int status = ours ? 0 : fflush(stream);
    if (ours) {
        status = open_output(current) == NULL ? -1 : hand_over_midway(current, true);
        if (stream == NULL && fflush(NULL) < 0) {
            status = -1;
        }
    }
    return status < 0 ? EOF : 0;
}
