/* header.c: the headers that preprocessing reads: the user's, and the system's. */
#include "header.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A header larger than this is taken for a mistake. */
enum { HEADER_LIMIT = 64 << 20 };

/* ---- The user's ---- */

/* Finds out where the contents have the headers; the second time notes them. */
static size_t
split_contents(const struct buffer *contents, struct header *users)
{
    const char *end = contents->data + contents->size;
    size_t count = 0;
    for (const char *at = contents->data; at < end; count++) {
        const char *path = at;
        const char *length = path + strlen(path) + 1;
        const char *text = length + strlen(length) + 1;
        size_t size = strtoull(length, NULL, 10);
        at = text + size;
        if (users != NULL) {
            users[count].source =
                (struct source){.label = path, .argument = "", .text = text, .length = size};
        }
    }
    return count;
}

int
headers_start(struct headers *headers, const struct buffer *contents)
{
    size_t count = contents->size > 0 ? split_contents(contents, NULL) : 0;
    if (count == 0) {
        return 0;
    }
    headers->users = arena_take(headers->arena, count * sizeof(*headers->users));
    if (headers->users == NULL) {
        return -1;
    }
    headers->user_count = count;
    split_contents(contents, headers->users);
    return 0;
}

static bool
is_status_of(struct header *header, const struct stat *status)
{
    if (!header->has_status) {
        header->has_status = true;
        if (stat(header->source.label, &header->status) < 0) {
            header->status = (struct stat){0};
        }
    }
    return header->status.st_ino == status->st_ino && header->status.st_dev == status->st_dev;
}

/* The header that is searched for. */
struct found {
    struct headers *headers;
    struct header *header;
};

/* struct search's visit. A header's first path stands in the contents; others may lead to it too. */
static int
try_path(void *context, const char *path)
{
    struct found *found = context;
    struct header *users = found->headers->users;
    for (size_t i = 0; path != NULL && i < found->headers->user_count; i++) {
        if (strcmp(users[i].source.label, path) == 0) {
            found->header = &users[i];
            return 1;
        }
    }
    struct stat status;
    if (path == NULL || stat(path, &status) < 0) {
        return 0;
    }
    for (size_t i = 0; i < found->headers->user_count; i++) {
        if (is_status_of(&users[i], &status)) {
            found->header = &users[i];
            return 1;
        }
    }
    return 0;
}

static struct header *
find_users(struct headers *headers, const struct inclusion *inclusion)
{
    struct found found = {headers, NULL};
    if (headers->user_count > 0) {
        const struct header *from = inclusion->from;
        struct search search = {headers->folders, try_path, &found};
        include_search(&search, inclusion->name, inclusion->quoted,
                       from != NULL ? from->source.label : NULL);
    }
    return found.header;
}

/* ---- The system's ---- */

/* Reads the open file into the arena, with a NUL behind. Returns NULL when it cannot be read to its end. */
static const char *
read_text(struct headers *headers, int file, size_t size)
{
    char *text = arena_take(headers->arena, size + 1);
    size_t done = 0;
    headers->failed |= text == NULL;
    while (text != NULL && done < size) {
        ssize_t count = read(file, text + done, size - done);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return NULL;
        }
        done += (size_t)count;
    }
    return text;
}

static struct header *
append_system(struct headers *headers, const char *path, const char *text, size_t size)
{
    if (headers->system_count == headers->system_capacity) {
        size_t capacity = 2 * headers->system_capacity + 32;
        struct header **systems = realloc(headers->systems, capacity * sizeof(*systems));
        headers->failed |= systems == NULL;
        if (systems == NULL) {
            return NULL;
        }
        headers->systems = systems;
        headers->system_capacity = capacity;
    }
    struct header *header = arena_take(headers->arena, sizeof(*header));
    const char *label = arena_text(headers->arena, path, strlen(path));
    if (header == NULL || label == NULL) {
        headers->failed = true;
        return NULL;
    }
    header->source = (struct source){
        .label = label, .argument = "", .text = text, .length = size, .system = true};
    headers->systems[headers->system_count++] = header;
    return header;
}

static struct header *
read_system(struct headers *headers, const char *path)
{
    /* O_NONBLOCK: a FIFO of that name must not be waited for */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        return NULL;
    }
    struct stat status;
    const char *text = NULL;
    if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size <= HEADER_LIMIT) {
        text = read_text(headers, file, (size_t)status.st_size);
    }
    close(file);
    return text == NULL ? NULL : append_system(headers, path, text, (size_t)status.st_size);
}

/* The header of that path, if there is one. */
static struct header *
open_system(struct headers *headers, const char *path, size_t folder)
{
    for (size_t i = 0; i < headers->system_count; i++) {
        if (strcmp(headers->systems[i]->source.label, path) == 0) {
            return headers->systems[i];
        }
    }
    struct header *header = read_system(headers, path);
    if (header != NULL) {
        header->folder = folder;
    }
    return header;
}

static struct header *
try_folder(struct headers *headers, const char *folder, size_t length, const char *name,
           size_t index)
{
    char path[PATH_MAX];
    const char *slash = length > 0 && folder[length - 1] != '/' ? "/" : "";
    int size = snprintf(path, sizeof(path), "%.*s%s%s", (int)length, folder, slash, name);
    return size < 0 || (size_t)size >= sizeof(path) ? NULL : open_system(headers, path, index);
}

/* "x.h" beside the including header first; then the folders in order, with #include_next those behind that of the
 * including header. */
static struct header *
find_system(struct headers *headers, const struct inclusion *inclusion)
{
    const struct header *from = inclusion->from;
    bool from_system = from != NULL && from->source.system;
    if (inclusion->name[0] == '/') {
        return open_system(headers, inclusion->name, 0);
    }
    struct header *header = NULL;
    if (inclusion->quoted && from_system && !inclusion->next) {
        const char *path = from->source.label;
        const char *slash = strrchr(path, '/');
        size_t length = slash != NULL ? (size_t)(slash + 1 - path) : 0;
        header = try_folder(headers, path, length, inclusion->name, from->folder);
    }
    size_t first = inclusion->next && from_system ? from->folder + 1 : 0;
    for (size_t i = first; header == NULL && i < headers->system_folders->count; i++) {
        const char *folder = headers->system_folders->items[i];
        header = try_folder(headers, folder, strlen(folder), inclusion->name, i);
    }
    return header;
}

struct header *
headers_find(struct headers *headers, const struct inclusion *inclusion)
{
    struct header *header = inclusion->next ? NULL : find_users(headers, inclusion);
    if (header == NULL && headers->system_folders != NULL) {
        header = find_system(headers, inclusion);
    }
    return header;
}

/* ---- Both ---- */

int
header_scan(struct header *header)
{
    if (!header->scanned) {
        struct spot spot;
        if (lexer_scan(&header->source, &spot) < 0 && spot.message[0] == '\0') {
            return -1;
        }
        header->scanned = true;
    }
    return header->source.tokens.items != NULL;
}

void
headers_free(struct headers *headers)
{
    for (size_t i = 0; i < headers->user_count; i++) {
        lexer_free(&headers->users[i].source);
    }
    for (size_t i = 0; i < headers->system_count; i++) {
        lexer_free(&headers->systems[i]->source);
    }
    free(headers->systems);
}
