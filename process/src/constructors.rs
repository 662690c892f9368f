//! Constructors of a patch: run once, in the target, before any of the patch's functions.
//!
//! Code that is run by a thread that was stopped anywhere would find locks held and lists half changed. So no thread is
//! made to run constructors. They are run by the first thread that calls one of the functions that the patch replaces,
//! as part of that call, as with a static variable of a C++ function: the locks that it holds are those that the program
//! holds when it calls that function. Other threads that call one meanwhile wait. Nobody needs the patcher for that,
//! which may be gone by then.
//!
//! The functions' pads lead to a **gate** of the patch for that, which looks at one word: 0 at first, the thread pointer
//! of the thread that runs the constructors, and -1 once they have run. That thread passes, so that constructors may
//! call what the patch replaces.
//!
//! Constructors that compilers make for variables are left out where the variables are the target's: they keep their
//! values.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use restub_loader::{FunctionArray, Image};

use crate::arena::Region;
use crate::counterpart::{self, Matched};
use crate::image::{Linked, address_in};
use crate::machine_code;
use crate::module::Module;
use crate::plan::{Planner, hex_list};
use crate::retarget::{Definition, PatchObject};

/// What the word holds once all constructors have run.
pub(crate) const DONE: u64 = u64::MAX;
const WORD_BYTES: u64 = 64;

/// The way to a patch's functions past its constructors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    /// Address and bytes of its code.
    pub(crate) code: (u64, u64),
    /// The word's address.
    pub(crate) word: u64,
    /// Where each replaced function is entered, in the order of the replacements.
    pub(crate) entries: Vec<u64>,
}

/// A constructor, and what it has to do with variables.
struct Constructor {
    address: u64,
    name: String,
    /// Whether the compiler made it, to initialize variables.
    generated: bool,
    /// Whether the process has it, and so ran it when it started.
    has_run: bool,
    /// Variables that keep the target's storage.
    kept: BTreeSet<String>,
    /// Variables of the patch.
    own: BTreeSet<String>,
}

