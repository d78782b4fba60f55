/* declaration.c: the declaration reader, for tests through ctypes.PyDLL.
 *
 * In place of the preprocessor stand the text's own tokens, without its directives, and macros of one token:
 * "#define NAME TOKEN" above its use.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>
#include <string.h>

#include "../../src/frontend/declaration.h"

/* ---- The unit ---- */

/* The one token of the macro's body, or NULL. */
static const struct token *
macro_body(const struct source *source, const struct token *name)
{
    for (const struct token *token = source->tokens.items; token + 2 < name; token++) {
        if (token->directive && token_is(token, "define") && token_compare(token + 1, name) == 0) {
            return token + 2;
        }
    }
    return NULL;
}

static int
fill_unit(struct source *source, struct expanded *unit)
{
    size_t size = source->tokens.count + 1;
    unit->items = malloc(size * sizeof(*unit->items));
    unit->from = malloc(size * sizeof(*unit->from));
    if (unit->items == NULL || unit->from == NULL) {
        return -1;
    }
    size_t count = 0;
    bool macros = memchr(source->text, '#', source->length) != NULL;
    for (size_t i = 0; i < size; i++) {
        const struct token *token = &source->tokens.items[i];
        if (token->directive) {
            continue;
        }
        const struct token *body =
            macros && token->kind == TOKEN_IDENTIFIER ? macro_body(source, token) : NULL;
        unit->items[count] = body != NULL ? *body : *token;
        unit->items[count].line = token->line;
        unit->items[count].column = token->column;
        unit->from[count++] = source;
    }
    unit->count = count - 1;
    return 0;
}

/* ---- As Python objects ---- */

static PyObject *
token_string(const struct token *token)
{
    return token == NULL ? Py_NewRef(Py_None)
                         : PyUnicode_DecodeUTF8(token->start, (Py_ssize_t)token->length, "replace");
}

/* ("constant", 3), ("name", "n"), ("star",), ("other",), or (number of the operator, operands ...) */
static PyObject *
expression_tuple(const struct expression *expression)
{
    if (expression == NULL) {
        return Py_NewRef(Py_None);
    }
    switch (expression->kind) {
    case EXPRESSION_CONSTANT:
        return Py_BuildValue("sL", "constant", expression->value);
    case EXPRESSION_NAME:
        return Py_BuildValue("sN", "name", token_string(expression->name));
    case EXPRESSION_STAR:
        return Py_BuildValue("(s)", "star");
    case EXPRESSION_OTHER:
        return Py_BuildValue("(s)", "other");
    default:
        break;
    }
    PyObject *kind = PyLong_FromLong((long)expression->kind);
    PyObject *operands[3] = {NULL, NULL, NULL};
    for (int i = 0; i < 3 && expression->operands[i] != NULL; i++) {
        operands[i] = expression_tuple(expression->operands[i]);
    }
    if (operands[2] != NULL) {
        return Py_BuildValue("NNNN", kind, operands[0], operands[1], operands[2]);
    }
    return operands[1] != NULL ? Py_BuildValue("NNN", kind, operands[0], operands[1])
                               : Py_BuildValue("NN", kind, operands[0]);
}

static PyObject *
extent_value(const struct expression *extent)
{
    long long value;
    return extent != NULL && expression_constant(extent, &value) == 0 ? PyLong_FromLongLong(value)
                                                                      : Py_NewRef(Py_None);
}

static PyObject *
described(const struct type *type, const struct token *token, int bare)
{
    struct buffer text = BUFFER_INIT;
    char name[100] = "";
    if (token != NULL && token->length < sizeof(name)) {
        memcpy(name, token->start, token->length);
    }
    buffer_append_string(&text, "|"); /* what stands before is not looked at */
    type_describe(type, name, bare, &text);
    PyObject *string =
        PyUnicode_DecodeUTF8(text.data + 1, (Py_ssize_t)strlen(text.data + 1), "replace");
    buffer_free(&text);
    return string;
}

static PyObject *type_tuple(const struct type *type);

static PyObject *
parameter_tuple(const struct parameter *parameter)
{
    return Py_BuildValue("NiNNNN", token_string(parameter->name), (int)parameter->word,
                         token_string(parameter->word_token), type_tuple(parameter->type),
                         token_string(parameter->first), token_string(parameter->last));
}

