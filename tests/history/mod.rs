//! Random histories of a session, beside a simple model of it: which module is there, what each name stands for, what each
//! function returns, and whether the unwinder knows it. The fuzz target `session_history` and a test share it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;
use std::fmt::Write as _;

use restub::loader::Input;
use restub::loader::fuzzing::Choices;
use restub::{Error, Linkage, ModuleId, Protection, Replace, Session, fault};

type Nullary = unsafe extern "C" fn() -> i32;

/// Names that modules share.
const NAMES: u64 = 5;
/// Operations of one history.
const MOST_OPERATIONS: usize = 40;

/// One function or variable of a module.
#[derive(Debug, Clone)]
enum Item {
    /// `fN`, which returns a number.
    Function { name: u64, weak: bool, value: i32 },
    /// `gM`, which returns what `fN` returns, and one more.
    Caller { name: u64 },
    /// `vN`, a variable, and `hM`, which reads it.
    Variable { name: u64, value: i32 },
    /// `tM`, which reads a thread-local variable.
    ThreadLocal { value: i32 },
    /// `cM`, which reads what a constructor has set.
    Constructed { value: i32 },
    /// A relocation whose value does not fit.
    Broken,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
struct Definition {
    module: u64,
    weak: bool,
    value: i32,
}

/// A module of the model.
#[derive(Debug)]
struct Module {
    id: ModuleId,
    uses: BTreeSet<u64>,
    /// Functions that only this module defines, with what they return.
    own: Vec<(String, Value)>,
    /// What it stands for, and what stood for that before.
    changed: Vec<(String, Option<Definition>)>,
}

/// What a function returns.
#[derive(Debug, Clone)]
enum Value {
    Fixed(i32),
    /// One more than what a name stands for at the time of the call.
    Following(String),
}

/// The session that should be.
#[derive(Debug, Default)]
struct Model {
    modules: BTreeMap<u64, Module>,
    /// The definitions of each name; the last one counts.
    names: BTreeMap<String, Vec<Definition>>,
    /// Calls go through stubs, so that names may get another meaning.
    stubs: bool,
    /// Superseded versions that are kept.
    versions: usize,
    /// The system has refused something, which may have been to take memory back.
    was_refused: bool,
    next: u64,
}

/// What a load should do.
enum Plan {
    Refuse,
    Accept {
        uses: BTreeSet<u64>,
        own: Vec<(String, Value)>,
        publish: Vec<(String, Definition)>,
    },
}

impl Model {
    fn current(&self, name: &str) -> Option<Definition> {
        self.names.get(name)?.last().copied()
    }

    /// What a load, or a replacement, of these items should do.
    fn plan(&self, module: u64, items: &[Item], replace: bool) -> Plan {
        let mut uses = BTreeSet::new();
        let mut publish: Vec<(String, Definition)> = Vec::new();
        let mut own = Vec::new();
        for item in items {
            let (name, weak, value) = match item {
                Item::Function { name, weak, value } => (format!("f{name}"), *weak, *value),
                Item::Variable { name, value } => (format!("v{name}"), false, *value),
                Item::Broken => return Plan::Refuse,
                _ => continue,
            };
            match self.current(&name) {
                Some(old) if weak => {
                    uses.insert(old.module);
                }
                Some(old) if !old.weak && !replace => return Plan::Refuse,
                // A variable that is replaced stays where it is, with its value.
                Some(old) if name.starts_with('v') => {
                    uses.insert(old.module);
                }
                _ => publish.push((name, Definition { module, weak, value })),
            }
        }
        let find = |name: &str, uses: &mut BTreeSet<u64>| {
            if let Some((_, definition)) = publish.iter().find(|(own, _)| own == name) {
                return Some(definition.value);
            }
            let old = self.current(name)?;
            uses.insert(old.module);
            Some(old.value)
        };
        for item in items {
            match item {
                Item::Caller { name } => {
                    let name = format!("f{name}");
                    let Some(value) = find(&name, &mut uses) else {
                        return Plan::Refuse;
                    };
                    let value = if self.stubs {
                        Value::Following(name)
                    } else {
                        Value::Fixed(value + 1)
                    };
                    own.push((format!("g{module}"), value));
                }
                Item::Variable { name, .. } => {
                    let value = find(&format!("v{name}"), &mut uses).unwrap_or_default();
                    own.push((format!("h{module}"), Value::Fixed(value)));
                }
                Item::ThreadLocal { value } => own.push((format!("t{module}"), Value::Fixed(*value))),
                Item::Constructed { value } => own.push((format!("c{module}"), Value::Fixed(*value))),
                Item::Function { .. } | Item::Broken => {}
            }
        }
        Plan::Accept { uses, own, publish }
    }

