//! What cases are made of: kinds of sections, instructions that linkers rewrite, and names with a meaning.

use object::elf;

use super::plan::{CODE, CONSTANT, LARGE, STRINGS, SectionPlan, THREAD_LOCAL, VARIABLE};

/// Bytes that each relocation has for itself: its field, and an instruction before it.
pub(super) const CELL_BYTES: u64 = 24;
/// The field is at least so far into its cell.
pub(super) const BEFORE_FIELD: u64 = 8;
/// The name of the symbol by which a case finds its global offset table.
pub(super) const GOT: &str = "_GLOBAL_OFFSET_TABLE_";
/// The section, of the first object, whose first word is the address of the global offset table.
pub(super) const PROBE: &str = ".data.probe";

/// Section names, `#` for a number, with type and flags.
pub(super) const KINDS: [(&str, elf::SectionType, u64); 21] = [
    (".text.#", elf::SHT_PROGBITS, CODE),
    (".data.#", elf::SHT_PROGBITS, VARIABLE),
    (".text.hot.#", elf::SHT_PROGBITS, CODE),
    (".rodata.#", elf::SHT_PROGBITS, CONSTANT),
    (".bss.#", elf::SHT_NOBITS, VARIABLE),
    (".data.rel.ro.#", elf::SHT_PROGBITS, VARIABLE),
    (".note.#", elf::SHT_PROGBITS, 0),
    // Those from here on are for some scopes only.
    (".ldata.#", elf::SHT_PROGBITS, VARIABLE | LARGE),
    (".lbss.#", elf::SHT_NOBITS, VARIABLE | LARGE),
    ("list#", elf::SHT_PROGBITS, VARIABLE),
    (".init_array.#", elf::SHT_INIT_ARRAY, VARIABLE),
    (".fini_array.#", elf::SHT_FINI_ARRAY, VARIABLE),
    (".ctors.#", elf::SHT_PROGBITS, VARIABLE),
    (".eh_frame", elf::SHT_PROGBITS, CONSTANT),
    (".tdata.#", elf::SHT_PROGBITS, THREAD_LOCAL),
    (".tbss.#", elf::SHT_NOBITS, THREAD_LOCAL),
    (".debug_info", elf::SHT_PROGBITS, 0),
    (".debug_ranges", elf::SHT_PROGBITS, 0),
    (".debug_str", elf::SHT_PROGBITS, elf::SHF_COMPRESSED.0),
    (".zdebug_line", elf::SHT_PROGBITS, 0),
    (".rodata.str1.#", elf::SHT_PROGBITS, STRINGS),
];
pub(super) const PROGRAM_KINDS: usize = 7;
pub(super) const FIRST_TLS_KIND: usize = 14;
pub(super) const FIRST_DEBUG_KIND: usize = 16;

/// The start of the module's thread-local block, as clang refers to it.
pub(super) const TLS_BASE: &str = "_TLS_MODULE_BASE_";

/// Names that the linker itself defines.
pub(super) const LINKER_NAMES: [&str; 11] = [
    "__dso_handle",
    "__executable_start",
    "etext",
    "data_start",
    "__bss_start",
    "_end",
    "__init_array_start",
    "__init_array_end",
    "__fini_array_start",
    "__fini_array_end",
    "__rela_iplt_start",
];

/// Instructions before a relaxable field, with their relocation type: the last bytes of the cell before the field.
pub(super) const INSTRUCTIONS: [(&[u8], u32); 13] = [
    (&[0x48, 0x8b, 0x05], 42),       // mov foo@GOTPCREL(%rip), %rax
    (&[0xff, 0x15], 41),             // call *foo@GOTPCREL(%rip)
    (&[0xff, 0x25], 41),             // jmp *foo@GOTPCREL(%rip)
    (&[0x4c, 0x8b, 0x3d], 42),       // mov ..., %r15
    (&[0x8b, 0x1d], 41),             // mov ..., %ebx
    (&[0x48, 0x03, 0x05], 42),       // add ..., %rax
    (&[0x48, 0x85, 0x0d], 42),       // test %rcx, ...
    (&[0x48, 0x3b, 0x15], 42),       // cmp ..., %rdx
    (&[0x44, 0x8b, 0x05], 42),       // mov ..., %r8d
    (&[0xff, 0x35], 41),             // push foo@GOTPCREL(%rip)
    (&[0x48, 0xff, 0x15], 42),       // rex.W call *
    (&[0xd5, 0x18, 0x8b, 0x05], 42), // a REX2 prefix, which is of no such type
    (&[0x66, 0x48, 0xff, 0x15], 42), // the padded call to __tls_get_addr
];
pub(super) const PROGRAM_INSTRUCTIONS: usize = 9;

/// Beginnings of instructions whose displacement has operands behind it, or might have.
pub(super) const BEFORE_IMMEDIATES: [&[u8]; 10] = [
    &[0xc7, 0x05],                         // movl $imm32, foo(%rip)
    &[0x66, 0xc7, 0x05],                   // movw $imm16, foo(%rip)
    &[0x80, 0x3d],                         // cmpb $imm8, foo(%rip)
    &[0x48, 0x81, 0x0d],                   // orq $imm32, foo(%rip)
    &[0xf6, 0x05],                         // testb $imm8, foo(%rip)
    &[0x89, 0x05],                         // movl %eax, foo(%rip)
    &[0x0f, 0xba, 0x25],                   // btl $imm8, foo(%rip)
    &[0x66, 0x0f, 0x3a, 0x0f, 0x05],       // palignr $imm8, foo(%rip), %xmm0
    &[0xc5, 0xf9, 0x70, 0x05],             // vpshufd $imm8, foo(%rip), %xmm0
    &[0x62, 0xf3, 0xfd, 0x08, 0x0f, 0x05], // vpalignr $imm8, foo(%rip), ...
];

/// Gives a section the contents that its name promises: whole pointers, or unwind records of one cell each.
pub(super) fn shape(section: &mut SectionPlan) {
    let records = section.name == ".eh_frame";
    if !records && array_priority(&section.name).is_none() {
        return;
    }
    section.size -= section.size % CELL_BYTES;
    section.align = 8;
    section.contents.truncate(section.size as usize);
    if records {
        let (cells, _) = section.contents.as_chunks_mut::<{ CELL_BYTES as usize }>();
        for cell in cells {
            cell[..4].copy_from_slice(&(CELL_BYTES as u32 - 4).to_le_bytes());
        }
    }
}

/// Whether a section is one of the arrays of functions that run at the start or the end, and its place among them.
pub(super) fn array_priority(name: &str) -> Option<(bool, u64)> {
    let number = |digits: &str| digits.parse::<u64>().ok();
    if let Some(digits) = name.strip_prefix(".ctors.") {
        return Some((true, 65535 - number(digits)?));
    }
    let start = name.strip_prefix(".init_array.");
    let digits = start.or_else(|| name.strip_prefix(".fini_array."))?;
    Some((start.is_some(), number(digits)?))
}
