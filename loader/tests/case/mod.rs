//! One case of a source: its directives, and what they ask for. `link.rs` describes them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use restub_loader::{
    BufferMemory, CopyRule, Detail, FunctionArray, Image, Input, Options, Request, Resolver, SegmentKind,
    SymbolBinding, SymbolKind, Target, TargetKind, link,
};

use crate::toolchain::{self, Patch};

/// A case that can be run.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    source: PathBuf,
    compiler: String,
    directives: Directives,
}

#[derive(Debug, Clone, Default)]
struct Directives {
    compilers: Vec<String>,
    flags: Vec<String>,
    parts: Option<u32>,
    archives: Vec<Vec<u32>>,
    fallback: Vec<u32>,
    retype: Vec<(u32, u32)>,
    at: Option<u64>,
    define: Vec<(String, Target)>,
    earlier: Vec<(String, Target)>,
    checks: Vec<String>,
    symbols: Vec<String>,
    absent: Vec<String>,
    arrays: Vec<(ArrayName, Vec<String>)>,
    errors: Vec<String>,
    run: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ArrayName {
    Preinit,
    Init,
    Fini,
}

/// The cases of a source.
pub(crate) fn read(source: &Path) -> Vec<Case> {
    let stem = stem(source);
    let text = std::fs::read_to_string(source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
    let mut common = Directives::default();
    let mut named: Vec<(String, Directives)> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("//#")) {
        let (word, value) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("{stem}: directive without a colon: {line}"));
        let value = value.trim();
        if word == "Case" {
            named.push((format!("{stem}/{value}"), common.clone()));
            continue;
        }
        let directives = named.last_mut().map_or(&mut common, |(_, directives)| directives);
        directives
            .add(word, value)
            .unwrap_or_else(|e| panic!("{stem}: {line}: {e}"));
    }
    if named.is_empty() {
        named.push((stem, common));
    }
    let mut cases = Vec::new();
    for (name, mut directives) in named {
        if directives.compilers.is_empty() {
            let default = match source.extension().and_then(|e| e.to_str()) {
                Some("s") => "as",
                Some("c") => "gcc",
                _ => "g++",
            };
            directives.compilers.push(default.to_owned());
        }
        let several = directives.compilers.len() > 1;
        for compiler in &directives.compilers {
            cases.push(Case {
                name: if several {
                    format!("{name} ({compiler})")
                } else {
                    name.clone()
                },
                source: source.to_owned(),
                compiler: compiler.clone(),
                directives: directives.clone(),
            });
        }
    }
    cases
}

fn stem(source: &Path) -> String {
    source.file_stem().expect("a file").to_string_lossy().into_owned()
}

