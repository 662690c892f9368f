//! The text assembler: `.s` source to an ELF object.

mod att;
mod cfi;
mod cursor;
mod data;
mod diagnostic;
mod directive;
mod expression;
mod frames;
mod instruction;
mod intel;
mod line;
mod line_table;
mod listing;
mod macros;
mod memo;
mod sections;
mod string;
mod table;

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use std::path::PathBuf;

use rustc_hash::FxHashMap;

use crate::inst::Syntax;
use crate::section::{Section, elf};
use crate::symbol::{Binding, Place, SectionId, SymbolId, Value};
use crate::unit::Unit;
use cursor::{Cursor, starts_name};
pub use diagnostic::{Diagnostic, Errors, Severity};

/// How to assemble a text.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The name that messages give the source.
    pub file_name: String,
    /// The dialect at the start; the source can change it.
    pub syntax: Syntax,
    /// Where `.include` and `.incbin` look, after the working directory.
    pub include_dirs: Vec<PathBuf>,
    /// Symbols set beforehand.
    pub defines: Vec<(String, i64)>,
    /// Line tables are of DWARF 5 even where nothing in the source asks for that, as with GNU as's `--gdwarf-5`.
    pub dwarf5: bool,
}

/// Assembles a text to an ELF relocatable object. Names and strings may be in any encoding that ASCII is a part of.
///
/// # Errors
/// Everything that is wrong with the source, up to a limit.
pub fn assemble(source: impl AsRef<[u8]>, options: &Options) -> Result<Vec<u8>, Errors> {
    let mut assembler = Assembler::new(source.as_ref(), options);
    assembler.begin();
    assembler.finish().map(|assembly| assembly.object)
}

/// What comes of a source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Assembly {
    /// The ELF relocatable object.
    pub object: Vec<u8>,
    /// Each line of the source with its number, and the offset in its section and the bytes that it became. Bytes that a
    /// linker will fill in are as they are in the object. Empty where none was asked for.
    pub listing: String,
    /// What the source says by `.warning` and `.print`.
    pub messages: Vec<Diagnostic>,
}

/// As [`assemble`], with everything that there is to know, and a listing if it is asked for.
///
/// # Errors
/// As [`assemble`].
pub fn assemble_with_messages(source: impl AsRef<[u8]>, options: &Options, listing: bool) -> Result<Assembly, Errors> {
    let mut assembler = Assembler::new(source.as_ref(), options);
    assembler.listing = listing.then(Vec::new);
    assembler.begin();
    assembler.finish()
}

/// Why a statement cannot be assembled; the place is the cursor's.
#[derive(Debug)]
pub(crate) struct Fail {
    message: String,
}

impl Fail {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// `Err` with a message.
pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::new(message))
}

/// Where `.bss` is among the sections of a new unit.
const BSS: SectionId = 2;

/// After this many errors the rest of the source is not read.
const MOST_ERRORS: usize = 100;
/// Includes and macros within each other.
const DEEPEST_INPUT: u32 = 128;

/// The last and the next label of a number.
#[derive(Debug, Default)]
struct Numeric {
    last: SymbolId,
    next: SymbolId,
}

/// A text that is or was read, for messages.
#[derive(Debug)]
struct Input {
    name: Rc<str>,
    first_line: u32,
    text: Rc<[u8]>,
}

/// The state of one run.
#[derive(Debug)]
pub(crate) struct Assembler<'o> {
    options: &'o Options,
    /// The text that was given, for messages.
    source: &'o [u8],
    unit: Unit,
    current: SectionId,
    previous: Option<SectionId>,
    section_stack: Vec<(SectionId, Option<SectionId>)>,
    intel: bool,
    line: u32,
    /// Errors and messages, and how many are errors.
    diagnostics: Vec<Diagnostic>,
    error_count: usize,
    inputs: Vec<Input>,
    /// The first line number that no input uses.
    next_line: u32,
    depth: u32,
    numeric: FxHashMap<u64, Numeric>,
    pending_numeric: Vec<(u64, SymbolId, u32)>,
    dollar: FxHashMap<u64, SymbolId>,
    /// Values of the operands of the instruction that is being read.
    values: Vec<Value>,
    conditions: Vec<macros::Condition>,
    macros: FxHashMap<Vec<u8>, Rc<macros::Macro>>,
    macro_count: u64,
    /// `.altmacro`
    alternate: bool,
    /// Labels of `LOCAL` so far.
    local_count: u64,
    /// There are symbols that are other names of registers.
    has_aliases: bool,
    memo: memo::Memo,
    /// Names of symbols and macros read so far: what a statement means depends on them.
    names_read: u64,
    /// Bytes of the instruction or data that was just assembled, where its text alone determines them.
    known_len: usize,
    /// Bytes of text that macros and repetitions may still make.
    expansion_budget: usize,
    stop: bool,
    cfi: cfi::Cfi,
    lines: line::Lines,
    files: Vec<Vec<u8>>,
    idents: bool,
    symvers: Vec<(SymbolId, Vec<u8>)>,
    /// What each statement became, where somebody wants to see it.
    listing: Option<Vec<listing::Span>>,
}

