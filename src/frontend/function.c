/* function.c: C functions and their plans -> a unit (tw.compile).
 *
 *   double sum(int n, const double a[n]) { ... }      becomes
 *
 *   <declarations of the names in use; types of the parameters>
 *   <define_macros, headers>
 *   #line 1 "tw:source"
 *   double sum(int n, const double a[n]) { ... }
 *   tw_nothing tw_enter_0(tw_call_pointer tw_call, tw_slots tw_v)
 *   {
 *       *(tw_type_double *)tw_v[2] = (sum)(*(tw_type_int *)tw_v[0], *(tw_pointer *)tw_v[1]);
 *   }
 *   tw_pointer tw_kernel[] = {tw_enter_0};
 */
#include "function.h"

#include <stdio.h>
#include <string.h>

#include <numpy/ndarraytypes.h>

#include "../../cache/kernel.h"
#include "../../runtime/symbols.h"

/* Whether complex numbers may be at hand though no type variable is one. */
static bool
speaks_of_complex(const struct preamble *preamble)
{
    static const char *const names[] = {"tw_complex", "tw_complexf", "tw_make",
                                        "tw_makef",   "Py_complex",  NULL};
    bool found = false;
    for (const char *const *name = names; *name != NULL; name++) {
        found |= preamble_uses(preamble, *name);
    }
    return found;
}

/* The plain operators, where no type variable is complex; else the prelude's own forms stay. */
static void
emit_operators(const struct preamble *preamble, struct buffer *text)
{
    static const struct {
        const char *name;  /* in the user's text */
        const char *macro; /* that stands behind it */
        const char *definition;
    } operators[] = {
        {"tw_add", "tw_add2_", "(x, y) ((x) + (y))"},
        {"tw_sub", "tw_sub", "(x, y) ((x) - (y))"},
        {"tw_mul", "tw_mul2_", "(x, y) ((x) * (y))"},
        {"tw_div", "tw_div", "(x, y) ((x) / (y))"},
        {"tw_eq", "tw_eq", "(x, y) ((x) == (y))"},
        {"tw_neg", "tw_neg", "(x) (-(x))"},
        {"tw_conj", "tw_conj", "(x) (x)"},
        {"tw_real", "tw_real", "(x) (x)"},
        {"tw_imag", "tw_imag", "(x) ((void)(x), (__typeof__(x))0)"},
        {"tw_cast", "tw_cast", "(type, x) ((type)(x))"},
        {"tw_abs", "tw_abs",
         "(x) _Generic((x), double: fabs(x), float: fabsf(x), "
         "default: ({ __typeof__(x) tw_abs_x = (x); tw_abs_x < 0 ? -tw_abs_x : "
         "tw_abs_x; }))"},
    };
    for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++) {
        if (preamble_uses(preamble, operators[i].name)) {
            buffer_printf(text, "#undef %s\n#define %s%s\n", operators[i].macro, operators[i].macro,
                          operators[i].definition);
        }
    }
}

/* Types are named in front of the user's macros, so that "#define int long" changes nothing of ours. */
static void
emit_types(struct buffer *text)
{
    for (int type = 0; type <= NPY_CDOUBLE; type++) {
        if (plan_c_type(type) != NULL) {
            buffer_printf(text, "typedef %s tw_type_%d;\n", plan_c_type(type), type);
        }
    }
    buffer_append_string(
        text, "typedef void *tw_pointer;\ntypedef void tw_nothing;\n"
              "typedef double (*tw_slots)[2];\ntypedef struct tw_call *tw_call_pointer;\n");
    loop_types(text);
}

/* "*(tw_type_12 *)tw_v[0]" */
static void
emit_slot(struct buffer *text, enum role role, int type, int index)
{
    if (role == ROLE_NUMBER || role == ROLE_HIDDEN) {
        buffer_printf(text, "*(tw_type_%d *)tw_v[%d]", type, index);
    }
    else {
        buffer_printf(text, "*(tw_pointer *)tw_v[%d]", index);
    }
}

