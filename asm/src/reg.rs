//! Registers: one small value for all of them, and one type for each class so that code can say which it needs.

use core::fmt;

/// The class of a [`Reg`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RegClass {
    /// `al`…`r15b`, `spl`, `bpl`, `sil`, `dil`, `r16b`…`r31b`.
    R8,
    /// `ah`, `ch`, `dh`, `bh`, numbered 4 to 7 as they are encoded.
    High8,
    /// `ax`…`r31w`.
    R16,
    /// `eax`…`r31d`.
    R32,
    /// `rax`…`r31`.
    R64,
    /// `es`, `cs`, `ss`, `ds`, `fs`, `gs`.
    Seg,
    /// `cr0`…`cr15`.
    Cr,
    /// `dr0`…`dr15`.
    Dr,
    /// `st(0)`…`st(7)`.
    St,
    /// `mm0`…`mm7`.
    Mm,
    /// `xmm0`…`xmm31`.
    Xmm,
    /// `ymm0`…`ymm31`.
    Ymm,
    /// `zmm0`…`zmm31`.
    Zmm,
    /// `k0`…`k7`.
    K,
    /// `tmm0`…`tmm7`.
    Tmm,
    /// `bnd0`…`bnd3`.
    Bnd,
    /// `rip`: 0, `eip`: 1. Only a memory base.
    Rip,
    /// `riz`: 0, `eiz`: 1: an index that is encoded but not there.
    NoIndex,
}

impl RegClass {
    pub(crate) const ALL: [Self; 18] = [
        Self::R8,
        Self::High8,
        Self::R16,
        Self::R32,
        Self::R64,
        Self::Seg,
        Self::Cr,
        Self::Dr,
        Self::St,
        Self::Mm,
        Self::Xmm,
        Self::Ymm,
        Self::Zmm,
        Self::K,
        Self::Tmm,
        Self::Bnd,
        Self::Rip,
        Self::NoIndex,
    ];
}

impl RegClass {
    /// How many registers the class has.
    pub(crate) const fn count(self) -> u8 {
        match self {
            Self::Seg => 6,
            Self::Cr | Self::Dr => 16,
            Self::High8 | Self::St | Self::Mm | Self::K | Self::Tmm => 8,
            Self::Bnd => 4,
            Self::Rip | Self::NoIndex => 2,
            _ => 32,
        }
    }
}

/// A register: its class and its number as the instruction encodes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reg {
    /// Which file of registers.
    pub class: RegClass,
    /// The number, 0 to 31.
    pub num: u8,
}

const LEGACY: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
const LOW8: [&str; 8] = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"];
const HIGH8: [&str; 4] = ["ah", "ch", "dh", "bh"];
const SEG: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

impl Reg {
    /// The register of this class and number.
    #[must_use]
    pub const fn new(class: RegClass, num: u8) -> Self {
        Self { class, num }
    }

    /// The register of this name in lower case, without `%`.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        use RegClass as C;
        let new = |class, num| Some(Self::new(class, num));
        let index = |names: &[&str]| names.iter().position(|n| n.as_bytes() == name).map(|i| i as u8);
        match name {
            [b'r', digits @ .., width @ (b'b' | b'w' | b'd')] if number(digits, 8, 31).is_some() => {
                let num = number(digits, 8, 31)?;
                let class = [(b'b', C::R8), (b'w', C::R16), (b'd', C::R32)]
                    .iter()
                    .find(|(w, _)| w == width)?
                    .1;
                new(class, num)
            }
            [b'r', digits @ ..] if number(digits, 8, 31).is_some() => new(C::R64, number(digits, 8, 31)?),
            [b'e', rest @ ..] if legacy(rest).is_some() => new(C::R32, legacy(rest)?),
            [b'r', rest @ ..] if legacy(rest).is_some() => new(C::R64, legacy(rest)?),
            [b'x', b'm', b'm', digits @ ..] => new(C::Xmm, number(digits, 0, 31)?),
            [b'y', b'm', b'm', digits @ ..] => new(C::Ymm, number(digits, 0, 31)?),
            [b'z', b'm', b'm', digits @ ..] => new(C::Zmm, number(digits, 0, 31)?),
            [b't', b'm', b'm', digits @ ..] => new(C::Tmm, number(digits, 0, 7)?),
            [b'b', b'n', b'd', digits @ ..] => new(C::Bnd, number(digits, 0, 3)?),
            [b'm', b'm', digits @ ..] => new(C::Mm, number(digits, 0, 7)?),
            [b'k', digits @ ..] => new(C::K, number(digits, 0, 7)?),
            [b'c', b'r', digits @ ..] => new(C::Cr, number(digits, 0, 15)?),
            [b'd', b'r', digits @ ..] => new(C::Dr, number(digits, 0, 15)?),
            [b'd', b'b', digits @ ..] => new(C::Dr, number(digits, 0, 15)?),
            b"st" | b"st(0)" => new(C::St, 0),
            [b's', b't', b'(', digit @ b'1'..=b'7', b')'] => new(C::St, digit - b'0'),
            b"rip" => new(C::Rip, 0),
            b"eip" => new(C::Rip, 1),
            b"riz" => new(C::NoIndex, 0),
            b"eiz" => new(C::NoIndex, 1),
            _ => index(&LOW8)
                .map(|n| Self::new(C::R8, n))
                .or_else(|| index(&HIGH8).map(|n| Self::new(C::High8, n + 4)))
                .or_else(|| index(&SEG).map(|n| Self::new(C::Seg, n)))
                .or_else(|| legacy(name).map(|n| Self::new(C::R16, n))),
        }
    }

    /// The size in bytes of a general or vector register, else 0.
    #[must_use]
    pub const fn size_bytes(self) -> u16 {
        match self.class {
            RegClass::R8 | RegClass::High8 => 1,
            RegClass::R16 | RegClass::Seg => 2,
            RegClass::R32 => 4,
            RegClass::R64 | RegClass::Mm | RegClass::Cr | RegClass::Dr => 8,
            RegClass::Xmm => 16,
            RegClass::Ymm => 32,
            RegClass::Zmm => 64,
            _ => 0,
        }
    }
}