impl<'o> Assembler<'o> {
    pub(crate) fn new(source: &'o [u8], options: &'o Options) -> Self {
        let mut unit = Unit::new(source.len());
        let rw = elf::SHF_ALLOC | elf::SHF_WRITE;
        unit.sections.push(Section::new(
            b".text",
            elf::SHT_PROGBITS,
            elf::SHF_ALLOC | elf::SHF_EXECINSTR,
        ));
        unit.sections.push(Section::new(b".data", elf::SHT_PROGBITS, rw));
        unit.sections.push(Section::new(b".bss", elf::SHT_NOBITS, rw));
        for (name, value) in &options.defines {
            let id = unit.symbols.intern(name.as_bytes());
            unit.symbols.set(id, Value::constant(*value));
        }
        Self {
            options,
            source,
            unit,
            current: 0,
            previous: None,
            section_stack: Vec::new(),
            intel: options.syntax == Syntax::Intel,
            line: 0,
            diagnostics: Vec::new(),
            error_count: 0,
            inputs: Vec::new(),
            next_line: 0,
            depth: 0,
            numeric: FxHashMap::default(),
            pending_numeric: Vec::new(),
            dollar: FxHashMap::default(),
            values: Vec::new(),
            conditions: Vec::new(),
            macros: FxHashMap::default(),
            macro_count: 0,
            alternate: false,
            local_count: 0,
            has_aliases: false,
            memo: memo::Memo::new(),
            names_read: 0,
            known_len: 0,
            expansion_budget: 64 << 20,
            stop: false,
            cfi: cfi::Cfi::default(),
            lines: line::Lines::default(),
            files: Vec::new(),
            idents: false,
            symvers: Vec::new(),
            listing: None,
        }
    }

    fn begin(&mut self) {
        let name = if self.options.file_name.is_empty() {
            "<source>"
        } else {
            &self.options.file_name
        };
        self.read_input(name, self.source);
        if !self.conditions.is_empty() {
            self.report_line(self.next_line.saturating_sub(1), "this source ends within an .if");
        }
    }

    /// Reads a whole file.
    fn read_input(&mut self, name: &str, text: &[u8]) {
        let first_line = self.next_line;
        let lines = memchr::memchr_iter(b'\n', text).count() as u32 + 1;
        self.next_line += lines;
        // Messages quote the text. That of the source itself is at hand anyway.
        let kept = if self.inputs.is_empty() { &b""[..] } else { text };
        self.inputs.push(Input {
            name: name.into(),
            first_line,
            text: kept.into(),
        });
        self.run(text, first_line, self.inputs.len() - 1);
    }

