//! The directives, and those about symbols and sections.

use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::Cursor;
use super::{Assembler, Fail, fail, string};
use crate::section::{ExplicitReloc, Section, elf};
use crate::symbol::{Binding, Place, SectionId, SymbolId, Value};

type Done = Result<(), Fail>;

impl Assembler<'_> {
    /// A directive whose name has been read.
    pub(super) fn directive(&mut self, cursor: &mut Cursor<'_>, name: &[u8], start: usize) -> Done {
        cursor.skip_space();
        if let Some(result) = self.dispatch(cursor, name) {
            return result;
        }
        let lower = name.to_ascii_lowercase();
        if lower != name
            && let Some(result) = self.dispatch(cursor, &lower)
        {
            return result;
        }
        cursor.pos = start;
        fail(alloc::format!(
            "there is no directive {}",
            String::from_utf8_lossy(name)
        ))
    }

    fn dispatch(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Option<Done> {
        self.data_directive(cursor, name)
            .or_else(|| self.symbol_directive(cursor, name))
            .or_else(|| self.section_directive(cursor, name))
            .or_else(|| self.cfi_directive(cursor, name))
            .or_else(|| self.control_directive(cursor, name))
            .or_else(|| self.other_directive(cursor, name))
    }

    fn data_directive(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Option<Done> {
        Some(match name {
            b".byte" | b".dc.b" => self.numbers(cursor, 1),
            b".value" | b".short" | b".hword" | b".2byte" | b".word" | b".dc.w" => self.numbers(cursor, 2),
            b".long" | b".int" | b".4byte" | b".dc.l" | b".dc" => self.numbers(cursor, 4),
            b".quad" | b".8byte" | b".dc.a" => self.numbers(cursor, 8),
            b".octa" | b".16byte" => self.octas(cursor),
            b".uleb128" => self.lebs(cursor, false),
            b".sleb128" => self.lebs(cursor, true),
            b".ascii" => self.strings(cursor, b""),
            b".asciz" | b".string" | b".string8" => self.strings(cursor, b"\0"),
            b".string16" => self.wide_strings(cursor, 2),
            b".string32" => self.wide_strings(cursor, 4),
            b".string64" => self.wide_strings(cursor, 8),
            b".base64" => self.base64(cursor),
            b".float" | b".single" | b".dc.s" => self.floats(cursor, 4),
            b".double" | b".dc.d" => self.floats(cursor, 8),
            b".zero" | b".skip" | b".space" => self.skip(cursor),
            b".fill" => self.fill(cursor),
            b".p2align" => self.align(cursor, true, 1),
            b".p2alignw" => self.align(cursor, true, 2),
            b".p2alignl" => self.align(cursor, true, 4),
            b".align" | b".balign" => self.align(cursor, false, 1),
            b".balignw" => self.align(cursor, false, 2),
            b".balignl" => self.align(cursor, false, 4),
            b".org" => self.org_directive(cursor),
            b".nops" | b".nop" => self.nops(cursor),
            b".comm" | b".common" => self.common(cursor, false),
            b".lcomm" => self.common(cursor, true),
            b".incbin" => self.incbin(cursor),
            _ => return None,
        })
    }

    fn symbol_directive(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Option<Done> {
        Some(match name {
            b".extern" => {
                cursor.skip_statement();
                Ok(())
            }
            b".globl" | b".global" => self.each_symbol(cursor, |a, id| a.bind(id, Binding::Global)),
            b".weak" => self.each_symbol(cursor, |a, id| a.bind(id, Binding::Weak)),
            b".local" => self.each_symbol(cursor, |a, id| {
                let symbol = a.unit.symbols.get_mut(id);
                symbol.binding = Binding::Local;
            }),
            b".internal" => self.each_symbol(cursor, |a, id| a.unit.symbols.get_mut(id).visibility = 1),
            b".hidden" => self.each_symbol(cursor, |a, id| a.unit.symbols.get_mut(id).visibility = 2),
            b".protected" => self.each_symbol(cursor, |a, id| a.unit.symbols.get_mut(id).visibility = 3),
            b".type" => self.type_directive(cursor),
            b".size" => self.size_directive(cursor),
            b".set" | b".equ" => self.set_directive(cursor, false),
            b".equiv" | b".eqv" => self.set_directive(cursor, true),
            b".symver" => self.symver(cursor),
            b".weakref" => self.weakref(cursor),
            b".lsym" => self.set_directive(cursor, false),
            _ => return None,
        })
    }

    fn section_directive(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Option<Done> {
        Some(match name {
            b".text" => self.plain_section(cursor, 0),
            b".data" => self.plain_section(cursor, 1),
            b".bss" => self.plain_section(cursor, super::BSS),
            b".section" => self.section(cursor).map(|id| self.switch(id)),
            b".pushsection" => {
                self.section_stack.push((self.current, self.previous));
                self.section(cursor).map(|id| self.switch(id))
            }
            b".popsection" => match self.section_stack.pop() {
                Some((current, previous)) => {
                    self.current = current;
                    self.previous = previous;
                    Ok(())
                }
                None => fail(".popsection without .pushsection"),
            },
            b".previous" => match self.previous {
                Some(previous) => {
                    self.switch(previous);
                    Ok(())
                }
                None => fail("there is no previous section"),
            },
            b".subsection" => self.number(cursor).map(|number| {
                let id = self.subsection(self.base_section(self.current), number);
                self.switch(id);
            }),
            _ => return None,
        })
    }

    fn other_directive(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Option<Done> {
        Some(match name {
            b".file" => self.file_directive(cursor),
            b".loc" => self.loc_directive(cursor),
            b".loc_mark_labels" => self.number(cursor).map(|_| ()),
            b".ident" => self.ident(cursor),
            b".intel_syntax" => self.syntax(cursor, true),
            b".att_syntax" => self.syntax(cursor, false),
            b".reloc" => self.reloc(cursor),
            b".addrsig" => {
                self.lines.addrsig = true;
                Ok(())
            }
            b".addrsig_sym" => string::name_or_quoted(cursor).map(|name| {
                let id = self.unit.symbols.intern(&name);
                self.lines.addrsig_symbols.push(id);
            }),
            b".code64" | b".att_mnemonic" | b".allow_index_reg" | b".disallow_index_reg" => Ok(()),
            b".code32" | b".code16" | b".code16gcc" => fail("only 64-bit code is assembled here"),
            b".intel_mnemonic" => fail("only AT&T mnemonics of the x87 unit are known in AT&T syntax"),
            b".arch"
            | b".lto_discard"
            | b".line"
            | b".ln"
            | b".version"
            | b".sframe"
            | b".title"
            | b".sbttl"
            | b".list"
            | b".nolist"
            | b".eject"
            | b".psize"
            | b".gnu_attribute"
            | b".stabs"
            | b".stabn"
            | b".stabd"
            | b".bundle_align_mode"
            | b".cg_profile" => {
                cursor.skip_statement();
                Ok(())
            }
            _ => return None,
        })
    }

    /// Names separated by commas.
    fn each_symbol(&mut self, cursor: &mut Cursor<'_>, mut action: impl FnMut(&mut Self, SymbolId)) -> Done {
        loop {
            let name = string::name_or_quoted(cursor)?;
            let id = self.unit.symbols.intern(&name);
            action(self, id);
            if !cursor.eat(b',') {
                return Ok(());
            }
        }
    }

    fn bind(&mut self, id: SymbolId, binding: Binding) {
        let symbol = self.unit.symbols.get_mut(id);
        // Unique wins over global, and weak over both.
        if !(binding == Binding::Global && matches!(symbol.binding, Binding::Weak | Binding::Unique)) {
            symbol.binding = binding;
        }
    }

    /// `.type name, @function`
    fn type_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let name = string::name_or_quoted(cursor)?;
        cursor.eat(b',');
        cursor.skip_space();
        let word = match cursor.peek() {
            b'@' | b'%' | b'#' => {
                cursor.pos += 1;
                cursor.name().to_vec()
            }
            _ => string::name_or_quoted(cursor)?,
        };
        let id = self.unit.symbols.intern(&name);
        let symbol = self.unit.symbols.get_mut(id);
        symbol.kind = match &word[..] {
            b"function" | b"STT_FUNC" => elf::STT_FUNC,
            b"object" | b"STT_OBJECT" => elf::STT_OBJECT,
            b"tls_object" | b"STT_TLS" => elf::STT_TLS,
            b"notype" | b"STT_NOTYPE" => 0,
            b"common" | b"STT_COMMON" => elf::STT_COMMON,
            b"gnu_indirect_function" | b"STT_GNU_IFUNC" => elf::STT_GNU_IFUNC,
            b"gnu_unique_object" => {
                symbol.binding = Binding::Unique;
                elf::STT_OBJECT
            }
            _ => return fail("an unknown symbol type"),
        };
        Ok(())
    }

    /// `.size name, expression`
    fn size_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let name = string::name_or_quoted(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and a size are expected");
        }
        let value = self.expression(cursor)?;
        let value = self.unit.fold(&value, 0).unwrap_or(value);
        let id = self.unit.symbols.intern(&name);
        self.unit.symbols.get_mut(id).size = value;
        Ok(())
    }

    fn set_directive(&mut self, cursor: &mut Cursor<'_>, once: bool) -> Done {
        let name = string::name_or_quoted(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and a value are expected");
        }
        self.set_symbol(cursor, &name, once)
    }

    /// `.symver name, alias@VERSION [, visibility]`
    fn symver(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let name = string::name_or_quoted(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and a versioned name are expected");
        }
        cursor.skip_space();
        let start = cursor.pos;
        while cursor.peek() == b'@' || super::cursor::in_name(cursor.peek()) {
            cursor.pos += 1;
        }
        let versioned = cursor.text[start..cursor.pos].to_vec();
        if !versioned.contains(&b'@') {
            return fail("a name with @, @@ or @@@ and a version is expected");
        }
        if cursor.eat(b',') {
            cursor.skip_space();
            cursor.name();
        }
        let id = self.unit.symbols.intern(&name);
        self.symvers.push((id, versioned));
        Ok(())
    }

    /// `.weakref alias, target`
    fn weakref(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let alias = string::name_or_quoted(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and a target are expected");
        }
        let target = string::name_or_quoted(cursor)?;
        let target = self.unit.symbols.intern(&target);
        let alias = self.unit.symbols.intern(&alias);
        let symbol = self.unit.symbols.get_mut(alias);
        symbol.place = Place::Equal(Value::symbol(target));
        symbol.weakref = true;
        let symbol = self.unit.symbols.get_mut(target);
        if symbol.binding == Binding::Default && !symbol.is_defined() {
            symbol.binding = Binding::Weak;
        }
        Ok(())
    }

    /// `.reloc offset, TYPE [, expression]`
    fn reloc(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let offset = self.expression(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and a relocation type are expected");
        }
        cursor.skip_space();
        let start = cursor.pos;
        let name = cursor.name();
        let Some(kind) = super::line::relocation_named(name) else {
            cursor.pos = start;
            return fail("an unknown relocation type");
        };
        let value = if cursor.eat(b',') {
            self.expression(cursor)?
        } else {
            Value::constant(0)
        };
        let line = self.line;
        self.unit.sections[self.current as usize].explicit.push(ExplicitReloc {
            offset,
            kind,
            value,
            line,
        });
        Ok(())
    }

    fn org_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let target = self.expression(cursor)?;
        let fill = if cursor.eat(b',') { self.number(cursor)? } else { 0 };
        self.org(target, fill as u8)
    }

    /// `.nops count`
    fn nops(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let count = self.number(cursor)?;
        if cursor.eat(b',') {
            self.number(cursor)?;
        }
        if !(0..=1 << 24).contains(&count) {
            return fail("this count is negative or too large");
        }
        crate::nop::fill(&mut self.unit.sections[self.current as usize].bytes, count as usize);
        Ok(())
    }

    /// `.ident "text"`: a string of `.comment`.
    fn ident(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let text = string::quoted(cursor)?;
        let id = self.find_section(b".comment").unwrap_or_else(|| {
            let mut section = Section::new(b".comment", elf::SHT_PROGBITS, elf::SHF_MERGE | elf::SHF_STRINGS);
            section.entry_size = 1;
            self.unit.sections.push(section);
            self.unit.sections.len() as SectionId - 1
        });
        let section = &mut self.unit.sections[id as usize];
        if !self.idents {
            // The section starts with an empty string.
            section.bytes.push(0);
            self.idents = true;
        }
        section.bytes.extend_from_slice(&text);
        section.bytes.push(0);
        Ok(())
    }

    /// `.intel_syntax [noprefix|prefix]`
    fn syntax(&mut self, cursor: &mut Cursor<'_>, intel: bool) -> Done {
        cursor.name();
        self.intel = intel;
        Ok(())
    }

    /// `.incbin "file" [, skip [, count]]`
    fn incbin(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let name = string::quoted(cursor)?;
        let skip = if cursor.eat(b',') { self.number(cursor)? } else { 0 };
        let count = if cursor.eat(b',') {
            Some(self.number(cursor)?)
        } else {
            None
        };
        let data = self.read_file(&name)?;
        let from = usize::try_from(skip).ok().filter(|&from| from <= data.len());
        let Some(from) = from else {
            return fail("the file is shorter than what is skipped");
        };
        let rest = &data[from..];
        let part = match count {
            Some(count) => rest.get(..usize::try_from(count).unwrap_or(usize::MAX)),
            None => Some(rest),
        };
        match part {
            Some(part) => self.bytes(part),
            None => fail("the file is shorter than this"),
        }
    }

    /// A file of `.include` or `.incbin`.
    pub(super) fn read_file(&self, name: &[u8]) -> Result<Vec<u8>, Fail> {
        let name = String::from_utf8_lossy(name).into_owned();
        let relative = std::path::Path::new(&name);
        let places = core::iter::once(relative.to_path_buf())
            .chain(self.options.include_dirs.iter().map(|dir| dir.join(relative)));
        let mut last = None;
        for place in places {
            match std::fs::read(&place) {
                Ok(data) => return Ok(data),
                Err(error) => last = Some(error),
            }
        }
        let reason = last.map_or(String::new(), |error| alloc::format!(": {error}"));
        fail(alloc::format!("cannot read {name}{reason}"))
    }

    pub(super) fn switch(&mut self, id: SectionId) {
        self.previous = Some(self.current);
        self.current = id;
    }

    /// `.text [subsection]`
    fn plain_section(&mut self, cursor: &mut Cursor<'_>, id: SectionId) -> Done {
        let number = if cursor.at_end() { 0 } else { self.number(cursor)? };
        let id = self.subsection(id, number);
        self.switch(id);
        Ok(())
    }

    fn base_section(&self, id: SectionId) -> SectionId {
        self.unit.sections[id as usize].parent.map_or(id, |(parent, _)| parent)
    }

    /// The subsection of this number.
    pub(super) fn subsection(&mut self, parent: SectionId, number: i64) -> SectionId {
        if number == 0 {
            return parent;
        }
        let known = self
            .unit
            .sections
            .iter()
            .position(|s| s.parent == Some((parent, number)));
        if let Some(known) = known {
            return known as SectionId;
        }
        let base = &self.unit.sections[parent as usize];
        let mut section = Section::new(b"", base.kind, base.flags);
        section.parent = Some((parent, number));
        self.unit.sections.push(section);
        self.unit.sections.len() as SectionId - 1
    }

    pub(super) fn find_section(&self, name: &[u8]) -> Option<SectionId> {
        self.unit
            .sections
            .iter()
            .position(|s| s.name == name && s.parent.is_none())
            .map(|at| at as SectionId)
    }
}
