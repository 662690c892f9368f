//! Instruction, bytes, iced-x86's text, our parser: the same bytes.

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction, IntelFormatter, MasmFormatter};
use object::{Object, ObjectSection};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use restub_asm::reg::{Reg, RegClass};
use restub_asm::{Inst, Mem, Mnemonic, Operand, Options, Rounding, Syntax, assemble, encode};

/// An operand of any kind; most instructions take few of them, so most attempts are refused.
fn operand() -> impl Strategy<Value = Operand> {
    let class = prop::sample::select(vec![
        RegClass::R8,
        RegClass::High8,
        RegClass::R16,
        RegClass::R32,
        RegClass::R64,
        RegClass::Mm,
        RegClass::Xmm,
        RegClass::Ymm,
        RegClass::Zmm,
        RegClass::K,
    ]);
    let register = (class, 0u8..32).prop_map(|(class, num)| {
        let num = match class {
            RegClass::High8 => 4 + num % 4,
            RegClass::Mm | RegClass::K => num % 8,
            RegClass::R8 | RegClass::R16 | RegClass::R32 | RegClass::R64 => num % 16,
            _ => num,
        };
        Operand::Reg(Reg::new(class, num))
    });
    let immediate = prop_oneof![
        (-128i64..256).prop_map(Operand::from),
        any::<i32>().prop_map(Operand::from),
        any::<i64>().prop_map(Operand::from),
    ];
    prop_oneof![4 => register, 3 => memory(), 1 => immediate]
}

fn memory() -> impl Strategy<Value = Operand> {
    let gpr = || (0u8..16).prop_map(|n| Reg::new(RegClass::R64, n));
    let disp = prop_oneof![Just(0i32), -200i32..200, any::<i32>()];
    let size = prop::sample::select(vec![1u16, 2, 4, 8, 16, 32, 64]);
    let index = prop::option::of(gpr().prop_filter("rsp is no index", |r| r.num != 4));
    let scale = prop::sample::select(vec![1u8, 2, 4, 8]);
    let broadcast = prop::sample::select(vec![0u8, 0, 0, 2, 4, 8, 16, 32]);
    (gpr(), index, scale, disp, size, broadcast).prop_map(|(base, index, scale, disp, size, broadcast)| {
        let mem = match index {
            Some(index) => Mem::indexed(base, index, scale, disp),
            None => Mem::base(base, disp),
        };
        Operand::Mem(match broadcast {
            0 => mem.size(size),
            count => mem.broadcast(count),
        })
    })
}

fn instruction() -> impl Strategy<Value = Inst> {
    let mnemonics: Vec<Mnemonic> = Mnemonic::all().collect();
    let mnemonic = prop::sample::select(mnemonics);
    let rounding = prop::sample::select(vec![
        Rounding::None,
        Rounding::None,
        Rounding::None,
        Rounding::Nearest,
        Rounding::Zero,
        Rounding::Sae,
    ]);
    (
        mnemonic,
        prop::collection::vec(operand(), 0..5),
        0u8..8,
        any::<bool>(),
        rounding,
    )
        .prop_map(|(mnemonic, operands, mask, zeroing, rounding)| {
            let mut inst = Inst::with(mnemonic, &operands);
            inst.rounding = rounding;
            if mask > 4 {
                (inst.mask, inst.zeroing) = (mask, zeroing);
            }
            inst
        })
}

/// The code of one line.
fn assembled(line: &str, syntax: Syntax) -> Result<Vec<u8>, String> {
    let options = Options {
        syntax,
        ..Options::default()
    };
    let object = assemble(format!("{line}\n"), &options).map_err(|errors| errors.to_string())?;
    let file = object::File::parse(&*object).map_err(|error| error.to_string())?;
    let text = file.section_by_name(".text").ok_or("no code")?;
    Ok(text.data().map_err(|error| error.to_string())?.to_vec())
}

/// What a formatter of iced-x86 makes of an instruction.
fn formatted(formatter: &mut dyn Formatter, instruction: &Instruction) -> String {
    let options = formatter.options_mut();
    options.set_show_branch_size(false);
    options.set_rip_relative_addresses(true);
    // Sizes are said, so that the text means one instruction.
    options.set_memory_size_options(iced_x86::MemorySizeOptions::Always);
    options.set_uppercase_hex(false);
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    text
}