    fn accept(&mut self, key: u64, mut module: Module, publish: Vec<(String, Definition)>, replace: bool) {
        for (name, definition) in publish {
            module.changed.push((name.clone(), self.current(&name)));
            let definitions = self.names.entry(name).or_default();
            if replace {
                definitions.clear();
            }
            definitions.push(definition);
        }
        self.modules.insert(key, module);
    }

    /// Takes a replacement back.
    fn roll_back(&mut self, key: u64) {
        let module = self.modules.remove(&key).expect("it is there");
        for (name, before) in module.changed {
            // What was new in it, and has been superseded since, is not its own any more.
            if self.current(&name).is_none_or(|now| now.module != key) {
                continue;
            }
            match before {
                Some(definition) => self.names.insert(name, vec![definition]),
                None => self.names.remove(&name),
            };
        }
    }

    /// Whether a replacement can be taken back for sure: nothing was loaded since, it brought no new name, and what it
    /// replaced was not unloaded.
    fn can_roll_back(&self, key: u64) -> bool {
        let changed = &self.modules[&key].changed;
        let is_loaded = |before: &Definition| self.modules.contains_key(&before.module);
        let all_before = changed.iter().all(|(_, before)| before.as_ref().is_some_and(is_loaded));
        self.versions > 0 && key + 1 == self.next && !changed.is_empty() && all_before
    }

    /// Whether what a module stands for is called, or used, by another one.
    fn is_followed(&self, key: u64) -> bool {
        let of_module = |name: &String| self.current(name).is_some_and(|definition| definition.module == key);
        let mut others = self.modules.iter().filter(|(other, _)| **other != key);
        others.any(|(_, module)| {
            let mut own = module.own.iter();
            own.any(|(_, value)| matches!(value, Value::Following(name) if of_module(name)))
        })
    }

    fn remove(&mut self, key: u64) {
        self.modules.remove(&key);
        for definitions in self.names.values_mut() {
            definitions.retain(|definition| definition.module != key);
        }
        self.names.retain(|_, definitions| !definitions.is_empty());
    }

    fn is_used(&self, key: u64) -> bool {
        self.modules
            .iter()
            .any(|(other, module)| *other != key && module.uses.contains(&key))
    }

    fn symbols(&self) -> usize {
        self.names.len() + self.modules.values().map(|module| module.own.len()).sum::<usize>()
    }

    /// Compares the session with the model.
    fn compare(&self, session: &Session) {
        if !self.stubs {
            let ids: Vec<ModuleId> = self.modules.values().map(|module| module.id).collect();
            assert_eq!(session.modules(), ids, "{self:#?}");
            let stats = session.stats();
            assert_eq!((stats.modules, stats.symbols), (ids.len(), self.symbols()), "{self:#?}");
            let may_hold = self.was_refused || !ids.is_empty();
            assert!(stats.image_bytes == 0 || may_hold, "{stats:?}");
        }
        let names = (0..NAMES).flat_map(|name| [format!("f{name}"), format!("v{name}")]);
        for name in names {
            let symbol = session.symbol(&name);
            let definition = self.current(&name);
            assert_eq!(symbol.is_some(), definition.is_some(), "{name}: {symbol:?}\n{self:#?}");
            if let (Some(definition), true) = (definition, name.starts_with('f')) {
                assert_eq!(call(session, &name), definition.value, "{name}\n{self:#?}");
                self.check_unwinding(session, &name);
            }
        }
        for (name, value) in self.modules.values().flat_map(|module| &module.own) {
            let expected = match value {
                Value::Fixed(value) => *value,
                Value::Following(name) => self.current(name).map_or(0, |definition| definition.value) + 1,
            };
            assert_eq!(call(session, name), expected, "{name}\n{self:#?}");
            self.check_unwinding(session, name);
        }
    }