static PyObject *
function_tuple(const struct type *type)
{
    PyObject *parameters = PyTuple_New((Py_ssize_t)type->parameter_count);
    for (size_t i = 0; i < type->parameter_count; i++) {
        PyTuple_SetItem(parameters, (Py_ssize_t)i, parameter_tuple(&type->parameters[i]));
    }
    return Py_BuildValue("NNN", parameters, PyBool_FromLong(type->variadic),
                         PyBool_FromLong(type->no_prototype));
}

static PyObject *
detail(const struct type *type)
{
    static const char *const spellings[] = {
#define BASIC(name, spelling) spelling,
        BASIC_TYPES(BASIC)
#undef BASIC
    };
    switch (type->kind) {
    case TYPE_BASIC:
        return PyUnicode_FromString(spellings[type->basic]);
    case TYPE_ARRAY:
        return Py_BuildValue("NNN", PyBool_FromLong(type->is_static),
                             expression_tuple(type->extent), extent_value(type->extent));
    case TYPE_FUNCTION:
        return function_tuple(type);
    default:
        return token_string(type->name);
    }
}

/* (kind, qualifiers, detail, target, known) */
static PyObject *
type_tuple(const struct type *type)
{
    static const char *const kinds[] = {"void",   "basic", "pointer", "array", "function",
                                        "struct", "union", "enum",    "named"};
    return Py_BuildValue("sINNz", kinds[type->kind], type->qualifiers, detail(type),
                         type->target != NULL ? type_tuple(type->target) : Py_NewRef(Py_None),
                         type->known);
}

static PyObject *
declaration_dict(const struct declaration *item)
{
    static const char *const storages[] = {"", "extern", "static", "typedef"};
    return Py_BuildValue(
        "{s:N,s:s,s:N,s:N,s:N,s:i,s:N,s:N,s:N,s:N,s:y#}", "name", token_string(item->name),
        "storage", storages[item->storage], "inline", PyBool_FromLong(item->is_inline),
        "definition", PyBool_FromLong(item->is_definition), "type", type_tuple(item->type), "depth",
        item->type->depth, "text", described(item->type, item->name, 0), "bare",
        described(item->type, item->name, 1), "first", token_string(item->first), "last",
        token_string(item->last), "comment", item->comment, (Py_ssize_t)item->comment_length);
}

static PyObject *
declarations_tuple(const struct declarations *declarations)
{
    PyObject *list = PyList_New((Py_ssize_t)declarations->count);
    for (size_t i = 0; i < declarations->count; i++) {
        PyList_SetItem(list, (Py_ssize_t)i, declaration_dict(&declarations->items[i]));
    }
    return Py_BuildValue("NN", list, PyLong_FromUnsignedLong(declarations->type_variables));
}

static PyObject *
spot_tuple(const struct spot *spot)
{
    return Py_BuildValue(
        "iiN", spot->line, spot->column,
        PyUnicode_DecodeUTF8(spot->message, (Py_ssize_t)strlen(spot->message), "replace"));
}

/* ([declaration], type_variables), or (line, column, message). With `only` >= 0: of the first so many tokens. */
PyObject *
declaration_read(PyObject *text, Py_ssize_t only)
{
    struct source source = {.label = "tw:code", .argument = "code"};
    source.text = PyBytes_AsString(text);
    source.length = (size_t)PyBytes_Size(text);
    struct spot spot;
    if (lexer_scan(&source, &spot) < 0) {
        return spot_tuple(&spot);
    }
    struct expanded unit = {.items = NULL, .from = NULL};
    PyObject *result = NULL;
    struct declarations declarations = {.items = NULL};
    if (fill_unit(&source, &unit) < 0) {
        PyErr_NoMemory();
    }
    else {
        if (only >= 0 && (size_t)only < unit.count) {
            unit.items[only] = unit.items[unit.count];
            unit.count = (size_t)only;
        }
        result = declarations_read(&unit, &declarations, &spot) < 0
                     ? spot_tuple(&spot)
                     : declarations_tuple(&declarations);
        declarations_free(&declarations);
    }
    free(unit.items);
    free(unit.from);
    lexer_free(&source);
    return result;
}

/* ---- Records, through the preprocessor ---- */

static PyObject *
layout_tuple(const struct type *type)
{
    size_t size, alignment;
    return type_layout(type, &size, &alignment) < 0 ? Py_NewRef(Py_None)
                                                    : Py_BuildValue("nn", size, alignment);
}

static PyObject *record_dict(const struct record *record);

