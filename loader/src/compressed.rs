//! Compressed sections (gABI, "Section Compression") of files that nobody vouches for.

use std::borrow::Cow;

use object::read::{CompressedData, CompressionFormat};

/// Bytes that one byte can stand for at most. In DEFLATE two codes of a bit each repeat 258 bytes (RFC 1951, section
/// 3.2.5); in Zstandard four bytes are a block of 128 KiB (RFC 8878, section 3.1.1.2).
const ZLIB_RATIO: u64 = 258 * 8 / 2;
const ZSTD_RATIO: u64 = (128 << 10) / 4;

/// The contents of a section. A size that no stream of that length has is refused before memory is asked for.
///
/// # Errors
/// With words, for such a size and for what is no such stream.
pub fn decompress(section: CompressedData<'_>) -> Result<Cow<'_, [u8]>, String> {
    let ratio = match section.format {
        CompressionFormat::Zlib => ZLIB_RATIO,
        CompressionFormat::Zstandard => ZSTD_RATIO,
        _ => 1,
    };
    let (stream, size) = (section.data.len() as u64, section.uncompressed_size);
    if size > stream.saturating_mul(ratio) {
        return Err(format!("{stream} bytes cannot be {size} bytes, compressed"));
    }
    section.decompress().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_cannot_be_is_refused() {
        // A stored block (RFC 1950, RFC 1951).
        let stream = b"\x78\x01\x01\x03\x00\xfc\xffabc\x02\x4d\x01\x27";
        let section = |uncompressed_size| CompressedData {
            format: CompressionFormat::Zlib,
            data: stream,
            uncompressed_size,
        };
        assert_eq!(*decompress(section(3)).unwrap(), *b"abc");
        assert!(decompress(section(4)).is_err());
        let words = decompress(section(1 << 40)).unwrap_err();
        assert_eq!(words, "14 bytes cannot be 1099511627776 bytes, compressed");
    }
}