impl Directives {
    fn add(&mut self, word: &str, value: &str) -> Result<(), String> {
        let words = || value.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let numbers = || {
            value
                .split_whitespace()
                .map(|n| number(n).map(|n| n as u32))
                .collect::<Result<Vec<_>, _>>()
        };
        match word {
            "Compilers" => self.compilers = words(),
            "Flags" => self.flags.extend(words()),
            "Parts" => self.parts = Some(number(value)? as u32),
            "Archive" => self.archives.push(numbers()?),
            "Fallback" => self.fallback = numbers()?,
            "Retype" => match numbers()?[..] {
                [old, new] => self.retype.push((old, new)),
                _ => return Err("two numbers, please".into()),
            },
            "At" => self.at = Some(number(value)?),
            "Define" => self.define.push(definition(value)?),
            "Earlier" => self.earlier.push(definition(value)?),
            "Check" => self.checks.push(value.to_owned()),
            "Symbol" => self.symbols.push(value.to_owned()),
            "Absent" => self.absent.push(value.to_owned()),
            "Preinit" => self.arrays.push((ArrayName::Preinit, words())),
            "Init" => self.arrays.push((ArrayName::Init, words())),
            "Fini" => self.arrays.push((ArrayName::Fini, words())),
            "ExpectError" => self.errors.push(value.to_owned()),
            "Run" => self.run = Some(value.parse().map_err(|_| "no number")?),
            _ => return Err("unknown directive".into()),
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    }
    .map_err(|_| format!("{text} is no number"))?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

fn definition(text: &str) -> Result<(String, Target), String> {
    let (name, rest) = text.split_once('=').ok_or("NAME=ADDR, please")?;
    let words: Vec<_> = rest.split_whitespace().collect();
    let (address, kind) = words.split_first().ok_or("no address")?;
    let (size, kind) = match *kind {
        [] | ["absolute"] => (0, TargetKind::Absolute),
        ["function"] => (0, TargetKind::Function),
        ["data", size] => (number(size)?, TargetKind::Data(CopyRule::Harmless)),
        ["stale", size] => (number(size)?, TargetKind::Data(CopyRule::Stale)),
        ["zeroed", size] => (number(size)?, TargetKind::Data(CopyRule::Zeroed)),
        ["tls", module, "none"] => (
            0,
            TargetKind::Tls {
                module: number(module)?,
                block_offset: None,
            },
        ),
        ["tls", module, block] => (
            0,
            TargetKind::Tls {
                module: number(module)?,
                block_offset: Some(number(block)?.cast_signed()),
            },
        ),
        _ => return Err("unknown kind".into()),
    };
    let address = number(address)?;
    Ok((name.to_owned(), Target { address, size, kind }))
}

/// Resolves the names that the directives define.
struct Definitions {
    define: HashMap<Vec<u8>, Target>,
    earlier: HashMap<Vec<u8>, Target>,
}

impl Resolver for Definitions {
    fn earlier(&mut self, name: &[u8]) -> Option<Target> {
        self.earlier.get(name).copied()
    }

    fn external(&mut self, request: Request<'_>) -> Option<Target> {
        let mut name = request.name.to_vec();
        if let Some(version) = request.version {
            name.push(b'@');
            name.extend(version);
        }
        self.define.get(&name).copied()
    }
}

impl Case {
    /// Compiles, links and checks.
    pub(crate) fn run(&self) -> Result<(), String> {
        let objects = self.compile()?;
        let (inputs, fallback) = self.inputs(&objects)?;
        let map = |list: &[(String, Target)]| list.iter().map(|(n, t)| (n.clone().into_bytes(), *t)).collect();
        let mut resolver = Definitions {
            define: map(&self.directives.define),
            earlier: map(&self.directives.earlier),
        };
        let ground = Ground::new()?;
        let at = match (self.directives.run, self.directives.at) {
            (Some(_), _) => ground.address(),
            (None, at) => at.unwrap_or(0x1000_0000),
        };
        let mut memory = BufferMemory::at(at);
        let options = Options {
            detail: Detail::Full,
            trace: true,
            ..Options::default()
        };
        let image = link(&inputs, || &fallback[..], &mut resolver, &mut memory, &options);
        if !self.directives.errors.is_empty() {
            let error = match image {
                Ok(_) => return Err("the link succeeded, but was expected to fail".into()),
                Err(error) => error.to_string(),
            };
            for pattern in &self.directives.errors {
                let regex = Regex::new(pattern).map_err(|e| e.to_string())?;
                if !regex.is_match(&error) {
                    return Err(format!("error:    {error}\nexpected: {pattern}"));
                }
            }
            return Ok(());
        }
        let image = image.map_err(|e| e.to_string())?;
        let linked = Linked {
            image: &image,
            memory: &memory,
            defined: &self.directives.define,
        };
        linked.check_all(&self.directives)?;
        match self.directives.run {
            Some(expected) => ground.run(&linked, expected),
            None => Ok(()),
        }
    }

    fn compile(&self) -> Result<Vec<Vec<u8>>, String> {
        let parts: Vec<Option<u32>> = match self.directives.parts {
            None => vec![None],
            Some(count) => (1..=count).map(Some).collect(),
        };
        let mut objects = Vec::new();
        for part in parts {
            let mut object = toolchain::compile(&self.compiler, &self.source, &self.directives.flags, part)?;
            for (old, new) in &self.directives.retype {
                Patch(&mut object).retype(*old, *new);
            }
            objects.push(object);
        }
        Ok(objects)
    }

    fn inputs<'a>(&self, objects: &'a [Vec<u8>]) -> Result<(Vec<Input<'a>>, Vec<Input<'a>>), String> {
        let stem = stem(&self.source);
        let name = |part: u32, ending: &str| match self.directives.parts {
            None => format!("{stem}.{ending}"),
            Some(_) => format!("{stem}-{part}.{ending}"),
        };
        let archive = |members: &[u32]| {
            let names: Vec<String> = members.iter().map(|part| name(*part, "o")).collect();
            let members_bytes: Vec<_> = names
                .iter()
                .zip(members)
                .map(|(name, part)| (name.as_str(), objects[*part as usize - 1].as_slice()))
                .collect();
            let (_folder, path) = toolchain::archive(&["ar", "rc"], &members_bytes);
            let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
            Ok::<_, String>(Input::from_bytes(name(members[0], "a"), bytes))
        };
        let mut inputs = Vec::new();
        for (index, object) in objects.iter().enumerate() {
            let part = index as u32 + 1;
            let member = |list: &Vec<u32>| list.contains(&part);
            if let Some(list) = self.directives.archives.iter().find(|list| list[0] == part) {
                inputs.push(archive(list)?);
            } else if !self.directives.archives.iter().any(member) && !member(&self.directives.fallback) {
                inputs.push(Input::from_bytes(name(part, "o"), object.as_slice()));
            }
        }
        let fallback = match self.directives.fallback[..] {
            [] => Vec::new(),
            ref members => vec![archive(members)?],
        };
        Ok((inputs, fallback))
    }
}

/// An image with its bytes, for checks.
struct Linked<'a> {
    image: &'a Image,
    memory: &'a BufferMemory,
    defined: &'a [(String, Target)],
}

