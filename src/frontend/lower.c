/* lower.c: typed steps -> C text. */
#include "lower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/blocks.h"
#include "../call/numpy.h"

/* Blocks of as many elements: with some four of them alive, 8 bytes each, they stay in an L1 cache of 32 KiB. */
#define BLOCK 256
#define BLOCK_WIDE 128 /* of elements of 16 bytes and more */

/* Behind each scratch block, so that blocks do not start at the same place of a page. */
#define SCRATCH_GAP 64

/* How a step becomes text. */
struct line {
    char primitive[PRIMITIVE_NAME_SIZE]; /* "": a loop of NumPy's */
    bool deferred;                       /* a product that its only reader computes along */
    int product;                         /* the deferred step it computes along, or -1 */
    int scale;                           /* the deferred step that one computes along, or -1 */
    char fused[PRIMITIVE_NAME_SIZE];
    int place;     /* where in scratch the step's output stands; -1: it is the result */
    int spares[2]; /* where product and scale go when computed on their own */
};

struct lowering {
    struct graph *graph;
    struct line *lines;
    int *producers;  /* of each value the step, or -1 */
    int *left;       /* how many reads of each value are to come */
    bool *taken;     /* the places of scratch in use */
    int place_count; /* how many were ever used */
    size_t pitch;
    struct buffer *text;
};

int
lower_block(const struct graph *graph)
{
    for (int i = 0; i < graph->value_count; i++) {
        if (graph_type_size(graph->values[i].type) > 8) {
            return BLOCK_WIDE;
        }
    }
    return BLOCK;
}

/* ---- Pairs: x*y + z, x*y - z, z - x*y, both roundings kept ---- */

static char
form(const struct graph *graph, int value)
{
    return graph->values[value].kind == VALUE_SCALAR ? 's' : 'v';
}

static bool
is_primitive(const struct lowering *lowering, int step, const char *ufunc)
{
    const struct step *found = &lowering->graph->steps[step];
    return found->kind == STEP_UFUNC && strcmp(found->name, ufunc) == 0 &&
           lowering->lines[step].primitive[0] != '\0';
}

/* The step of a product that nobody else reads; -1: the value is none. */
static int
lone_product(const struct lowering *lowering, int value)
{
    int step = lowering->producers[value];
    return step >= 0 && lowering->graph->values[value].uses == 1 &&
                   is_primitive(lowering, step, "multiply") && lowering->lines[step].product < 0
               ? step
               : -1;
}

/* (x*s)*y + z: a pair whose product has a scaled factor is one call, too. */
static void
try_scale(struct lowering *lowering, int step, const char *operation)
{
    const struct graph *graph = lowering->graph;
    struct line *line = &lowering->lines[step];
    const int *factors = graph->steps[line->product].inputs;
    for (int side = 0; side < 2; side++) {
        int scale = lone_product(lowering, factors[side]);
        if (scale < 0) {
            continue;
        }
        char name[PRIMITIVE_NAME_SIZE];
        const int *inner = graph->steps[scale].inputs;
        snprintf(name, sizeof(name), "tw_scale_%s_%s_%c%c%c%c", operation,
                 graph_type_name(graph->steps[step].type), form(graph, inner[0]),
                 form(graph, inner[1]), form(graph, factors[1 - side]),
                 line->fused[strlen(line->fused) - 1]);
        if (blocks_find(name) != NULL) {
            memcpy(line->fused, name, sizeof(name));
            line->scale = scale;
            lowering->lines[scale].deferred = true;
            return;
        }
    }
}

static bool
try_pair(struct lowering *lowering, int step, int side, const char *operation)
{
    const struct graph *graph = lowering->graph;
    struct line *line = &lowering->lines[step];
    const int *inputs = graph->steps[step].inputs;
    int product = lone_product(lowering, inputs[side]);
    if (product < 0) {
        return false;
    }
    const int *factors = graph->steps[product].inputs;
    snprintf(line->fused, sizeof(line->fused), "tw_%s_%s_%c%c%c", operation,
             graph_type_name(graph->steps[step].type), form(graph, factors[0]),
             form(graph, factors[1]), form(graph, inputs[1 - side]));
    if (blocks_find(line->fused) == NULL) {
        return false;
    }
    line->product = product;
    lowering->lines[product].deferred = true;
    try_scale(lowering, step, operation);
    return true;
}

