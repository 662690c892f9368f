//! The entry of a function: which bytes a jump may take there, and what becomes of the instructions that stood there.

use std::ops::Range;

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, BlockEncoderResult, Decoder, DecoderOptions, FlowControl, IcedError,
    Instruction, InstructionBlock, Mnemonic,
};
use restub_asm::{Builder, Instructions as _, Mem};

use crate::module::{Kind, Module, Symbol};

/// `jmp qword ptr [rip+0]` and the address.
pub(crate) const LONG_BYTES: u64 = 14;
/// `jmp rel32`.
pub(crate) const SHORT_BYTES: u64 = 5;
/// Room for the instructions that stood at the entry, and for the bridge of a short jump.
pub(crate) const NEAR_BLOCK_BYTES: u64 = 192;
/// Where the bridge is in that.
const BRIDGE_OFFSET: u64 = 0;
const DISPLACED_OFFSET: u64 = 16;
const PAGE: u64 = 4096;

/// How a function is redirected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A 14-byte jump to anywhere.
    Long,
    /// A 5-byte jump to a 14-byte jump nearby.
    Short,
}

impl Method {
    /// The bytes that it takes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Method::Long => LONG_BYTES,
            Method::Short => SHORT_BYTES,
        }
    }

    /// How reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Method::Long => "14-byte jump",
            Method::Short => "5-byte jump",
        }
    }
}

/// A function's entry, as it is to be changed.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Where the jump goes: behind a landing pad.
    pub(crate) place: u64,
    pub(crate) method: Method,
    /// The instructions that are displaced; the last one may reach beyond the jump.
    displaced: Vec<Instruction>,
    /// The bytes from `place` on that the jump takes.
    pub(crate) original: Vec<u8>,
}

/// Why a method does not fit.
type Misfit = String;

/// Decides how to redirect a function. `bytes` are those from its start to the start of the next one.
pub(crate) fn analyze(module: &Module, symbol: &Symbol, bytes: &[u8]) -> Result<Entry, String> {
    let available = module.next_start(symbol.address) - symbol.address;
    if let Some(outer) = around(module, symbol) {
        return Err(format!("it is the tail of {outer}, or shares code with it"));
    }
    let size = if symbol.size == 0 {
        available
    } else {
        symbol.size.min(available)
    };
    let bytes = &bytes[..bytes.len().min(usize::try_from(available).unwrap_or(usize::MAX))];
    let body = decode(bytes, symbol.address, size);
    let pad = body.first().is_some_and(|first| first.mnemonic() == Mnemonic::Endbr64);
    let skipped = if pad { 4 } else { 0 };
    let place = symbol.address + skipped;
    let room = size.saturating_sub(skipped) + padding_bytes(bytes, size);
    let parts = parts(module, symbol);
    let try_method = |method: Method| -> Result<Entry, Misfit> {
        fit(&body, &parts, place, room, method)?;
        let displaced = displaced(&body, place, method);
        let start = (place - symbol.address) as usize;
        Ok(Entry {
            place,
            method,
            displaced,
            original: bytes[start..start + method.bytes() as usize].to_vec(),
        })
    };
    try_method(Method::Long).or_else(|long| {
        try_method(Method::Short).map_err(|short| {
            if long == short {
                long
            } else {
                format!("for a 14-byte jump {long}, for a 5-byte jump {short}")
            }
        })
    })
}

/// A function whose range holds another one's start.
fn around<'a>(module: &'a Module, symbol: &Symbol) -> Option<&'a str> {
    let inside = |other: &&Symbol| {
        matches!(other.kind, Kind::Function | Kind::Ifunc)
            && other.address < symbol.address
            && symbol.address < other.address + other.size
    };
    module.symbols.iter().find(inside).map(|other| &*other.name)
}