impl Linked<'_> {
    fn check_all(&self, directives: &Directives) -> Result<(), String> {
        let mut failures = Vec::new();
        for check in &directives.checks {
            if let Err(error) = self.check(check) {
                failures.push(format!("{check}: {error}"));
            }
        }
        for symbol in &directives.symbols {
            if let Err(error) = self.check_symbol(symbol) {
                failures.push(format!("{symbol}: {error}"));
            }
        }
        for name in &directives.absent {
            if let Ok(address) = self.name(name, None) {
                failures.push(format!("{name} exists, at {address:#x}"));
            }
        }
        for (kind, functions) in &directives.arrays {
            if let Err(error) = self.check_array(*kind, functions) {
                failures.push(error);
            }
        }
        if failures.is_empty() {
            return Ok(());
        }
        failures.push(self.describe());
        Err(failures.join("\n"))
    }

    fn check(&self, text: &str) -> Result<(), String> {
        let (place, expected) = text.split_once('=').ok_or("PLACE = VALUE, please")?;
        let (first, rest) = place.trim().split_once(' ').unwrap_or((place.trim(), ""));
        let (width, place) = match first {
            "u8" => (Some(1), rest),
            "u16" => (Some(2), rest),
            "u32" => (Some(4), rest),
            "u64" => (Some(8), rest),
            "address" => (None, rest),
            _ => return self.check_bytes(place, expected),
        };
        let address = self.evaluate(place, None)?;
        let expected = self.evaluate(expected, Some(address))?;
        let Some(width) = width else {
            return equal(address, expected);
        };
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&self.read(address, width)?);
        let mask = u64::MAX >> (64 - 8 * width);
        equal(u64::from_le_bytes(bytes), expected & mask)
    }

    fn check_bytes(&self, place: &str, expected: &str) -> Result<(), String> {
        let expected: Vec<&str> = expected.split_whitespace().collect();
        let found = self.read(self.evaluate(place, None)?, expected.len())?;
        for (found_byte, byte) in found.iter().zip(&expected) {
            if *byte != "??" && u8::from_str_radix(byte, 16).map_err(|e| e.to_string())? != *found_byte {
                return Err(format!("found {found:02x?}"));
            }
        }
        Ok(())
    }

    fn check_symbol(&self, text: &str) -> Result<(), String> {
        let words: Vec<_> = text.split_whitespace().collect();
        let [name, kind, binding] = words[..] else {
            return Err("NAME KIND BINDING, please".into());
        };
        let symbol = self.image.symbols.iter().find(|symbol| &*symbol.name == name);
        let symbol = symbol.ok_or("the image has no such symbol")?;
        let found_kind = match symbol.kind {
            SymbolKind::Function => "function",
            SymbolKind::Data => "data",
            SymbolKind::Tls => "tls",
            SymbolKind::Absolute => "absolute",
            SymbolKind::Synthetic => "synthetic",
        };
        let found_binding = match symbol.binding {
            SymbolBinding::Local => "local",
            SymbolBinding::Strong => "strong",
            SymbolBinding::Weak => "weak",
        };
        if (found_kind, found_binding) == (kind, binding) {
            Ok(())
        } else {
            Err(format!("it is {found_kind} {found_binding}"))
        }
    }

    fn check_array(&self, kind: ArrayName, expected: &[String]) -> Result<(), String> {
        let arrays = match kind {
            ArrayName::Preinit => &self.image.preinit,
            ArrayName::Init => &self.image.init,
            ArrayName::Fini => &self.image.fini,
        };
        let mut found = Vec::new();
        for FunctionArray {
            address,
            count,
            backwards,
        } in arrays
        {
            let mut pointers = Vec::new();
            for index in 0..*count {
                let bytes = self.read(address + index * 8, 8)?;
                pointers.push(u64::from_le_bytes(bytes.try_into().expect("8 bytes")));
            }
            if *backwards {
                pointers.reverse();
            }
            found.extend(pointers);
        }
        if kind == ArrayName::Fini {
            found.reverse();
        }
        let expected_addresses = expected
            .iter()
            .map(|name| self.name(name, None))
            .collect::<Result<Vec<_>, _>>()?;
        if found == expected_addresses {
            return Ok(());
        }
        let names = found.iter().map(|address| {
            let symbol = self.image.symbols.iter().find(|s| s.address == *address);
            symbol.map_or_else(|| format!("{address:#x}"), |symbol| symbol.name.to_string())
        });
        let names: Vec<_> = names.collect();
        Err(format!("{kind:?}: found {names:?}, expected {expected:?}"))
    }

    fn evaluate(&self, text: &str, here: Option<u64>) -> Result<u64, String> {
        let mut value = 0_u64;
        let mut rest = text.trim();
        let mut negative = false;
        if let Some(tail) = rest.strip_prefix('-') {
            (negative, rest) = (true, tail);
        }
        loop {
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            let term = self.name(rest[..end].trim(), here)?;
            value = if negative {
                value.wrapping_sub(term)
            } else {
                value.wrapping_add(term)
            };
            let Some(operator) = rest[end..].chars().next() else {
                return Ok(value);
            };
            negative = operator == '-';
            rest = &rest[end + 1..];
        }
    }

    fn name(&self, name: &str, here: Option<u64>) -> Result<u64, String> {
        if name.starts_with(|c: char| c.is_ascii_digit()) && !name.contains(':') {
            return number(name);
        }
        let tls = || self.image.tls.ok_or("the image has no thread-local block");
        match name {
            "here" => return here.ok_or_else(|| "`here` stands for a place".into()),
            "TP" => return Ok(tls()?.placement.block_offset.unwrap_or(0).cast_unsigned()),
            "MODULE" => return Ok(tls()?.placement.module),
            "TEMPLATE" => return Ok(tls()?.template),
            _ => {}
        }
        let (object, name) = match name.split_once(':') {
            Some((object, name)) => (Some(number(object)? as u32 - 1), name),
            None => (None, name),
        };
        let symbol = self
            .image
            .symbols
            .iter()
            .find(|symbol| &*symbol.name == name && object.is_none_or(|object| symbol.object == object));
        let section = self
            .image
            .sections
            .iter()
            .find(|section| &*section.name == name && (object.is_none() || section.object == object));
        let defined = self.defined.iter().find(|(defined, _)| defined == name);
        symbol
            .map(|symbol| symbol.address)
            .or_else(|| section.map(|section| section.address))
            .or_else(|| defined.map(|(_, target)| target.address))
            .ok_or_else(|| format!("{name} is neither symbol nor section"))
    }

    fn read(&self, address: u64, count: usize) -> Result<Vec<u8>, String> {
        for segment in SegmentKind::ALL {
            let start = self.image.placement.addresses[segment as usize];
            let size = self.image.placement.sizes[segment as usize].total_bytes;
            if address < start || address - start + count as u64 > size {
                continue;
            }
            let mut bytes = self.memory.bytes(segment);
            bytes = bytes.get((address - start) as usize..).unwrap_or_default();
            let mut found = bytes[..count.min(bytes.len())].to_vec();
            found.resize(count, 0);
            return Ok(found);
        }
        Err(format!("{address:#x} is outside of the image"))
    }

    fn describe(&self) -> String {
        let mut lines = Vec::new();
        for section in &self.image.sections {
            lines.push(format!("  {:#14x} section {}", section.address, section.name));
        }
        for symbol in &self.image.symbols {
            lines.push(format!("  {:#14x} symbol {}", symbol.address, symbol.name));
        }
        for applied in &self.image.relocations {
            lines.push(format!("  {applied:x?}"));
        }
        lines.join("\n")
    }
}

