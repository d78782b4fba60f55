/* machine.h: what the loader has to know of the processor. machine_x86_64.c is the first of its kind. */
#ifndef TINYWEAVE_MACHINE_H
#define TINYWEAVE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a relocation stores at its place P, for a symbol at S and an addend A. */
enum relocation_use {
    RELOCATION_NOTHING,
    RELOCATION_ABSOLUTE, /* S + A */
    RELOCATION_RELATIVE, /* S + A - P */
    RELOCATION_CALL,     /* S + A - P, or the same by way of a stub where that is too far */
    RELOCATION_GOT,      /* G + A - P, with S stored at G */
    RELOCATION_REFUSED,
};

enum relocation_range { RANGE_ANY, RANGE_SIGNED, RANGE_UNSIGNED };

struct relocation_type {
    const char *name; /* "R_X86_64_PC32"; NULL: a number that means nothing */
    uint8_t width;    /* bytes at the place */
    enum relocation_use use;
    enum relocation_range range;
};

extern const uint16_t machine_elf; /* e_machine of its objects */
extern const char machine_name[];  /* for messages */

/* Bytes of one stub, a multiple of 8. */
extern const size_t machine_stub_size;

/* The type with that number, or NULL: not known. */
const struct relocation_type *machine_relocation(uint32_t number);

/* Is the place `offset` bytes into a section of code the target of a call or a jump? Assemblers of
 * old use the same relocation for these and for data. */
bool machine_is_call(const unsigned char *code, uint64_t offset);

/* Stores a value at a place. Returns false when it is out of the type's range. */
bool machine_relocate(const struct relocation_type *type, uint8_t *place, uint64_t value);

/* Writes a stub that will run at `run` and jumps to the address stored at `slot`, at most 2 GiB away. */
void machine_stub(uint8_t *write, const uint8_t *run, const uint8_t *slot);

#endif
