//! The executable and the shared libraries of a process, with all their symbols.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, Rela as _, SectionHeader as _, Sym as _};

use crate::debug_file::{self, DebugFile};
use crate::debug_parts;
use crate::error::{Error, Result};
use crate::procfs::{Mapping, Procfs};

type FileHeader = elf::FileHeader64<LE>;

/// What a symbol of the target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Function,
    /// A function that chooses one of several implementations when the program starts.
    Ifunc,
    Data,
    /// The address is the offset in the module's thread-local block.
    Tls,
}

/// A symbol of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) name: Box<str>,
    /// The address in the process.
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) kind: Kind,
    pub(crate) local: bool,
    /// Whether the dynamic linker binds other modules to it.
    pub(crate) exported: bool,
    /// The source file that a local symbol is of, as its compiler was told.
    pub(crate) file: Option<u32>,
}

/// A word that the dynamic linker fills.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// Where the word is in the process.
    pub(crate) address: u64,
    pub(crate) kind: u32,
    pub(crate) symbol: Box<str>,
    pub(crate) addend: i64,
}

/// An executable or shared library.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) path: PathBuf,
    pub(crate) build_id: Vec<u8>,
    /// What is added to the file's addresses.
    pub(crate) bias: u64,
    /// All of it in the process.
    pub(crate) range: Range<u64>,
    pub(crate) is_executable: bool,
    /// The file.
    pub(crate) bytes: Vec<u8>,
    /// The file with its symbols, if that is another one.
    debug: Option<DebugFile>,
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) files: Vec<Box<str>>,
    pub(crate) slots: Vec<Slot>,
    /// Where code is, in the process.
    pub(crate) code: Vec<Range<u64>>,
    /// Where procedure linkage tables are, in the process.
    pub(crate) linkage: Vec<Range<u64>>,
    /// What does not change any more, in the process: read-only segments, and what is read-only once relocated.
    pub(crate) constant: Vec<Range<u64>>,
    /// Size of the thread-local block, rounded up to its alignment.
    pub(crate) tls_bytes: Option<u64>,
    by_name: HashMap<Box<str>, Vec<u32>>,
    /// Addresses of functions and other code symbols, in order.
    starts: Vec<u64>,
}

impl Module {
    pub(crate) fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Symbol> + use<'a> {
        let found = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        found.iter().map(|index| &self.symbols[*index as usize])
    }

    /// The symbol that code of the module means by a name that another of its objects defines: a global one, or the one
    /// local symbol, since linking makes hidden symbols local.
    pub(crate) fn shared(&self, name: &str) -> Option<&Symbol> {
        let global = self.named(name).find(|symbol| !symbol.local);
        global.or_else(|| {
            let mut locals = self.named(name);
            let only = locals.next()?;
            locals.all(|other| other.address == only.address).then_some(only)
        })
    }

    pub(crate) fn exported(&self, name: &str) -> Option<&Symbol> {
        self.named(name).find(|symbol| symbol.exported)
    }

    pub(crate) fn file_of(&self, symbol: &Symbol) -> Option<&str> {
        symbol.file.map(|file| &*self.files[file as usize])
    }

    /// The start of the first code symbol behind an address, or the end of the code.
    pub(crate) fn next_start(&self, address: u64) -> u64 {
        let at = self.starts.partition_point(|start| *start <= address);
        let end = self
            .code
            .iter()
            .find(|range| range.contains(&address))
            .map_or(address, |range| range.end);
        self.starts.get(at).copied().unwrap_or(end).min(end)
    }

    pub(crate) fn is_code(&self, address: u64) -> bool {
        self.code.iter().any(|range| range.contains(&address))
    }

    /// The initial contents of a variable; `None` where the file has none for all of it (`.bss`).
    pub(crate) fn initial(&self, address: u64, size: u64) -> Option<&[u8]> {
        let header = FileHeader::parse(&*self.bytes).ok()?;
        let file_address = address.wrapping_sub(self.bias);
        let segments = header.program_headers(LE, &*self.bytes).ok()?;
        segments
            .iter()
            .filter(|segment| segment.p_type(LE) == elf::PT_LOAD)
            .find_map(|segment| {
                let into = file_address.checked_sub(segment.p_vaddr(LE))?;
                let inside = into.checked_add(size)? <= segment.p_filesz(LE);
                let start = usize::try_from(segment.p_offset(LE).checked_add(into)?).ok()?;
                inside.then(|| self.bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?))?
            })
    }

    /// The file that has the module's debug information, if there is any, with its path: the separate one that is known,
    /// the module itself, or a separate one that nothing else was wanted from.
    pub(crate) fn debug_file(&self, procfs: &Procfs) -> (Cow<'_, Path>, Cow<'_, [u8]>) {
        if let Some(debug) = &self.debug {
            return (Cow::Borrowed(&debug.path), Cow::Borrowed(&debug.bytes));
        }
        let separate = (!debug_parts::is_in(&self.bytes))
            .then(|| debug_file::find(procfs, self))
            .flatten();
        match separate {
            Some(DebugFile { path, bytes }) => (Cow::Owned(path), Cow::Owned(bytes)),
            None => (Cow::Borrowed(&self.path), Cow::Borrowed(&self.bytes)),
        }
    }

    /// What messages call a place: the function or the variable around it.
    pub(crate) fn name_at(&self, place: u64, kind: Kind) -> String {
        let mut around = self.symbols.iter().filter(|symbol| {
            symbol.kind == kind && symbol.address <= place && place < symbol.address.saturating_add(symbol.size.max(1))
        });
        around.next().map_or_else(
            || {
                let part = if kind == Kind::Function { "code" } else { "data" };
                format!("{part} of {} at {place:#x}", self.display())
            },
            |symbol| symbol.name.to_string(),
        )
    }

    /// What messages call the module.
    pub(crate) fn display(&self) -> String {
        self.path
            .file_name()
            .unwrap_or(self.path.as_os_str())
            .to_string_lossy()
            .into_owned()
    }
}

