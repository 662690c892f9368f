//! What each operand class can stand for.

use crate::class::Class;
use crate::reg::{Reg, RegClass};
use crate::row::{Row, Space, flag};
use crate::select::takes_high_general;
use crate::{Imm, Mem, Operand, Symbolic};

fn gpr(class: RegClass, row: &Row) -> Vec<Operand> {
    let mut nums = vec![3, 0, 1, 5, 8, 13, 15];
    if class == RegClass::R8 {
        nums.push(4);
    }
    if row.space == Space::Vex || row.space == Space::Evex || row.space == Space::Xop {
        nums.truncate(6);
    }
    if takes_high_general(row) {
        nums.extend([16, 23, 31]);
    }
    let mut all: Vec<Operand> = nums.into_iter().map(|n| Operand::Reg(Reg::new(class, n))).collect();
    if class == RegClass::R8 && row.len <= 2 {
        all.push(Operand::Reg(Reg::new(RegClass::High8, 5)));
    }
    all
}

fn vector(class: RegClass, row: &Row) -> Vec<Operand> {
    let nums: &[u8] = if row.space == Space::Evex {
        &[17, 2, 8, 15, 31, 24]
    } else {
        &[2, 0, 7, 8, 15]
    };
    nums.iter().map(|&n| Operand::Reg(Reg::new(class, n))).collect()
}

fn numbered(class: RegClass, count: u8) -> Vec<Operand> {
    (0..count).rev().map(|n| Operand::Reg(Reg::new(class, n))).collect()
}

fn memory(size: u16, row: &Row) -> Vec<Operand> {
    let r = |n| Reg::new(RegClass::R64, n);
    let unit = i32::from(size.max(1));
    let mut all = vec![
        Mem::base(r(0), 0),
        Mem::base(r(4), 8),
        Mem::base(r(5), 0),
        Mem::base(r(12), 0),
        Mem::base(r(13), -128),
        Mem::base(r(3), 127),
        Mem::base(r(3), 128),
        Mem::base(r(9), unit * 127),
        Mem::base(r(9), unit * -128),
        Mem::base(r(9), unit * 128),
        Mem::indexed(r(0), r(9), 4, 0),
        Mem::indexed(r(13), r(1), 8, 0),
        Mem::indexed(r(4), r(12), 1, 0x1234),
        Mem::scaled(r(5), 2, 0x7fff_ffff),
        Mem::rip(0x100),
        Mem::absolute(0x1234_5678),
        Mem::base(Reg::new(RegClass::R32, 3), 4),
        Mem {
            segment: 5,
            ..Mem::base(r(1), 0)
        },
    ];
    if row.flags & flag::SIB != 0 {
        all.remove(14);
    }
    if takes_high_general(row) {
        all.extend([
            Mem::base(r(16), 0),
            Mem::base(r(20), 8),
            Mem::base(r(29), unit * 127),
            Mem::indexed(r(21), r(20), 8, 0x1234),
            Mem::indexed(r(0), r(31), 2, 0),
            Mem::scaled(r(25), 4, 16),
        ]);
    }
    let size = if row.flags & flag::BARE != 0 { 0 } else { size };
    all.into_iter().map(|m| Operand::Mem(m.size(size))).collect()
}

fn immediates(class: Class, variant: usize) -> Vec<Operand> {
    let values: &[i64] = match class.size() {
        b"b" => &[5, 0, -1, 127, -128, 255],
        b"s" => &[5, 0, -1, 127, -128],
        b"w" => &[0x1234, 0xffff, -0x8000],
        b"d" => &[0x1234_5678, 0xffff_ffff],
        b"q" => &[0x1234_5678_9abc_def0, -0x8000_0001, i64::MIN],
        b"z" | b"v" => match variant {
            0 => &[0x1234, 0x7fff, -0x8000, 128, 0xffff, 0x80],
            1 => &[0x1234_5678, 128, -129, 0xffff_ffff, 0x7fff_ffff, -0x8000_0000],
            _ => &[0x1234_5678, 128, -129, 0x7fff_ffff, -0x8000_0000],
        },
        b"1" => &[1],
        _ => &[0, 3],
    };
    values
        .iter()
        .map(|&value| {
            Operand::Imm(Imm {
                value,
                symbolic: Symbolic::NONE,
            })
        })
        .collect()
}

