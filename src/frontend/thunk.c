/* thunk.c: a callback's plan -> a unit: the function that C calls. */
#include "thunk.h"

#include "../../cache/kernel.h"

static const char *
passed_type(enum role role, int type, const struct binding *binding)
{
    bool number = role == ROLE_NUMBER || role == ROLE_HIDDEN;
    return role == ROLE_NOTHING ? "void"
           : number             ? plan_c_type(plan_bound(type, binding))
                                : "void *";
}

static const char *
passed(const struct plan *plan, int index, const struct binding *binding)
{
    return passed_type(plan->parameters[index].role, plan->parameters[index].type, binding);
}

static const char *
result_type(const struct plan *plan, const struct binding *binding)
{
    return passed_type(plan->result, plan->returned.type, binding);
}

void
thunk_signature(const struct plan *plan, const struct binding *binding, struct buffer *text)
{
    buffer_printf(text, "%s (", result_type(plan, binding));
    for (int i = 0; i < plan->c_count; i++) {
        buffer_printf(text, "%s%s", i > 0 ? ", " : "", passed(plan, i, binding));
    }
    buffer_append_string(text, plan->c_count == 0 ? "void)" : ")");
}

static void
emit_head(struct buffer *text, const struct plan *plan, const struct binding *binding)
{
    buffer_printf(text, "%s " KERNEL_ENTRY "(", result_type(plan, binding));
    for (int i = 0; i < plan->c_count; i++) {
        buffer_printf(text, "%s%s tw_%d", i > 0 ? ", " : "", passed(plan, i, binding), i);
    }
    buffer_append_string(text, plan->c_count == 0 ? "void)\n" : ")\n");
}

int
thunk_unit(const struct plan *plan, const struct binding *binding, struct unit *unit)
{
    struct buffer *text = &unit->text;
    buffer_append_string(text, "typedef struct { double real, imag; } tw_complex;\n"
                               "typedef struct { float real, imag; } tw_complexf;\n"
                               "extern char " THUNK_CONTEXT "[];\n"
                               "void " THUNK_ENTER "(void *, double (*)[2]);\n");
    emit_head(text, plan, binding);
    buffer_printf(text, "{\n    double tw_v[%d][2];\n", plan->c_count + 1);
    for (int i = 0; i < plan->c_count; i++) {
        buffer_printf(text, "    *(%s *)tw_v[%d] = tw_%d;\n", passed(plan, i, binding), i, i);
    }
    buffer_append_string(text, "    " THUNK_ENTER "(" THUNK_CONTEXT ", tw_v);\n");
    if (plan->result != ROLE_NOTHING) {
        buffer_printf(text, "    return *(%s *)tw_v[%d];\n", result_type(plan, binding),
                      plan->c_count);
    }
    buffer_append_string(text, "}\n");
    buffer_append_string(&unit->signature, "callback ");
    thunk_signature(plan, binding, &unit->signature);
    return text->failed || unit->signature.failed ? -1 : 0;
}