/// Reads all modules of a process: the executable first, then the libraries as the dynamic linker looks through them.
pub(crate) fn read_all(procfs: &Procfs, maps: &[Mapping]) -> Result<Vec<Module>> {
    let entry = procfs.auxiliary(libc::AT_ENTRY).unwrap_or(0);
    let mut files: HashMap<(u64, PathBuf), Option<Vec<u8>>> = HashMap::new();
    let mut modules: Vec<Module> = Vec::new();
    for mapping in maps
        .iter()
        .filter(|mapping| mapping.inode != 0 && mapping.is_executable())
    {
        if modules.iter().any(|module| module.range.contains(&mapping.start)) {
            continue;
        }
        let is_executable = mapping.contains(entry);
        let bytes = files
            .entry((mapping.inode, mapping.path.clone()))
            .or_insert_with(|| read_file(procfs, mapping, is_executable));
        let Some(bytes) = bytes else { continue };
        if let Some(mut module) = read(procfs, mapping, bytes)? {
            module.is_executable = is_executable;
            modules.push(module);
        }
    }
    if !modules.iter().any(|module| module.is_executable) {
        return Err(Error::Unsupported {
            pid: procfs.pid,
            reason: "its executable cannot be read, or is none for x86-64".into(),
        });
    }
    let order = search_order(procfs, &modules);
    modules.sort_by_key(|module| {
        let place = order.iter().position(|bias| *bias == module.bias);
        (
            !module.is_executable,
            place.unwrap_or(usize::MAX),
            u64::MAX - module.range.start,
        )
    });
    Ok(modules)
}

/// Reads the file behind a mapping: by the kernel's own link, which also finds deleted files and those of other mount
/// namespaces, or by its path in the root folder of the process.
fn read_file(procfs: &Procfs, mapping: &Mapping, is_executable: bool) -> Option<Vec<u8>> {
    let by_range = procfs
        .path("../../map_files")
        .join(format!("{:x}-{:x}", mapping.start, mapping.end));
    let by_path = in_root(procfs, &mapping.path);
    let mut paths = vec![by_range];
    if is_executable {
        paths.push(procfs.path("exe"));
    }
    paths.push(by_path);
    paths.iter().find_map(|path| fs::read(path).ok())
}

/// A path as the process sees it.
pub(crate) fn in_root(procfs: &Procfs, path: &Path) -> PathBuf {
    procfs.path("root").join(path.strip_prefix("/").unwrap_or(path))
}

