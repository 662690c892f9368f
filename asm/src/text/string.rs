//! Strings with their escapes.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::cursor::Cursor;
use super::{Fail, fail};

/// A string in quotes, unescaped, appended to `out`.
pub(crate) fn append(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Fail> {
    if !cursor.eat(b'"') {
        return fail("a string in double quotes is expected");
    }
    loop {
        let start = cursor.pos;
        while !cursor.is_eof() && !matches!(cursor.peek(), b'"' | b'\\' | b'\n') {
            cursor.pos += 1;
        }
        out.extend_from_slice(&cursor.text[start..cursor.pos]);
        match cursor.peek() {
            b'"' => {
                cursor.pos += 1;
                return Ok(());
            }
            b'\\' => {
                cursor.pos += 1;
                out.push(escape(cursor));
                cursor.clamp();
            }
            _ => return fail("the string does not end on this line"),
        }
    }
}

/// The byte behind a backslash.
fn escape(cursor: &mut Cursor<'_>) -> u8 {
    let byte = cursor.peek();
    cursor.pos += 1;
    match byte {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'f' => 12,
        b'v' => 11,
        b'a' => 7,
        b'0'..=b'7' => {
            let mut value = u32::from(byte - b'0');
            for _ in 0..2 {
                let digit = cursor.peek();
                if !(b'0'..=b'7').contains(&digit) {
                    break;
                }
                value = value * 8 + u32::from(digit - b'0');
                cursor.pos += 1;
            }
            value as u8
        }
        b'x' | b'X' => {
            let mut value = 0u32;
            while let Some(digit) = (cursor.peek() as char).to_digit(16) {
                value = value << 4 | digit;
                cursor.pos += 1;
            }
            value as u8
        }
        other => other,
    }
}

/// A string in quotes.
pub(crate) fn quoted(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, Fail> {
    let mut out = Vec::new();
    append(cursor, &mut out)?;
    Ok(out)
}

/// A string in quotes, or a bare name.
pub(crate) fn name_or_quoted<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, Fail> {
    cursor.skip_space();
    if cursor.peek() == b'"' {
        return quoted(cursor).map(Cow::Owned);
    }
    let name = cursor.name();
    if name.is_empty() {
        return fail("a name is expected");
    }
    Ok(Cow::Borrowed(name))
}
