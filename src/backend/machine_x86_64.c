/* machine_x86_64.c: relocations and stubs of x86-64 ("System V ABI, AMD64 supplement", section 4.4). */
#include "machine.h"

#include <elf.h>
#include <string.h>

const uint16_t machine_elf = EM_X86_64;
const char machine_name[] = "x86-64";
const size_t machine_stub_size = 8;

/* RELOCATION(name, width, use, range); numbers are those of elf.h. */
#define RELOCATIONS(RELOCATION, REFUSED)                                                           \
    RELOCATION(R_X86_64_NONE, 0, NOTHING, ANY)                                                     \
    RELOCATION(R_X86_64_64, 8, ABSOLUTE, ANY)                                                      \
    RELOCATION(R_X86_64_32, 4, ABSOLUTE, UNSIGNED)                                                 \
    RELOCATION(R_X86_64_32S, 4, ABSOLUTE, SIGNED)                                                  \
    RELOCATION(R_X86_64_PC32, 4, RELATIVE, SIGNED)                                                 \
    RELOCATION(R_X86_64_PC64, 8, RELATIVE, ANY)                                                    \
    RELOCATION(R_X86_64_PLT32, 4, CALL, SIGNED)                                                    \
    RELOCATION(R_X86_64_GOTPCREL, 4, GOT, SIGNED)                                                  \
    RELOCATION(R_X86_64_GOTPCRELX, 4, GOT, SIGNED)                                                 \
    RELOCATION(R_X86_64_REX_GOTPCRELX, 4, GOT, SIGNED)                                             \
    REFUSED(R_X86_64_GOT32)                                                                        \
    REFUSED(R_X86_64_COPY)                                                                         \
    REFUSED(R_X86_64_GLOB_DAT)                                                                     \
    REFUSED(R_X86_64_JUMP_SLOT)                                                                    \
    REFUSED(R_X86_64_RELATIVE)                                                                     \
    REFUSED(R_X86_64_16)                                                                           \
    REFUSED(R_X86_64_PC16)                                                                         \
    REFUSED(R_X86_64_8)                                                                            \
    REFUSED(R_X86_64_PC8)                                                                          \
    REFUSED(R_X86_64_DTPMOD64)                                                                     \
    REFUSED(R_X86_64_DTPOFF64)                                                                     \
    REFUSED(R_X86_64_TPOFF64)                                                                      \
    REFUSED(R_X86_64_TLSGD)                                                                        \
    REFUSED(R_X86_64_TLSLD)                                                                        \
    REFUSED(R_X86_64_DTPOFF32)                                                                     \
    REFUSED(R_X86_64_GOTTPOFF)                                                                     \
    REFUSED(R_X86_64_TPOFF32)                                                                      \
    REFUSED(R_X86_64_GOTOFF64)                                                                     \
    REFUSED(R_X86_64_GOTPC32)                                                                      \
    REFUSED(R_X86_64_GOT64)                                                                        \
    REFUSED(R_X86_64_GOTPCREL64)                                                                   \
    REFUSED(R_X86_64_GOTPC64)                                                                      \
    REFUSED(R_X86_64_GOTPLT64)                                                                     \
    REFUSED(R_X86_64_PLTOFF64)                                                                     \
    REFUSED(R_X86_64_SIZE32)                                                                       \
    REFUSED(R_X86_64_SIZE64)                                                                       \
    REFUSED(R_X86_64_GOTPC32_TLSDESC)                                                              \
    REFUSED(R_X86_64_TLSDESC_CALL)                                                                 \
    REFUSED(R_X86_64_TLSDESC)                                                                      \
    REFUSED(R_X86_64_IRELATIVE)                                                                    \
    REFUSED(R_X86_64_RELATIVE64)

#define TABLE_ENTRY(name, width, use, range)                                                       \
    [name] = {#name, width, RELOCATION_##use, RANGE_##range},
#define TABLE_REFUSED(name) [name] = {#name, 0, RELOCATION_REFUSED, RANGE_ANY},

static const struct relocation_type types[] = {RELOCATIONS(TABLE_ENTRY, TABLE_REFUSED)};

const struct relocation_type *
machine_relocation(uint32_t number)
{
    if (number >= sizeof(types) / sizeof(types[0]) || types[number].name == NULL) {
        return NULL;
    }
    return &types[number];
}

/* call rel32 (e8), jmp rel32 (e9), and jcc rel32 (0f 80 to 0f 8f). An operand relative to the
 * instruction pointer follows a ModRM byte of the form 00xxx101, which is none of these. */
bool
machine_is_call(const unsigned char *code, uint64_t offset)
{
    if (offset >= 1 && (code[offset - 1] == 0xe8 || code[offset - 1] == 0xe9)) {
        return true;
    }
    return offset >= 2 && code[offset - 2] == 0x0f && (code[offset - 1] & 0xf0) == 0x80;
}

static bool
in_range(enum relocation_range range, uint64_t value)
{
    switch (range) {
    case RANGE_SIGNED:
        return value + 0x80000000u <= UINT32_MAX;
    case RANGE_UNSIGNED:
        return value <= UINT32_MAX;
    case RANGE_ANY:
        break;
    }
    return true;
}

bool
machine_relocate(const struct relocation_type *type, uint8_t *place, uint64_t value)
{
    if (!in_range(type->range, value)) {
        return false;
    }
    memcpy(place, &value, type->width); /* the processor is little-endian, as we are */
    return true;
}

/* jmp *slot(%rip); ud2 */
void
machine_stub(uint8_t *write, const uint8_t *run, const uint8_t *slot)
{
    static const uint8_t code[8] = {0xff, 0x25, 0, 0, 0, 0, 0x0f, 0x0b};
    int32_t displacement = (int32_t)(slot - (run + 6));
    memcpy(write, code, sizeof(code));
    memcpy(write + 2, &displacement, sizeof(displacement));
}
