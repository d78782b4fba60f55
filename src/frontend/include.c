/* include.c: what a unit's #include lines reach: the user's headers by their contents, the system's by
 * being named.
 */
#include "include.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A header larger than this is taken for a mistake: it is not read, and the unit not cached. */
enum { HEADER_LIMIT = 64 << 20 };

/* A header of the user's that was reached. */
struct header {
    dev_t device;
    ino_t inode;
    char *path;
    size_t offset; /* of its text in includes->contents */
    size_t length;
};

/* The headers reached so far, also the queue of those still to be looked through. */
struct follow {
    const struct strings *folders;
    struct includes *includes;
    struct header *headers;
    size_t count;
    size_t capacity;
};

static int
add_header(struct follow *follow, const struct header *header)
{
    if (follow->count == follow->capacity) {
        size_t capacity = follow->capacity ? 2 * follow->capacity : 16;
        struct header *headers = realloc(follow->headers, capacity * sizeof(*headers));
        if (headers == NULL) {
            return -1;
        }
        follow->headers = headers;
        follow->capacity = capacity;
    }
    follow->headers[follow->count++] = *header;
    return 0;
}

static bool
is_known(const struct follow *follow, const struct stat *status)
{
    for (size_t i = 0; i < follow->count; i++) {
        if (follow->headers[i].device == status->st_dev &&
            follow->headers[i].inode == status->st_ino) {
            return true;
        }
    }
    return false;
}

/* Appends what the open file holds. Returns 0, or -1 when it cannot be read to its end. */
static int
append_file(struct buffer *contents, int file, size_t size)
{
    char *at = buffer_reserve(contents, size);
    size_t done = 0;
    while (at != NULL && done < size) {
        ssize_t count = read(file, at + done, size - done);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return -1;
        }
        done += (size_t)count;
    }
    contents->size += at != NULL ? size : 0;
    return 0;
}

/* Notes the header: "path NUL length NUL contents". Returns 0, or -1 when memory is out. */
static int
note_header(struct follow *follow, int file, const char *path, const struct stat *status)
{
    struct includes *includes = follow->includes;
    if (!S_ISREG(status->st_mode) || status->st_size > HEADER_LIMIT) {
        includes->computed = true;
        return 0;
    }
    size_t before = includes->contents.size;
    size_t size = (size_t)status->st_size;
    buffer_append(&includes->contents, path, strlen(path) + 1);
    buffer_printf(&includes->contents, "%zu", size);
    buffer_append(&includes->contents, "", 1);
    struct header header = {status->st_dev, status->st_ino, NULL, includes->contents.size, size};
    if (append_file(&includes->contents, file, size) < 0) {
        includes->contents.size = before;
        includes->computed = true;
        return 0;
    }
    header.path = strdup(path);
    if (header.path == NULL || includes->contents.failed || add_header(follow, &header) < 0) {
        free(header.path);
        return -1;
    }
    return 0;
}

/* Notes the header `path` if it is there. Returns 1 if so, 0 if not, -1 when memory is out. */
static int
try_path(void *context, const char *path)
{
    struct follow *follow = context;
    if (path == NULL) {
        follow->includes->computed = true;
        return 0;
    }
    /* O_NONBLOCK: a FIFO of that name must not be waited for */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        follow->includes->computed |= errno != ENOENT && errno != ENOTDIR;
        return 0;
    }
    struct stat status;
    int result = 1;
    if (fstat(file, &status) < 0) {
        follow->includes->computed = true;
    }
    else if (!is_known(follow, &status) && note_header(follow, file, path, &status) < 0) {
        result = -1;
    }
    close(file);
    return result;
}

/* Tries `folder`/`name`; a folder of length 0 is the current one, as libtcc has it. */
static int
try_folder(const struct search *search, const char *folder, size_t folder_length, const char *name)
{
    char path[PATH_MAX];
    size_t slash = folder_length > 0 && folder[folder_length - 1] != '/' ? 1 : 0;
    if (folder_length + slash + strlen(name) >= sizeof(path)) {
        return search->visit(search->context, NULL);
    }
    memcpy(path, folder, folder_length);
    memcpy(path + folder_length, "/", slash);
    strcpy(path + folder_length + slash, name);
    return search->visit(search->context, path);
}