    /// Frames of a function can be unwound. Where names stand for stubs, it is not known here what they lead to.
    fn check_unwinding(&self, session: &Session, name: &str) {
        if !self.stubs {
            let address = session.symbol(name).expect("it was called").address;
            assert_eq!(unwinds_as(address), Some(address), "{name}\n{self:#?}");
        }
    }

    /// Where the functions are that a module defines.
    fn functions(&self, session: &Session, key: u64) -> Vec<u64> {
        let published = self.names.iter().filter(|(name, definitions)| {
            name.starts_with('f') && definitions.last().is_some_and(|last| last.module == key)
        });
        let own = self.modules[&key].own.iter().map(|(name, _)| name);
        let names = published.map(|(name, _)| name).chain(own);
        names
            .map(|name| session.symbol(name).expect("it is there").address)
            .collect()
    }
}

/// The beginning of the function that the unwinder takes a place in the code for.
fn unwinds_as(address: u64) -> Option<u64> {
    unsafe extern "C" {
        /// libgcc's unwind-dw2-fde.h: the bases are those of text, of data and of the function.
        fn _Unwind_Find_FDE(pc: u64, bases: &mut [u64; 3]) -> *const c_void;
    }
    let mut bases = [0; 3];
    // SAFETY: it looks the address up in tables, all of them of code that is there.
    let record = unsafe { _Unwind_Find_FDE(address, &mut bases) };
    (!record.is_null()).then_some(bases[2])
}

fn call(session: &Session, name: &str) -> i32 {
    // SAFETY: all functions of the histories have this type.
    let function = unsafe { session.function::<Nullary>(name) };
    let function = function.unwrap_or_else(|error| panic!("{name}: {error}"));
    // SAFETY: they only read what is theirs.
    unsafe { function() }
}

/// The items of a module, each kind once and each name once.
fn items(choices: &mut Choices<'_>, stubs: bool) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for _ in 0..=choices.below(4) {
        let (name, value) = (choices.below(NAMES), choices.below(1000) as i32);
        let item = match choices.below(12) {
            0..=4 => Item::Function {
                name,
                weak: !stubs && choices.once_in(3),
                value,
            },
            5..=7 => Item::Caller { name },
            8 => Item::Variable { name, value },
            9 => Item::ThreadLocal { value },
            10 => Item::Constructed { value },
            11 if choices.once_in(4) => Item::Broken,
            _ => continue,
        };
        let same = |other: &Item| match (other, &item) {
            (Item::Function { name: one, .. }, Item::Function { name: other, .. }) => one == other,
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        };
        if !items.iter().any(same) {
            items.push(item);
        }
    }
    items
}

