//! What the C library keeps in `libc_nonshared.a` and the start files, because it needs the module's own handle.
//!
//! An archive of one-function objects, so that a module contains only what it asks for.

use std::sync::OnceLock;

use object::elf;
use object::write::{Object, Relocation, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};

use restub_loader::Input;

/// A function: its names, its bytes, and the fields to relocate in them.
struct Function {
    names: &'static [&'static str],
    code: &'static [u8],
    fields: &'static [Field],
}

/// Offset, relocation type and symbol; every addend is -4.
type Field = (u64, elf::RelocationType, &'static str);

const HANDLE: &str = "__dso_handle";

#[rustfmt::skip]
static FUNCTIONS: [Function; 5] = [
    // lea __dso_handle(%rip), %rdx; xor %esi, %esi; jmp __cxa_atexit
    Function {
        names: &["atexit"],
        code: &[0x48, 0x8d, 0x15, 0, 0, 0, 0, 0x31, 0xf6, 0xe9, 0, 0, 0, 0],
        fields: &[(3, elf::R_X86_64_PC32, HANDLE), (10, elf::R_X86_64_PLT32, "__cxa_atexit")],
    },
    // lea __dso_handle(%rip), %rsi; jmp __cxa_at_quick_exit
    Function {
        names: &["at_quick_exit"],
        code: &[0x48, 0x8d, 0x35, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0],
        fields: &[(3, elf::R_X86_64_PC32, HANDLE), (8, elf::R_X86_64_PLT32, "__cxa_at_quick_exit")],
    },
    // lea __dso_handle(%rip), %rcx; jmp __register_atfork
    Function {
        names: &["pthread_atfork", "__pthread_atfork"],
        code: &[0x48, 0x8d, 0x0d, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0],
        fields: &[(3, elf::R_X86_64_PC32, HANDLE), (8, elf::R_X86_64_PLT32, "__register_atfork")],
    },
    // jmp __stack_chk_fail
    Function {
        names: &["__stack_chk_fail_local"],
        code: &[0xe9, 0, 0, 0, 0],
        fields: &[(1, elf::R_X86_64_PLT32, "__stack_chk_fail")],
    },
    // ret
    Function { names: &["_init", "_fini", "__libc_csu_init", "__libc_csu_fini"], code: &[0xc3], fields: &[] },
];

/// Whether a name is the archive's to define, whatever the host exports under it.
pub(crate) fn defines(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| function.names.contains(&name))
}

/// The archive.
pub(crate) fn archive() -> Input<'static> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    Input::from_bytes("restub", BYTES.get_or_init(|| archive_of(&FUNCTIONS)).as_slice())
}

fn archive_of(functions: &[Function]) -> Vec<u8> {
    let mut archive = object::archive::MAGIC.to_vec();
    for function in functions {
        let object = object_of(function);
        let name = format!(
            "{}.o/",
            &function.names[0]
                .trim_start_matches('_')
                .chars()
                .take(13)
                .collect::<String>()
        );
        archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, object.len()).bytes());
        archive.extend(&object);
        if object.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}

fn object_of(function: &Function) -> Vec<u8> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let text = object.add_section(Vec::new(), b".text".to_vec(), SectionKind::Text);
    let offset = object.append_section_data(text, function.code, 16);
    let symbol = |name: &str, section, size, scope| Symbol {
        name: name.as_bytes().to_vec(),
        value: 0,
        size,
        kind: if section == SymbolSection::Undefined {
            SymbolKind::Unknown
        } else {
            SymbolKind::Text
        },
        scope,
        weak: false,
        section,
        flags: SymbolFlags::None,
    };
    for name in function.names {
        // Hidden, as in libc_nonshared.a: each module has its own.
        object.add_symbol(symbol(
            name,
            SymbolSection::Section(text),
            function.code.len() as u64,
            SymbolScope::Linkage,
        ));
    }
    for (at, r_type, name) in function.fields {
        let target = object.add_symbol(symbol(name, SymbolSection::Undefined, 0, SymbolScope::Dynamic));
        let flags = RelocationFlags::Elf { r_type: *r_type };
        let relocation = Relocation {
            offset: offset + at,
            symbol: target,
            addend: -4,
            flags,
        };
        object
            .add_relocation(text, relocation)
            .expect("the section exists and the type is ELF's");
    }
    object.write().expect("the object has one section and a few symbols")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_links() {
        let inputs = [archive()];
        assert!(inputs[0].is_archive());
        let archive = restub_loader::Archive::parse(&inputs[0]).expect("archive");
        assert_eq!(archive.objects().expect("objects").len(), FUNCTIONS.len());
    }
}