/* (name, width, offset, (size, alignment), type as C writes it, record) */
static PyObject *
member_tuple(const struct member *member)
{
    const struct record *record = member->type->record;
    return Py_BuildValue("NinNNN", token_string(member->name), member->bits, member->offset,
                         layout_tuple(member->type), described(member->type, member->name, 0),
                         record == NULL ? Py_NewRef(Py_None) : record_dict(record));
}

static PyObject *
record_dict(const struct record *record)
{
    PyObject *members = PyList_New((Py_ssize_t)record->member_count);
    for (size_t i = 0; i < record->member_count; i++) {
        PyList_SetItem(members, (Py_ssize_t)i, member_tuple(&record->members[i]));
    }
    return Py_BuildValue("{s:n,s:N,s:N,s:z,s:N,s:n,s:n,s:i,s:N}", "id", (Py_ssize_t)record, "name",
                         token_string(record->name), "complete", PyBool_FromLong(record->complete),
                         "why_not", record->why_not, "culprit", token_string(record->culprit),
                         "size", record->size, "alignment", record->alignment, "basic",
                         (int)record->basic, "members", members);
}

/* (name, (size, alignment), record) of each declaration; the record is that of the type, behind pointers too. */
static PyObject *
record_list(const struct declarations *declarations)
{
    PyObject *list = PyList_New((Py_ssize_t)declarations->count);
    for (size_t i = 0; i < declarations->count; i++) {
        const struct declaration *item = &declarations->items[i];
        const struct type *type = item->type;
        while (type->target != NULL) {
            type = type->target;
        }
        PyList_SetItem(
            list, (Py_ssize_t)i,
            Py_BuildValue("NNN", token_string(item->name), layout_tuple(item->type),
                          type->record != NULL ? record_dict(type->record) : Py_NewRef(Py_None)));
    }
    return list;
}

/* ---- Constants, through the preprocessor ---- */

static PyObject *
value_of(const struct constant *constant)
{
    switch (constant->kind) {
    case CONSTANT_STRING:
        return PyBytes_FromStringAndSize(constant->text, (Py_ssize_t)constant->length);
    case CONSTANT_FLOATING:
        return PyFloat_FromDouble(constant->floating);
    default:
        return constant->is_unsigned
                   ? PyLong_FromUnsignedLongLong((unsigned long long)constant->integer)
                   : PyLong_FromLongLong(constant->integer);
    }
}

/* [(name, value, whether it is a macro, label of the source)] */
static PyObject *
constant_list(const struct declarations *declarations)
{
    PyObject *list = PyList_New((Py_ssize_t)declarations->constant_count);
    for (size_t i = 0; i < declarations->constant_count; i++) {
        const struct constant *constant = &declarations->constants[i];
        PyList_SetItem(list, (Py_ssize_t)i,
                       Py_BuildValue("NNNs", token_string(constant->name), value_of(constant),
                                     PyBool_FromLong(constant->is_macro), constant->from->label));
    }
    return list;
}

/* [(name, storage, whether it has an initializer, its elements, type as C writes it)] of what is no function */
static PyObject *
variable_list(const struct declarations *declarations)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; i < declarations->count; i++) {
        const struct declaration *item = &declarations->items[i];
        if (item->type->kind == TYPE_FUNCTION || item->storage == STORAGE_TYPEDEF) {
            continue;
        }
        PyObject *tuple = Py_BuildValue("NiNLN", token_string(item->name), (int)item->storage,
                                        PyBool_FromLong(item->has_initializer), item->elements,
                                        described(item->type, item->name, 0));
        PyList_Append(list, tuple);
        Py_DECREF(tuple);
    }
    return list;
}

static PyObject *
declare_list(const struct declarations *declarations)
{
    PyObject *list = PyList_New((Py_ssize_t)declarations->count);
    for (size_t i = 0; i < declarations->count; i++) {
        const struct declaration *item = &declarations->items[i];
        PyList_SetItem(
            list, (Py_ssize_t)i,
            Py_BuildValue("NN", described(item->type, item->name, 0), token_string(item->out)));
    }
    return list;
}

/* The unit of a text: (records, constants, variables), or (line, column, message). With `declare` it is one of
 * declare=: [(type as C writes it, its `out`)]. */
