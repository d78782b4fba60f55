/* disk.c: the cache on disk, one self-contained and checked file an entry.
 *
 *   path      = root "/" folder "/" name
 *   folder    = the first two of the key's hexadecimal digits
 *   name      = the key's 64 hexadecimal digits ".o"
 *   temporary = the key's 64 hexadecimal digits "." 16 hexadecimal digits ".tmp"
 *
 *   entry     = object notes footer
 *   object    = the ELF file; what reads ELF ignores the bytes behind it
 *   notes     = { name_size name size bytes }
 *   footer    = object_size notes_size key magic checksum
 *   magic     = "TWENTRY1"
 *   checksum  = SHA-256 of all bytes before it
 *
 * Sizes are 8 bytes, little-endian; key and checksum 32 bytes. The footer's size is fixed, so it is
 * found from the end of the file.
 *
 * A writer makes a temporary and renames it, so a reader sees a whole entry or none, and needs no
 * lock. Nothing is synced to the medium: should the machine stop before the bytes are there, the
 * checksum tells, and the entry is a miss. Folders are opened for every access, so that one deleted
 * meanwhile is made again, and the folder that was checked is the folder that is used. All state
 * shared by threads is atomic; there is no lock that a fork could leave locked.
 */
#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_CAP ((uint64_t)256 << 20) /* bytes: some 40,000 kernels */
#define ENTRY_LIMIT ((uint64_t)64 << 20) /* bytes; what is larger is none of ours and not read in */
#define STALE_SECONDS 3600               /* no writer needs an hour for its temporary */
#define STORE_ATTEMPTS 5                 /* another process may remove the folder under a writer */
#define SUBFOLDERS 256

#define MAGIC "TWENTRY1"
#define MAGIC_SIZE 8
#define LENGTH_SIZE 8
#define FOOTER_SIZE (2 * LENGTH_SIZE + KEY_SIZE + MAGIC_SIZE + KEY_SIZE)

#define SUBFOLDER_SIZE 3                        /* "ab" */
#define ENTRY_NAME_SIZE (KEY_HEX_SIZE + 3)      /* "<key>.o" */
#define TEMPORARY_NAME_SIZE (KEY_HEX_SIZE + 22) /* "<key>.0123456789abcdef.tmp" */

enum warning { WARNING_MODE, WARNING_SIZE, WARNING_FOLDER, WARNING_COUNT };

struct disk {
    char *path; /* absolute, or "" */
    enum disk_mode mode;
    uint64_t cap;           /* bytes */
    atomic_llong allowance; /* bytes to write before the folder is measured again */
    atomic_bool refused;    /* the folder is not to be used */
    _Atomic(char *) warnings[WARNING_COUNT]; /* each set once */
    atomic_uint told;                        /* bits: those disk_warning has returned */
    struct disk_statistics statistics;
};

/* ---- Settings ---- */

/* The first text of a kind stays. Takes over the buffer's bytes. */
static void
warn(struct disk *disk, enum warning which, struct buffer *text)
{
    char *none = NULL;
    if (!atomic_compare_exchange_strong(&disk->warnings[which], &none, text->data)) {
        buffer_free(text);
    }
}

/* The variable's value; NULL when it is unset or empty. */
static const char *
environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

static void
warn_setting(struct disk *disk, enum warning which, const char *name, const char *value,
             const char *expected)
{
    struct buffer text = BUFFER_INIT;
    buffer_printf(&text, "%s is \"%.100s\": expected %s", name, value, expected);
    warn(disk, which, &text);
}

static void
read_mode(struct disk *disk)
{
    static const char *const names[] = {
        [DISK_ON] = "on", [DISK_OFF] = "off", [DISK_READONLY] = "readonly"};
    const char *value = environment("TINYWEAVE_CACHE");
    disk->mode = DISK_ON;
    if (value == NULL) {
        return;
    }
    for (int mode = DISK_ON; mode <= DISK_READONLY; mode++) {
        if (strcasecmp(value, names[mode]) == 0) {
            disk->mode = (enum disk_mode)mode;
            return;
        }
    }
    warn_setting(disk, WARNING_MODE, "TINYWEAVE_CACHE", value, "on, off or readonly; using on");
}

