/* comment.c: the comment above a declaration, in its source's text.
 *
 * The text is walked through from its start, since only so is it known what is a comment and what a string;
 * each search goes on where the last one ended.
 */
#include <string.h>

#include "parse.h"

static char
character_at(const struct comment_walk *walk, size_t at)
{
    return at < walk->source->length ? walk->source->text[at] : '\0';
}

static void
step(struct comment_walk *walk)
{
    if (walk->source->text[walk->at++] == '\n') {
        walk->line++;
    }
}

/* Bytes of a backslash and the line end behind it; else 0. */
static size_t
continuation(const struct comment_walk *walk)
{
    if (character_at(walk, walk->at) != '\\') {
        return 0;
    }
    size_t next = walk->at + (character_at(walk, walk->at + 1) == '\r' ? 2 : 1);
    return character_at(walk, next) == '\n' ? next + 1 - walk->at : 0;
}

static void
skip_continuation(struct comment_walk *walk)
{
    for (size_t size = continuation(walk); size > 0; size--) {
        step(walk);
    }
}

/* To the end of the line, joined lines being one. */
static void
skip_line(struct comment_walk *walk)
{
    while (walk->at < walk->source->length && character_at(walk, walk->at) != '\n') {
        if (continuation(walk) > 0) {
            skip_continuation(walk);
        }
        else {
            step(walk);
        }
    }
}

static void
note_comment(struct comment_walk *walk, size_t start, bool is_line)
{
    bool clean = !walk->dirty;
    bool goes_on = clean && is_line && walk->found && walk->is_line;
    if (!goes_on) {
        walk->start = start;
    }
    walk->found = clean;
    walk->is_line = is_line;
    walk->end = walk->at;
    while (is_line && walk->end > walk->start && walk->source->text[walk->end - 1] == '\r') {
        walk->end--;
    }
    walk->breaks = 0;
    walk->dirty = true;
}

static void
skip_line_comment(struct comment_walk *walk)
{
    size_t start = walk->at;
    skip_line(walk);
    note_comment(walk, start, true);
}

static void
skip_block_comment(struct comment_walk *walk)
{
    size_t start = walk->at;
    step(walk);
    step(walk);
    while (walk->at < walk->source->length &&
           !(character_at(walk, walk->at) == '*' && character_at(walk, walk->at + 1) == '/')) {
        step(walk);
    }
    for (int i = 0; i < 2 && walk->at < walk->source->length; i++) {
        step(walk);
    }
    note_comment(walk, start, false);
}

static void
note_other(struct comment_walk *walk)
{
    walk->dirty = true;
    walk->found = false;
}

/* A string or a character; prose with an apostrophe ends with its line. */
static void
skip_quoted(struct comment_walk *walk)
{
    char quote = character_at(walk, walk->at);
    note_other(walk);
    step(walk);
    while (walk->at < walk->source->length && character_at(walk, walk->at) != '\n') {
        char c = character_at(walk, walk->at);
        if (continuation(walk) > 0) {
            skip_continuation(walk);
            continue;
        }
        step(walk);
        if (c == quote) {
            return;
        }
        if (c == '\\' && character_at(walk, walk->at) != '\n' && walk->at < walk->source->length) {
            step(walk);
        }
    }
}

static void
note_line_end(struct comment_walk *walk)
{
    step(walk);
    walk->dirty = false;
    walk->breaks++;
    walk->found = walk->found && walk->breaks <= 1;
}

static void
walk_on(struct comment_walk *walk)
{
    char c = character_at(walk, walk->at);
    char next = character_at(walk, walk->at + 1);
    if (c == '\n') {
        note_line_end(walk);
    }
    else if (c == '/' && next == '/') {
        skip_line_comment(walk);
    }
    else if (c == '/' && next == '*') {
        skip_block_comment(walk);
    }
    else if (c == '"' || c == '\'') {
        skip_quoted(walk);
    }
    else if (strchr(" \t\r\v\f", c) == NULL) {
        note_other(walk);
        step(walk);
    }
    else {
        step(walk);
    }
}

/* The token's offset in the source's text if it starts a place of its column there; else -1. */
static ptrdiff_t
find_offset(const struct source *source, const struct token *token)
{
    if (token->start < source->text || token->start >= source->text + source->length) {
        return -1;
    }
    ptrdiff_t offset = token->start - source->text;
    ptrdiff_t line = offset - (token->column - 1);
    bool starts = line == 0 || (line > 0 && source->text[line - 1] == '\n');
    return starts ? offset : -1;
}

void
comment_find(struct comment_walk *walk, const struct source *source,
             struct declaration *declaration)
{
    ptrdiff_t offset = find_offset(source, declaration->first);
    if (offset < 0) {
        return;
    }
    if (walk->source != source || walk->at > (size_t)offset) {
        *walk = (struct comment_walk){.source = source, .line = 1};
    }
    while (walk->at < (size_t)offset) {
        walk_on(walk);
    }
    /* another line: the token is spelled in a macro's body, its place is that of the macro's use */
    if (walk->found && walk->at == (size_t)offset && walk->line == declaration->first->line) {
        declaration->comment = source->text + walk->start;
        declaration->comment_length = walk->end - walk->start;
    }
}