/// The object of some items.
fn object(module: u64, items: &[Item]) -> Input<'static> {
    // Static variables of the same file are the same variables.
    let mut text = format!("    .file \"m{module}.s\"\n    .text\n");
    let mut function = |binding: &str, name: &str, body: &str| {
        let _ = writeln!(
            text,
            "    .{binding} {name}\n    .type {name}, @function\n{name}:\n    .cfi_startproc\n{body}    ret\n    \
             .cfi_endproc\n    .size {name}, .-{name}"
        );
    };
    for item in items {
        match item {
            Item::Function { name, weak, value } => {
                let binding = if *weak { "weak" } else { "globl" };
                function(binding, &format!("f{name}"), &format!("    mov ${value}, %eax\n"));
            }
            Item::Caller { name } => {
                let body = format!(
                    "    sub $8, %rsp\n    .cfi_adjust_cfa_offset 8\n    call f{name}@PLT\n    add $8, %rsp\n    \
                     .cfi_adjust_cfa_offset -8\n    add $1, %eax\n"
                );
                function("globl", &format!("g{module}"), &body);
            }
            Item::Variable { name, .. } => {
                let body = format!("    mov v{name}@GOTPCREL(%rip), %rax\n    mov (%rax), %eax\n");
                function("globl", &format!("h{module}"), &body);
            }
            Item::ThreadLocal { .. } => {
                let body = "    sub $8, %rsp\n    data16 lea .Ltls@TLSGD(%rip), %rdi\n    .value 0x6666\n    rex64\n    \
                            call __tls_get_addr@PLT\n    add $8, %rsp\n    mov (%rax), %eax\n";
                function("globl", &format!("t{module}"), &body.replace(".Ltls", "local"));
            }
            Item::Constructed { value } => {
                let body = "    mov cell(%rip), %eax\n";
                function("globl", &format!("c{module}"), body);
                function("local", "start", &format!("    addl ${value}, cell(%rip)\n"));
            }
            Item::Broken => function("local", "broken", "    mov $0, %eax\n"),
        }
    }
    for item in items {
        let _ = match item {
            Item::Variable { name, value } => writeln!(
                text,
                "    .data\n    .globl v{name}\n    .type v{name}, @object\n    .size v{name}, 4\nv{name}: .long {value}"
            ),
            Item::ThreadLocal { value } => writeln!(
                text,
                "    .section .tdata,\"awT\",@progbits\n    .type local, @object\n    .size local, 4\nlocal: .long {value}"
            ),
            Item::Constructed { .. } => writeln!(
                text,
                "    .section .init_array,\"aw\",@init_array\n    .quad start\n    .bss\n    .local cell\ncell: .zero 4"
            ),
            Item::Broken => writeln!(text, "    .data\n    .byte broken"),
            _ => Ok(()),
        };
    }
    let assembled = restub_asm::assemble(&text, &restub_asm::Options::default());
    Input::from_bytes(
        format!("m{module}.o"),
        assembled.unwrap_or_else(|errors| panic!("{errors}\n{text}")),
    )
}

/// A history that follows from bytes.
///
/// # Panics
/// If the session is not what the model says.
pub fn check_history(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let protection = *choices.pick(&[Protection::Strict, Protection::Fast, Protection::Private]);
    let stubs = protection != Protection::Private && choices.once_in(3);
    let versions = *choices.pick(&[0, 1, MOST_OPERATIONS]);
    let builder = Session::builder().protection(protection).versions(versions);
    let session = if stubs {
        builder.linkage(Linkage::Stubs)
    } else {
        builder
    }
    .build();
    let mut model = Model {
        stubs,
        versions,
        ..Model::default()
    };
    for _ in 0..choices.below(MOST_OPERATIONS as u64) {
        step(&session, &mut model, &mut choices);
        model.compare(&session);
    }
    // A session that is dropped unloads what is left; here it is done one by one, users first.
    while !stubs && let Some((&key, _)) = model.modules.iter().next_back() {
        unload(&session, &model, key).unwrap_or_else(|error| panic!("{error}\n{model:#?}"));
        model.remove(key);
        model.compare(&session);
    }
}

/// One of the modules.
fn pick(model: &Model, choices: &mut Choices<'_>) -> u64 {
    let keys: Vec<u64> = model.modules.keys().copied().collect();
    *choices.pick(&keys)
}

