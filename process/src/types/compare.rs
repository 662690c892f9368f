//! Two types, of which one is the target's and the other the patch's: whether code of both may use the same memory.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::dwarf::{DebugInfo, Place};
use crate::error::Refusal;

use super::shape::{self, Class, Member, Shape, Signature};

/// How far types are followed that are no structures.
const DEEPEST: u32 = 64;
/// Differences of one type that are told.
const SHOWN: usize = 4;

/// What is compared, and what differs.
pub(super) struct Comparison<'i, 't, 'p> {
    target: &'i DebugInfo<'t>,
    patch: &'i DebugInfo<'p>,
    /// Structures of the target by kind and name, for units that say only that there is one.
    complete: &'i HashMap<String, Vec<Place>>,
    waiting: VecDeque<Pair>,
    seen: HashSet<(Place, Place)>,
    /// Code, what is refused, and the differences, to tell each only once.
    told: HashSet<(&'static str, String, String)>,
    pub(super) refusals: Vec<Refusal>,
    /// Types that the target has in full, and of which the patch has just the name.
    pub(super) named_only: BTreeSet<String>,
}

/// Two structures or enumerations that have still to be compared.
struct Pair {
    target: Place,
    patch: Place,
    /// What they are called.
    label: String,
    /// What leads to them.
    root: String,
}

impl<'i, 't, 'p> Comparison<'i, 't, 'p> {
    pub(super) fn new(
        target: &'i DebugInfo<'t>,
        patch: &'i DebugInfo<'p>,
        complete: &'i HashMap<String, Vec<Place>>,
    ) -> Self {
        Comparison {
            target,
            patch,
            complete,
            waiting: VecDeque::new(),
            seen: HashSet::new(),
            told: HashSet::new(),
            refusals: Vec::new(),
            named_only: BTreeSet::new(),
        }
    }

    /// Compares two types. Says how both are called if they differ themselves; what differs in structures that they lead
    /// to becomes refusals.
    pub(super) fn types(
        &mut self,
        target: Option<Place>,
        patch: Option<Place>,
        root: &str,
    ) -> Option<(String, String)> {
        let same = self.same(target, patch, root, DEEPEST);
        self.work();
        (!same).then(|| self.names(target, patch))
    }

    /// How two functions differ, in words.
    pub(super) fn signatures(&mut self, target: &Signature, patch: &Signature, root: &str) -> Vec<String> {
        let mut differences = Vec::new();
        if let Some((old, new)) = self.types(target.result, patch.result, &format!("the result of {root}")) {
            differences.push(format!("it returns {old} in the target and {new} in the patch"));
        }
        if !(target.is_known && patch.is_known) {
            return differences;
        }
        let (old, new) = (target.parameters.len(), patch.parameters.len());
        if old != new || target.variadic != patch.variadic {
            let more = |variadic| if variadic { " and more" } else { "" };
            differences.push(format!(
                "it has {old}{} parameters in the target and {new}{} in the patch",
                more(target.variadic),
                more(patch.variadic)
            ));
        }
        let pairs = target.parameters.iter().zip(&patch.parameters);
        for (index, ((old_name, old), (new_name, new))) in pairs.enumerate() {
            let name = new_name.as_ref().or(old_name.as_ref());
            let name = name.map_or_else(
                || format!("parameter {}", index + 1),
                |name| format!("parameter '{name}'"),
            );
            if let Some((old, new)) = self.types(*old, *new, &format!("{name} of {root}")) {
                differences.push(format!("{name} is {old} in the target and {new} in the patch"));
            }
        }
        differences
    }

    fn names(&self, target: Option<Place>, patch: Option<Place>) -> (String, String) {
        let names = (shape::describe(self.target, target), shape::describe(self.patch, patch));
        if names.0 != names.1 {
            return names;
        }
        (
            shape::describe_bare(self.target, target),
            shape::describe_bare(self.patch, patch),
        )
    }