    /// Reads statements to the end of the text.
    fn run(&mut self, text: &[u8], first_line: u32, input: usize) {
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

    fn report(&mut self, cursor: &Cursor<'_>, input: usize, message: String) {
        let (text, column) = cursor.line_text();
        let (file, line) = match self.inputs.get(input) {
            Some(input) => (input.name.to_string(), cursor.line - input.first_line + 1),
            None => self.place_of(self.line),
        };
        self.error_count += 1;
        self.diagnostics.push(Diagnostic {
            severity: Severity::Error,
            file,
            line,
            column: column as u32,
            message,
            source: String::from_utf8_lossy(text).into_owned(),
        });
        self.stop |= self.error_count >= MOST_ERRORS;
    }

    /// `.warning` and `.print`: what the source says itself.
    fn say(&mut self, severity: Severity, message: String) {
        let (file, line) = self.place_of(self.line);
        self.diagnostics.push(Diagnostic {
            severity,
            file,
            line,
            column: 0,
            message,
            source: String::new(),
        });
    }

    /// File and line of a line number that counts over all inputs.
    fn place_of(&self, line: u32) -> (String, u32) {
        let input = self.inputs.iter().rev().find(|input| input.first_line <= line);
        input.map_or((String::new(), 0), |input| {
            (input.name.to_string(), line - input.first_line + 1)
        })
    }

    fn report_line(&mut self, line: u32, message: &str) {
        let (file, number) = self.place_of(line);
        let input = self.inputs.iter().rposition(|input| input.first_line <= line);
        let source = input.and_then(|index| {
            let input = &self.inputs[index];
            let text = if index == 0 { self.source } else { &input.text };
            let text = text.split(|&b| b == b'\n').nth((line - input.first_line) as usize)?;
            Some(String::from_utf8_lossy(text).into_owned())
        });
        self.error_count += 1;
        self.diagnostics.push(Diagnostic {
            severity: Severity::Error,
            file,
            line: number,
            column: 0,
            message: message.into(),
            source: source.unwrap_or_default(),
        });
    }

    /// One statement: labels, then a directive, an assignment, an instruction or nothing.
    fn statement(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fail> {
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
    fn directive(&mut self, cursor: &mut Cursor<'_>, name: &[u8], start: usize) -> Result<(), Fail> {
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
    fn here(&self) -> Place {
        let section = &self.unit.sections[self.current as usize];
        Place::Label {
            section: self.current,
            offset: section.fixed_size(),
            item: section.item_count(),
        }
    }

    fn define_label(&mut self, name: &[u8]) -> Result<(), Fail> {
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
    fn assignment(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Result<(), Fail> {
        cursor.pos += 1;
        let once = cursor.peek() == b'=';
        cursor.pos += usize::from(once);
        self.set_symbol(cursor, name, once)
    }

    /// Reads an expression and makes it a symbol's value.
    fn set_symbol(&mut self, cursor: &mut Cursor<'_>, name: &[u8], once: bool) -> Result<(), Fail> {
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

    /// Everything is read: sizes, bytes, relocations, the object.
    fn finish(mut self) -> Result<Assembly, Errors> {
        for (number, id, line) in core::mem::take(&mut self.pending_numeric) {
            if !self.unit.symbols.get(id).is_defined() {
                self.report_line(line, &alloc::format!("there is no label {number} behind this"));
            }
        }
        self.check_cfi();
        if self.error_count != 0 {
            return Err(Errors(self.diagnostics));
        }
        self.section_symbols();
        self.common_symbols();
        self.unit.merge_subsections();
        let rest = self.unit.relax_code();
        self.assign_views();
        self.unit.relax_values(&rest);
        self.write_line_table();
        self.write_frames();
        self.write_addrsig();
        self.unit.check_items();
        self.problems()?;
        let images = self.unit.images();
        self.problems()?;
        let listing = match self.listing {
            Some(_) => self.listing_text(&images),
            None => String::new(),
        };
        let written = crate::elf_writer::write(&mut self.unit, images, &self.files);
        match written {
            Ok(object) => Ok(Assembly {
                object,
                listing,
                messages: self.diagnostics,
            }),
            Err(problems) => {
                self.unit.problems = problems;
                Err(self.problems().err().unwrap_or(Errors(Vec::new())))
            }
        }
    }

    /// An undefined symbol with the name of a section is the section.
    fn section_symbols(&mut self) {
        for id in 0..self.unit.sections.len() {
            let Some(symbol) = self.unit.symbols.find(&self.unit.sections[id].name) else {
                continue;
            };
            let symbol = self.unit.symbols.get_mut(symbol);
            if symbol.place == Place::Undefined && symbol.binding == Binding::Default {
                symbol.place = Place::Label {
                    section: id as SectionId,
                    offset: 0,
                    item: 0,
                };
                symbol.anonymous = true;
            }
        }
    }

    /// What was found wrong after reading, as diagnostics.
    fn problems(&mut self) -> Result<(), Errors> {
        let problems = core::mem::take(&mut self.unit.problems);
        for problem in problems.iter().take(MOST_ERRORS) {
            self.report_line(problem.line, &problem.message);
        }
        if self.error_count == 0 {
            Ok(())
        } else {
            Err(Errors(core::mem::take(&mut self.diagnostics)))
        }
    }
}