/// The code that may jump into the function: itself, and what the compiler split off.
fn parts(module: &Module, symbol: &Symbol) -> Vec<Instruction> {
    let prefix = format!("{}.", symbol.name);
    let split_off = module.symbols.iter().filter(|other| {
        let suffix = other.name.strip_prefix(&prefix);
        other.kind == Kind::Function
            && other.size > 0
            && suffix.is_some_and(|suffix| suffix.starts_with("cold") || suffix.starts_with("part"))
    });
    let mut code = Vec::new();
    for part in split_off {
        if let Some(bytes) = module.initial(part.address, part.size) {
            code.extend(decode(bytes, part.address, part.size));
        }
    }
    code
}

fn decode(bytes: &[u8], address: u64, size: u64) -> Vec<Instruction> {
    let length = bytes.len().min(usize::try_from(size).unwrap_or(usize::MAX));
    let decoder = Decoder::with_ip(64, &bytes[..length], address, DecoderOptions::NONE);
    decoder.into_iter().collect()
}

/// Filler behind a function, up to the next one, which nothing runs: zeros, `int3`, and instructions that do nothing.
fn padding_bytes(bytes: &[u8], size: u64) -> u64 {
    let behind = bytes
        .get(usize::try_from(size).unwrap_or(usize::MAX)..)
        .unwrap_or_default();
    let mut decoder = Decoder::with_ip(64, behind, 0, DecoderOptions::NONE);
    let mut filler = 0;
    while decoder.can_decode() {
        let rest = &behind[filler as usize..];
        if matches!(rest[0], 0 | 0xcc) {
            filler += 1;
            decoder = Decoder::with_ip(64, &rest[1..], 0, DecoderOptions::NONE);
            continue;
        }
        let instruction = decoder.decode();
        if !matches!(instruction.mnemonic(), Mnemonic::Nop) {
            break;
        }
        filler += instruction.len() as u64;
    }
    filler
}

fn fit(body: &[Instruction], parts: &[Instruction], place: u64, room: u64, method: Method) -> Result<(), Misfit> {
    let changed = place..place + method.bytes();
    if room < method.bytes() {
        return Err(format!("it is too short: {room} bytes"));
    }
    if changed.start / PAGE != (changed.end - 1) / PAGE {
        return Err("the jump would cross a page, and could not be written at once".into());
    }
    let inside = |address: u64| changed.start < address && address < changed.end;
    for instruction in body.iter().chain(parts) {
        let target = instruction.near_branch_target();
        let branch = matches!(
            instruction.flow_control(),
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
        );
        if branch && (inside(target) || target == place) || target != 0 && inside(target) {
            return Err(format!(
                "the instruction at {:#x} jumps back to {target:#x}",
                instruction.ip()
            ));
        }
    }
    for instruction in taken(body, &changed) {
        if instruction.is_invalid() {
            return Err(format!("the bytes at {:#x} are no instruction", instruction.ip()));
        }
        let returns = matches!(
            instruction.flow_control(),
            FlowControl::Call | FlowControl::IndirectCall
        );
        if returns && inside(instruction.next_ip()) {
            return Err(format!("a call at {:#x} returns into it", instruction.ip()));
        }
        if matches!(
            instruction.flow_control(),
            FlowControl::XbeginXabortXend | FlowControl::Interrupt
        ) {
            return Err(format!("the instruction at {:#x} cannot be moved", instruction.ip()));
        }
    }
    Ok(())
}

/// The instructions that lie in a range, or partly.
fn taken<'a>(body: &'a [Instruction], changed: &Range<u64>) -> impl Iterator<Item = &'a Instruction> {
    let (start, end) = (changed.start, changed.end);
    body.iter()
        .filter(move |instruction| instruction.ip() >= start && instruction.ip() < end)
}

fn displaced(body: &[Instruction], place: u64, method: Method) -> Vec<Instruction> {
    taken(body, &(place..place + method.bytes())).copied().collect()
}

impl Entry {
    /// The bytes that the jump takes.
    pub(crate) fn changed(&self) -> Range<u64> {
        self.place..self.place + self.method.bytes()
    }

