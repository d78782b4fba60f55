/* archive.c: the members of a System V `ar` archive, e.g. libtcc1.a.
 *
 *   archive = "!<arch>\n" { header data [ "\n" ] }      headers stand at even offsets
 *   header  = name[16] date[12] owner[6] group[6] mode[8] size[10] "`\n"      padded with spaces
 *   name    = "text/" | "/" (symbol table) | "//" (long names) | "/123" (offset into the long names)
 */
#include "loader.h"

#include <string.h>

#define MAGIC "!<arch>\n"

enum {
    MAGIC_SIZE = 8,
    HEADER_SIZE = 60,
    NAME_SIZE = 16,
    SIZE_AT = 48,
    SIZE_DIGITS = 10,
    END_AT = 58
};

/* Longer than any file name. */
enum { LONGEST_NAME = 256 };

struct archive {
    const unsigned char *bytes;
    size_t size;
    const unsigned char *names; /* the "//" member, or NULL */
    size_t names_size;
};

struct member {
    const unsigned char *header;
    const unsigned char *data;
    size_t size;
    size_t next; /* offset of the header behind it */
};

/* Reads a decimal field that ends with spaces. Returns false if it holds anything else. */
static bool
read_decimal(const unsigned char *field, size_t width, size_t *value)
{
    size_t i = 0;
    *value = 0;
    for (; i < width && field[i] >= '0' && field[i] <= '9'; i++) {
        *value = *value * 10 + (size_t)(field[i] - '0');
    }
    bool any = i > 0;
    while (i < width && field[i] == ' ') {
        i++;
    }
    return any && i == width;
}

static int
read_member(const struct archive *archive, size_t offset, struct member *member,
            struct problem *problem)
{
    if (archive->size - offset < HEADER_SIZE) {
        problem_set(problem, PROBLEM_OBJECT, "archive: a header is cut off at byte %zu", offset);
        return -1;
    }
    member->header = archive->bytes + offset;
    member->data = member->header + HEADER_SIZE;
    if (memcmp(member->header + END_AT, "`\n", 2) != 0 ||
        !read_decimal(member->header + SIZE_AT, SIZE_DIGITS, &member->size)) {
        problem_set(problem, PROBLEM_OBJECT, "archive: no header of a member at byte %zu", offset);
        return -1;
    }
    size_t rest = archive->size - offset - HEADER_SIZE;
    if (member->size > rest) {
        problem_set(problem, PROBLEM_OBJECT,
                    "archive: the member at byte %zu is cut off: %zu bytes of %zu", offset, rest,
                    member->size);
        return -1;
    }
    size_t end = offset + HEADER_SIZE + member->size;
    member->next = end + end % 2;
    return 0;
}

static bool
is_named(const struct member *member, const char *name)
{
    size_t length = strlen(name);
    return memcmp(member->header, name, length) == 0 && member->header[length] == ' ';
}

static int
copy_name(const unsigned char *start, size_t limit, char name[LONGEST_NAME],
          struct problem *problem)
{
    size_t length = 0;
    while (length < limit && start[length] != '/' && start[length] != '\n') {
        length++;
    }
    while (length > 0 && start[length - 1] == ' ') {
        length--;
    }
    if (length == 0 || length >= LONGEST_NAME || memchr(start, '\0', length) != NULL) {
        return problem_set(problem, PROBLEM_OBJECT, "archive: a member without a usable name");
    }
    memcpy(name, start, length);
    name[length] = '\0';
    return 0;
}

static int
member_name(const struct archive *archive, const struct member *member, char name[LONGEST_NAME],
            struct problem *problem)
{
    if (member->header[0] != '/') {
        return copy_name(member->header, NAME_SIZE, name, problem);
    }
    size_t offset;
    if (!read_decimal(member->header + 1, NAME_SIZE - 1, &offset) ||
        offset >= archive->names_size) {
        return problem_set(problem, PROBLEM_OBJECT,
                           "archive: a member's name is not in the table of long names");
    }
    return copy_name(archive->names + offset, archive->names_size - offset, name, problem);
}

static int
visit_members(struct archive *archive,
              int (*visit)(void *context, const char *name, struct object member), void *context,
              struct problem *problem)
{
    for (size_t offset = MAGIC_SIZE; offset < archive->size;) {
        struct member member;
        if (read_member(archive, offset, &member, problem) != 0) {
            return -1;
        }
        offset = member.next;
        if (is_named(&member, "//")) {
            archive->names = member.data;
            archive->names_size = member.size;
            continue;
        }
        if (is_named(&member, "/") || is_named(&member, "/SYM64/")) {
            continue;
        }
        char name[LONGEST_NAME];
        if (member_name(archive, &member, name, problem) != 0) {
            return -1;
        }
        int status = visit(context, name, (struct object){member.data, member.size});
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

int
archive_visit(const unsigned char *bytes, size_t size,
              int (*visit)(void *context, const char *name, struct object member), void *context,
              struct problem *problem)
{
    if (size < MAGIC_SIZE || memcmp(bytes, MAGIC, MAGIC_SIZE) != 0) {
        return problem_set(problem, PROBLEM_OBJECT, "not an archive of objects");
    }
    struct archive archive = {.bytes = bytes, .size = size};
    return visit_members(&archive, visit, context, problem);
}
