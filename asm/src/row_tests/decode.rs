//! The rows against iced-x86's decoder, both ways: what it makes of our bytes, and which of its codes we reach.

use std::collections::BTreeSet;

use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};

use super::cases::{self, Case};
use super::oracle::{self, Theirs};
use super::print::{self, Dialect};
use crate::class::Slot;
use crate::reg::{Reg, RegClass};
use crate::row::{NO_BYTE, flag};
use crate::{Imm, Mem, Mnemonic, Operand, Syntax, encode};

fn decode(bytes: &[u8], options: u32) -> Instruction {
    Decoder::new(64, bytes, options).decode()
}

/// Whether the decoder sees this operand somewhere in the instruction.
fn sees(decoded: &Instruction, operand: &Operand) -> bool {
    let kinds = || (0..decoded.op_count()).map(|i| (i, decoded.op_kind(i)));
    match operand {
        Operand::Reg(reg) => {
            kinds().any(|(i, kind)| kind == OpKind::Register && same_register(decoded.op_register(i), *reg))
        }
        Operand::Mem(mem) => kinds().any(|(_, kind)| kind == OpKind::Memory && same_address(decoded, mem)),
        Operand::Imm(imm) => kinds().any(|(i, kind)| is_immediate(kind) && same_value(decoded.immediate(i), imm, kind)),
        Operand::Target(_) => true,
    }
}

fn is_immediate(kind: OpKind) -> bool {
    use OpKind as K;
    matches!(
        kind,
        K::Immediate8
            | K::Immediate8_2nd
            | K::Immediate16
            | K::Immediate32
            | K::Immediate64
            | K::Immediate8to16
            | K::Immediate8to32
            | K::Immediate8to64
            | K::Immediate32to64
    )
}

/// Immediates are compared as far as the instruction reads them.
fn same_value(decoded: u64, imm: &Imm, kind: OpKind) -> bool {
    use OpKind as K;
    let bits = match kind {
        K::Immediate8 | K::Immediate8_2nd => 8,
        K::Immediate16 | K::Immediate8to16 => 16,
        K::Immediate32 | K::Immediate8to32 => 32,
        _ => 64,
    };
    let mask = u64::MAX >> (64 - bits);
    decoded & mask == imm.value as u64 & mask
}

/// The width of a general register is left to the row: `sldt rbx` and `sldt ebx` do the same.
fn same_register(theirs: Register, ours: Reg) -> bool {
    let wide = match ours.class {
        RegClass::R8 | RegClass::R16 | RegClass::R32 | RegClass::R64 => Reg::new(RegClass::R64, ours.num),
        _ => ours,
    };
    let theirs = if theirs.is_gpr() && ours.class != RegClass::High8 {
        theirs.full_register()
    } else {
        theirs
    };
    let ours = wide.to_string().replace(['(', ')'], "");
    let theirs = format!("{theirs:?}").to_lowercase();
    theirs == ours || theirs == "st0" && ours == "st"
}

fn same_address(decoded: &Instruction, mem: &Mem) -> bool {
    let same = |theirs: Register, ours: Option<Reg>| match ours {
        None => theirs == Register::None,
        Some(reg) => theirs.size() == usize::from(size_of(reg)) && same_register(theirs, reg),
    };
    let disp = match mem.base.map(|base| base.class) {
        Some(RegClass::Rip) => decoded.memory_displacement64().wrapping_sub(decoded.len() as u64),
        Some(RegClass::R32) => i64::from(decoded.memory_displacement64() as i32) as u64,
        _ => decoded.memory_displacement64(),
    };
    let scaled = mem.index.is_none() || decoded.memory_index_scale() == u32::from(mem.scale);
    same(decoded.memory_base(), mem.base)
        && same(decoded.memory_index(), mem.index)
        && scaled
        && disp == mem.disp as u64
}

fn size_of(reg: Reg) -> u16 {
    if reg.class == RegClass::Rip {
        8
    } else {
        reg.size_bytes()
    }
}

