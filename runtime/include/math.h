/* math.h: in front of libc's, whose NAN is -nan under libtcc, and raises FE_INVALID when it is used. */
#undef NAN
#include_next <math.h>
#undef NAN
#define NAN (-(0.0f * 1e10000f))
