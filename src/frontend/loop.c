/* loop.c: C functions as NumPy's inner loops.
 *
 *   double sum(double a, double b) { ... }            becomes
 *
 *   tw_type_5 tw_loop(tw_pointer tw_context, tw_bytes const *tw_data, const tw_type_7 *tw_count,
 *                     const tw_type_7 *tw_strides, tw_pointer tw_auxdata)
 *   {
 *       tw_type_7 tw_left = *tw_count, tw_s0 = tw_strides[0], tw_s1 = ..., tw_s2 = ...;
 *       if (tw_s0 == sizeof(tw_type_12) && ...) {
 *           <the same for contiguous operands, with four elements a turn>
 *       }
 *       tw_bytes tw_p0 = tw_data[0], tw_p1 = ..., tw_p2 = ...;
 *       for (; tw_left >= 1; tw_left -= 1) {
 *           *(tw_type_12 *)tw_p2 = (sum)(*(tw_type_12 *)tw_p0, *(tw_type_12 *)tw_p1);
 *           tw_p0 += tw_s0; ...
 *       }
 *       return 0;
 *   }
 *
 * NumPy would choose between two loops, but its accumulate goes by the wrong strides there.
 */
#include "loop.h"

#include <numpy/ndarraytypes.h>

#include "../../cache/kernel.h"

/* ---- Operands ---- */

/* Why a parameter cannot be an operand; NULL: it can, or is a size. */
static const char *
refusal_of(const struct plan_parameter *parameter, enum loop_kind kind)
{
    bool core = kind == LOOP_CORE;
    bool sized = parameter->dimensions > 0;
    switch (parameter->role) {
    case ROLE_IN:
        return core && sized ? NULL
               : core ? "nothing tells its extent: write the dimensions, as in const double a[n]"
                      : "a ufunc's function takes numbers; tw.gufunc takes arrays";
    case ROLE_INOUT:
        return sized || core
                   ? "C may change it in place: write const for an array that is read, out for one "
                     "that is returned"
                   : "a ufunc's function takes numbers: write out for a number that is returned";
    case ROLE_OUT:
        return core ? NULL : "a ufunc's function gives numbers; tw.gufunc returns arrays";
    case ROLE_STRING:
        return "a string is no operand of a ufunc";
    case ROLE_POINTER:
        return "a pointer is no operand of a ufunc";
    case ROLE_OBJECT:
        return "a Python object is no operand of a ufunc";
    case ROLE_CALLBACK:
        return "a function is no operand of a ufunc";
    case ROLE_NUMBER:
    case ROLE_NUMBER_OUT:
    case ROLE_HIDDEN:
        return NULL;
    default:
        return "this is no operand of a ufunc";
    }
}

/* Structs, and whatever else has no dtype of its own. */
static bool
is_number(int type)
{
    return plan_variable(type) >= 0 || plan_c_type(type) != NULL;
}

static int
add_operand(struct loop_operands *operands, int parameter, int type, struct buffer *reason)
{
    if (operands->count == LOOP_OPERANDS) {
        buffer_printf(reason, "a ufunc has at most %d operands", LOOP_OPERANDS);
        return -1;
    }
    operands->items[operands->count++] = (struct loop_operand){parameter, type};
    return 0;
}

