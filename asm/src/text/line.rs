//! `.file` and `.loc`, and view numbers. What they say is written in the end ([`super::line_table`]).

use alloc::vec::Vec;

use super::cursor::Cursor;
use super::{Assembler, Fail, fail, string};
use crate::symbol::{SectionId, SymbolId, Value};

type Done = Result<(), Fail>;

/// What `.loc` states.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loc {
    pub(super) file: u32,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) isa: u32,
    pub(super) discriminator: u32,
    pub(super) not_stmt: bool,
    pub(super) basic_block: bool,
    pub(super) prologue_end: bool,
    pub(super) epilogue_begin: bool,
    pub(super) view: View,
    pub(super) viewed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum View {
    #[default]
    None,
    /// `view -0`: starts over.
    Reset,
    /// `view sym`: the symbol gets the number.
    Symbol(SymbolId),
}

/// A row of the table: where and what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) section: SectionId,
    pub(super) offset: u64,
    pub(super) item: u32,
    pub(super) loc: Loc,
}

#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) name: Option<Vec<u8>>,
    pub(super) dir: usize,
    pub(super) md5: Option<u128>,
}

/// The state of the line directives.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// A `.loc` waits for an instruction.
    pub(super) pending: bool,
    pub(super) current: Loc,
    pub(super) entries: Vec<Entry>,
    pub(super) files: Vec<File>,
    /// Directory 0 is the compilation's.
    pub(super) dirs: Vec<Option<Vec<u8>>>,
    pub(super) version5: bool,
    pub(super) has_views: bool,
    pub(super) addrsig_symbols: Vec<SymbolId>,
}

