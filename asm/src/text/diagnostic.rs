//! What there is to say of a source.

use alloc::string::String;
use alloc::vec::Vec;

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
    /// The line itself.
    pub source: String,
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
        if self.column == 0 {
            return Ok(());
        }
        // Tabs stay tabs, so that the caret stands under its place.
        let lead = self.source.chars().take(self.column as usize - 1);
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
