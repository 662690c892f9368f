//! The listing: each line of the source with the offset and the bytes that it became.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::Assembler;
use crate::layout::Image;
use crate::symbol::{Place, SectionId, SymbolId};
use crate::unit::Resolved;

/// Bytes shown in one row.
const ROW: usize = 8;
/// Rows of one statement; what is left out is counted.
const MOST_ROWS: usize = 8;

/// What one statement became.
#[derive(Debug)]
pub(super) struct Span {
    /// Counted over all inputs.
    line: u32,
    from: SymbolId,
    to: SymbolId,
}

impl Assembler<'_> {
    /// Where a statement starts.
    pub(super) fn listed_from(&mut self) -> (SectionId, Place, usize) {
        let spans = self.listing.as_ref().map_or(0, Vec::len);
        (self.current, self.here(), spans)
    }

    /// The statement that started there ends here. A macro's own statements are listed already.
    pub(super) fn listed_to(&mut self, (section, from, spans): (SectionId, Place, usize)) {
        let to = self.here();
        let known = self.listing.as_ref().map_or(0, Vec::len) != spans;
        if known || section != self.current || from == to {
            return;
        }
        let span = Span {
            line: self.line,
            from: self.unit.symbols.anonymous(from),
            to: self.unit.symbols.anonymous(to),
        };
        if let Some(spans) = &mut self.listing {
            spans.push(span);
        }
    }

    /// The text of the listing. Sections have their final bytes.
    pub(super) fn listing_text(&self, images: &[Image]) -> String {
        let mut spans: Vec<&Span> = self.listing.iter().flatten().collect();
        spans.sort_by_key(|span| span.line);
        let mut spans = spans.into_iter().peekable();
        let mut out = String::new();
        for (number, input) in self.inputs.iter().enumerate() {
            if self.inputs.len() > 1 {
                let _ = writeln!(out, "{}:", input.name);
            }
            let text = if number == 0 { self.source } else { &input.text };
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            for (index, source) in text.split(|&byte| byte == b'\n').enumerate() {
                let line = input.first_line + index as u32;
                let source = String::from_utf8_lossy(source);
                let mut rows = Vec::new();
                while let Some(span) = spans.next_if(|span| span.line <= line) {
                    self.rows(span, images, &mut rows);
                }
                let mut rows = rows.into_iter();
                let first = rows.next().unwrap_or_default();
                let row = alloc::format!("{:5} {first:22} {source}", index + 1);
                let _ = writeln!(out, "{}", row.trim_end());
                for row in rows {
                    let _ = writeln!(out, "{:5} {row}", "");
                }
            }
        }
        out
    }

    /// Offset and bytes of a statement.
    fn rows(&self, span: &Span, images: &[Image], rows: &mut Vec<String>) {
        let (Ok(Resolved::Section(section, from)), Ok(Resolved::Section(_, to))) =
            (self.unit.resolve_symbol(span.from), self.unit.resolve_symbol(span.to))
        else {
            return;
        };
        let image = &images[section as usize].bytes;
        let Some(bytes) = image.get(from as usize..to as usize) else {
            rows.push(alloc::format!("{from:04x}"));
            return;
        };
        for (index, part) in bytes.chunks(ROW).enumerate() {
            if index == MOST_ROWS {
                rows.push(alloc::format!("     ... {} more", bytes.len() - MOST_ROWS * ROW));
                return;
            }
            let mut row = alloc::format!("{:04x} ", from as usize + index * ROW);
            for byte in part {
                let _ = write!(row, "{byte:02x}");
            }
            rows.push(row);
        }
    }
}
