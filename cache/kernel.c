/* kernel.c: unit -> kernel, by way of memory, disk, or libtcc: where it is decided whether to compile. */
#include "kernel.h"

#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../runtime/blocks.h"
#include "../runtime/extension.h"
#include "../runtime/symbols.h"
#include "../src/backend/library.h"
#include "../src/backend/machine.h"

/* Raised when the same fields no longer mean the same code. */
#define KEY_FORMAT "tinyweave 1"

/* ---- The key ---- */

static void
key_string(struct sha256 *sha, const char *name, const char *value)
{
    key_field(sha, name, value, strlen(value));
}

/* A library is known by path, size and time: its contents may be large. */
static void
key_library(struct sha256 *sha, const char *path)
{
    char text[100] = "missing";
    struct stat status;
    if (stat(path, &status) == 0) {
        snprintf(text, sizeof(text), "%lld %lld.%09ld", (long long)status.st_size,
                 (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    }
    key_string(sha, "library", path);
    key_string(sha, "library file", text);
}

/* System headers are known by the versions of those who ship them. */
static void
key_system(struct sha256 *sha, const struct unit *unit)
{
    key_string(sha, "libc", gnu_get_libc_version());
    for (size_t i = 0; i < unit->system_dirs.count; i++) {
        key_string(sha, "system folder", unit->system_dirs.items[i]);
    }
}

void
kernel_key(const struct state *state, const struct unit *unit, const struct buffer *headers,
           uint8_t key[KEY_SIZE])
{
    struct sha256 sha;
    sha256_start(&sha);
    key_string(&sha, "format", KEY_FORMAT);
    key_string(&sha, "tinyweave", TINYWEAVE_VERSION);
    key_string(&sha, "libtcc", tcc_identity(state->tcc));
    key_string(&sha, "python", Py_GetVersion());
    key_string(&sha, "numpy", state->numpy_version);
    key_string(&sha, "machine", machine_name);
    key_field(&sha, "signature", unit->signature.data, unit->signature.size);
    key_string(&sha, "interpreter", unit->interpreter ? "yes" : "no");
    if (unit->extension) {
        key_string(&sha, "extension", unit->unnamed_members ? "unnamed members" : "");
    }
    for (size_t i = 0; i < unit->include_dirs.count; i++) {
        key_string(&sha, "include folder", unit->include_dirs.items[i]);
    }
    for (size_t i = 0; i < unit->libraries.count; i++) {
        key_library(&sha, unit->libraries.items[i]);
    }
    if (unit->system_dirs.count > 0) {
        key_system(&sha, unit);
    }
    key_field(&sha, "headers", headers->data, headers->size);
    key_field(&sha, "text", unit->text.data, unit->text.size);
    sha256_finish(&sha, key);
}

/* ---- What a unit may call ---- */

#define MOST_HELPERS 32 /* members of libtcc1.a; it has 9 */

struct helpers {
    struct object members[MOST_HELPERS];
    size_t count;
};

static int
link_helper(void *context, const char *name, struct object member)
{
    struct helpers *helpers = context;
    static const char *const left_out[] = {"tcov.o", "alloca-bt.o", "dsohandle.o"};
    for (size_t i = 0; i < sizeof(left_out) / sizeof(*left_out); i++) {
        if (strcmp(name, left_out[i]) == 0) {
            return 0;
        }
    }
    if (helpers->count < MOST_HELPERS) {
        helpers->members[helpers->count++] = member;
    }
    return 0;
}

static const void *
resolve_listed(void *context, const char *name)
{
    (void)context;
    const struct symbol *symbol = symbol_find(name, strlen(name));
    return symbol == NULL ? NULL : symbol->address;
}

static int
read_file(const char *path, struct buffer *bytes)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        return -1;
    }
    size_t size = 1;
    while (size > 0) {
        char *end = buffer_reserve(bytes, 65536);
        size = end == NULL ? 0 : fread(end, 1, 65536, file);
        bytes->size += size;
    }
    fclose(file);
    return bytes->failed ? -1 : 0;
}

/* libtcc1.a, linked into one image by our own loader: what libtcc's code calls behind the user's back
 * (conversions, alloca, atomics, va_arg). */
static struct image *
load_helpers(struct state *state)
{
    char *path = NULL;
    struct buffer archive = BUFFER_INIT;
    struct helpers helpers = {.count = 0};
    struct problem problem = {PROBLEM_NONE, ""};
    struct image *image = NULL;
    if (asprintf(&path, "%s/libtcc1.a", tcc_library_folder(state->tcc)) >= 0 &&
        read_file(path, &archive) == 0 &&
        archive_visit((unsigned char *)archive.data, archive.size, link_helper, &helpers,
                      &problem) == 0) {
        image =
            image_load(state->heap, helpers.members, helpers.count, resolve_listed, NULL, &problem);
    }
    free(path);
    buffer_free(&archive);
    return image;
}

