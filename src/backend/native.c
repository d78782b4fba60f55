/* native.c: the machine's own C compiler: found, run, and made to write a shared library. */
#include "native.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char *const VARIABLES[] = {"TINYWEAVE_CC", "CC"};
static const char *const PROGRAMS[] = {"cc", "gcc", "clang"};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static int
out_of_memory(struct problem *problem)
{
    return problem_set(problem, PROBLEM_MEMORY, "out of memory");
}

static int
append(struct strings *strings, const char *string)
{
    return strings_append(strings, string, strlen(string));
}

static int
append_all(struct strings *strings, const struct strings *more)
{
    for (size_t i = 0; i < more->count; i++) {
        if (append(strings, more->items[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- Finding ---- */

static bool
is_program(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

/* Writes the path of a program: as it is where it has a slash, else of the first folder of PATH that has it. */
static bool
find_program(const char *name, char path[PATH_MAX])
{
    if (strchr(name, '/') != NULL) {
        return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX && is_program(path);
    }
    const char *folders = getenv("PATH");
    while (folders != NULL && *folders != '\0') {
        size_t length = strcspn(folders, ":");
        if (length > 0 && /* an empty folder would be the one we happen to stand in */
            snprintf(path, PATH_MAX, "%.*s/%s", (int)length, folders, name) < PATH_MAX &&
            is_program(path)) {
            return true;
        }
        folders += length + (folders[length] == ':');
    }
    return false;
}

/* Reads one word, quoted as a shell would want it, into `word`. Returns what follows it, or NULL at the end. */
static const char *
read_word(const char *text, struct buffer *word)
{
    char quote = '\0';
    while (isspace((unsigned char)*text)) {
        text++;
    }
    if (*text == '\0') {
        return NULL;
    }
    for (; *text != '\0' && (quote != '\0' || !isspace((unsigned char)*text)); text++) {
        if (*text == quote) {
            quote = '\0';
        }
        else if (quote == '\0' && (*text == '"' || *text == '\'')) {
            quote = *text;
        }
        else {
            text += *text == '\\' && quote != '\'' && text[1] != '\0';
            buffer_append(word, text, 1);
        }
    }
    return text;
}

/* "gcc -m64" -> its words. */
static int
split_words(const char *text, struct strings *words)
{
    int result = 0;
    while (text != NULL && result == 0) {
        struct buffer word = BUFFER_INIT;
        text = read_word(text, &word);
        if (text != NULL) {
            result = word.failed ? -1 : append(words, word.size ? word.data : "");
        }
        buffer_free(&word);
    }
    return result;
}

/* Puts the path of the program in the place of its name. */
static int
resolve(struct strings *words)
{
    char path[PATH_MAX];
    if (words->count == 0 || !find_program(words->items[0], path)) {
        return 1;
    }
    char *copy = strdup(path);
    if (copy == NULL) {
        return -1;
    }
    free(words->items[0]);
    words->items[0] = copy;
    return 0;
}

/* Takes a command that somebody named; `origin` says who. A path with a blank in it is a command too. */
static int
take_named(const char *text, const char *origin, struct strings *command, struct problem *problem)
{
    int result = is_program(text) ? append(command, text) : split_words(text, command);
    result = result < 0 ? -1 : resolve(command);
    if (result > 0) {
        return problem_set(problem, PROBLEM_SYSTEM,
                           "no C compiler: %s is '%s', and there is no such program%s", origin,
                           text, strchr(text, '/') == NULL ? " on PATH" : "");
    }
    return result < 0 ? out_of_memory(problem) : 0;
}

static int
report_none(struct problem *problem)
{
    const char *path = getenv("PATH");
    return problem_set(problem, PROBLEM_SYSTEM,
                       "no C compiler: TINYWEAVE_CC and CC are not set, none of cc, gcc and clang "
                       "is on PATH (%s), and the package ziglang is not installed",
                       path == NULL ? "not set" : path);
}

static int
find_command(const char *named, const struct strings *last, struct strings *command,
             struct problem *problem)
{
    char path[PATH_MAX];
    if (named != NULL) {
        return take_named(named, "the one asked for", command, problem);
    }
    for (size_t i = 0; i < COUNT(VARIABLES); i++) {
        const char *text = getenv(VARIABLES[i]);
        if (text != NULL && text[strspn(text, " \t")] != '\0') {
            return take_named(text, VARIABLES[i], command, problem);
        }
    }
    for (size_t i = 0; i < COUNT(PROGRAMS); i++) {
        if (find_program(PROGRAMS[i], path)) {
            return append(command, path) < 0 ? out_of_memory(problem) : 0;
        }
    }
    if (last->count == 0) {
        return report_none(problem);
    }
    return append_all(command, last) < 0 ? out_of_memory(problem) : 0;
}

/* This process's environment, but for what translates messages. */
static int
copy_environment(struct strings *environment)
{
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, "LC_ALL=", 7) != 0 && strncmp(*entry, "LANGUAGE=", 9) != 0 &&
            append(environment, *entry) < 0) {
            return -1;
        }
    }
    return append(environment, "LC_ALL=C");
}

int
native_find(const char *named, const struct strings *last, struct native *native,
            struct problem *problem)
{
    *native = (struct native){0};
    if (find_command(named, last, &native->command, problem) < 0) {
        return -1;
    }
    return copy_environment(&native->environment) < 0 ? out_of_memory(problem) : 0;
}

void
native_free(struct native *native)
{
    strings_free(&native->command);
    strings_free(&native->environment);
}

/* ---- Running ---- */

/* As posix_spawn wants strings: ended by NULL. The strings stay the owner's. */
static char **
make_vector(const struct strings *first, const struct strings *second)
{
    size_t more = second == NULL ? 0 : second->count;
    char **vector = malloc((first->count + more + 1) * sizeof(*vector));
    if (vector == NULL) {
        return NULL;
    }
    memcpy(vector, first->items, first->count * sizeof(*vector));
    if (more > 0) {
        memcpy(vector + first->count, second->items, more * sizeof(*vector));
    }
    vector[first->count + more] = NULL;
    return vector;
}

/* A child with nothing to read, both outputs in the pipe, and signals as a shell would leave them: a compiler
 * that inherits an ignored SIGCHLD cannot wait for its own parts. Returns 0 or an errno. */
static int
spawn(char *const *arguments, char *const *environment, int output, pid_t *child)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGCHLD);
    sigaddset(&defaults, SIGPIPE);
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) {
        return error;
    }
    error = posix_spawnattr_init(&attributes);
    if (error != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return error;
    }
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    if ((error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)) == 0 &&
        (error = posix_spawn_file_actions_adddup2(&actions, output, 1)) == 0 &&
        (error = posix_spawn_file_actions_adddup2(&actions, output, 2)) == 0) {
        error = posix_spawn(child, arguments[0], &actions, &attributes, arguments, environment);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

/* Reads to the end, also when there is no memory left for what comes: the child must not wait for us. */
static void
read_all(int file, struct buffer *messages)
{
    char bytes[4096];
    ssize_t size;
    while ((size = read(file, bytes, sizeof(bytes))) != 0) {
        if (size > 0) {
            buffer_append(messages, bytes, (size_t)size);
        }
        else if (errno != EINTR) {
            break;
        }
    }
}

static int
judge(int status, const char *program, const struct buffer *messages, struct problem *problem)
{
    if (messages->failed) {
        return out_of_memory(problem);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return 0;
    }
    if (WIFSIGNALED(status)) {
        return problem_set(problem, PROBLEM_SYSTEM, "the C compiler %s was ended by signal %d",
                           program, WTERMSIG(status));
    }
    if (messages->size == 0) {
        return problem_set(problem, PROBLEM_COMPILE, "the C compiler %s failed with status %d",
                           program, WEXITSTATUS(status));
    }
    return problem_set(problem, PROBLEM_COMPILE, "%s", messages->data);
}

static int
wait_for(pid_t child, const char *program, const struct buffer *messages, struct problem *problem)
{
    int status;
    pid_t ended;
    while ((ended = waitpid(child, &status, 0)) < 0 && errno == EINTR) {
    }
    if (ended < 0) { /* SIGCHLD is ignored in this process, or somebody waits for all children */
        return problem_set(problem, PROBLEM_SYSTEM, "how the C compiler %s ended is not known: %s",
                           program, strerror(errno));
    }
    return judge(status, program, messages, problem);
}

static int
run_vectors(char *const *arguments, char *const *environment, struct buffer *messages,
            struct problem *problem)
{
    int ends[2];
    pid_t child;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return problem_set(problem, PROBLEM_SYSTEM, "no pipe for the C compiler: %s",
                           strerror(errno));
    }
    int error = spawn(arguments, environment, ends[1], &child);
    close(ends[1]);
    if (error == 0) {
        read_all(ends[0], messages);
    }
    close(ends[0]);
    if (error != 0) {
        return problem_set(problem, PROBLEM_SYSTEM, "cannot run the C compiler %s: %s",
                           arguments[0], strerror(error));
    }
    return wait_for(child, arguments[0], messages, problem);
}

