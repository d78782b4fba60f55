/* iso646.h: C leaves it to the compiler, and libtcc ships none. */
#ifndef TINYWEAVE_SHIM_ISO646_H
#define TINYWEAVE_SHIM_ISO646_H

#define and &&
#define and_eq &=
#define bitand &
#define bitor |
#define compl ~
#define not !
#define not_eq !=
#define or ||
#define or_eq |=
#define xor ^
#define xor_eq ^=

#endif
