//! What becomes of the definitions of a module that is being linked into a session with stubs.
//!
//! Functions are called through their stubs. A variable of a module that replaces another keeps the storage of the one
//! before: global ones are found by name, local ones by their source file and name.

use std::collections::{BTreeMap, BTreeSet};

use restub_loader::{
    Image, Memory, MemoryError, Own, OwnKind, Rebind, SegmentKind, SymbolBinding, Target, TargetKind, Window,
};
use rustc_hash::FxHashMap;

use crate::replacement::{Data, Refusal, Replace};
use crate::state::{Entry, Module, ModuleId, Static};
use crate::stubs::{FunctionId, Stubs};

/// Why modules are linked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// Beside what there is.
    Load,
    /// In place of what there is.
    Replace(&'a Replace),
}

/// What becomes of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Others that ask for the name get it.
    Current,
    /// Others get it if the definition goes that they have.
    Spare,
    /// What was there keeps standing for the name.
    Kept,
    /// It has its own storage, although there is one with a value already.
    Reset,
    /// Only the module itself refers to it.
    Local,
}

/// Decides about the definitions of one link, and notes what was decided.
#[derive(Debug)]
pub(crate) struct Rebinding<'a> {
    pub(crate) stubs: &'a mut Stubs,
    pub(crate) modules: &'a BTreeMap<ModuleId, Module>,
    pub(crate) purpose: Purpose<'a>,
    /// What other modules of the same transaction define, or will: functions whose module is not known yet have
    /// [`ModuleId::NONE`].
    pub(crate) pending: &'a FxHashMap<Box<str>, Entry>,
    /// Whether a module calls its own functions directly.
    pub(crate) own_directly: bool,
    pub(crate) outcome: Outcome,
}

/// What was decided.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// For each definition of the image.
    pub(crate) fates: Vec<Fate>,
    /// The functions that the module calls or takes the address of.
    pub(crate) calls: Vec<FunctionId>,
    /// Those of its own functions that had no stub before.
    pub(crate) added: Vec<FunctionId>,
    /// Constants of other modules that it is bound to.
    pub(crate) constants: Vec<Box<str>>,
    /// Where its local variables are, for the module that replaces it.
    pub(crate) statics: Vec<Static>,
    /// The modules whose definitions it supersedes.
    pub(crate) replaced: BTreeSet<ModuleId>,
    pub(crate) refusals: Vec<Refusal>,
}

impl Outcome {
    /// Notes which of its own functions the module calls through their stubs.
    pub(crate) fn note_own_calls(&mut self, image: &Image, stubs: Option<&Stubs>) {
        let Some(stubs) = stubs else { return };
        let mut called = vec![false; image.definitions.len()];
        for reference in &image.references {
            called[reference.definition as usize] = true;
        }
        for (definition, _) in image.definitions.iter().zip(called).filter(|(_, called)| *called) {
            if definition.kind == OwnKind::Function && definition.rebound.is_some() {
                self.calls.extend(stubs.id(&definition.name));
            }
        }
    }
}