static PyObject *
read_text(PyObject *text, bool declare)
{
    struct source source = {.label = "tw:code", .argument = "code"};
    source.text = PyBytes_AsString(text);
    source.length = (size_t)PyBytes_Size(text);
    struct strings folders = {NULL, 0};
    struct includes includes;
    struct expanded unit;
    struct declarations declarations = {.items = NULL};
    struct spot spot;
    if (lexer_scan(&source, &spot) < 0 || include_follow(&source, 1, &folders, &includes) < 0) {
        return spot_tuple(&spot);
    }
    PyObject *result;
    if (preprocess(&source, 1, &includes, &folders, &unit, &spot) < 0) {
        result = spot_tuple(&spot);
    }
    else {
        int read = declare ? declarations_read_declare(&unit, &declarations, &spot)
                           : declarations_read(&unit, &declarations, &spot);
        result = read < 0 ? spot_tuple(&spot)
                 : declare
                     ? declare_list(&declarations)
                     : Py_BuildValue("NNN", record_list(&declarations),
                                     constant_list(&declarations), variable_list(&declarations));
        declarations_free(&declarations);
        preprocess_free(&unit);
    }
    includes_free(&includes);
    lexer_free(&source);
    return result;
}

PyObject *
declaration_unit(PyObject *text)
{
    return read_text(text, false);
}

PyObject *
declaration_declare(PyObject *text)
{
    return read_text(text, true);
}

/* ---- The system's headers ---- */

static int
append_folders(struct strings *folders, PyObject *list)
{
    for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
        const char *folder = PyBytes_AsString(PyList_GetItem(list, i));
        if (strings_append(folders, folder, strlen(folder)) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
header_list(const struct expanded *unit)
{
    PyObject *list = PyList_New((Py_ssize_t)unit->header_count);
    for (size_t i = 0; i < unit->header_count; i++) {
        PyList_SetItem(list, (Py_ssize_t)i, PyUnicode_FromString(unit->headers[i]->label));
    }
    return list;
}

/* (declarations, constants, records, paths of the system's headers, tokens), or (line, column, message). */
PyObject *
declaration_headers(PyObject *text, PyObject *user_folders, PyObject *system_folders)
{
    struct source source = {.label = "tw:code", .argument = "code"};
    source.text = PyBytes_AsString(text);
    source.length = (size_t)PyBytes_Size(text);
    struct strings users = {NULL, 0}, systems = {NULL, 0};
    struct includes includes;
    struct expanded unit;
    struct declarations declarations = {.items = NULL};
    struct spot spot;
    if (append_folders(&users, user_folders) < 0 || append_folders(&systems, system_folders) < 0 ||
        lexer_scan(&source, &spot) < 0 || include_follow(&source, 1, &users, &includes) < 0) {
        return spot_tuple(&spot);
    }
    PyObject *result;
    if (preprocess_system(&source, 1, &includes, &users, &systems, &unit, &spot) < 0) {
        result = spot_tuple(&spot);
    }
    else if (declarations_read(&unit, &declarations, &spot) < 0) {
        result = spot_tuple(&spot);
        declarations_free(&declarations);
        preprocess_free(&unit);
    }
    else {
        PyObject *tokens = PyList_New((Py_ssize_t)unit.count);
        for (size_t i = 0; i < unit.count; i++) {
            PyList_SetItem(
                tokens, (Py_ssize_t)i,
                PyBytes_FromStringAndSize(unit.items[i].start, (Py_ssize_t)unit.items[i].length));
        }
        result =
            Py_BuildValue("NNNNN", declarations_tuple(&declarations), constant_list(&declarations),
                          record_list(&declarations), header_list(&unit), tokens);
        declarations_free(&declarations);
        preprocess_free(&unit);
    }
    includes_free(&includes);
    strings_free(&users);
    strings_free(&systems);
    lexer_free(&source);
    return result;
}

/* Reads a unit with the system's headers, for its time. Returns how many declarations there are; -1. */
int
declaration_headers_time(const char *text, const char *const *folders, size_t folder_count)
{
    struct source source = {.label = "tw:code", .argument = "code", .text = text};
    source.length = strlen(text);
    struct strings users = {NULL, 0}, systems = {NULL, 0};
    struct includes includes;
    struct expanded unit;
    struct declarations declarations = {.items = NULL};
    struct spot spot;
    for (size_t i = 0; i < folder_count; i++) {
        strings_append(&systems, folders[i], strlen(folders[i]));
    }
    lexer_scan(&source, &spot);
    include_follow(&source, 1, &users, &includes);
    int result = preprocess_system(&source, 1, &includes, &users, &systems, &unit, &spot);
    if (result == 0) {
        result = declarations_read(&unit, &declarations, &spot);
        result = result < 0 ? -1 : (int)declarations.count;
        declarations_free(&declarations);
        preprocess_free(&unit);
    }
    includes_free(&includes);
    strings_free(&systems);
    lexer_free(&source);
    return result;
}
