/* stdatomic.h: in front of libtcc's, whose __atomic_store_n evaluates its value twice. */
#undef __atomic_thread_fence
#include_next <stdatomic.h>

#ifdef TINYWEAVE_ATOMIC_H
#undef TINYWEAVE_ATOMIC_H
#endif
#include <tinyweave/atomic.h>