static int
add_parameters(const struct plan *plan, bool outs, struct loop_operands *operands,
               struct buffer *reason)
{
    for (int i = 0; i < plan->c_count; i++) {
        const struct plan_parameter *parameter = &plan->parameters[i];
        bool out = parameter->role == ROLE_OUT || parameter->role == ROLE_NUMBER_OUT;
        if (parameter->role != ROLE_HIDDEN && out == outs &&
            add_operand(operands, i, parameter->type, reason) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
check_result(const struct plan *plan, struct buffer *reason)
{
    if (plan->result == ROLE_NOTHING ||
        (plan->result == ROLE_NUMBER && is_number(plan->returned.type))) {
        return 0;
    }
    buffer_printf(reason, "its result (%s) is no number", plan->result_passed);
    return -1;
}

int
loop_read(const struct plan *plan, enum loop_kind kind, struct loop_operands *operands,
          struct buffer *reason)
{
    *operands = (struct loop_operands){.count = 0};
    for (int i = 0; i < plan->c_count; i++) {
        const struct plan_parameter *parameter = &plan->parameters[i];
        const char *refusal = refusal_of(parameter, kind);
        if (refusal == NULL && !is_number(parameter->type)) {
            refusal = "a ufunc knows numbers only";
        }
        if (refusal != NULL) {
            buffer_printf(reason, "'%s' (%s): %s", parameter->name, parameter->declaration,
                          refusal);
            return -1;
        }
    }
    if (check_result(plan, reason) < 0 || add_parameters(plan, false, operands, reason) < 0) {
        return -1;
    }
    operands->in_count = operands->count;
    if ((plan->result == ROLE_NUMBER &&
         add_operand(operands, -1, plan->returned.type, reason) < 0) ||
        add_parameters(plan, true, operands, reason) < 0) {
        return -1;
    }
    if (operands->in_count == 0 || operands->in_count == operands->count) {
        buffer_printf(reason, operands->in_count == 0
                                  ? "it takes nothing: a ufunc has an input"
                                  : "it gives nothing: a ufunc has a result or an out");
        return -1;
    }
    return 0;
}

/* ---- The text ---- */

/* Elements a turn of a contiguous loop: libtcc's constant offsets cost less than pointers that advance. */
enum { UNROLLED = 4 };

/* A loop being written. */
struct writer {
    struct buffer *text;
    const struct plan *plan;
    const struct binding *binding;
    const char *callee;
    struct loop_operands operands;
    bool contiguous;
};

static int
type_at(const struct writer *writer, int operand)
{
    return plan_bound(writer->operands.items[operand].type, writer->binding);
}

/* An operand's element, in a contiguous loop the one so many on. */
static void
write_element(const struct writer *writer, int operand, int offset)
{
    if (writer->contiguous) {
        buffer_printf(writer->text, "tw_p%d[%d]", operand, offset);
    }
    else {
        buffer_printf(writer->text, "*(tw_type_%d *)tw_p%d", type_at(writer, operand), operand);
    }
}

void
loop_types(struct buffer *text)
{
    buffer_append_string(text, "typedef char *tw_bytes;\n");
}

static void
write_head(const struct writer *writer)
{
    buffer_printf(writer->text,
                  "tw_type_%d tw_loop(tw_pointer tw_context, tw_bytes const *tw_data, const "
                  "tw_type_%d *tw_count, const tw_type_%d *tw_strides, tw_pointer tw_auxdata)\n{\n"
                  "tw_type_%d tw_left = *tw_count",
                  NPY_INT, NPY_LONG, NPY_LONG, NPY_LONG);
    for (int i = 0; i < writer->operands.count; i++) {
        buffer_printf(writer->text, ", tw_s%d = tw_strides[%d]", i, i);
    }
    buffer_append_string(writer->text, ";\n");
}

static void
write_condition(const struct writer *writer)
{
    for (int i = 0; i < writer->operands.count; i++) {
        buffer_printf(writer->text, "%s tw_s%d == sizeof(tw_type_%d)", i == 0 ? "if (" : " &&", i,
                      type_at(writer, i));
    }
    buffer_append_string(writer->text, ") {\n");
}

static void
write_pointers(const struct writer *writer)
{
    for (int i = 0; i < writer->operands.count; i++) {
        if (writer->contiguous) {
            buffer_printf(writer->text, "tw_type_%d *tw_p%d = (tw_pointer)tw_data[%d];\n",
                          type_at(writer, i), i, i);
        }
        else {
            buffer_printf(writer->text, "tw_bytes tw_p%d = tw_data[%d];\n", i, i);
        }
    }
}

/* A bool's byte may be any in memory. */
static void
write_argument(const struct writer *writer, int operand, int offset)
{
    bool is_bool = type_at(writer, operand) == NPY_BOOL;
    buffer_append_string(writer->text, is_bool ? "*(tw_bytes)&" : "");
    write_element(writer, operand, offset);
    buffer_append_string(writer->text, is_bool ? " != 0" : "");
}

/* Outs are variables, zero at the start: C may leave one alone, and an out may be the very memory of an input.
 * Returns whether there are any. */
static bool
write_outs(const struct writer *writer)
{
    bool any = false;
    for (int i = writer->operands.in_count; i < writer->operands.count; i++) {
        if (writer->operands.items[i].parameter >= 0) {
            buffer_printf(writer->text, "%stw_type_%d tw_q%d = {0};\n", any ? "" : "{\n",
                          type_at(writer, i), writer->operands.items[i].parameter);
            any = true;
        }
    }
    return any;
}

static void
write_results(const struct writer *writer, int offset)
{
    for (int i = writer->operands.in_count; i < writer->operands.count; i++) {
        if (writer->operands.items[i].parameter >= 0) {
            write_element(writer, i, offset);
            buffer_printf(writer->text, " = tw_q%d;\n", writer->operands.items[i].parameter);
        }
    }
    buffer_append_string(writer->text, "}\n");
}

static void
write_call(const struct writer *writer, int offset)
{
    int result = writer->operands.in_count;
    int next = 0;
    bool outs = write_outs(writer);
    if (writer->operands.items[result].parameter < 0) {
        write_element(writer, result, offset);
        buffer_append_string(writer->text, " = ");
    }
    buffer_printf(writer->text, "%s(", writer->callee);
    for (int i = 0; i < writer->plan->c_count; i++) {
        buffer_append_string(writer->text, i > 0 ? ", " : "");
        if (writer->plan->parameters[i].role == ROLE_NUMBER) {
            write_argument(writer, next++, offset);
        }
        else {
            buffer_printf(writer->text, "(tw_pointer)&tw_q%d", i);
        }
    }
    buffer_append_string(writer->text, ");\n");
    if (outs) {
        write_results(writer, offset);
    }
}

/* A loop over as many elements a turn. */
static void
write_turns(const struct writer *writer, int elements)
{
    buffer_printf(writer->text, "for (; tw_left >= %d; tw_left -= %d) {\n", elements, elements);
    for (int offset = 0; offset < elements; offset++) {
        write_call(writer, offset);
    }
    for (int i = 0; i < writer->operands.count; i++) {
        if (writer->contiguous) {
            buffer_printf(writer->text, "tw_p%d += %d;\n", i, elements);
        }
        else {
            buffer_printf(writer->text, "tw_p%d += tw_s%d;\n", i, i);
        }
    }
    buffer_append_string(writer->text, "}\n");
}

static void
write_loop(struct writer *writer)
{
    write_head(writer);
    write_condition(writer);
    writer->contiguous = true;
    write_pointers(writer);
    write_turns(writer, UNROLLED);
    write_turns(writer, 1);
    buffer_append_string(writer->text, "return 0;\n}\n");
    writer->contiguous = false;
    write_pointers(writer);
    write_turns(writer, 1);
    buffer_append_string(writer->text, "return 0;\n}\n");
}

void
loop_text(const struct plan *plan, const struct binding *binding, const char *callee,
          struct buffer *text)
{
    struct writer writer = {.text = text, .plan = plan, .binding = binding, .callee = callee};
    struct buffer reason = BUFFER_INIT;
    if (loop_read(plan, LOOP_ELEMENTS, &writer.operands, &reason) == 0) {
        write_loop(&writer);
        buffer_append_string(text, "tw_pointer " KERNEL_ENTRY "[] = {(tw_pointer)tw_loop};\n");
    }
    buffer_free(&reason);
}
