//! The table on real memory: what a call reaches is what was published.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::cell::Cell;
use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::rc::Rc;

use proptest::prelude::*;
use restub_stubs::{Block, FreedSlot, MemoryError, OnUnbound, Slot, Stub, StubError, StubMemory, StubTable, WordStore};
use support::{Page, TwoViews, function};

fn call(stub: Stub) -> u64 {
    // SAFETY: the tests call stubs only while they have a definition, or in a child that is to die of it.
    let callee = unsafe { function(stub.address()) };
    // SAFETY: as above.
    unsafe { callee() }
}

fn table(slot: Slot) -> StubTable<TwoViews> {
    StubTable::new(TwoViews::new().unwrap(), slot, OnUnbound::Abort)
}

#[test]
fn calls_reach_what_is_published() {
    for slot in Slot::ALL {
        let mut table = table(slot);
        let (one, two) = (Page::returning(1, 1).unwrap(), Page::returning(2, 1).unwrap());
        let stubs: Vec<Stub> = (0..300).map(|i| table.add(&format!("f{i}")).unwrap()).collect();
        for &stub in &stubs {
            assert_eq!(table.publish(stub, one.address()).unwrap(), None);
            assert_eq!(call(stub), 1, "{slot:?}");
            assert_eq!(table.at(stub.address()), Some(stub));
        }
        assert_eq!(table.publish(stubs[7], two.address()).unwrap(), Some(one.address()));
        assert_eq!((call(stubs[6]), call(stubs[7]), call(stubs[8])), (1, 2, 1));
        assert_eq!(table.stats().stubs, 300);
    }
}

#[test]
fn a_freed_slot_is_used_again_only_when_it_is_given_back() {
    let mut table = table(Slot::Inline);
    let page = Page::returning(1, 1).unwrap();
    let old = table.add("old").unwrap();
    table.publish(old, page.address()).unwrap();
    let freed = table.free(old).unwrap();
    assert!(matches!(table.publish(old, 1), Err(StubError::Freed { .. })));
    let next = table.add("next").unwrap();
    assert_ne!(next.address(), old.address());
    table.reuse(freed);
    let again = table.add("again").unwrap();
    assert_eq!(again.address(), old.address());
    assert_ne!(again, old);
    assert!(table.target(old).is_err());
    assert_eq!(table.name(again).as_deref(), Some("again"));
}

#[test]
fn nothing_changes_when_one_of_several_stubs_is_gone() {
    let mut table = table(Slot::Split);
    let (a, b) = (table.add("a").unwrap(), table.add("b").unwrap());
    let _slot = table.free(b).unwrap();
    assert!(table.publish_all(&[(a, 16), (b, 32)]).is_err());
    assert_eq!(table.target(a).unwrap(), None);
}

