//! Statements: labels, assignments, directives and instructions, one after the other.

use alloc::string::String;

use super::cursor::{Cursor, starts_name};
use super::{Assembler, Fail, expression, fail, memo, string, table};
use crate::symbol::Place;

/// Includes and macros within each other.
const DEEPEST_INPUT: u32 = 128;

impl Assembler<'_> {
    /// Reads statements to the end of the text.
    pub(super) fn run(&mut self, text: &[u8], first_line: u32, input: usize) {
        if self.depth >= DEEPEST_INPUT {
            self.report_line(self.line, "macros and includes are nested too deep");
            self.stop = true;
            return;
        }
        self.depth += 1;
        let mut cursor = Cursor::new(text, first_line);
        while !cursor.is_eof() && !self.stop {
            cursor.skip_space();
            if input != usize::MAX {
                self.line = cursor.line;
            }
            if self.is_skipping() {
                self.skipped_statement(&mut cursor, input);
                continue;
            }
            if let Err(error) = self.remembered_statement(&mut cursor) {
                self.report(&cursor, input, error.message);
                cursor.skip_statement();
            } else if !cursor.at_end() {
                self.report(&cursor, input, "the end of the statement is expected here".into());
                cursor.skip_statement();
            }
            cursor.next_statement();
        }
        self.depth -= 1;
    }

    /// One statement; an instruction or a number that has been seen before is not read again.
    #[inline]
    fn remembered_statement(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fail> {
        if self.listing.is_some() {
            let from = self.listed_from();
            self.statement(cursor)?;
            self.listed_to(from);
            return Ok(());
        }
        let text = &cursor.text[cursor.pos..];
        let is_data = memo::is_constant_data(text);
        if !is_data && (cursor.peek() == b'.' || !starts_name(cursor.peek())) {
            return self.statement(cursor);
        }
        let Some(key) = memo::Key::of(text, self.intel) else {
            return self.statement(cursor);
        };
        if let Some((bytes, len)) = self.memo.find(&key)
            && !self.unit.sections[self.current as usize].is_nobits()
        {
            let bytes = *bytes;
            if !is_data {
                self.before_instruction();
            }
            self.append_known(&bytes, len);
            cursor.pos += key.len;
            return Ok(());
        }
        let (start, names) = (cursor.pos, self.names_read);
        self.known_len = 0;
        self.statement(cursor)?;
        if (1..=memo::BYTES).contains(&self.known_len) && self.names_read == names && cursor.pos == start + key.len {
            let section = &self.unit.sections[self.current as usize];
            let at = section.bytes.len() - self.known_len;
            self.memo.keep(&key, &section.bytes[at..]);
        }
        Ok(())
    }

    /// One statement: labels, then a directive, an assignment, an instruction or nothing.
    pub(super) fn statement(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fail> {
        loop {
            cursor.skip_space();
            let byte = cursor.peek();
            if starts_name(byte) {
                let start = cursor.pos;
                let name = cursor.name();
                match cursor.peek() {
                    b':' => {
                        cursor.pos += 1;
                        self.define_label(name)?;
                        continue;
                    }
                    b' ' | b'\t' if matches!(cursor.peek_at(1), b' ' | b'\t' | b'=' | b':' | b'/') => {
                        let mut ahead = *cursor;
                        ahead.skip_space();
                        if ahead.peek() == b':' && !self.intel {
                            ahead.pos += 1;
                            *cursor = ahead;
                            self.define_label(name)?;
                            continue;
                        }
                        if ahead.peek() == b'=' {
                            *cursor = ahead;
                            return self.assignment(cursor, name);
                        }
                    }
                    b'=' => return self.assignment(cursor, name),
                    _ => {}
                }
                if !self.macros.is_empty()
                    && let Some(body) = self.find_macro(name)
                {
                    return self.call_macro(cursor, &body);
                }
                if byte == b'.' {
                    return self.directive(cursor, name, start);
                }
                return self.instruction(cursor, name, start);
            }
            match byte {
                b'0'..=b'9' => self.numeric_definition(cursor)?,
                b'"' => self.quoted_statement(cursor)?,
                b'{' => return self.instruction(cursor, b"", cursor.pos),
                b'/' if cursor.pos == 0 || cursor.text[cursor.pos - 1] == b'\n' => {
                    while !cursor.is_eof() && cursor.peek() != b'\n' {
                        cursor.pos += 1;
                    }
                    return Ok(());
                }
                _ if cursor.at_end() => return Ok(()),
                _ => return fail("a label, directive or instruction is expected"),
            }
        }
    }

    /// A directive whose name has been read.
    #[inline]
    pub(super) fn directive(&mut self, cursor: &mut Cursor<'_>, name: &[u8], start: usize) -> Result<(), Fail> {
        cursor.skip_space();
        if let Some(directive) = table::find(name) {
            return directive(self, cursor);
        }
        if let Some(directive) = table::find(&name.to_ascii_lowercase()) {
            return directive(self, cursor);
        }
        cursor.pos = start;
        fail(alloc::format!(
            "there is no directive {}",
            String::from_utf8_lossy(name)
        ))
    }

    /// `1:` or `55$:`
    fn numeric_definition(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fail> {
        let text = cursor.name();
        let (digits, dollar) = text.strip_suffix(b"$").map_or((text, false), |digits| (digits, true));
        let Some(number) = expression::parse_number(digits, false) else {
            return fail("a label is expected");
        };
        if !cursor.eat(b':') {
            return fail("a `:` is expected behind a numeric label");
        }
        let place = self.here();
        if dollar {
            let id = self.dollar_label(number);
            if self.unit.symbols.get(id).is_defined() {
                return fail(alloc::format!("label {number}$ is defined twice"));
            }
            self.unit.symbols.get_mut(id).place = place;
            return Ok(());
        }
        let next = core::mem::take(&mut self.numeric.entry(number).or_default().next);
        let id = if next == 0 {
            self.unit.symbols.anonymous(place)
        } else {
            next
        };
        self.unit.symbols.get_mut(id).place = place;
        self.numeric.entry(number).or_default().last = id;
        Ok(())
    }

    /// `"name":` or `"name" = value`
    fn quoted_statement(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fail> {
        let name = string::quoted(cursor)?;
        if cursor.eat(b':') {
            return self.define_label(&name);
        }
        cursor.skip_space();
        if cursor.peek() == b'=' {
            return self.assignment(cursor, &name);
        }
        fail("a `:` or `=` is expected behind a quoted name")
    }

    /// Where the next byte goes.
    #[inline]
    pub(super) fn here(&self) -> Place {
        let section = &self.unit.sections[self.current as usize];
        Place::Label {
            section: self.current,
            offset: section.fixed_size(),
            item: section.item_count(),
        }
    }

    pub(super) fn define_label(&mut self, name: &[u8]) -> Result<(), Fail> {
        self.names_read += 1;
        let place = self.here();
        let id = self.unit.symbols.intern(name);
        let symbol = self.unit.symbols.get_mut(id);
        if symbol.place != Place::Undefined {
            return fail(alloc::format!(
                "symbol {} is defined already",
                String::from_utf8_lossy(name)
            ));
        }
        symbol.place = place;
        if !self.dollar.is_empty() {
            self.dollar.clear();
        }
        Ok(())
    }

    /// `name = expression`; `name == expression` may not be set again.
    pub(super) fn assignment(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Result<(), Fail> {
        cursor.pos += 1;
        let once = cursor.peek() == b'=';
        cursor.pos += usize::from(once);
        self.set_symbol(cursor, name, once)
    }

    /// Reads an expression and makes it a symbol's value.
    pub(super) fn set_symbol(&mut self, cursor: &mut Cursor<'_>, name: &[u8], once: bool) -> Result<(), Fail> {
        let value = self.expression(cursor)?;
        if name == b"." {
            return self.org(value, 0);
        }
        let id = self.unit.symbols.intern(name);
        let value = self.unit.fold(&value, 0).unwrap_or(value);
        if value.plus == id || value.minus == id {
            return fail("a symbol cannot be set to itself");
        }
        if let Some(reg) = self.as_register(&value) {
            self.has_aliases = true;
            self.unit.symbols.get_mut(id).place = Place::Register(reg);
            return Ok(());
        }
        let symbol = self.unit.symbols.get_mut(id);
        match symbol.place {
            Place::Label { .. } => return fail("this symbol is a label already"),
            Place::Equal(_) if once => return fail("this symbol is set already"),
            Place::Equal(_) => symbol.redefinable = true,
            _ => {}
        }
        let kind = symbol.kind;
        self.unit.symbols.set(id, value);
        if kind == 0 && value.plus != 0 && value.minus == 0 {
            let kind = self.unit.symbols.get(value.plus).kind;
            self.unit.symbols.get_mut(id).kind = kind;
        }
        Ok(())
    }
}
