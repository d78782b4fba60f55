/* partition.c: cutting a formula into regions. */
#include <stdlib.h>
#include <string.h>

#include "region.h"

static void
count_readers(const struct partition *partition)
{
    const struct formula *formula = partition->formula;
    for (int node = 0; node < formula->node_count; node++) {
        for (int i = 0; i < formula->nodes[node].child_count; i++) {
            int child = formula->nodes[node].children[i];
            partition->readers[child < 0 ? node : child] += child >= 0;
        }
    }
    for (int i = 0; i < formula->statement_count; i++) {
        partition->readers[formula->statements[i].value]++;
    }
}

static bool
is_elementwise(const struct partition *partition, int node)
{
    const struct formula_node *found = &partition->formula->nodes[node];
    bool named =
        found->kind == FORMULA_CALL && found->operation == FORMULA_NAMED && found->keywords == NULL;
    return (found->elementwise || named) && !partition->cut[node];
}

/* The root of the region each elementwise node belongs to: its reader's, if all its readers are of one. */
static void
find_roots(const struct partition *partition, int *roots)
{
    const struct formula *formula = partition->formula;
    for (int node = 0; node < formula->node_count; node++) {
        roots[node] = -1;
    }
    for (int node = formula->node_count - 1; node >= 0; node--) {
        if (is_elementwise(partition, node) && roots[node] == -1) {
            roots[node] = node;
        }
        for (int i = 0; i < formula->nodes[node].child_count; i++) {
            int child = formula->nodes[node].children[i];
            if (child < 0 || !is_elementwise(partition, child)) {
                continue;
            }
            int root = is_elementwise(partition, node) ? roots[node] : child;
            roots[child] = roots[child] == -1 || roots[child] == root ? root : child;
        }
    }
    for (int i = 0; i < formula->statement_count; i++) {
        int value = formula->statements[i].value;
        roots[value] = is_elementwise(partition, value) ? value : roots[value];
    }
}

/* Marks what the region reads; `marks` has the root it was last marked for. */
static void
add_leaves(const struct formula *formula, struct region *region, const int *roots, int root,
           int *marks)
{
    for (int i = 0; i < region->node_count; i++) {
        const struct formula_node *node = &formula->nodes[region->nodes[i]];
        for (int j = 0; j < node->child_count; j++) {
            int child = node->children[j];
            if (marks[child] != root && (roots[child] != root)) {
                marks[child] = root;
                region->leaves[region->leaf_count++] = child;
            }
        }
    }
}

static void
find_exponents(const struct formula *formula, struct region *region)
{
    for (int i = 0; i < region->node_count; i++) {
        const struct formula_node *node = &formula->nodes[region->nodes[i]];
        if (node->kind != FORMULA_OPERATOR || node->operation != FORMULA_POWER) {
            continue;
        }
        for (int j = 0; j < region->leaf_count + region->node_count; j++) {
            int place =
                j < region->leaf_count ? region->leaves[j] : region->nodes[j - region->leaf_count];
            region->exponents[j] |= place == node->children[1];
        }
    }
}

static struct region *
new_region(struct partition *partition, const int *roots, const int *members, int count, int root,
           int *marks)
{
    const struct formula *formula = partition->formula;
    struct arena *arena = &partition->arena;
    size_t children = 0;
    for (int i = 0; i < count; i++) {
        children += (size_t)formula->nodes[members[i]].child_count;
    }
    struct region *region = arena_take(arena, sizeof(*region));
    if (region == NULL) {
        return NULL;
    }
    region->nodes = arena_take(arena, (size_t)count * sizeof(int));
    region->leaves = arena_take(arena, children * sizeof(int) + 1);
    region->exponents = arena_take(arena, children + (size_t)count);
    if (region->nodes == NULL || region->leaves == NULL || region->exponents == NULL) {
        return NULL;
    }
    memcpy(region->nodes, members, (size_t)count * sizeof(int));
    region->node_count = count;
    add_leaves(formula, region, roots, root, marks);
    find_exponents(formula, region);
    return region;
}

/* Sorts the nodes by root (stably, by counting) and makes the regions. */
static int
make_regions(struct partition *partition, const int *roots, int *starts, int *members, int *marks)
{
    int count = partition->formula->node_count;
    for (int node = 0; node < count; node++) {
        starts[roots[node] + 1] += roots[node] >= 0;
        marks[node] = -1;
    }
    for (int node = 0; node < count; node++) {
        starts[node + 1] += starts[node];
    }
    for (int node = 0; node < count; node++) {
        if (roots[node] >= 0) {
            members[starts[roots[node]]++] = node;
        }
    }
    for (int root = 0, first = 0; root < count;
         root++) { /* starts[root] is now the end of the root's */
        if (starts[root] > first) {
            partition->regions[root] =
                new_region(partition, roots, members + first, starts[root] - first, root, marks);
            if (partition->regions[root] == NULL) {
                return -1;
            }
        }
        first = starts[root];
    }
    return 0;
}

struct partition *
partition_new(struct state *state, const struct formula *formula, const bool *cut)
{
    size_t count = (size_t)formula->node_count;
    struct partition *partition = calloc(1, sizeof(*partition));
    int *work = calloc(4 * count + 2, sizeof(int));
    int result = partition == NULL || work == NULL ? -1 : 0;
    if (result == 0) {
        *partition = (struct partition){.references = 1, .state = state, .formula = formula};
        partition->cut = arena_take(&partition->arena, count);
        partition->regions = arena_take(&partition->arena, count * sizeof(*partition->regions));
        partition->readers = arena_take(&partition->arena, count * sizeof(int));
        result = partition->cut == NULL || partition->regions == NULL || partition->readers == NULL
                     ? -1
                     : 0;
    }
    if (result == 0) {
        if (cut != NULL) {
            memcpy(partition->cut, cut, count);
        }
        count_readers(partition);
        find_roots(partition, work);
        result =
            make_regions(partition, work, work + count, work + 2 * count + 1, work + 3 * count + 1);
    }
    free(work);
    if (result < 0) {
        if (partition != NULL) {
            partition_release(partition);
        }
        PyErr_NoMemory();
        return NULL;
    }
    return partition;
}

struct partition *
partition_hold(struct partition *partition)
{
    partition->references++;
    return partition;
}

void
partition_release(struct partition *partition)
{
    if (--partition->references > 0) {
        return;
    }
    for (int node = 0; partition->regions != NULL && node < partition->formula->node_count;
         node++) {
        struct variant *variant =
            partition->regions[node] == NULL ? NULL : partition->regions[node]->variants;
        while (variant != NULL) {
            struct variant *next = variant->next;
            variant_free(variant);
            variant = next;
        }
    }
    arena_free(&partition->arena);
    free(partition);
}