fn legacy(name: &[u8]) -> Option<u8> {
    LEGACY.iter().position(|n| n.as_bytes() == name).map(|i| i as u8)
}

/// A decimal number without a leading zero in `low..=high`.
fn number(digits: &[u8], low: u8, high: u8) -> Option<u8> {
    let value = match digits {
        [d @ b'0'..=b'9'] => d - b'0',
        [t @ b'1'..=b'3', d @ b'0'..=b'9'] => (t - b'0') * 10 + (d - b'0'),
        _ => return None,
    };
    (low..=high).contains(&value).then_some(value)
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use RegClass as C;
        let n = self.num as usize;
        match self.class {
            C::R8 if n < 8 => f.write_str(LOW8[n]),
            C::R8 => write!(f, "r{n}b"),
            C::High8 => f.write_str(HIGH8[n & 3]),
            C::R16 if n < 8 => f.write_str(LEGACY[n]),
            C::R16 => write!(f, "r{n}w"),
            C::R32 if n < 8 => write!(f, "e{}", LEGACY[n]),
            C::R32 => write!(f, "r{n}d"),
            C::R64 if n < 8 => write!(f, "r{}", LEGACY[n]),
            C::R64 => write!(f, "r{n}"),
            C::Seg => f.write_str(SEG.get(n).copied().unwrap_or("?s")),
            C::Cr => write!(f, "cr{n}"),
            C::Dr => write!(f, "dr{n}"),
            C::St if n == 0 => f.write_str("st"),
            C::St => write!(f, "st({n})"),
            C::Mm => write!(f, "mm{n}"),
            C::Xmm => write!(f, "xmm{n}"),
            C::Ymm => write!(f, "ymm{n}"),
            C::Zmm => write!(f, "zmm{n}"),
            C::K => write!(f, "k{n}"),
            C::Tmm => write!(f, "tmm{n}"),
            C::Bnd => write!(f, "bnd{n}"),
            C::Rip => f.write_str(if n == 0 { "rip" } else { "eip" }),
            C::NoIndex => f.write_str(if n == 0 { "riz" } else { "eiz" }),
        }
    }
}

