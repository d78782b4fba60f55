/* header.h: the headers that preprocessing reads: the user's, whose contents include.h has; the system's, which are
 * looked for in folders when they are wanted. For preprocess.c.
 */
#ifndef TINYWEAVE_HEADER_H
#define TINYWEAVE_HEADER_H

#include <sys/stat.h>

#include "../arena.h"
#include "include.h"
#include "lexer.h"

struct header {
    struct source source; /* its label is its path; its tokens once header_scan was called */
    struct stat status;
    bool has_status;
    bool scanned;
    bool once;     /* #pragma once */
    bool again;    /* read before */
    size_t folder; /* of a system's header: which of the folders it was found in */
};

struct headers {
    const struct strings *folders;        /* the user's */
    const struct strings *system_folders; /* NULL: the system's headers are not looked for */
    struct arena *arena;                  /* keeps all of it */
    struct header *users;
    size_t user_count;
    struct header **systems; /* in order of first mention */
    size_t system_count, system_capacity;
    bool failed; /* memory was out */
};

/* What an #include asks for. */
struct inclusion {
    const char *name;
    bool quoted;
    bool next;                 /* #include_next */
    const struct header *from; /* where it stands; NULL: in a source given */
};

/* Notes the user's headers, from includes->contents. folders, system_folders and arena are the caller's to set.
 * Returns 0, or -1: no memory. */
int headers_start(struct headers *headers, const struct buffer *contents);
void headers_free(struct headers *headers);

/* The header, or NULL: it is not there, or the system's and these are not looked for; or `failed`. */
struct header *headers_find(struct headers *headers, const struct inclusion *inclusion);

/* Scans a header's text the first time. Returns 1; 0 when it cannot be: libtcc tells; -1: no memory. */
int header_scan(struct header *header);

#endif
