//! Code for the target that is written as text, for one place or for any.

use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _};

/// Assembles code that refers to nothing but itself and numbers, so that it runs wherever it is put.
pub(crate) fn assemble(source: &str) -> Vec<u8> {
    let object = restub_asm::assemble(source, &restub_asm::Options::default())
        .unwrap_or_else(|errors| panic!("restub's own code does not assemble: {errors}"));
    let elf = ElfFile64::<object::LittleEndian>::parse(&*object).expect("the assembler writes objects");
    let text = elf.section_by_name(".text").expect("the source has code");
    assert!(
        text.relocations().next().is_none(),
        "restub's own code refers to something else"
    );
    text.data().expect("code has bytes").to_vec()
}

/// Instructions that save the vector registers in an area that they make at the end of the stack, aligned, with `rbp` as
/// the frame pointer; `rax` and `rdx` are changed. Arguments may be in all of them.
pub(crate) fn save_vectors() -> String {
    match xsave_bytes() {
        Some(bytes) => {
            // The header has to be zero where XSAVE does not write it (SDM vol. 1, section 13.4.2).
            let clear: String = (0..8)
                .map(|word| format!("movq %rax, {}(%rsp)\n", 512 + word * 8))
                .collect();
            format!(
                "sub ${bytes}, %rsp\nand $-64, %rsp\nxor %eax, %eax\n{clear}mov ${COMPONENTS:#x}, %eax\nxor %edx, %edx\n\
                 xsave64 (%rsp)\n"
            )
        }
        None => "sub $512, %rsp\nand $-64, %rsp\nfxsave64 (%rsp)\n".into(),
    }
}

/// Instructions that give the vector registers their values back; `rax` and `rdx` are changed.
pub(crate) fn restore_vectors() -> String {
    match xsave_bytes() {
        Some(_) => format!("mov ${COMPONENTS:#x}, %eax\nxor %edx, %edx\nxrstor64 (%rsp)\n"),
        None => "fxrstor64 (%rsp)\n".into(),
    }
}

/// x87, SSE, AVX and AVX-512 (SDM vol. 1, section 13.1).
const COMPONENTS: u32 = 0xe7;

/// The size of the area that XSAVE writes (SDM vol. 1, section 13.2), on this machine, which is also the target's.
fn xsave_bytes() -> Option<u32> {
    const OSXSAVE: u32 = 1 << 27;
    let has = std::arch::x86_64::__cpuid(1).ecx & OSXSAVE != 0;
    has.then(|| std::arch::x86_64::__cpuid_count(0xd, 0).ebx.next_multiple_of(64))
}
