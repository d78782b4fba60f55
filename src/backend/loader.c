/* loader.c: our small linker: ELF64 relocatable objects become code in memory.
 *
 * image_load goes through these steps, each a section of this file:
 *   read      sections and symbols, all of them checked; globals of one name become one symbol
 *   scan      relocations, checked; what is used, and which symbols need a GOT slot or a stub
 *   resolve   what the objects do not define
 *   lay out   sections, GOT, stubs and commons, in a fresh block
 *   write     contents, slots, stubs, relocations
 *   export    a table of the globals
 *
 * The code region of a block holds, in this order: sections to run or to read, GOT, stubs; the data
 * region: sections to write or without contents, common symbols.
 */
#include "loader.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "../buffer.h"
#include "machine.h"

/* A page: what mappings are aligned to anywhere. */
#define MAX_ALIGNMENT 4096u

/* No section or symbol can be larger: code reaches no further. */
#define MAX_SIZE ((uint64_t)1 << 31)

#define NAME "%.100s" /* of a section or a symbol in a message: it may be of any length */

/* Flags that change nothing for us, or that we act on. Others might. */
#define KNOWN_FLAGS                                                                                \
    (SHF_WRITE | SHF_ALLOC | SHF_EXECINSTR | SHF_MERGE | SHF_STRINGS | SHF_INFO_LINK |             \
     SHF_LINK_ORDER | SHF_GROUP | SHF_TLS | 0x200000 /* SHF_GNU_RETAIN */ |                        \
     0x10000000 /* SHF_X86_64_LARGE */)

enum placement { NOT_LOADED, IN_CODE, IN_DATA };

struct section {
    Elf64_Shdr header;
    const char *name;
    enum placement placement;
    uint64_t offset; /* in its region */
};

/* What is known of a name; when two objects know something, the higher one counts. */
enum definition { UNDEFINED_WEAK, UNDEFINED, DEFINED_WEAK, COMMON, DEFINED };

struct symbol {
    const char *name;
    struct symbol *canonical;      /* the one that stands for all globals of this name, or itself */
    const struct section *section; /* where it is defined; NULL: nowhere, absolute, or common */
    uint64_t value; /* within the section or, of a common, within the data; absolute */
    uint64_t size;
    uint64_t alignment; /* of a common */
    uint64_t address;   /* once that is known */
    uint32_t hash;
    uint32_t slot; /* in the GOT, from 1; 0: none */
    uint32_t stub; /* likewise */
    enum definition definition;
    unsigned char type;
    bool local;
    bool used; /* by a relocation of a section that is loaded */
};

struct input {
    struct object object;
    Elf64_Ehdr header;
    struct section *sections;
    uint32_t symbol_section; /* 0: none */
    struct symbol *symbols;
    size_t symbol_count;
};

struct link {
    struct code_heap *heap;
    struct problem *problem;
    struct input *inputs;
    size_t input_count;
    struct section *sections;
    struct symbol *symbols;
    size_t symbol_count;
    struct symbol **table; /* globals by name: open addressing */
    size_t table_mask;
    uint32_t slots;
    uint32_t stubs;
    uint64_t code_size;
    uint64_t data_size;
    uint64_t code_alignment;
    uint64_t data_alignment;
    uint64_t got_offset;
    uint64_t stub_offset;
    struct code_block block;
    uint8_t *run; /* the block's regions, aligned */
    uint8_t *write;
    uint8_t *data;
};

struct export
{
    const char *name; /* in the image's own memory */
    void *address;
    size_t size;
    bool function;
};

struct image {
    struct code_heap *heap;
    struct code_block block;
    size_t count;
    struct export exports[]; /* by name; the names follow */
};

static int
refuse_section(struct link *link, const struct section *section, const char *why)
{
    return problem_set(link->problem, PROBLEM_OBJECT, "section " NAME " %s", section->name, why);
}

static int
refuse_symbol(struct link *link, const char *name, const char *why)
{
    return problem_set(link->problem, PROBLEM_OBJECT, "symbol '" NAME "' %s", name, why);
}

static int
malformed(struct link *link, const char *what)
{
    return problem_set(link->problem, PROBLEM_OBJECT, "malformed object: %s", what);
}

static int
out_of_memory(struct link *link)
{
    return problem_set(link->problem, PROBLEM_MEMORY, "out of memory");
}

static bool
in_bounds(uint64_t whole, uint64_t offset, uint64_t size)
{
    return offset <= whole && size <= whole - offset;
}

static bool
starts_with(const char *string, const char *start)
{
    return strncmp(string, start, strlen(start)) == 0;
}

/* ---- read: sections ---- */