static const void *
resolve_helper(struct state *state, const char *name)
{
    if (state->helpers == NULL) {
        state->helpers = load_helpers(state);
    }
    return state->helpers == NULL ? NULL : image_symbol(state->helpers, name);
}

static const void *
resolve_numpy(const struct state *state, const char *name)
{
    if (strcmp(name, "tw_numpy_api") == 0) {
        return &state->numpy_api;
    }
    if (strcmp(name, "tw_numpy_apiPyArray_RUNTIME_VERSION") == 0) {
        return &state->numpy_runtime_version;
    }
    if (strcmp(name, "tw_numpy_ufunc_api") == 0) {
        return &state->numpy_ufunc_api;
    }
    return NULL;
}

struct resolution {
    struct kernel *kernel;
    const struct unit *unit;
};

/* A whole module has all that the interpreter exports, as if the dynamic linker had loaded it. */
static const void *
resolve_extension(struct kernel *kernel, const char *name)
{
    kernel->finds_state |= strcmp(name, "PyState_FindModule") == 0;
    const void *address = extension_symbol(name);
    if (address == NULL) {
        address = library_symbol(kernel->handles, kernel->handle_count, name);
    }
    if (address == NULL) {
        address = resolve_helper(kernel->state, name);
    }
    return address == NULL ? library_process_symbol(name) : address;
}

/* The whitelist first, so that printf is ours even where a library would lead to libc's. */
static const void *
resolve(void *context, const char *name)
{
    struct resolution *resolution = context;
    struct kernel *kernel = resolution->kernel;
    if (resolution->unit->extension) {
        return resolve_extension(kernel, name);
    }
    const struct symbol *symbol = symbol_find(name, strlen(name));
    if (symbol != NULL && symbol->address != NULL) {
        kernel->needs_gil |= symbol->symbol_class == SYMBOL_PYTHON;
        kernel->prints |= symbol->symbol_class == SYMBOL_STDIO;
        return symbol->address;
    }
    const void *address = blocks_find(name);
    if (address == NULL) {
        address = resolve_helper(kernel->state, name);
    }
    if (address == NULL) {
        address = library_symbol(kernel->handles, kernel->handle_count, name);
    }
    if (address == NULL && resolution->unit->interpreter) {
        address = resolve_numpy(kernel->state, name);
        if (address == NULL) {
            address = library_process_symbol(name);
        }
    }
    return address;
}

/* ---- A kernel's life ---- */

static void
destroy_kernel(struct memory_entry *entry)
{
    struct kernel *kernel = (struct kernel *)entry;
    if (kernel->forget != NULL) {
        kernel->forget(kernel);
    }
    if (kernel->image != NULL) {
        image_free(kernel->image);
    }
    library_close_all(kernel->handles, kernel->handle_count);
    free(kernel->handles);
    buffer_free(&kernel->object);
    free(kernel);
}

void
kernel_release(struct kernel *kernel)
{
    memory_release(&kernel->state->kernels, &kernel->entry);
}

static struct kernel *
new_kernel(struct state *state, const struct unit *unit, const uint8_t key[KEY_SIZE],
           struct problem *problem)
{
    struct kernel *kernel = calloc(1, sizeof(*kernel));
    void **handles = calloc(unit->libraries.count + 1, sizeof(*handles));
    if (kernel == NULL || handles == NULL) {
        problem_set(problem, PROBLEM_MEMORY, "out of memory");
        free(kernel);
        free(handles);
        return NULL;
    }
    memcpy(kernel->entry.key, key, KEY_SIZE);
    kernel->entry.references = 1;
    kernel->entry.destroy = destroy_kernel;
    kernel->state = state;
    kernel->handles = handles;
    kernel->needs_gil = unit->needs_gil;
    if (library_open_all(&unit->libraries, handles, problem) < 0) {
        kernel_release(kernel);
        return NULL;
    }
    kernel->handle_count = unit->libraries.count;
    return kernel;
}

static struct image *
load_image(struct kernel *kernel, const struct unit *unit, const struct buffer *object,
           struct problem *problem)
{
    struct object bytes = {(const unsigned char *)object->data, object->size};
    struct resolution resolution = {kernel, unit};
    return image_load(kernel->state->heap, &bytes, 1, resolve, &resolution, problem);
}

/* A module that is loaded again starts with fresh variables, out of these bytes. */
static struct kernel *
keep_object(struct kernel *kernel, const struct buffer *object, struct problem *problem)
{
    buffer_append(&kernel->object, object->data, object->size);
    if (kernel->object.failed) {
        kernel_release(kernel);
        problem_set(problem, PROBLEM_MEMORY, "out of memory");
        return NULL;
    }
    return kernel;
}

