/* complex.h: the functions behind tw_add, tw_mul and their kin of user code. */
#ifndef TINYWEAVE_COMPLEX_H
#define TINYWEAVE_COMPLEX_H

#include "../src/call/call.h"
#include "include/tinyweave/complex.h" /* the types, as in user code */

/* NumPy's complex arithmetic, operation by operation. */
tw_complex tw_complex_div(tw_complex x, tw_complex y);
double tw_complex_abs(tw_complex x);
tw_complex tw_complex_pow(tw_complex x, tw_complex y);

/* The same in single precision, with what macros write out in double. */
tw_complexf tw_complexf_add(tw_complexf x, tw_complexf y);
tw_complexf tw_complexf_sub(tw_complexf x, tw_complexf y);
tw_complexf tw_complexf_mul(tw_complexf x, tw_complexf y);
tw_complexf tw_complexf_div(tw_complexf x, tw_complexf y);
tw_complexf tw_complexf_neg(tw_complexf x);
tw_complexf tw_complexf_conj(tw_complexf x);
float tw_complexf_abs(tw_complexf x);
float tw_complexf_abs2(tw_complexf x);
tw_complexf tw_complexf_pow(tw_complexf x, tw_complexf y);

#define COMPLEX_FUNCTION(name)                                                                     \
    tw_complex tw_complex_##name(tw_complex x);                                                    \
    tw_complexf tw_complexf_##name(tw_complexf x);
TW_COMPLEX_FUNCTIONS(COMPLEX_FUNCTION)
#undef COMPLEX_FUNCTION

/* From one type to the other, and from real numbers. */
tw_complex tw_complexf_widen(tw_complexf x);
tw_complexf tw_complex_narrow(tw_complex x);
tw_complex tw_complex_from(double x);
tw_complexf tw_complexf_from(float x);

/* call_return_complex for a struct. */
void complex_return(struct call *call, tw_complex value);
void complex_returnf(struct call *call, tw_complexf value);

#endif
