/* numarray/arrayobject.h: numarray's arrays, by its Numeric-like interface, are NumPy's. */
#include <numpy/arrayobject.h>
