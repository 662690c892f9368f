//! Callers that know which registers a function leaves alone, and keep values in them across the call.
//!
//! By the ABI a call may change any of nine general registers and all vector registers (psABI section 3.2.1). A compiler
//! that sees caller and callee at once knows better (gcc's `-fipa-ra`, on with `-O2`), and a replacement of the callee
//! alone knows nothing of that. The calls tell: a register that is read after one, before anything else writes it, was
//! kept across it.

use std::collections::{BTreeSet, HashMap};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, Register};

use crate::module::{Kind, Module};
use crate::procfs::Procfs;

/// Registers that a call may change and that return nothing; vector registers by their widest form.
const CHANGED: [Register; 21] = [
    Register::RCX,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::ZMM2,
    Register::ZMM3,
    Register::ZMM4,
    Register::ZMM5,
    Register::ZMM6,
    Register::ZMM7,
    Register::ZMM8,
    Register::ZMM9,
    Register::ZMM10,
    Register::ZMM11,
    Register::ZMM12,
    Register::ZMM13,
    Register::ZMM14,
    Register::ZMM15,
];
/// How deep calls are followed.
const DEEPEST: u32 = 8;
/// How far the code behind a call is followed.
const STEPS: usize = 200;
const WINDOW_BYTES: usize = 4096;
/// `call rel32`.
const CALL: u8 = 0xe8;
const CALL_BYTES: u64 = 5;

/// The code that runs for the function at an address, with its own address; `None` where it is not known.
type CodeAt<'c> = &'c dyn Fn(u64) -> Option<(u64, Vec<u8>)>;

/// For each of some functions, the callers that keep registers across the call which the replacement changes and the
/// function did not, in words. `old` has the code that there was and `new` that of the replacements; what is replaced too
/// is `own`, by place.
pub(crate) fn callers(
    procfs: &Procfs,
    module: &Module,
    functions: &[u64],
    old: CodeAt<'_>,
    new: CodeAt<'_>,
    own: &dyn Fn(u64) -> bool,
) -> Vec<BTreeSet<String>> {
    let mut found = vec![BTreeSet::new(); functions.len()];
    let (mut before, mut then) = (Changes::new(old), Changes::new(new));
    let freshly_changed: Vec<BTreeSet<Register>> = functions
        .iter()
        .map(|function| {
            let changed = then.of(*function, DEEPEST);
            changed.difference(&before.of(*function, DEEPEST)).copied().collect()
        })
        .collect();
    if freshly_changed.iter().all(BTreeSet::is_empty) {
        return found;
    }
    let by_address: HashMap<u64, usize> = functions
        .iter()
        .enumerate()
        .map(|(index, address)| (*address, index))
        .collect();
    for range in &module.code {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let Some(code) = procfs.read_vec(range.start, length) else {
            continue;
        };
        for (at, bytes) in code
            .windows(CALL_BYTES as usize)
            .enumerate()
            .filter(|(_, bytes)| bytes[0] == CALL)
        {
            let place = range.start + at as u64;
            let distance = i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
            let after = place + CALL_BYTES;
            let target = after.wrapping_add_signed(i64::from(distance));
            let Some(index) = by_address.get(&target).filter(|_| !own(place)) else {
                continue;
            };
            let kept: Vec<String> = read_after(procfs, after)
                .intersection(&freshly_changed[*index])
                .map(|register| format!("{register:?}").to_lowercase().replace("zmm", "xmm"))
                .collect();
            if !kept.is_empty() {
                found[*index].insert(format!(
                    "{} keeps {}",
                    module.name_at(place, Kind::Function),
                    kept.join(", ")
                ));
            }
        }
    }
    found
}

/// The registers that functions may change: those that they write, and those that functions which they call do.
struct Changes<'c> {
    code_at: CodeAt<'c>,
    known: HashMap<u64, BTreeSet<Register>>,
}

impl<'c> Changes<'c> {
    fn new(code_at: CodeAt<'c>) -> Self {
        Changes {
            code_at,
            known: HashMap::new(),
        }
    }

