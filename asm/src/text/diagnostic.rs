//! What there is to say of a source.

use alloc::string::String;
use alloc::vec::Vec;

use super::Assembler;
use super::cursor::Cursor;

/// After this many errors the rest of the source is not read.
const MOST_ERRORS: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Severity {
    /// There is no object.
    Error,
    /// The source warns (`.warning`).
    Warning,
    /// The source says something (`.print`).
    Note,
}

/// Something to say of a place in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it is an error.
    pub severity: Severity,
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1; 0 where only the line is known.
    pub column: u32,
    /// What is wrong, or what the source says.
    pub message: String,
    /// The line itself; of a long one what is around the column, between dots.
    pub source: String,
    /// The column in `source`, from 1; 0 where only the line is known.
    pub source_column: u32,
}

/// A line as it is cited, and the column in that. Lines that macros make may have megabytes.
fn cite(line: &[u8], column: usize) -> (String, u32) {
    const MOST_BYTES: usize = 200;
    const BEFORE: usize = 80;
    const DOTS: &str = "...";
    let start = if line.len() > MOST_BYTES {
        column.saturating_sub(BEFORE)
    } else {
        0
    };
    let end = line.len().min(start + MOST_BYTES);
    let mut text = String::new();
    if start > 0 {
        text.push_str(DOTS);
    }
    let lead = text.len();
    text.push_str(&String::from_utf8_lossy(&line[start..end]));
    if end < line.len() {
        text.push_str(DOTS);
    }
    let column = if column == 0 { 0 } else { column - start + lead };
    (text, column as u32)
}

impl core::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}:", self.file, self.line)?;
        if self.column != 0 {
            write!(f, "{}:", self.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => " warning:",
            Severity::Note => " note:",
        };
        write!(f, "{severity} {}", self.message)?;
        if self.source.is_empty() {
            return Ok(());
        }
        write!(f, "\n    {}", self.source)?;
        let Some(before) = self.source_column.checked_sub(1) else {
            return Ok(());
        };
        // Tabs stay tabs, so that the caret stands under its place.
        let lead = self.source.chars().take(before as usize);
        let pad: String = lead.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, "\n    {pad}^")
    }
}

/// Everything wrong with a source, and what it says itself, in the order of its lines; there is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Diagnostic>);

impl core::fmt::Display for Errors {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index != 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Errors {}

impl Assembler<'_> {
    pub(super) fn report(&mut self, cursor: &Cursor<'_>, input: usize, message: String) {
        let (text, column) = cursor.line_text();
        let (file, line) = match self.inputs.get(input) {
            Some(input) => (input.name.to_string(), cursor.line - input.first_line + 1),
            None => self.place_of(self.line),
        };
        let (source, source_column) = cite(text, column);
        self.error_count += 1;
        self.diagnostics.push(Diagnostic {
            severity: Severity::Error,
            file,
            line,
            column: column as u32,
            message,
            source,
            source_column,
        });
        self.stop |= self.error_count >= MOST_ERRORS;
    }

    /// `.warning` and `.print`: what the source says itself.
    pub(super) fn say(&mut self, severity: Severity, message: String) {
        let (file, line) = self.place_of(self.line);
        self.diagnostics.push(Diagnostic {
            severity,
            file,
            line,
            column: 0,
            message,
            source: String::new(),
            source_column: 0,
        });
    }

    /// File and line of a line number that counts over all inputs.
    pub(super) fn place_of(&self, line: u32) -> (String, u32) {
        let input = self.inputs.iter().rev().find(|input| input.first_line <= line);
        input.map_or((String::new(), 0), |input| {
            (input.name.to_string(), line - input.first_line + 1)
        })
    }

    pub(super) fn report_line(&mut self, line: u32, message: &str) {
        let (file, number) = self.place_of(line);
        let input = self.inputs.iter().rposition(|input| input.first_line <= line);
        let source = input.and_then(|index| {
            let input = &self.inputs[index];
            let text = if index == 0 { self.source } else { &input.text };
            let text = text.split(|&b| b == b'\n').nth((line - input.first_line) as usize)?;
            Some(cite(text, 0).0)
        });
        self.error_count += 1;
        self.diagnostics.push(Diagnostic {
            severity: Severity::Error,
            file,
            line: number,
            column: 0,
            message: message.into(),
            source: source.unwrap_or_default(),
            source_column: 0,
        });
    }

    /// What was found wrong after reading, as diagnostics.
    pub(super) fn problems(&mut self) -> Result<(), Errors> {
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
