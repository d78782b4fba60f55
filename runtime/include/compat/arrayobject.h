/* arrayobject.h: Numeric's arrays, by their header's name alone, are NumPy's. */
#include <numpy/arrayobject.h>