/// The text of each of iced-x86's dialects that our parser reads, and the syntax that it is.
fn texts(instruction: &Instruction) -> Vec<(&'static str, String, Syntax)> {
    let mut gas = GasFormatter::new();
    gas.options_mut().set_gas_show_mnemonic_size_suffix(true);
    vec![
        ("gas", formatted(&mut gas, instruction), Syntax::Att),
        (
            "intel",
            formatted(&mut IntelFormatter::new(), instruction),
            Syntax::Intel,
        ),
        ("masm", formatted(&mut MasmFormatter::new(), instruction), Syntax::Intel),
    ]
}

/// Where iced-x86's text is not GNU as's, by dialect (none: any) and the start of its code.
const OTHERWISE: &[(&str, &str, &str)] = &[
    ("", "Reservednop", "prefetchrst2 is younger than iced-x86"),
    ("", "Call", "the text does not say that the operand size is 16 bits"),
    ("", "Jmp", "the text does not say that the operand size is 16 bits"),
    ("", "Ret", "the text does not say that the operand size is 16 bits"),
    ("", "Iret", "the text does not say that the operand size is 16 bits"),
    ("", "Popf", "the text does not say that the operand size is 16 bits"),
    ("", "Pushf", "the text does not say that the operand size is 16 bits"),
    ("", "XOP_Bextr_r64_rm64_imm32", "the immediate without its sign"),
    ("intel", "Pcmpestr", "names of its own"),
    ("intel", "VEX_Vpcmpestr", "names of its own"),
    ("masm", "Pcmpestr", "names of its own"),
    ("masm", "VEX_Vpcmpestr", "names of its own"),
    ("", "Int_imm8", "`int 3` has an opcode of its own, which text means"),
    ("", "Movsxd_r16_rm16", "a 16-bit source, which GNU as calls 32 bits"),
    ("", "Lkgs", "a 32-bit register for the same selector"),
    ("", "Lldt", "a 32-bit register for the same selector"),
    ("intel", "Mov_r64_imm64", "`mov` for `movabs`"),
    ("masm", "Mov_r64_imm64", "`mov` for `movabs`"),
    ("intel", "F", "x87 instructions with their implied `st`"),
    ("intel", "Clzero", "implied operands"),
    ("intel", "Invlpgb", "implied operands"),
    ("intel", "Pvalidate", "implied operands"),
    ("intel", "Prefetch", "names of its own"),
    ("masm", "Monitor", "implied operands"),
    ("masm", "Mwait", "implied operands"),
    ("masm", "Xchg", "operands in the other order"),
    ("masm", "Test", "operands in the other order"),
];

/// The same in every run; `RESTUB_SEED` chooses another one, and `PROPTEST_CASES` more.
fn config() -> ProptestConfig {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let seed = number("RESTUB_SEED");
    ProptestConfig {
        cases: number("PROPTEST_CASES").map_or(700, |cases| cases as u32),
        max_global_rejects: u32::MAX,
        max_local_rejects: u32::MAX,
        rng_seed: RngSeed::Fixed(seed.unwrap_or(1)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn icedx86_text_assembles_to_the_same_bytes(
        (inst, bytes) in instruction().prop_filter_map("no form takes this", |inst| {
            encode(&inst).ok().map(|encoded| (inst, encoded.bytes().to_vec()))
        })
    ) {
        let decoded = Decoder::new(64, &bytes, DecoderOptions::MPX).decode();
        // What iced-x86 does not know is not its to print: APX, wait as a prefix, register rules that GNU as only warns of.
        if !decoded.is_invalid() && decoded.len() == bytes.len() {
            let code = format!("{:?}", decoded.code());
            for (dialect, text, syntax) in texts(&decoded) {
                let otherwise = OTHERWISE.iter().any(|(of, start, _)| (of.is_empty() || *of == dialect) && code.starts_with(start));
                // The Intel dialect has the rounding behind the destination, with names of its own.
                let rounded = dialect == "intel" && inst.rounding != Rounding::None;
                // `bcst` does not say how often, which no vector register tells in some conversions and classifications.
                let vague = text.contains(" bcst ") && (text.starts_with("vcvt") || text.starts_with("vfpclass"));
                if !otherwise && !rounded && !vague {
                    prop_assert_eq!(assembled(&text, syntax), Ok(bytes.clone()), "{} `{}` of {:?}", dialect, text, inst);
                }
            }
        }
    }
}
