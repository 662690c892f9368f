//! The directives by name.

use super::cfi::Op;
use super::cursor::Cursor;
use super::{Assembler, BSS, Fail, Severity, fail};
use crate::symbol::Binding;

type Done = Result<(), Fail>;
/// What reads the rest of a directive's statement.
type Directive = fn(&mut Assembler<'_>, &mut Cursor<'_>) -> Done;

/// What only says something about the source, its listing or its debugging in formats that ELF objects do not have.
const IGNORED: Directive = |_, cursor| {
    cursor.skip_statement();
    Ok(())
};

/// What may stand with nothing behind it and changes nothing.
const NOTHING: Directive = |_, _| Ok(());

#[rustfmt::skip]
static DIRECTIVES: &[(&str, Directive)] = &[
    // Data.
    (".byte", |a, c| a.numbers(c, 1)),
    (".dc.b", |a, c| a.numbers(c, 1)),
    (".value", |a, c| a.numbers(c, 2)),
    (".short", |a, c| a.numbers(c, 2)),
    (".hword", |a, c| a.numbers(c, 2)),
    (".2byte", |a, c| a.numbers(c, 2)),
    (".word", |a, c| a.numbers(c, 2)),
    (".dc", |a, c| a.numbers(c, 2)),
    (".dc.w", |a, c| a.numbers(c, 2)),
    (".long", |a, c| a.numbers(c, 4)),
    (".int", |a, c| a.numbers(c, 4)),
    (".4byte", |a, c| a.numbers(c, 4)),
    (".dc.l", |a, c| a.numbers(c, 4)),
    (".quad", |a, c| a.numbers(c, 8)),
    (".8byte", |a, c| a.numbers(c, 8)),
    (".dc.a", |a, c| a.numbers(c, 8)),
    (".octa", |a, c| a.octas(c)),
    (".16byte", |a, c| a.octas(c)),
    (".uleb128", |a, c| a.lebs(c, false)),
    (".sleb128", |a, c| a.lebs(c, true)),
    (".ascii", |a, c| a.strings(c, b"")),
    (".asciz", |a, c| a.strings(c, b"\0")),
    (".string", |a, c| a.strings(c, b"\0")),
    (".string8", |a, c| a.strings(c, b"\0")),
    (".string16", |a, c| a.wide_strings(c, 2)),
    (".string32", |a, c| a.wide_strings(c, 4)),
    (".string64", |a, c| a.wide_strings(c, 8)),
    (".base64", |a, c| a.base64(c)),
    (".float", |a, c| a.floats(c, 4)),
    (".single", |a, c| a.floats(c, 4)),
    (".dc.s", |a, c| a.floats(c, 4)),
    (".double", |a, c| a.floats(c, 8)),
    (".dc.d", |a, c| a.floats(c, 8)),
    (".incbin", |a, c| a.incbin(c)),
    // Space.
    (".zero", |a, c| a.skip(c)),
    (".skip", |a, c| a.skip(c)),
    (".space", |a, c| a.skip(c)),
    (".fill", |a, c| a.fill(c)),
    (".p2align", |a, c| a.align(c, true, 1)),
    (".p2alignw", |a, c| a.align(c, true, 2)),
    (".p2alignl", |a, c| a.align(c, true, 4)),
    (".align", |a, c| a.align(c, false, 1)),
    (".balign", |a, c| a.align(c, false, 1)),
    (".balignw", |a, c| a.align(c, false, 2)),
    (".balignl", |a, c| a.align(c, false, 4)),
    (".org", |a, c| a.org_directive(c)),
    (".nops", |a, c| a.nops(c)),
    (".nop", |a, c| a.nops(c)),
    (".comm", |a, c| a.common(c, false)),
    (".common", |a, c| a.common(c, false)),
    (".lcomm", |a, c| a.common(c, true)),
    // Symbols.
    (".extern", IGNORED),
    (".globl", |a, c| a.bind_symbols(c, Binding::Global)),
    (".global", |a, c| a.bind_symbols(c, Binding::Global)),
    (".weak", |a, c| a.bind_symbols(c, Binding::Weak)),
    (".local", |a, c| a.bind_symbols(c, Binding::Local)),
    (".internal", |a, c| a.hide_symbols(c, 1)),
    (".hidden", |a, c| a.hide_symbols(c, 2)),
    (".protected", |a, c| a.hide_symbols(c, 3)),
    (".type", |a, c| a.type_directive(c)),
    (".size", |a, c| a.size_directive(c)),
    (".set", |a, c| a.set_directive(c, false)),
    (".equ", |a, c| a.set_directive(c, false)),
    (".lsym", |a, c| a.set_directive(c, false)),
    (".equiv", |a, c| a.set_directive(c, true)),
    (".eqv", |a, c| a.set_directive(c, true)),
    (".symver", |a, c| a.symver(c)),
    (".weakref", |a, c| a.weakref(c)),
    (".reloc", |a, c| a.reloc(c)),
    // Sections.
    (".text", |a, c| a.plain_section(c, 0)),
    (".data", |a, c| a.plain_section(c, 1)),
    (".bss", |a, c| a.plain_section(c, BSS)),
    (".section", |a, c| a.section_directive(c)),
    (".pushsection", |a, c| a.push_section(c)),
    (".popsection", |a, _| a.pop_section()),
    (".previous", |a, _| a.previous_section()),
    (".subsection", |a, c| a.subsection_directive(c)),
    // Conditions.
    (".if", |a, c| a.if_number(c, |n| n != 0)),
    (".ifne", |a, c| a.if_number(c, |n| n != 0)),
    (".ifeq", |a, c| a.if_number(c, |n| n == 0)),
    (".ifgt", |a, c| a.if_number(c, |n| n > 0)),
    (".ifge", |a, c| a.if_number(c, |n| n >= 0)),
    (".iflt", |a, c| a.if_number(c, |n| n < 0)),
    (".ifle", |a, c| a.if_number(c, |n| n <= 0)),
    (".ifdef", |a, c| a.if_defined(c, true)),
    (".ifndef", |a, c| a.if_defined(c, false)),
    (".ifnotdef", |a, c| a.if_defined(c, false)),
    (".ifb", |a, c| a.if_blank(c, true)),
    (".ifnb", |a, c| a.if_blank(c, false)),
    (".ifc", |a, c| a.if_same(c, true)),
    (".ifeqs", |a, c| a.if_same(c, true)),
    (".ifnc", |a, c| a.if_same(c, false)),
    (".ifnes", |a, c| a.if_same(c, false)),
    (".elseif", |a, c| a.else_if(c)),
    (".else", |a, _| a.else_branch()),
    (".endif", |a, _| a.end_if()),
    // Macros, repetitions, files.
    (".macro", |a, c| a.define_macro(c)),
    (".endm", |_, _| fail(".endm without .macro")),
    (".endr", |_, _| fail(".endr without .rept, .irp or .irpc")),
    (".exitm", |a, c| a.exit_macro(c)),
    (".purgem", |a, c| a.purge_macro(c)),
    (".altmacro", |a, _| a.alternate_macros(true)),
    (".noaltmacro", |a, _| a.alternate_macros(false)),
    (".rept", |a, c| a.repeat(c)),
    (".rep", |a, c| a.repeat(c)),
    (".irp", |a, c| a.repeat_over(c, false)),
    (".irpc", |a, c| a.repeat_over(c, true)),
    (".include", |a, c| a.include(c)),
    (".end", |a, c| a.end(c)),
    (".abort", |a, _| a.abort()),
    (".err", |a, c| a.error_directive(c)),
    (".error", |a, c| a.error_directive(c)),
    (".warning", |a, c| a.message_directive(c, Severity::Warning)),
    (".print", |a, c| a.message_directive(c, Severity::Note)),
    // Call frames.
    (".cfi_startproc", |a, c| a.start_frame(c)),
    (".cfi_endproc", |a, _| a.end_frame()),
    (".cfi_sections", |a, c| a.cfi_sections(c)),
    (".cfi_personality", |a, c| a.cfi_pointer(c, false)),
    (".cfi_lsda", |a, c| a.cfi_pointer(c, true)),
    (".cfi_signal_frame", |a, _| a.signal_frame()),
    (".cfi_return_column", |a, c| a.return_column(c)),
    (".cfi_def_cfa", |a, c| a.def_cfa(c)),
    (".cfi_def_cfa_register", |a, c| a.def_cfa_register(c)),
    (".cfi_def_cfa_offset", |a, c| a.def_cfa_offset(c)),
    (".cfi_adjust_cfa_offset", |a, c| a.adjust_cfa_offset(c)),
    (".cfi_offset", |a, c| a.cfi_offset(c)),
    (".cfi_rel_offset", |a, c| a.cfi_rel_offset(c)),
    (".cfi_val_offset", |a, c| a.cfi_val_offset(c)),
    (".cfi_register", |a, c| a.cfi_moved(c)),
    (".cfi_restore", |a, c| a.cfi_registers(c, Op::Restore)),
    (".cfi_undefined", |a, c| a.cfi_registers(c, Op::Undefined)),
    (".cfi_same_value", |a, c| a.cfi_registers(c, Op::SameValue)),
    (".cfi_remember_state", |a, _| a.remember_state()),
    (".cfi_restore_state", |a, _| a.restore_state()),
    (".cfi_window_save", |a, _| a.add_op(Op::WindowSave)),
    (".cfi_escape", |a, c| a.cfi_escape(c)),
    (".cfi_label", |a, c| a.cfi_label(c)),
    // Lines and the object.
    (".file", |a, c| a.file_directive(c)),
    (".loc", |a, c| a.loc_directive(c)),
    (".loc_mark_labels", |a, c| a.number(c).map(drop)),
    (".ident", |a, c| a.ident(c)),
    (".addrsig", NOTHING),
    (".addrsig_sym", |a, c| a.addrsig_symbol(c)),
    // The processor and its syntax.
    (".intel_syntax", |a, c| a.syntax(c, true)),
    (".att_syntax", |a, c| a.syntax(c, false)),
    (".code64", NOTHING),
    (".att_mnemonic", NOTHING),
    (".allow_index_reg", NOTHING),
    (".disallow_index_reg", NOTHING),
    (".code32", |_, _| fail("only 64-bit code is assembled here")),
    (".code16", |_, _| fail("only 64-bit code is assembled here")),
    (".code16gcc", |_, _| fail("only 64-bit code is assembled here")),
    (".intel_mnemonic", |_, _| fail("in AT&T syntax only AT&T's names of x87 instructions are known")),
    (".arch", IGNORED),
    (".lto_discard", IGNORED),
    (".line", IGNORED),
    (".ln", IGNORED),
    (".version", IGNORED),
    (".sframe", IGNORED),
    (".title", IGNORED),
    (".sbttl", IGNORED),
    (".list", IGNORED),
    (".nolist", IGNORED),
    (".eject", IGNORED),
    (".psize", IGNORED),
    (".gnu_attribute", IGNORED),
    (".stabs", IGNORED),
    (".stabn", IGNORED),
    (".stabd", IGNORED),
    (".bundle_align_mode", IGNORED),
    (".cg_profile", IGNORED),
];