int
native_run(const struct native *native, const struct strings *arguments, struct buffer *messages,
           struct problem *problem)
{
    char **words = make_vector(&native->command, arguments);
    char **environment = make_vector(&native->environment, NULL);
    int result = words == NULL || environment == NULL
                     ? out_of_memory(problem)
                     : run_vectors(words, environment, messages, problem);
    free(words);
    free(environment);
    return result;
}

/* ---- A shared library ---- */

static int
list_arguments(const struct native_library *library, const char *output, struct strings *arguments)
{
    static const char *const first[] = {"-shared", "-fPIC", "-O2"};
    for (size_t i = 0; i < COUNT(first); i++) {
        if (append(arguments, first[i]) < 0) {
            return -1;
        }
    }
    return append_all(arguments, &library->compile_arguments) < 0 ||
                   append_all(arguments, &library->sources) < 0 || append(arguments, "-o") < 0 ||
                   append(arguments, output) < 0 ||
                   append_all(arguments, &library->link_arguments) < 0
               ? -1
               : 0;
}

/* Makes a folder beside `output`, on the same disk, and the path of the new library in it. A file of our own
 * making would not have the permissions the linker gives. */
static int
make_temporary(const char *output, struct buffer *folder, struct buffer *path,
               struct problem *problem)
{
    buffer_printf(folder, "%s.XXXXXX", output);
    if (folder->failed) {
        return out_of_memory(problem);
    }
    if (mkdtemp(folder->data) == NULL) {
        return problem_set(problem, PROBLEM_SYSTEM, "cannot write '%s': %s", output,
                           strerror(errno));
    }
    buffer_printf(path, "%s/library", folder->data);
    return path->failed ? out_of_memory(problem) : 0;
}

