//! `.section name, "flags", @type, ...`

use alloc::vec::Vec;

use super::cursor::Cursor;
use super::{Assembler, Fail, fail, string};
use crate::section::{Group, Section, elf};
use crate::symbol::SectionId;

/// What stands behind a section's name.
#[derive(Default)]
struct Stated {
    flags: u64,
    kind: Option<u32>,
    entry_size: u64,
    group: Option<Group>,
    linked: Option<u32>,
    unique: Option<u32>,
    subsection: i64,
    given: bool,
    /// `?`: the group of the section before.
    same_group: bool,
}

impl Assembler<'_> {
    /// `.section`
    pub(super) fn section_directive(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fail> {
        let id = self.section(cursor)?;
        self.switch(id);
        Ok(())
    }

    /// Reads what follows `.section` and finds or makes the section.
    fn section(&mut self, cursor: &mut Cursor<'_>) -> Result<SectionId, Fail> {
        let name = section_name(cursor)?;
        let mut stated = Stated::default();
        if cursor.eat(b',') {
            self.section_flags(cursor, &mut stated)?;
        }
        if stated.same_group {
            stated
                .group
                .clone_from(&self.unit.sections[self.current as usize].group);
        }
        let known = self.unit.sections.iter().position(|s| {
            s.name == name
                && s.parent.is_none()
                && s.unique == stated.unique
                && (s.group == stated.group || !stated.given)
        });
        let id = match known {
            Some(known) => known as SectionId,
            None => self.new_section(&name, &stated),
        };
        if stated.subsection != 0 {
            return fail("subsections of other sections than .text, .data and .bss are made with .subsection");
        }
        Ok(id)
    }

    fn new_section(&mut self, name: &[u8], stated: &Stated) -> SectionId {
        let (kind, flags) = defaults(name);
        let flags = if stated.given { stated.flags } else { flags };
        let mut section = Section::new(name, stated.kind.unwrap_or(kind), flags);
        section.entry_size = stated.entry_size;
        section.group.clone_from(&stated.group);
        section.linked = stated.linked;
        section.unique = stated.unique;
        self.unit.sections.push(section);
        self.unit.sections.len() as SectionId - 1
    }

    /// `"flags" [, @type [, entry size] [, linked] [, group [, comdat]] [, unique, N]]`
    fn section_flags(&mut self, cursor: &mut Cursor<'_>, stated: &mut Stated) -> Result<(), Fail> {
        cursor.skip_space();
        if cursor.peek() != b'"' {
            stated.subsection = self.number(cursor)?;
            return Ok(());
        }
        stated.given = true;
        let letters = string::quoted(cursor)?;
        let Letters {
            grouped,
            linked,
            merged,
        } = flag_letters(&letters, stated)?;
        if !cursor.eat(b',') {
            return Ok(());
        }
        cursor.skip_space();
        let mut more = true;
        if matches!(cursor.peek(), b'@' | b'%' | b'#') {
            cursor.pos += 1;
            stated.kind = Some(self.section_type(cursor)?);
            more = cursor.eat(b',');
        }
        if merged && more {
            stated.entry_size = self.number(cursor)? as u64;
            more = cursor.eat(b',');
        }
        if linked && more {
            cursor.skip_space();
            if cursor.peek().is_ascii_digit() {
                self.number(cursor)?;
            } else {
                let symbol = string::name_or_quoted(cursor)?;
                stated.linked = Some(self.unit.symbols.intern(&symbol));
            }
            more = cursor.eat(b',');
        }
        if grouped && more {
            let signature = string::name_or_quoted(cursor)?;
            let signature = self.unit.symbols.intern(&signature);
            more = cursor.eat(b',');
            let mut ahead = *cursor;
            ahead.skip_space();
            let comdat = more && ahead.name() == b"comdat";
            if comdat {
                *cursor = ahead;
                more = cursor.eat(b',');
            }
            stated.group = Some(Group { signature, comdat });
        }
        if more {
            cursor.skip_space();
            if cursor.name() != b"unique" || !cursor.eat(b',') {
                return fail("`unique, N` or the end of the statement is expected");
            }
            stated.unique = Some(self.number(cursor)? as u32);
        }
        Ok(())
    }

    fn section_type(&mut self, cursor: &mut Cursor<'_>) -> Result<u32, Fail> {
        if cursor.peek().is_ascii_digit() {
            return Ok(self.number(cursor)? as u32);
        }
        match cursor.name() {
            b"progbits" => Ok(elf::SHT_PROGBITS),
            b"nobits" => Ok(elf::SHT_NOBITS),
            b"note" => Ok(elf::SHT_NOTE),
            b"init_array" => Ok(elf::SHT_INIT_ARRAY),
            b"fini_array" => Ok(elf::SHT_FINI_ARRAY),
            b"preinit_array" => Ok(elf::SHT_PREINIT_ARRAY),
            b"unwind" => Ok(elf::SHT_X86_64_UNWIND),
            b"llvm_bb_addr_map" => Ok(0x6fff_4c0a),
            b"llvm_odrtab" => Ok(0x6fff_4c00),
            b"llvm_linker_options" => Ok(0x6fff_4c01),
            b"llvm_dependent_libraries" => Ok(0x6fff_4c04),
            b"llvm_sympart" => Ok(0x6fff_4c05),
            b"llvm_call_graph_profile" => Ok(0x6fff_4c09),
            b"llvm_offloading" => Ok(0x6fff_4c0b),
            b"llvm_lto" => Ok(0x6fff_4c0c),
            _ => fail("an unknown section type"),
        }
    }
}

