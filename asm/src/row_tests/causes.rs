//! Why other assemblers differ from us where they do.

use iced_x86::{Decoder, DecoderOptions, Instruction};

use super::cases::Case;
use super::oracle::Theirs;
use crate::row::flag;
use crate::{EncodeError, Operand};

type Ours = Result<Vec<u8>, EncodeError>;

/// Rows by the start of their text, and why GNU as 2.40 refuses some of what they take.
const GNU_REFUSES: &[(&str, &str)] = &[
    (
        "lwp",
        "takes the 32-bit immediates of LWP as signed; the APM does not sign-extend them",
    ),
    ("sysexit", "wants a suffix where the operand size is 32 bits"),
    ("sysret", "wants a suffix where the operand size is 32 bits"),
    ("jmp Mp", "has no far pointer of 80 bits, which Intel processors take"),
    ("call Mp", "has no far pointer of 80 bits, which Intel processors take"),
    ("ljmp Mp", "has no far pointer of 80 bits, which Intel processors take"),
    ("lcall Mp", "has no far pointer of 80 bits, which Intel processors take"),
    ("lss ", "has no far pointer of 80 bits, which Intel processors take"),
    ("lfs ", "has no far pointer of 80 bits, which Intel processors take"),
    ("lgs ", "has no far pointer of 80 bits, which Intel processors take"),
];

pub(super) fn gnu_as(case: &Case, ours: &Ours, theirs: &Theirs) -> Option<&'static str> {
    match (ours, theirs) {
        (Ok(_), Theirs::Refused(reason)) if reason.starts_with("no such instruction") => {
            Some("older than the instruction")
        }
        (Ok(_), Theirs::Refused(_)) => listed(GNU_REFUSES, case),
        _ => None,
    }
}

