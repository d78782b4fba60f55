/* standalone.c: a program -> plain C for any compiler.
 *
 * The user's text stays as it is. In front of it stand the declarations that libtcc gets too, and a line for each
 * name that other units see and that has another one in the library,
 *
 *   #define add add_float64
 *
 * for a generic source is there once for each dtype.
 */
#include "standalone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <numpy/ndarraytypes.h>

#include "../../runtime/symbols.h"
#include "interface.h"

const char *
standalone_dtype(int type)
{
    static const char *const names[] = {
        [NPY_BOOL] = "bool",      [NPY_BYTE] = "int8",        [NPY_UBYTE] = "uint8",
        [NPY_SHORT] = "int16",    [NPY_USHORT] = "uint16",    [NPY_INT] = "int32",
        [NPY_UINT] = "uint32",    [NPY_LONG] = "int64",       [NPY_ULONG] = "uint64",
        [NPY_LONGLONG] = "int64", [NPY_ULONGLONG] = "uint64", [NPY_FLOAT] = "float32",
        [NPY_DOUBLE] = "float64", [NPY_CFLOAT] = "complex64", [NPY_CDOUBLE] = "complex128",
    };
    return type >= 0 && (size_t)type < sizeof(names) / sizeof(*names) ? names[type] : NULL;
}

/* ---- What needs Python ---- */

static int
no_memory(struct spot *spot)
{
    *spot = (struct spot){0};
    return -1;
}

/* Why a name keeps the program from running alone; NULL: it does not. */
static const char *
reason_of(const struct preamble *preamble, const struct token *token)
{
    const struct symbol *symbol = symbol_find(token->start, token->length);
    if (symbol == NULL || names_have(&preamble->declared, token->start, token->length)) {
        return NULL;
    }
    bool arithmetic = strncmp(symbol->name, "tw_complex", strlen("tw_complex")) == 0;
    return symbol->symbol_class == SYMBOL_PYTHON || symbol->symbol_class == SYMBOL_PYTHON_DATA
               ? "belongs to Python"
           : symbol->symbol_class == SYMBOL_RUNTIME && !arithmetic ? "belongs to tinyweave"
                                                                   : NULL;
}

static const struct token *
find_include(const struct source *source)
{
    const struct tokens *tokens = &source->tokens;
    for (size_t i = 0; i + 1 < tokens->count; i++) {
        if (tokens->items[i].directive && token_is(&tokens->items[i], "include")) {
            return &tokens->items[i];
        }
    }
    return &tokens->items[0];
}

static int
check_unit(const struct translation *unit, struct spot *spot)
{
    for (size_t i = 0; i < unit->count; i++) {
        const struct source *source = &unit->sources[i];
        for (size_t k = 0; k < source->tokens.count; k++) {
            const struct token *token = &source->tokens.items[k];
            const char *reason =
                token->kind == TOKEN_IDENTIFIER ? reason_of(&unit->preamble, token) : NULL;
            if (reason != NULL) {
                return spot_fail(spot, source, token,
                                 "'%.*s' %s: a saved library has to do without", (int)token->length,
                                 token->start, reason);
            }
        }
    }
    if (unit->preamble.includes.python) {
        const struct source *source = &unit->sources[PREAMBLE_TEXTS];
        return spot_fail(spot, source, find_include(source),
                         "<Python.h> is included: a saved library has to do without Python");
    }
    return 0;
}

/* ---- Names ---- */

struct writer {
    const struct program *program;
    const struct plans *plans;
    const struct binding *bindings;
    size_t binding_count;
    struct standalone *result;
    struct instance *instances;
    size_t instance_count;
    struct arena arena;
    struct spot *spot;
};

/* A function of the Library that a unit defines; NULL: none. */
static const struct plan *
plan_of(const struct writer *writer, const struct translation *unit,
        const struct declaration *declaration)
{
    bool is_public = program_is_public(&unit->declarations, declaration);
    const struct plan *plan = is_public ? plans_find(writer->plans, declaration->name) : NULL;
    return plan == NULL || plan->refusal != NULL ? NULL : plan;
}

