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
mod statement;
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
}
