/* Numeric/ufuncobject.h: Numeric's ufuncs are NumPy's. */
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>