/* "K" -> 10 ..., the power of two a size's suffix stands for; -1 for what is no suffix. */
static int
suffix_shift(const char *suffix)
{
    static const char letters[] = "kmg";
    if (*suffix == '\0') {
        return 0;
    }
    char letter = (char)(*suffix | 0x20); /* lower case */
    const char *found = strchr(letters, letter);
    return found != NULL && suffix[1] == '\0' ? 10 * (int)(found - letters + 1) : -1;
}

/* "4096", "64K", "256m", "1G" -> bytes. Returns false for anything else, and for sizes past 2**63. */
static bool
parse_size(const char *text, uint64_t *bytes)
{
    uint64_t value = 0;
    const char *next = text;
    for (; *next >= '0' && *next <= '9'; next++) {
        uint64_t digit = (uint64_t)(*next - '0');
        if (value > (INT64_MAX - digit) / 10) {
            return false;
        }
        value = 10 * value + digit;
    }
    int shift = suffix_shift(next);
    if (next == text || shift < 0 || value > (uint64_t)INT64_MAX >> shift) {
        return false;
    }
    *bytes = value << shift;
    return true;
}

static void
read_cap(struct disk *disk)
{
    const char *value = environment("TINYWEAVE_CACHE_SIZE");
    disk->cap = DEFAULT_CAP;
    if (value != NULL && !parse_size(value, &disk->cap)) {
        warn_setting(disk, WARNING_SIZE, "TINYWEAVE_CACHE_SIZE", value,
                     "bytes, or a number with K, M or G; using 256M");
    }
}

/* Appends the home folder of the password file, if there is one. */
static void
append_passwd_home(struct buffer *path)
{
    struct buffer space = BUFFER_INIT;
    struct passwd record, *found = NULL;
    int error = ERANGE;
    for (size_t size = 1024; error == ERANGE && size <= 1 << 20; size *= 4) {
        char *bytes = buffer_reserve(&space, size);
        if (bytes == NULL) {
            break;
        }
        error = getpwuid_r(geteuid(), &record, bytes, size, &found);
    }
    if (error == 0 && found != NULL && found->pw_dir[0] == '/') {
        buffer_append_string(path, found->pw_dir);
    }
    buffer_free(&space);
}

/* The XDG base directory rule: a relative path in its variable is not valid and ignored. */
static void
append_user_cache(struct buffer *path)
{
    const char *cache = environment("XDG_CACHE_HOME");
    if (cache != NULL && *cache == '/') {
        buffer_printf(path, "%s/tinyweave", cache);
        return;
    }
    const char *home = environment("HOME");
    if (home != NULL && *home == '/') {
        buffer_append_string(path, home);
    }
    else {
        append_passwd_home(path);
    }
    if (path->size > 0) {
        buffer_append_string(path, "/.cache/tinyweave");
    }
}

/* Later changes of the working folder must not move the cache. */
static void
append_absolute(struct buffer *path, const char *name)
{
    if (*name != '/') {
        char *folder = getcwd(NULL, 0);
        if (folder == NULL) {
            return;
        }
        buffer_printf(path, "%s/", folder);
        free(folder);
    }
    buffer_append_string(path, name);
}

/* "/a/b/./" -> "/a/b": behind a slash or a dot O_NOFOLLOW would follow a symlink. */
static void
strip_tail(char *path)
{
    size_t size = strlen(path);
    while (size > 1 &&
           (path[size - 1] == '/' || (path[size - 1] == '.' && path[size - 2] == '/'))) {
        path[--size] = '\0';
    }
}

/* Returns the cache's root, "" when there is none, NULL when memory is out. */
static char *
choose_path(void)
{
    struct buffer path = BUFFER_INIT;
    const char *name = environment("TINYWEAVE_CACHE_DIR");
    buffer_append_string(&path, "");
    if (name != NULL) {
        append_absolute(&path, name);
    }
    else {
        append_user_cache(&path);
    }
    if (path.failed) {
        buffer_free(&path);
        return NULL;
    }
    strip_tail(path.data);
    return path.data;
}

struct disk *
disk_open(void)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    char *path = choose_path();
    if (disk == NULL || path == NULL) {
        free(disk);
        free(path);
        return NULL;
    }
    disk->path = path;
    read_mode(disk);
    read_cap(disk);
    return disk;
}

void
disk_close(struct disk *disk)
{
    if (disk == NULL) {
        return;
    }
    for (int i = 0; i < WARNING_COUNT; i++) {
        free(atomic_load(&disk->warnings[i]));
    }
    free(disk->path);
    free(disk);
}