int
include_search(const struct search *search, const char *name, bool quoted, const char *from)
{
    if (name[0] == '/') {
        return search->visit(search->context, name);
    }
    int found = 0;
    if (quoted) {
        const char *slash = from != NULL ? strrchr(from, '/') : NULL;
        found = try_folder(search, slash != NULL ? from : "",
                           slash != NULL ? (size_t)(slash + 1 - from) : 0, name);
    }
    for (size_t i = 0; i < search->folders->count && found == 0; i++) {
        const char *folder = search->folders->items[i];
        found = try_folder(search, folder, strlen(folder), name);
    }
    return found;
}

static void
note_system(struct includes *includes, const char *name)
{
    if (strncmp(name, "numpy/", 6) == 0) {
        includes->numpy = includes->python = true;
    }
    if (strcmp(name, "Python.h") == 0) {
        includes->python = true;
    }
}

/* <x.h> or "x.h" in full: no prefix, and no end of line in place of the last quote. */
static bool
is_closed(const struct token *token)
{
    char last = token->start[token->length - 1];
    return (token->start[0] == '<' && last == '>') || (token->start[0] == '"' && last == '"');
}

bool
include_name(const struct token *token, char name[PATH_MAX])
{
    bool named = token->directive && !token->first &&
                 (token->kind == TOKEN_HEADER || token->kind == TOKEN_STRING) &&
                 token->length >= 2 && token->length - 2 < PATH_MAX && is_closed(token) &&
                 memchr(token->start, '\n', token->length) == NULL;
    if (named) {
        memcpy(name, token->start + 1, token->length - 2);
        name[token->length - 2] = '\0';
    }
    return named;
}

/* One #include; `token` names the file. */
static int
follow_include(struct follow *follow, const struct token *token, const char *from)
{
    follow->includes->any = true;
    char name[PATH_MAX];
    if (!include_name(token, name)) {
        follow->includes->computed = true;
        return 0;
    }
    struct search search = {follow->folders, try_path, follow};
    int found = include_search(&search, name, token->kind == TOKEN_STRING, from);
    if (found == 0) {
        note_system(follow->includes, name);
    }
    return found < 0 ? -1 : 0;
}

static int
follow_tokens(struct follow *follow, const struct tokens *tokens, const char *from)
{
    for (size_t i = 0; i + 1 < tokens->count; i++) {
        const struct token *token = &tokens->items[i];
        if (!token->directive || !token->first || token[1].first) {
            continue;
        }
        bool next = token_is(token + 1, "include_next");
        if (!next && !token_is(token + 1, "include") && !token_is(token + 1, "import")) {
            continue;
        }
        /* include_next depends on which folder `from` was found in: not followed */
        follow->includes->computed = follow->includes->computed || next;
        if (follow_include(follow, token + 2, from) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Looks through a header for its own #include lines. */
static int
follow_header(struct follow *follow, const struct header *header)
{
    /* a copy: the contents grow, and move, on the way */
    char *text = malloc(header->length + 1);
    if (text == NULL) {
        return -1;
    }
    memcpy(text, follow->includes->contents.data + header->offset, header->length);
    struct source source = {
        .label = header->path, .argument = "", .text = text, .length = header->length};
    struct spot spot;
    int result = 0;
    if (lexer_scan(&source, &spot) == 0) {
        result = follow_tokens(follow, &source.tokens, header->path);
    }
    else if (spot.message[0] == '\0') {
        result = -1;
    }
    else {
        follow->includes->computed = true;
    }
    lexer_free(&source);
    free(text);
    return result;
}

int
include_follow(const struct source *sources, size_t count, const struct strings *folders,
               struct includes *includes)
{
    *includes = (struct includes){.contents = BUFFER_INIT};
    struct follow follow = {.folders = folders, .includes = includes};
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        result = follow_tokens(&follow, &sources[i].tokens, NULL);
    }
    for (size_t i = 0; i < follow.count && result == 0; i++) {
        struct header header = follow.headers[i]; /* the array may move */
        result = follow_header(&follow, &header);
    }
    for (size_t i = 0; i < follow.count; i++) {
        free(follow.headers[i].path);
    }
    free(follow.headers);
    if (result < 0 || includes->contents.failed) {
        includes_free(includes);
        return -1;
    }
    return 0;
}

void
includes_free(struct includes *includes)
{
    buffer_free(&includes->contents);
}