struct image *
kernel_take_image(struct kernel *kernel, const struct unit *unit, struct problem *problem)
{
    struct image *image = kernel->image;
    kernel->image = NULL;
    return image != NULL ? image : load_image(kernel, unit, &kernel->object, problem);
}

static struct kernel *
load_kernel(struct state *state, const struct unit *unit, const uint8_t key[KEY_SIZE],
            const struct buffer *object, struct problem *problem)
{
    struct kernel *kernel = new_kernel(state, unit, key, problem);
    if (kernel == NULL) {
        return NULL;
    }
    kernel->image = load_image(kernel, unit, object, problem);
    void *entry_point = NULL;
    if (kernel->image != NULL && unit->extension) {
        return keep_object(kernel, object, problem);
    }
    if (kernel->image != NULL) {
        entry_point = image_symbol(kernel->image, KERNEL_ENTRY);
        if (entry_point == NULL) {
            problem_set(problem, PROBLEM_OBJECT, "the object defines no %s", KERNEL_ENTRY);
        }
    }
    if (entry_point == NULL) {
        kernel_release(kernel);
        return NULL;
    }
    atomic_store_explicit(&kernel->entry_point, entry_point, memory_order_relaxed);
    return kernel;
}

/* ---- Disk, compiler ---- */

static bool
object_from_disk(struct state *state, const struct unit *unit, const uint8_t key[KEY_SIZE],
                 struct buffer *object)
{
    if (unit->uncacheable || disk_mode(state->disk) == DISK_OFF) {
        return false;
    }
    bool hit;
    Py_BEGIN_ALLOW_THREADS hit = disk_read(state->disk, key, object);
    Py_END_ALLOW_THREADS return hit;
}

static struct kernel *
kernel_from_disk(struct state *state, const struct unit *unit, const uint8_t key[KEY_SIZE])
{
    struct buffer object = BUFFER_INIT;
    struct kernel *kernel = NULL;
    if (object_from_disk(state, unit, key, &object)) {
        struct problem problem = {PROBLEM_NONE, ""};
        kernel = load_kernel(state, unit, key, &object, &problem);
        state->load_errors += kernel == NULL;
    }
    buffer_free(&object);
    return kernel;
}

static void
keep_on_disk(struct state *state, const struct unit *unit, const uint8_t key[KEY_SIZE],
             const struct buffer *object, const char *source, long long nanoseconds)
{
    if (unit->uncacheable || disk_mode(state->disk) != DISK_ON) {
        return;
    }
    char compile_ns[32];
    int digits = snprintf(compile_ns, sizeof(compile_ns), "%lld", nanoseconds);
    const struct disk_note notes[] = {
        {"source", source, strlen(source)},
        {"signature", unit->signature.data, unit->signature.size},
        {"options", unit->options.data, unit->options.size},
        {"libtcc", tcc_identity(state->tcc), strlen(tcc_identity(state->tcc))},
        {"compile_ns", compile_ns, (size_t)digits},
    };
    Py_BEGIN_ALLOW_THREADS disk_write(state->disk, key, object->data, object->size, notes,
                                      sizeof(notes) / sizeof(*notes));
    Py_END_ALLOW_THREADS
}

static long long
now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Returns how long libtcc took, in nanoseconds, or -1. */
static long long
object_from_compiler(struct state *state, const struct unit *unit, struct buffer *object,
                     struct problem *problem)
{
    int result;
    long long start = now_ns();
    Py_BEGIN_ALLOW_THREADS result = tcc_compile(state->tcc, unit, object, problem);
    Py_END_ALLOW_THREADS state->compiles += result == 0;
    return result < 0 ? -1 : now_ns() - start;
}

static struct kernel *
kernel_from_compiler(struct state *state, const struct unit *unit, const uint8_t key[KEY_SIZE],
                     const char *source, struct problem *problem)
{
    struct buffer object = BUFFER_INIT;
    struct kernel *kernel = NULL;
    long long nanoseconds = object_from_compiler(state, unit, &object, problem);
    if (nanoseconds >= 0) {
        kernel = load_kernel(state, unit, key, &object, problem);
    }
    if (kernel != NULL) {
        keep_on_disk(state, unit, key, &object, source, nanoseconds);
    }
    buffer_free(&object);
    return kernel;
}

/* ---- One compile at a time for a key ---- */

/* A key that a thread is at work on. Others wait for its lock and then look in memory again. */
struct flight {
    uint8_t key[KEY_SIZE];
    pid_t process; /* after a fork the child has nobody at work on it */
    PyThread_type_lock lock;
    int users; /* the worker and those who wait */
    bool landed;
    struct flight *next;
};

