/* library.c: shared libraries the user names, and where this platform keeps libraries and headers. */
#include "library.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#define MULTIARCH "x86_64-linux-gnu"
#elif defined(__aarch64__)
#define MULTIARCH "aarch64-linux-gnu"
#else
#define MULTIARCH "."
#endif

static const char *const LIBRARY_FOLDERS[] = {
    "/usr/local/lib", "/lib/" MULTIARCH, "/usr/lib/" MULTIARCH, "/lib64", "/usr/lib64",
    "/lib",           "/usr/lib",
};

static const char *const HEADER_FOLDERS[] = {
    "/usr/local/include",
    "/usr/include/" MULTIARCH,
    "/usr/include",
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* libm.so of a development package is a linker script: text. */
static bool
is_elf(const char *path)
{
    char magic[4] = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    ssize_t size = read(file, magic, sizeof(magic));
    close(file);
    return size == sizeof(magic) && memcmp(magic, "\177ELF", sizeof(magic)) == 0;
}

/* Appends the first path of the pattern that is a library. Returns 1 for found, 0, or -1. */
static int
find_by_pattern(const char *pattern, struct strings *paths)
{
    glob_t found;
    int result = 0;
    if (glob(pattern, 0, NULL, &found) != 0) {
        return 0;
    }
    for (size_t i = 0; i < found.gl_pathc && result == 0; i++) {
        const char *path = found.gl_pathv[i];
        if (is_elf(path)) {
            result = strings_append(paths, path, strlen(path)) < 0 ? -1 : 1;
        }
    }
    globfree(&found);
    return result;
}

/* lib<name>.so, else the lowest lib<name>.so.<version>: the plain soname sorts before longer ones; libm.so.6 is a
 * file's own name. */
static int
find_in_folder(const char *folder, const char *name, struct strings *paths)
{
    char pattern[4096];
    static const char *const forms[] = {"%s/lib%s.so", "%s/lib%s.so.*", "%s/%s"};
    size_t count = strstr(name, ".so") != NULL ? COUNT(forms) : COUNT(forms) - 1;
    for (size_t i = 0; i < count; i++) {
        int size = snprintf(pattern, sizeof(pattern), forms[i], folder, name);
        int result = size < (int)sizeof(pattern) ? find_by_pattern(pattern, paths) : 0;
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

static int
find_path(const char *path, struct strings *paths, struct problem *problem)
{
    if (access(path, R_OK) < 0) {
        return problem_set(problem, PROBLEM_SYSTEM, "library '%s': %s", path, strerror(errno));
    }
    if (!is_elf(path)) {
        return problem_set(problem, PROBLEM_SYSTEM, "library '%s' is not a shared library", path);
    }
    char *absolute = realpath(path, NULL);
    int result = absolute == NULL ? -1 : strings_append(paths, absolute, strlen(absolute));
    free(absolute);
    return result == 0 ? 0 : problem_set(problem, PROBLEM_MEMORY, "out of memory");
}

static int
report_not_found(const char *name, const struct strings *folders, struct problem *problem)
{
    struct buffer searched = BUFFER_INIT;
    for (size_t i = 0; i < folders->count; i++) {
        buffer_printf(&searched, "%s%s", searched.size ? ", " : "", folders->items[i]);
    }
    for (size_t i = 0; i < COUNT(LIBRARY_FOLDERS); i++) {
        buffer_printf(&searched, "%s%s", searched.size ? ", " : "", LIBRARY_FOLDERS[i]);
    }
    bool file = strstr(name, ".so") != NULL;
    problem_set(problem, PROBLEM_SYSTEM, "library '%s' not found: no %s%s%s in %s", name,
                file ? "" : "lib", name, file ? "" : ".so", searched.failed ? "" : searched.data);
    buffer_free(&searched);
    return -1;
}

static int
find(const char *name, const struct strings *folders, struct strings *paths,
     struct problem *problem)
{
    int found = 0;
    if (strchr(name, '/') != NULL) {
        return find_path(name, paths, problem);
    }
    if (name[0] == '\0' || strpbrk(name, "*?[]\\") != NULL) { /* what glob would expand */
        return problem_set(problem, PROBLEM_SYSTEM, "library '%s': not a name of a library", name);
    }
    for (size_t i = 0; i < folders->count && found == 0; i++) {
        found = find_in_folder(folders->items[i], name, paths);
    }
    for (size_t i = 0; i < COUNT(LIBRARY_FOLDERS) && found == 0; i++) {
        found = find_in_folder(LIBRARY_FOLDERS[i], name, paths);
    }
    if (found < 0) {
        return problem_set(problem, PROBLEM_MEMORY, "out of memory");
    }
    return found ? 0 : report_not_found(name, folders, problem);
}

int
library_find_all(const struct strings *names, const struct strings *folders, struct strings *paths,
                 struct problem *problem)
{
    for (size_t i = 0; i < names->count; i++) {
        if (find(names->items[i], folders, paths, problem) < 0) {
            return -1;
        }
    }
    return 0;
}

int
library_open_all(const struct strings *paths, void **handles, struct problem *problem)
{
    for (size_t i = 0; i < paths->count; i++) {
        handles[i] = dlopen(paths->items[i], RTLD_NOW | RTLD_LOCAL);
        if (handles[i] == NULL) {
            library_close_all(handles, i);
            return problem_set(problem, PROBLEM_SYSTEM, "cannot open library: %s", dlerror());
        }
    }
    return 0;
}

void
library_close_all(void **handles, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dlclose(handles[i]);
    }
}

void *
library_symbol(void *const *handles, size_t count, const char *name)
{
    void *address = NULL;
    for (size_t i = 0; i < count && address == NULL; i++) {
        address = dlsym(handles[i], name);
    }
    return address;
}

void *
library_process_symbol(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

int
library_header_folders(struct strings *folders)
{
    for (size_t i = 0; i < COUNT(HEADER_FOLDERS); i++) {
        if (access(HEADER_FOLDERS[i], R_OK | X_OK) == 0 &&
            strings_append(folders, HEADER_FOLDERS[i], strlen(HEADER_FOLDERS[i])) < 0) {
            return -1;
        }
    }
    return 0;
}