/// Names of ours and of iced-x86 where neither is in the other.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("cltd", "cdq"),
    ("cltq", "cdqe"),
    ("cqto", "cqo"),
    ("cwtd", "cwd"),
    ("cwtl", "cwde"),
    ("cbtw", "cbw"),
    ("cmpsl", "cmpsd"),
    ("insl", "insd"),
    ("outsl", "outsd"),
    ("lodsl", "lodsd"),
    ("scasl", "scasd"),
    ("stosl", "stosd"),
    ("movsl", "movsd"),
    ("movsl", "movsxd"),
    ("movslq", "movsxd"),
    ("movsb", "movsx"),
    ("movsw", "movsx"),
    ("movzb", "movzx"),
    ("movzw", "movzx"),
    ("movd", "movq"),
    ("fcompi", "fcomip"),
    ("fucompi", "fucomip"),
    ("fdivp", "fdivrp"),
    ("fdivr", "fdivp"),
    ("fdivrp", "fdivp"),
    ("fsubp", "fsubrp"),
    ("fsubr", "fsubp"),
    ("fsubrp", "fsubp"),
    ("fdiv", "fdivrp"),
    ("fsub", "fsubrp"),
    ("fildll", "fild"),
    ("iretl", "iretd"),
    ("lret", "retf"),
    ("lretl", "retf"),
    ("lretq", "retf"),
    ("lretw", "retf"),
    ("pcmpestriq", "pcmpestri64"),
    ("pcmpestrmq", "pcmpestrm64"),
    ("popfw", "popf"),
    ("pushfw", "pushf"),
    ("sal", "shl"),
    ("ud2b", "ud1"),
    ("vmovd", "vmovq"),
    ("vpcmpestriq", "vpcmpestri64"),
    ("vpcmpestrmq", "vpcmpestrm64"),
];

/// Whether the decoder's name is ours, another of the row's, ours with or without a size, or listed.
fn same_name(decoded: &Instruction, case: &Case) -> bool {
    let theirs = format!("{:?}", decoded.mnemonic()).to_lowercase();
    let ours = case.inst.mnemonic.name();
    let predicate = case.row.last != NO_BYTE && ours[..3] == theirs[..3];
    theirs.contains(ours)
        || ours.contains(&theirs)
        || predicate
        || case.row.names().any(|name| name == theirs)
        || OTHER_NAMES.contains(&(ours, &theirs))
}

/// USER_MSR is younger than iced-x86 1.21, which takes `xchg` with 90 for `nop`, and `montmul` for a 32-bit instruction.
fn is_foreign(case: &Case) -> bool {
    let name = case.inst.mnemonic.name();
    ["urdmsr", "uwrmsr", "montmul"].contains(&name) || name == "xchg" && case.row.opcode == 0x90
}