/// A power of two, several times the number of directives.
const SLOTS: usize = 1024;

/// Where each directive stands in the list, plus one, by the hash of its name; 0 is free.
static BY_HASH: [u8; SLOTS] = {
    let mut slots = [0; SLOTS];
    let mut index = 0;
    while index < DIRECTIVES.len() {
        let mut slot = hash(DIRECTIVES[index].0.as_bytes());
        while slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        assert!(index < 255, "more directives than a byte counts");
        slots[slot] = index as u8 + 1;
        index += 1;
    }
    slots
};

/// Of a few bytes that tell the names apart.
const fn hash(name: &[u8]) -> usize {
    let len = name.len();
    if len < 3 {
        return 0;
    }
    let picked = [
        len as u8,
        name[1],
        name[2],
        name[len / 2],
        name[len - 2],
        name[len - 1],
        0,
        0,
    ];
    (u64::from_le_bytes(picked).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize
}

/// The directive of this name.
#[inline]
pub(super) fn find(name: &[u8]) -> Option<Directive> {
    let mut slot = hash(name);
    loop {
        let (known, directive) = DIRECTIVES[(BY_HASH[slot] as usize).checked_sub(1)?];
        if known.as_bytes() == name {
            return Some(directive);
        }
        slot = (slot + 1) % SLOTS;
    }
}