/* Whether a function stands in the library under this binding: what it does not use is as in the first. */
static bool
is_exported(const struct writer *writer, const struct plan *plan, size_t binding)
{
    for (int i = 0; plan != NULL && i < TYPE_VARIABLES; i++) {
        if ((plan->variables >> i & 1) == 0 &&
            writer->bindings[binding].types[i] != writer->bindings[0].types[i]) {
            return false;
        }
    }
    return plan != NULL;
}

/* A variable that other units see. */
static bool
is_variable(const struct declaration *declaration)
{
    return declaration->storage == STORAGE_NONE && declaration->type->kind != TYPE_FUNCTION;
}

/* The symbol of a function or variable under a binding: "add_float64"; of what others do not see, one of its
 * own for each binding. NULL: no memory. */
static const char *
symbol_of(struct writer *writer, const struct declaration *declaration, const struct plan *plan,
          size_t binding)
{
    struct buffer text = BUFFER_INIT;
    buffer_append(&text, declaration->name->start, declaration->name->length);
    for (int i = 0; i < TYPE_VARIABLES && is_exported(writer, plan, binding); i++) {
        if (plan->variables >> i & 1) {
            buffer_printf(&text, "_%s", standalone_dtype(writer->bindings[binding].types[i]));
        }
    }
    if (!is_exported(writer, plan, binding) && binding > 0) {
        buffer_printf(&text, "__%zu", binding);
    }
    const char *copy = text.failed ? NULL : arena_text(&writer->arena, text.data, text.size);
    buffer_free(&text);
    return copy;
}

/* ---- Units ---- */

/* The lines that give the names of all units, once each, their symbols. */
static int
emit_symbols(struct writer *writer, size_t binding, struct buffer *text)
{
    for (size_t i = 0; i < writer->program->count; i++) {
        const struct translation *unit = &writer->program->units[i];
        for (size_t k = 0; k < unit->declarations.count; k++) {
            const struct declaration *declaration = &unit->declarations.items[k];
            if (!is_variable(declaration) && !program_is_public(&unit->declarations, declaration)) {
                continue;
            }
            const char *symbol =
                symbol_of(writer, declaration, plan_of(writer, unit, declaration), binding);
            if (symbol == NULL) {
                return -1;
            }
            if (!token_is(declaration->name, symbol)) {
                buffer_printf(text, "#define %.*s %s\n", (int)declaration->name->length,
                              declaration->name->start, symbol);
            }
        }
    }
    return 0;
}

/* What the header promises must be there for other compilers too: an #ifdef may hide it from them. */
static void
emit_promises(const struct writer *writer, const struct translation *unit, size_t binding,
              struct buffer *text)
{
    size_t count = 0;
    for (size_t i = 0; i < unit->declarations.count; i++) {
        const struct declaration *declaration = &unit->declarations.items[i];
        if (is_exported(writer, plan_of(writer, unit, declaration), binding)) {
            buffer_printf(text, "%s(void (*)(void))(%.*s),\n",
                          count++ == 0 ? "__attribute__((used)) static void (*const "
                                         "tw_promises[])(void) = {\n"
                                       : "",
                          (int)declaration->name->length, declaration->name->start);
        }
    }
    buffer_append_string(text, count > 0 ? "};\n" : "");
}

static int
write_unit(struct writer *writer, const struct translation *unit, size_t binding,
           struct buffer *text)
{
    if (emit_symbols(writer, binding, text) < 0 ||
        program_text(writer->program, unit, &writer->bindings[binding], text) < 0) {
        return no_memory(writer->spot);
    }
    emit_promises(writer, unit, binding, text);
    return text->failed ? no_memory(writer->spot) : 0;
}

