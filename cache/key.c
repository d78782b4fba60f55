/* key.c: SHA-256 as in FIPS 180-4, and the fields of a key. */
#include "key.h"

#include <string.h>

#define BLOCK_SIZE 64

/* FIPS 180-4, 4.2.2: the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t
rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static inline uint32_t
load_big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void
store_big_endian(uint8_t *p, uint32_t x)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(x >> (24 - 8 * i));
    }
}

/* 6.2.2 step 1: the message schedule. */
static inline void
expand(uint32_t w[64], const uint8_t *block)
{
    for (int t = 0; t < 16; t++) {
        w[t] = load_big_endian(block + 4 * t);
    }
    for (int t = 16; t < 64; t++) {
        uint32_t x = w[t - 15], y = w[t - 2];
        w[t] = (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + w[t - 7] +
               (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10) + w[t - 16];
    }
}

/* 6.2.2 step 3 with the variables renamed instead of moved: eight rounds bring them back in order. */
#define ROUND(a, b, c, d, e, f, g, h, t)                                                           \
    do {                                                                                           \
        h += (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) +                \
             round_constants[t] + w[t];                                                            \
        d += h;                                                                                    \
        h += (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));           \
    } while (0)

static void
compress(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64];
    expand(w, block);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 64; t += 8) {
        ROUND(a, b, c, d, e, f, g, h, t);
        ROUND(h, a, b, c, d, e, f, g, t + 1);
        ROUND(g, h, a, b, c, d, e, f, t + 2);
        ROUND(f, g, h, a, b, c, d, e, t + 3);
        ROUND(e, f, g, h, a, b, c, d, t + 4);
        ROUND(d, e, f, g, h, a, b, c, t + 5);
        ROUND(c, d, e, f, g, h, a, b, t + 6);
        ROUND(b, c, d, e, f, g, h, a, t + 7);
    }
    const uint32_t sum[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) {
        state[i] += sum[i];
    }
}

void
sha256_start(struct sha256 *sha)
{
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(sha->state, initial, sizeof(initial));
    sha->length = 0;
}

void
sha256_update(struct sha256 *sha, const void *bytes, size_t size)
{
    if (size == 0) {
        return; /* `bytes` may be NULL */
    }
    const uint8_t *next = bytes;
    size_t filled = sha->length % BLOCK_SIZE;
    sha->length += size;
    if (filled > 0) {
        size_t part = size < BLOCK_SIZE - filled ? size : BLOCK_SIZE - filled;
        memcpy(sha->block + filled, next, part);
        if (filled + part < BLOCK_SIZE) {
            return;
        }
        compress(sha->state, sha->block);
        next += part;
        size -= part;
    }
    for (; size >= BLOCK_SIZE; size -= BLOCK_SIZE, next += BLOCK_SIZE) {
        compress(sha->state, next);
    }
    memcpy(sha->block, next, size);
}

void
sha256_finish(struct sha256 *sha, uint8_t digest[KEY_SIZE])
{
    static const uint8_t padding[BLOCK_SIZE] = {0x80};
    uint64_t bits = sha->length * 8;
    uint8_t length[8];
    store_big_endian(length, (uint32_t)(bits >> 32));
    store_big_endian(length + 4, (uint32_t)bits);
    /* One byte 0x80, then zeros up to 8 bytes before the end of a block. */
    sha256_update(sha, padding, 1 + (2 * BLOCK_SIZE - 9 - sha->length % BLOCK_SIZE) % BLOCK_SIZE);
    sha256_update(sha, length, sizeof(length));
    for (int i = 0; i < 8; i++) {
        store_big_endian(digest + 4 * i, sha->state[i]);
    }
}

static void
update_length(struct sha256 *sha, uint64_t length)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(length >> (8 * i));
    }
    sha256_update(sha, bytes, sizeof(bytes));
}

void
key_field(struct sha256 *sha, const char *name, const void *bytes, size_t size)
{
    size_t name_size = strlen(name);
    update_length(sha, name_size);
    sha256_update(sha, name, name_size);
    update_length(sha, size);
    sha256_update(sha, bytes, size);
}

void
key_hex(const uint8_t key[KEY_SIZE], char hex[KEY_HEX_SIZE + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < KEY_SIZE; i++) {
        hex[2 * i] = digits[key[i] >> 4];
        hex[2 * i + 1] = digits[key[i] & 15];
    }
    hex[KEY_HEX_SIZE] = '\0';
}