/// Unloads a module. When it is gone, its functions are not unwound any more.
fn unload(session: &Session, model: &Model, key: u64) -> Result<(), Error> {
    let functions = model.functions(session, key);
    // SAFETY: nothing of the module is running.
    unsafe { session.unload(model.modules[&key].id) }?;
    // With stubs the addresses are those of stubs, which stay.
    if !model.stubs {
        for address in functions {
            assert_eq!(unwinds_as(address), None, "{model:#?}");
        }
    }
    Ok(())
}

fn step(session: &Session, model: &mut Model, choices: &mut Choices<'_>) {
    match choices.below(8) {
        5 | 6 if !model.stubs && !model.modules.is_empty() => {
            let key = pick(model, choices);
            match (unload(session, model, key), model.is_used(key)) {
                (Ok(()), false) => model.remove(key),
                (Err(Error::InUse { .. }), true) => {}
                (result, used) => panic!("unload of {key}, used: {used}: {result:?}\n{model:#?}"),
            }
        }
        5 if choices.once_in(2) && !model.modules.is_empty() => {
            let key = pick(model, choices);
            match unload(session, model, key) {
                Ok(()) => {
                    assert!(!model.is_followed(key), "{key}\n{model:#?}");
                    model.remove(key);
                }
                // Superseded modules, of which the model knows nothing any more, may use it, too.
                Err(Error::InUse { .. }) => {}
                // All that it stood for was replaced.
                Err(Error::NoSuchModule) => {}
                Err(error) => panic!("unload of {key}: {error}\n{model:#?}"),
            }
        }
        6 if choices.once_in(2) && !model.modules.is_empty() => {
            let key = pick(model, choices);
            match session.rollback(model.modules[&key].id) {
                Ok(_) => model.roll_back(key),
                Err(Error::NoRollback(_) | Error::NoSuchModule) if !model.can_roll_back(key) => {}
                Err(error) => panic!("rollback of {key}: {error}\n{model:#?}"),
            }
        }
        7 => {
            let before = session.stats();
            let garbage = Input::from_bytes("garbage.o", choices.bytes(100));
            // SAFETY: it is refused.
            let result = unsafe { session.load(&[garbage]) };
            assert!(result.is_err(), "{result:?}");
            let after = session.stats();
            assert_eq!((after.modules, after.symbols), (before.modules, before.symbols));
            // What was replaced may have been reclaimed on the way.
            assert!(after.image_bytes <= before.image_bytes, "{after:?}");
        }
        operation => {
            let replace = model.stubs && operation >= 4;
            // Now and then the system refuses something on the way.
            let refused_call = choices.once_in(6).then(|| choices.below(16));
            load(session, model, &items(choices, model.stubs), replace, refused_call);
        }
    }
}

fn load(session: &Session, model: &mut Model, items: &[Item], replace: bool, refused_call: Option<u64>) {
    let key = model.next;
    model.next += 1;
    let inputs = [object(key, items)];
    if let Some(call) = refused_call {
        fault::fail_after(call);
    }
    let result = if replace {
        // SAFETY: no other thread is in the session, and all functions have the same type.
        unsafe { session.replace(&inputs, &Replace::new()) }.map(|report| report.module)
    } else {
        // SAFETY: the objects are made above.
        unsafe { session.load(&inputs) }
    };
    let refused = refused_call.is_some() && !fault::stop();
    // Memory that the system did not take back is given back by the next load that comes so far.
    model.was_refused = refused || (model.was_refused && result.is_err());
    match (result, model.plan(key, items, replace)) {
        (Err(_), Plan::Accept { .. }) if refused => {}
        (Ok(id), Plan::Accept { uses, own, publish }) => {
            model.accept(
                key,
                Module {
                    id,
                    uses,
                    own,
                    changed: Vec::new(),
                },
                publish,
                replace,
            );
        }
        (Err(_), Plan::Refuse) => {}
        (Ok(_), Plan::Refuse) => panic!("{items:?} should be refused\n{model:#?}"),
        (Err(error), Plan::Accept { .. }) => panic!("{items:?}: {error}\n{model:#?}"),
    }
}
