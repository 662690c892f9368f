//! Operand classes.
//!
//! An operand's *signature* is the set of all kinds that it can stand for, one bit each. A class, written in a row as a
//! letter and a size in the spirit of the SDM's appendix A (`Ev`, `Gb`, `Wx`), is the set of kinds it takes for each of
//! the row's three size *variants*: 16, 32 and 64-bit operands, or 128, 256 and 512-bit vectors. An operand fits where
//! the two sets meet.

/// The bits of a signature.
pub(crate) mod kind {
    macro_rules! kinds {
        ($($name:ident)*) => { kinds!(@ 0; $($name)*); };
        (@ $bit:expr; $name:ident $($rest:ident)*) => {
            pub(crate) const $name: u64 = 1 << ($bit);
            kinds!(@ $bit + 1; $($rest)*);
        };
        (@ $bit:expr;) => { const _: () = assert!($bit < 65, "a signature has 64 bits"); };
    }
    kinds! {
        R8 R16 R32 R64 AL AX EAX RAX CL DX ECX RCX SEG CR DR ST0 STI MM XMM YMM ZMM XMM0 K TMM BND FS GS
        M8 M16 M32 M48 M64 M80 M128 M256 M512 MEM BC2 BC4 BC8 VSIBX VSIBY VSIBZ MOFFS
        ONE I4 I8S16 I8S32 I8S64 I8 I16 I32S I32 I64 REL
    }
    /// A memory operand whose size nobody stated can be any of these.
    pub(crate) const ANY_SIZE: u64 = M8 | M16 | M32 | M48 | M64 | M80 | M128 | M256 | M512;
    /// A broadcast operand fits where one of these is allowed, and nowhere else.
    pub(crate) const BROADCAST: u64 = BC2 | BC4 | BC8;
}
use crate::notation::same;
use kind::*;

/// A class: letter and size, packed; see [`Class::parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(pub(crate) u16);

/// Where an operand goes in the encoding. The letters of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Slot {
    /// Part of the opcode: `al`, `cl`, `dx`, `st`, `xmm0`, the constant 1, string operands.
    Implied,
    /// ModRM.reg: `G V P K T S C D b`.
    Reg,
    /// ModRM.rm, register or memory: `E R W U Q N M Y t c A`.
    Rm,
    /// VEX.vvvv: `B H F u`.
    Vvvv,
    /// The low bits of the opcode (or of the fixed byte after it): `Z sti`.
    Opcode,
    /// The high half of the last immediate: `L`.
    Is4,
    /// ModRM.reg and ModRM.rm both: `g`.
    RegAndRm,
    /// Immediate: `I`.
    Imm,
    /// Branch target: `J`.
    Rel,
    /// 64-bit absolute address: `O`.
    Moffs,
}

const LETTERS: &[u8] = b"EGRMBZVHWULPQNKFYTtuSCDbcIJOAgsdl";
const SIZES: [&[u8]; 29] = [
    b"", b"b", b"w", b"d", b"q", b"t", b"o", b"u", b"z", b"p", b"v", b"y", b"x", b"h", b"f", b"e", b"xd", b"xq", b"hq",
    b"ud", b"uq", b"zd", b"zq", b"s", b"1", b"4", b"m", b"jb", b"jw",
];
/// Operands with names of their own, after the letters.
const FIXED: [&[u8]; 14] = [
    b"al", b"ax", b"eax", b"av", b"cl", b"dx", b"st", b"sti", b"xmm0", b"rax", b"ecx", b"rcx", b"fs", b"gs",
];
const SIZE_COUNT: usize = 32;
const FIXED_BASE: usize = LETTERS.len() * SIZE_COUNT;
const COUNT: usize = FIXED_BASE + FIXED.len();
/// Set on a class whose memory form may be broadcast: element size 2, 4 or 8 as 1, 2, 3 in these two bits.
const BROADCAST_SHIFT: u16 = 12;

impl Class {
    pub(crate) const NONE: Self = Self(0xffff);

