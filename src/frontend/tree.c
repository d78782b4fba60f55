/* tree.c: a text of Python -> the tree of Python's own parser, and places in the text. */
#include "tree.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../buffer.h"

#define FILE_NAME "<tinyweave>"

/* The parser recurses for brackets, and the making of the tree's objects for each term of a + b + c. What may be deep
 * is read on a stack of its own, which holds that many levels; only pages that are touched take memory. */
#define STACK_SIZE ((size_t)64 << 20)
#define STACK_LEVELS 60000
#define SHORT_TEXT 1000 /* bytes, and opening brackets, that any stack can do */
#define FEW_BRACKETS 32

#define LINE_LIMIT 1000 /* characters of a line that a SyntaxError keeps */
#define SHOWN_WIDTH 120 /* characters of a long line that any other message shows */

struct tree_line {
    size_t start, end; /* bytes of the text in UTF-8, without the line break */
    int dropped;       /* blanks at its start that the parser did not see */
};

/* ---- Places ---- */

/* The text's line, without its line break. Returns a new reference. */
static PyObject *
line_text(PyObject *text, int line)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(text), start = 0, end;
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    for (;; line--) {
        Py_UCS4 character = 0;
        for (end = start; end < length; end++) {
            character = PyUnicode_READ(kind, data, end);
            if (character == '\n' || character == '\r') {
                break;
            }
        }
        if (line <= 1 || end == length) {
            return PyUnicode_Substring(text, start, end);
        }
        start = end + 1;
        if (character == '\r' && start < length && PyUnicode_READ(kind, data, start) == '\n') {
            start++;
        }
    }
}

/* What a SyntaxError prints above its caret: of a very long line the start, or nothing. */
static PyObject *
error_line(PyObject *text, const struct span *span)
{
    PyObject *line = line_text(text, span->line);
    if (line == NULL || PyUnicode_GET_LENGTH(line) <= LINE_LIMIT) {
        return line;
    }
    PyObject *start =
        span->column < LINE_LIMIT ? PyUnicode_Substring(line, 0, LINE_LIMIT) : Py_NewRef(Py_None);
    Py_DECREF(line);
    return start;
}

static void
raise_syntax_error(PyObject *text, const struct span *span, PyObject *exception, PyObject *message)
{
    PyObject *line = error_line(text, span);
    PyObject *arguments =
        line == NULL ? NULL
                     : Py_BuildValue("O(siiOii)", message, FILE_NAME, span->line, span->column + 1,
                                     line, span->end_line, span->end_column + 1);
    if (arguments != NULL) {
        PyErr_SetObject(exception, arguments);
    }
    Py_XDECREF(line);
    Py_XDECREF(arguments);
}

/* `blanks` gets what stands left of the caret. Of a long line the part around the span is shown. */
static PyObject *
shown_line(PyObject *line, const struct span *span, PyObject **blanks, int *width)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(line), first = 0;
    while (first < length && Py_UNICODE_ISSPACE(PyUnicode_READ_CHAR(line, first))) {
        first++;
    }
    Py_ssize_t column = span->column < length ? span->column : length;
    first = first > column ? column : first;
    if (length - first > SHOWN_WIDTH && column - first > SHOWN_WIDTH / 2) {
        first = column - SHOWN_WIDTH / 2;
    }
    Py_ssize_t end = length - first > SHOWN_WIDTH ? first + SHOWN_WIDTH : length;
    Py_ssize_t marked = span->end_line == span->line ? span->end_column : end;
    marked = marked > end ? end : marked;
    *width = marked > column ? (int)(marked - column) : 1;
    *blanks = PyUnicode_New(column - first, 127);
    for (Py_ssize_t i = first; *blanks != NULL && i < column; i++) {
        bool tab = PyUnicode_READ_CHAR(line, i) == '\t';
        PyUnicode_WRITE(PyUnicode_1BYTE_KIND, PyUnicode_DATA(*blanks), i - first, tab ? '\t' : ' ');
    }
    return *blanks == NULL ? NULL : PyUnicode_Substring(line, first, end);
}

