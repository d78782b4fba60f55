/* problem.c: what went wrong, told by code that holds no GIL. */
#include "problem.h"

#include <stdarg.h>
#include <stdio.h>

int
problem_set(struct problem *problem, enum problem_kind kind, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->text, sizeof(problem->text), format, arguments);
    va_end(arguments);
    problem->kind = kind;
    return -1;
}