/* The type that is passed, in our own words. */
static void
emit_type(struct buffer *text, const struct plan_parameter *parameter,
          const struct binding *binding)
{
    if (parameter->by_value) {
        buffer_printf(text, "struct tw_record_%d", parameter->type - PLAN_RECORD);
    }
    else if (parameter->role == ROLE_NUMBER || parameter->role == ROLE_HIDDEN) {
        buffer_printf(text, "tw_type_%d", plan_bound(parameter->type, binding));
    }
    else {
        buffer_append_string(text, parameter->role == ROLE_NOTHING ? "tw_nothing" : "tw_pointer");
    }
}

/* struct tw_record_3 { tw_type_12 m0, m1; }: a struct that is passed by value, once a unit, those it holds first. */
static void
emit_record(struct buffer *text, const struct plans *plans, int type)
{
    const struct plan_record *record = &plans->records[type - PLAN_RECORD];
    for (int i = 0; i < record->count; i++) {
        if (plan_is_record(record->fields[i].type)) {
            emit_record(text, plans, record->fields[i].type);
        }
    }
    int index = type - PLAN_RECORD;
    buffer_printf(text,
                  "#ifndef tw_has_record_%d\n#define tw_has_record_%d\nstruct tw_record_%d {\n",
                  index, index, index);
    for (int i = 0; i < record->count; i++) {
        const struct plan_field *field = &record->fields[i];
        if (plan_is_record(field->type)) {
            buffer_printf(text, "struct tw_record_%d m%d", field->type - PLAN_RECORD, i);
        }
        else {
            buffer_printf(text, "tw_type_%d m%d",
                          field->type == NPY_STRING ? NPY_BYTE : field->type, i);
        }
        for (int axis = 0; axis < field->dimensions; axis++) {
            buffer_printf(text, "[%lld]", field->shape[axis]);
        }
        if (field->type == NPY_STRING) {
            buffer_printf(text, "[%zu]", field->itemsize);
        }
        buffer_append_string(text, ";\n");
    }
    buffer_append_string(text, "};\n#endif\n");
}

static void
emit_records(struct buffer *text, const struct plans *plans, const struct plan *plan)
{
    for (int i = 0; i < plan->c_count; i++) {
        if (plan->parameters[i].by_value) {
            emit_record(text, plans, plan->parameters[i].type);
        }
    }
    if (plan->returned.by_value) {
        emit_record(text, plans, plan->returned.type);
    }
}

/* A declaration of ours for a function that stands apart, by another name: a header may declare its own. */
static void
emit_declaration(struct buffer *text, const struct plan *plan, size_t index,
                 const struct binding *binding)
{
    struct plan_parameter returned = plan->returned;
    returned.role = plan->result;
    emit_type(text, &returned, binding);
    buffer_printf(text, " tw_function_%zu(", index);
    for (int i = 0; i < plan->c_count; i++) {
        buffer_append_string(text, i > 0 ? ", " : "");
        emit_type(text, &plan->parameters[i], binding);
    }
    buffer_printf(text, "%s) __asm__(\"%s\");\n", plan->c_count == 0 ? "tw_nothing" : "",
                  plan->name);
}

/* Makes a function callable by `callee`. `apart`: it is declared by emit_declaration. */
static void
emit_callee(struct buffer *text, const struct plan *plan, size_t index, bool apart,
            const struct binding *binding, struct buffer *callee)
{
    if (apart) {
        emit_declaration(text, plan, index, binding);
        buffer_printf(callee, "tw_function_%zu", index);
    }
    else {
        buffer_printf(text, "#undef %s\n", plan->name);
        buffer_printf(callee, "(%s)", plan->name);
    }
}

/* What a slot's pointer leads to, where a struct is passed itself. */
static void
emit_target(struct buffer *text, const struct plan_parameter *parameter)
{
    if (parameter->by_value) {
        buffer_printf(text, "*(struct tw_record_%d *)", parameter->type - PLAN_RECORD);
    }
}