static void
raise_with_line(PyObject *text, const struct span *span, PyObject *exception, PyObject *message)
{
    char carets[SHOWN_WIDTH + 1];
    int width = 1;
    PyObject *blanks = NULL;
    PyObject *line = line_text(text, span->line);
    PyObject *shown = line == NULL ? NULL : shown_line(line, span, &blanks, &width);
    if (shown != NULL) {
        width = width > SHOWN_WIDTH ? SHOWN_WIDTH : width;
        memset(carets, '^', (size_t)width);
        carets[width] = '\0';
        PyErr_Format(exception, "%U\n    %U\n    %U%s", message, shown, blanks, carets);
    }
    Py_XDECREF(line);
    Py_XDECREF(shown);
    Py_XDECREF(blanks);
}

void
span_raise_list(PyObject *text, const struct span *span, PyObject *exception, const char *format,
                va_list values)
{
    PyObject *message = PyUnicode_FromFormatV(format, values);
    if (message == NULL) {
        return;
    }
    if (PyType_IsSubtype((PyTypeObject *)exception, (PyTypeObject *)PyExc_SyntaxError)) {
        raise_syntax_error(text, span, exception, message);
    }
    else {
        raise_with_line(text, span, exception, message);
    }
    Py_DECREF(message);
}

void
span_raise(PyObject *text, const struct span *span, PyObject *exception, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    span_raise_list(text, span, exception, format, values);
    va_end(values);
}

/* ---- Lines of the text, and what of them the parser sees ---- */

static bool
is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static size_t
leading_blanks(const char *bytes, const struct tree_line *line)
{
    size_t at = line->start;
    while (at < line->end && is_blank(bytes[at])) {
        at++;
    }
    return at - line->start;
}

/* Ends with a line break, "\n", "\r\n" or "\r". Returns where the next line starts. */
static size_t
find_line_end(const char *bytes, size_t size, struct tree_line *line)
{
    size_t at = line->start;
    while (at < size && bytes[at] != '\n' && bytes[at] != '\r') {
        at++;
    }
    line->end = at;
    if (at == size) {
        return size + 1;
    }
    return at + 1 < size && bytes[at] == '\r' && bytes[at + 1] == '\n' ? at + 2 : at + 1;
}

static int
split_lines(struct tree *tree, const char *bytes, size_t size)
{
    size_t count = 1;
    for (size_t i = 0; i < size; i++) {
        count += bytes[i] == '\n' || bytes[i] == '\r';
    }
    tree->lines = calloc(count, sizeof(*tree->lines));
    if (tree->lines == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t at = 0; at <= size;) {
        struct tree_line *line = &tree->lines[tree->line_count++];
        line->start = at;
        at = find_line_end(bytes, size, line);
    }
    return 0;
}

