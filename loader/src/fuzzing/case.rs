//! What is linked together: objects, an archive behind them, and what the surroundings define.

use std::collections::HashMap;

use super::choices::{Choices, entropy};
use super::generate;
use super::plan::ObjectPlan;
use super::write::write_archive;
use crate::error::MemoryError;
use crate::input::Input;
use crate::memory::{Memory, Window};
use crate::own::{Own, OwnKind, Rebind};
use crate::resolver::{CopyRule, Request, Resolver, Target, TargetKind};

/// What a generated case may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that this crate links.
    Anything,
    /// What GNU ld and lld can be asked of a program: no thread-local storage, which they relax there.
    Program,
    /// What they can be asked of a shared library: thread-local storage.
    Library,
}

/// A symbol that the surroundings define.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// The name.
    pub name: String,
    /// What it is bound to.
    pub target: Target,
}

/// Something to link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Put before each global name, so that several cases can be linked together.
    pub prefix: String,
    /// The address to link at.
    pub base: u64,
    /// The objects, in link order.
    pub objects: Vec<ObjectPlan>,
    /// The members of an archive behind them.
    pub members: Vec<ObjectPlan>,
    /// Whether the archive has an index.
    pub index: bool,
    /// What the surroundings define.
    pub externals: Vec<External>,
    /// Whether thread-local blocks have a fixed offset from the thread pointer.
    pub static_tls: bool,
}

impl Case {
    /// A case whose objects make sense: all relocations have a meaning, though not all values fit, and rarely a symbol is
    /// defined twice or not at all.
    #[must_use]
    pub fn generate(choices: &mut Choices<'_>, scope: Scope, prefix: &str, base: u64) -> Case {
        let mut case = generate::case(choices, scope, prefix, base);
        super::expect::aim(&mut case, scope, choices);
        case
    }

    /// The case of a seed, with everything in it.
    #[must_use]
    pub fn from_seed(seed: u64) -> Case {
        let entropy = entropy(seed);
        let mut choices = Choices::new(&entropy);
        let base = base(&mut choices);
        Case::generate(&mut choices, Scope::Anything, "", base)
    }

    /// All objects: those given, then the archive's members.
    pub fn all(&self) -> impl Iterator<Item = &ObjectPlan> + Clone {
        self.objects.iter().chain(&self.members)
    }

    /// The object at that place of [`Case::all`].
    #[must_use]
    pub fn object(&self, index: usize) -> &ObjectPlan {
        match index.checked_sub(self.objects.len()) {
            Some(member) => &self.members[member],
            None => &self.objects[index],
        }
    }

    pub(super) fn object_mut(&mut self, index: usize) -> &mut ObjectPlan {
        match index.checked_sub(self.objects.len()) {
            Some(member) => &mut self.members[member],
            None => &mut self.objects[index],
        }
    }

    /// The name of the archive of [`Case::members`].
    pub(super) const ARCHIVE: &'static str = "lib.a";

    /// The files to link.
    #[must_use]
    pub fn inputs(&self) -> Vec<Input<'static>> {
        let objects = self.objects.iter();
        let mut inputs: Vec<_> = objects
            .map(|object| Input::from_bytes(object.name.clone(), object.write()))
            .collect();
        if !self.members.is_empty() {
            inputs.push(Input::from_bytes(
                Case::ARCHIVE,
                write_archive(&self.members, self.index),
            ));
        }
        inputs
    }
}

/// One of the addresses that cases are linked at: low, as for non-PIC code, or beside shared libraries.
pub(super) fn base(choices: &mut Choices<'_>) -> u64 {
    *choices.pick(&[0x1000_0000, 0x7f12_3456_7000, 0x7000_0000, 0x1_0000_0000])
}

/// Binds names to what a case's surroundings define.
#[derive(Debug)]
pub struct Externals<'a>(pub &'a [External]);

impl Resolver for Externals<'_> {
    fn earlier(&mut self, _name: &[u8]) -> Option<Target> {
        None
    }

    fn external(&mut self, request: Request<'_>) -> Option<Target> {
        let found = self.0.iter().find(|external| external.name.as_bytes() == request.name);
        found.map(|external| external.target)
    }
}

/// Definitions that are bound to something else: its addresses, by their names.
pub(super) type Elsewhere = HashMap<String, u64>;

/// The same, and sends references to own definitions elsewhere, each time in the same way: to stubs, to storage that
/// exists, or where they went before.
#[derive(Debug)]
pub(super) struct Rebinding<'a> {
    externals: Externals<'a>,
    base: u64,
    pub(super) bound: Elsewhere,
}

impl<'a> Rebinding<'a> {
    pub(super) fn new(externals: Externals<'a>, base: u64) -> Self {
        Rebinding {
            externals,
            base,
            bound: Elsewhere::new(),
        }
    }

    fn choice(name: &[u8]) -> u64 {
        name.iter()
            .fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
    }

    /// In reach of the image, or not.
    fn address(&self, name: &[u8]) -> u64 {
        let choice = Rebinding::choice(name);
        let distance = if choice.is_multiple_of(5) { 5 << 30 } else { 1 << 28 };
        self.base.wrapping_add(distance).wrapping_add(choice % 4096 * 16)
    }
}

impl Resolver for Rebinding<'_> {
    fn earlier(&mut self, name: &[u8]) -> Option<Target> {
        self.externals.earlier(name)
    }

    fn external(&mut self, request: Request<'_>) -> Option<Target> {
        self.externals.external(request)
    }

    fn rebinds(&self) -> bool {
        true
    }

    fn rebind(&mut self, definitions: &[Own<'_>]) -> Vec<Rebind> {
        let answer = |own: &Own<'_>| match (own.kind, Rebinding::choice(own.name) % 3) {
            (OwnKind::Function, 0) => Rebind::Stub,
            (OwnKind::Function, 1) => Rebind::To(Target {
                address: self.address(own.name),
                size: own.size,
                kind: TargetKind::Function,
            }),
            (OwnKind::Variable | OwnKind::Constant, 0) => Rebind::To(Target {
                address: self.address(own.name),
                size: own.size,
                kind: TargetKind::Data(CopyRule::Stale),
            }),
            _ => Rebind::Own,
        };
        let answers: Vec<Rebind> = definitions.iter().map(answer).collect();
        let bound = definitions
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| **answer != Rebind::Own);
        self.bound = bound
            .map(|(own, _)| (String::from_utf8_lossy(own.name).into_owned(), self.address(own.name)))
            .collect();
        answers
    }

    fn stub(&mut self, name: &[u8], _window: Window, _memory: &mut dyn Memory) -> Result<u64, MemoryError> {
        Ok(self.address(name))
    }
}

impl<'a> arbitrary::Arbitrary<'a> for Case {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let bytes = u.bytes(u.len())?;
        let mut choices = Choices::new(bytes);
        let base = base(&mut choices);
        Ok(Case::generate(&mut choices, Scope::Anything, "", base))
    }
}

impl<'a> arbitrary::Arbitrary<'a> for ObjectPlan {
    /// The first object of an arbitrary [`Case`]; its references may be to names that other objects define.
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Case::arbitrary(u)?.objects.swap_remove(0))
    }
}
