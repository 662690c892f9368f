//! Objects for fuzzing linkers and loaders, and the oracles that this crate is fuzzed with.
//!
//! A [`Case`] is something to link, as plain data: objects, an archive behind them, and what the surroundings define. It
//! is generated from bytes, so that a coverage-guided fuzzer can change it bit by bit, or from a seed.
//! [`Case::objects`] and [`Case::members`] are [`ObjectPlan`]s, which [write](ObjectPlan::write) themselves as ELF files:
//! sections of every kind, COMDAT groups, symbols of every binding and visibility, IFUNCs, tentative definitions,
//! thread-local variables, and relocations of every type of the psABI between them.
//!
//! # Fuzzing another loader
//!
//! Any loader of relocatable objects can be given the files of a case, with the symbols that its surroundings define:
//!
//! ```
//! use restub_loader::fuzzing::Case;
//!
//! # struct Theirs;
//! # impl Theirs {
//! #     fn define(&mut self, _name: &str, _address: u64) {}
//! #     fn load(&mut self, _file: &[u8]) -> Result<(), String> { Ok(()) }
//! # }
//! for seed in 0..100 {
//!     let case = Case::from_seed(seed);
//!     let mut theirs = Theirs;
//!     for external in &case.externals {
//!         theirs.define(&external.name, external.target.address);
//!     }
//!     for object in &case.objects {
//!         // It may refuse, and it must not crash.
//!         let _ = theirs.load(&object.write());
//!     }
//! }
//! ```
//!
//! In a fuzz target, `Case` is [`Arbitrary`](arbitrary::Arbitrary): `fuzz_target!(|case: Case| { .. })`. In a proptest it
//! comes from bytes: `any::<Vec<u8>>().prop_map(|bytes| Case::generate(&mut Choices::new(&bytes), Scope::Anything, "",
//! 0x1000_0000))`; fewer bytes give a smaller case, so proptest shrinks it.
//!
//! # Fuzzing relocation handling
//!
//! [`check_relocation`] compares an implementation of one relocation with a second one, written from the psABI's text:
//!
//! ```
//! use restub_loader::Values;
//! use restub_loader::fuzzing::{Choices, check_relocation, entropy};
//!
//! /// R_X86_64_PC32, as somebody may have written it.
//! fn pc32(v: &Values) -> Result<Vec<u8>, &'static str> {
//!     let value = v.s.wrapping_add(v.a).wrapping_sub(v.p) as i64;
//!     i32::try_from(value).map(|value| value.to_le_bytes().to_vec()).map_err(|_| "out of range")
//! }
//!
//! for seed in 0..1000 {
//!     let entropy = entropy(seed);
//!     let mut choices = Choices::new(&entropy);
//!     let s = choices.edge();
//!     let values = Values { s, p: s.wrapping_add(choices.edge()), a: choices.edge(), ..Values::default() };
//!     check_relocation(2, &values, || pc32(&values));
//! }
//! ```
//!
//! # Oracles
//!
//! | function | what has to hold |
//! |---|---|
//! | [`check_object`], [`check_archive`] | any bytes are read or refused |
//! | [`check_link`] | whatever is linked: nothing is left behind by an error, no call to the memory out of turn, the same bytes every time |
//! | [`check_case`] | the image is what a second implementation of symbol resolution and of the relocation types says |
//! | [`check_row`] | a row of the table computes what the psABI says |
//! | [`Peer::check`] | another linker makes the same of it |

mod attempt;
mod case;
mod choices;
mod contents;
mod debug;
mod expect;
mod generate;
mod kinds;
mod memory;
mod model;
mod ours;
mod peers;
mod plan;
mod rebound;
mod reference;
mod spoil;
mod theirs;
mod view;
mod write;

pub use case::{Case, External, Externals, Scope};
pub use choices::{Choices, entropy};
pub use expect::{check_archive, check_case, check_link, check_link_bytes, check_link_seed, check_object};
pub use memory::CheckedMemory;
pub use peers::{Difference, Peer, Tally, batch, check_peers_bytes};
pub use plan::{GroupPlan, ObjectPlan, RelocationPlan, RelocationTable, SectionPlan, SymbolPlan, SymbolPlanPlace};
pub use reference::{Field, Outcome, calculation, check_relocation, check_row, check_row_bytes, may_store};
pub use write::write_archive;