static int
count_characters(struct tree *tree, const char *bytes, size_t size)
{
    if (PyUnicode_IS_ASCII(tree->text)) {
        return 0;
    }
    tree->characters = calloc(size + 1, sizeof(*tree->characters));
    if (tree->characters == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    int count = 0;
    for (size_t i = 0; i < size; i++) {
        count += i > 0 && ((unsigned char)bytes[i] & 0xC0) != 0x80;
        tree->characters[i] = count;
    }
    tree->characters[size] = size > 0 ? count + 1 : 0;
    return 0;
}

/* An expression starts where blanks, empty lines and comments end. */
static void
drop_before_expression(struct tree *tree, const char *bytes)
{
    for (int i = 0; i < tree->line_count; i++) {
        struct tree_line *line = &tree->lines[i];
        size_t at = line->start;
        while (at < line->end && (is_blank(bytes[at]) || bytes[at] == '\f')) {
            at++;
        }
        bool starts = at < line->end && bytes[at] != '#';
        line->dropped = (int)((starts ? at : line->end) - line->start);
        if (starts) {
            return;
        }
    }
}

/* As textwrap.dedent: of lines with text the longest common start of blanks. */
static void
drop_indentation(struct tree *tree, const char *bytes)
{
    const char *margin = NULL;
    size_t size = 0;
    for (int i = 0; i < tree->line_count; i++) {
        const struct tree_line *line = &tree->lines[i];
        size_t blanks = leading_blanks(bytes, line);
        const char *start = bytes + line->start;
        if (line->start + blanks == line->end || start[blanks] == '#') {
            continue;
        }
        size_t common = 0;
        while (margin != NULL && common < size && common < blanks &&
               start[common] == margin[common]) {
            common++;
        }
        size = margin == NULL ? blanks : common;
        margin = start;
    }
    for (int i = 0; i < tree->line_count; i++) {
        struct tree_line *line = &tree->lines[i];
        size_t blanks = leading_blanks(bytes, line);
        bool empty = line->start + blanks == line->end;
        line->dropped = (int)(empty || blanks < size ? blanks : size);
    }
}

/* Appends what the parser is to see: nothing for an expression that is left out. */
static void
append_source(const struct tree *tree, const char *bytes, bool statements, struct buffer *source)
{
    for (int i = 0; i < tree->line_count; i++) {
        const struct tree_line *line = &tree->lines[i];
        size_t start = line->start + (size_t)line->dropped;
        buffer_append(source, bytes + start, line->end - start);
        buffer_append(source, "\n", 1);
    }
    while (!source->failed && !statements && source->size > 0 &&
           strchr(" \t\f\n", source->data[source->size - 1]) != NULL) {
        source->data[--source->size] = '\0';
    }
}

int
tree_column(const struct tree *tree, int line, int column)
{
    if (line < 1 || line > tree->line_count) {
        return column;
    }
    const struct tree_line *place = &tree->lines[line - 1];
    size_t at = place->start + (size_t)place->dropped + (size_t)column;
    at = at > place->end ? place->end : at;
    return tree->characters == NULL ? (int)(at - place->start)
                                    : tree->characters[at] - tree->characters[place->start];
}

/* ---- Parsing ---- */

struct parse {
    const char *source;
    bool statements;
    PyObject *root;
    PyObject *type, *value, *traceback; /* the exception, where root is NULL */
};

static void
run_parser(struct parse *parse)
{
    PyCompilerFlags flags = {PyCF_ONLY_AST | PyCF_SOURCE_IS_UTF8 | PyCF_IGNORE_COOKIE,
                             PY_MINOR_VERSION};
    PyObject *name = PyUnicode_FromString(FILE_NAME);
    parse->root =
        name == NULL
            ? NULL
            : Py_CompileStringObject(parse->source, name,
                                     parse->statements ? Py_file_input : Py_eval_input, &flags, -1);
    Py_XDECREF(name);
}

/* How deep Python lets the thread go. A thread of our own has its own count. */
#if PY_VERSION_HEX < 0x030C0000
#define SCALE 3 /* levels of the tree for one of Python's */
#define REMAINING recursion_remaining
#elif PY_VERSION_HEX < 0x030E0000
#define SCALE (PY_VERSION_HEX < 0x030D0000 ? 2 : 1)
#define REMAINING c_recursion_remaining
#endif /* later versions look at the stack itself */

static void *
parse_on_own_stack(void *argument)
{
    struct parse *parse = argument;
    PyGILState_STATE gil = PyGILState_Ensure();
#ifdef REMAINING
    PyThreadState *thread = PyThreadState_Get();
    int remaining = thread->REMAINING;
    thread->REMAINING = STACK_LEVELS / SCALE;
#endif
    run_parser(parse);
#ifdef REMAINING
    thread->REMAINING = remaining;
#endif
    PyErr_Fetch(&parse->type, &parse->value, &parse->traceback);
    PyGILState_Release(gil);
    return NULL;
}

/* Runs a function on a stack of its own. Signals are for the threads that were there before. Returns 0 or an errno. */
static int
start_thread(pthread_t *thread, void *(*function)(void *), void *argument)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        return error;
    }
    error = pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (error == 0) {
        error = pthread_create(thread, &attributes, function, argument);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

static int
run_in_thread(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    int error = start_thread(&thread, function, argument);
    if (error == 0) {
        Py_BEGIN_ALLOW_THREADS;
        pthread_join(thread, NULL);
        Py_END_ALLOW_THREADS;
    }
    return error;
}

static void
run_parser_in_thread(struct parse *parse)
{
    if (run_in_thread(parse_on_own_stack, parse) != 0) {
        PyErr_SetString(PyExc_MemoryError, "no stack for the parser");
    }
    else {
        PyErr_Restore(parse->type, parse->value, parse->traceback);
    }
}

/* Some Pythons free a deep tree by recursion. */
static void *
free_on_own_stack(void *argument)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    Py_DECREF((PyObject *)argument);
    PyGILState_Release(gil);
    return NULL;
}