static struct flight *
find_flight(struct state *state, const uint8_t key[KEY_SIZE])
{
    pid_t process = getpid();
    for (struct flight *flight = state->flights; flight != NULL; flight = flight->next) {
        if (!flight->landed && flight->process == process &&
            memcmp(flight->key, key, KEY_SIZE) == 0) {
            return flight;
        }
    }
    return NULL;
}

static void
leave_flight(struct state *state, struct flight *flight)
{
    if (--flight->users > 0) {
        return;
    }
    struct flight **link = &state->flights;
    while (*link != flight) {
        link = &(*link)->next;
    }
    *link = flight->next;
    PyThread_free_lock(flight->lock);
    free(flight);
}

static void
wait_for_flight(struct state *state, struct flight *flight)
{
    flight->users++;
    Py_BEGIN_ALLOW_THREADS PyThread_acquire_lock(flight->lock, WAIT_LOCK);
    PyThread_release_lock(flight->lock);
    Py_END_ALLOW_THREADS leave_flight(state, flight);
}

/* Returns NULL when memory is out: then the caller works on without being seen. */
static struct flight *
start_flight(struct state *state, const uint8_t key[KEY_SIZE])
{
    struct flight *flight = calloc(1, sizeof(*flight));
    if (flight == NULL || (flight->lock = PyThread_allocate_lock()) == NULL) {
        free(flight);
        return NULL;
    }
    memcpy(flight->key, key, KEY_SIZE);
    flight->process = getpid();
    flight->users = 1;
    flight->next = state->flights;
    state->flights = flight;
    PyThread_acquire_lock(flight->lock, WAIT_LOCK);
    return flight;
}

static void
land_flight(struct state *state, struct flight *flight)
{
    if (flight != NULL) {
        flight->landed = true;
        PyThread_release_lock(flight->lock);
        leave_flight(state, flight);
    }
}

static struct kernel *
find_in_memory(struct state *state, const uint8_t key[KEY_SIZE])
{
    struct kernel *kernel = NULL;
    struct flight *flight;
    while ((kernel = (struct kernel *)memory_find(&state->kernels, key)) == NULL &&
           (flight = find_flight(state, key)) != NULL) {
        wait_for_flight(state, flight);
    }
    return kernel;
}

/* Says what the cache on disk has to say, each thing once. */
static int
warn_of_disk(struct state *state)
{
    const char *warning;
    int result = 0;
    while (result == 0 && (warning = disk_warning(state->disk)) != NULL) {
        PyObject *text = PyUnicode_DecodeFSDefault(warning); /* a path may be any bytes */
        result =
            text == NULL ? -1 : PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "tinyweave: %U", text);
        Py_XDECREF(text);
    }
    return result;
}

struct kernel *
kernel_obtain(struct state *state, const struct unit *unit, const struct buffer *headers,
              const char *source, bool force, enum kernel_origin *origin, struct problem *problem)
{
    uint8_t key[KEY_SIZE];
    kernel_key(state, unit, headers, key);
    force = force || unit->uncacheable; /* its key does not tell all */
    struct kernel *kernel = force ? NULL : find_in_memory(state, key);
    if (kernel != NULL) {
        state->memory_hits++;
        *origin = KERNEL_MEMORY;
        return kernel;
    }
    struct flight *flight = start_flight(state, key);
    *origin = KERNEL_DISK;
    kernel = force ? NULL : kernel_from_disk(state, unit, key);
    if (kernel == NULL) {
        *origin = KERNEL_COMPILED;
        kernel = kernel_from_compiler(state, unit, key, source, problem);
    }
    if (kernel != NULL) {
        memory_insert(&state->kernels, &kernel->entry);
    }
    land_flight(state, flight);
    if (kernel != NULL && warn_of_disk(state) < 0) {
        kernel_release(kernel);
        kernel = NULL;
    }
    return kernel;
}

int
kernel_object(struct state *state, const struct unit *unit, bool force, struct buffer *object,
              enum kernel_origin *origin, struct problem *problem)
{
    static const struct buffer no_headers = BUFFER_INIT;
    uint8_t key[KEY_SIZE];
    kernel_key(state, unit, &no_headers, key);
    *origin = KERNEL_DISK;
    if (!force && object_from_disk(state, unit, key, object)) {
        return warn_of_disk(state);
    }
    *origin = KERNEL_COMPILED;
    long long nanoseconds = object_from_compiler(state, unit, object, problem);
    if (nanoseconds < 0) {
        return -1;
    }
    keep_on_disk(state, unit, key, object, unit->text.data, nanoseconds);
    return warn_of_disk(state);
}