/* The later of two products is computed along: the earlier one is needed before it anyway. */
static void
find_pair(struct lowering *lowering, int step)
{
    const int *inputs = lowering->graph->steps[step].inputs;
    if (is_primitive(lowering, step, "add")) {
        int last = lowering->producers[inputs[1]] > lowering->producers[inputs[0]];
        if (!try_pair(lowering, step, last, "multiply_add")) {
            try_pair(lowering, step, !last, "multiply_add");
        }
    }
    else if (is_primitive(lowering, step, "subtract") &&
             !try_pair(lowering, step, 1, "subtract_multiply")) {
        try_pair(lowering, step, 0, "multiply_subtract");
    }
}

/* ---- Places in scratch ---- */

static int
take_place(struct lowering *lowering)
{
    int place = 0;
    while (lowering->taken[place]) {
        place++;
    }
    lowering->taken[place] = true;
    lowering->place_count = place >= lowering->place_count ? place + 1 : lowering->place_count;
    return place;
}

/* Notes that the inputs were read; a place nobody reads any more is free. */
static void
finish_reading(struct lowering *lowering, const struct step *step)
{
    for (int i = 0; i < step->input_count; i++) {
        int value = step->inputs[i], producer = lowering->producers[value];
        if (--lowering->left[value] == 0 && producer >= 0 && !lowering->lines[producer].deferred) {
            lowering->taken[lowering->lines[producer].place] = false;
        }
    }
}

/* A primitive may write over an operand it reads for the last time, where elements have one size. */
static bool
may_write_over(const struct lowering *lowering, const struct step *step)
{
    const struct graph *graph = lowering->graph;
    int size = graph_type_size(graph->values[step->output].type);
    for (int i = 0; i < step->input_count; i++) {
        if (graph_type_size(graph->values[step->inputs[i]].type) != size) {
            return false;
        }
    }
    return lowering->lines[step - graph->steps].primitive[0] != '\0';
}

static void
place_step(struct lowering *lowering, int index)
{
    struct graph *graph = lowering->graph;
    struct line *line = &lowering->lines[index];
    const struct step *step = &graph->steps[index];
    if (line->deferred) {
        return;
    }
    if (line->product >= 0) {
        line->spares[0] = take_place(lowering);
        line->spares[1] = take_place(lowering);
        lowering->taken[line->spares[0]] = lowering->taken[line->spares[1]] = false;
    }
    bool over = may_write_over(lowering, step);
    line->place = -1;
    if (step->output != graph->result && !over) {
        line->place = take_place(lowering);
    }
    if (line->product >= 0) {
        finish_reading(lowering, &graph->steps[line->product]);
    }
    if (line->scale >= 0) {
        finish_reading(lowering, &graph->steps[line->scale]);
    }
    finish_reading(lowering, step);
    if (step->output != graph->result && over) {
        line->place = take_place(lowering);
    }
}

/* ---- Text ---- */

static void
append_value(struct lowering *lowering, int value)
{
    const struct graph *graph = lowering->graph;
    const struct line *line =
        lowering->producers[value] >= 0 ? &lowering->lines[lowering->producers[value]] : NULL;
    if (line == NULL) {
        buffer_printf(lowering->text, "%c%d", graph->values[value].kind == VALUE_SCALAR ? 's' : 'a',
                      graph->values[value].slot);
    }
    else if (line->place < 0) {
        buffer_append_string(lowering->text, "to");
    }
    else {
        buffer_printf(lowering->text, "t%d", line->place);
    }
}

/* Comparisons, choices and what works on integers raise nothing. */
static bool
raises(const struct graph *graph, const struct step *step, const char *primitive)
{
    int type = graph->values[step->inputs[0]].type;
    bool inexact = PyTypeNum_ISFLOAT(type) || PyTypeNum_ISCOMPLEX(type);
    int result = graph->values[step->output].type;
    return primitive[0] == '\0' || (inexact && step->kind != STEP_SELECT && result != NPY_BOOL);
}

static void
append_inputs(struct lowering *lowering, const struct step *step)
{
    for (int i = 0; i < step->input_count; i++) {
        buffer_append_string(lowering->text, ", ");
        append_value(lowering, step->inputs[i]);
    }
}

static void
append_loop(struct lowering *lowering, const struct step *step)
{
    buffer_printf(lowering->text, "            tw_span_loop(s, %d, n, ", step->loop);
    append_value(lowering, step->output);
    append_inputs(lowering, step);
    for (int i = step->input_count; i < SPAN_OPERANDS; i++) {
        buffer_append_string(lowering->text, ", 0");
    }
    buffer_append_string(lowering->text, ");\n");
}

/* A step by its own function. */
static void
append_step(struct lowering *lowering, int index)
{
    const struct step *step = &lowering->graph->steps[index];
    const struct line *line = &lowering->lines[index];
    if (line->primitive[0] == '\0') {
        append_loop(lowering, step);
        return;
    }
    buffer_printf(lowering->text, "            %s(n, ", line->primitive);
    append_value(lowering, step->output);
    append_inputs(lowering, step);
    buffer_append_string(lowering->text, ");\n");
}