fn equal(found: u64, expected: u64) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("found {found:#x}, expected {expected:#x}"))
    }
}

/// Memory of this process for cases that run. They may write to their stack only.
struct Ground(memmap2::MmapMut);

impl Ground {
    const BYTES: usize = 1 << 20;

    fn new() -> Result<Ground, String> {
        memmap2::MmapMut::map_anon(Ground::BYTES)
            .map(Ground)
            .map_err(|e| e.to_string())
    }

    fn address(&self) -> u64 {
        self.0.as_ptr().addr() as u64
    }

    fn run(mut self, linked: &Linked<'_>, expected: i32) -> Result<(), String> {
        let start = self.address();
        let function = linked.name("run", None)?;
        for segment in SegmentKind::ALL {
            let bytes = linked.memory.bytes(segment);
            if !bytes.is_empty() {
                let offset = (linked.image.placement.addresses[segment as usize] - start) as usize;
                self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
        let code = self.0.make_exec().map_err(|e| e.to_string())?;
        let pointer = code.as_ptr().wrapping_add((function - start) as usize);
        // SAFETY: the case says that `run` is a function of this type; it was linked for the address of `code`, which
        // outlives the call.
        let run: extern "C" fn() -> i32 = unsafe { std::mem::transmute(pointer) };
        let found = run();
        if found == expected {
            Ok(())
        } else {
            Err(format!("run() returned {found}, expected {expected}"))
        }
    }
}
