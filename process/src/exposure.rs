//! Whether a patch gives addresses of its own memory away.
//!
//! Code and data that no other than the patch's own instructions name can be freed as soon as nothing runs there. A call
//! and an access by a displacement name a place and tell nobody; an address in a register, or in a variable, can go
//! anywhere.

use std::collections::{BTreeMap, HashMap};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::SectionHeader as _;
use restub_loader::Relocation;

use crate::retarget::{Alias, PatchObject};

impl PatchObject<'_> {
    /// Whether instructions or data take an address of the object's own memory. References to what `aliases` has go to
    /// the target's.
    pub(crate) fn exposes_itself(&self, aliases: &BTreeMap<usize, Alias>) -> bool {
        self.loaded_sections().any(|(index, header)| {
            if header.sh_flags(LE).contains(elf::SHF_EXECINSTR) {
                self.code_exposes(index, aliases)
            } else {
                self.data_exposes(index, aliases)
            }
        })
    }

    fn code_exposes(&self, section: usize, aliases: &BTreeMap<usize, Alias>) -> bool {
        let code = self.code_of(section);
        let relocations: HashMap<u64, Relocation> = self
            .relocations_in(section, 0..code.len() as u64)
            .into_iter()
            .map(|relocation| (relocation.offset, relocation))
            .collect();
        let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            let inside = instruction.ip()..instruction.next_ip();
            let relocation = inside.clone().find_map(|place| relocations.get(&place));
            let jumps = !matches!(
                instruction.flow_control(),
                FlowControl::Next | FlowControl::Interrupt | FlowControl::Exception
            );
            if jumps {
                continue;
            }
            let relative = instruction.is_ip_rel_memory_operand();
            let takes_address = match relocation {
                // An address that the assembler knew.
                None => relative && instruction.mnemonic() == Mnemonic::Lea,
                Some(relocation) => {
                    let by_table = self.is_by_table(relocation);
                    let accesses = relative && instruction.mnemonic() != Mnemonic::Lea && !by_table;
                    !accesses
                        && self.is_own(relocation, inside.end, aliases)
                        && !self.is_jump_table(relocation, inside.end)
                }
            };
            if takes_address {
                return true;
            }
        }
        false
    }

    fn data_exposes(&self, section: usize, aliases: &BTreeMap<usize, Alias>) -> bool {
        let all = self.relocations_in(section, 0..u64::MAX);
        let absolute = all.iter().filter(|relocation| relocation.number == elf::R_X86_64_64.0);
        absolute
            .into_iter()
            .any(|relocation| self.is_own(relocation, relocation.offset, aliases))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposes(source: &str) -> bool {
        let object = restub_asm::assemble(source, &restub_asm::Options::default()).unwrap();
        PatchObject::read("test.o", &object)
            .unwrap()
            .exposes_itself(&BTreeMap::new())
    }

    #[test]
    fn calls_and_accesses_give_nothing_away_and_addresses_do() {
        let data = "\n.data\n.globl v\n.type v,@object\nv: .long 1\n.size v,4\n";
        for (code, expected) in [
            ("call g; jmp g@PLT; ret", false),
            ("mov v(%rip), %eax; incl v(%rip); ret", false),
            (
                "call *memory@GOTPCREL(%rip); mov stdout@GOTPCREL(%rip), %rax; ret",
                false,
            ),
            ("lea v(%rip), %rax; ret", true),
            ("mov v@GOTPCREL(%rip), %rax; ret", true),
            ("movabs $v, %rax; ret", true),
            ("lea f(%rip), %rax; ret", true),
            ("1: lea 1b(%rip), %rax; ret", true),
            ("lea elsewhere(%rip), %rax; ret", false),
        ] {
            let source = format!(".text\n.type f,@function\nf: {code}\n.size f,.-f\n{data}");
            assert_eq!(exposes(&source), expected, "{code}");
        }
        assert!(exposes(".data\n.globl p\n.type p,@object\np: .quad p\n.size p,8\n"));
        assert!(!exposes(
            ".data\n.globl p\n.type p,@object\np: .quad elsewhere\n.size p,8\n"
        ));
        let table = ".text\n.type f,@function\nf: lea t(%rip), %rdx; movslq (%rdx,%rdi,4), %rax; add %rdx, %rax; jmp *%rax\n\
                     a: ret\n.size f,.-f\n.section .rodata,\"a\"\nt: .long a-t, a-t\n";
        assert!(!exposes(table));
    }
}
