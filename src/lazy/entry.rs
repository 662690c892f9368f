//! The code between an unbound stub and its resolver: saves what a call may carry in registers, and restores it.

use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::sync::OnceLock;

use restub_loader::Input;
use restub_stubs::resolve_unbound;

use crate::{Protection, Result, Session};

const SOURCE: &str = include_str!("entry.s");

/// Its session, which is never dropped: a thread may be in it at any time.
static ENTRY: OnceLock<(Session, u64)> = OnceLock::new();

/// The address of the entry, for [`OnUnbound::Resolve`](restub_stubs::OnUnbound::Resolve). It is assembled for this
/// processor and loaded, with its unwind table, the first time that it is asked for.
pub(crate) fn address() -> Result<u64> {
    if let Some((_, address)) = ENTRY.get() {
        return Ok(*address);
    }
    let loaded = load(&Registers::of_this_processor())?;
    Ok(ENTRY.get_or_init(|| loaded).1)
}

/// An entry, and the session that it lives in.
fn load(registers: &Registers) -> Result<(Session, u64)> {
    let session = Session::builder().protection(Protection::Private).build();
    let resolve: unsafe extern "C-unwind" fn(_, _, _) -> _ = resolve_unbound;
    session.define("restub_lazy_resolve", resolve as usize as u64);
    // SAFETY: the object has no constructors, and its code is this module's own.
    unsafe { session.load(&[Input::from_bytes("lazy/entry.o", object(registers))]) }?;
    let symbol = session.symbol("restub_lazy_entry");
    let address = symbol.expect("the object defines it").address;
    Ok((session, address))
}

fn object(registers: &Registers) -> Vec<u8> {
    let define = |name: &str, value: i64| (name.to_owned(), value);
    let options = restub_asm::Options {
        file_name: "entry.s".to_owned(),
        defines: vec![
            define("SAVE_BYTES", registers.save_bytes as i64),
            define("SAVE_LOW", i64::from(registers.mask as u32)),
            define("SAVE_HIGH", (registers.mask >> 32) as i64),
            define("USE_XSAVEC", i64::from(registers.save == Save::Xsavec)),
            define("USE_XSAVE", i64::from(registers.save == Save::Xsave)),
        ],
        ..restub_asm::Options::default()
    };
    let object = restub_asm::assemble(SOURCE, &options);
    object.unwrap_or_else(|errors| panic!("the entry's source is wrong: {errors}"))
}

/// How this processor saves its vector, mask, tile and floating-point registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Registers {
    save: Save,
    /// The state components that are saved, as in XCR0 (SDM vol. 1, 13.1).
    mask: u64,
    save_bytes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Save {
    Fxsave,
    Xsave,
    Xsavec,
}

/// The legacy region and the header of an XSAVE area (SDM vol. 1, 13.4).
const XSAVE_BYTES: u32 = 512 + 64;
/// Protection keys are what a thread may do, not what a call carries.
const PKRU: u64 = 1 << 9;

impl Registers {
    fn of_this_processor() -> Self {
        const OSXSAVE: u32 = 1 << 27;
        const XSAVEC: u32 = 1 << 1;
        if cpuid(1, 0).ecx & OSXSAVE == 0 {
            return Registers {
                save: Save::Fxsave,
                mask: 0,
                save_bytes: 512,
            };
        }
        // SAFETY: the system has enabled XSAVE, and with it this instruction.
        let mask = unsafe { enabled_components() } & !PKRU;
        let save = match cpuid(0xd, 1).eax & XSAVEC {
            0 => Save::Xsave,
            _ => Save::Xsavec,
        };
        Registers {
            save,
            mask,
            save_bytes: save_bytes(save, mask),
        }
    }
}

/// The size of a save area: each component where the processor says, or in the compact form one after the other, some
/// of them on multiples of 64 (SDM vol. 1, 13.4.2 and 13.4.3).
fn save_bytes(save: Save, mask: u64) -> u32 {
    const ALIGNED: u32 = 1 << 1;
    let mut bytes = XSAVE_BYTES;
    for component in (2..63).filter(|component| mask >> component & 1 == 1) {
        let found = cpuid(0xd, component);
        bytes = match save {
            Save::Xsavec if found.ecx & ALIGNED != 0 => bytes.next_multiple_of(64) + found.eax,
            Save::Xsavec => bytes + found.eax,
            _ => bytes.max(found.ebx + found.eax),
        };
    }
    bytes
}

#[target_feature(enable = "xsave")]
fn enabled_components() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}

fn cpuid(leaf: u32, sub_leaf: u32) -> std::arch::x86_64::CpuidResult {
    #[allow(
        unused_unsafe,
        reason = "the instruction is a safe function of later standard libraries"
    )]
    // SAFETY: every x86-64 processor has the instruction.
    unsafe {
        __cpuid_count(leaf, sub_leaf)
    }
}

/// Entries that save registers in each form that this processor has, and the sessions that keep them.
#[cfg(test)]
pub(super) fn every_form() -> Vec<(Session, u64)> {
    let registers = Registers::of_this_processor();
    let forms = [Save::Xsave, Save::Xsavec].map(|save| Registers {
        save,
        save_bytes: save_bytes(save, registers.mask),
        ..registers
    });
    let possible = forms
        .into_iter()
        .filter(|form| form.save as u32 <= registers.save as u32);
    possible.chain([registers]).map(|form| load(&form).unwrap()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_save_area_is_as_large_as_the_processor_says() {
        let registers = Registers::of_this_processor();
        if registers.save == Save::Fxsave {
            return;
        }
        // What is enabled, in the form in which every component has a place of its own.
        let all = registers.mask | PKRU & cpuid_components();
        assert_eq!(save_bytes(Save::Xsave, all), cpuid(0xd, 0).ebx);
        // In the other form the processor counts protection keys, and what only the system can save.
        assert!((XSAVE_BYTES..=cpuid(0xd, 1).ebx).contains(&save_bytes(Save::Xsavec, registers.mask)));
    }

    fn cpuid_components() -> u64 {
        // SAFETY: the processor has the instruction, as the caller has seen.
        unsafe { enabled_components() }
    }

    /// No processor at hand uses all of them.
    #[test]
    fn the_entry_assembles_in_every_form() {
        for save in [Save::Fxsave, Save::Xsave, Save::Xsavec] {
            let object = object(&Registers {
                save,
                mask: 0xff,
                save_bytes: 4096,
            });
            assert!(object.starts_with(b"\x7fELF"));
        }
    }
}