fn read(procfs: &Procfs, mapping: &Mapping, bytes: &[u8]) -> Result<Option<Module>> {
    const PAGE: u64 = 4096;
    /// More than a process has.
    const ADDRESSES: u64 = 1 << 47;
    let Ok(header) = FileHeader::parse(bytes) else {
        return Ok(None);
    };
    let Ok(segments) = header.program_headers(LE, bytes) else {
        return Ok(None);
    };
    if header.e_machine.get(LE) != elf::EM_X86_64 {
        return Ok(None);
    }
    let is_sound = |segment: &&elf::ProgramHeader64<LE>| {
        let in_file = segment.p_offset(LE).checked_add(segment.p_filesz(LE));
        let in_memory = segment.p_vaddr(LE).checked_add(segment.p_memsz(LE));
        in_file.is_some() && in_memory.is_some_and(|end| end < ADDRESSES)
    };
    let segments: Vec<_> = segments.iter().filter(is_sound).collect();
    let loads = || segments.iter().filter(|segment| segment.p_type(LE) == elf::PT_LOAD);
    let code = loads().find(|segment| {
        let (start, end) = (
            segment.p_offset(LE) & !(PAGE - 1),
            segment.p_offset(LE) + segment.p_filesz(LE),
        );
        segment.p_flags(LE).contains(elf::PF_X) && (start..end).contains(&mapping.offset)
    });
    let Some(code) = code else { return Ok(None) };
    let in_file = code
        .p_vaddr(LE)
        .wrapping_sub(code.p_offset(LE))
        .wrapping_add(mapping.offset);
    let bias = mapping.start.wrapping_sub(in_file);
    let low = loads()
        .map(|segment| segment.p_vaddr(LE) & !(PAGE - 1))
        .min()
        .unwrap_or(0);
    let high = loads()
        .map(|segment| segment.p_vaddr(LE) + segment.p_memsz(LE))
        .max()
        .unwrap_or(0);
    let tls = segments.iter().find(|segment| segment.p_type(LE) == elf::PT_TLS);
    let constant = segments.iter().filter(|segment| {
        let read_only = segment.p_type(LE) == elf::PT_LOAD && !segment.p_flags(LE).contains(elf::PF_W);
        read_only || segment.p_type(LE) == elf::PT_GNU_RELRO
    });
    let constant = constant.map(|segment| {
        let start = bias.wrapping_add(segment.p_vaddr(LE));
        start..start.wrapping_add(segment.p_memsz(LE))
    });
    let mut module = Module {
        path: mapping.path.clone(),
        build_id: build_id(header, bytes).unwrap_or_default(),
        bias,
        range: bias.wrapping_add(low)..bias.wrapping_add(high.next_multiple_of(PAGE)),
        is_executable: false,
        bytes: bytes.to_vec(),
        debug: None,
        symbols: Vec::new(),
        files: Vec::new(),
        slots: Vec::new(),
        code: Vec::new(),
        linkage: Vec::new(),
        constant: constant.collect(),
        tls_bytes: tls.and_then(|segment| segment.p_memsz(LE).checked_next_multiple_of(segment.p_align(LE).max(1))),
        by_name: HashMap::new(),
        starts: Vec::new(),
    };
    check_build_id(procfs, &module, header, bytes)?;
    module.read_sections(header, bytes);
    module.read_symbols(bytes, false);
    if !module.has_symbol_table()
        && let Some(debug) = debug_file::find(procfs, &module)
    {
        module.read_symbols(&debug.bytes, true);
        module.debug = Some(debug);
    }
    module.index();
    Ok(Some(module))
}

/// The module in memory has to be the one in the file: package managers replace files under running programs.
fn check_build_id(procfs: &Procfs, module: &Module, header: &FileHeader, bytes: &[u8]) -> Result<()> {
    let Some(offset) = build_id_offset(header, bytes) else {
        return Ok(());
    };
    let segments = header.program_headers(LE, bytes).unwrap_or_default();
    let place = segments.iter().find_map(|segment| {
        let into = offset.checked_sub(segment.p_offset(LE))?;
        (segment.p_type(LE) == elf::PT_LOAD && into < segment.p_filesz(LE)).then(|| segment.p_vaddr(LE) + into)
    });
    let Some(place) = place else { return Ok(()) };
    let loaded = procfs.read_vec(module.bias.wrapping_add(place), module.build_id.len());
    if loaded.is_some_and(|loaded| loaded != module.build_id) {
        return Err(Error::Unsupported {
            pid: procfs.pid,
            reason: format!(
                "the file {} is not the one that runs: their build-ids differ",
                module.path.display()
            ),
        });
    }
    Ok(())
}

/// The build-id of a file.
pub(crate) fn build_id_of(bytes: &[u8]) -> Option<Vec<u8>> {
    build_id(FileHeader::parse(bytes).ok()?, bytes)
}

fn build_id(header: &FileHeader, bytes: &[u8]) -> Option<Vec<u8>> {
    let segments = header.program_headers(LE, bytes).ok()?;
    segments.iter().find_map(|segment| {
        let mut notes = segment.notes(LE, bytes).ok()??;
        while let Ok(Some(note)) = notes.next() {
            if note.name() == elf::ELF_NOTE_GNU && note.n_type(LE) == elf::NT_GNU_BUILD_ID {
                return Some(note.desc().to_vec());
            }
        }
        None
    })
}

