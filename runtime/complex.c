/* complex.c: the functions behind tw_add, tw_mul and their kin of user code. */
#include "complex.h"

#include <math.h>

/* `type` has parts of type `real`; `f` ends the names. Division is Smith's, with the scaling NumPy
 * uses (numpy/_core/src/umath/loops.c.src), so that the results are the same bits. */
#define ARITHMETIC(type, part, f)                                                                  \
    type complex_add##f(type x, type y)                                                            \
    {                                                                                              \
        return (type){x.real + y.real, x.imag + y.imag};                                           \
    }                                                                                              \
                                                                                                   \
    type complex_sub##f(type x, type y)                                                            \
    {                                                                                              \
        return (type){x.real - y.real, x.imag - y.imag};                                           \
    }                                                                                              \
                                                                                                   \
    type complex_mul##f(type x, type y)                                                            \
    {                                                                                              \
        return (type){x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real};       \
    }                                                                                              \
                                                                                                   \
    type complex_div##f(type x, type y)                                                            \
    {                                                                                              \
        part real = fabs##f(y.real);                                                               \
        part imag = fabs##f(y.imag);                                                               \
        if (real == 0 && imag == 0) {                                                              \
            return (type){x.real / real, x.imag / real};                                           \
        }                                                                                          \
        if (real >= imag) {                                                                        \
            part ratio = y.imag / y.real;                                                          \
            part scale = 1 / (y.real + y.imag * ratio);                                            \
            return (type){(x.real + x.imag * ratio) * scale, (x.imag - x.real * ratio) * scale};   \
        }                                                                                          \
        part ratio = y.real / y.imag;                                                              \
        part scale = 1 / (y.imag + y.real * ratio);                                                \
        return (type){(x.real * ratio + x.imag) * scale, (x.imag * ratio - x.real) * scale};       \
    }                                                                                              \
                                                                                                   \
    type complex_neg##f(type x)                                                                    \
    {                                                                                              \
        return (type){-x.real, -x.imag};                                                           \
    }                                                                                              \
                                                                                                   \
    type complex_conj##f(type x)                                                                   \
    {                                                                                              \
        return (type){x.real, -x.imag};                                                            \
    }                                                                                              \
                                                                                                   \
    part complex_abs##f(type x)                                                                    \
    {                                                                                              \
        return hypot##f(x.real, x.imag);                                                           \
    }

ARITHMETIC(tw_complex, double, )
ARITHMETIC(tw_complexf, float, f)

tw_complex
complex_widenf(tw_complexf x)
{
    return (tw_complex){x.real, x.imag};
}

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