#[test]
fn iced_decodes_every_row_to_its_instruction() {
    let mut wrong = Vec::new();
    for case in cases::all().iter().filter(|c| !c.is_recent() && !is_foreign(c)) {
        let Ok(encoded) = encode(&case.inst) else { continue };
        // To the decoder, 9B is an instruction of its own.
        let wait = usize::from(case.row.flags & flag::FWAIT != 0);
        let bytes = &encoded.bytes()[wait..];
        // GNU as only warns where a gather's registers are the same.
        let decoded = decode(bytes, DecoderOptions::MPX | DecoderOptions::NO_INVALID_CHECK);
        let explicit = |i: &usize| case.row.ops[*i].slot() != Slot::Implied;
        let operands = case.inst.operands();
        let right = !decoded.is_invalid()
            && decoded.len() == bytes.len()
            && (same_name(&decoded, case) || wait == 1)
            && (0..operands.len())
                .filter(explicit)
                .all(|i| sees(&decoded, &operands[i]));
        if !right {
            let text = print::text(case, Dialect::GnuIntel);
            wrong.push(format!("{text}: {bytes:02x?} is {decoded} ({})", case.row.text()));
        }
    }
    if let Ok(path) = std::env::var("ROWS_REPORT") {
        std::fs::write(format!("{path}.decoded"), wrong.join("\n")).unwrap();
    }
    assert!(
        wrong.is_empty(),
        "{} lines, e.g. {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
}

/// What the row cases do not have: branches, prefixes, suffixes without memory.
fn other_lines() -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for mnemonic in Mnemonic::all().filter(|m| m.is_branch()) {
        let direct = mnemonic
            .rows()
            .any(|row| row.ops[..row.len as usize].iter().any(|c| c.slot() == Slot::Rel));
        if direct {
            let name = mnemonic.name();
            lines.push(format!("{name} .+4"));
            if mnemonic.row().ops[0].size() == b"d" {
                lines.push(format!("{name} .+0x1000"));
            }
            if name.starts_with("loop") {
                lines.push(format!("addr32 {name} .+5"));
            }
        }
    }
    let narrow = [
        "monitor",
        "monitorx",
        "clzero",
        "pvalidate",
        "invlpgb",
        "xstore",
        "montmul",
        "xsha1",
        "xsha256",
        "xcryptecb",
        "xcryptcbc",
        "xcryptctr",
        "xcryptcfb",
        "xcryptofb",
    ];
    lines.extend(narrow.map(|name| format!("addr32 {name}")));
    let words = ["fldenv", "fnstenv", "frstor", "fnsave"];
    lines.extend(words.map(|name| format!("data16 {name} (%rax)")));
    let others = [
        "rex64 nop",
        "rex64 getsec",
        "pushw $5",
        "pushw $0x1234",
        "pushw %fs",
        "popw %fs",
        "pushw %gs",
        "popw %gs",
        "retw",
        "retw $4",
        "{store} vmovss %xmm17, %xmm1, %xmm2",
        "{store} vmovsd %xmm17, %xmm1, %xmm2",
        "{store} vmovsh %xmm17, %xmm1, %xmm2",
        "{store} vmovq %xmm17, %xmm1",
        "callw *%ax",
        "jmpw *%ax",
        "movzww (%rax), %cx",
        "movsww (%rax), %cx",
    ];
    lines.extend(others.map(String::from));
    lines
}

#[test]
fn other_lines_assemble_as_gnu_as_does() {
    let lines = other_lines();
    let (ours, theirs) = (oracle::ours(&lines, Syntax::Att), oracle::gnu_as(&lines, Syntax::Att));
    for ((line, ours), theirs) in lines.iter().zip(ours).zip(theirs) {
        assert!(
            ours == theirs || matches!((&ours, &theirs), (Theirs::Refused(_), Theirs::Refused(_))),
            "{line}: ours {ours:02x?}, as {theirs:02x?}"
        );
    }
}

