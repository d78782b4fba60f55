/* complex.c: the functions behind tw_add, tw_mul and their kin of user code. */
#include "complex.h"

#include <math.h>

/* `type` has parts of type `part`; `f` ends the names of libm's functions for it. Division is Smith's, with the
 * scaling NumPy uses (numpy/_core/src/umath/loops.c.src), so that the results are the same bits. */
#define ARITHMETIC(NAME, type, part, f)                                                            \
    type NAME(add)(type x, type y)                                                                 \
    {                                                                                              \
        return (type){x.real + y.real, x.imag + y.imag};                                           \
    }                                                                                              \
                                                                                                   \
    type NAME(sub)(type x, type y)                                                                 \
    {                                                                                              \
        return (type){x.real - y.real, x.imag - y.imag};                                           \
    }                                                                                              \
                                                                                                   \
    type NAME(mul)(type x, type y)                                                                 \
    {                                                                                              \
        return (type){x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real};       \
    }                                                                                              \
                                                                                                   \
    type NAME(div)(type x, type y)                                                                 \
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
    type NAME(neg)(type x)                                                                         \
    {                                                                                              \
        return (type){-x.real, -x.imag};                                                           \
    }                                                                                              \
                                                                                                   \
    type NAME(conj)(type x)                                                                        \
    {                                                                                              \
        return (type){x.real, -x.imag};                                                            \
    }                                                                                              \
                                                                                                   \
    part NAME(abs)(type x)                                                                         \
    {                                                                                              \
        return hypot##f(x.real, x.imag);                                                           \
    }

#define OURS(operation) complex_##operation
#define OURS_F(operation) complex_##operation##f
ARITHMETIC(OURS, tw_complex, double, )
ARITHMETIC(OURS_F, tw_complexf, float, f)

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

/* ---- The same as text, by the names that user code links to ---- */

#define LINKED(operation) tw_complex_##operation
#define LINKED_F(operation) tw_complexf_##operation
#define TEXT(...) #__VA_ARGS__
#define EXPANDED_TEXT(...) TEXT(__VA_ARGS__)

/* clang-format off */
const char complex_source[] =
    "#include <math.h>\n"
    "typedef struct { double real, imag; } tw_complex;\n"
    "typedef struct { float real, imag; } tw_complexf;\n"
    EXPANDED_TEXT(ARITHMETIC(LINKED, tw_complex, double, )) "\n"
    EXPANDED_TEXT(ARITHMETIC(LINKED_F, tw_complexf, float, f)) "\n"
    "tw_complex tw_complexf_widen(tw_complexf x) { return (tw_complex){x.real, x.imag}; }\n";
