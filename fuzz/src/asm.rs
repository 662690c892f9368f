//! Oracles of the assembler: iced-x86, and the loader that reads its objects.

use iced_x86::{Decoder, DecoderOptions, Formatter as _, GasFormatter, Instruction, OpKind, Register};
use restub::loader::{Object, fuzzing};
use restub_asm::{Options, Syntax, assemble};

/// Assembles text in both syntaxes. What comes out is an object that the loader reads.
///
/// # Panics
/// If it is not.
pub fn check_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for syntax in [Syntax::Att, Syntax::Intel] {
        let options = Options {
            syntax,
            ..Options::default()
        };
        if let Ok(object) = assemble(text, &options) {
            if let Err(error) = Object::parse("assembled", &object) {
                assert!(error.to_string().contains("executable stack"), "{error}");
            }
            fuzzing::check_object(&object);
        }
    }
}

/// Disassembles an instruction, assembles the text, and disassembles that: the two texts are the same.
///
/// # Panics
/// If they differ.
pub fn check_roundtrip(bytes: &[u8]) {
    let Some(text) = text_of(bytes) else { return };
    let Ok(object) = assemble(&format!("{text}\n"), &Options::default()) else {
        return;
    };
    let object = Object::parse("assembled", &object).expect("the assembler writes objects");
    let code = object.sections().iter().find(|section| section.name == b".text");
    let code = code.map_or(&[][..], |section| section.data);
    let again = text_of(code).unwrap_or_default();
    // Which of the two operands comes first makes no difference to these.
    let swapped = text.split_once(' ').and_then(|(name, operands)| {
        let (one, other) = operands
            .split_once(',')
            .filter(|_| name.starts_with("xchg") || name.starts_with("test"))?;
        Some(format!("{name} {other},{one}"))
    });
    assert!(
        again == text || Some(&again) == swapped.as_ref(),
        "{text} {bytes:02x?} became {again} {code:02x?}"
    );
}

/// The text of the first instruction, unless that depends on its address or says things that only a disassembler does.
fn text_of(bytes: &[u8]) -> Option<String> {
    let mut decoder = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let relative = instruction.is_ip_rel_memory_operand()
        || (0..instruction.op_count()).any(|operand| {
            let kind = instruction.op_kind(operand);
            matches!(kind, OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
        });
    let prefixed = instruction.segment_prefix() != Register::None
        || instruction.has_lock_prefix()
        || instruction.has_rep_prefix()
        || instruction.has_repne_prefix();
    if instruction.is_invalid() || relative || prefixed {
        return None;
    }
    let text = format(&instruction);
    // GNU as, too, leaves REX.W out where a register is only extended or nothing is done, and has a shorter form of the
    // interrupt. A prefix that is a word of the text is one of its own.
    const OTHERS: [&str; 16] = [
        "vpinsr",
        "xchgq %rax,%rax",
        "pinsr",
        "sldt",
        "str",
        "pextr",
        "vpextr",
        "movmskp",
        "vmovmskp",
        "pmovmsk",
        "vpmovmsk",
        "extractps",
        "vextractps",
        "int ",
        "addr32",
        "data16",
    ];
    let segment = ["%cs", "%ds", "%es", "%fs", "%gs", "%ss"]
        .iter()
        .any(|register| text.contains(register));
    let other = segment || text.starts_with("rex") || OTHERS.iter().any(|start| text.starts_with(start));
    (!other).then_some(text)
}

fn format(instruction: &Instruction) -> String {
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_gas_show_mnemonic_size_suffix(true);
    options.set_uppercase_hex(false);
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    // Two names, and two encodings, of one instruction; and two of one register, where an instruction has it twice.
    let text = text.replace("%st(0)", "%st");
    match text.strip_prefix("sal") {
        Some(rest) => format!("shl{rest}"),
        None => text,
    }
}