const char *
disk_path(const struct disk *disk)
{
    return disk->path;
}

enum disk_mode
disk_mode(const struct disk *disk)
{
    return disk->mode;
}

struct disk_statistics *
disk_counters(struct disk *disk)
{
    return &disk->statistics;
}

const char *
disk_warning(struct disk *disk)
{
    for (int i = 0; i < WARNING_COUNT; i++) {
        const char *text = atomic_load(&disk->warnings[i]);
        if (text != NULL && !(atomic_fetch_or(&disk->told, 1u << i) & 1u << i)) {
            return text;
        }
    }
    return NULL;
}

static bool
readable(struct disk *disk)
{
    return disk->mode != DISK_OFF && *disk->path != '\0' && !atomic_load(&disk->refused);
}

static bool
writable(struct disk *disk)
{
    return disk->mode == DISK_ON && readable(disk);
}

/* ---- Folders ---- */

/* close() for ways out on which errno says what went wrong. */
static void
close_quietly(int fd)
{
    int saved = errno;
    close(fd);
    errno = saved;
}

static int
open_at(int folder, const char *name, int flags)
{
    int fd;
    do {
        fd = openat(folder, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static void
refuse(struct disk *disk, const char *name, const char *reason)
{
    struct buffer text = BUFFER_INIT;
    atomic_store(&disk->refused, true);
    buffer_append_string(&text, "the cache folder ");
    if (*name != '/') {
        buffer_printf(&text, "%s/", disk->path);
    }
    buffer_printf(&text, "%s %s: nothing is cached on disk", name, reason);
    warn(disk, WARNING_FOLDER, &text);
}

/* Why what could not be opened as a folder is none. */
static const char *
no_folder(int parent, const char *name)
{
    struct stat status;
    bool link = fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode);
    return link ? "is a symbolic link" : "is not a folder";
}

/* Why others could have put their files into a folder; NULL when they could not. */
static const char *
folder_fault(int folder)
{
    struct stat status;
    if (fstat(folder, &status) < 0) {
        return "cannot be examined";
    }
    if (status.st_uid != geteuid()) {
        return "belongs to another user";
    }
    return status.st_mode & (S_IWGRP | S_IWOTH) ? "is writable by others" : NULL;
}

/* Opens a folder, below `parent` or by its absolute path. One that others could write to, or that is
 * something else, ends the use of the cache. Returns -1 and errno. */
static int
folder_open(struct disk *disk, int parent, const char *name)
{
    int folder = open_at(parent, name, O_RDONLY | O_DIRECTORY);
    const char *fault = NULL;
    if (folder >= 0) {
        fault = folder_fault(folder);
    }
    else if (errno == ELOOP || errno == ENOTDIR) {
        fault = no_folder(parent, name);
    }
    if (fault == NULL) {
        return folder;
    }
    refuse(disk, name, fault);
    if (folder >= 0) {
        close(folder);
    }
    errno = EPERM;
    return -1;
}

static int
root_open(struct disk *disk)
{
    return folder_open(disk, AT_FDCWD, disk->path);
}

/* mkdir -p. What cannot be made shows when it is opened. */
static void
make_root(const struct disk *disk)
{
    char *path = strdup(disk->path);
    if (path == NULL) {
        return;
    }
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
    free(path);
}

/* Opens the folder an entry stands in. Returns -1 and errno: ENOENT when there is none. */
static int
entry_folder(struct disk *disk, const char *hex)
{
    char name[SUBFOLDER_SIZE] = {hex[0], hex[1], '\0'};
    int root = root_open(disk);
    if (root < 0) {
        return -1;
    }
    int folder = folder_open(disk, root, name);
    close_quietly(root);
    return folder;
}

/* The same, and makes it. */
static int
entry_folder_made(struct disk *disk, const char *hex)
{
    int folder = entry_folder(disk, hex);
    if (folder >= 0 || errno != ENOENT) {
        return folder;
    }
    make_root(disk);
    int root = root_open(disk);
    if (root >= 0) {
        char name[SUBFOLDER_SIZE] = {hex[0], hex[1], '\0'};
        mkdirat(root, name, 0700);
        folder = folder_open(disk, root, name);
        close_quietly(root);
    }
    return folder;
}

/* ---- Reading an entry ---- */

static uint64_t
load_length(const char *bytes)
{
    uint64_t length = 0;
    for (int i = 0; i < LENGTH_SIZE; i++) {
        length |= (uint64_t)(uint8_t)bytes[i] << (8 * i);
    }
    return length;
}

/* Reads `size` bytes, no fewer. */
static bool
read_all(int file, char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t count = read(file, bytes, size);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return false;
        }
        bytes += count;
        size -= (size_t)count;
    }
    return true;
}