    /// The jump, to a stub at any distance, or to the bridge in the near block.
    pub(crate) fn jump(&self, near: u64, stub: u64) -> Option<Vec<u8>> {
        match self.method {
            Method::Long => Some(long_jump(stub)),
            Method::Short => {
                let distance = (near + BRIDGE_OFFSET)
                    .wrapping_sub(self.place + SHORT_BYTES)
                    .cast_signed();
                let distance = i32::try_from(distance).ok()?;
                let mut bytes = vec![0xe9];
                bytes.extend(distance.to_le_bytes());
                Some(bytes)
            }
        }
    }

    /// The near block: a bridge to the stub, then the displaced instructions and a jump to what follows them.
    pub(crate) fn near_block(&self, near: u64, stub: u64) -> Result<NearBlock, String> {
        let moved = encode(&self.displaced, near)
            .map_err(|error| format!("its first instructions cannot be moved: {error}"))?;
        let mut bytes = long_jump(stub);
        bytes.resize(DISPLACED_OFFSET as usize, 0xcc);
        bytes.extend(&moved.code_buffer);
        let last = self.displaced.last();
        let goes_on = last.is_none_or(|last| {
            !matches!(
                last.flow_control(),
                FlowControl::Return | FlowControl::UnconditionalBranch | FlowControl::IndirectBranch
            )
        });
        if goes_on {
            bytes.extend(long_jump(last.map_or(self.place, Instruction::next_ip)));
        }
        if bytes.len() as u64 > NEAR_BLOCK_BYTES {
            return Err(format!("its first instructions take {} bytes elsewhere", bytes.len()));
        }
        bytes.resize(NEAR_BLOCK_BYTES as usize, 0xcc);
        Ok(NearBlock {
            original: original_in(near),
            moves: places(&self.displaced, &moved, near),
            bytes,
        })
    }
}

/// What is placed near a function.
#[derive(Debug, Clone)]
pub(crate) struct NearBlock {
    /// Where the original function can be called.
    pub(crate) original: u64,
    /// Where each displaced instruction went.
    pub(crate) moves: Vec<(u64, Option<u64>)>,
    pub(crate) bytes: Vec<u8>,
}

fn encode(displaced: &[Instruction], near: u64) -> Result<BlockEncoderResult, IcedError> {
    let block = InstructionBlock::new(displaced, original_in(near));
    BlockEncoder::encode(64, block, BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)
}

/// Where each displaced instruction went. One that became several has no one place.
fn places(displaced: &[Instruction], moved: &BlockEncoderResult, near: u64) -> Vec<(u64, Option<u64>)> {
    let offsets = displaced.iter().zip(&moved.new_instruction_offsets);
    let place = |offset: u32| (offset != u32::MAX).then(|| original_in(near) + u64::from(offset));
    offsets.map(|(old, offset)| (old.ip(), place(*offset))).collect()
}

/// Where the displaced instructions of a near block are that was made from these bytes.
pub(crate) fn moves(place: u64, bytes: &[u8], jump_bytes: u64, near: u64) -> Vec<(u64, Option<u64>)> {
    let body = decode(bytes, place, bytes.len() as u64);
    let displaced: Vec<Instruction> = taken(&body, &(place..place + jump_bytes)).copied().collect();
    encode(&displaced, near).map_or_else(|_| Vec::new(), |moved| places(&displaced, &moved, near))
}

/// Where the original function can be called, in a near block.
pub(crate) fn original_in(near: u64) -> u64 {
    near + DISPLACED_OFFSET
}