impl Rebinding<'_> {
    /// Answers [`restub_loader::Resolver::rebind`]. `uses` gets the modules whose storage is kept.
    pub(crate) fn decide(
        &mut self,
        definitions: &[Own<'_>],
        symbols: &FxHashMap<Box<str>, Entry>,
        uses: &mut Vec<ModuleId>,
    ) -> Vec<Rebind> {
        let pending = self.pending;
        let find = |own: &Own<'_>| {
            let visible = own.binding != SymbolBinding::Local;
            let name = std::str::from_utf8(own.name).ok().filter(|_| visible)?;
            let made = pending.get(name).filter(|entry| entry.module != ModuleId::NONE);
            made.or_else(|| symbols.get(name))
        };
        if let Purpose::Replace(options) = self.purpose {
            self.outcome.replaced.extend(&options.whole);
            let strong = definitions.iter().filter(|own| own.binding == SymbolBinding::Strong);
            self.outcome
                .replaced
                .extend(strong.filter_map(|own| Some(find(own)?.module)));
        }
        let statics = self.match_statics(definitions);
        let mut answers = Vec::with_capacity(definitions.len());
        for (index, own) in definitions.iter().enumerate() {
            let there = find(own);
            let (fate, answer) = match own.kind {
                OwnKind::Function if own.binding == SymbolBinding::Local => (Fate::Local, Rebind::Own),
                _ if own.binding == SymbolBinding::Local => match statics.get(&index) {
                    Some(kept) => {
                        uses.push(kept.owner);
                        (Fate::Kept, Rebind::To(kept.target))
                    }
                    None => (Fate::Local, Rebind::Own),
                },
                OwnKind::Function => self.decide_function(own, there),
                _ => self.decide_data(own, there, uses),
            };
            self.outcome.fates.push(fate);
            answers.push(answer);
        }
        self.note_statics(definitions, &statics);
        answers
    }

    /// A function of an earlier module, as it is bound to: its stub.
    pub(crate) fn call(&mut self, function: FunctionId, size: u64) -> Target {
        self.outcome.calls.push(function);
        Target {
            address: self.stubs.address(function),
            size,
            kind: TargetKind::Function,
        }
    }

    /// Notes that the module reads a constant of an earlier one.
    pub(crate) fn note_constant(&mut self, name: &str, entry: &Entry) {
        let module = self.modules.get(&entry.module);
        let constants = SegmentKind::ReadOnly as usize;
        let is_constant = module.is_some_and(|module| {
            let placement = &module.image.placement;
            let size = placement.sizes[constants].total_bytes;
            entry.target.address.wrapping_sub(placement.addresses[constants]) < size
        });
        if is_constant && matches!(entry.target.kind, TargetKind::Data(_)) {
            self.outcome.constants.push(name.into());
        }
    }

    /// The stub of an own function.
    pub(crate) fn take_stub(
        &mut self,
        name: &[u8],
        window: Window,
        memory: &mut dyn Memory,
    ) -> Result<u64, MemoryError> {
        let name = std::str::from_utf8(name);
        let name = name.map_err(|_| MemoryError::Refused("the name of a function with a stub is not UTF-8"))?;
        let (id, added) = self.stubs.take(name, window, memory)?;
        if added {
            self.outcome.added.push(id);
        }
        Ok(self.stubs.address(id))
    }

    fn is_replaced(&self, module: ModuleId) -> bool {
        self.outcome.replaced.contains(&module)
    }

    fn decide_function(&mut self, own: &Own<'_>, there: Option<&Entry>) -> (Fate, Rebind) {
        let stub = if self.own_directly { Rebind::Own } else { Rebind::Stub };
        let Some(there) = there else {
            return (Fate::Current, stub);
        };
        if there.target.kind != TargetKind::Function && self.is_replaced(there.module) {
            self.refuse(Refusal::KindChanged {
                symbol: text(own.name),
                object: own.object.into(),
            });
        }
        if own.binding == SymbolBinding::Weak && !self.is_replaced(there.module) {
            return (Fate::Spare, Rebind::Stub);
        }
        (Fate::Current, stub)
    }

    fn decide_data(&mut self, own: &Own<'_>, there: Option<&Entry>, uses: &mut Vec<ModuleId>) -> (Fate, Rebind) {
        let Some(there) = there else {
            return (Fate::Current, Rebind::Own);
        };
        let yields = own.binding == SymbolBinding::Weak || own.tentative;
        let keep = match self.purpose {
            _ if yields && !self.is_replaced(there.module) => true,
            Purpose::Load => false,
            Purpose::Replace(options) => own.kind != OwnKind::Constant && options.data == Data::Keep,
        };
        let thread_local = matches!(there.target.kind, TargetKind::Tls { .. });
        if !keep {
            let reset = matches!(self.purpose, Purpose::Replace(_)) && own.kind != OwnKind::Constant;
            return (if reset { Fate::Reset } else { Fate::Current }, Rebind::Own);
        }
        if there.target.kind == TargetKind::Function || thread_local != (own.kind == OwnKind::ThreadLocal) {
            self.refuse(Refusal::KindChanged {
                symbol: text(own.name),
                object: own.object.into(),
            });
        } else if !yields || self.is_replaced(there.module) {
            self.check_storage(own, &there.target, there.module);
        }
        uses.push(there.module);
        (Fate::Kept, Rebind::To(there.target))
    }

    /// Whether a variable can live in the storage that there is.
    fn check_storage(&mut self, own: &Own<'_>, there: &Target, module: ModuleId) {
        let module = || self.modules.get(&module).map_or_else(String::new, Module::name);
        // Code relies on more than the type's own alignment only where a variable is large enough to gain by it.
        let relied_on = own.align.min(1 << own.size.max(1).ilog2());
        let thread_local = matches!(there.kind, TargetKind::Tls { .. });
        let refusal = if own.size != there.size {
            Refusal::SizeChanged {
                symbol: text(own.name),
                object: own.object.into(),
                before: there.size,
                module: module(),
                after: own.size,
            }
        } else if !thread_local && !there.address.is_multiple_of(relied_on) {
            Refusal::AlignmentChanged {
                symbol: text(own.name),
                object: own.object.into(),
                before: 1 << there.address.trailing_zeros(),
                module: module(),
                after: relied_on,
            }
        } else {
            return;
        };
        self.refuse(refusal);
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.outcome.refusals.push(refusal);
    }

    /// Finds the local variables that keep their storage: those of the same source file and name in a module that is
    /// being replaced. Where compilers number variables of one name, the order decides.
    fn match_statics(&mut self, definitions: &[Own<'_>]) -> FxHashMap<usize, Static> {
        let mut matched = FxHashMap::default();
        let Purpose::Replace(options) = self.purpose else {
            return matched;
        };
        if options.data == Data::Reset {
            return matched;
        }
        let mut before: BTreeMap<(String, String), Vec<&Static>> = BTreeMap::new();
        let modules = self.modules;
        for module in self.outcome.replaced.iter().filter_map(|id| modules.get(id)) {
            if let Some(stubbed) = module.stubbed.as_deref().filter(|stubbed| !stubbed.is_superseded) {
                for variable in &stubbed.statics {
                    before
                        .entry(key(&variable.file, &variable.name))
                        .or_default()
                        .push(variable);
                }
            }
        }
        let mut after: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
        for (index, own) in definitions.iter().enumerate() {
            if is_static(own) {
                let key = key(&text(own.file.unwrap_or_default()), &text(own.name));
                after.entry(key).or_default().push(index);
            }
        }
        let mut refusals = Vec::new();
        for (key, mut now) in after {
            let Some(old) = before.get_mut(&key) else {
                continue;
            };
            if old.len() != now.len() {
                refusals.push(Refusal::StaticsUnclear {
                    symbol: key.1,
                    object: definitions[now[0]].object.into(),
                    before: old.len(),
                    after: now.len(),
                });
                continue;
            }
            old.sort_by_key(|variable| number(&variable.name));
            now.sort_by_key(|index| number(&text(definitions[*index].name)));
            for (old, index) in old.iter().zip(now) {
                let own = &definitions[index];
                let thread_local = matches!(old.target.kind, TargetKind::Tls { .. });
                if thread_local != (own.kind == OwnKind::ThreadLocal) {
                    refusals.push(Refusal::KindChanged {
                        symbol: text(own.name),
                        object: own.object.into(),
                    });
                }
                self.check_storage(own, &old.target, old.owner);
                matched.insert(index, (*old).clone());
            }
        }
        self.outcome.refusals.extend(refusals);
        matched
    }

    /// Remembers the local variables: those that are kept elsewhere, and as addresses yet to be known the others.
    fn note_statics(&mut self, definitions: &[Own<'_>], kept: &FxHashMap<usize, Static>) {
        for (index, own) in definitions.iter().enumerate().filter(|(_, own)| is_static(own)) {
            self.outcome.statics.push(Static {
                definition: index,
                name: text(own.name).into(),
                file: text(own.file.unwrap_or_default()).into(),
                // Filled in by `State::publish`, as is the owner.
                target: kept.get(&index).map_or(UNKNOWN, |kept| kept.target),
                owner: kept.get(&index).map_or(ModuleId::NONE, |kept| kept.owner),
            });
        }
    }
}

/// The target of a variable whose address is not known yet.
const UNKNOWN: Target = Target {
    address: 0,
    size: 0,
    kind: TargetKind::Absolute,
};

fn is_static(own: &Own<'_>) -> bool {
    own.binding == SymbolBinding::Local && matches!(own.kind, OwnKind::Variable | OwnKind::ThreadLocal)
}

/// What tells local variables apart: the file, and the name without the number that compilers add.
fn key(file: &str, name: &str) -> (String, String) {
    (file.to_owned(), split_number(name).0.to_owned())
}

fn number(name: &str) -> u64 {
    split_number(name).1
}

/// `count.12` is the variable `count` of some function, and the number is the compiler's.
fn split_number(name: &str) -> (&str, u64) {
    name.rsplit_once('.')
        .filter(|(stem, _)| !stem.is_empty())
        .and_then(|(stem, digits)| Some((stem, digits.parse().ok()?)))
        .unwrap_or((name, 0))
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::split_number;

    #[test]
    fn numbers_of_compilers() {
        assert_eq!(split_number("count.12"), ("count", 12));
        assert_eq!(split_number("f.count"), ("f.count", 0));
        assert_eq!(split_number(".hidden"), (".hidden", 0));
        assert_eq!(split_number("a.b.3"), ("a.b", 3));
    }
}