    /// Reads `Ev`, `Wx/8`, `al`.
    pub(crate) const fn parse(text: &[u8]) -> Self {
        let (text, broadcast) = match text {
            [head @ .., b'/', b'2'] => (head, 1),
            [head @ .., b'/', b'4'] => (head, 2),
            [head @ .., b'/', b'8'] => (head, 3),
            _ => (text, 0),
        };
        let mut i = 0;
        while text[0].is_ascii_lowercase() && i < FIXED.len() {
            if same(text, FIXED[i]) {
                return Self((FIXED_BASE + i) as u16);
            }
            i += 1;
        }
        let [letter, size @ ..] = text else {
            panic!("an empty operand class")
        };
        let mut l = 0;
        while LETTERS[l] != *letter {
            l += 1;
        }
        let mut s = 0;
        while !same(SIZES[s], size) {
            s += 1;
        }
        Self((l * SIZE_COUNT + s) as u16 | broadcast << BROADCAST_SHIFT)
    }

    const fn index(self) -> usize {
        (self.0 & 0xfff) as usize
    }

    pub(crate) const fn letter(self) -> u8 {
        if self.index() >= FIXED_BASE {
            0
        } else {
            LETTERS[self.index() / SIZE_COUNT]
        }
    }

    pub(crate) const fn size(self) -> &'static [u8] {
        if self.index() >= FIXED_BASE {
            b""
        } else {
            SIZES[self.index() % SIZE_COUNT]
        }
    }

    /// The element size of the broadcast form in bytes, or 0.
    pub(crate) const fn broadcast_bytes(self) -> u8 {
        match self.0 >> BROADCAST_SHIFT & 3 {
            0 => 0,
            log => 1 << log,
        }
    }

    pub(crate) const fn slot(self) -> Slot {
        SLOTS[self.index()]
    }

    /// Bytes of an immediate, branch target or absolute address in a variant.
    pub(crate) const fn encoded_bytes(self, variant: usize) -> u8 {
        match (self.slot(), self.size()) {
            (Slot::Moffs, _) => 8,
            (Slot::Imm | Slot::Rel, b"b" | b"s") => 1,
            (Slot::Imm, b"w") => 2,
            (Slot::Imm | Slot::Rel, b"d") => 4,
            (Slot::Imm, b"q") => 8,
            (Slot::Imm, b"z") => [2, 4, 4][variant],
            (Slot::Imm, b"v") => [2, 4, 8][variant],
            _ => 0,
        }
    }

    /// The kinds taken in each variant, broadcast included.
    #[inline]
    pub(crate) const fn accepts(self) -> (&'static [u64; 3], u64) {
        let broadcast = [0, BC2, BC4, BC8][(self.0 >> BROADCAST_SHIFT & 3) as usize];
        (&MASKS[self.index()], broadcast)
    }

    /// Whether this is the accumulator whose size follows the variant.
    pub(crate) const fn is_sized_accumulator(self) -> bool {
        self.index() == FIXED_BASE + 3
    }

    /// Whether this is the immediate of 4 bits that shares a byte with a register.
    pub(crate) const fn is_4_bits(self) -> bool {
        matches!((self.letter(), self.size()), (b'I', b"4"))
    }

    pub(crate) const fn is_al(self) -> bool {
        self.index() == FIXED_BASE
    }

    pub(crate) const fn is_accumulator(self) -> bool {
        self.index() >= FIXED_BASE && self.index() < FIXED_BASE + 4
    }

    /// The size of the memory form in bytes for a variant, or 0 where it has none.
    pub(crate) const fn memory_bytes(self, variant: usize) -> u8 {
        MEMORY_BYTES[self.index()][variant]
    }

    /// How it reads in a message: `r/m32`, `xmm`, `imm8`.
    pub(crate) fn text(self) -> alloc::string::String {
        use alloc::string::ToString;
        if self.index() >= FIXED_BASE {
            return core::str::from_utf8(FIXED[self.index() - FIXED_BASE])
                .unwrap_or("?")
                .to_string();
        }
        let bits = match self.size() {
            b"b" => "8",
            b"w" => "16",
            b"d" => "32",
            b"q" => "64",
            b"t" => "80",
            b"o" => "128",
            b"u" => "256",
            b"z" if self.letter() != b'I' => "512",
            b"v" => "16/32/64",
            b"y" => "32/64",
            _ => "",
        };
        let name = match self.letter() {
            b'E' => "r/m",
            b'G' | b'R' | b'B' | b'Z' | b'g' => "r",
            b'M' | b's' | b'd' => "m",
            b'V' | b'H' | b'U' | b'L' => return vector(self.size(), false).to_string(),
            b'W' => return vector(self.size(), true).to_string(),
            b'P' | b'N' => "mm",
            b'Q' => "mm/m",
            b'K' | b'F' => "k",
            b'Y' => "k/m",
            b'T' | b't' | b'u' => "tmm",
            b'S' => "sreg",
            b'C' => "cr",
            b'D' => "dr",
            b'b' | b'c' => "bnd",
            b'I' => return ["imm", "imm8"][usize::from(matches!(self.size(), b"b" | b"s"))].to_string(),
            b'J' => return "target".to_string(),
            b'O' => return "moffs".to_string(),
            b'A' => return "vector-indexed memory".to_string(),
            _ => "?",
        };
        alloc::format!("{name}{bits}")
    }
}

