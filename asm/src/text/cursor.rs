//! Reading characters: a place in a source text.

/// A place in a text. Copying it is how the parser looks ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) pos: usize,
    /// Number of the line that `pos` is in, counted over all inputs.
    pub(crate) line: u32,
}

const NAME: u8 = 1;
const NAME_START: u8 = 2;
const SPACE: u8 = 4;
const END: u8 = 8;
const OPERATOR: u8 = 16;

/// What each byte can be.
static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' | b'$' | 0x80.. => NAME | NAME_START,
            b'0'..=b'9' => NAME,
            b' ' | b'\t' | b'\r' | 0x0c => SPACE,
            b'\n' | b';' | b'#' => END,
            b'*' | b'/' | b'%' | b'<' | b'>' | b'|' | b'&' | b'^' | b'!' | b'+' | b'-' | b'=' => OPERATOR,
            _ => 0,
        };
        byte += 1;
    }
    class
};

/// The value of each hexadecimal digit; 16 and more for other bytes.
pub(crate) static DIGIT: [u8; 256] = {
    let mut digits = [0xff; 256];
    let mut byte = 0;
    while byte < 256 {
        digits[byte] = match byte as u8 {
            b @ b'0'..=b'9' => b - b'0',
            b @ b'a'..=b'f' => b - b'a' + 10,
            b @ b'A'..=b'F' => b - b'A' + 10,
            _ => 0xff,
        };
        byte += 1;
    }
    digits
};

/// Whether a name can start with this byte.
pub(crate) fn starts_name(byte: u8) -> bool {
    CLASS[byte as usize] & NAME_START != 0
}

/// Whether a binary operator can start with this byte.
pub(crate) fn starts_operator(byte: u8) -> bool {
    CLASS[byte as usize] & OPERATOR != 0
}

/// Whether a name can go on with this byte.
pub(crate) fn in_name(byte: u8) -> bool {
    CLASS[byte as usize] & NAME != 0
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a [u8], line: u32) -> Self {
        Self { text, pos: 0, line }
    }

    /// The byte here, or 0 at the end.
    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        self.text.get(self.pos).copied().unwrap_or(0)
    }

    #[inline]
    pub(crate) fn peek_at(&self, ahead: usize) -> u8 {
        self.text.get(self.pos + ahead).copied().unwrap_or(0)
    }

    #[inline]
    pub(crate) fn is_eof(&self) -> bool {
        self.pos >= self.text.len()
    }

    /// Skips blanks and `/* comments */`.
    #[inline]
    pub(crate) fn skip_space(&mut self) {
        loop {
            let byte = self.peek();
            if CLASS[byte as usize] & SPACE != 0 {
                self.pos += 1;
            } else if byte == b'/' && self.peek_at(1) == b'*' {
                self.skip_block_comment();
            } else {
                return;
            }
        }
    }

    #[cold]
    fn skip_block_comment(&mut self) {
        self.pos += 2;
        while !self.is_eof() && (self.peek() != b'*' || self.peek_at(1) != b'/') {
            self.line += u32::from(self.peek() == b'\n');
            self.pos += 1;
        }
        self.pos = (self.pos + 2).min(self.text.len());
    }

    /// Whether an operand ends right here, blanks aside that lie before an end.
    #[inline]
    pub(crate) fn ends_operand(&self) -> bool {
        let byte = self.peek();
        byte == b',' || CLASS[byte as usize] & END != 0 || self.is_eof()
    }

    /// Whether the statement ends here.
    #[inline]
    pub(crate) fn at_end(&mut self) -> bool {
        self.skip_space();
        self.is_eof() || CLASS[self.peek() as usize] & END != 0
    }

    /// Takes this byte if it is next, after blanks.
    #[inline]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == byte && !self.is_eof();
        self.pos += usize::from(found);
        found
    }

    /// A name, possibly empty.
    #[inline]
    pub(crate) fn name(&mut self) -> &'a [u8] {
        let rest = self.text.get(self.pos..).unwrap_or_default();
        let ends = |&byte: &u8| CLASS[byte as usize] & NAME == 0;
        let name = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
        self.pos += name.len();
        name
    }

    /// Goes to the end of the statement, past strings that hold `;` or `#`.
    pub(crate) fn skip_statement(&mut self) {
        while !self.is_eof() && CLASS[self.peek() as usize] & END == 0 {
            match self.peek() {
                b'"' => self.skip_string(),
                b'/' if self.peek_at(1) == b'*' => self.skip_block_comment(),
                _ => self.pos += 1,
            }
        }
    }

    /// Passes a string, quotes included; stops at the end of the line.
    pub(crate) fn skip_string(&mut self) {
        self.pos += 1;
        while !self.is_eof() {
            match self.peek() {
                b'"' => {
                    self.pos += 1;
                    return;
                }
                b'\\' => self.pos += 2,
                b'\n' => return,
                _ => self.pos += 1,
            }
        }
        self.pos = self.pos.min(self.text.len());
    }

    /// The text from here to the end of the line, without a comment, and the cursor behind it.
    pub(crate) fn rest_of_statement(&mut self) -> &'a [u8] {
        self.skip_space();
        let start = self.pos;
        self.skip_statement();
        self.text[start..self.pos].trim_ascii_end()
    }

    /// Behind the statement's end: the next line, or past the `;`.
    #[inline]
    pub(crate) fn next_statement(&mut self) {
        match self.peek() {
            b'#' => self.skip_line(),
            b';' => self.pos += 1,
            b'\n' => {
                self.pos += 1;
                self.line += 1;
            }
            _ => self.pos += 1,
        }
        self.clamp();
    }

    pub(crate) fn skip_line(&mut self) {
        while !self.is_eof() && self.peek() != b'\n' {
            self.pos += 1;
        }
        self.pos += 1;
        self.line += 1;
        self.clamp();
    }

    /// Back to the end, for what looked a byte beyond it.
    pub(crate) fn clamp(&mut self) {
        self.pos = self.pos.min(self.text.len());
    }

    /// The line that this place is in, and the column from 1.
    pub(crate) fn line_text(&self) -> (&'a [u8], usize) {
        let pos = self.pos.min(self.text.len());
        let start = self.text[..pos]
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |at| at + 1);
        let end = self.text[pos..]
            .iter()
            .position(|&b| b == b'\n')
            .map_or(self.text.len(), |at| pos + at);
        (&self.text[start..end], pos - start + 1)
    }
}
