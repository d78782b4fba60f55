/* core.c: the core dimensions of a gufunc.
 *
 *   void matvec(int m, int n, const T a[m][n], const T x[n], out T y[m])      (m,n),(n)->(m)
 *   double norm(const double a[3])                                            (3)->()
 *   void convolve(int n, int m, const T a[n], const T b[m], out T c[n+m-1])   (n),(m)->(d0)
 */
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    const struct plan *plan;
    const struct loop_operands *operands;
    struct core *core;
    struct buffer *reason;
};

/* ---- Expressions ---- */

/* A parameter that an expression names and no input tells; -1: none. `any`: whether it names one at all. */
static int
find_untold(const struct plan *plan, const struct expression *expression, bool *any)
{
    if (expression->kind == EXPRESSION_NAME) {
        *any = true;
        return plan->parameters[expression->value].role == ROLE_HIDDEN ? -1
                                                                       : (int)expression->value;
    }
    for (int i = 0; i < 3 && expression->operands[i] != NULL; i++) {
        int untold = find_untold(plan, expression->operands[i], any);
        if (untold >= 0) {
            return untold;
        }
    }
    return -1;
}

/* ---- Dimensions ---- */

/* Makes a dimension. Returns its index, or -1 when memory is out. */
static int
add_dimension(struct core *core, const char *name, int parameter, const struct extent *extent)
{
    char *copy = strdup(name);
    if (copy == NULL) {
        return -1;
    }
    core->dimensions[core->count] = (struct core_dimension){copy, parameter, extent};
    return core->count++;
}

