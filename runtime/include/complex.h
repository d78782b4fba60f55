/* complex.h: in front of libc's, for libtcc, which has no complex types.
 *
 * NumPy's headers name three: `typedef double _Complex npy_cdouble;` becomes
 * `typedef double part; typedef struct { part real, imag; } npy_cdouble;`. A struct of two members
 * passes and lies in memory as C's complex number does. Any operator on it is an error.
 */
#ifndef TINYWEAVE_SHIM_COMPLEX_H
#define TINYWEAVE_SHIM_COMPLEX_H

#define tw_join_again(name, line) name##line
#define tw_join(name, line) tw_join_again(name, line)

#define _Complex                                                                                   \
    tw_join(tw_part_, __LINE__);                                                                   \
    typedef struct {                                                                               \
        tw_join(tw_part_, __LINE__) real, imag;                                                    \
    }
#define complex _Complex

#define creal(z) ((z).real)
#define crealf(z) ((z).real)
#define creall(z) ((z).real)
#define cimag(z) ((z).imag)
#define cimagf(z) ((z).imag)
#define cimagl(z) ((z).imag)

#endif