static void
checksum(const void *bytes, size_t size, uint8_t digest[KEY_SIZE])
{
    struct sha256 sha;
    sha256_start(&sha);
    sha256_update(&sha, bytes, size);
    sha256_finish(&sha, digest);
}

/* Is this the whole entry of that key, as it was written? */
static bool
entry_check(const char *entry, size_t size, const uint8_t key[KEY_SIZE], size_t *object_size)
{
    const char *footer = entry + size - FOOTER_SIZE;
    const char *footer_key = footer + 2 * LENGTH_SIZE;
    const char *magic = footer_key + KEY_SIZE;
    const char *digest = magic + MAGIC_SIZE;
    uint64_t object = load_length(footer), notes = load_length(footer + LENGTH_SIZE);
    uint64_t body = size - FOOTER_SIZE;
    if (memcmp(magic, MAGIC, MAGIC_SIZE) != 0 || memcmp(footer_key, key, KEY_SIZE) != 0 ||
        object > body || notes != body - object) {
        return false;
    }
    uint8_t actual[KEY_SIZE];
    checksum(entry, size - KEY_SIZE, actual);
    *object_size = (size_t)object;
    return memcmp(digest, actual, KEY_SIZE) == 0;
}

/* A regular file of ours that nobody else can change, of a size that an entry can have? */
static bool
file_trusted(const struct stat *status)
{
    return S_ISREG(status->st_mode) && status->st_uid == geteuid() &&
           !(status->st_mode & (S_IWGRP | S_IWOTH)) && status->st_size >= FOOTER_SIZE &&
           (uint64_t)status->st_size <= ENTRY_LIMIT;
}

/* Appends the object of an open entry. A miss leaves the buffer as it was. */
static bool
entry_load(int file, const uint8_t key[KEY_SIZE], struct buffer *object)
{
    struct stat status;
    if (fstat(file, &status) < 0 || !file_trusted(&status)) {
        return false;
    }
    size_t size = (size_t)status.st_size, object_size = 0;
    char *entry = buffer_reserve(object, size);
    if (entry == NULL) {
        object->failed = false;
        return false;
    }
    bool good = read_all(file, entry, size) && entry_check(entry, size, key, &object_size);
    object->size += good ? object_size : 0;
    object->data[object->size] = '\0';
    return good;
}

/* Sets the time of last use. The clock, since the kernel's own stamps are as coarse as its tick; and
 * at every use, since that costs 1.5 us of a hit's 25 and a process reads an entry once. */
static void
mark_used(int file)
{
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[1] = times[0];
    futimens(file, times); /* on a read-only file system it fails, and nothing is evicted */
}