static int
find_name(const struct core *core, const char *name)
{
    for (int i = 0; i < core->count; i++) {
        if (strcmp(core->dimensions[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* The dimension whose size a parameter gets; -1: none. */
static int
find_parameter(const struct core *core, int parameter)
{
    for (int i = 0; i < core->count; i++) {
        if (core->dimensions[i].parameter == parameter) {
            return i;
        }
    }
    return -1;
}

/* The dimension of an out that the same expression told before; -1: none. */
static int
find_computed(const struct core *core, const struct extent *extent)
{
    for (int i = 0; i < core->count; i++) {
        const struct extent *other = core->dimensions[i].extent;
        if (other != NULL && strcmp(other->text, extent->text) == 0) {
            return i;
        }
    }
    return -1;
}

/* Whether NumPy reads the name of a dimension so: C's identifiers may have other letters, and $. */
static bool
is_plain(const char *name)
{
    for (; *name != '\0'; name++) {
        bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z');
        if (!letter && *name != '_' && !(*name >= '0' && *name <= '9')) {
            return false;
        }
    }
    return true;
}

/* Makes a dimension under a name that no parameter has. */
static int
add_nameless(struct reader *reader, int parameter, const struct extent *extent)
{
    char name[32];
    bool taken = true;
    for (int number = 0; taken; number++) {
        snprintf(name, sizeof(name), "d%d", number);
        taken = find_name(reader->core, name) >= 0;
        for (int i = 0; i < reader->plan->count; i++) {
            taken |= strcmp(reader->plan->parameters[i].name, name) == 0;
        }
    }
    return add_dimension(reader->core, name, parameter, extent);
}

static int
add_parameter(struct reader *reader, int parameter)
{
    const char *name = reader->plan->parameters[parameter].name;
    int found = find_parameter(reader->core, parameter);
    return found >= 0       ? found
           : is_plain(name) ? add_dimension(reader->core, name, parameter, NULL)
                            : add_nameless(reader, parameter, NULL);
}

static int
add_computed(struct reader *reader, const struct extent *extent)
{
    int found = find_computed(reader->core, extent);
    reader->core->computed = true;
    return found >= 0 ? found : add_nameless(reader, -1, extent);
}

static int
refuse(const struct reader *reader, const struct plan_parameter *array, const struct extent *extent,
       const char *reason)
{
    buffer_printf(reader->reason, "'%s' in '%s': %s", extent->text, array->declaration, reason);
    return -1;
}

static int
add_constant(struct reader *reader, const struct plan_parameter *array, const struct extent *extent)
{
    char name[32];
    long long value = 0;
    if (extent_value(extent, NULL, &value) < 0 || value <= 0) {
        return refuse(reader, array, extent, "an extent must be positive");
    }
    snprintf(name, sizeof(name), "%lld", value);
    int found = find_name(reader->core, name);
    return found >= 0 ? found : add_dimension(reader->core, name, -1, NULL);
}

/* Returns the index of the dimension that an extent means, or -1 (without a reason: no memory). */
static int
read_extent(struct reader *reader, const struct plan_parameter *array, const struct extent *extent)
{
    if (extent->any) {
        buffer_printf(reader->reason,
                      "'%s' (%s): nothing tells its first extent: write a parameter there",
                      array->name, array->declaration);
        return -1;
    }
    bool any = false;
    int untold = find_untold(reader->plan, extent->expression, &any);
    if (untold >= 0) {
        buffer_printf(reader->reason,
                      "'%s' (%s): nothing tells the size '%s': no array that is read has it as an "
                      "extent",
                      array->name, array->declaration, reader->plan->parameters[untold].name);
        return -1;
    }
    if (!any) {
        return add_constant(reader, array, extent);
    }
    if (extent->parameter >= 0) {
        return add_parameter(reader, extent->parameter);
    }
    if (array->role == ROLE_IN) {
        return refuse(reader, array, extent,
                      "NumPy knows no such dimension of an input: it must be a parameter or a "
                      "constant");
    }
    return add_computed(reader, extent);
}

/* ---- Operands ---- */

static int
read_operand(struct reader *reader, int operand)
{
    struct core *core = reader->core;
    int index = reader->operands->items[operand].parameter;
    const struct plan_parameter *array = index < 0 ? NULL : &reader->plan->parameters[index];
    bool is_array = array != NULL && (array->role == ROLE_IN || array->role == ROLE_OUT);
    int axis = core->first[operand];
    buffer_append_string(&core->signature, "(");
    for (int i = 0; is_array && i < array->dimensions; i++) {
        int dimension = read_extent(reader, array, &array->extents[i]);
        if (dimension < 0) {
            return -1;
        }
        buffer_printf(&core->signature, "%s%s", i > 0 ? "," : "", core->dimensions[dimension].name);
        core->axes[axis++] = dimension;
    }
    buffer_append_string(&core->signature, ")");
    core->first[operand + 1] = axis;
    return 0;
}

/* Room for as many dimensions as there are axes. */
static int
make_room(struct reader *reader)
{
    size_t axes = 1;
    for (int i = 0; i < reader->plan->c_count; i++) {
        const struct plan_parameter *parameter = &reader->plan->parameters[i];
        axes += parameter->dimensions > 0 ? (size_t)parameter->dimensions : 0;
    }
    reader->core->axes = calloc(axes, sizeof(*reader->core->axes));
    reader->core->dimensions = calloc(axes, sizeof(*reader->core->dimensions));
    return reader->core->axes == NULL || reader->core->dimensions == NULL ? -1 : 0;
}

/* A size that only expressions speak of has no dimension that would tell it. */
static int
check_sizes(const struct reader *reader)
{
    for (int i = 0; i < reader->plan->hidden_count; i++) {
        int hidden = reader->plan->hidden[i];
        bool found = false;
        for (int k = 0; k < reader->core->count; k++) {
            found |= reader->core->dimensions[k].parameter == hidden;
        }
        if (!found) {
            buffer_printf(reader->reason, "nothing tells the size '%s'",
                          reader->plan->parameters[hidden].name);
            return -1;
        }
    }
    return 0;
}

int
core_read(const struct plan *plan, const struct loop_operands *operands, struct core *core,
          struct buffer *reason)
{
    *core = (struct core){.count = 0};
    struct reader reader = {plan, operands, core, reason};
    if (make_room(&reader) < 0) {
        return -1;
    }
    for (int i = 0; i < operands->count; i++) {
        const char *mark = i == 0 ? "" : i == operands->in_count ? "->" : ",";
        buffer_append_string(&core->signature, mark);
        if (read_operand(&reader, i) < 0) {
            return -1;
        }
    }
    return core->signature.failed ? -1 : check_sizes(&reader);
}

void
core_free(struct core *core)
{
    for (int i = 0; i < core->count; i++) {
        free(core->dimensions[i].name);
    }
    free(core->dimensions);
    free(core->axes);
    buffer_free(&core->signature);
    *core = (struct core){.count = 0};
}
