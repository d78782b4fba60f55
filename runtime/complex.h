/* complex.h: the functions behind tw_add, tw_mul and their kin of user code. */
#ifndef TINYWEAVE_COMPLEX_H
#define TINYWEAVE_COMPLEX_H

#include "../src/call/call.h"
#include "include/tinyweave/complex_functions.h"

/* As in user code. Structs of two members pass as C's complex numbers do, in libtcc as in gcc. */
typedef struct {
    double real, imag;
} tw_complex;

typedef struct {
    float real, imag;
} tw_complexf;

/* NumPy's complex arithmetic, operation by operation. */
tw_complex complex_add(tw_complex x, tw_complex y);
tw_complex complex_sub(tw_complex x, tw_complex y);
tw_complex complex_mul(tw_complex x, tw_complex y);
tw_complex complex_div(tw_complex x, tw_complex y);
tw_complex complex_neg(tw_complex x);
tw_complex complex_conj(tw_complex x);
double complex_abs(tw_complex x);
tw_complex complex_pow(tw_complex x, tw_complex y);

/* Those of C's <complex.h>. */
#define COMPLEX_FUNCTION(name)                                                                     \
    tw_complex complex_##name(tw_complex x);                                                       \
    tw_complexf complex_##name##f(tw_complexf x);
COMPLEX_FUNCTIONS(COMPLEX_FUNCTION)
#undef COMPLEX_FUNCTION

/* The same in single precision. */
tw_complexf complex_addf(tw_complexf x, tw_complexf y);
tw_complexf complex_subf(tw_complexf x, tw_complexf y);
tw_complexf complex_mulf(tw_complexf x, tw_complexf y);
tw_complexf complex_divf(tw_complexf x, tw_complexf y);
tw_complexf complex_negf(tw_complexf x);
tw_complexf complex_conjf(tw_complexf x);
float complex_absf(tw_complexf x);
float complex_abs2f(tw_complexf x);
tw_complexf complex_powf(tw_complexf x, tw_complexf y);

/* From one type to the other, and from real numbers. */
tw_complex complex_widenf(tw_complexf x);
tw_complexf complex_narrow(tw_complex x);
tw_complex complex_from(double x);
tw_complexf complex_fromf(float x);

/* call_return_complex for a struct. */
void complex_return(struct call *call, tw_complex value);
void complex_returnf(struct call *call, tw_complexf value);

#endif