impl Assembler<'_> {
    /// `.file "name"` and `.file N ["dir"] "name" [md5 0x...] [source "..."]`
    pub(super) fn file_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        cursor.skip_space();
        if cursor.peek() == b'"' {
            let name = string::quoted(cursor)?;
            self.files.push(name);
            return Ok(());
        }
        let number = self.number(cursor)?;
        if !(0..=1 << 20).contains(&number) {
            return fail("a file number is between 0 and a million");
        }
        let number = number as usize;
        let first = string::quoted(cursor)?;
        cursor.skip_space();
        let (dir, name) = if cursor.peek() == b'"' {
            (Some(first), string::quoted(cursor)?)
        } else {
            (None, first)
        };
        let mut md5 = None;
        while !cursor.at_end() {
            match cursor.name() {
                b"md5" => {
                    cursor.skip_space();
                    let digits = core::str::from_utf8(cursor.name()).unwrap_or("");
                    let parsed = u128::from_str_radix(digits.trim_start_matches("0x"), 16);
                    let Ok(sum) = parsed else {
                        return fail("a checksum of 128 bits is expected");
                    };
                    md5 = Some(sum);
                }
                b"source" => {
                    string::quoted(cursor)?;
                }
                _ => return fail("`md5` or `source` is expected"),
            }
        }
        self.lines.version5 |= number == 0 || md5.is_some();
        self.add_file(number, dir, name, md5);
        Ok(())
    }

    fn add_file(&mut self, number: usize, dir: Option<Vec<u8>>, name: Vec<u8>, md5: Option<u128>) {
        // The directory of file 0 is directory 0, and its name may have a directory besides.
        let compilation = if number == 0 { dir.clone() } else { None };
        let (dir, name) = match dir {
            Some(dir) if number != 0 => (dir, name),
            _ => match name.iter().rposition(|&b| b == b'/') {
                Some(slash) => (name[..slash.max(1)].to_vec(), name[slash + 1..].to_vec()),
                None => (Vec::new(), name),
            },
        };
        let dir = self.directory(dir);
        if compilation.is_some() {
            self.lines.dirs[0] = compilation;
        }
        let lines = &mut self.lines;
        if lines.files.len() <= number {
            lines.files.resize_with(number + 1, File::default);
        }
        lines.files[number] = File {
            name: Some(name),
            dir,
            md5,
        };
    }

    /// The number of a directory.
    fn directory(&mut self, mut dir: Vec<u8>) -> usize {
        if dir.len() > 1 && dir.last() == Some(&b'/') {
            dir.pop();
        }
        let dirs = &mut self.lines.dirs;
        if dirs.is_empty() {
            dirs.push(None);
        }
        if dir.is_empty() {
            return 0;
        }
        if let Some(known) = dirs.iter().position(|known| known.as_ref() == Some(&dir)) {
            return known;
        }
        dirs.push(Some(dir));
        dirs.len() - 1
    }

    /// `.loc file line [column] [options]`
    pub(super) fn loc_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        if self.lines.pending {
            self.line_entry();
        }
        let file = self.line_number(cursor)?;
        cursor.skip_space();
        let line = self.line_number(cursor)?;
        let loc = &mut self.lines.current;
        (loc.file, loc.line, loc.discriminator) = (file, line, 0);
        (loc.view, loc.viewed) = (View::None, false);
        cursor.skip_space();
        if cursor.peek().is_ascii_digit() {
            self.lines.current.column = self.line_number(cursor)?;
        }
        while !cursor.at_end() {
            self.loc_option(cursor)?;
        }
        if self.lines.current.file == 0 {
            self.lines.version5 = true;
        }
        self.lines.pending = true;
        // A row with a view stands for itself, whether an instruction follows or not.
        if self.lines.current.viewed {
            self.line_entry();
        }
        Ok(())
    }

    /// A number of a row.
    fn line_number(&mut self, cursor: &mut Cursor<'_>) -> Result<u32, Fail> {
        let number = self.number(cursor)?;
        u32::try_from(number).map_err(|_| Fail::new("a number of a row is not negative and has 32 bits at most"))
    }

    fn loc_option(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let start = cursor.pos;
        match cursor.name() {
            b"basic_block" => self.lines.current.basic_block = true,
            b"prologue_end" => self.lines.current.prologue_end = true,
            b"epilogue_begin" => self.lines.current.epilogue_begin = true,
            b"is_stmt" => self.lines.current.not_stmt = self.number(cursor)? == 0,
            b"isa" => self.lines.current.isa = self.line_number(cursor)?,
            b"discriminator" => self.lines.current.discriminator = self.line_number(cursor)?,
            b"view" => {
                cursor.skip_space();
                self.lines.has_views = true;
                self.lines.current.viewed = true;
                let byte = cursor.peek();
                self.lines.current.view = if byte == b'-' || byte.is_ascii_digit() {
                    let forced = byte == b'-';
                    self.number(cursor)?;
                    if forced { View::Reset } else { View::None }
                } else {
                    let name = string::name_or_quoted(cursor)?;
                    View::Symbol(self.unit.symbols.intern(&name))
                };
            }
            _ => {
                cursor.pos = start;
                return fail("an unknown option of .loc");
            }
        }
        Ok(())
    }

    /// The pending `.loc` describes what comes next.
    pub(super) fn line_entry(&mut self) {
        let section = &self.unit.sections[self.current as usize];
        let (offset, item) = (section.fixed_size(), section.item_count());
        let loc = self.lines.current;
        // Line 0 is no line; GNU as leaves such rows out.
        if loc.line != 0 {
            self.lines.entries.push(Entry {
                section: self.current,
                offset,
                item,
                loc,
            });
        }
        let current = &mut self.lines.current;
        current.basic_block = false;
        current.prologue_end = false;
        current.epilogue_begin = false;
        current.discriminator = 0;
        current.view = View::None;
        self.lines.pending = false;
    }

    /// Gives the view symbols their numbers. Code has its addresses.
    pub(super) fn assign_views(&mut self) {
        if !self.lines.has_views {
            return;
        }
        let mut last: Vec<Option<(u64, i64)>> = alloc::vec![None; self.unit.sections.len()];
        let entries = core::mem::take(&mut self.lines.entries);
        for entry in &entries {
            let base = self.unit.sections[entry.section as usize]
                .parent
                .map_or(entry.section, |(parent, _)| parent);
            let address = self.unit.sections[entry.section as usize].position(entry.offset, entry.item);
            let view = match (entry.loc.view, last[base as usize]) {
                (View::Reset, _) | (_, None) => 0,
                (_, Some((at, view))) if at == address => view + 1,
                _ => 0,
            };
            last[base as usize] = Some((address, view));
            if let View::Symbol(id) = entry.loc.view {
                self.unit.symbols.set(id, Value::constant(view));
            }
        }
        self.lines.entries = entries;
    }
}
