//! Code as a list of instructions, whatever the padding and the length of branches.

use std::collections::BTreeMap;
use std::process::Command;

/// An instruction as `llvm-objdump` writes it, less addresses.
#[derive(Debug)]
pub(crate) struct Instruction {
    pub(crate) offset: u64,
    /// To the next one, padding included.
    pub(crate) len: u64,
    text: String,
    /// The address that a direct branch or an operand relative to `rip` has, without regard to relocations.
    target: Option<u64>,
}

/// The instructions of a section, less padding.
#[derive(Debug, Default)]
pub(crate) struct Code(pub(crate) Vec<Instruction>);

impl Code {
    /// The number of the instruction that an address is in or, in padding, in front of.
    pub(crate) fn index(&self, address: u64) -> usize {
        self.0
            .partition_point(|instruction| instruction.offset + instruction.len <= address)
    }

    /// What an instruction does, with targets within the section by their number.
    fn meaning(&self, instruction: &Instruction, relocs: &Targets) -> String {
        let reloc = relocs
            .range(instruction.offset..instruction.offset + instruction.len)
            .next();
        let target = match reloc {
            Some((_, target)) => *target,
            None => instruction.target,
        };
        match target {
            Some(target) => format!("{} to instruction {}", instruction.text, self.index(target)),
            None => instruction.text.clone(),
        }
    }
}

/// Where relocations are, and the addresses in the section itself that some are to.
pub(crate) type Targets = BTreeMap<u64, Option<u64>>;

/// The code of an object by section name and number among those of the name.
pub(crate) fn disassembled(object: &[u8]) -> Result<BTreeMap<String, Code>, String> {
    let file = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    std::fs::write(file.path(), object).map_err(|e| e.to_string())?;
    let mut command = Command::new("llvm-objdump-22");
    command.args(["-d", "-z", "--no-show-raw-insn"]).arg(file.path());
    let listing = crate::compile::output(&mut command)?;
    let (mut count, mut sections) = (BTreeMap::new(), BTreeMap::new());
    let mut current = &mut Code::default();
    for line in listing.lines() {
        if let Some(name) = line.strip_prefix("Disassembly of section ") {
            let name = name.trim_end_matches(':');
            let nth = count.entry(name.to_owned()).or_insert(0);
            *nth += 1;
            current = sections.entry(format!("{name}#{nth}")).or_default();
        } else if let Some((offset, text)) = line.split_once(':')
            && let Ok(offset) = u64::from_str_radix(offset.trim_start(), 16)
        {
            current.0.push(instruction(offset, text));
        }
    }
    sections.values_mut().for_each(without_padding);
    Ok(sections)
}

/// Reads `je\t0x237 <name+0x237>` and `leaq\t0x10(%rip), %rax  # 0x50 <name>`.
fn instruction(offset: u64, text: &str) -> Instruction {
    let number = |text: &str| u64::from_str_radix(text.trim().strip_prefix("0x")?.split(' ').next()?, 16).ok();
    let (text, comment) = text.split_once('#').unwrap_or((text, ""));
    let text = text.trim().replace('\t', " ");
    let (mut text, mut target) = (text.split(" <").next().unwrap_or_default().to_owned(), None);
    if text.contains("(%rip)") {
        target = number(comment);
        let (front, behind) = text.split_once("(%rip)").unwrap_or_default();
        let front = front.rsplit_once([' ', ',', '*', ':']).map_or("", |(front, _)| front);
        text = format!("{front} (%rip){behind}");
    } else if let Some((name, address)) = text
        .rsplit_once(' ')
        .filter(|(name, _)| !name.contains(['$', '%', '(']))
    {
        target = number(address);
        if target.is_some() {
            text = name.to_owned();
        }
    }
    let len = 0;
    Instruction {
        offset,
        len,
        text,
        target,
    }
}

/// Leaves nops out, and jumps over nothing but nops.
fn without_padding(code: &mut Code) {
    let all = std::mem::take(&mut code.0);
    let is_nop = |text: &str| {
        let text = text.trim_start_matches("data16 ");
        text.starts_with("nop") || text == "xchgw %ax, %ax"
    };
    let mut at = 0;
    while at < all.len() {
        let behind = at + 1 + all[at + 1..].iter().take_while(|next| is_nop(&next.text)).count();
        let next = all.get(behind).map_or(u64::MAX, |next| next.offset);
        let one = &all[at];
        // GNU as jumps over padding that is long.
        let over =
            next.wrapping_sub(one.offset) > 64 && behind > at + 1 && one.text == "jmp" && one.target == Some(next);
        if !over && !is_nop(&one.text) {
            code.0.push(Instruction {
                len: all.get(at + 1).map_or(16, |next| next.offset - one.offset),
                text: one.text.clone(),
                ..*one
            });
        }
        at = if over { behind } else { at + 1 };
    }
}

/// The first difference of two pieces of code.
pub(crate) fn difference(
    (ours, our_relocs): (&Code, &Targets),
    (theirs, their_relocs): (&Code, &Targets),
) -> Option<String> {
    let sorted = |text: &str| {
        let mut operands: Vec<String> = text.split([',', ' ']).map(str::to_owned).collect();
        operands.sort();
        operands
    };
    for (a, b) in ours.0.iter().zip(&theirs.0) {
        let one = ours.meaning(a, our_relocs);
        let other = theirs.meaning(b, their_relocs);
        if one != other && !(a.len == b.len && sorted(&one) == sorted(&other)) {
            return Some(format!("at {:#x} and {:#x}: {one} and {other}", a.offset, b.offset));
        }
    }
    let (a, b) = (ours.0.len(), theirs.0.len());
    (a != b).then(|| format!("{a} and {b} instructions"))
}
