//! Limits on hostile input: what no honest object exceeds is refused before memory is asked for.

use crate::error::{Error, Result};
use crate::object::Section;

/// What an input may ask for at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one image in all, zeros (`.bss`) included.
    pub image_bytes: u64,
    /// Alignment of one section or common symbol in bytes.
    pub align_bytes: u64,
    /// Bytes of one image that have to be stored although no file holds them: gaps for alignment, and zeros in sections
    /// that are not writable.
    pub padding_bytes: u64,
}

impl Default for Limits {
    /// 64 GiB an image, 1 GiB alignment, and 256 MiB padding.
    fn default() -> Self {
        Limits {
            image_bytes: 64 << 30,
            align_bytes: 1 << 30,
            padding_bytes: 256 << 20,
        }
    }
}

impl Limits {
    pub(crate) fn check_section(&self, object: &str, section: &Section<'_>) -> Result<()> {
        let exceeded = |what: &str, value, limit| Error::Limit {
            object: object.to_owned(),
            what: format!("{what} of section {}", section.display_name()),
            value,
            limit,
        };
        if section.size > self.image_bytes {
            return Err(exceeded("size", section.size, self.image_bytes));
        }
        if section.align > self.align_bytes {
            return Err(exceeded("alignment", section.align, self.align_bytes));
        }
        Ok(())
    }

    pub(crate) fn check_common(&self, object: &str, symbol: &[u8], align: u64) -> Result<()> {
        if align <= self.align_bytes {
            return Ok(());
        }
        Err(Error::Limit {
            object: object.to_owned(),
            what: format!("alignment of symbol {}", String::from_utf8_lossy(symbol)),
            value: align,
            limit: self.align_bytes,
        })
    }

    pub(crate) fn check_padding(&self, padding: u64) -> Result<()> {
        if padding <= self.padding_bytes {
            return Ok(());
        }
        Err(Error::Limit {
            object: "image".into(),
            what: "padding between its sections".into(),
            value: padding,
            limit: self.padding_bytes,
        })
    }

    /// The sum of two sizes, if an image may have it.
    pub(crate) fn add(&self, size: u64, more: u64, what: &str) -> Result<u64> {
        let sum = size.saturating_add(more);
        if sum > self.image_bytes {
            return Err(Error::Limit {
                object: "image".into(),
                what: format!("size of the {what}"),
                value: sum,
                limit: self.image_bytes,
            });
        }
        Ok(sum)
    }
}
