/* literal.c: what C's literals stand for: numbers, characters, strings. */
#include "literal.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

enum { NUMBER_SIZE = 400 /* bytes: the digits of any double, a suffix and a NUL */ };

/* ---- Integers ---- */

/* The base of the number's digits, which then start at *digits. */
static int
number_base(const char **digits)
{
    const char *text = *digits;
    if (text[0] != '0') {
        return 10;
    }
    if (text[1] == 'x' || text[1] == 'X' || text[1] == 'b' || text[1] == 'B') {
        *digits = text + 2;
        return text[1] == 'x' || text[1] == 'X' ? 16 : 2;
    }
    return 8;
}

/* integer-suffix: u, l and ll in either order and case. */
static bool
read_suffix(const char *text, bool *is_unsigned, bool *is_long)
{
    static const char *const longs[] = {"ll", "LL", "l", "L"};
    *is_unsigned = *is_long = false;
    for (int part = 0; part < 2 && *text != '\0'; part++) {
        if (!*is_unsigned && (*text == 'u' || *text == 'U')) {
            *is_unsigned = true;
            text++;
            continue;
        }
        for (int i = 0; i < 4 && !*is_long; i++) {
            *is_long = strncmp(text, longs[i], strlen(longs[i])) == 0;
            text += *is_long ? strlen(longs[i]) : 0;
        }
    }
    return *text == '\0';
}

/* The first type of C99 6.4.4.1's list that has the value. */
static enum basic_type
integer_type(unsigned long long value, bool decimal, bool is_unsigned, bool is_long)
{
    if (!is_long && !is_unsigned && value <= INT_MAX) {
        return BASIC_INT;
    }
    if (!is_long && (is_unsigned || !decimal) && value <= UINT_MAX) {
        return BASIC_UINT;
    }
    return !is_unsigned && value <= LONG_MAX ? BASIC_LONG : BASIC_ULONG;
}

/* integer-constant:
 *     decimal-constant integer-suffix(opt)
 *     octal-constant integer-suffix(opt)
 *     hexadecimal-constant integer-suffix(opt)
 */
static int
read_integer(const char *text, struct number *number)
{
    const char *digits = text;
    int base = number_base(&digits);
    char *end;
    bool is_unsigned, is_long;
    errno = 0;
    unsigned long long value = strtoull(digits, &end, base);
    if (end == digits || errno != 0 || *digits == '-' || *digits == '+' ||
        !read_suffix(end, &is_unsigned, &is_long)) {
        return -1;
    }
    number->bits = value;
    number->basic = integer_type(value, base == 10, is_unsigned, is_long);
    return 0;
}

/* ---- Floating ---- */

static bool
is_floating(const char *text)
{
    bool hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    return strpbrk(text, hexadecimal ? ".pP" : ".eE") != NULL;
}

/* floating-constant, with a point whatever the locale. */
static int
read_floating(const char *text, struct number *number)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) {
        return -1;
    }
    char *end;
    number->floating = strtod_l(text, &end, plain);
    number->basic = BASIC_DOUBLE;
    if (*end == 'f' || *end == 'F') {
        number->floating = strtof_l(text, NULL, plain);
        number->basic = BASIC_FLOAT;
    }
    freelocale(plain);
    end += strchr("fFlL", *end) != NULL && *end != '\0';
    return end > text && *end == '\0' ? 0 : -1;
}

int
literal_number(const struct token *token, struct number *number)
{
    char text[NUMBER_SIZE];
    *number = (struct number){.basic = BASIC_INT};
    size_t length = parse_spell(token, text, sizeof(text));
    if (length == sizeof(text)) {
        return -1;
    }
    text[length] = '\0';
    return is_floating(text) ? read_floating(text, number) : read_integer(text, number);
}

/* ---- Characters ---- */

/* A literal's characters, without line continuations, as they are read. */
struct characters {
    const char *at, *end;
};

static int
hexadecimal_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Up to `limit` digits of a base. Returns how many there were. */
static int
read_digits(struct characters *characters, int base, int limit, uint32_t *value)
{
    int count = 0;
    for (*value = 0; count < limit && characters->at < characters->end; count++) {
        int digit = hexadecimal_digit(*characters->at);
        if (digit < 0 || digit >= base) {
            break;
        }
        *value = *value * (uint32_t)base + (uint32_t)digit;
        characters->at++;
    }
    return count;
}