fn build_id_offset(header: &FileHeader, bytes: &[u8]) -> Option<u64> {
    let segments = header.program_headers(LE, bytes).ok()?;
    segments.iter().find_map(|segment| {
        let mut notes = segment.notes(LE, bytes).ok()??;
        while let Ok(Some(note)) = notes.next() {
            if note.name() == elf::ELF_NOTE_GNU && note.n_type(LE) == elf::NT_GNU_BUILD_ID {
                return Some((note.desc().as_ptr().addr() - bytes.as_ptr().addr()) as u64);
            }
        }
        None
    })
}

/// Whether the dynamic linker has still to load libraries, or is just doing so.
pub(crate) fn is_loading(procfs: &Procfs, modules: &[Module]) -> bool {
    const CONSISTENT: u64 = 0;
    match debug_structure(procfs, modules) {
        Some(0) => true,
        Some(debug) => procfs
            .read_word(debug.saturating_add(24))
            .is_some_and(|state| state & 0xffff_ffff != CONSISTENT),
        None => false,
    }
}

/// The address of the dynamic linker's `struct r_debug`: version, list, a function, state. `None` for static programs.
fn debug_structure(procfs: &Procfs, modules: &[Module]) -> Option<u64> {
    let executable = modules.iter().find(|module| module.is_executable)?;
    let header = FileHeader::parse(&*executable.bytes).ok()?;
    let segments = header.program_headers(LE, &*executable.bytes).ok()?;
    let has_interpreter = segments.iter().any(|segment| segment.p_type(LE) == elf::PT_INTERP);
    let dynamic = segments.iter().find(|segment| segment.p_type(LE) == elf::PT_DYNAMIC)?;
    let entries = dynamic.dynamic(LE, &*executable.bytes).ok()??;
    let at = entries.iter().position(|entry| entry.d_tag(LE) == elf::DT_DEBUG)? as u64;
    let address = executable.bias.wrapping_add(dynamic.p_vaddr(LE)) + at * 16 + 8;
    procfs.read_word(address).filter(|debug| *debug != 0 || has_interpreter)
}

/// The load addresses of the modules in the order in which the dynamic linker looks for symbols: its own list.
fn search_order(procfs: &Procfs, modules: &[Module]) -> Vec<u64> {
    const LIMIT: usize = 4096;
    let walk = || -> Option<Vec<u64>> {
        let debug = debug_structure(procfs, modules)?;
        // struct link_map: address, name, dynamic section, next.
        let mut next = procfs.read_word(debug.checked_add(8)?)?;
        let mut order = Vec::new();
        while next != 0 && order.len() < LIMIT {
            order.push(procfs.read_word(next)?);
            next = procfs.read_word(next.checked_add(24)?)?;
        }
        Some(order)
    };
    walk().unwrap_or_default()
}

impl Module {
    fn has_symbol_table(&self) -> bool {
        self.symbols.iter().any(|symbol| symbol.local)
    }

    fn read_sections(&mut self, header: &FileHeader, bytes: &[u8]) {
        let Ok(sections) = header.sections(LE, bytes) else {
            return;
        };
        let dynamic_symbols = sections.symbols(LE, bytes, elf::SHT_DYNSYM).ok();
        for section in sections.iter() {
            let name = sections.section_name(LE, section).unwrap_or_default();
            let start = self.bias.wrapping_add(section.sh_addr(LE));
            let range = start..start.saturating_add(section.sh_size(LE));
            if section.sh_flags(LE).contains(elf::SHF_EXECINSTR) {
                if name.starts_with(b".plt") || name.starts_with(b".iplt") {
                    self.linkage.push(range.clone());
                }
                self.code.push(range);
            }
            let Ok(Some((relocations, _))) = section.rela(LE, bytes) else {
                continue;
            };
            if !section.sh_flags(LE).contains(elf::SHF_ALLOC) {
                continue;
            }
            for relocation in relocations {
                let kind = relocation.r_type(LE, false);
                let wanted = [
                    elf::R_X86_64_JUMP_SLOT,
                    elf::R_X86_64_GLOB_DAT,
                    elf::R_X86_64_IRELATIVE,
                    elf::R_X86_64_DTPMOD64,
                    elf::R_X86_64_TPOFF64,
                ];
                if !wanted.contains(&kind) {
                    continue;
                }
                let symbol = dynamic_symbols.as_ref().and_then(|table| {
                    let index = relocation.symbol(LE, false)?;
                    let symbol = table.symbol(index).ok()?;
                    table.symbol_name(LE, symbol).ok()
                });
                self.slots.push(Slot {
                    address: self.bias.wrapping_add(relocation.r_offset.get(LE)),
                    kind: kind.0,
                    symbol: String::from_utf8_lossy(symbol.unwrap_or_default()).into(),
                    addend: relocation.r_addend.get(LE),
                });
            }
        }
    }