/// Codes of iced-x86 that no line of assembly means, by the start of their names.
const NOT_REACHED: &[(&str, &str)] = &[
    ("Reservednop_", "hint nops without a name"),
    ("Prefetchreserved", "reserved prefetches"),
    ("Lfence_", "a duplicate with another ModRM.rm"),
    ("Mfence_", "a duplicate with another ModRM.rm"),
    ("Sfence_", "a duplicate with another ModRM.rm"),
    ("Sal_", "a duplicate of shl, /6"),
    ("Test_rm8_imm8_F6r1", "a duplicate of /0"),
    ("Test_rm16_imm16_F7r1", "a duplicate of /0"),
    ("Test_rm32_imm32_F7r1", "a duplicate of /0"),
    ("Test_rm64_imm32_F7r1", "a duplicate of /0"),
    ("Fcom_st0_sti_DCD0", "a duplicate of D8 D0"),
    ("Fcomp_st0_sti_DCD8", "a duplicate of D8 D8"),
    ("Fcomp_st0_sti_DED0", "a duplicate of D8 D8"),
    ("Fxch_st0_sti_D", "a duplicate of D9 C8"),
    ("Fstp_sti_DFD", "a duplicate of DD D8"),
    ("Fstenv_", "to the decoder, wait and fnstenv"),
    ("Fstcw_", "to the decoder, wait and fnstcw"),
    ("Fsave_", "to the decoder, wait and fnsave"),
    ("Fstsw_", "to the decoder, wait and fnstsw"),
    ("Feni", "to the decoder, wait and fneni"),
    ("Fdisi", "to the decoder, wait and fndisi"),
    ("Fclex", "to the decoder, wait and fnclex"),
    ("Finit", "to the decoder, wait and fninit"),
    ("Fsetpm", "to the decoder, wait and fnsetpm"),
    ("Mov_r64m16_Sreg", "REX.W changes nothing"),
    ("Mov_Sreg_r", "an operand size prefix changes nothing"),
    ("Bswap_r16", "undefined"),
    ("Vmgexit_F2", "a duplicate with F2"),
    ("Pcommit", "withdrawn by Intel, unknown to GNU as and LLVM"),
    ("Rdudbg", "undocumented"),
    ("Wrudbg", "undocumented"),
    ("Via_undoc_", "undocumented"),
    ("Xsha512", "undocumented"),
    ("Xstore_alt", "undocumented"),
    ("Montmul_64", "not decoded"),
    ("Ccs_", "the 32-bit form of an undocumented instruction"),
    ("Xbegin_rel16", "offsets of 16 bits are never written"),
];

/// Why a code is not reached.
fn why_not(code: Code) -> Option<&'static str> {
    let name = format!("{code:?}");
    let info = code.op_code();
    if code.cpuid_features().contains(&CpuidFeature::KNC) {
        return Some("only Knights Corner has it");
    }
    let near = matches!(
        code.flow_control(),
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch | FlowControl::Call
    );
    if near && info.operand_size() == 16 {
        return Some("an offset or address of 16 bits in 64-bit mode, on AMD processors alone");
    }
    let narrow_operand = name.contains("r64") || name.contains("_rm16");
    let in_32_too = name.contains("m8") || name.contains("m16") || name.contains("m32") || name.contains("mm");
    if narrow_operand && in_32_too || ["Tpause_r64", "Umwait_r64"].contains(&&name[..]) {
        return Some("a duplicate whose operand size changes nothing; GNU as writes the short one");
    }
    NOT_REACHED
        .iter()
        .find(|(start, _)| name.starts_with(start))
        .map(|(_, why)| *why)
}

#[test]
fn every_64_bit_code_of_iced_is_reached_or_listed() {
    let mut reached: BTreeSet<usize> = BTreeSet::new();
    let mut reach = |bytes: &[u8]| {
        for options in [DecoderOptions::MPX, DecoderOptions::AMD, DecoderOptions::CYRIX] {
            reached.insert(decode(bytes, options).code() as usize);
        }
    };
    for case in cases::all() {
        if let Ok(encoded) = encode(&case.inst) {
            reach(encoded.bytes());
        }
    }
    for line in oracle::ours(&other_lines(), Syntax::Att) {
        if let Theirs::Bytes(bytes) = line {
            reach(&bytes);
        }
    }
    let wanted = Code::values().filter(|code| code.op_code().mode64() && code.op_code().is_instruction());
    let (mut missing, mut listed, mut total) = (Vec::new(), 0, 0);
    for code in wanted {
        total += 1;
        if reached.contains(&(code as usize)) {
            continue;
        }
        match why_not(code) {
            Some(_) => listed += 1,
            None => missing.push(format!("{code:?}: {}", code.op_code().op_code_string())),
        }
    }
    println!("{total} codes, {listed} listed, {} missing", missing.len());
    assert!(missing.is_empty(), "{missing:#?}");
    for (start, why) in NOT_REACHED {
        let stale =
            !Code::values().any(|code| !reached.contains(&(code as usize)) && format!("{code:?}").starts_with(start));
        assert!(!stale, "{start} ({why}) is reached");
    }
}