static bool
is_too_deep(void)
{
    return PyErr_ExceptionMatches(PyExc_RecursionError) ||
           PyErr_ExceptionMatches(PyExc_MemoryError);
}

static bool
is_short(const struct buffer *source)
{
    int brackets = 0;
    for (size_t i = 0; i < source->size && source->size <= SHORT_TEXT; i++) {
        char byte = source->data[i];
        brackets += byte == '(' || byte == '[' || byte == '{';
    }
    return source->size <= SHORT_TEXT && brackets <= FEW_BRACKETS;
}

/* A second time on a stack of our own where the caller's is too deep, or, on some Pythons, where another thread
 * parsed meanwhile, which confuses their count of levels: a SystemError. */
static PyObject *
parse_source(const struct buffer *source, bool statements, bool *deep)
{
    struct parse parse = {.source = source->data, .statements = statements};
    if (is_short(source)) {
        run_parser(&parse);
        if (parse.root != NULL || (!is_too_deep() && !PyErr_ExceptionMatches(PyExc_SystemError))) {
            return parse.root;
        }
        PyErr_Clear();
    }
    *deep = true;
    run_parser_in_thread(&parse);
    return parse.root;
}

/* ---- Python's own SyntaxErrors, on the text as it was given ---- */

/* A number of the error, or `otherwise`. */
static int
error_number(PyObject *error, const char *name, int otherwise)
{
    PyObject *value = PyObject_GetAttrString(error, name);
    long number = value == NULL || !PyLong_Check(value) ? otherwise : PyLong_AsLong(value);
    Py_XDECREF(value);
    PyErr_Clear();
    return number < 1 || number > INT_MAX / 2 ? otherwise : (int)number;
}

/* From an offset, from 1 in the line that the parser saw, to a column of the text's line. */
static int
column_of_offset(const struct tree *tree, int line, int offset)
{
    const struct tree_line *place = &tree->lines[line - 1];
    int end = (int)(place->end - place->start);
    if (tree->characters != NULL) {
        end = tree->characters[place->end] - tree->characters[place->start];
    }
    int column = place->dropped + offset - 1;
    return column > end ? end : column;
}

static void
find_error(const struct tree *tree, PyObject *error, struct span *span)
{
    int last = tree->line_count;
    span->line = error_number(error, "lineno", 1);
    int offset = error_number(error, "offset", 1);
    span->end_line = error_number(error, "end_lineno", span->line);
    int end_offset = error_number(error, "end_offset", offset);
    if (span->line > last) { /* the end of the text */
        span->line = last;
        offset = end_offset = INT_MAX / 2;
    }
    span->end_line = span->end_line > last ? last : span->end_line;
    span->column = column_of_offset(tree, span->line, offset);
    span->end_column = column_of_offset(tree, span->end_line, end_offset);
    if (span->end_line < span->line ||
        (span->end_line == span->line && span->end_column <= span->column)) {
        span->end_line = span->line;
        span->end_column = span->column + 1;
    }
}

