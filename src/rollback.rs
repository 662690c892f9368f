//! Going back to the version before.

use std::collections::BTreeSet;

use restub_loader::{OwnKind, TargetKind};

use crate::error::{Error, Result};
use crate::replacement::{Change, Report, What};
use crate::session::Session;
use crate::state::{Entry, ModuleId, State};
use crate::stubs::Aim;

impl Session {
    /// Takes a replacement back, without compiling or linking anything: the functions that it superseded are called
    /// again. Variables keep the values that they have. The module whose functions are current again is in the report.
    ///
    /// # Errors
    /// [`Error::NoSuchModule`], and [`Error::NoRollback`] with the reason: the versions before are not there any more
    /// ([`Builder::versions`](crate::Builder::versions) says how many are kept), or the module is superseded itself. The
    /// session is as it was before.
    pub fn rollback(&self, module: ModuleId) -> Result<Report> {
        let _turn = self.turn()?;
        let mut state = self.lock();
        let back = state.plan_rollback(module)?;
        let going = |id: ModuleId| id == module;
        let mut aims = back.aims.clone();
        aims.extend(back.gone.iter().filter_map(|name| state.next_aim(name, going)));
        state.aim(&aims)?;
        let mut changes: Vec<_> = back.gone.iter().map(|name| state.dropped(name)).collect();
        for name in &back.gone {
            state.withdraw_name(name, going);
        }
        let mut restored = BTreeSet::new();
        for (name, entry) in back.entries {
            restored.insert(entry.module);
            state.count_live(module, -1);
            state.count_live(entry.module, 1);
            changes.push(Change {
                kind: state.kind_of(&entry),
                name: name.to_string(),
                what: What::Changed,
            });
            state.symbols.insert(name, entry);
        }
        for id in &restored {
            if let Some(stubbed) = state.stubbed_mut(*id) {
                (stubbed.is_superseded, stubbed.is_held) = (false, false);
            }
        }
        if let Some(stubbed) = state.stubbed_mut(module) {
            (stubbed.is_superseded, stubbed.is_held) = (true, false);
        }
        let newest = restored.iter().next_back().copied();
        let mut unused = newest.map_or_else(Vec::new, |newest| state.hold_versions(newest, self.options().versions));
        unused.push(module);
        self.retire_unused(&mut state, unused);
        self.remove_stubs(&mut state, &back.gone);
        Ok(Report {
            module: newest.unwrap_or(module),
            modules: newest.into_iter().collect(),
            changes,
            superseded: vec![module],
            constructors_skipped: false,
        })
    }
}

/// What a rollback does.
#[derive(Debug)]
struct Back {
    entries: Vec<(Box<str>, Entry)>,
    aims: Vec<Aim>,
    /// Names that nothing stood for before.
    gone: Vec<Box<str>>,
}

impl State {
    fn plan_rollback(&self, id: ModuleId) -> Result<Back> {
        let module = self.modules.get(&id).ok_or(Error::NoSuchModule)?;
        let stubbed = module.stubbed.as_deref().ok_or(Error::NoStubs)?;
        let refuse = |reason: String| Err(Error::NoRollback(format!("{}: {reason}", module.name())));
        if stubbed.supersedes.is_empty() {
            return refuse("it superseded nothing".into());
        }
        if module.users > 0 {
            return refuse(format!("{} use its variables", self.user_names(id).join(", ")));
        }
        let mut back = Back {
            entries: stubbed.supersedes.clone(),
            aims: Vec::new(),
            gone: Vec::new(),
        };
        for (name, entry) in &stubbed.supersedes {
            if self.symbols.get(name).is_none_or(|now| now.module != id) {
                return refuse(format!("{name} has been superseded since"));
            }
            if !self.modules.contains_key(&entry.module) {
                return refuse(format!("the version of {name} before it is not kept"));
            }
            if let Some(function) = entry.function {
                back.aims.push((function, Some(entry.target.address)));
            }
        }
        for name in self.names_of(id) {
            let Some(entry) = self.symbols.get(&name).filter(|entry| entry.module == id) else {
                continue;
            };
            if stubbed.supersedes.iter().any(|(superseded, _)| *superseded == name) {
                continue;
            }
            if let Some(function) = entry.function {
                let callers = self.callers(function, &BTreeSet::from([id]));
                if !callers.is_empty() && !self.spares.contains_key(&name) {
                    return refuse(format!(
                        "{name}, which is new in it, is called by {}",
                        callers.join(", ")
                    ));
                }
            }
            back.gone.push(name);
        }
        Ok(back)
    }

    pub(crate) fn kind_of(&self, entry: &Entry) -> OwnKind {
        match entry.target.kind {
            TargetKind::Function => OwnKind::Function,
            TargetKind::Tls { .. } => OwnKind::ThreadLocal,
            _ => OwnKind::Variable,
        }
    }
}