impl fmt::Debug for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! classes {
    ($($(#[$doc:meta])* $type:ident $class:ident $($name:ident = $num:literal)*;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $type(pub(crate) u8);
        impl From<$type> for Reg {
            #[inline]
            fn from(reg: $type) -> Self {
                Reg::new(RegClass::$class, reg.0)
            }
        }
        impl $type {
            /// The register of this number, if the class has it.
            #[must_use]
            pub const fn new(num: u8) -> Option<Self> {
                if num < RegClass::$class.count() { Some(Self(num)) } else { None }
            }
        }
        $(
            #[doc = concat!("`", stringify!($name), "`")]
            pub const $name: $type = $type($num);
        )*
    )*};
}

classes! {
    /// An 8-bit general register that is not `ah`…`bh`.
    Gp8 R8 AL=0 CL=1 DL=2 BL=3 SPL=4 BPL=5 SIL=6 DIL=7 R8B=8 R9B=9 R10B=10 R11B=11 R12B=12 R13B=13 R14B=14 R15B=15;
    /// A 16-bit general register.
    Gp16 R16 AX=0 CX=1 DX=2 BX=3 SP=4 BP=5 SI=6 DI=7 R8W=8 R9W=9 R10W=10 R11W=11 R12W=12 R13W=13 R14W=14 R15W=15;
    /// A 32-bit general register.
    Gp32 R32 EAX=0 ECX=1 EDX=2 EBX=3 ESP=4 EBP=5 ESI=6 EDI=7 R8D=8 R9D=9 R10D=10 R11D=11 R12D=12 R13D=13 R14D=14 R15D=15;
    /// A 64-bit general register.
    Gp64 R64 RAX=0 RCX=1 RDX=2 RBX=3 RSP=4 RBP=5 RSI=6 RDI=7 R8=8 R9=9 R10=10 R11=11 R12=12 R13=13 R14=14 R15=15;
    /// A segment register.
    Segment Seg ES=0 CS=1 SS=2 DS=3 FS=4 GS=5;
    /// An MMX register.
    Mm Mm MM0=0 MM1=1 MM2=2 MM3=3 MM4=4 MM5=5 MM6=6 MM7=7;
    /// A 128-bit vector register.
    Xmm Xmm XMM0=0 XMM1=1 XMM2=2 XMM3=3 XMM4=4 XMM5=5 XMM6=6 XMM7=7 XMM8=8 XMM9=9 XMM10=10 XMM11=11 XMM12=12 XMM13=13
        XMM14=14 XMM15=15 XMM16=16 XMM17=17 XMM18=18 XMM19=19 XMM20=20 XMM21=21 XMM22=22 XMM23=23 XMM24=24 XMM25=25
        XMM26=26 XMM27=27 XMM28=28 XMM29=29 XMM30=30 XMM31=31;
    /// A 256-bit vector register.
    Ymm Ymm YMM0=0 YMM1=1 YMM2=2 YMM3=3 YMM4=4 YMM5=5 YMM6=6 YMM7=7 YMM8=8 YMM9=9 YMM10=10 YMM11=11 YMM12=12 YMM13=13
        YMM14=14 YMM15=15 YMM16=16 YMM17=17 YMM18=18 YMM19=19 YMM20=20 YMM21=21 YMM22=22 YMM23=23 YMM24=24 YMM25=25
        YMM26=26 YMM27=27 YMM28=28 YMM29=29 YMM30=30 YMM31=31;
    /// A 512-bit vector register.
    Zmm Zmm ZMM0=0 ZMM1=1 ZMM2=2 ZMM3=3 ZMM4=4 ZMM5=5 ZMM6=6 ZMM7=7 ZMM8=8 ZMM9=9 ZMM10=10 ZMM11=11 ZMM12=12 ZMM13=13
        ZMM14=14 ZMM15=15 ZMM16=16 ZMM17=17 ZMM18=18 ZMM19=19 ZMM20=20 ZMM21=21 ZMM22=22 ZMM23=23 ZMM24=24 ZMM25=25
        ZMM26=26 ZMM27=27 ZMM28=28 ZMM29=29 ZMM30=30 ZMM31=31;
    /// A mask register.
    Mask K K0=0 K1=1 K2=2 K3=3 K4=4 K5=5 K6=6 K7=7;
    /// An x87 stack register.
    St St ST0=0 ST1=1 ST2=2 ST3=3 ST4=4 ST5=5 ST6=6 ST7=7;
    /// A tile register.
    Tmm Tmm TMM0=0 TMM1=1 TMM2=2 TMM3=3 TMM4=4 TMM5=5 TMM6=6 TMM7=7;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for class in [
            RegClass::R8,
            RegClass::R16,
            RegClass::R32,
            RegClass::R64,
            RegClass::Xmm,
            RegClass::Zmm,
        ] {
            for num in 0..32 {
                let reg = Reg::new(class, num);
                assert_eq!(Reg::named(reg.to_string().as_bytes()), Some(reg));
            }
        }
        for name in [
            "ah", "bh", "es", "gs", "cr8", "dr7", "st", "st(3)", "mm7", "k1", "tmm2", "bnd3", "rip", "eip", "riz",
        ] {
            assert_eq!(
                Reg::named(name.as_bytes()).map(|r| r.to_string()).as_deref(),
                Some(name)
            );
        }
        for name in ["r7", "r32", "xmm32", "k8", "st(8)", "eal", "rr8", "r08", "", "e", "r"] {
            assert_eq!(Reg::named(name.as_bytes()), None, "{name}");
        }
    }
}
