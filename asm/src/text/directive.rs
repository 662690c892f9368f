//! The directives, and those about symbols and sections.

use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::Cursor;
use super::{Assembler, Fail, fail, string};
use crate::section::{ExplicitReloc, Section, elf};
use crate::symbol::{Binding, SectionId, SymbolId, Value};

type Done = Result<(), Fail>;

impl Assembler<'_> {
    pub(super) fn push_section(&mut self, cursor: &mut Cursor<'_>) -> Done {
        self.section_stack.push((self.current, self.previous));
        self.section_directive(cursor)
    }

    pub(super) fn pop_section(&mut self) -> Done {
        let Some((current, previous)) = self.section_stack.pop() else {
            return fail(".popsection without .pushsection");
        };
        (self.current, self.previous) = (current, previous);
        Ok(())
    }

    pub(super) fn previous_section(&mut self) -> Done {
        let Some(previous) = self.previous else {
            return fail("there is no previous section");
        };
        self.switch(previous);
        Ok(())
    }

    pub(super) fn subsection_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let number = self.number(cursor)?;
        let id = self.subsection(self.base_section(self.current), number);
        self.switch(id);
        Ok(())
    }

    /// `.globl`, `.weak`
    pub(super) fn bind_symbols(&mut self, cursor: &mut Cursor<'_>, binding: Binding) -> Done {
        self.each_symbol(cursor, |assembler, id| assembler.bind(id, binding))
    }

    /// `.internal` 1, `.hidden` 2, `.protected` 3: STV_*
    pub(super) fn hide_symbols(&mut self, cursor: &mut Cursor<'_>, visibility: u8) -> Done {
        self.each_symbol(cursor, |assembler, id| {
            assembler.unit.symbols.get_mut(id).visibility = visibility;
        })
    }

    pub(super) fn addrsig_symbol(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let name = string::name_or_quoted(cursor)?;
        let id = self.unit.symbols.intern(&name);
        self.lines.addrsig_symbols.push(id);
        Ok(())
    }

    /// Names separated by commas.
    fn each_symbol(&mut self, cursor: &mut Cursor<'_>, mut action: impl FnMut(&mut Self, SymbolId)) -> Done {
        loop {
            let name = string::name_or_quoted(cursor)?;
            let id = self.unit.symbols.intern(&name);
            self.unit.symbols.get_mut(id).mentioned = true;
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
    pub(super) fn type_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let name = string::name_or_quoted(cursor)?;
        cursor.eat(b',');
        cursor.skip_space();
        let word = match cursor.peek() {
            b'@' | b'%' | b'#' => {
                cursor.pos += 1;
                cursor.name().into()
            }
            _ => string::name_or_quoted(cursor)?,
        };
        let id = self.unit.symbols.intern(&name);
        let symbol = self.unit.symbols.get_mut(id);
        symbol.mentioned = true;
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
    pub(super) fn size_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let name = string::name_or_quoted(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and a size are expected");
        }
        let value = self.expression(cursor)?;
        let value = self.unit.fold(&value, 0).unwrap_or(value);
        let id = self.unit.symbols.intern(&name);
        let value = self.unit.symbols.keep(value);
        let symbol = self.unit.symbols.get_mut(id);
        symbol.size = value;
        symbol.mentioned = true;
        Ok(())
    }

    pub(super) fn set_directive(&mut self, cursor: &mut Cursor<'_>, once: bool) -> Done {
        let name = string::name_or_quoted(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and a value are expected");
        }
        self.set_symbol(cursor, &name, once)
    }

    /// `.symver name, alias@VERSION [, visibility]`
    pub(super) fn symver(&mut self, cursor: &mut Cursor<'_>) -> Done {
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
    pub(super) fn weakref(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let alias = string::name_or_quoted(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and a target are expected");
        }
        let target = string::name_or_quoted(cursor)?;
        let target = self.unit.symbols.intern(&target);
        let alias = self.unit.symbols.intern(&alias);
        self.unit.symbols.set(alias, Value::symbol(target));
        self.unit.symbols.get_mut(alias).weakref = true;
        let symbol = self.unit.symbols.get_mut(target);
        if symbol.binding == Binding::Default && !symbol.is_defined() {
            symbol.binding = Binding::Weak;
        }
        Ok(())
    }

    /// `.reloc offset, TYPE [, expression]`
    pub(super) fn reloc(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let offset = self.expression(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and a relocation type are expected");
        }
        cursor.skip_space();
        let start = cursor.pos;
        let name = cursor.name();
        let number = super::expression::parse_number(name, false).and_then(|number| u32::try_from(number).ok());
        let Some(kind) = number.or_else(|| crate::relocation::named(name)) else {
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

    pub(super) fn org_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let target = self.expression(cursor)?;
        let fill = if cursor.eat(b',') { self.number(cursor)? } else { 0 };
        self.org(target, fill as u8)
    }

    /// `.nops count`
    pub(super) fn nops(&mut self, cursor: &mut Cursor<'_>) -> Done {
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
    pub(super) fn ident(&mut self, cursor: &mut Cursor<'_>) -> Done {
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
    pub(super) fn syntax(&mut self, cursor: &mut Cursor<'_>, intel: bool) -> Done {
        cursor.name();
        self.intel = intel;
        Ok(())
    }

    /// `.incbin "file" [, skip [, count]]`
    pub(super) fn incbin(&mut self, cursor: &mut Cursor<'_>) -> Done {
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
    pub(super) fn plain_section(&mut self, cursor: &mut Cursor<'_>, id: SectionId) -> Done {
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

    /// `.addrsig`: the symbols whose address matters, by their index in the symbol table.
    pub(super) fn write_addrsig(&mut self) {
        // The table refers to symbol numbers, which the writer gives; a linker that finds none assumes every
        // address is significant, so leaving the table out is safe.
        self.lines.addrsig_symbols.clear();
        if !self.symvers.is_empty() {
            self.apply_symvers();
        }
    }

    /// `.symver name, alias@VERSION`: one more symbol at the same place, or a new name for an undefined one.
    fn apply_symvers(&mut self) {
        for (id, versioned) in core::mem::take(&mut self.symvers) {
            let symbol = *self.unit.symbols.get(id);
            let mut name = versioned;
            if let Some(at) = name.windows(3).position(|w| w == b"@@@") {
                let drop = if symbol.is_defined() { 1 } else { 2 };
                name.drain(at..at + drop);
            }
            let alias = self.unit.symbols.intern(&name);
            let target = self.unit.symbols.get_mut(alias);
            target.binding = symbol.binding;
            target.kind = symbol.kind;
            target.size = symbol.size;
            target.visibility = symbol.visibility;
            if symbol.is_defined() {
                target.place = symbol.place;
            } else {
                target.used = true;
                self.unit.symbols.set(id, Value::symbol(alias));
                self.unit.symbols.get_mut(id).weakref = true;
            }
        }
    }
}