/// `jmp qword ptr [rip+0]` and an address.
pub(crate) fn long_jump(target: u64) -> Vec<u8> {
    let mut code = Builder::new();
    code.jmp(Mem::rip(0).size(8)).expect("an indirect jump has an encoding");
    code.bytes(&target.to_le_bytes());
    code.finish_at(0, |_| None).expect("nothing in it depends on a label")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry_of(code: &[u8], address: u64) -> Result<Entry, String> {
        let body = decode(code, address, code.len() as u64);
        let pad = body[0].mnemonic() == Mnemonic::Endbr64;
        let place = address + if pad { 4 } else { 0 };
        let room = address + code.len() as u64 - place;
        let method = match fit(&body, &[], place, room, Method::Long) {
            Ok(()) => Method::Long,
            Err(_) => fit(&body, &[], place, room, Method::Short).map(|()| Method::Short)?,
        };
        Ok(Entry {
            place,
            method,
            displaced: displaced(&body, place, method),
            original: code[(place - address) as usize..][..method.bytes() as usize].to_vec(),
        })
    }

    #[test]
    fn a_long_jump_is_the_14_bytes_of_the_design() {
        let mut expected = vec![0xff, 0x25, 0, 0, 0, 0];
        expected.extend(0x1122_3344_5566_7788_u64.to_le_bytes());
        assert_eq!(long_jump(0x1122_3344_5566_7788), expected);
    }

    #[test]
    fn the_landing_pad_stays() {
        let mut code = vec![0xf3, 0x0f, 0x1e, 0xfa];
        code.extend([0x90; 20]);
        let entry = entry_of(&code, 0x1000).unwrap();
        assert_eq!((entry.place, entry.method), (0x1004, Method::Long));
        assert_eq!(entry.displaced.len(), 14);
    }

    #[test]
    fn a_call_whose_return_address_would_be_overwritten_gets_the_short_jump() {
        // sub rsp, 8; call +0; then filler: the call returns to 9, inside of 14 bytes and outside of 5.
        let mut code = vec![0x48, 0x83, 0xec, 0x08, 0xe8, 0, 0, 0, 0];
        code.extend([0x90; 16]);
        assert_eq!(entry_of(&code, 0x1000).unwrap().method, Method::Short);
    }

    #[test]
    fn loops_to_the_first_bytes_and_short_functions_are_refused() {
        // dec edi; jne -4; ret; then long filler: the loop's head is the entry.
        let mut code = vec![0xff, 0xcf, 0x75, 0xfc, 0xc3];
        code.extend([0x90; 16]);
        let reason = entry_of(&code, 0x1000).unwrap_err();
        assert!(reason.contains("jumps back to 0x1000"), "{reason}");
        let reason = entry_of(&[0x31, 0xc0, 0xc3], 0x1000).unwrap_err();
        assert!(reason.contains("too short: 3 bytes"), "{reason}");
        // Two pages: 14 bytes would cross, 5 do not.
        assert_eq!(entry_of(&[0x90; 20], 0x1ff8).unwrap().method, Method::Short);
        assert!(entry_of(&[0x90; 20], 0x1ffe).unwrap_err().contains("page"));
    }

    #[test]
    fn displaced_instructions_mean_the_same_elsewhere() {
        // mov eax, [rip+0x100]; test eax, eax; je +2; (14 bytes); ret
        let mut code = vec![0x8b, 0x05, 0, 1, 0, 0, 0x85, 0xc0, 0x74, 0x10];
        code.extend([0x90; 30]);
        let entry = entry_of(&code, 0x1000).unwrap();
        let block = entry.near_block(0x10_0000, 0x7fff_0000_0000).unwrap();
        assert_eq!(block.bytes[..14], long_jump(0x7fff_0000_0000));
        let mut decoder = Decoder::with_ip(64, &block.bytes[16..], block.original, DecoderOptions::NONE);
        assert_eq!(decoder.decode().ip_rel_memory_address(), 0x1106);
        assert_eq!(decoder.decode().mnemonic(), Mnemonic::Test);
        assert_eq!(block.moves[0], (0x1000, Some(0x10_0010)));
        assert_eq!(block.moves.len(), entry.displaced.len());
        let high = entry_of(&code, 0x5555_0000_1000).unwrap();
        let reason = high.near_block(0x7f00_0000_0000, 0).unwrap_err();
        assert!(
            reason.contains("cannot be moved"),
            "out of reach of the word it reads: {reason}"
        );
    }

    #[test]
    fn filler_behind_a_function_counts() {
        let mut code = vec![0xb8, 1, 0, 0, 0, 0xc3];
        code.extend([0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0]);
        assert_eq!(padding_bytes(&code, 6), 10);
        assert_eq!(padding_bytes(&[0xc3, 0xcc, 0xcc, 0x55], 1), 2);
        assert_eq!(padding_bytes(&[0xc3, 0, 0], 1), 2);
    }
}