const fn vector(size: &[u8], memory: bool) -> &'static str {
    match (size, memory) {
        (b"x" | b"h" | b"f" | b"e", true) => "xmm/ymm/zmm/mem",
        (b"x" | b"h" | b"f" | b"e", false) => "xmm/ymm/zmm",
        (b"u", true) => "ymm/m256",
        (b"u", false) => "ymm",
        (b"z", true) => "zmm/m512",
        (b"z", false) => "zmm",
        (b"q", true) => "xmm/m64",
        (b"d", true) => "xmm/m32",
        (b"w", true) => "xmm/m16",
        (_, true) => "xmm/m128",
        (_, false) => "xmm",
    }
}

const GPR: u64 = R8 | R16 | R32 | R64;
const GPR_VARIANTS: [u64; 3] = [R16, R32, R64];
const VECTORS: [u64; 3] = [XMM, YMM, ZMM];

/// Memory of this size for each variant.
const fn memory(size: &[u8]) -> [u64; 3] {
    match size {
        b"b" | b"jb" => [M8; 3],
        b"w" | b"m" | b"jw" => [M16; 3],
        b"d" => [M32; 3],
        b"q" => [M64; 3],
        b"t" => [M80; 3],
        b"o" => [M128; 3],
        b"u" => [M256; 3],
        b"z" => [M512; 3],
        b"p" => [M32, M48, M80],
        b"v" => [M16, M32, M64],
        b"y" => [0, M32, M64],
        b"x" => [M128, M256, M512],
        b"h" => [M64, M128, M256],
        b"f" => [M32, M64, M128],
        b"e" => [M16, M32, M64],
        _ => [MEM; 3],
    }
}

const fn general(size: &[u8]) -> [u64; 3] {
    match size {
        b"b" => [R8; 3],
        b"w" => [R16; 3],
        b"d" => [R32; 3],
        b"q" => [R64; 3],
        b"v" | b"m" => GPR_VARIANTS,
        b"y" | b"jb" | b"jw" => [0, R32, R64],
        b"z" => [R32 | R64; 3],
        _ => [GPR; 3],
    }
}

const fn vectors(size: &[u8]) -> [u64; 3] {
    match size {
        b"x" => VECTORS,
        b"h" => [XMM, XMM, YMM],
        b"u" => [YMM; 3],
        b"z" => [ZMM; 3],
        _ => [XMM; 3],
    }
}

const fn immediates(size: &[u8]) -> [u64; 3] {
    match size {
        b"b" => [I8; 3],
        b"s" => [I8S16, I8S32, I8S64],
        b"w" => [I16; 3],
        b"d" => [I32; 3],
        b"q" => [I64; 3],
        b"z" => [I16, I32, I32S],
        b"v" => [I16, I32, I64],
        b"1" => [ONE; 3],
        _ => [I4; 3],
    }
}

const fn vsib(size: &[u8]) -> [u64; 3] {
    match size {
        b"xd" | b"xq" => [VSIBX, VSIBY, VSIBZ],
        b"hq" => [VSIBX, VSIBX, VSIBY],
        b"ud" | b"uq" => [VSIBY; 3],
        _ => [VSIBZ; 3],
    }
}

const fn either(a: [u64; 3], b: [u64; 3]) -> [u64; 3] {
    [a[0] | b[0], a[1] | b[1], a[2] | b[2]]
}

