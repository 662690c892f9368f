//! Every row with every class of operand, against GNU as and iced-x86.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;

use iced_x86::{Code, Decoder, DecoderOptions, Instruction};
use object::{Object, ObjectSection, ObjectSymbol};

use crate::class::{Class, Slot};
use crate::reg::{Reg, RegClass};
use crate::row::{Axis, Row, Space, flag};
use crate::{Imm, Inst, Mem, Mnemonic, Operand, Rounding, Symbolic, encode};

/// An instruction and its text in GNU as's Intel syntax.
struct Case {
    inst: Inst,
    text: String,
    row: &'static str,
}

fn gpr(class: RegClass, row: &Row) -> Vec<Operand> {
    let mut nums = vec![3, 0, 1, 5, 8, 13, 15];
    if class == RegClass::R8 {
        nums.push(4);
    }
    if row.space == Space::Vex || row.space == Space::Evex || row.space == Space::Xop {
        nums.truncate(6);
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
fn instances(row: &Row, class: Class, variant: usize) -> Vec<Operand> {
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

/// The instances of a row: each operand runs through its instances while the others stay, and all run together once.
fn cases(mnemonic: Mnemonic, row: &'static Row, out: &mut Vec<Case>) {
    if row.flags & (flag::ATT | flag::HINT_ONLY) != 0
        || row.ops[..row.len as usize].iter().any(|c| c.slot() == Slot::Rel)
    {
        return;
    }
    for variant in 0..3 {
        if row.variants >> variant & 1 == 0 {
            continue;
        }
        let lists: Vec<Vec<Operand>> = row.ops[..row.len as usize]
            .iter()
            .map(|&c| instances(row, c, variant))
            .collect();
        let mut picks = BTreeSet::from([vec![0; lists.len()]]);
        for (which, list) in lists.iter().enumerate() {
            for item in 0..list.len() {
                let mut one: Vec<usize> = vec![0; lists.len()];
                one[which] = item;
                picks.insert(one);
                picks.insert(lists.iter().enumerate().map(|(i, l)| (item + i) % l.len()).collect());
            }
        }
        for pick in &picks {
            let operands: Vec<Operand> = pick.iter().zip(&lists).map(|(&p, list)| list[p]).collect();
            let mut inst = Inst::with(mnemonic, &operands);
            if row.flags & flag::VEX_HINT != 0 {
                inst.hints = crate::Hints::VEX;
            }
            if row.flags & flag::NEEDS_MASK != 0 {
                inst.mask = 3;
            }
            push(out, inst, row);
        }
        decorated(mnemonic, row, variant, &lists, out);
    }
}

/// Masks, zeroing, rounding.
fn decorated(mnemonic: Mnemonic, row: &'static Row, variant: usize, lists: &[Vec<Operand>], out: &mut Vec<Case>) {
    let first: Vec<Operand> = lists.iter().map(|list| list[0]).collect();
    let last: Vec<Operand> = lists.iter().map(|list| list[list.len() - 1]).collect();
    if row.flags & flag::MASK != 0 {
        for operands in [&first, &last] {
            for mask in [1, 7] {
                push(
                    out,
                    Inst {
                        mask,
                        ..Inst::with(mnemonic, operands)
                    },
                    row,
                );
            }
        }
    }
    if row.flags & flag::ZEROING != 0 && !matches!(first[0], Operand::Mem(_)) {
        push(
            out,
            Inst {
                mask: 2,
                zeroing: true,
                ..Inst::with(mnemonic, &first)
            },
            row,
        );
    }
    let full = row.axis != Axis::Vector || variant == 2;
    if row.flags & flag::ROUNDING != 0 && full {
        for rounding in [Rounding::Nearest, Rounding::Down, Rounding::Up, Rounding::Zero] {
            push(
                out,
                Inst {
                    rounding,
                    ..Inst::with(mnemonic, &first)
                },
                row,
            );
        }
    }
    if row.flags & flag::SAE != 0 && full {
        push(
            out,
            Inst {
                rounding: Rounding::Sae,
                ..Inst::with(mnemonic, &first)
            },
            row,
        );
    }
}

fn push(out: &mut Vec<Case>, inst: Inst, row: &'static Row) {
    let text = intel(&inst, row);
    out.push(Case {
        inst,
        text,
        row: row.text(),
    });
}

fn intel_memory(mem: &Mem, class: Class) -> String {
    let mut text = match mem.size {
        _ if matches!(class.letter(), b'A') => "",
        1 => "byte ptr ",
        2 => "word ptr ",
        4 => "dword ptr ",
        6 => "fword ptr ",
        8 => "qword ptr ",
        10 => "tbyte ptr ",
        16 => "xmmword ptr ",
        32 => "ymmword ptr ",
        64 => "zmmword ptr ",
        _ => "",
    }
    .to_string();
    if mem.segment != 0 {
        let _ = write!(text, "{}:", Reg::new(RegClass::Seg, mem.segment - 1));
    } else if mem.base.is_none() && mem.index.is_none() {
        text += "ds:";
    }
    text += "[";
    if let Some(base) = mem.base {
        let _ = write!(text, "{base}");
    }
    if let Some(index) = mem.index {
        let _ = write!(
            text,
            "{}{index}*{}",
            if mem.base.is_some() { "+" } else { "" },
            mem.scale
        );
    }
    if mem.disp != 0 || mem.base.is_none() {
        let plus = if mem.base.is_some() || mem.index.is_some() {
            "+"
        } else {
            ""
        };
        let _ = write!(text, "{}{}", plus, mem.disp);
    }
    text += "]";
    if mem.broadcast != 0 {
        let _ = write!(text, "{{1to{}}}", mem.broadcast);
    }
    text
}

fn intel(inst: &Inst, row: &Row) -> String {
    let mut text = String::new();
    if row.flags & flag::VEX_HINT != 0 {
        text += "{vex} ";
    }
    text += inst.mnemonic.name();
    for (i, operand) in inst.operands().iter().enumerate() {
        text += if i == 0 { " " } else { ", " };
        match operand {
            Operand::Reg(reg) => {
                let _ = write!(text, "{reg}");
            }
            Operand::Mem(mem) => text += &intel_memory(mem, row.ops[i]),
            Operand::Imm(imm) => {
                let _ = write!(text, "{}", imm.value);
            }
            Operand::Target(_) => {}
        }
        if i == 0 && inst.mask != 0 {
            let _ = write!(text, "{{k{}}}{}", inst.mask, if inst.zeroing { "{z}" } else { "" });
        }
    }
    // The rounding stands before an immediate... after the last register, as GNU as has it.
    let rounding = match inst.rounding {
        Rounding::None => "",
        Rounding::Nearest => "{rn-sae}",
        Rounding::Down => "{rd-sae}",
        Rounding::Up => "{ru-sae}",
        Rounding::Zero => "{rz-sae}",
        Rounding::Sae => "{sae}",
    };
    if !rounding.is_empty() {
        match text.rfind(", ") {
            Some(at) if matches!(inst.operands().last(), Some(Operand::Imm(_))) => {
                text.insert_str(at, &format!(", {rounding}"));
            }
            _ => {
                let _ = write!(text, ", {rounding}");
            }
        }
    }
    text
}

/// What GNU as makes of a line.
#[derive(Debug, PartialEq)]
enum Theirs {
    Bytes(Vec<u8>),
    Refused,
    /// It does not know the mnemonic.
    Unknown,
}

fn gnu_as(lines: &[String]) -> Vec<Theirs> {
    let dir = std::env::temp_dir().join(format!("restub-asm-rows-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (source, object) = (dir.join("rows.s"), dir.join("rows.o"));
    let mut refused = vec![false; lines.len()];
    let mut unknown = refused.clone();
    for _ in 0..4 {
        let mut text = String::from(".intel_syntax noprefix\n.text\n");
        for (i, line) in lines.iter().enumerate() {
            let line = if refused[i] { "" } else { line };
            let _ = writeln!(text, "L{i}: {line}");
        }
        let _ = writeln!(text, "L{}:", lines.len());
        std::fs::write(&source, &text).unwrap();
        let run = Command::new("as")
            .arg("-o")
            .arg(&object)
            .arg(&source)
            .output()
            .expect("GNU as runs");
        if run.status.success() {
            break;
        }
        for message in String::from_utf8_lossy(&run.stderr).lines() {
            let mut parts = message.split(':').skip(1);
            if let (Some(Ok(line)), Some(" Error")) = (parts.next().map(str::parse::<usize>), parts.next()) {
                refused[line - 3] = true;
                unknown[line - 3] |= message.contains("no such instruction");
            }
        }
    }
    let data = std::fs::read(&object).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let file = object::File::parse(&*data).unwrap();
    let bytes = file.section_by_name(".text").unwrap().data().unwrap();
    let mut offsets = vec![0; lines.len() + 1];
    for symbol in file.symbols() {
        if let Some(Ok(index)) = symbol
            .name()
            .ok()
            .and_then(|n| n.strip_prefix('L'))
            .map(str::parse::<usize>)
        {
            offsets[index] = symbol.address() as usize;
        }
    }
    (0..lines.len())
        .map(|i| match (unknown[i], refused[i]) {
            (true, _) => Theirs::Unknown,
            (_, true) => Theirs::Refused,
            _ => Theirs::Bytes(bytes[offsets[i]..offsets[i + 1]].to_vec()),
        })
        .collect()
}

/// Rows whose difference from GNU as is meant.
fn meant(row: &str) -> bool {
    let family = ["bnd", "lwp", "sysexit", "sysret"];
    // GNU as 2.40 has no address size check but for MPX, wants a suffix on sysret, and takes no far pointer of 80 bits;
    // LWP immediates are unsigned here (SDM and APM write imm32).
    family.iter().any(|name| row.starts_with(name)) || row.contains("Mp :")
}

fn all_cases() -> Vec<Case> {
    let mut all = Vec::new();
    for mnemonic in Mnemonic::all() {
        for row in mnemonic.rows() {
            cases(mnemonic, row, &mut all);
        }
    }
    all
}

#[test]
fn rows_encode_as_gnu_as_does() {
    let cases = all_cases();
    let lines: Vec<String> = cases.iter().map(|c| c.text.clone()).collect();
    let theirs = gnu_as(&lines);
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut same, mut both_refuse, mut unknown) = (0, 0, 0);
    for (case, theirs) in cases.iter().zip(&theirs) {
        let ours = encode(&case.inst);
        match (&ours, theirs) {
            (Ok(a), Theirs::Bytes(b)) if a.bytes() == b => same += 1,
            (_, Theirs::Unknown) => unknown += 1,
            (Err(_), Theirs::Refused) => both_refuse += 1,
            (Ok(_), Theirs::Refused) if meant(case.row) => {}
            (a, b) => wrong.entry(case.row).or_default().push(format!(
                "{}: ours {:02x?}, as {:02x?}",
                case.text,
                a.as_ref().map(|e| e.bytes().to_vec()),
                b
            )),
        }
    }
    let mut report = String::new();
    for (row, lines) in &wrong {
        let _ = writeln!(report, "{row}: {} differ, e.g. {}", lines.len(), lines[0]);
    }
    println!(
        "{same} the same, {both_refuse} refused by both, {unknown} unknown to this GNU as, {} rows differ\n{report}",
        wrong.len()
    );
    if let Ok(path) = std::env::var("ROWS_REPORT") {
        std::fs::write(path, &report).unwrap();
    }
    assert!(wrong.is_empty());
}

#[test]
fn iced_decodes_every_row_to_its_mnemonic() {
    let mut reached = BTreeSet::new();
    let mut wrong = Vec::new();
    for case in all_cases() {
        let Ok(encoded) = encode(&case.inst) else { continue };
        let mut decoder = Decoder::new(64, encoded.bytes(), DecoderOptions::MPX);
        let decoded: Instruction = decoder.decode();
        if decoded.is_invalid() || decoded.len() != encoded.bytes().len() {
            wrong.push(format!("{}: {:02x?} ({})", case.text, encoded.bytes(), case.row));
        }
        reached.insert(decoded.code() as usize);
    }
    let missing: Vec<String> = Code::values()
        .filter(|code| {
            let info = code.op_code();
            info.mode64() && info.is_instruction() && !reached.contains(&(*code as usize))
        })
        .map(|code| {
            format!(
                "{code:?}: {} = {}",
                code.op_code().instruction_string(),
                code.op_code().op_code_string()
            )
        })
        .collect();
    println!("reached {}, missing {}", reached.len(), missing.len());
    if let Ok(path) = std::env::var("ROWS_REPORT") {
        std::fs::write(format!("{path}.missing"), missing.join("\n")).unwrap();
        std::fs::write(format!("{path}.undecoded"), wrong.join("\n")).unwrap();
    }
}
