/* atomic.h: gcc's built-in atomics by value, and its older ones, out of those by address that libtcc has. */
#ifndef TINYWEAVE_ATOMIC_H
#define TINYWEAVE_ATOMIC_H

/* The same numbers as in libtcc's <stdatomic.h>. */
#define __ATOMIC_RELAXED 0
#define __ATOMIC_CONSUME 1
#define __ATOMIC_ACQUIRE 2
#define __ATOMIC_RELEASE 3
#define __ATOMIC_ACQ_REL 4
#define __ATOMIC_SEQ_CST 5

/* ---- by value ---- */

/* <stdatomic.h> may come in front, or behind: then this is read once more. */
#undef __atomic_load_n
#undef __atomic_store_n
#undef __atomic_exchange_n
#undef __atomic_compare_exchange_n
#define __atomic_load_n(place, order)                                                              \
    ({                                                                                             \
        __typeof__(*(place)) tw_value;                                                             \
        __atomic_load((place), &tw_value, (order));                                                \
        tw_value;                                                                                  \
    })
#define __atomic_store_n(place, value, order)                                                      \
    ({                                                                                             \
        __typeof__(*(place)) tw_value = (value);                                                   \
        __atomic_store((place), &tw_value, (order));                                               \
    })
#define __atomic_exchange_n(place, value, order)                                                   \
    ({                                                                                             \
        __typeof__(*(place)) tw_value = (value), tw_before;                                        \
        __atomic_exchange((place), &tw_value, &tw_before, (order));                                \
        tw_before;                                                                                 \
    })
#define __atomic_compare_exchange_n(place, before, after, weak, success, failure)                  \
    ({                                                                                             \
        __typeof__(*(place)) tw_after = (after);                                                   \
        __atomic_compare_exchange((place), (before), &tw_after, (weak), (success), (failure));     \
    })

/* ---- of old: 5 is sequential consistency ---- */

/* An exchange is a full barrier. */
#define __sync_synchronize()                                                                       \
    ({                                                                                             \
        int tw_place = 0, tw_value = 0, tw_before;                                                 \
        __atomic_exchange(&tw_place, &tw_value, &tw_before, 5);                                    \
    })
#ifndef __atomic_thread_fence
#define __atomic_thread_fence(order) __sync_synchronize()
#endif
#define __sync_fetch_and_add(place, value) __atomic_fetch_add((place), (value), 5)
#define __sync_fetch_and_sub(place, value) __atomic_fetch_sub((place), (value), 5)
#define __sync_fetch_and_or(place, value) __atomic_fetch_or((place), (value), 5)
#define __sync_fetch_and_and(place, value) __atomic_fetch_and((place), (value), 5)
#define __sync_fetch_and_xor(place, value) __atomic_fetch_xor((place), (value), 5)
#define __sync_add_and_fetch(place, value) __atomic_add_fetch((place), (value), 5)
#define __sync_sub_and_fetch(place, value) __atomic_sub_fetch((place), (value), 5)
#define __sync_lock_test_and_set(place, value) __atomic_exchange_n((place), (value), 5)
#define __sync_lock_release(place) __atomic_store_n((place), 0, 5)
#define __sync_val_compare_and_swap(place, before, after)                                          \
    ({                                                                                             \
        __typeof__(*(place)) tw_before = (before);                                             \
        __typeof__(*(place)) tw_after = (after);                                               \
        __atomic_compare_exchange((place), &tw_before, &tw_after, 0, 5, 5);                        \
        tw_before;                                                                                 \
    })
#define __sync_bool_compare_and_swap(place, before, after)                                         \
    ({                                                                                             \
        __typeof__(*(place)) tw_before = (before);                                             \
        __typeof__(*(place)) tw_after = (after);                                               \
        __atomic_compare_exchange((place), &tw_before, &tw_after, 0, 5, 5);                        \
    })

#endif