    /// Of the function at an address; all where its code is not known.
    fn of(&mut self, address: u64, depth: u32) -> BTreeSet<Register> {
        if let Some(known) = self.known.get(&address) {
            return known.clone();
        }
        let code = (self.code_at)(address).filter(|(_, code)| depth > 0 && !code.is_empty());
        let Some((start, code)) = code else {
            return CHANGED.into_iter().collect();
        };
        // One that calls itself changes what it changes.
        self.known.insert(address, BTreeSet::new());
        let mut factory = InstructionInfoFactory::new();
        let mut changed = BTreeSet::new();
        let mut decoder = Decoder::with_ip(64, &code, start, DecoderOptions::NONE);
        let inside = start + 1..start + code.len() as u64;
        while decoder.can_decode() && changed.len() < CHANGED.len() {
            let instruction = decoder.decode();
            match instruction.flow_control() {
                FlowControl::Next | FlowControl::Return | FlowControl::Interrupt | FlowControl::Exception => {}
                FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch | FlowControl::Call => {
                    let target = instruction.near_branch_target();
                    if !inside.contains(&target) {
                        changed.extend(self.of(target, depth - 1));
                    }
                }
                _ => changed.extend(CHANGED),
            }
            let written = factory.info(&instruction).used_registers().iter();
            let written = written
                .filter(|used| is_write(used.access()))
                .map(|used| used.register().full_register());
            changed.extend(written.filter(|register| CHANGED.contains(register)));
        }
        self.known.insert(address, changed.clone());
        changed
    }
}

fn is_write(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

/// The registers that code reads before it writes them, on some way that it can take.
fn read_after(procfs: &Procfs, start: u64) -> BTreeSet<Register> {
    let mut factory = InstructionInfoFactory::new();
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let all: BTreeSet<Register> = CHANGED.into_iter().collect();
    let mut waiting = vec![(start, all)];
    let mut left = STEPS;
    while let Some((mut at, mut unwritten)) = waiting.pop() {
        let mut bytes = vec![0; WINDOW_BYTES];
        let length = procfs.read_some(at, &mut bytes);
        let mut decoder = Decoder::with_ip(64, &bytes[..length], at, DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        while decoder.can_decode() && left > 0 && !unwritten.is_empty() && seen.insert((at, unwritten.clone())) {
            left -= 1;
            decoder.decode_out(&mut instruction);
            let used = factory.info(&instruction).used_registers().to_vec();
            for register in &used {
                let full = register.register().full_register();
                let reads = !matches!(
                    register.access(),
                    OpAccess::Write | OpAccess::None | OpAccess::NoMemAccess
                );
                if reads && unwritten.contains(&full) {
                    found.insert(full);
                }
            }
            for register in used.iter().filter(|register| register.access() == OpAccess::Write) {
                unwritten.remove(&register.register().full_register());
            }
            at = instruction.next_ip();
            match instruction.flow_control() {
                FlowControl::Next => {}
                FlowControl::ConditionalBranch => waiting.push((instruction.near_branch_target(), unwritten.clone())),
                FlowControl::UnconditionalBranch => {
                    waiting.push((instruction.near_branch_target(), unwritten));
                    break;
                }
                // What a function that is called reads is its arguments, which cannot be told from what it does not read.
                _ => break,
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> Vec<u8> {
        crate::machine_code::assemble(source)
    }

    #[test]
    fn what_a_replacement_changes() {
        let all = || {
            CHANGED
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        };
        let names = |source: &str| {
            let code = code(source);
            let code_at = |address: u64| (address == 0x1000).then(|| (address, code.clone()));
            Changes::new(&code_at)
                .of(0x1000, DEEPEST)
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(names("mov %edi, %eax; xor %ecx, %ecx; ret"), [Register::RCX]);
        assert_eq!(names("nop; jmp .+0x1234"), all());
        assert_eq!(names("nop; 1: dec %edi; jnz 1b; ret"), [Register::RDI]);
        assert_eq!(names("call *%rax; ret"), all());
        assert_eq!(names("addss %xmm3, %xmm2; ret"), [Register::ZMM2]);
    }

    #[test]
    fn what_is_read_before_it_is_written_was_kept() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let procfs = Procfs::open(pid).unwrap();
        let read = |source: &str| {
            let bytes = code(source);
            let found = read_after(&procfs, bytes.as_ptr().addr() as u64);
            found.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(read("mov %rcx, %rax; ret"), [Register::RCX]);
        assert_eq!(read("xor %ecx, %ecx; mov %rcx, %rax; ret"), []);
        assert_eq!(
            read("test %eax, %eax; je 1f; mov $1, %esi; 1: mov %esi, %eax; ret"),
            [Register::RSI]
        );
        assert_eq!(read("mov $1, %edi; call 1f; 1: mov %r8, %rax; ret"), []);
    }
}
