/* complex.c: the functions behind tw_add, tw_mul and their kin of user code. */
#include "complex.h"

#define TW_FUNCTION /* for others to link to */
#include "include/tinyweave/complex.h"

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