fn vsib(class: Class, variant: usize) -> Vec<Operand> {
    let index = match class.size() {
        b"xd" | b"xq" => [RegClass::Xmm, RegClass::Ymm, RegClass::Zmm][variant],
        b"hq" => [RegClass::Xmm, RegClass::Xmm, RegClass::Ymm][variant],
        b"ud" | b"uq" => RegClass::Ymm,
        _ => RegClass::Zmm,
    };
    let r = |n| Reg::new(RegClass::R64, n);
    let x = |n| Reg::new(index, n);
    let size = class.memory_bytes(variant).into();
    [
        Mem::indexed(r(0), x(4), 1, 0),
        Mem::indexed(r(13), x(12), 8, 0),
        Mem::scaled(x(5), 4, 64),
        Mem::indexed(r(4), x(6), 2, 256),
    ]
    .into_iter()
    .map(|m| Operand::Mem(m.size(size)))
    .collect()
}

/// What an operand class can stand for in this variant.
pub(super) fn instances(row: &Row, class: Class, variant: usize) -> Vec<Operand> {
    let general = |size: &[u8]| match size {
        b"b" => Some(RegClass::R8),
        b"w" => Some(RegClass::R16),
        b"d" | b"z" => Some(RegClass::R32),
        b"q" => Some(RegClass::R64),
        b"v" | b"m" | b"y" => Some([RegClass::R16, RegClass::R32, RegClass::R64][variant]),
        _ => None,
    };
    let vectors = |size: &[u8]| match size {
        b"x" => [RegClass::Xmm, RegClass::Ymm, RegClass::Zmm][variant],
        b"h" => [RegClass::Xmm, RegClass::Xmm, RegClass::Ymm][variant],
        b"u" => RegClass::Ymm,
        b"z" => RegClass::Zmm,
        _ => RegClass::Xmm,
    };
    let size = class.size();
    let bytes = u16::from(class.memory_bytes(variant));
    let fixed = |name: &str| vec![Operand::Reg(Reg::named(name.as_bytes()).unwrap())];
    let mut all = match class.letter() {
        b'G' | b'R' | b'B' | b'Z' | b'g' => gpr(general(size).unwrap(), row),
        b'E' => [gpr(general(size).unwrap(), row), memory(bytes, row)].concat(),
        b'M' => memory(bytes, row),
        b'V' | b'H' | b'U' | b'L' => vector(vectors(size), row),
        b'W' => [vector(vectors(size), row), memory(bytes, row)].concat(),
        b'P' | b'N' => numbered(RegClass::Mm, 4),
        b'Q' => [numbered(RegClass::Mm, 4), memory(bytes, row)].concat(),
        b'K' | b'F' => numbered(RegClass::K, 8),
        b'Y' if size.is_empty() => numbered(RegClass::K, 8),
        b'Y' => [numbered(RegClass::K, 8), memory(bytes, row)].concat(),
        b'T' => numbered(RegClass::Tmm, 3),
        b't' => numbered(RegClass::Tmm, 5).into_iter().take(1).collect(),
        b'u' => numbered(RegClass::Tmm, 8).into_iter().take(1).collect(),
        b'S' => numbered(RegClass::Seg, 6)
            .into_iter()
            .filter(|o| !matches!(o, Operand::Reg(r) if r.num == 1))
            .collect(),
        b'C' => [0, 2, 3, 4, 8]
            .map(|n| Operand::Reg(Reg::new(RegClass::Cr, n)))
            .to_vec(),
        b'D' => numbered(RegClass::Dr, 8),
        b'b' => numbered(RegClass::Bnd, 4),
        b'c' if size == b"q" => [gpr(RegClass::R64, row), memory(8, row)].concat(),
        b'c' => [numbered(RegClass::Bnd, 4), memory(16, row)].concat(),
        b'I' => immediates(class, variant),
        b'A' => vsib(class, variant),
        b'O' => vec![Operand::Mem(Mem::absolute(0x1122_3344_5566_7788).size(bytes))],
        b's' => vec![Operand::Mem(Mem::base(crate::reg::RSI, 0).size(bytes))],
        b'd' => vec![Operand::Mem(
            Mem {
                segment: 1,
                ..Mem::base(crate::reg::RDI, 0)
            }
            .size(bytes),
        )],
        b'J' => Vec::new(),
        _ if class.is_sized_accumulator() => fixed(["ax", "eax", "rax"][variant]),
        _ => match class.text().as_str() {
            "sti" => numbered(RegClass::St, 8),
            name => fixed(name),
        },
    };
    if class.broadcast_bytes() != 0 {
        let element = class.broadcast_bytes();
        let count = class.memory_bytes(variant) / element;
        all.extend(memory(element.into(), row).into_iter().map(|op| match op {
            Operand::Mem(m) => Operand::Mem(m.broadcast(count)),
            op => op,
        }));
    }
    all
}