static void
emit_entry(struct buffer *text, const struct plan *plan, size_t index, const char *callee,
           const struct binding *binding)
{
    buffer_printf(text, "tw_nothing tw_enter_%zu(tw_call_pointer tw_call, tw_slots tw_v)\n{\n",
                  index);
    if (plan->result != ROLE_NOTHING) {
        bool itself = plan->result == ROLE_NUMBER || plan->returned.by_value;
        emit_target(text, &plan->returned);
        emit_slot(text, plan->result, plan_bound(plan->returned.type, binding), plan->count);
        buffer_append_string(text, itself ? " = " : " = (tw_pointer)");
    }
    buffer_printf(text, "%s(", callee);
    for (int i = 0; i < plan->c_count; i++) {
        buffer_append_string(text, i > 0 ? ", " : "");
        emit_target(text, &plan->parameters[i]);
        emit_slot(text, plan->parameters[i].role, plan_bound(plan->parameters[i].type, binding), i);
    }
    buffer_append_string(text, ");\n}\n");
}

/* Whether a unit gets the entry, or the loops, of a plan. */
static bool
is_emitted(const struct program *program, const struct plans *plans, size_t index)
{
    return plans->items[index].refusal == NULL &&
           (program->loops == LOOP_NONE || program->loop_plan == index);
}

static void
emit_entries(const struct program *program, const struct plans *plans, size_t first, size_t count,
             bool apart, const struct binding *binding, struct buffer *text)
{
    for (size_t i = first; i < first + count; i++) {
        const struct plan *plan = &plans->items[i];
        struct buffer callee = BUFFER_INIT;
        if (!is_emitted(program, plans, i)) {
            continue;
        }
        emit_records(text, plans, plan);
        emit_callee(text, plan, i, apart || plan->by_value, binding, &callee);
        text->failed |= callee.failed;
        if (callee.failed) {
            return;
        }
        if (program->loops == LOOP_ELEMENTS) {
            loop_text(plan, binding, callee.data, text);
        }
        else {
            emit_entry(text, plan, i, callee.data, binding);
        }
        buffer_free(&callee);
    }
}

static void
emit_table(const struct program *program, const struct plans *plans, struct buffer *text)
{
    for (size_t i = 0; i < plans->count; i++) {
        if (is_emitted(program, plans, i)) {
            buffer_printf(text, "tw_nothing tw_enter_%zu(tw_call_pointer, tw_slots);\n", i);
            buffer_printf(text, "tw_nothing tw_address_%zu(tw_nothing) __asm__(\"%s\");\n", i,
                          plans->items[i].name);
        }
    }
    for (size_t i = 0; i < plans->global_count; i++) {
        if (plans->globals[i].refusal == NULL) {
            buffer_printf(text, "extern char tw_global_%zu[] __asm__(\"%s\");\n", i,
                          plans->globals[i].name);
        }
    }
    buffer_append_string(text, "tw_pointer " KERNEL_ENTRY "[] = {\n");
    static const char *const columns[] = {"tw_enter", "tw_address"};
    for (size_t column = 0; column < 2; column++) {
        for (size_t i = 0; i < plans->count; i++) {
            if (!is_emitted(program, plans, i)) {
                buffer_append_string(text, "0,\n");
            }
            else {
                buffer_printf(text, "(tw_pointer)%s_%zu,\n", columns[column], i);
            }
        }
    }
    for (size_t i = 0; i < plans->global_count; i++) {
        if (plans->globals[i].refusal != NULL) {
            buffer_append_string(text, "0,\n");
        }
        else {
            buffer_printf(text, "(tw_pointer)tw_global_%zu,\n", i);
        }
    }
    buffer_append_string(text, "};\n");
}

/* typedef double T; */
static void
emit_variables(const struct translation *unit, unsigned variables, const struct binding *binding,
               struct buffer *text)
{
    bool any_complex = false;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        int type = binding->types[i];
        if (variables >> i & 1) {
            buffer_printf(text, "typedef %s %c;\n", plan_c_type(type), TYPE_VARIABLE_NAMES[i]);
            any_complex |= type == NPY_CFLOAT || type == NPY_CDOUBLE;
        }
    }
    if (variables != 0 && !any_complex && !speaks_of_complex(&unit->preamble)) {
        emit_operators(&unit->preamble, text);
    }
}