/* The same, and a look at the flags behind it. */
static void
append_careful(struct lowering *lowering, int index)
{
    const struct step *step = &lowering->graph->steps[index];
    append_step(lowering, index);
    if (raises(lowering->graph, step, lowering->lines[index].primitive)) {
        buffer_printf(lowering->text, "            tw_span_check(s, %d);\n", step->report);
    }
}

/* The input of a pair of inputs that is not `value`. */
static int
other_input(const struct step *step, int value)
{
    return step->inputs[0] == value ? step->inputs[1] : step->inputs[0];
}

/* The steps of a pair as one call. */
static void
append_fused(struct lowering *lowering, int index)
{
    struct graph *graph = lowering->graph;
    const struct line *line = &lowering->lines[index];
    const struct step *step = &graph->steps[index], *product = &graph->steps[line->product];
    buffer_printf(lowering->text, "            %s(n, ", line->fused);
    append_value(lowering, step->output);
    if (line->scale >= 0) {
        const struct step *scale = &graph->steps[line->scale];
        append_inputs(lowering, scale);
        buffer_append_string(lowering->text, ", ");
        append_value(lowering, other_input(product, scale->output));
    }
    else {
        append_inputs(lowering, product);
    }
    buffer_append_string(lowering->text, ", ");
    append_value(lowering, other_input(step, product->output));
    buffer_append_string(lowering->text, ");\n");
}

/* Every step, those of a pair as one. */
static void
append_fast_steps(struct lowering *lowering)
{
    for (int i = 0; i < lowering->graph->step_count; i++) {
        if (lowering->lines[i].product >= 0) {
            append_fused(lowering, i);
        }
        else if (!lowering->lines[i].deferred) {
            append_step(lowering, i);
        }
    }
}

/* Every step on its own; those of a pair right before its last. */
static void
append_careful_steps(struct lowering *lowering)
{
    for (int i = 0; i < lowering->graph->step_count; i++) {
        struct line *line = &lowering->lines[i];
        if (line->deferred) {
            continue;
        }
        if (line->scale >= 0) {
            lowering->lines[line->scale].place = line->spares[1];
            append_careful(lowering, line->scale);
        }
        if (line->product >= 0) {
            lowering->lines[line->product].place = line->spares[0];
            append_careful(lowering, line->product);
        }
        append_careful(lowering, i);
    }
}

static bool
any_raises(const struct lowering *lowering)
{
    for (int i = 0; i < lowering->graph->step_count; i++) {
        if (raises(lowering->graph, &lowering->graph->steps[i], lowering->lines[i].primitive)) {
            return true;
        }
    }
    return false;
}

/* Declares a function with so many operands behind count and out, each once. */
static void
declare(struct lowering *lowering, const char *name, int operands)
{
    char start[PRIMITIVE_NAME_SIZE + 8];
    int length = snprintf(start, sizeof(start), "void %s(", name);
    struct buffer *text = lowering->text;
    if (text->data != NULL && memmem(text->data, text->size, start, (size_t)length) != NULL) {
        return;
    }
    buffer_printf(text, "%slong, void *", start);
    for (int i = 0; i < operands; i++) {
        buffer_append_string(text, ", const void *");
    }
    buffer_append_string(text, ");\n");
}

static void
append_declarations(struct lowering *lowering)
{
    buffer_append_string(
        lowering->text,
        "struct span {\n"
        "    char **data, *scratch;\n"
        "    long count, careful, stream;\n"
        "};\n"
        "void tw_span_loop(struct span *, long, long, void *, const void *, const void *, "
        "const void *, const void *);\n"
        "void tw_span_check(struct span *, long);\n"
        "void tw_span_stream(long, void *, const void *);\n");
    for (int i = 0; i < lowering->graph->step_count; i++) {
        const struct line *line = &lowering->lines[i];
        if (line->primitive[0] != '\0') {
            declare(lowering, line->primitive, lowering->graph->steps[i].input_count);
        }
        if (line->product >= 0) {
            declare(lowering, line->fused, line->scale >= 0 ? 4 : 3);
        }
    }
}