impl Planner<'_, '_> {
    /// Makes the gate if constructors have to run. They are refused where nobody asked for them.
    pub(crate) fn constructors(
        &mut self,
        module: &Module,
        objects: &[PatchObject<'_>],
        matched: &Matched<'_>,
        linked: &Linked,
    ) -> Option<Gate> {
        let mut wanted = Vec::new();
        let mut left_out = BTreeSet::new();
        let mut ran = BTreeSet::new();
        for address in addresses(linked) {
            let constructor = read(module, objects, matched, &linked.image, address);
            if constructor.has_run {
                ran.insert(constructor.name);
                continue;
            }
            match (
                constructor.generated,
                constructor.kept.is_empty(),
                constructor.own.is_empty(),
            ) {
                (true, false, true) => left_out.extend(constructor.kept),
                (true, false, false) => {
                    let (kept, own) = (list(&constructor.kept), list(&constructor.own));
                    self.refuse(
                        "constructor",
                        constructor.name,
                        format!(
                            "it would initialize both {kept}, which the process has and which stays, and {own}, which is of \
                             the patch; define them in different files"
                        ),
                    );
                }
                _ => wanted.push(constructor),
            }
        }
        if !left_out.is_empty() {
            self.notes.push(format!(
                "not initialized anew, since the process has it: {}",
                list(&left_out)
            ));
        }
        if !ran.is_empty() {
            let names = list(&ran);
            self.notes.push(format!(
                "constructors that ran when the process started do not run again: {names}"
            ));
        }
        if wanted.is_empty() {
            return None;
        }
        let names: Vec<&str> = wanted.iter().map(|constructor| constructor.name.as_str()).collect();
        if !self.options.constructors {
            self.refuse(
                "constructor",
                names.join(", "),
                "constructors, which the first call of a function of the patch would run in the process; ask for it with \
                 --constructors, or make what they set up static"
                    .into(),
            );
            return None;
        }
        self.notes.push(format!(
            "the first call of a function of the patch runs constructors: {}",
            names.join(", ")
        ));
        let gate = self.gate(linked, &wanted);
        if gate.is_none() {
            self.refuse("space", "constructors".into(), "no room for code that runs them".into());
        }
        gate
    }

    fn gate(&mut self, linked: &Linked, wanted: &[Constructor]) -> Option<Gate> {
        let arena = self.space.arena_of(linked.segments[0].0)?;
        let word = self.space.find_free(&arena, Region::Data, WORD_BYTES, WORD_BYTES)?;
        self.space.take(word..word + WORD_BYTES);
        let constructors: Vec<u64> = wanted.iter().map(|constructor| constructor.address).collect();
        let versions: Vec<u64> = linked.functions.iter().map(|(address, _)| *address).collect();
        let code = gate_code(word, &versions, &constructors);
        let bytes = code.len() as u64;
        let start = self.space.near_block(&arena.range(), bytes)?;
        self.writes.push((start, code));
        self.writes.push((word, vec![0; 8]));
        Some(Gate {
            code: (start, bytes),
            word,
            entries: (0..versions.len() as u64)
                .map(|index| start + index * ENTRY_BYTES)
                .collect(),
        })
    }

    /// Whatever a patch uses of an earlier one has to be there.
    pub(crate) fn refuse_what_is_not_constructed(&mut self, depends: &BTreeSet<u64>) {
        let waiting = |id: &u64| {
            let patch = self.registry.patch(*id).filter(|patch| patch.gate_word != 0)?;
            let word = self.state.procfs.read_word(patch.gate_word);
            (word != Some(DONE)).then(|| patch.name.clone())
        };
        let names: Vec<String> = depends.iter().filter_map(waiting).collect();
        for name in names {
            self.refuse(
                "constructor",
                name,
                "the patch uses what it defines, and its constructors have not run: none of its functions was called"
                    .into(),
            );
        }
    }
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// What the arrays of constructors hold, in the order in which they run.
fn addresses(linked: &Linked) -> Vec<u64> {
    let arrays = linked.image.preinit.iter().chain(&linked.image.init);
    arrays.flat_map(|array| pointers(linked, array)).collect()
}

/// The functions of an array; 0 and -1 are placeholders (gABI).
fn pointers(linked: &Linked, array: &FunctionArray) -> Vec<u64> {
    let words = (0..array.count).filter_map(|index| linked.word(array.address + index * 8));
    let mut words: Vec<u64> = words.filter(|word| *word != 0 && *word != u64::MAX).collect();
    if array.backwards {
        words.reverse();
    }
    words
}

fn read(
    module: &Module,
    objects: &[PatchObject<'_>],
    matched: &Matched<'_>,
    image: &Image,
    address: u64,
) -> Constructor {
    let mut constructor = Constructor {
        address,
        name: format!("the function at {address:#x}"),
        generated: false,
        has_run: false,
        kept: BTreeSet::new(),
        own: BTreeSet::new(),
    };
    let found = objects.iter().enumerate().find_map(|(number, object)| {
        let is_it =
            |definition: &&Definition| definition.executable && address_in(image, number, definition) == Some(address);
        Some((number, object, object.definitions.iter().find(is_it)?))
    });
    let Some((number, object, function)) = found else {
        return constructor;
    };
    constructor.name.clone_from(&function.name);
    constructor.generated = counterpart::is_generated(&function.name);
    constructor.has_run =
        !constructor.generated && counterpart::counterpart(module, object, function).is_ok_and(|found| found.is_some());
    let is_kept = |index: usize| {
        let mut kept = matched.variables.iter().filter(|pair| pair.object == number);
        kept.any(|pair| object.definitions[pair.definition].index == index)
    };
    for definition in object.reached_from(function) {
        if !definition.writable || definition.executable {
            continue;
        }
        if is_kept(definition.index) {
            constructor.kept.insert(definition.name.clone());
        } else {
            constructor.own.insert(definition.name.clone());
        }
    }
    constructor
}

/// Bytes of one entry of a gate.
const ENTRY_BYTES: u64 = 48;

/// The code of a gate: an entry for each version, and what they share.
fn gate_code(word: u64, versions: &[u64], constructors: &[u64]) -> Vec<u8> {
    let mut source = String::new();
    for (index, version) in versions.iter().enumerate() {
        // Every register stays, also r11: callers may know that the function leaves it alone (gcc's -fipa-ra).
        let _ = write!(
            source,
            ".p2align 4
             entry{index}:
             endbr64
             push %r11
             movabs ${word}, %r11
             cmpq $-1, (%r11)
             je 1f
             call construct
             1: pop %r11
             jmpq *2f(%rip)
             .p2align 3
             2: .quad {version}
             .org entry{index} + {ENTRY_BYTES}
            "
        );
    }
    let (save, restore) = (machine_code::save_vectors(), machine_code::restore_vectors());
    let _ = write!(
        source,
        "construct:
         push %rbp
         mov %rsp, %rbp
         push %rax; push %rbx; push %rcx; push %rdx; push %rsi; push %rdi; push %r8; push %r9; push %r10; push %r12
         mov %r11, %r12
         mov %fs:0, %rbx
         again:
         xor %eax, %eax
         lock cmpxchg %rbx, (%r12)
         je run
         cmp $-1, %rax
         je ready
         cmp %rbx, %rax
         je ready
         mov ${sched_yield}, %eax
         syscall
         jmp again
         run:
         {save}
         lea constructors(%rip), %rbx
         next:
         cmpq $0, (%rbx)
         je last
         xor %edi, %edi
         lea nothing(%rip), %rsi
         lea nothing(%rip), %rdx
         call *(%rbx)
         add $8, %rbx
         jmp next
         last:
         movq $-1, (%r12)
         {restore}
         ready:
         lea -80(%rbp), %rsp
         pop %r12; pop %r10; pop %r9; pop %r8; pop %rdi; pop %rsi; pop %rdx; pop %rcx; pop %rbx; pop %rax
         pop %rbp
         ret
         .p2align 3
         constructors: .quad {pointers}
         nothing: .quad 0
        ",
        sched_yield = libc::SYS_sched_yield,
        pointers = hex_list(constructors),
    );
    machine_code::assemble(&source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_their_places() {
        let code = gate_code(0x1_0000_0000, &[0x1234, 0x5678], &[0x9999]);
        for (index, version) in [0x1234_u64, 0x5678].iter().enumerate() {
            let entry = &code[index * ENTRY_BYTES as usize..(index + 1) * ENTRY_BYTES as usize];
            assert_eq!(entry[..4], [0xf3, 0x0f, 0x1e, 0xfa]);
            assert!(entry.windows(8).any(|bytes| bytes == version.to_le_bytes()));
        }
        assert!(code.windows(8).any(|bytes| bytes == 0x9999_u64.to_le_bytes()));
    }
}
