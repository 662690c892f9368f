//! Directives that make bytes: numbers, strings, fillings, alignments.

use alloc::vec::Vec;

use super::cursor::Cursor;
use super::{Assembler, Fail, fail, string};
use crate::encode::FixupKind;
use crate::layout::put_leb;
use crate::relax::{sleb_size, uleb_size};
use crate::section::{Fix, ItemKind, Padding};
use crate::symbol::{Place, Value};

/// Up to so many bytes of filling are written at once; more become an item.
const INLINE_FILL: u64 = 256;
/// No section is allowed to grow beyond this by one directive.
const MOST_FILL: i64 = 1 << 32;

impl Assembler<'_> {
    /// `.byte`, `.long`, `.quad`: expressions of `size` bytes.
    pub(super) fn numbers(&mut self, cursor: &mut Cursor<'_>, size: u8) -> Result<(), Fail> {
        if cursor.at_end() {
            return Ok(());
        }
        let before = self.known_size();
        loop {
            cursor.skip_space();
            let start = cursor.pos;
            let value = match super::expression::literal(cursor) {
                Some(number) => Value::constant(number),
                None => self.expression(cursor)?,
            };
            if let Err(error) = self.put(value, size) {
                cursor.pos = start;
                return Err(error);
            }
            if !cursor.eat(b',') {
                self.known_from(before);
                return Ok(());
            }
        }
    }

    /// Bytes and open places of the current section so far.
    fn known_size(&self) -> (usize, usize, usize) {
        let section = &self.unit.sections[self.current as usize];
        (section.bytes.len(), section.fixes.len(), section.items.len())
    }

    /// Notes how many bytes a statement made, if they are all there is to it.
    fn known_from(&mut self, (bytes, fixes, items): (usize, usize, usize)) {
        let (now, all_fixes, all_items) = self.known_size();
        self.known_len = if fixes == all_fixes && items == all_items {
            now - bytes
        } else {
            0
        };
    }

    /// Appends a value in `size` bytes.
    pub(super) fn put(&mut self, value: Value, size: u8) -> Result<(), Fail> {
        let value = match value.as_constant() {
            Some(_) => value,
            None => self.unit.fold(&value, 0).unwrap_or(value),
        };
        let line = self.line;
        let section = &mut self.unit.sections[self.current as usize];
        if let Some(constant) = value.as_constant() {
            if section.is_nobits() {
                if constant != 0 {
                    return fail("a value that is not zero in a section without bytes");
                }
                section.virtual_size += u64::from(size);
                return Ok(());
            }
            // A value that does not fit is cut off, as GNU as does with a warning.
            let bytes = constant.to_le_bytes();
            match size {
                1 => section.bytes.push(bytes[0]),
                4 => section.bytes.extend_from_slice(&bytes[..4]),
                8 => section.bytes.extend_from_slice(&bytes),
                _ => section.bytes.extend_from_slice(&bytes[..size.min(8) as usize]),
            }
            return Ok(());
        }
        let fix = Fix {
            offset: section.fixed_size(),
            value,
            item: section.item_count(),
            line,
            size,
            to_end: size,
            relaxable: 0,
            kind: FixupKind::Absolute,
        };
        section.fixes.push(fix);
        self.zeros(size.into());
        Ok(())
    }

    /// Appends zeros.
    fn zeros(&mut self, count: u64) {
        let section = &mut self.unit.sections[self.current as usize];
        if section.is_nobits() {
            section.virtual_size += count;
        } else {
            section.bytes.resize(section.bytes.len() + count as usize, 0);
        }
    }

    /// `.octa`: 16 bytes.
    pub(super) fn octas(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fail> {
        loop {
            cursor.skip_space();
            let negative = cursor.eat(b'-');
            cursor.skip_space();
            let start = cursor.pos;
            let text = core::str::from_utf8(cursor.name()).unwrap_or("");
            let lower = text.to_ascii_lowercase();
            let parsed = match lower.strip_prefix("0x") {
                Some(hex) => u128::from_str_radix(hex, 16),
                None => lower.parse(),
            };
            let Ok(value) = parsed else {
                cursor.pos = start;
                return fail("a number of 128 bits is expected");
            };
            let value = if negative { value.wrapping_neg() } else { value };
            self.bytes(&value.to_le_bytes())?;
            if !cursor.eat(b',') {
                return Ok(());
            }
        }
    }

    /// Appends bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Fail> {
        let section = &mut self.unit.sections[self.current as usize];
        if section.is_nobits() {
            if bytes.iter().any(|&b| b != 0) {
                return fail("bytes that are not zero in a section without bytes");
            }
            section.virtual_size += bytes.len() as u64;
            return Ok(());
        }
        section.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// `.ascii`, `.string`: strings, each with these bytes behind it.
    pub(super) fn strings(&mut self, cursor: &mut Cursor<'_>, tail: &[u8]) -> Result<(), Fail> {
        if cursor.at_end() {
            return Ok(());
        }
        loop {
            if self.unit.sections[self.current as usize].is_nobits() {
                return fail("a string in a section without bytes");
            }
            // Adjacent strings are one.
            let mut out = core::mem::take(&mut self.unit.sections[self.current as usize].bytes);
            let mut result = string::append(cursor, &mut out);
            while result.is_ok() && {
                cursor.skip_space();
                cursor.peek() == b'"'
            } {
                result = string::append(cursor, &mut out);
            }
            out.extend_from_slice(tail);
            self.unit.sections[self.current as usize].bytes = out;
            result?;
            if !cursor.eat(b',') {
                return Ok(());
            }
        }
    }

    /// `.string16` and wider: each character in so many bytes.
    pub(super) fn wide_strings(&mut self, cursor: &mut Cursor<'_>, width: usize) -> Result<(), Fail> {
        loop {
            let text = string::quoted(cursor)?;
            let mut out = Vec::new();
            for byte in text.into_iter().chain([0]) {
                out.push(byte);
                out.resize(out.len() + width - 1, 0);
            }
            self.bytes(&out)?;
            if !cursor.eat(b',') {
                return Ok(());
            }
        }
    }

    /// `.base64 "..."` (binutils 2.43).
    pub(super) fn base64(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fail> {
        loop {
            let text = string::quoted(cursor)?;
            let (mut bits, mut count) = (0u32, 0);
            let mut out = Vec::new();
            for byte in text {
                let digit = match byte {
                    b'A'..=b'Z' => byte - b'A',
                    b'a'..=b'z' => byte - b'a' + 26,
                    b'0'..=b'9' => byte - b'0' + 52,
                    b'+' => 62,
                    b'/' => 63,
                    b'=' => break,
                    _ => return fail("this is not base 64"),
                };
                bits = bits << 6 | u32::from(digit);
                count += 6;
                if count >= 8 {
                    count -= 8;
                    out.push((bits >> count) as u8);
                }
            }
            self.bytes(&out)?;
            if !cursor.eat(b',') {
                return Ok(());
            }
        }
    }

    /// `.uleb128`, `.sleb128`
    pub(super) fn lebs(&mut self, cursor: &mut Cursor<'_>, signed: bool) -> Result<(), Fail> {
        let before = self.known_size();
        loop {
            let value = match super::expression::literal(cursor) {
                Some(number) => Value::constant(number),
                None => {
                    let value = self.expression(cursor)?;
                    self.unit.fold(&value, 0).unwrap_or(value)
                }
            };
            let line = self.line;
            let section = &mut self.unit.sections[self.current as usize];
            match value.as_constant() {
                Some(value) if !section.is_nobits() => {
                    let size = if signed {
                        sleb_size(value)
                    } else {
                        uleb_size(value as u64)
                    };
                    put_leb(&mut section.bytes, value, signed, size as usize);
                }
                _ => {
                    let value = self.unit.symbols.keep(value);
                    section.push_item(ItemKind::Leb { value, signed }, line);
                }
            }
            if !cursor.eat(b',') {
                self.known_from(before);
                return Ok(());
            }
        }
    }

    /// `.float`, `.double`
    pub(super) fn floats(&mut self, cursor: &mut Cursor<'_>, size: usize) -> Result<(), Fail> {
        loop {
            cursor.skip_space();
            let start = cursor.pos;
            while !matches!(cursor.peek(), b',' | b'\n' | b';' | b'#' | b' ' | b'\t' | 0) {
                cursor.pos += 1;
            }
            let text = core::str::from_utf8(&cursor.text[start..cursor.pos]).unwrap_or("");
            let text = text.strip_prefix("0f").or(text.strip_prefix("0d")).unwrap_or(text);
            let Ok(value) = text.parse::<f64>() else {
                cursor.pos = start;
                return fail("a floating-point number is expected");
            };
            match size {
                4 => self.bytes(&text.parse::<f32>().unwrap_or(value as f32).to_le_bytes())?,
                _ => self.bytes(&value.to_le_bytes())?,
            }
            if !cursor.eat(b',') {
                return Ok(());
            }
        }
    }

    /// `.zero`, `.skip`, `.space`: `size [, fill]`
    pub(super) fn skip(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fail> {
        let count = self.expression(cursor)?;
        let fill = if cursor.eat(b',') { self.number(cursor)? } else { 0 };
        self.space(count, fill as u32 & 0xff, 1)
    }

    /// `.fill repeat [, size [, value]]`
    pub(super) fn fill(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fail> {
        let count = self.expression(cursor)?;
        let size = if cursor.eat(b',') { self.number(cursor)? } else { 1 };
        let value = if cursor.eat(b',') { self.number(cursor)? } else { 0 };
        if size < 0 {
            return fail("a negative size");
        }
        // The value has 32 bits; in 8 bytes the high half is zero (GNU as manual, `.fill`).
        let size = size.min(8);
        let value = value as u64 & if size >= 4 { 0xffff_ffff } else { (1 << (size * 8)) - 1 };
        self.space(count, value as u32, size as u8)
    }

    fn space(&mut self, count: Value, value: u32, unit: u8) -> Result<(), Fail> {
        let line = self.line;
        let known = self.unit.constant_now(&count);
        if let Some(count) = known {
            if count < 0 {
                // GNU as ignores these with a warning.
                return Ok(());
            }
            if count.checked_mul(unit.into()).is_none_or(|bytes| bytes > MOST_FILL) {
                return fail("this is more than 4 GiB");
            }
        }
        let section = &mut self.unit.sections[self.current as usize];
        if section.is_nobits() && value != 0 {
            return fail("a filling that is not zero in a section without bytes");
        }
        let bytes = known.map(|count| count as u64 * u64::from(unit));
        match bytes {
            Some(bytes) if section.is_nobits() => section.virtual_size += bytes,
            Some(bytes) if bytes <= INLINE_FILL => {
                for _ in 0..known.unwrap_or(0) {
                    section
                        .bytes
                        .extend_from_slice(&u64::from(value).to_le_bytes()[..unit as usize]);
                }
            }
            _ => {
                let count = self.unit.symbols.keep(known.map_or(count, Value::constant));
                section.push_item(ItemKind::Space { count, value, unit }, line);
            }
        }
        Ok(())
    }

    /// `.org target [, fill]`
    pub(super) fn org(&mut self, target: Value, fill: u8) -> Result<(), Fail> {
        let line = self.line;
        let target = self.unit.fold(&target, 0).unwrap_or(target);
        let target = self.unit.symbols.keep(target);
        let section = &mut self.unit.sections[self.current as usize];
        section.push_item(ItemKind::Org { target, fill }, line);
        Ok(())
    }

    /// `.align` (bytes) and `.p2align` (a power): `[alignment] [, fill [, most]]`
    pub(super) fn align(&mut self, cursor: &mut Cursor<'_>, power: bool, fill_size: u8) -> Result<(), Fail> {
        let mut align = if cursor.at_end() || cursor.peek() == b',' {
            0
        } else {
            self.number(cursor)?
        };
        let mut fill = None;
        let mut most = 0;
        if cursor.eat(b',') {
            cursor.skip_space();
            if cursor.peek() != b',' && !cursor.at_end() {
                fill = Some(self.number(cursor)?);
            }
            if cursor.eat(b',') {
                most = self.number(cursor)?;
            }
        }
        if power {
            if !(0..=31).contains(&align) {
                return fail("an alignment is at most 2^31");
            }
            align = 1 << align;
        }
        if align == 0 {
            align = 1;
        }
        if align < 0 || align & (align - 1) != 0 || align > 1 << 31 {
            return fail("an alignment is a power of two");
        }
        let most = u64::try_from(most).unwrap_or(0);
        let align = align as u64;
        let line = self.line;
        let section = &mut self.unit.sections[self.current as usize];
        section.align = section.align.max(align);
        if align == 1 {
            return Ok(());
        }
        let padding = match fill {
            // A filling of one-byte nops means nops.
            None | Some(0x90) if section.is_code() && fill_size == 1 => Padding::Code,
            value => Padding::Value {
                value: value.unwrap_or(0) as u32,
                size: fill_size,
            },
        };
        let offset = section.fixed_size();
        if section.items.is_empty() && most == 0 && !section.is_nobits() && !section.is_code() {
            // Nothing before this place can move, so the padding is known.
            let count = offset.wrapping_neg() & (align - 1);
            if let Padding::Value { value, size: 1 } = padding {
                section.bytes.resize((offset + count) as usize, value as u8);
                return Ok(());
            }
        }
        let power = align.trailing_zeros() as u8;
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        section.push_item(ItemKind::Align { power, most, padding }, line);
        Ok(())
    }

    /// `.comm name, size [, alignment]` and `.lcomm`
    pub(super) fn common(&mut self, cursor: &mut Cursor<'_>, local: bool) -> Result<(), Fail> {
        let name = string::name_or_quoted(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and a size are expected");
        }
        let size = self.number(cursor)?;
        let align = if cursor.eat(b',') { self.number(cursor)? } else { 0 };
        if size < 0 || align < 0 || align as u64 & (align as u64).wrapping_sub(1) != 0 {
            return fail("a size is not negative, and an alignment is a power of two");
        }
        let id = self.unit.symbols.intern(&name);
        let symbol = self.unit.symbols.get_mut(id);
        let size = size as u64;
        // Without an alignment: the size's own, up to 16 (System V convention), or 8 for `.lcomm`.
        let most = if local { 3 } else { 4 };
        let natural = if size == 0 { 1 } else { 1u64 << size.ilog2().min(most) };
        let align = if align == 0 { natural } else { align as u64 };
        match symbol.place {
            Place::Undefined | Place::Common { .. } => {}
            _ => return fail("this symbol is defined already"),
        }
        if local || symbol.binding == crate::symbol::Binding::Local {
            // Local common symbols are storage in `.bss`, in the order of their directives.
            symbol.binding = crate::symbol::Binding::Local;
            self.local_common(id, size, align);
            return Ok(());
        }
        symbol.place = Place::Common { size, align };
        if symbol.binding == crate::symbol::Binding::Default {
            symbol.binding = crate::symbol::Binding::Global;
        }
        Ok(())
    }

    /// Common symbols that turned out to be local afterwards.
    pub(super) fn common_symbols(&mut self) {
        for id in self.unit.symbols.ids() {
            let symbol = *self.unit.symbols.get(id);
            let Place::Common { size, align } = symbol.place else {
                continue;
            };
            if symbol.binding != crate::symbol::Binding::Local {
                continue;
            }
            self.local_common(id, size, align);
        }
    }

    pub(super) fn local_common(&mut self, id: u32, size: u64, align: u64) {
        // Behind what the source itself puts into `.bss`.
        let id_of_bss = self.subsection(super::BSS, 1);
        let bss = &mut self.unit.sections[id_of_bss as usize];
        bss.align = bss.align.max(align);
        let offset = bss.virtual_size;
        if align > 1 {
            let padding = Padding::Value { value: 0, size: 1 };
            bss.push_item(
                ItemKind::Align {
                    power: align.trailing_zeros() as u8,
                    most: 0,
                    padding,
                },
                0,
            );
        }
        let item = bss.item_count();
        bss.virtual_size += size;
        let size = self.unit.symbols.keep(Value::constant(size as i64));
        let symbol = self.unit.symbols.get_mut(id);
        symbol.place = Place::Label {
            section: id_of_bss,
            offset,
            item,
        };
        symbol.size = size;
        if symbol.kind == 0 {
            symbol.kind = crate::section::elf::STT_OBJECT;
        }
    }
}
