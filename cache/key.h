/* key.h: the cache's key, SHA-256 over length-prefixed fields. */
#ifndef TINYWEAVE_KEY_H
#define TINYWEAVE_KEY_H

#include <stddef.h>
#include <stdint.h>

#define KEY_SIZE 32
#define KEY_HEX_SIZE (2 * KEY_SIZE)

/* SHA-256 (FIPS 180-4), also used as the checksum of an entry on disk. */
struct sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    uint8_t block[64];
};

void sha256_start(struct sha256 *sha);
void sha256_update(struct sha256 *sha, const void *bytes, size_t size);
void sha256_finish(struct sha256 *sha, uint8_t digest[KEY_SIZE]);

/* Adds one field: its name and its bytes, each behind its length as 8 bytes, little-endian. So no two
 * different lists of fields have the same bytes. */
void key_field(struct sha256 *sha, const char *name, const void *bytes, size_t size);

/* Writes 64 lower-case hexadecimal digits and a NUL. */
void key_hex(const uint8_t key[KEY_SIZE], char hex[KEY_HEX_SIZE + 1]);

#endif