static int
entry_open(struct disk *disk, const uint8_t key[KEY_SIZE])
{
    char name[ENTRY_NAME_SIZE];
    key_hex(key, name);
    int folder = entry_folder(disk, name);
    if (folder < 0) {
        return -1;
    }
    memcpy(name + KEY_HEX_SIZE, ".o", 3);
    /* O_NONBLOCK: opening a fifo must not wait for its writer. */
    int file = open_at(folder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    close_quietly(folder);
    return file;
}

bool
disk_read(struct disk *disk, const uint8_t key[KEY_SIZE], struct buffer *object)
{
    if (!readable(disk) || object->failed) {
        return false;
    }
    int file = entry_open(disk, key);
    if (file < 0) {
        disk->statistics.errors += errno != ENOENT;
        return false;
    }
    bool hit = entry_load(file, key, object);
    if (hit && disk->mode == DISK_ON) {
        mark_used(file);
    }
    close(file);
    disk->statistics.hits += hit;
    disk->statistics.errors += !hit;
    return hit;
}

/* ---- Listing entries ---- */

struct item {
    uint8_t key[KEY_SIZE];
    bool temporary;
    uint64_t size; /* bytes */
    int64_t used;  /* nanoseconds since 1970: the time of last use */
};

/* Called for each entry and temporary, with the folder it stands in and its name there. */
typedef void visit_function(void *context, int folder, const char *name, const struct item *item);

/* The value of a lower-case hexadecimal digit, or -1. */
static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads `count` bytes written as hexadecimal digits. */
static bool
parse_hex(const char *digits, uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int high = hex_value(digits[2 * i]);
        int low = high < 0 ? -1 : hex_value(digits[2 * i + 1]);
        if (low < 0) {
            return false;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Is a file's name one that we give? Fills key and temporary. */
static bool
parse_name(const char *name, struct item *item)
{
    uint8_t random[8];
    if (!parse_hex(name, item->key, KEY_SIZE)) {
        return false;
    }
    const char *tail = name + KEY_HEX_SIZE;
    if (strcmp(tail, ".o") == 0) {
        item->temporary = false;
        return true;
    }
    item->temporary = true;
    return *tail == '.' && parse_hex(tail + 1, random, sizeof(random)) &&
           strcmp(tail + 1 + 2 * sizeof(random), ".tmp") == 0;
}

static bool
examine(int folder, int number, const char *name, struct item *item)
{
    struct stat status;
    if (!parse_name(name, item) || item->key[0] != number ||
        fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(status.st_mode)) {
        return false;
    }
    item->size = (uint64_t)status.st_size;
    item->used = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
    return true;
}

static void
walk_folder(struct disk *disk, int root, int number, visit_function *visit, void *context)
{
    char folder_name[SUBFOLDER_SIZE];
    snprintf(folder_name, sizeof(folder_name), "%02x", (unsigned)number & 0xff);
    int folder = folder_open(disk, root, folder_name);
    DIR *stream = folder < 0 ? NULL : fdopendir(folder);
    if (stream == NULL) {
        if (folder >= 0) {
            close(folder);
        }
        return;
    }
    for (struct dirent *found; (found = readdir(stream)) != NULL;) {
        struct item item;
        if (examine(folder, number, found->d_name, &item)) {
            visit(context, folder, found->d_name, &item);
        }
    }
    closedir(stream);
}

static void
walk(struct disk *disk, int root, visit_function *visit, void *context)
{
    for (int number = 0; number < SUBFOLDERS; number++) {
        walk_folder(disk, root, number, visit, context);
    }
}

struct measure {
    size_t entries;
    size_t bytes;
};

static void
visit_measure(void *context, int folder, const char *name, const struct item *item)
{
    struct measure *measure = context;
    (void)folder;
    (void)name;
    measure->entries += !item->temporary;
    measure->bytes += item->temporary ? 0 : item->size;
}

void
disk_measure(struct disk *disk, size_t *entries, size_t *bytes)
{
    struct measure measure = {0, 0};
    int root = readable(disk) ? root_open(disk) : -1;
    if (root >= 0) {
        walk(disk, root, visit_measure, &measure);
        close(root);
    }
    *entries = measure.entries;
    *bytes = measure.bytes;
}

static void
visit_clear(void *context, int folder, const char *name, const struct item *item)
{
    size_t *removed = context;
    if (unlinkat(folder, name, 0) == 0) {
        *removed += !item->temporary;
    }
}

size_t
disk_clear(struct disk *disk)
{
    size_t removed = 0;
    int root = writable(disk) ? root_open(disk) : -1;
    if (root < 0) {
        return 0;
    }
    walk(disk, root, visit_clear, &removed);
    for (unsigned number = 0; number < SUBFOLDERS; number++) {
        char name[SUBFOLDER_SIZE];
        snprintf(name, sizeof(name), "%02x", number & 0xff);
        unlinkat(root, name, AT_REMOVEDIR); /* one with foreign files in it stays */
    }
    close(root);
    return removed;
}

/* ---- Keeping below the cap ---- */

struct listing {
    struct buffer items; /* struct item */
    uint64_t bytes;
    int64_t stale; /* temporaries last written before this are left-overs */
};

static void
visit_listing(void *context, int folder, const char *name, const struct item *item)
{
    struct listing *listing = context;
    if (!item->temporary) {
        buffer_append(&listing->items, item, sizeof(*item));
        listing->bytes += item->size;
    }
    else if (item->used < listing->stale) {
        unlinkat(folder, name, 0);
    }
}

static int
compare_use(const void *first, const void *second)
{
    const struct item *a = first, *b = second;
    return (a->used > b->used) - (a->used < b->used);
}

/* Returns false where the entry could not be removed. One that another process removed is gone too. */
static bool
entry_remove(struct disk *disk, const uint8_t key[KEY_SIZE])
{
    char name[ENTRY_NAME_SIZE];
    key_hex(key, name);
    int folder = entry_folder(disk, name);
    if (folder < 0) {
        return errno == ENOENT;
    }
    memcpy(name + KEY_HEX_SIZE, ".o", 3);
    bool removed = unlinkat(folder, name, 0) == 0;
    disk->statistics.evictions += removed;
    removed = removed || errno == ENOENT;
    close(folder);
    return removed;
}

/* Removes the entries used longest ago, down to nine tenths of the cap, but not the one just written.
 * Returns the bytes left. */
static uint64_t
evict(struct disk *disk, struct listing *listing, const uint8_t written[KEY_SIZE])
{
    struct item *items = (struct item *)listing->items.data;
    size_t count = listing->items.size / sizeof(*items);
    qsort(items, count, sizeof(*items), compare_use);
    uint64_t bytes = listing->bytes, goal = disk->cap - disk->cap / 10;
    for (size_t i = 0; i < count && bytes > goal; i++) {
        if (memcmp(items[i].key, written, KEY_SIZE) != 0 && entry_remove(disk, items[i].key)) {
            bytes -= items[i].size;
        }
    }
    return bytes;
}

/* The whole cache, estimated from one of its 256 folders: keys are random, so the folders are alike.
 * A full cache is 40,000 files, too many to look at for the one kernel that a short process makes. */
static uint64_t
estimate(struct disk *disk, int root, int number, struct listing *listing)
{
    walk_folder(disk, root, number, visit_listing, listing);
    uint64_t bytes = listing->bytes;
    listing->bytes = 0;
    listing->items.size = 0;
    return bytes > UINT64_MAX / SUBFOLDERS ? UINT64_MAX : bytes * SUBFOLDERS;
}

/* Measures the cache, trims it, and returns how much may be written before the next look: never past
 * the cap, and not much at once, since other processes write too. */
static uint64_t
look(struct disk *disk, int root, const uint8_t written[KEY_SIZE], struct listing *listing)
{
    uint64_t some = disk->cap / 16;
    /* Sampled at an eighth of the cap, the true size is below it, but for 1 in 3,000 of tiny caches. */
    if (estimate(disk, root, written[0], listing) < disk->cap / 8) {
        return some;
    }
    walk(disk, root, visit_listing, listing);
    uint64_t bytes = listing->bytes;
    if (bytes > disk->cap && !listing->items.failed) {
        bytes = evict(disk, listing, written);
    }
    uint64_t room = bytes < disk->cap ? disk->cap - bytes : 0;
    return room < some ? room : some;
}

static void
trim(struct disk *disk, const uint8_t written[KEY_SIZE])
{
    struct listing listing = {.items = BUFFER_INIT};
    listing.stale = ((int64_t)time(NULL) - STALE_SECONDS) * 1000000000;
    int root = root_open(disk);
    if (root < 0) {
        return;
    }
    atomic_store(&disk->allowance, (long long)look(disk, root, written, &listing));
    buffer_free(&listing.items);
    close(root);
}

/* ---- Writing an entry ---- */

/* A file being written: removes itself unless committed. */
struct temporary {
    int folder; /* borrowed */
    int file;
    char name[TEMPORARY_NAME_SIZE]; /* "" once there is none */
};

/* Returns 0 or an errno, as all that follow. */
static int
temporary_open(struct temporary *temporary, int folder, const char *hex)
{
    uint64_t random;
    *temporary = (struct temporary){.folder = folder, .file = -1};
    if (getentropy(&random, sizeof(random)) < 0) {
        return errno;
    }
    snprintf(temporary->name, sizeof(temporary->name), "%s.%016llx.tmp", hex,
             (unsigned long long)random);
    temporary->file = open_at(folder, temporary->name, O_WRONLY | O_CREAT | O_EXCL);
    if (temporary->file < 0) {
        temporary->name[0] = '\0'; /* should it be there, it is another writer's */
        return errno;
    }
    return 0;
}

static int
temporary_write(struct temporary *temporary, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t count = write(temporary->file, bytes, size);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return count < 0 ? errno : EIO;
        }
        bytes += count;
        size -= (size_t)count;
    }
    return 0;
}

/* Renames it to what it was written for. Some file systems tell of a full disk only at close(). */
static int
temporary_commit(struct temporary *temporary, const char *name)
{
    int file = temporary->file;
    mark_used(file);
    temporary->file = -1;
    if (close(file) < 0 && errno != EINTR) {
        return errno;
    }
    int folder = temporary->folder;
    bool done = renameat(folder, temporary->name, folder, name) == 0;
    if (!done && errno == EISDIR && unlinkat(folder, name, AT_REMOVEDIR) == 0) {
        done = renameat(folder, temporary->name, folder, name) == 0;
    }
    if (!done) {
        return errno;
    }
    temporary->name[0] = '\0';
    return 0;
}

static void
temporary_close(struct temporary *temporary)
{
    if (temporary->file >= 0) {
        close(temporary->file);
    }
    if (temporary->name[0] != '\0') {
        unlinkat(temporary->folder, temporary->name, 0);
    }
}

static void
append_length(struct buffer *buffer, uint64_t length)
{
    char bytes[LENGTH_SIZE];
    for (int i = 0; i < LENGTH_SIZE; i++) {
        bytes[i] = (char)(length >> (8 * i));
    }
    buffer_append(buffer, bytes, sizeof(bytes));
}

static void
append_notes(struct buffer *buffer, const struct disk_note *notes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t name_size = strlen(notes[i].name);
        append_length(buffer, name_size);
        buffer_append(buffer, notes[i].name, name_size);
        append_length(buffer, notes[i].size);
        buffer_append(buffer, notes[i].bytes, notes[i].size);
    }
}