static int
check_identity(struct link *link, const Elf64_Ehdr *header)
{
    const unsigned char *identity = header->e_ident;
    if (memcmp(identity, ELFMAG, SELFMAG) != 0) {
        return malformed(link, "not an ELF file");
    }
    if (identity[EI_CLASS] != ELFCLASS64) {
        return malformed(link, identity[EI_CLASS] == ELFCLASS32 ? "32-bit" : "unknown ELF class");
    }
    if (identity[EI_DATA] != ELFDATA2LSB) {
        return malformed(link,
                         identity[EI_DATA] == ELFDATA2MSB ? "big-endian" : "unknown byte order");
    }
    if (identity[EI_VERSION] != EV_CURRENT || header->e_version != EV_CURRENT) {
        return malformed(link, "unknown ELF version");
    }
    if (identity[EI_OSABI] != ELFOSABI_NONE && identity[EI_OSABI] != ELFOSABI_GNU) {
        return malformed(link, "made for another operating system");
    }
    return 0;
}

static int
check_type(struct link *link, const Elf64_Ehdr *header)
{
    switch (header->e_type) {
    case ET_REL:
        break;
    case ET_EXEC:
        return malformed(link, "an executable, not a relocatable object");
    case ET_DYN:
        return malformed(link, "a shared library, not a relocatable object");
    default:
        return malformed(link, "not a relocatable object");
    }
    if (header->e_machine != machine_elf) {
        return problem_set(link->problem, PROBLEM_OBJECT,
                           "malformed object: made for machine %u, not for %s", header->e_machine,
                           machine_name);
    }
    return 0;
}

static int
read_header(struct link *link, struct input *input)
{
    Elf64_Ehdr *header = &input->header;
    if (input->object.size < sizeof(*header)) {
        return malformed(link, "shorter than an ELF header");
    }
    memcpy(header, input->object.bytes, sizeof(*header));
    if (check_identity(link, header) != 0 || check_type(link, header) != 0) {
        return -1;
    }
    if (header->e_ehsize != sizeof(Elf64_Ehdr) || header->e_shentsize != sizeof(Elf64_Shdr)) {
        return malformed(link, "headers of an unknown size");
    }
    if (header->e_shnum == 0 || header->e_shnum >= SHN_LORESERVE) {
        return malformed(link, "no sections, or more than 65,279");
    }
    if (!in_bounds(input->object.size, header->e_shoff,
                   (uint64_t)header->e_shnum * sizeof(Elf64_Shdr))) {
        return malformed(link, "the section headers are cut off");
    }
    if (header->e_shstrndx >= header->e_shnum) {
        return malformed(link, "no such section of section names");
    }
    return 0;
}

static const unsigned char *
section_bytes(const struct input *input, const struct section *section)
{
    return input->object.bytes + section->header.sh_offset;
}

/* Checks that a string table lies in the file and ends with a NUL, so that any offset below its
 * size is the start of a string. */
static int
check_strings(struct link *link, const struct input *input, uint32_t index)
{
    if (index == SHN_UNDEF || index >= input->header.e_shnum) {
        return malformed(link, "no such string table");
    }
    const struct section *section = &input->sections[index];
    const Elf64_Shdr *header = &section->header;
    if (header->sh_type != SHT_STRTAB || header->sh_size == 0 ||
        !in_bounds(input->object.size, header->sh_offset, header->sh_size) ||
        section_bytes(input, section)[header->sh_size - 1] != '\0') {
        return malformed(link, "a string table that is none");
    }
    return 0;
}

/* Returns the string, or NULL. */
static const char *
string_at(const struct input *input, uint32_t index, uint32_t offset)
{
    const struct section *strings = &input->sections[index];
    if (offset >= strings->header.sh_size) {
        return NULL;
    }
    return (const char *)section_bytes(input, strings) + offset;
}

/* Says what is wrong with kinds of sections that would need us to do something at load time. */
static const char *
refused_kind(const struct section *section)
{
    const Elf64_Shdr *header = &section->header;
    switch (header->sh_type) {
    case SHT_GROUP:
        return "is a section group, which is not supported";
    case SHT_SYMTAB_SHNDX:
        return "extends section numbers beyond 65,279, which is not supported";
    case SHT_REL:
    case SHT_RELR:
        return "holds relocations without addends, which are not supported";
    default:
        break;
    }
    if (header->sh_size == 0) {
        return NULL;
    }
    if (header->sh_flags & SHF_TLS) {
        return "holds thread-local variables, which are not supported";
    }
    static const char *const starts[] = {".init_array", ".fini_array", ".preinit_array", ".ctors",
                                         ".dtors",      ".init",       ".fini"};
    bool runs = header->sh_type == SHT_INIT_ARRAY || header->sh_type == SHT_FINI_ARRAY ||
                header->sh_type == SHT_PREINIT_ARRAY;
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        size_t length = strlen(starts[i]);
        runs |= starts_with(section->name, starts[i]) &&
                (section->name[length] == '\0' || section->name[length] == '.');
    }
    return runs ? "holds constructors or destructors, which are not supported" : NULL;
}

