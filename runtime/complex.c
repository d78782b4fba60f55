/* complex.c: the functions behind tw_add, tw_mul and their kin of user code. */
#include "complex.h"

#define COMPLEX(name) complex_##name
#define COMPLEX_F(name) complex_##name##f
#include "include/tinyweave/complex_functions.h"

void
complex_return(struct call *call, tw_complex value)
{
    call_return_complex(call, value.real, value.imag);
}

void
complex_returnf(struct call *call, tw_complexf value)
{
    call_return_complex(call, value.real, value.imag);
}