/* Appends the footer of an entry whose notes are all that `trailer` holds so far. */
static void
append_footer(struct buffer *trailer, const uint8_t key[KEY_SIZE], const void *object, size_t size)
{
    uint64_t notes_size = trailer->size;
    append_length(trailer, size);
    append_length(trailer, notes_size);
    buffer_append(trailer, key, KEY_SIZE);
    buffer_append(trailer, MAGIC, MAGIC_SIZE);
    struct sha256 sha;
    uint8_t digest[KEY_SIZE];
    sha256_start(&sha);
    sha256_update(&sha, object, size);
    sha256_update(&sha, trailer->data, trailer->size);
    sha256_finish(&sha, digest);
    buffer_append(trailer, digest, KEY_SIZE);
}

/* What stands in an entry's file, in its two parts. */
struct entry {
    const char *object;
    size_t size;
    const struct buffer *trailer;
};

static int
entry_write(int folder, const char *hex, const struct entry *entry)
{
    struct temporary temporary;
    char name[ENTRY_NAME_SIZE];
    snprintf(name, sizeof(name), "%s.o", hex);
    int error = temporary_open(&temporary, folder, hex);
    if (error == 0) {
        error = temporary_write(&temporary, entry->object, entry->size);
    }
    if (error == 0) {
        error = temporary_write(&temporary, entry->trailer->data, entry->trailer->size);
    }
    if (error == 0) {
        error = temporary_commit(&temporary, name);
    }
    temporary_close(&temporary);
    return error;
}