static void
append_pointers(struct lowering *lowering)
{
    const struct graph *graph = lowering->graph;
    buffer_append_string(lowering->text, "void tw_kernel(void *call, struct span *s)\n"
                                         "{\n"
                                         "    char **d = s->data, *t = s->scratch;\n"
                                         "    long careful = s->careful, count = s->count;\n");
    for (int place = 0; place < lowering->place_count; place++) {
        buffer_printf(lowering->text, "    char *t%d = t + %zu;\n", place,
                      (size_t)place * lowering->pitch);
    }
    for (int slot = 0; slot < graph->slot_count; slot++) {
        buffer_printf(lowering->text, "    char *%c%d = d[%d];\n",
                      slot < graph->array_count ? 'a' : 's', slot, slot);
    }
    buffer_printf(lowering->text,
                  "    char *out = d[%d], *last = t + %zu;\n"
                  "    long stream = s->stream;\n",
                  graph->slot_count, (size_t)lowering->place_count * lowering->pitch);
}

static void
append_loop_over_blocks(struct lowering *lowering)
{
    const struct graph *graph = lowering->graph;
    int block = lower_block(graph);
    struct buffer *text = lowering->text;
    buffer_printf(text,
                  "    for (long i = 0; i < count; i += %d) {\n"
                  "        long n = count - i;\n"
                  "        if (n > %d) n = %d;\n"
                  "        char *to = stream ? last : out;\n",
                  block, block, block);
    bool careful = any_raises(lowering);
    buffer_append_string(text, careful ? "        if (!careful) {\n" : "        {\n");
    append_fast_steps(lowering);
    if (careful) {
        buffer_append_string(text, "        }\n        else {\n");
        append_careful_steps(lowering);
    }
    buffer_append_string(text, "        }\n");
    buffer_printf(text, "        if (stream) tw_span_stream(n * %d, out, last);\n",
                  graph_type_size(graph->values[graph->result].type));
    for (int slot = 0; slot < graph->array_count; slot++) {
        buffer_printf(text, "        a%d += %d;\n", slot,
                      block * graph_type_size(graph->values[graph->slots[slot]].type));
    }
    buffer_printf(text, "        out += %d;\n    }\n}\n",
                  block * graph_type_size(graph->values[graph->result].type));
}

/* ---- The whole ---- */

static void
find_lines(struct lowering *lowering)
{
    struct graph *graph = lowering->graph;
    for (int i = 0; i < graph->value_count; i++) {
        lowering->producers[i] = -1;
        lowering->left[i] = graph->values[i].uses;
    }
    for (int i = 0; i < graph->step_count; i++) {
        struct line *line = &lowering->lines[i];
        line->product = line->scale = line->place = -1;
        lowering->producers[graph->steps[i].output] = i;
        if (!graph_primitive(graph, &graph->steps[i], line->primitive)) {
            line->primitive[0] = '\0';
        }
        find_pair(lowering, i);
    }
}

static void
find_pitch(struct lowering *lowering)
{
    size_t widest = 1;
    for (int i = 0; i < lowering->graph->value_count; i++) {
        size_t size = (size_t)graph_type_size(lowering->graph->values[i].type);
        widest = size > widest ? size : widest;
    }
    lowering->pitch = (size_t)lower_block(lowering->graph) * widest + SCRATCH_GAP;
}

/* The types of the operands and the result, for people. */
static void
append_signature(const struct graph *graph, struct buffer *signature)
{
    for (int slot = 0; slot < graph->slot_count; slot++) {
        buffer_printf(signature, "%s%s", graph_type_name(graph->values[graph->slots[slot]].type),
                      slot < graph->array_count ? "[] " : " ");
    }
    buffer_printf(signature, "-> %s[]", graph_type_name(graph->values[graph->result].type));
}

int
lower_unit(struct graph *graph, struct unit *unit, size_t *scratch)
{
    struct arena arena = {NULL};
    size_t steps = (size_t)graph->step_count, values = (size_t)graph->value_count;
    struct lowering lowering = {.graph = graph,
                                .lines = arena_take(&arena, steps * sizeof(struct line)),
                                .producers = arena_take(&arena, values * sizeof(int)),
                                .left = arena_take(&arena, values * sizeof(int)),
                                .taken = arena_take(&arena, values + 1),
                                .text = &unit->text};
    bool ready = lowering.lines != NULL && lowering.producers != NULL && lowering.left != NULL &&
                 lowering.taken != NULL;
    if (ready) {
        find_lines(&lowering);
        find_pitch(&lowering);
        for (int i = 0; i < graph->step_count; i++) {
            place_step(&lowering, i);
        }
        append_declarations(&lowering);
        append_pointers(&lowering);
        append_loop_over_blocks(&lowering);
        append_signature(graph, &unit->signature);
        *scratch = (size_t)(lowering.place_count + 1) * lowering.pitch;
        unit->strict = true;
    }
    arena_free(&arena);
    return ready && !unit->text.failed && !unit->signature.failed ? 0 : -1;
}
