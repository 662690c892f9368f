//! What line tables and call frames say, for sections whose bytes differ.
//!
//! GNU as writes both piece by piece as its buffers fill: where one was full, it states an address that it could have
//! advanced to. LLVM has other ways to say the same, too. The rows are the same then.

use std::path::{Path, PathBuf};

use gimli::{
    AttributeValue, BaseAddresses, CfaRule, CieOrFde, DebugLine, DebugLineOffset, EhFrame, EndianSlice, LittleEndian,
    RegisterRule, UnwindContext, UnwindExpression, UnwindSection,
};

use crate::compare::{Reloc, Section};

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Where an address is split into the number of what it is relative to and an offset.
const OFFSET_BITS: u32 = 40;

/// A row of a line table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    section: &'a str,
    address: u64,
    file: u64,
    line: u64,
    column: u64,
    discriminator: u64,
    /// Statement, block, end of the prologue, start of the epilogue, end of the sequence.
    flags: [bool; 5],
}

/// Line tables.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Lines<'a> {
    /// Everything between the length and the rows.
    pub(crate) headers: Vec<&'a [u8]>,
    /// The files.
    pub(crate) names: Vec<PathBuf>,
    pub(crate) rows: Vec<Row<'a>>,
}

impl Lines<'_> {
    /// Less the rows of line 0, which GNU as does not write, and what the ends of sequences say but for where.
    pub(crate) fn plain(mut self) -> Self {
        self.rows.retain(|row| row.line != 0 || row.flags[4]);
        for row in self.rows.iter_mut().filter(|row| row.flags[4]) {
            (row.file, row.line, row.column, row.discriminator) = (0, 0, 0, 0);
            row.flags = [false, false, false, false, true];
        }
        self
    }
}

/// The section's data with the relocations written into it, and what those are against.
fn relocated<'a>(section: &Section<'a>) -> (Vec<u8>, Vec<&'a str>) {
    let (mut data, mut targets) = (section.bytes.to_vec(), Vec::new());
    for reloc in &section.relocs {
        let at = reloc.offset as usize;
        // R_X86_64_64 is an address; R_X86_64_32 an offset in a section of strings.
        if reloc.kind == 1 {
            let number = targets.iter().position(|&target| target == reloc.target);
            let number = number.unwrap_or_else(|| {
                targets.push(reloc.target);
                targets.len() - 1
            });
            let address = ((number as u64) << OFFSET_BITS) + reloc.addend.cast_unsigned();
            data[at..at + 8].copy_from_slice(&address.to_le_bytes());
        } else {
            data[at..at + 4].copy_from_slice(&(reloc.addend as u32).to_le_bytes());
        }
    }
    (data, targets)
}

/// What the line tables of `.debug_line` say, with the strings of `.debug_line_str`.
pub(crate) fn lines<'a>(section: &Section<'a>, strings: &[u8]) -> gimli::Result<Lines<'a>> {
    let (data, targets) = relocated(section);
    let tables = DebugLine::new(&data, LittleEndian);
    let text = |value: AttributeValue<Slice<'_>>| match value {
        AttributeValue::String(text) => text.to_string_lossy().into_owned(),
        AttributeValue::DebugLineStrRef(at) => {
            let rest = strings.get(at.0..).unwrap_or_default();
            let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
            String::from_utf8_lossy(&rest[..end]).into_owned()
        }
        other => format!("{other:?}"),
    };
    let mut lines = Lines::default();
    let mut start = 0;
    while start < data.len() {
        let program = tables.program(DebugLineOffset(start), 8, None, None)?;
        let header = program.header();
        let end = start + 4 + header.unit_length();
        let first = end - header.raw_program_buf().len();
        lines.headers.push(&section.bytes[start + 4..first]);
        let directories: Vec<String> = header.include_directories().iter().map(|name| text(*name)).collect();
        // Directory 0 is the compiler's own, which older versions do not write down.
        let first = u64::from(header.version() < 5);
        for file in header.file_names() {
            let directory = file.directory_index().checked_sub(first);
            let directory = directory.and_then(|index| directories.get(index as usize));
            let base = Path::new(directories.first().filter(|_| first == 0).map_or("", String::as_str));
            let folder = base.join(directory.map_or("", String::as_str));
            lines.names.push(folder.join(text(file.path_name())));
        }
        let mut rows = program.rows();
        while let Some((_, row)) = rows.next_row()? {
            let number = (row.address() >> OFFSET_BITS) as usize;
            lines.rows.push(Row {
                section: targets.get(number).copied().unwrap_or_default(),
                address: row.address() & ((1 << OFFSET_BITS) - 1),
                file: row.file_index(),
                line: row.line().map_or(0, Into::into),
                column: match row.column() {
                    gimli::ColumnType::LeftEdge => 0,
                    gimli::ColumnType::Column(column) => column.into(),
                },
                discriminator: row.discriminator(),
                flags: [
                    row.is_stmt(),
                    row.basic_block(),
                    row.prologue_end(),
                    row.epilogue_begin(),
                    row.end_sequence(),
                ],
            });
        }
        start = end;
    }
    Ok(lines)
}

/// What `.eh_frame` says, a line for each function: where, and how to unwind from each of its addresses.
pub(crate) fn frames(section: &Section<'_>) -> gimli::Result<Vec<String>> {
    let frames = EhFrame::new(section.bytes, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(0).set_text(0);
    let mut context = UnwindContext::new();
    let mut entries = frames.entries(&bases);
    let mut lines = Vec::new();
    while let Some(entry) = entries.next()? {
        let CieOrFde::Fde(partial) = entry else { continue };
        let fde = partial.parse(|_, bases, offset| frames.cie_from_offset(bases, offset))?;
        let cie = fde.cie();
        let within = |offset: usize, length: usize| {
            let range = offset as u64..(offset + length + 4) as u64;
            section.relocs.iter().filter(move |reloc| range.contains(&reloc.offset))
        };
        let target = |reloc: &Reloc<'_>| format!("{} {}{:+#x}", reloc.kind, reloc.target, reloc.addend);
        let mut parts: Vec<String> = within(fde.offset(), fde.entry_len()).map(target).collect();
        parts.extend(within(cie.offset(), cie.entry_len()).map(target));
        parts.push(format!(
            "{} bytes, returns by {:?}, signal {}, personality {:?}, language data {:?}",
            fde.len(),
            cie.return_address_register(),
            cie.is_signal_trampoline(),
            cie.personality_with_encoding().map(|(encoding, _)| encoding),
            cie.lsda_encoding(),
        ));
        let bytes = |expression: &UnwindExpression<usize>| -> gimli::Result<String> {
            Ok(format!("{:02x?}", expression.get(&frames)?.0.slice()))
        };
        let mut table = fde.rows(&frames, &bases, &mut context)?;
        while let Some(row) = table.next_row()? {
            let mut text = format!("{:#x}:", row.start_address() - fde.initial_address());
            text += &match row.cfa() {
                CfaRule::Expression(expression) => bytes(expression)?,
                rule @ CfaRule::RegisterAndOffset { .. } => format!("{rule:?}"),
            };
            for (register, rule) in row.registers() {
                let rule = match rule {
                    RegisterRule::Expression(expression) => format!("at {}", bytes(expression)?),
                    RegisterRule::ValExpression(expression) => bytes(expression)?,
                    rule => format!("{rule:?}"),
                };
                text += &format!(" {register:?} {rule}");
            }
            parts.push(text);
        }
        lines.push(parts.join("; "));
    }
    lines.sort();
    Ok(lines)
}