/* escape-sequence, behind its backslash. A code point is told by *universal. Returns 0 or -1. */
static int
read_escape(struct characters *characters, uint32_t *value, bool *universal)
{
    static const char escapes[] = "n\nt\tr\rv\vf\fa\ab\be\x1b\\\\''\"\"??";
    if (characters->at == characters->end) {
        return -1;
    }
    char letter = *characters->at;
    if (letter >= '0' && letter <= '7') {
        return read_digits(characters, 8, 3, value) > 0 ? 0 : -1;
    }
    characters->at++;
    if (letter == 'x') {
        return read_digits(characters, 16, INT_MAX, value) > 0 ? 0 : -1;
    }
    if (letter == 'u' || letter == 'U') {
        int digits = letter == 'u' ? 4 : 8;
        *universal = true;
        return read_digits(characters, 16, digits, value) == digits && *value <= 0x10ffff ? 0 : -1;
    }
    for (const char *escape = escapes; *escape != '\0'; escape += 2) {
        if (letter == *escape) {
            *value = (unsigned char)escape[1];
            return 0;
        }
    }
    return -1;
}

/* The spelling of a token without line continuations: "..." or '...', with its prefix. */
static char *
spell(const struct token *token, struct characters *characters)
{
    char *text = malloc(token->length + 1);
    if (text != NULL) {
        size_t length = token_spell(token, text);
        text[length] = '\0';
        *characters = (struct characters){text, text + length};
    }
    return text;
}

/* Steps over the quotes. Returns false where they are not both there. */
static bool
strip_quotes(struct characters *characters, char quote)
{
    bool quoted = characters->end - characters->at >= 2 && characters->at[0] == quote &&
                  characters->end[-1] == quote;
    characters->at += quoted;
    characters->end -= quoted;
    return quoted;
}

/* c-char-sequence of one character. */
static int
read_character(struct characters *characters, bool wide, struct number *number)
{
    uint32_t value;
    bool universal = false;
    if (!strip_quotes(characters, '\'') || characters->at == characters->end) {
        return -1;
    }
    if (*characters->at == '\\') {
        characters->at++;
        if (read_escape(characters, &value, &universal) < 0) {
            return -1;
        }
    }
    else {
        value = (unsigned char)*characters->at++;
        universal = value >= 0x80; /* more than one character */
    }
    if (characters->at != characters->end || universal || (!wide && value > UCHAR_MAX)) {
        return -1;
    }
    int64_t result = wide ? (int32_t)value : (char)value;
    *number = (struct number){.basic = BASIC_INT, .bits = (unsigned long long)result};
    return 0;
}

int
literal_character(const struct token *token, struct number *number)
{
    struct characters characters;
    char *text = spell(token, &characters);
    if (text == NULL) {
        return -1;
    }
    bool wide = text[0] == 'L';
    characters.at += wide;
    int result = read_character(&characters, wide, number);
    free(text);
    return result;
}

/* ---- Strings ---- */

static void
append_utf8(struct buffer *bytes, uint32_t point)
{
    unsigned char encoded[4];
    size_t count = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = count; i-- > 1; point >>= 6) {
        encoded[i] = (unsigned char)(0x80 | (point & 0x3f));
    }
    encoded[0] = (unsigned char)(marks[count] | point);
    buffer_append(bytes, encoded, count);
}

static int
append_characters(struct characters *characters, struct buffer *bytes)
{
    while (characters->at < characters->end) {
        uint32_t value;
        bool universal = false;
        if (*characters->at != '\\') {
            buffer_append(bytes, characters->at++, 1);
            continue;
        }
        characters->at++;
        if (read_escape(characters, &value, &universal) < 0) {
            return -1;
        }
        if (universal) {
            append_utf8(bytes, value);
        }
        else {
            unsigned char byte = (unsigned char)value;
            buffer_append(bytes, &byte, 1);
        }
    }
    return 0;
}

int
literal_string(const struct token *token, struct buffer *bytes)
{
    struct characters characters;
    char *text = spell(token, &characters);
    if (text == NULL) {
        bytes->failed = true;
        return 0;
    }
    int result = strip_quotes(&characters, '"') ? append_characters(&characters, bytes) : -1;
    free(text);
    return result;
}