    fn work(&mut self) {
        while let Some(pair) = self.waiting.pop_front() {
            let is_enumeration = |info: &DebugInfo<'_>, place| {
                info.entry(place)
                    .is_some_and(|entry| entry.tag() == gimli::DW_TAG_enumeration_type)
            };
            if is_enumeration(self.target, pair.target) {
                self.enumerations(&pair);
            } else {
                self.aggregates(&pair);
                self.virtual_tables(&pair);
            }
        }
    }

    fn same(&mut self, target: Option<Place>, patch: Option<Place>, root: &str, depth: u32) -> bool {
        let (Some(old), Some(new)) = (shape::shape(self.target, target), shape::shape(self.patch, patch)) else {
            return shape::bare(self.target, target).is_none() == shape::bare(self.patch, patch).is_none();
        };
        if depth == 0 {
            return true;
        }
        let enumeration = |place| shape::bytes(self.target, place);
        match (old, new) {
            (Shape::Base { bytes: a, class: b }, Shape::Base { bytes: c, class: d }) => {
                let letters = a == 1
                    && [b, d]
                        .iter()
                        .all(|class| matches!(class, Class::Signed | Class::Unsigned));
                a == c && (b == d || letters)
            }
            (Shape::Pointer(old), Shape::Pointer(new)) => {
                // What a pointer to void leads to is known to nobody.
                let void = shape::shape(self.target, old).is_none() || shape::shape(self.patch, new).is_none();
                void || self.pointees(old, new, root, depth - 1)
            }
            (Shape::Aggregate(old), Shape::Aggregate(new)) => self.queue((old, target), (new, patch), root),
            (Shape::Enumeration(old), Shape::Enumeration(new)) => self.queue((old, target), (new, patch), root),
            (Shape::Enumeration(place), Shape::Base { bytes, .. }) => enumeration(place).is_none_or(|own| own == bytes),
            (Shape::Base { bytes, .. }, Shape::Enumeration(place)) => {
                shape::bytes(self.patch, place).is_none_or(|own| own == bytes)
            }
            (Shape::Array { element: a, counts: m }, Shape::Array { element: b, counts: n }) => {
                let length = |(old, new): (&Option<u64>, &Option<u64>)| old == new || old.is_none() || new.is_none();
                m.len() == n.len() && m.iter().zip(&n).all(length) && self.same(a, b, root, depth - 1)
            }
            (Shape::Function(old), Shape::Function(new)) => {
                let (old, new) = (shape::signature(self.target, old), shape::signature(self.patch, new));
                let parameters = old.parameters.iter().zip(&new.parameters);
                let unknown = !(old.is_known && new.is_known);
                self.same(old.result, new.result, root, depth - 1)
                    && (unknown || old.parameters.len() == new.parameters.len())
                    && parameters
                        .into_iter()
                        .all(|((_, a), (_, b))| self.same(*a, *b, root, depth - 1))
            }
            (Shape::Other(a, m), Shape::Other(b, n)) => a == b && m == n,
            _ => false,
        }
    }

    /// Behind a pointer, the sign of an integer changes no layout.
    fn pointees(&mut self, target: Option<Place>, patch: Option<Place>, root: &str, depth: u32) -> bool {
        let integer = |class| matches!(class, Class::Signed | Class::Unsigned);
        match (shape::shape(self.target, target), shape::shape(self.patch, patch)) {
            (Some(Shape::Base { bytes: a, class: b }), Some(Shape::Base { bytes: c, class: d }))
                if integer(b) && integer(d) =>
            {
                a == c
            }
            _ => self.same(target, patch, root, depth),
        }
    }

    /// Notes two structures or enumerations for later. Says whether they are of the same name, or could be renamed.
    fn queue(&mut self, target: (Place, Option<Place>), patch: (Place, Option<Place>), root: &str) -> bool {
        let label = |info: &DebugInfo<'_>, (place, named): (Place, Option<Place>)| {
            let own = shape::describe(info, Some(place));
            if own.ends_with("without a name") {
                shape::describe(info, named).replace("const ", "")
            } else {
                own
            }
        };
        let (old, new) = (label(self.target, target), label(self.patch, patch));
        let word = |label: &str| {
            label
                .split_once(' ')
                .map_or(label.to_owned(), |(_, name)| name.to_owned())
        };
        let Some((target, patch)) = self.completed(target.0, patch.0, &old) else {
            if !shape::is_opaque(self.target, target.0) {
                self.named_only.insert(old.clone());
            }
            return word(&old) == word(&new);
        };
        if word(&old) != word(&new) && !self.could_be_renamed(target, patch) {
            return false;
        }
        if self.seen.insert((target, patch)) {
            self.waiting.push_back(Pair {
                target,
                patch,
                label: new,
                root: root.to_owned(),
            });
        }
        true
    }

    /// Both types in full. `None` where one of them is not to be known.
    fn completed(&self, target: Place, patch: Place, label: &str) -> Option<(Place, Place)> {
        if shape::is_opaque(self.patch, patch) {
            return None;
        }
        if !shape::is_opaque(self.target, target) {
            return Some((target, patch));
        }
        // Another file of the target has it, or several that agree.
        let others = self.complete.get(label)?;
        let first = *others.first()?;
        let alike = |other: &Place| self.looks_like(first, *other);
        others.iter().all(alike).then_some((first, patch))
    }

    fn looks_like(&self, one: Place, other: Place) -> bool {
        let members = |place| shape::members(self.target, place);
        let (a, b) = (members(one), members(other));
        shape::bytes(self.target, one) == shape::bytes(self.target, other)
            && a.len() == b.len()
            && a.iter().zip(&b).all(|(a, b)| a.name == b.name && a.at == b.at)
    }

    fn could_be_renamed(&self, target: Place, patch: Place) -> bool {
        let (a, b) = (shape::members(self.target, target), shape::members(self.patch, patch));
        shape::bytes(self.target, target) == shape::bytes(self.patch, patch)
            && a.len() == b.len()
            && a.iter().zip(&b).all(|(a, b)| a.at == b.at && a.bits == b.bits)
    }

    fn aggregates(&mut self, pair: &Pair) {
        let mut differences = Vec::new();
        let (old, new) = (
            shape::bytes(self.target, pair.target),
            shape::bytes(self.patch, pair.patch),
        );
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            differences.push(format!("size {old} in the target, {new} in the patch"));
        }
        let theirs = shape::members(self.target, pair.target);
        let ours = shape::members(self.patch, pair.patch);
        let mut taken = vec![false; ours.len()];
        let mut gone = Vec::new();
        for (at, old) in theirs.iter().enumerate() {
            let found = counterpart(old, &theirs[..at], &ours, &taken);
            let Some(found) = found else {
                gone.push(old);
                continue;
            };
            taken[found] = true;
            differences.extend(self.member(old, &ours[found], pair));
        }
        for old in gone {
            // One at the same place has another name, or is what became of it.
            let place = |new: &Member| old.at.is_some() && (new.at, new.bits) == (old.at, old.bits);
            let renamed = (0..ours.len()).find(|index| !taken[*index] && place(&ours[*index]));
            let Some(renamed) = renamed else {
                differences.push(format!("{} at {} is gone", title(old), position(old)));
                continue;
            };
            taken[renamed] = true;
            let new = &ours[renamed];
            if !self.same(old.kind, new.kind, &pair.root, DEEPEST) {
                let (a, b) = self.names(old.kind, new.kind);
                differences.push(format!(
                    "at {}, {} is {a}, then {} is {b}",
                    position(old),
                    title(old),
                    title(new)
                ));
            }
        }
        for (new, _) in ours.iter().zip(&taken).filter(|(_, taken)| !**taken) {
            differences.push(format!("{} at {} is added", title(new), position(new)));
        }
        self.tell("layout", pair, differences);
    }

    fn member(&mut self, old: &Member, new: &Member, pair: &Pair) -> Option<String> {
        if old.at != new.at {
            return Some(format!("{} at {}, then {}", title(old), position(old), position(new)));
        }
        if old.bits != new.bits {
            let bits = |member: &Member| member.bits.map_or_else(|| "all".into(), |bits| bits.to_string());
            return Some(format!("{} has {} bits, then {}", title(old), bits(old), bits(new)));
        }
        if self.same(old.kind, new.kind, &pair.root, DEEPEST) {
            return None;
        }
        let (a, b) = self.names(old.kind, new.kind);
        Some(format!("{} is {a}, then {b}", title(old)))
    }

    fn enumerations(&mut self, pair: &Pair) {
        let mut differences = Vec::new();
        let (old, new) = (
            shape::bytes(self.target, pair.target),
            shape::bytes(self.patch, pair.patch),
        );
        if old != new {
            let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "?".into(), |bytes| bytes.to_string());
            differences.push(format!(
                "size {} in the target, {} in the patch",
                bytes(old),
                bytes(new)
            ));
        }
        let ours: HashMap<String, u64> = shape::enumerators(self.patch, pair.patch).into_iter().collect();
        for (name, old) in shape::enumerators(self.target, pair.target) {
            if let Some(new) = ours.get(&name)
                && *new != old
            {
                differences.push(format!("{name} is {}, then {}", old.cast_signed(), new.cast_signed()));
            }
        }
        self.tell("enum", pair, differences);
    }

    fn virtual_tables(&mut self, pair: &Pair) {
        let theirs = shape::virtual_functions(self.target, pair.target);
        let ours = shape::virtual_functions(self.patch, pair.patch);
        let mut differences = Vec::new();
        for (at, name) in &theirs {
            match ours.iter().find(|(_, other)| other == name) {
                Some((new, _)) if new != at => differences.push(format!("{name} at {at}, then {new}")),
                Some(_) => {}
                None => differences.push(format!("{name} at {at} is gone")),
            }
        }
        for (at, name) in ours {
            if !theirs.iter().any(|(_, other)| *other == name) {
                differences.push(format!("{name} at {at} is added"));
            }
        }
        self.tell("vtable", pair, differences);
    }

    fn tell(&mut self, code: &'static str, pair: &Pair, mut differences: Vec<String>) {
        if differences.is_empty() {
            return;
        }
        if differences.len() > SHOWN {
            let more = differences.len() - SHOWN;
            differences.truncate(SHOWN);
            differences.push(format!("and {more} more"));
        }
        let what = match code {
            "vtable" => "the places in its table of virtual functions: ",
            _ => "",
        };
        let differences = format!("{what}{}", differences.join("; "));
        let key = (code, pair.label.clone(), differences.clone());
        if self.told.insert(key) {
            self.refusals.push(Refusal::new(
                code,
                pair.label.clone(),
                format!("{differences} (reached from {})", pair.root),
            ));
        }
    }
}

/// The member of the patch that is the one of the target: by name; those without one in order.
fn counterpart(old: &Member, before: &[Member], ours: &[Member], taken: &[bool]) -> Option<usize> {
    match &old.name {
        Some(name) => (0..ours.len()).find(|index| !taken[*index] && ours[*index].name.as_ref() == Some(name)),
        None => {
            let number = before.iter().filter(|member| member.name.is_none()).count();
            let mut unnamed = (0..ours.len()).filter(|index| ours[*index].name.is_none());
            unnamed.nth(number)
        }
    }
}

fn title(member: &Member) -> String {
    match &member.name {
        Some(name) if name.starts_with("base ") => name.clone(),
        Some(name) => format!("member '{name}'"),
        None => "the member without a name".into(),
    }
}

fn position(member: &Member) -> String {
    match (member.at, member.bits) {
        (None, _) => "a place that the object says".into(),
        (Some(at), None) if at.is_multiple_of(8) => (at / 8).to_string(),
        (Some(at), _) => format!("bit {at}"),
    }
}