/* What the declarations of the prelude may link to and C has only as a macro. */
static void
write_support(struct buffer *text)
{
    static const char *const tests[] = {"isfinite", "isnormal", "signbit"};
    static const char *const comparisons[] = {"isgreater",   "isgreaterequal", "isless",
                                              "islessequal", "islessgreater",  "isunordered"};
    buffer_append_string(text, "#line 1 \"tw:generated\"\n");
    for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++) {
        buffer_printf(text, "#undef %s\nint (%s)(double x) { return __builtin_%s(x) != 0; }\n",
                      tests[i], tests[i], tests[i]);
    }
    for (size_t i = 0; i < sizeof(comparisons) / sizeof(*comparisons); i++) {
        buffer_printf(text,
                      "#undef %s\nint (%s)(double x, double y) { return __builtin_%s(x, y); }\n",
                      comparisons[i], comparisons[i], comparisons[i]);
    }
}

static int
write_units(struct writer *writer)
{
    const struct program *program = writer->program;
    struct standalone *result = writer->result;
    result->units = calloc(program->count * writer->binding_count + 1, sizeof(*result->units));
    if (result->units == NULL) {
        return no_memory(writer->spot);
    }
    for (size_t binding = 0; binding < writer->binding_count; binding++) {
        for (size_t i = 0; i < program->count; i++) {
            if (write_unit(writer, &program->units[i], binding,
                           &result->units[result->unit_count++]) < 0) {
                return -1;
            }
        }
    }
    write_support(&result->units[result->unit_count++]);
    return result->units[result->unit_count - 1].failed ? no_memory(writer->spot) : 0;
}

/* ---- Exports ---- */

/* A function of the Library, once for each binding. */
static int
add_instances(struct writer *writer, const struct translation *unit,
              const struct declaration *declaration, const struct plan *plan)
{
    for (size_t binding = 0; binding < writer->binding_count; binding++) {
        if (!is_exported(writer, plan, binding)) {
            continue;
        }
        const char *name = symbol_of(writer, declaration, plan, binding);
        if (name == NULL || strings_append(&writer->result->exports, name, strlen(name)) < 0) {
            return no_memory(writer->spot);
        }
        writer->instances[writer->instance_count++] =
            (struct instance){.unit = unit,
                              .declaration = declaration,
                              .name = name,
                              .variables = plan->variables,
                              .binding = &writer->bindings[binding]};
    }
    return 0;
}

static int
find_instances(struct writer *writer)
{
    const struct program *program = writer->program;
    writer->instances =
        calloc(writer->plans->count * writer->binding_count, sizeof(*writer->instances));
    if (writer->instances == NULL) {
        return no_memory(writer->spot);
    }
    for (size_t i = 0; i < program->count; i++) {
        const struct translation *unit = &program->units[i];
        for (size_t k = 0; k < unit->declarations.count; k++) {
            const struct declaration *declaration = &unit->declarations.items[k];
            const struct plan *plan = plan_of(writer, unit, declaration);
            if (plan != NULL && add_instances(writer, unit, declaration, plan) < 0) {
                return -1;
            }
        }
    }
    if (writer->instance_count > 0) {
        return 0;
    }
    const struct source *last = &program->units[program->count - 1].sources[PREAMBLE_TEXTS];
    return spot_fail(
        writer->spot, last, &last->tokens.items[0],
        "the source defines none of the library's functions: there is nothing to save");
}

int
standalone_write(const struct program *program, const struct plans *plans,
                 const struct binding *bindings, size_t count, struct standalone *standalone,
                 struct spot *spot)
{
    struct writer writer = {.program = program,
                            .plans = plans,
                            .bindings = bindings,
                            .binding_count = count,
                            .result = standalone,
                            .spot = spot};
    int result = 0;
    for (size_t i = 0; i < program->count && result == 0; i++) {
        result = check_unit(&program->units[i], spot);
    }
    if (result == 0) {
        result = find_instances(&writer) < 0 || write_units(&writer) < 0 ||
                         interface_write(program, writer.instances, writer.instance_count,
                                         &standalone->includes, &standalone->declarations, spot) < 0
                     ? -1
                     : 0;
    }
    free(writer.instances);
    arena_free(&writer.arena);
    return result;
}

void
standalone_free(struct standalone *standalone)
{
    for (size_t i = 0; i < standalone->unit_count; i++) {
        buffer_free(&standalone->units[i]);
    }
    free(standalone->units);
    strings_free(&standalone->exports);
    buffer_free(&standalone->includes);
    buffer_free(&standalone->declarations);
}