const fn masks(letter: u8, size: &[u8]) -> [u64; 3] {
    match letter {
        b'E' => either(general(size), memory(size)),
        b'G' | b'R' | b'B' | b'Z' | b'g' => general(size),
        b'M' | b's' | b'd' => memory(size),
        b'V' | b'H' | b'U' | b'L' => vectors(size),
        b'W' => either(vectors(size), memory(size)),
        b'P' | b'N' => [MM; 3],
        b'Q' => either([MM; 3], memory(size)),
        b'K' | b'F' => [K; 3],
        b'Y' if size.is_empty() => [K; 3],
        b'Y' => either([K; 3], memory(size)),
        b'T' | b't' | b'u' => [TMM; 3],
        b'S' => [SEG; 3],
        b'C' => [CR; 3],
        b'D' => [DR; 3],
        b'b' => [BND; 3],
        b'c' if same(size, b"q") => [R64 | M64; 3],
        b'c' => either([BND; 3], memory(size)),
        b'I' => immediates(size),
        b'J' => [REL; 3],
        b'O' => [MOFFS; 3],
        b'A' => vsib(size),
        _ => [0; 3],
    }
}

const fn fixed_masks(index: usize) -> [u64; 3] {
    match FIXED[index] {
        b"al" => [AL; 3],
        b"ax" => [AX; 3],
        b"eax" => [EAX; 3],
        b"rax" => [RAX; 3],
        b"av" => [AX, EAX, RAX],
        b"cl" => [CL; 3],
        b"dx" => [DX; 3],
        b"ecx" => [ECX; 3],
        b"rcx" => [RCX; 3],
        b"fs" => [FS; 3],
        b"gs" => [GS; 3],
        b"st" => [ST0; 3],
        b"sti" => [STI; 3],
        _ => [XMM0; 3],
    }
}

const fn slot_of(letter: u8) -> Slot {
    match letter {
        b'G' | b'V' | b'P' | b'K' | b'T' | b'S' | b'C' | b'D' | b'b' => Slot::Reg,
        b'E' | b'R' | b'M' | b'W' | b'U' | b'Q' | b'N' | b'Y' | b't' | b'c' | b'A' => Slot::Rm,
        b'B' | b'H' | b'F' | b'u' => Slot::Vvvv,
        b'Z' => Slot::Opcode,
        b'L' => Slot::Is4,
        b'g' => Slot::RegAndRm,
        b'I' => Slot::Imm,
        b'J' => Slot::Rel,
        b'O' => Slot::Moffs,
        _ => Slot::Implied,
    }
}

const fn bytes_of(kinds: u64) -> u8 {
    match kinds & ANY_SIZE {
        M8 => 1,
        M16 => 2,
        M32 => 4,
        M48 => 6,
        M64 => 8,
        M80 => 10,
        M128 => 16,
        M256 => 32,
        M512 => 64,
        _ => 0,
    }
}

static MASKS: [[u64; 3]; COUNT] = {
    let mut all = [[0; 3]; COUNT];
    let mut i = 0;
    while i < COUNT {
        if i >= FIXED_BASE {
            all[i] = fixed_masks(i - FIXED_BASE);
        } else if i % SIZE_COUNT < SIZES.len() {
            all[i] = masks(LETTERS[i / SIZE_COUNT], SIZES[i % SIZE_COUNT]);
        }
        i += 1;
    }
    all
};

static SLOTS: [Slot; COUNT] = {
    let mut all = [Slot::Implied; COUNT];
    let mut i = 0;
    while i < COUNT {
        if i < FIXED_BASE {
            all[i] = slot_of(LETTERS[i / SIZE_COUNT]);
        } else if same(FIXED[i - FIXED_BASE], b"sti") {
            all[i] = Slot::Opcode;
        }
        i += 1;
    }
    all
};

const MEMORY_BYTES: [[u8; 3]; COUNT] = {
    let mut all = [[0; 3]; COUNT];
    let mut i = 0;
    while i < FIXED_BASE {
        let (letter, size) = (LETTERS[i / SIZE_COUNT], i % SIZE_COUNT);
        if size < SIZES.len() {
            let masks = match letter {
                b'A' => match SIZES[size] {
                    b"xd" | b"ud" | b"zd" => [M32; 3],
                    _ => [M64; 3],
                },
                _ => masks(letter, SIZES[size]),
            };
            all[i] = [bytes_of(masks[0]), bytes_of(masks[1]), bytes_of(masks[2])];
        }
        i += 1;
    }
    all
};
