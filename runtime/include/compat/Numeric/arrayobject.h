/* Numeric/arrayobject.h: Numeric's arrays are NumPy's. */
#include <numpy/arrayobject.h>