/* `more`: names that are declared in any case; ends with NULL. */
static int
emit_names(const struct program *program, const struct translation *unit, const char *const *more,
           struct buffer *text)
{
    static const char *const absolute[] = {"fabs", "fabsf", NULL};
    const char *all[8];
    size_t count = 0;
    for (; *more != NULL; more++) {
        all[count++] = *more;
    }
    bool uses = program->variables != 0 && preamble_uses(&unit->preamble, "tw_abs");
    for (size_t i = 0; uses && absolute[i] != NULL; i++) {
        all[count++] = absolute[i];
    }
    all[count] = NULL;
    return preamble_declare(&unit->preamble, all, text);
}

/* The user's macros, headers and text, behind the declarations. */
static void
emit_source(const struct program *program, const struct translation *unit,
            const struct binding *binding, struct buffer *text)
{
    emit_variables(unit, program->variables, binding, text);
    if (program->headers.count == 0 || unit->sources[PREAMBLE_TEXTS].length > 0) {
        preamble_headers(&unit->preamble, text); /* what was asked for of them is declared apart */
    }
    struct source blanked = unit->sources[PREAMBLE_TEXTS];
    blanked.text = unit->text;
    preamble_append(&blanked, text);
    buffer_append_string(text, "#line 1 \"tw:generated\"\n");
}

int
program_text(const struct program *program, const struct translation *unit,
             const struct binding *binding, struct buffer *text)
{
    static const char *const none[] = {NULL};
    static const char *const variables[] = {"tw_complex", "tw_complexf", NULL};
    if (emit_names(program, unit, program->variables != 0 ? variables : none, text) < 0) {
        return -1;
    }
    emit_source(program, unit, binding, text);
    return text->failed ? -1 : 0;
}

static int
emit_unit(const struct program *program, const struct translation *unit, const struct plans *plans,
          const struct binding *binding, struct buffer *text)
{
    static const char *const more[] = {"tw_call", "tw_complex", "tw_complexf", NULL};
    if (emit_names(program, unit, more, text) < 0) {
        return -1;
    }
    emit_types(text);
    emit_source(program, unit, binding, text);
    emit_entries(program, plans, unit->first_plan, unit->plan_count, false, binding, text);
    return 0;
}

static void
emit_signature(struct buffer *signature, const struct plans *plans, const struct binding *binding)
{
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        if (binding->types[i] >= 0) {
            buffer_printf(signature, "%c = %s; ", TYPE_VARIABLE_NAMES[i],
                          plan_c_type(binding->types[i]));
        }
    }
    for (size_t i = 0; i < plans->count; i++) {
        buffer_printf(signature, "%s%s", i > 0 ? "; " : "", plans->items[i].signature);
    }
}

int
program_unit(const struct program *program, const struct plans *plans,
             const struct binding *binding, struct unit *unit, struct buffer *headers)
{
    struct buffer *text = &unit->text;
    for (size_t i = 0; i < program->count; i++) {
        const struct translation *translation = &program->units[i];
        if (i > 0) {
            buffer_append(text, "", 1);
        }
        if (preamble_unit(&translation->preamble, unit, headers) < 0 ||
            emit_unit(program, translation, plans, binding, text) < 0) {
            return -1;
        }
        if (i + 1 == program->count) {
            emit_entries(program, plans, 0, program->apart, true, binding, text);
            if (program->loops != LOOP_ELEMENTS) {
                emit_table(program, plans, text);
            }
        }
        preamble_end(&translation->preamble, text);
    }
    for (size_t i = 0; i < plans->count; i++) {
        unit->needs_gil |= plans->items[i].takes_object;
    }
    emit_signature(&unit->signature, plans, binding);
    return text->failed || headers->failed || unit->signature.failed ? -1 : 0;
}
