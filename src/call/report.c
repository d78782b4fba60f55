/* report.c: what went wrong with the user's texts -> an exception. */
#include "report.h"

void
report_spot(const struct state *state, const char *function, const struct spot *spot,
            const char *file)
{
    if (spot->message[0] != '\0') {
        diagnostic_raise(state->compile_error, function, spot, file);
    }
    else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
}

bool
report_locate(const struct problem *problem, const struct source *sources, size_t count,
              struct spot *spot, char file[256])
{
    if (problem->kind == PROBLEM_COMPILE || problem->kind == PROBLEM_SYMBOL) {
        diagnostic_locate(problem, sources, count, spot, file);
        return true;
    }
    if (problem->kind != PROBLEM_NONE) {
        state_raise(problem, PyExc_OSError);
    }
    return false;
}