fn listed(list: &[(&str, &'static str)], case: &Case) -> Option<&'static str> {
    let row = case.row.text();
    list.iter()
        .find(|(start, _)| row.starts_with(start))
        .map(|(_, cause)| *cause)
}

const NEW_BYTE: &str = "does not read a shift of a byte by one to a new destination, which LLVM writes so";

/// Rows by the start of their text, and why llvm-mc 22 refuses some of what they take.
const LLVM_REFUSES: &[(&str, &str)] = &[
    ("call Ev", "has no 16-bit near branches in 64-bit mode"),
    ("jmp Ev", "has no 16-bit near branches in 64-bit mode"),
    ("lcall Mp", "reads suffixes of far branches otherwise"),
    ("ljmp Mp", "reads suffixes of far branches otherwise"),
    ("clrssbsy", "wants another size word for the shadow stack token"),
    ("rstorssp", "wants another size word for the shadow stack token"),
    ("cmpsd", "takes cmpsd for the SSE comparison alone"),
    ("imulzu", "has no {nf} imulzu; APX has"),
    ("in ", "wants a suffix"),
    ("out ", "wants a suffix"),
    ("invlpga eax", "has no 32-bit address register in 64-bit mode"),
    ("vmload eax", "has no 32-bit address register in 64-bit mode"),
    ("vmrun eax", "has no 32-bit address register in 64-bit mode"),
    ("vmsave eax", "has no 32-bit address register in 64-bit mode"),
    ("mwait eax", "wants no operands, or others"),
    ("movsx Gq,Ed", "has only movsxd for it"),
    ("movsxd G", "has movsxd with 64-bit destinations only"),
    ("urdmsr Rq,Id", "takes the MSR's number as signed"),
    ("uwrmsr Id,Rq", "takes the MSR's number as signed"),
    ("rdmsr Rq,Id", "takes the MSR's number as signed"),
    ("wrmsrns Id,Rq", "takes the MSR's number as signed"),
    ("vcvtsi2s", "wants the rounding before the general register"),
    ("vcvtusi2s", "wants the rounding before the general register"),
    ("vcvtdq2ph", "has the suffixed name for memory without broadcast only"),
    (
        "vcvtneps2bf16",
        "has the suffixed name for memory without broadcast only",
    ),
    ("vcvtph2bf8", "has the suffixed name for memory without broadcast only"),
    ("vcvtph2hf8", "has the suffixed name for memory without broadcast only"),
    ("vcvtpd2ph", "has the suffixed name for memory without broadcast only"),
    ("vcvtps2phx", "has the suffixed name for memory without broadcast only"),
    ("vcvtqq2ph", "has the suffixed name for memory without broadcast only"),
    ("vcvtudq2ph", "has the suffixed name for memory without broadcast only"),
    ("vcvtuqq2ph", "has the suffixed name for memory without broadcast only"),
    (
        "vgatherpf",
        "wants another size word for the prefetches of Knights Landing",
    ),
    (
        "vscatterpf",
        "wants another size word for the prefetches of Knights Landing",
    ),
    ("xstore", "has no names with a hyphen"),
    ("{rol,ror} Bb,Eb ", NEW_BYTE),
    ("{rcl,rcr} Bb,Eb ", NEW_BYTE),
    ("{shl|sal,shr} Bb,Eb ", NEW_BYTE),
    ("sar Bb,Eb ", NEW_BYTE),
];

/// Rows by the start of their text, and why llvm-mc 22's bytes are others.
const LLVM_ENCODES: &[(&str, &str)] = &[
    ("call Mp", "reads the size word of a far branch as the offset's"),
    ("jmp Mp", "reads the size word of a far branch as the offset's"),
    ("iret ", "takes iret without suffix for the 16-bit one in Intel syntax"),
    ("push ", "pushes and pops fs and gs with 16 bits in Intel syntax"),
    ("pop ", "pushes and pops fs and gs with 16 bits in Intel syntax"),
    (
        "mov Rv,S",
        "keeps the operand size prefixes of segment register moves, which change nothing",
    ),
    (
        "mov S,Rv",
        "keeps the operand size prefixes of segment register moves, which change nothing",
    ),
    ("sldt", "keeps REX.W, which changes nothing"),
    ("str", "keeps REX.W, which changes nothing"),
    (
        "urdmsr Rq,Gq",
        "has the operands of urdmsr the other way around than the SDM",
    ),
    (
        "vp2intersect",
        "rounds the mask register down to the even one of its pair",
    ),
    ("call Ev", "takes an indirect branch through 16 bits for a far one"),
    ("jmp Ev", "takes an indirect branch through 16 bits for a far one"),
    ("set{", "writes the displacements of {evex} setcc with 32 bits"),
    ("xchg E", "has the two registers of xchg the other way around"),
    ("vmovq", "moves between xmm and memory with the other opcode"),
];

pub(super) fn llvm_mc(case: &Case, ours: &Ours, theirs: &Theirs) -> Option<&'static str> {
    match (ours, theirs) {
        (Ok(_), Theirs::Refused(reason)) => {
            if reason.starts_with("invalid instruction mnemonic") {
                return Some("does not know the name");
            }
            if reason == "invalid register name" && case.row.text().starts_with("bnd") {
                return Some("has dropped MPX");
            }
            listed(LLVM_REFUSES, case)
        }
        (Ok(a), Theirs::Bytes(b)) => match same_instruction(a, b) {
            true => {
                Some("chooses another encoding: operands exchanged for a shorter VEX prefix, or the other direction")
            }
            false => listed(LLVM_ENCODES, case),
        },
        (Err(_), Theirs::Bytes(_)) if case.row.flags & flag::DISTINCT != 0 && repeats_first(case) => {
            Some("takes a register twice where the processor raises #UD")
        }
        _ => None,
    }
}

fn repeats_first(case: &Case) -> bool {
    let [first @ Operand::Reg(_), rest @ ..] = case.inst.operands() else {
        return false;
    };
    rest.contains(first)
}

/// Whether both are one instruction to the decoder, whatever the order of its operands.
fn same_instruction(a: &[u8], b: &[u8]) -> bool {
    let [a, b] = [a, b].map(|bytes| {
        let instruction: Instruction = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
        let text = instruction.to_string();
        let (name, operands) = text.split_once(' ').unwrap_or((&text, ""));
        let mut operands: Vec<String> = operands.split(',').map(String::from).collect();
        operands.sort();
        (
            name.to_string(),
            operands,
            instruction.len() == bytes.len() && !instruction.is_invalid(),
        )
    });
    a == b && a.2
}