static int
build_beside(const struct native *native, const struct native_library *library,
             const char *temporary, struct buffer *messages, struct problem *problem)
{
    struct strings arguments = {NULL, 0};
    int result = list_arguments(library, temporary, &arguments) < 0
                     ? out_of_memory(problem)
                     : native_run(native, &arguments, messages, problem);
    strings_free(&arguments);
    if (result == 0 && rename(temporary, library->output) < 0) {
        result = problem_set(problem, PROBLEM_SYSTEM, "cannot write '%s': %s", library->output,
                             strerror(errno));
    }
    return result;
}

int
native_build(const struct native *native, const struct native_library *library,
             struct buffer *messages, struct problem *problem)
{
    struct buffer folder = BUFFER_INIT, path = BUFFER_INIT;
    int result = make_temporary(library->output, &folder, &path, problem);
    if (result == 0) {
        result = build_beside(native, library, path.data, messages, problem);
    }
    if (path.size > 0) {
        unlink(path.data); /* it is still there when something failed */
        rmdir(folder.data);
    }
    buffer_free(&folder);
    buffer_free(&path);
    return result;
}

/* ---- Messages ---- */

/* Reads the number in front of `end` and moves `end` to the ':' before it; 0 where there is none. */
static int
number_before(const char *start, const char **end)
{
    const char *digit = *end;
    while (digit > start && isdigit((unsigned char)digit[-1])) {
        digit--;
    }
    if (digit == *end || digit == start || digit[-1] != ':') {
        return 0;
    }
    *end = digit - 1;
    return atoi(digit);
}

/* "x.c:3:5", or without the column */
static void
read_place(const char *start, const char *end, struct native_error *error)
{
    int last = number_before(start, &end);
    int first = last == 0 ? 0 : number_before(start, &end);
    error->line = first != 0 ? first : last;
    error->column = first != 0 ? last : 0;
    error->file = start;
    error->file_length = last == 0 ? 0 : (size_t)(end - start);
}

/* Finds ": error: " or ": fatal error: " in a line; `text`: what follows. */
static const char *
find_mark(const char *line, size_t length, const char **text)
{
    static const char *const marks[] = {": error: ", ": fatal error: "};
    for (size_t i = 0; i < COUNT(marks); i++) {
        const char *mark = memmem(line, length, marks[i], strlen(marks[i]));
        if (mark != NULL) {
            *text = mark + strlen(marks[i]);
            return mark;
        }
    }
    return NULL;
}

int
native_first_error(const char *messages, struct native_error *error)
{
    *error = (struct native_error){0};
    while (*messages != '\0') {
        size_t length = strcspn(messages, "\n");
        const char *mark = find_mark(messages, length, &error->text);
        if (mark != NULL) {
            error->text_length = (size_t)(messages + length - error->text);
            read_place(messages, mark, error);
            return 0;
        }
        messages += length + (messages[length] == '\n');
    }
    return -1;
}