static int
entry_store(struct disk *disk, const uint8_t key[KEY_SIZE], const struct entry *entry)
{
    char hex[KEY_HEX_SIZE + 1];
    key_hex(key, hex);
    int error = ENOENT;
    for (int attempt = 0; attempt < STORE_ATTEMPTS && error == ENOENT; attempt++) {
        int folder = entry_folder_made(disk, hex);
        if (folder < 0) {
            error = errno;
            continue;
        }
        error = entry_write(folder, hex, entry);
        close(folder);
    }
    return error;
}

void
disk_write(struct disk *disk, const uint8_t key[KEY_SIZE], const void *object, size_t size,
           const struct disk_note *notes, size_t note_count)
{
    if (!writable(disk)) {
        return;
    }
    struct buffer trailer = BUFFER_INIT;
    append_notes(&trailer, notes, note_count);
    append_footer(&trailer, key, object, size);
    uint64_t total = (uint64_t)size + trailer.size;
    struct entry entry = {object, size, &trailer};
    if (trailer.failed) {
        disk->statistics.errors++;
    }
    else if (total <= disk->cap && total <= ENTRY_LIMIT) {
        bool stored = entry_store(disk, key, &entry) == 0;
        disk->statistics.writes += stored;
        disk->statistics.errors += !stored;
        if (stored && atomic_fetch_sub(&disk->allowance, (long long)total) < (long long)total) {
            trim(disk, key);
        }
    }
    buffer_free(&trailer);
}