    /// Adds the symbols of a file: the module's own, or one that has its debug information.
    fn read_symbols(&mut self, bytes: &[u8], separate: bool) {
        let Ok(header) = FileHeader::parse(bytes) else { return };
        let Ok(sections) = header.sections(LE, bytes) else {
            return;
        };
        if let Ok(table) = sections.symbols(LE, bytes, elf::SHT_SYMTAB) {
            let mut file = None;
            for symbol in table.iter() {
                if symbol.st_type() == elf::STT_FILE {
                    let name = table.symbol_name(LE, symbol).unwrap_or_default();
                    self.files.push(String::from_utf8_lossy(name).into());
                    file = u32::try_from(self.files.len() - 1).ok();
                    continue;
                }
                let local = symbol.st_bind() == elf::STB_LOCAL;
                let name = table.symbol_name(LE, symbol).unwrap_or_default();
                self.add(symbol, name, file.filter(|_| local), false);
            }
        }
        if separate {
            return;
        }
        let versions = sections.versions(LE, bytes).ok().flatten();
        if let Ok(table) = sections.symbols(LE, bytes, elf::SHT_DYNSYM) {
            for (index, symbol) in table.enumerate() {
                let hidden = versions
                    .as_ref()
                    .is_some_and(|versions| versions.version_index(LE, index).is_hidden());
                if !hidden {
                    let name = table.symbol_name(LE, symbol).unwrap_or_default();
                    self.add(symbol, name, None, true);
                }
            }
        }
    }

    fn add(&mut self, symbol: &elf::Sym64<LE>, name: &[u8], file: Option<u32>, exported: bool) {
        if name.is_empty() || symbol.st_shndx(LE) == elf::SHN_UNDEF || symbol.st_shndx(LE) == elf::SHN_ABS {
            return;
        }
        let value = symbol.st_value(LE);
        let tls = symbol.st_type() == elf::STT_TLS;
        let address = if tls { value } else { self.bias.wrapping_add(value) };
        let kind = match symbol.st_type() {
            elf::STT_FUNC => Kind::Function,
            elf::STT_GNU_IFUNC => Kind::Ifunc,
            elf::STT_TLS => Kind::Tls,
            elf::STT_OBJECT | elf::STT_COMMON => Kind::Data,
            elf::STT_NOTYPE if self.is_code(address) => Kind::Function,
            elf::STT_NOTYPE => Kind::Data,
            _ => return,
        };
        if address.checked_add(symbol.st_size(LE)).is_none() {
            return;
        }
        // Versions of the table that the static linker keeps: `name@VERSION`, and `name@@VERSION` for the default one.
        let text = String::from_utf8_lossy(name);
        let text = match text.find('@') {
            Some(at) if at > 0 && text[at..].starts_with("@@") => &text[..at],
            Some(at) if at > 0 => return,
            _ => &*text,
        };
        self.symbols.push(Symbol {
            name: text.into(),
            address,
            size: symbol.st_size(LE),
            kind,
            local: symbol.st_bind() == elf::STB_LOCAL,
            exported,
            file,
        });
    }

    fn index(&mut self) {
        // The same symbol stands in both tables; that of the static linker tells more.
        for index in 0..self.symbols.len() {
            let symbol = &self.symbols[index];
            let known = self.by_name.get_mut(&symbol.name);
            let Some(known) = known else {
                self.by_name.insert(symbol.name.clone(), vec![index as u32]);
                continue;
            };
            let twin = known.iter().copied().find(|other| {
                let other = &self.symbols[*other as usize];
                other.address == symbol.address && other.kind == symbol.kind
            });
            match twin {
                Some(twin) if symbol.exported => self.symbols[twin as usize].exported = true,
                Some(_) => {}
                None => known.push(index as u32),
            }
        }
        let code = self
            .symbols
            .iter()
            .filter(|symbol| matches!(symbol.kind, Kind::Function | Kind::Ifunc));
        self.starts = code.map(|symbol| symbol.address).collect();
        self.starts.extend(self.code.iter().map(|range| range.start));
        self.starts.sort_unstable();
        self.starts.dedup();
    }
}