/// Runs one of the tests below in a process of its own, and returns what it wrote before it was aborted.
fn dies(test: &str) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", test, "--nocapture"])
        .env("RESTUB_STUBS_DIE", "1");
    let output = child.stdout(Stdio::null()).output().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(signal, Some(libc::SIGABRT), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_unbound_call_names_the_symbol() {
    if std::env::var_os("RESTUB_STUBS_DIE").is_none() {
        let text = dies("an_unbound_call_names_the_symbol");
        return assert!(
            text.contains("restub: call of `g150`, which has no definition, from 0x"),
            "{text}"
        );
    }
    let mut table = table(Slot::InlineIbt);
    let stubs: Vec<Stub> = (0..200).map(|i| table.add(&format!("g{i}")).unwrap()).collect();
    call(stubs[150]);
}

#[test]
fn the_hook_hears_of_an_unbound_call() {
    if std::env::var_os("RESTUB_STUBS_DIE").is_none() {
        let text = dies("the_hook_hears_of_an_unbound_call");
        return assert!(text.contains("hook: Some(\"h\") 0"), "{text}");
    }
    let hook = OnUnbound::Hook(Box::new(|call| eprintln!("hook: {:?} {}", call.name, call.index)));
    let mut table = StubTable::new(TwoViews::new().unwrap(), Slot::SplitIbt, hook);
    let stub = table.add("h").unwrap();
    call(stub);
}

/// Memory that is only a map of words, at pretended addresses, and that can be told to fail.
#[derive(Debug, Default)]
struct Pretended {
    words: HashMap<u64, u64>,
    blocks: u64,
    fails: Rc<Cell<bool>>,
}

impl Pretended {
    fn check(&self) -> Result<(), MemoryError> {
        if self.fails.get() {
            Err("asked to fail".into())
        } else {
            Ok(())
        }
    }
}

impl StubMemory for Pretended {
    fn allocate(&mut self, _: u64) -> Result<Block, MemoryError> {
        self.check()?;
        self.blocks += 1;
        let code = 0x10_0000 + self.blocks * 0x1_0000;
        Ok(Block {
            code,
            words: code + 0x8000,
        })
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        for (i, word) in bytes.chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(word.try_into().unwrap());
            self.words.insert(address + 8 * i as u64, word);
        }
        self.check()
    }

    fn expose(&mut self, _: Block) -> Result<(), MemoryError> {
        self.check()
    }

    fn store(&mut self, words: &[WordStore]) -> Result<(), MemoryError> {
        self.check()?;
        for word in words {
            assert_eq!(word.address % 8, 0);
            self.words.insert(word.address, word.value);
        }
        Ok(())
    }

    fn free(&mut self, _: Block, _: u64) {
        self.blocks -= 1;
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add,
    Publish(prop::sample::Index, u64),
    Unbind(prop::sample::Index),
    Free(prop::sample::Index),
    Reuse(prop::sample::Index),
    Fail(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let any_stub = any::<prop::sample::Index>;
    let step = prop_oneof![
        6 => Just(Step::Add),
        6 => (any_stub(), 1..1000u64).prop_map(|(stub, target)| Step::Publish(stub, target)),
        2 => any_stub().prop_map(Step::Unbind),
        4 => any_stub().prop_map(Step::Free),
        3 => any_stub().prop_map(Step::Reuse),
        1 => any::<bool>().prop_map(Step::Fail),
    ];
    prop::collection::vec(step, 1..400)
}

/// What the table should be: every stub that was ever made, and the slots that wait.
struct Model {
    table: StubTable<Pretended>,
    live: Vec<(Stub, String, Option<u64>)>,
    dead: Vec<Stub>,
    freed: Vec<FreedSlot>,
    /// Target words of stubs without a definition, which never change.
    thunks: HashMap<u64, u64>,
    added: usize,
    fails: Rc<Cell<bool>>,
}

impl Model {
    fn step(&mut self, step: Step) {
        let failing = self.fails.get();
        let pick = |index: prop::sample::Index, len: usize| (len > 0).then(|| index.index(len));
        match step {
            Step::Add => self.add(),
            Step::Publish(index, target) => {
                let Some(i) = pick(index, self.live.len()) else { return };
                let before = self.table.publish(self.live[i].0, target);
                assert_eq!(before.ok(), (!failing).then_some(self.live[i].2));
                if !failing {
                    self.live[i].2 = Some(target);
                }
            }
            Step::Unbind(index) => {
                let Some(i) = pick(index, self.live.len()) else { return };
                if self.table.unbind(self.live[i].0).is_ok() {
                    self.live[i].2 = None;
                }
            }
            Step::Free(index) => {
                let Some(i) = pick(index, self.live.len()) else { return };
                if let Ok(slot) = self.table.free(self.live[i].0) {
                    self.freed.push(slot);
                    self.dead.push(self.live.swap_remove(i).0);
                }
            }
            Step::Reuse(index) => {
                let Some(i) = pick(index, self.freed.len()) else { return };
                self.table.reuse(self.freed.swap_remove(i));
            }
            Step::Fail(now) => self.fails.set(now),
        }
    }

    fn add(&mut self) {
        let name = format!("f{}", self.added);
        let Ok(stub) = self.table.add(&name) else { return };
        self.added += 1;
        assert!(self.live.iter().all(|(other, ..)| other.address() != stub.address()));
        self.live.push((stub, name, None));
    }

    fn check(&mut self) {
        for (stub, name, target) in &self.live {
            assert_eq!(self.table.target(*stub).unwrap(), *target);
            assert_eq!(self.table.name(*stub).as_deref(), Some(name.as_str()));
            assert_eq!(self.table.at(stub.address()), Some(*stub));
            let at = self.table.word(*stub);
            let word = self.table.memory().words[&at];
            match target {
                Some(target) => assert_eq!(word, *target),
                None => assert_eq!(*self.thunks.entry(at).or_insert(word), word),
            }
        }
        assert!(self.dead.iter().all(|&stub| self.table.target(stub).is_err()));
        let stats = self.table.stats();
        assert_eq!((stats.stubs, stats.freed), (self.live.len(), self.freed.len()));
        assert_eq!(stats.blocks as u64, self.table.memory().blocks);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_the_model_does(kind in 0..Slot::ALL.len(), steps in steps()) {
        let memory = Pretended::default();
        let mut model = Model {
            fails: Rc::clone(&memory.fails),
            table: StubTable::new(memory, Slot::ALL[kind], OnUnbound::Abort),
            live: Vec::new(),
            dead: Vec::new(),
            freed: Vec::new(),
            thunks: HashMap::new(),
            added: 0,
        };
        for step in steps {
            model.step(step);
            model.check();
        }
    }
}
