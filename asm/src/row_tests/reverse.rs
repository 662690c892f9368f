//! What LLVM's disassembler knows in the VEX and EVEX spaces, which are those that grow: we take all of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;

use super::oracle::{self, Theirs};
use crate::Syntax;

/// Every opcode in every map, with each mandatory prefix, W, length and mask, with registers and memory; what does not
/// exist, the disassembler leaves out.
fn encodings() -> String {
    let mut text = String::new();
    let mut push = |bytes: &[u8]| {
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:#04x}")).collect();
        let _ = writeln!(text, "[{}]", bytes.join(","));
    };
    let fields = [1u8, 2, 3, 5, 6, 7]
        .into_iter()
        .flat_map(|map| (0..8u8).map(move |prefix| (map, prefix & 3, prefix >> 2)))
        .flat_map(|fields| [0xfu8, 0xd].map(|vvvv| (fields, vvvv)));
    for ((map, pp, w), vvvv) in fields {
        for opcode in 0..=255u8 {
            for length in 0..3u8 {
                // Registers, memory, memory with a displacement; and each with an immediate.
                for tail in [
                    &[0xc1u8][..],
                    &[0x01],
                    &[0x41, 1],
                    &[0xc1, 1],
                    &[0x01, 1],
                    &[0x41, 1, 1],
                ] {
                    let second = w << 7 | vvvv << 3 | pp;
                    for third in [length << 5 | 8, length << 5 | 9] {
                        push(&[&[0x62, 0xf0 | map, second | 4, third, opcode], tail].concat());
                    }
                    if length < 2 {
                        push(&[&[0xc4, 0xe0 | map, second | length << 2, opcode], tail].concat());
                    }
                }
                // A SIB byte, which tiles in memory have.
                push(&[0xc4, 0xe0 | map, w << 7 | vvvv << 3 | pp, opcode, 0x04, 0x20]);
            }
        }
    }
    text
}

/// What is not taken, by the start of the line.
const NOT_TAKEN: &[(&str, &str)] = &[
    ("vfmulc", "a register twice where the processor raises #UD"),
    ("vfcmulc", "a register twice where the processor raises #UD"),
    ("vfmaddc", "a register twice where the processor raises #UD"),
    ("vfcmaddc", "a register twice where the processor raises #UD"),
    ("vmovw", "a 64-bit register of which 16 bits are read or written"),
];

#[test]
fn what_llvm_disassembles_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("bytes.txt");
    std::fs::write(&input, encodings()).unwrap();
    let output = Command::new("llvm-mc-22")
        .args(["-disassemble", "-triple=x86_64"])
        .arg(&input)
        .stderr(std::process::Stdio::null())
        .output()
        .expect("the disassembler runs");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.split('#').next())
        .map(|line| line.trim().replace('\t', " "))
        .filter(|line| !line.is_empty() && !line.starts_with('.'))
        .collect();
    let lines: Vec<String> = lines.into_iter().collect();
    let mut refused: Vec<String> = Vec::new();
    for (line, ours) in lines.iter().zip(oracle::ours(&lines, Syntax::Att)) {
        let listed = NOT_TAKEN.iter().any(|(start, _)| line.starts_with(start));
        if let Theirs::Refused(reason) = ours
            && !listed
        {
            refused.push(format!("{line}: {reason}"));
        }
    }
    println!("{} lines", lines.len());
    assert!(lines.len() > 10_000, "{}", lines.len());
    assert!(
        refused.is_empty(),
        "{} lines, e.g. {:#?}",
        refused.len(),
        &refused[..refused.len().min(20)]
    );
}