/* Is this loaded? Unwind tables are not (libtcc's are malformed), nor are notes. */
static bool
is_loaded(const struct section *section)
{
    const Elf64_Shdr *header = &section->header;
    return (header->sh_flags & SHF_ALLOC) && header->sh_type != SHT_NOTE &&
           header->sh_type != SHT_X86_64_UNWIND && !starts_with(section->name, ".note") &&
           strcmp(section->name, ".eh_frame") != 0;
}

static int
check_loaded(struct link *link, const struct input *input, const struct section *section)
{
    const Elf64_Shdr *header = &section->header;
    if (header->sh_type != SHT_PROGBITS && header->sh_type != SHT_NOBITS &&
        header->sh_type != SHT_INIT_ARRAY && header->sh_type != SHT_FINI_ARRAY &&
        header->sh_type != SHT_PREINIT_ARRAY) {
        return refuse_section(link, section, "is of a type that is not known");
    }
    if (header->sh_flags & ~(uint64_t)KNOWN_FLAGS) {
        return refuse_section(link, section, "has flags that are not known");
    }
    if ((header->sh_flags & SHF_WRITE) && (header->sh_flags & SHF_EXECINSTR)) {
        return refuse_section(link, section, "is to be written and executed");
    }
    if (header->sh_addralign > MAX_ALIGNMENT ||
        (header->sh_addralign & (header->sh_addralign - 1)) != 0) {
        return refuse_section(link, section, "has an alignment that is no power of 2 up to 4096");
    }
    if (header->sh_size > MAX_SIZE) {
        return refuse_section(link, section, "is larger than 2 GiB");
    }
    if (header->sh_type != SHT_NOBITS &&
        !in_bounds(input->object.size, header->sh_offset, header->sh_size)) {
        return refuse_section(link, section, "is cut off");
    }
    return 0;
}

static int
read_section(struct link *link, struct input *input, struct section *section)
{
    section->name = string_at(input, input->header.e_shstrndx, section->header.sh_name);
    if (section->name == NULL) {
        return malformed(link, "a section's name is not in the string table");
    }
    if (section->header.sh_type == SHT_NULL) {
        return 0;
    }
    const char *why = refused_kind(section);
    if (why != NULL) {
        return refuse_section(link, section, why);
    }
    if (section->header.sh_type == SHT_SYMTAB) {
        if (input->symbol_section != 0) {
            return malformed(link, "more than one symbol table");
        }
        input->symbol_section = (uint32_t)(section - input->sections);
    }
    if (!is_loaded(section)) {
        return 0;
    }
    bool to_data = (section->header.sh_flags & SHF_WRITE) || section->header.sh_type == SHT_NOBITS;
    section->placement = to_data ? IN_DATA : IN_CODE;
    return check_loaded(link, input, section);
}