static void
place_error(const struct tree *tree)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *message = PyObject_GetAttrString(value, "msg");
    if (message == NULL) {
        PyErr_Clear();
    }
    struct span span;
    find_error(tree, value, &span);
    if (message != NULL && PyUnicode_Check(message)) {
        raise_syntax_error(tree->text, &span, type, message);
        Py_DECREF(type);
        Py_DECREF(value);
        Py_XDECREF(traceback);
    }
    else {
        PyErr_Restore(type, value, traceback);
    }
    Py_XDECREF(message);
}

static void
explain_failure(const struct tree *tree)
{
    if (PyErr_ExceptionMatches(PyExc_SyntaxError)) {
        place_error(tree);
    }
    else if (is_too_deep()) {
        struct span start = {1, 0, 1, 1};
        PyErr_Clear();
        span_raise(tree->text, &start, PyExc_SyntaxError,
                   "the text is too long, or nests too deep");
    }
}

/* ---- Texts that never reach the parser ---- */

static int
refuse_character(PyObject *text, Py_ssize_t at, const char *message)
{
    struct span span = {1, 0, 1, 1};
    for (Py_ssize_t i = 0; i < at; i++) {
        Py_UCS4 character = PyUnicode_READ_CHAR(text, i);
        bool ends =
            character == '\n' ||
            (character == '\r' && (i + 1 == at || PyUnicode_READ_CHAR(text, i + 1) != '\n'));
        span.line += ends;
        span.column = ends || character == '\r' ? 0 : span.column + 1;
    }
    span.end_line = span.line;
    span.end_column = span.column + 1;
    span_raise(text, &span, PyExc_SyntaxError, "%s", message);
    return -1;
}

static int
check_characters(PyObject *text)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    struct span start = {1, 0, 1, 1};
    if (length > TREE_TEXT_LIMIT) {
        span_raise(text, &start, PyExc_SyntaxError, "the text has %zd characters, the limit is %d",
                   length, TREE_TEXT_LIMIT);
        return -1;
    }
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    for (Py_ssize_t i = 0; i < length; i++) {
        Py_UCS4 character = PyUnicode_READ(kind, data, i);
        if (character == 0) {
            return refuse_character(text, i, "a null character in the text");
        }
        if (Py_UNICODE_IS_SURROGATE(character)) {
            return refuse_character(text, i, "a lone surrogate in the text");
        }
    }
    return 0;
}

/* Parses what is left of the lines. */
static int
parse_lines(struct tree *tree, const char *bytes, bool statements)
{
    struct span start = {1, 0, 1, 1};
    struct buffer source = BUFFER_INIT;
    append_source(tree, bytes, statements, &source);
    if (source.failed) {
        PyErr_NoMemory();
    }
    else if (source.size == 0) {
        span_raise(tree->text, &start, PyExc_SyntaxError, "the text has no expression");
    }
    else {
        tree->root = parse_source(&source, statements, &tree->deep);
        if (tree->root == NULL) {
            explain_failure(tree);
        }
    }
    buffer_free(&source);
    return tree->root == NULL ? -1 : 0;
}

int
tree_parse(PyObject *text, bool statements, struct tree *tree)
{
    *tree = (struct tree){.text = text};
    Py_ssize_t size;
    const char *bytes = check_characters(text) < 0 ? NULL : PyUnicode_AsUTF8AndSize(text, &size);
    int result = bytes == NULL || split_lines(tree, bytes, (size_t)size) < 0 ||
                         count_characters(tree, bytes, (size_t)size) < 0
                     ? -1
                     : 0;
    if (result == 0) {
        if (statements) {
            drop_indentation(tree, bytes);
        }
        else {
            drop_before_expression(tree, bytes);
        }
        result = parse_lines(tree, bytes, statements);
    }
    if (result < 0) {
        tree_free(tree);
    }
    return result;
}

void
tree_free(struct tree *tree)
{
    if (!tree->deep || tree->root == NULL || run_in_thread(free_on_own_stack, tree->root) != 0) {
        Py_XDECREF(tree->root);
    }
    free(tree->lines);
    free(tree->characters);
    *tree = (struct tree){0};
}