/// Flags that say what else follows.
#[derive(Default)]
struct Letters {
    grouped: bool,
    linked: bool,
    merged: bool,
}

/// The letters of a section's flags.
fn flag_letters(text: &[u8], stated: &mut Stated) -> Result<Letters, Fail> {
    let mut letters = Letters::default();
    for (index, flag) in text.iter().enumerate() {
        stated.flags |= match flag {
            b'a' => elf::SHF_ALLOC,
            b'w' => elf::SHF_WRITE,
            b'x' => elf::SHF_EXECINSTR,
            b'M' => {
                letters.merged = true;
                elf::SHF_MERGE
            }
            b'S' => elf::SHF_STRINGS,
            b'G' => {
                letters.grouped = true;
                0
            }
            b'T' => elf::SHF_TLS,
            b'l' => elf::SHF_X86_64_LARGE,
            b'e' => elf::SHF_EXCLUDE,
            b'R' => elf::SHF_GNU_RETAIN,
            b'C' => elf::SHF_COMPRESSED,
            b'o' => {
                letters.linked = true;
                0
            }
            b'?' => {
                stated.same_group = true;
                0
            }
            b'0'..=b'9' => {
                let number = super::expression::parse_number(&text[index..], false).unwrap_or(0);
                stated.flags |= number;
                break;
            }
            _ => return fail("an unknown section flag"),
        };
    }
    Ok(letters)
}

/// A section's name: anything up to a comma or blank, or a string.
fn section_name(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, Fail> {
    cursor.skip_space();
    if cursor.peek() == b'"' {
        return string::quoted(cursor);
    }
    let start = cursor.pos;
    while !matches!(
        cursor.peek(),
        b',' | b' ' | b'\t' | b'\n' | b'\r' | b';' | b'#' | b'"' | 0
    ) {
        cursor.pos += 1;
    }
    if cursor.pos == start {
        return fail("a section's name is expected");
    }
    Ok(cursor.text[start..cursor.pos].to_vec())
}

/// Type and flags of the sections that gABI and psABI give a meaning.
fn defaults(name: &[u8]) -> (u32, u64) {
    use elf::*;
    let rw = SHF_ALLOC | SHF_WRITE;
    let table: [(&[u8], u32, u64); 24] = [
        (b".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR),
        (b".init", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR),
        (b".fini", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR),
        (b".plt", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR),
        (b".gnu.linkonce.t", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR),
        (b".init_array", SHT_INIT_ARRAY, rw),
        (b".fini_array", SHT_FINI_ARRAY, rw),
        (b".preinit_array", SHT_PREINIT_ARRAY, rw),
        (b".data1", SHT_PROGBITS, rw),
        (b".data", SHT_PROGBITS, rw),
        (b".gnu.linkonce.d", SHT_PROGBITS, rw),
        (b".bss", SHT_NOBITS, rw),
        (b".gnu.linkonce.b", SHT_NOBITS, rw),
        (b".tdata", SHT_PROGBITS, rw | SHF_TLS),
        (b".tbss", SHT_NOBITS, rw | SHF_TLS),
        (b".rodata1", SHT_PROGBITS, SHF_ALLOC),
        (b".rodata", SHT_PROGBITS, SHF_ALLOC),
        (b".gnu.linkonce.r", SHT_PROGBITS, SHF_ALLOC),
        (b".ldata", SHT_PROGBITS, rw | SHF_X86_64_LARGE),
        (b".lbss", SHT_NOBITS, rw | SHF_X86_64_LARGE),
        (b".lrodata", SHT_PROGBITS, SHF_ALLOC | SHF_X86_64_LARGE),
        (b".eh_frame", SHT_PROGBITS, SHF_ALLOC),
        (b".note.GNU-stack", SHT_PROGBITS, 0),
        (b".note", SHT_NOTE, 0),
    ];
    let covers = |prefix: &[u8]| {
        if prefix == b".note" {
            // Here alone any name that starts so is meant.
            return name.starts_with(prefix);
        }
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'.')
    };
    table
        .iter()
        .find(|(prefix, ..)| covers(prefix))
        .map_or((SHT_PROGBITS, 0), |&(_, kind, flags)| (kind, flags))
}