static int
read_sections(struct link *link, struct input *input)
{
    const Elf64_Ehdr *header = &input->header;
    for (uint32_t i = 0; i < header->e_shnum; i++) {
        memcpy(&input->sections[i].header,
               input->object.bytes + header->e_shoff + i * sizeof(Elf64_Shdr), sizeof(Elf64_Shdr));
    }
    if (check_strings(link, input, header->e_shstrndx) != 0) {
        return -1;
    }
    for (uint32_t i = 1; i < header->e_shnum; i++) {
        if (read_section(link, input, &input->sections[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- read: symbols ---- */

static int
count_symbols(struct link *link, struct input *input)
{
    if (input->symbol_section == 0) {
        return 0;
    }
    const Elf64_Shdr *header = &input->sections[input->symbol_section].header;
    if (header->sh_entsize != sizeof(Elf64_Sym) || header->sh_size % sizeof(Elf64_Sym) != 0 ||
        !in_bounds(input->object.size, header->sh_offset, header->sh_size)) {
        return malformed(link, "the symbol table is cut off, or of an unknown kind");
    }
    input->symbol_count = header->sh_size / sizeof(Elf64_Sym);
    if (header->sh_info > input->symbol_count || input->symbol_count > UINT32_MAX) {
        return malformed(link, "more local symbols than symbols");
    }
    return check_strings(link, input, header->sh_link);
}

/* FNV-1a */
static uint32_t
hash_name(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    }
    return hash;
}

static int
check_symbol_type(struct link *link, const char *name, unsigned char type)
{
    switch (type) {
    case STT_NOTYPE:
    case STT_OBJECT:
    case STT_FUNC:
    case STT_SECTION:
    case STT_FILE:
    case STT_COMMON:
        return 0;
    case STT_TLS:
        return refuse_symbol(link, name, "is thread-local, which is not supported");
    case STT_GNU_IFUNC:
        return refuse_symbol(link, name, "is chosen at load time (IFUNC), which is not supported");
    default:
        return refuse_symbol(link, name, "is of a type that is not known");
    }
}

static int
check_binding(struct link *link, const struct input *input, const char *name,
              const Elf64_Sym *entry, size_t index)
{
    unsigned char binding = ELF64_ST_BIND(entry->st_info);
    if (binding == STB_GNU_UNIQUE) {
        return refuse_symbol(link, name, "is unique in the process, which is not supported");
    }
    if (binding != STB_LOCAL && binding != STB_GLOBAL && binding != STB_WEAK) {
        return refuse_symbol(link, name, "has a binding that is not known");
    }
    bool among_locals = index < input->sections[input->symbol_section].header.sh_info;
    if ((binding == STB_LOCAL) != among_locals) {
        return refuse_symbol(link, name, "is on the wrong side of the local symbols' end");
    }
    if (binding != STB_LOCAL && *name == '\0') {
        return malformed(link, "a global symbol without a name");
    }
    return 0;
}

/* Finds out where a symbol is defined. */
static int
read_definition(struct link *link, const struct input *input, struct symbol *symbol,
                const Elf64_Sym *entry)
{
    bool weak = ELF64_ST_BIND(entry->st_info) == STB_WEAK;
    symbol->definition = weak ? DEFINED_WEAK : DEFINED;
    switch (entry->st_shndx) {
    case SHN_UNDEF:
        symbol->definition = weak ? UNDEFINED_WEAK : UNDEFINED;
        return 0;
    case SHN_ABS:
        return 0;
    case SHN_COMMON:
        symbol->definition = COMMON;
        symbol->alignment = entry->st_value;
        if (entry->st_value == 0 || entry->st_value > MAX_ALIGNMENT ||
            (entry->st_value & (entry->st_value - 1)) != 0 || entry->st_size > MAX_SIZE ||
            symbol->local) {
            return refuse_symbol(link, symbol->name, "is common, with an odd alignment or size");
        }
        return 0;
    default:
        break;
    }
    if (entry->st_shndx >= input->header.e_shnum) {
        return refuse_symbol(link, symbol->name, "lies in a section that does not exist");
    }
    symbol->section = &input->sections[entry->st_shndx];
    if (symbol->section->placement != NOT_LOADED &&
        entry->st_value > symbol->section->header.sh_size) {
        return refuse_symbol(link, symbol->name, "lies outside its section");
    }
    return 0;
}

/* Returns where the name's symbol is, or is to be put. */
static struct symbol **
find_global(const struct link *link, const char *name, uint32_t hash)
{
    size_t at = hash & link->table_mask;
    while (link->table[at] != NULL &&
           (link->table[at]->hash != hash || strcmp(link->table[at]->name, name) != 0)) {
        at = (at + 1) & link->table_mask;
    }
    return &link->table[at];
}

/* Adds what this symbol knows to the one that stands for the name. */
static int
merge_symbol(struct link *link, struct symbol *kept, const struct symbol *symbol)
{
    if (kept->definition == DEFINED && symbol->definition == DEFINED) {
        return refuse_symbol(link, symbol->name, "is defined twice");
    }
    if (kept->definition == COMMON && symbol->definition == COMMON) {
        kept->size = kept->size > symbol->size ? kept->size : symbol->size;
        kept->alignment = kept->alignment > symbol->alignment ? kept->alignment : symbol->alignment;
    }
    if (symbol->definition > kept->definition) {
        kept->definition = symbol->definition;
        kept->section = symbol->section;
        kept->value = symbol->value;
        kept->size = symbol->size;
        kept->alignment = symbol->alignment;
        kept->type = symbol->type;
    }
    return 0;
}

static int
read_symbol(struct link *link, struct input *input, size_t index)
{
    const struct section *table = &input->sections[input->symbol_section];
    Elf64_Sym entry;
    memcpy(&entry, section_bytes(input, table) + index * sizeof(entry), sizeof(entry));
    struct symbol *symbol = &input->symbols[index];
    symbol->name = string_at(input, table->header.sh_link, entry.st_name);
    if (symbol->name == NULL) {
        return malformed(link, "a symbol's name is not in the string table");
    }
    symbol->value = entry.st_value;
    symbol->size = entry.st_size;
    symbol->type = ELF64_ST_TYPE(entry.st_info);
    symbol->local = ELF64_ST_BIND(entry.st_info) == STB_LOCAL;
    symbol->canonical = symbol;
    if (check_symbol_type(link, symbol->name, symbol->type) != 0 ||
        check_binding(link, input, symbol->name, &entry, index) != 0 ||
        read_definition(link, input, symbol, &entry) != 0) {
        return -1;
    }
    if (symbol->local) {
        return 0;
    }
    symbol->hash = hash_name(symbol->name);
    struct symbol **place = find_global(link, symbol->name, symbol->hash);
    if (*place == NULL) {
        *place = symbol;
        return 0;
    }
    symbol->canonical = *place;
    return merge_symbol(link, *place, symbol);
}

/* The first entry of a symbol table means no symbol: address 0. */
static int
read_symbols(struct link *link, struct input *input)
{
    if (input->symbol_count > 0) {
        input->symbols[0] = (struct symbol){
            .name = "", .canonical = &input->symbols[0], .definition = DEFINED, .local = true};
    }
    for (size_t i = 1; i < input->symbol_count; i++) {
        if (read_symbol(link, input, i) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
read_all_sections(struct link *link)
{
    size_t count = 0;
    for (size_t i = 0; i < link->input_count; i++) {
        if (read_header(link, &link->inputs[i]) != 0) {
            return -1;
        }
        count += link->inputs[i].header.e_shnum;
    }
    link->sections = calloc(count + 1, sizeof(struct section));
    if (link->sections == NULL) {
        return out_of_memory(link);
    }
    struct section *next = link->sections;
    for (size_t i = 0; i < link->input_count; i++) {
        struct input *input = &link->inputs[i];
        input->sections = next;
        next += input->header.e_shnum;
        if (read_sections(link, input) != 0 || count_symbols(link, input) != 0) {
            return -1;
        }
        link->symbol_count += input->symbol_count;
    }
    return 0;
}

static int
read_all_symbols(struct link *link)
{
    size_t places = 16;
    while (places < 2 * link->symbol_count) {
        places *= 2;
    }
    link->table_mask = places - 1;
    link->table = calloc(places, sizeof(*link->table));
    link->symbols = calloc(link->symbol_count + 1, sizeof(struct symbol));
    if (link->table == NULL || link->symbols == NULL) {
        return out_of_memory(link);
    }
    struct symbol *next = link->symbols;
    for (size_t i = 0; i < link->input_count; i++) {
        link->inputs[i].symbols = next;
        next += link->inputs[i].symbol_count;
        if (read_symbols(link, &link->inputs[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- scan ---- */

struct relocation {
    const struct input *input;
    const struct section *section; /* that it changes */
    uint32_t number;               /* of the type */
    const struct relocation_type *type;
    struct symbol *symbol;
    uint64_t offset;
    uint64_t addend;
    enum relocation_use use;
};

typedef int relocation_visitor(struct link *link, const struct relocation *relocation);

static int
refuse_relocation(struct link *link, const struct relocation *relocation, const char *why)
{
    const struct symbol *symbol = relocation->symbol;
    const char *name =
        *symbol->name == '\0' && symbol->section != NULL ? symbol->section->name : symbol->name;
    return problem_set(
        link->problem, PROBLEM_OBJECT, "relocation %s (%u) of '" NAME "' in section " NAME " %s",
        relocation->type->name, relocation->number, name, relocation->section->name, why);
}

/* Is the symbol ours, so that its distance is known and small? */
static bool
in_image(const struct symbol *symbol)
{
    return symbol->section != NULL || symbol->definition == COMMON;
}

/* Old assemblers call functions with R_X86_64_PC32. */
static enum relocation_use
use_of(const struct relocation *relocation)
{
    if (relocation->type->use == RELOCATION_RELATIVE && !in_image(relocation->symbol) &&
        (relocation->section->header.sh_flags & SHF_EXECINSTR) &&
        machine_is_call(section_bytes(relocation->input, relocation->section),
                        relocation->offset)) {
        return RELOCATION_CALL;
    }
    return relocation->type->use;
}

static int
read_relocation(struct link *link, const unsigned char *bytes, struct relocation *relocation)
{
    Elf64_Rela entry;
    memcpy(&entry, bytes, sizeof(entry));
    relocation->number = ELF64_R_TYPE(entry.r_info);
    relocation->type = machine_relocation(relocation->number);
    if (relocation->type == NULL) {
        return problem_set(link->problem, PROBLEM_OBJECT,
                           "relocation of type %u in section " NAME " is not known",
                           relocation->number, relocation->section->name);
    }
    uint64_t index = ELF64_R_SYM(entry.r_info);
    if (index >= relocation->input->symbol_count) {
        return refuse_section(link, relocation->section,
                              "has a relocation of a symbol that does not exist");
    }
    relocation->symbol = relocation->input->symbols[index].canonical;
    if (!in_bounds(relocation->section->header.sh_size, entry.r_offset, relocation->type->width)) {
        return refuse_relocation(link, relocation, "lies outside the section");
    }
    relocation->offset = entry.r_offset;
    relocation->addend = (uint64_t)entry.r_addend;
    relocation->use = use_of(relocation);
    return 0;
}

static int
check_relocation_section(struct link *link, const struct input *input,
                         const struct section *section, const struct section *target)
{
    const Elf64_Shdr *header = &section->header;
    if (header->sh_entsize != sizeof(Elf64_Rela) || header->sh_size % sizeof(Elf64_Rela) != 0 ||
        !in_bounds(input->object.size, header->sh_offset, header->sh_size)) {
        return refuse_section(link, section, "is cut off, or of an unknown kind");
    }
    if (input->symbol_section == 0 || header->sh_link != input->symbol_section) {
        return refuse_section(link, section, "belongs to no symbol table");
    }
    if (target->header.sh_type == SHT_NOBITS && header->sh_size > 0) {
        return refuse_section(link, section, "changes a section without contents");
    }
    return 0;
}

static int
visit_section(struct link *link, const struct input *input, const struct section *section,
              relocation_visitor *visit)
{
    if (section->header.sh_info >= input->header.e_shnum) {
        return refuse_section(link, section, "changes a section that does not exist");
    }
    const struct section *target = &input->sections[section->header.sh_info];
    if (target->placement == NOT_LOADED) {
        return 0;
    }
    if (check_relocation_section(link, input, section, target) != 0) {
        return -1;
    }
    const unsigned char *bytes = section_bytes(input, section);
    struct relocation relocation = {.input = input, .section = target};
    for (uint64_t at = 0; at < section->header.sh_size; at += sizeof(Elf64_Rela)) {
        if (read_relocation(link, bytes + at, &relocation) != 0 || visit(link, &relocation) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
visit_relocations(struct link *link, relocation_visitor *visit)
{
    for (size_t i = 0; i < link->input_count; i++) {
        const struct input *input = &link->inputs[i];
        for (uint32_t j = 1; j < input->header.e_shnum; j++) {
            const struct section *section = &input->sections[j];
            if (section->header.sh_type == SHT_RELA &&
                visit_section(link, input, section, visit) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

/* x86-64 counts from the end of the displacement, so that a plain call has the addend -4. Only such a
 * call can go through a stub; tables of distances to functions, in data, have any addend. */
static int
check_call(struct link *link, const struct relocation *relocation)
{
    if ((relocation->section->header.sh_flags & SHF_EXECINSTR) &&
        relocation->addend != (uint64_t)-4) {
        return refuse_relocation(link, relocation, "calls into the middle of a function elsewhere");
    }
    return 0;
}

static int
scan_relocation(struct link *link, const struct relocation *relocation)
{
    struct symbol *symbol = relocation->symbol;
    if (relocation->use == RELOCATION_REFUSED) {
        return refuse_relocation(link, relocation, "is not supported");
    }
    if (relocation->use == RELOCATION_NOTHING) {
        return 0;
    }
    if (symbol->section != NULL && symbol->section->placement == NOT_LOADED) {
        return refuse_relocation(link, relocation, "refers to a section that is not loaded");
    }
    if (symbol->local && symbol->definition == UNDEFINED) {
        return refuse_relocation(link, relocation, "refers to a local symbol that is not defined");
    }
    symbol->used = true;
    bool far_call = relocation->use == RELOCATION_CALL && !in_image(symbol);
    if (far_call && check_call(link, relocation) != 0) {
        return -1;
    }
    if (relocation->use == RELOCATION_RELATIVE && relocation->type->range != RANGE_ANY &&
        !in_image(symbol)) {
        return refuse_relocation(link, relocation, "may be too far away (compile with -fPIC)");
    }
    if (far_call && symbol->stub == 0) {
        symbol->stub = ++link->stubs;
    }
    if ((far_call || relocation->use == RELOCATION_GOT) && symbol->slot == 0) {
        symbol->slot = ++link->slots;
    }
    return 0;
}

/* ---- resolve ---- */

static int
resolve_symbols(struct link *link, symbol_resolver *resolve, void *context)
{
    struct buffer missing = BUFFER_INIT;
    for (size_t i = 0; i < link->symbol_count; i++) {
        struct symbol *symbol = &link->symbols[i];
        if (symbol->canonical != symbol || symbol->definition > UNDEFINED || !symbol->used) {
            continue;
        }
        symbol->address = (uint64_t)(uintptr_t)resolve(context, symbol->name);
        if (symbol->address == 0 && symbol->definition == UNDEFINED) {
            buffer_printf(&missing, missing.size > 0 ? " %s" : "%s", symbol->name);
        }
    }
    int status = 0;
    if (missing.failed) {
        status = out_of_memory(link);
    }
    else if (missing.size > 0) {
        status = problem_set(link->problem, PROBLEM_SYMBOL, "%s", missing.data);
    }
    buffer_free(&missing);
    return status;
}

/* ---- lay out ---- */

/* Reserves aligned room at the end of a region and returns its offset. No sum overflows: each of at
 * most 2^16 sections, or 2^32 commons, an object has at most 2^31 bytes. */
static uint64_t
reserve(uint64_t *end, uint64_t *alignment_of_all, uint64_t alignment, uint64_t size)
{
    if (alignment == 0) {
        alignment = 1;
    }
    if (alignment > *alignment_of_all) {
        *alignment_of_all = alignment;
    }
    uint64_t offset = (*end + alignment - 1) & ~(alignment - 1);
    *end = offset + size;
    return offset;
}

static void
lay_out_sections(struct link *link)
{
    for (size_t i = 0; i < link->input_count; i++) {
        const struct input *input = &link->inputs[i];
        for (uint32_t j = 1; j < input->header.e_shnum; j++) {
            struct section *section = &input->sections[j];
            const Elf64_Shdr *header = &section->header;
            if (section->placement == IN_CODE) {
                section->offset = reserve(&link->code_size, &link->code_alignment,
                                          header->sh_addralign, header->sh_size);
            }
            else if (section->placement == IN_DATA) {
                section->offset = reserve(&link->data_size, &link->data_alignment,
                                          header->sh_addralign, header->sh_size);
            }
        }
    }
}

static void
lay_out_commons(struct link *link)
{
    for (size_t i = 0; i < link->symbol_count; i++) {
        struct symbol *symbol = &link->symbols[i];
        if (symbol->canonical == symbol && symbol->definition == COMMON) {
            symbol->value =
                reserve(&link->data_size, &link->data_alignment, symbol->alignment, symbol->size);
        }
    }
}

static uint8_t *
align_up(uint8_t *pointer, uint64_t alignment)
{
    return pointer + (-(uintptr_t)pointer & (alignment - 1));
}

static int
lay_out(struct link *link)
{
    link->code_alignment = link->data_alignment = CODE_GRANULE;
    lay_out_sections(link);
    lay_out_commons(link);
    link->got_offset = reserve(&link->code_size, &link->code_alignment, 8, link->slots * 8ull);
    link->stub_offset =
        reserve(&link->code_size, &link->code_alignment, 8, link->stubs * machine_stub_size);
    if (code_allocate(link->heap, link->code_size + (link->code_alignment - CODE_GRANULE),
                      link->data_size + (link->data_alignment - CODE_GRANULE), &link->block,
                      link->problem) != 0) {
        return -1;
    }
    link->run = align_up(link->block.run, link->code_alignment);
    link->write = link->block.write + (link->run - link->block.run);
    link->data = align_up(link->block.data, link->data_alignment);
    return 0;
}

/* ---- write ---- */

/* Where a section will be run or used. */
static uint8_t *
section_address(const struct link *link, const struct section *section)
{
    return (section->placement == IN_CODE ? link->run : link->data) + section->offset;
}

/* Where it is written. */
static uint8_t *
section_write(const struct link *link, const struct section *section)
{
    return (section->placement == IN_CODE ? link->write : link->data) + section->offset;
}

static void
set_address(const struct link *link, struct symbol *symbol)
{
    if (symbol->definition == COMMON) {
        symbol->address = (uint64_t)(uintptr_t)link->data + symbol->value;
    }
    else if (symbol->section != NULL) {
        symbol->address =
            (uint64_t)(uintptr_t)section_address(link, symbol->section) + symbol->value;
    }
    else if (symbol->definition >= DEFINED_WEAK) {
        symbol->address = symbol->value;
    }
}

static uint64_t
slot_offset(const struct link *link, const struct symbol *symbol)
{
    return link->got_offset + (symbol->slot - 1) * 8ull;
}

static uint64_t
stub_offset(const struct link *link, const struct symbol *symbol)
{
    return link->stub_offset + (symbol->stub - 1) * (uint64_t)machine_stub_size;
}

/* Sets the addresses, and writes the slots and stubs of the symbols that need them. */
static void
write_symbols(struct link *link)
{
    for (size_t i = 0; i < link->symbol_count; i++) {
        struct symbol *symbol = &link->symbols[i];
        if (symbol->canonical != symbol) {
            continue;
        }
        set_address(link, symbol);
        if (symbol->slot != 0) {
            memcpy(link->write + slot_offset(link, symbol), &symbol->address, 8);
        }
        if (symbol->stub != 0) {
            uint64_t offset = stub_offset(link, symbol);
            machine_stub(link->write + offset, link->run + offset,
                         link->run + slot_offset(link, symbol));
        }
    }
}

static void
write_sections(struct link *link)
{
    for (size_t i = 0; i < link->input_count; i++) {
        const struct input *input = &link->inputs[i];
        for (uint32_t j = 1; j < input->header.e_shnum; j++) {
            const struct section *section = &input->sections[j];
            if (section->placement != NOT_LOADED && section->header.sh_type != SHT_NOBITS) {
                memcpy(section_write(link, section), section_bytes(input, section),
                       section->header.sh_size);
            }
        }
    }
}

static int
apply_relocation(struct link *link, const struct relocation *relocation)
{
    const struct symbol *symbol = relocation->symbol;
    const struct relocation_type *type = relocation->type;
    uint8_t *place = section_write(link, relocation->section) + relocation->offset;
    uint64_t here =
        (uint64_t)(uintptr_t)section_address(link, relocation->section) + relocation->offset;
    uint64_t base = (uint64_t)(uintptr_t)link->run;
    uint64_t target = symbol->address;
    switch (relocation->use) {
    case RELOCATION_NOTHING:
    case RELOCATION_REFUSED: /* the scan did not let it pass */
        return 0;
    case RELOCATION_ABSOLUTE:
        here = 0;
        break;
    case RELOCATION_GOT:
        target = base + slot_offset(link, symbol);
        break;
    case RELOCATION_CALL:
        if (machine_relocate(type, place, target + relocation->addend - here)) {
            return 0;
        }
        if (symbol->stub != 0) {
            target = base + stub_offset(link, symbol);
        }
        break;
    case RELOCATION_RELATIVE:
        break;
    }
    if (!machine_relocate(type, place, target + relocation->addend - here)) {
        return refuse_relocation(link, relocation, "is out of range (compile with -fPIC)");
    }
    return 0;
}

static int
write_block(struct link *link)
{
    write_sections(link);
    write_symbols(link);
    if (visit_relocations(link, apply_relocation) != 0) {
        return -1;
    }
    __builtin___clear_cache((char *)link->run, (char *)link->run + link->code_size);
    return 0;
}

/* ---- export ---- */

static bool
is_exported(const struct symbol *symbol)
{
    return symbol->canonical == symbol && !symbol->local && symbol->definition >= DEFINED_WEAK &&
           in_image(symbol) &&
           (symbol->section == NULL || symbol->section->placement != NOT_LOADED);
}

/* Assembler leaves the type out. */
static bool
is_function(const struct symbol *symbol)
{
    return symbol->type == STT_FUNC || (symbol->type == STT_NOTYPE && symbol->section != NULL &&
                                        (symbol->section->header.sh_flags & SHF_EXECINSTR));
}

static int
compare_exports(const void *left, const void *right)
{
    return strcmp(((const struct export *)left)->name, ((const struct export *)right)->name);
}

static struct image *
allocate_image(const struct link *link)
{
    size_t count = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < link->symbol_count; i++) {
        if (is_exported(&link->symbols[i])) {
            count++;
            bytes += strlen(link->symbols[i].name) + 1;
        }
    }
    struct image *image = malloc(sizeof(*image) + count * sizeof(image->exports[0]) + bytes);
    if (image != NULL) {
        *image = (struct image){.heap = link->heap, .block = link->block, .count = count};
    }
    return image;
}

static struct image *
make_image(struct link *link)
{
    struct image *image = allocate_image(link);
    if (image == NULL) {
        out_of_memory(link);
        return NULL;
    }
    char *names = (char *)&image->exports[image->count];
    struct export *export = image->exports;
    for (size_t i = 0; i < link->symbol_count; i++) {
        const struct symbol *symbol = &link->symbols[i];
        if (is_exported(symbol)) {
            size_t size = strlen(symbol->name) + 1;
            memcpy(names, symbol->name, size);
            *export ++= (struct export){names, (void *)(uintptr_t)symbol->address, symbol->size,
                                        is_function(symbol)};
            names += size;
        }
    }
    qsort(image->exports, image->count, sizeof(image->exports[0]), compare_exports);
    return image;
}

/* ---- the functions of loader.h ---- */

static int
link_objects(struct link *link, symbol_resolver *resolve, void *context)
{
    if (read_all_sections(link) != 0 || read_all_symbols(link) != 0 ||
        visit_relocations(link, scan_relocation) != 0 ||
        resolve_symbols(link, resolve, context) != 0 || lay_out(link) != 0) {
        return -1;
    }
    return write_block(link);
}

struct image *
image_load(struct code_heap *heap, const struct object *objects, size_t count,
           symbol_resolver *resolve, void *context, struct problem *problem)
{
    struct link link = {.heap = heap, .problem = problem, .input_count = count};
    struct image *image = NULL;
    link.inputs = calloc(count + 1, sizeof(struct input));
    if (link.inputs == NULL) {
        out_of_memory(&link);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        link.inputs[i].object = objects[i];
    }
    if (link_objects(&link, resolve, context) == 0) {
        image = make_image(&link);
    }
    if (image == NULL) {
        code_release(heap, &link.block);
    }
    free(link.table);
    free(link.symbols);
    free(link.sections);
    free(link.inputs);
    return image;
}

static const struct export *
find_export(const struct image *image, const char *name)
{
    struct export key = {.name = name};
    return bsearch(&key, image->exports, image->count, sizeof(image->exports[0]), compare_exports);
}

void *
image_symbol(const struct image *image, const char *name)
{
    const struct export *found = find_export(image, name);
    return found == NULL ? NULL : found->address;
}

void *
image_function(const struct image *image, const char *name)
{
    const struct export *found = find_export(image, name);
    return found == NULL || !found->function ? NULL : found->address;
}

void
image_symbols(const struct image *image,
              void (*visit)(void *context, const char *name, void *address, size_t size,
                            bool function),
              void *context)
{
    for (size_t i = 0; i < image->count; i++) {
        const struct export *export = &image->exports[i];
        visit(context, export->name, export->address, export->size, export->function);
    }
}

void
image_free(struct image *image)
{
    if (image != NULL) {
        code_release(image->heap, &image->block);
        free(image);
    }
}
