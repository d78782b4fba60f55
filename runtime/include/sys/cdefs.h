/* sys/cdefs.h: in front of libc's, which defines __attribute__ away for compilers it does not know:
 * libtcc knows `packed`, `aligned` and others.
 */
#include_next <sys/cdefs.h>
#undef __attribute__
