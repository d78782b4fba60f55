/* extension.h: in front of every text of tw.extension: what libtcc lacks and real modules count on. */
#ifndef TINYWEAVE_EXTENSION_H
#define TINYWEAVE_EXTENSION_H

#include <patchlevel.h>

/* Python 3.13's own atomics know gcc, clang and MSVC only. */
#if PY_VERSION_HEX >= 0x030D0000
#define Py_ATOMIC_H
#endif

#endif
