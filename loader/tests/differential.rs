//! Every row of the relocation table, applied by us and by GNU ld and lld at the same addresses: the same bytes, or the
//! same meaning where each linker makes a table of its own (GOT slots, PLT entries), and the same verdict on range.
//!
//! A round makes one object with thousands of relocations of random symbols, addends and places. Each linker reports
//! those that do not fit (and links the rest), so one run of it judges them all. [`EXPLAINED`] lists what differs, and why.

mod linking;
mod random;
mod toolchain;
mod view;

use std::collections::{BTreeMap, HashSet};
use std::process::Command;

use libtest_mimic::{Arguments, Trial};
use linking::Linked;
use object::write::{Object, Relocation, SectionId, StandardSection, Symbol, SymbolId, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SymbolFlags, SymbolKind, SymbolScope, elf};
use random::Random;
use restub_loader::{
    BufferMemory, Detail, Error, Fit, Formula, Input, Need, Options, ROWS, Request, Resolver, Row, Target, TargetKind,
    Values, link,
};
use toolchain::Patch;
use view::{Ours, Outcome, Theirs, View, section_address};

/// Relocations of each row in each round.
const SITES_A_ROW: usize = 120;
/// Bytes that each relocation has for itself.
const CELL_BYTES: u64 = 24;
/// Fields are in these sections, in turn.
const SECTIONS: [&str; 2] = [".text", ".data"];
/// Far enough for the tables that linkers put between code and data.
const DATA_ALIGN: u64 = 1 << 20;

/// Where we differ on purpose, or a linker cannot be asked.
const EXPLAINED: [(Linker, &[u32], &str); 6] = [
    (Linker::Lld, &[28, 30], "lld has neither GOTPCREL64 nor GOTPLT64"),
    (
        Linker::Lld,
        &[39, 40],
        "lld does not read the types that were withdrawn with MPX",
    ),
    (Linker::Gnu, &[16], "GNU ld takes DTPMOD64 for a dynamic type"),
    (Linker::Lld, &[16], "lld takes DTPMOD64 for a dynamic type"),
    (
        Linker::Gnu,
        &[35],
        "programs relax what TLSDESC_CALL marks, and there is no instruction; nothing is written at it anyway",
    ),
    (Linker::Lld, &[35], "the same"),
];

/// Rows on which GNU ld and lld disagree with each other, so that neither can be the judge.
const DISAGREEMENTS: [(&[u32], &str); 3] = [
    (
        &[12, 13, 14],
        "GNU ld takes narrow values of one bit more when they are negative; for us and lld, fields of 8 and 16 bits are \
         signed or unsigned, and that of PC16 signed",
    ),
    (&[34, 45, 48, 51], "GNU ld takes values of 33 bits"),
    (
        &[32],
        "lld takes sizes for signed; for us and GNU ld, an object may be larger than 2 GiB",
    ),
];

/// Types that neither linker knows yet, and the ones that compute the same.
const STAND_INS: [(&[u32], u32); 3] = [(&[43, 46, 49], 9), (&[44, 47, 50], 22), (&[45, 48, 51], 34)];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Linker {
    Gnu,
    Lld,
}

impl Linker {
    fn command(self) -> Command {
        match self {
            Linker::Gnu => {
                let mut command = Command::new("ld");
                // With --verbose it reports more than the first ten overflows.
                command.args(["--verbose", "-z", "noseparate-code", "--no-warn-rwx-segments"]);
                command
            }
            Linker::Lld => {
                let mut command = Command::new("ld.lld-19");
                command.args(["--error-limit=0", "-z", "separate-code"]);
                command
            }
        }
    }

    fn knows(self, row: &Row) -> bool {
        !EXPLAINED
            .iter()
            .any(|(linker, rows, _)| *linker == self && rows.contains(&row.number))
    }
}

/// What is linked: a program, or for thread-local types, which programs always relax, a shared library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Program,
    Library,
}

impl Kind {
    fn has(self, row: &Row) -> bool {
        let library = matches!(
            row.need,
            Need::TlsGd | Need::TlsLd | Need::TlsIe | Need::TlsDesc | Need::TlsBlock
        );
        !row.dynamic_only && library == (self == Kind::Library)
    }
}

#[derive(Debug, Clone)]
struct Name {
    name: String,
    place: Placed,
    size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placed {
    /// In a section of the object, 0 to 3 for `.text`, `.data`, `.tdata` and `.tbss`, at an offset.
    Section(usize, u64),
    /// An absolute symbol of the object.
    Absolute(u64),
    /// Defined on the linker's command line.
    External(u64),
    WeakUndefined,
    Ifunc(u64),
}

#[derive(Debug, Clone)]
struct Site {
    row: &'static Row,
    section: usize,
    offset: u64,
    name: usize,
    addend: i64,
}

struct Round {
    kind: Kind,
    base: u64,
    names: Vec<Name>,
    sites: Vec<Site>,
}

impl Round {
    fn new(kind: Kind, base: u64, random: &mut Random) -> Round {
        let rows: Vec<&'static Row> = ROWS.iter().filter(|row| kind.has(row)).collect();
        let mut round = Round {
            kind,
            base,
            names: names(kind, base, random),
            sites: Vec::new(),
        };
        let mut next = [0; 2];
        for row in rows {
            for turn in 0..SITES_A_ROW {
                let section = turn % 2;
                let offset = next[section] + random.below(CELL_BYTES - 8);
                next[section] += CELL_BYTES;
                let name = round.choose_name(row, random);
                round.sites.push(Site {
                    row,
                    section,
                    offset,
                    name,
                    addend: 0,
                });
            }
        }
        round.choose_addends(random);
        round
    }

    /// A symbol that makes sense for the row.
    fn choose_name(&self, row: &Row, random: &mut Random) -> usize {
        loop {
            let at = random.below(self.names.len() as u64) as usize;
            let place = self.names[at].place;
            let thread_local = matches!(place, Placed::Section(2 | 3, _));
            let wants_tls = row.need.is_tls() || row.number == 35;
            let far = match place {
                Placed::External(address) | Placed::Absolute(address) => address.abs_diff(self.base) > 1 << 30,
                Placed::WeakUndefined => self.base > 1 << 30,
                _ => false,
            };
            let fine = match row.need {
                // GNU ld takes IFUNCs in few places.
                _ if matches!(place, Placed::Ifunc(_)) => row.number == 4,
                _ if row.number == 0 => true,
                _ if thread_local != wants_tls => false,
                // A symbol that is used in several models gets one slot for all in some linkers.
                Need::TlsGd => at.is_multiple_of(3),
                Need::TlsIe => at % 3 == 1,
                Need::TlsDesc => at % 3 == 2,
                // We make a PLT entry where the others give up.
                Need::Plt => !far,
                _ => true,
            };
            if fine {
                return at;
            }
        }
    }

    fn choose_addends(&mut self, random: &mut Random) {
        let bare = self.bare();
        let mut sites = std::mem::take(&mut self.sites);
        for (index, site) in sites.iter_mut().enumerate() {
            let small = (random.next() as i64) >> (16 + random.below(47));
            let own_tables = !matches!(
                site.row.formula,
                Formula::Absolute
                    | Formula::Relative
                    | Formula::Size
                    | Formula::FromThreadPointer
                    | Formula::FromTlsBlock
            ) || matches!(self.names[site.name].place, Placed::Ifunc(_));
            site.addend = if own_tables && site.row.width == 4 {
                // Each linker's tables are elsewhere, so these stay away from the edges.
                match index % 8 {
                    0 => (1 << 31) + (16 << 20) + small.rem_euclid(1 << 30),
                    1 => -(1 << 31) - (16 << 20) - small.rem_euclid(1 << 30),
                    _ => small % (1 << 30),
                }
            } else if own_tables {
                small
            } else {
                let wanted = wanted_value(site.row, random);
                wanted
                    .wrapping_sub(site.row.value(&self.values(site, &bare)))
                    .cast_signed()
            };
        }
        self.sites = sites;
    }

    /// The psABI's letters for the site as far as they are the same for every linker, with an addend of 0.
    fn values(&self, site: &Site, bare: &Linked) -> Values {
        let name = &self.names[site.name];
        let address = bare
            .image
            .symbols
            .iter()
            .find(|symbol| *symbol.name == *name.name)
            .map(|symbol| symbol.address);
        let s = match name.place {
            Placed::External(address) | Placed::Absolute(address) => address,
            Placed::WeakUndefined => 0,
            _ => address.unwrap_or_else(|| panic!("{} is in no image", name.name)),
        };
        let block = bare.image.tls.and_then(|tls| tls.placement.block_offset).unwrap_or(0);
        Values {
            s,
            p: section_address(bare, SECTIONS[site.section]) + site.offset,
            l: s,
            z: name.size,
            tp: s.wrapping_add_signed(block),
            block: s,
            ..Values::default()
        }
    }

    /// The sections and symbols without relocations: their addresses are those of every link of the round.
    fn bare(&self) -> Linked {
        self.link_ours(&self.object(false))
            .expect("sections without relocations link")
    }

    /// Links the round's object, some of whose sites may be left out. An error is that of one site, by its number.
    fn link_ours(&self, object: &[u8]) -> Result<Linked, usize> {
        let input = [Input::from_bytes("a.o", object)];
        let mut memory = BufferMemory::at(self.base);
        let options = Options {
            detail: Detail::Full,
            ..Options::default()
        };
        let mut resolver = Externals(&self.names);
        match link(&input, || &[], &mut resolver, &mut memory, &options) {
            Ok(image) => Ok(Linked { image, memory }),
            Err(Error::Relocation { place, reason, .. }) => {
                assert!(reason.to_string().contains("does not fit"), "{place}: {reason}");
                let found = self
                    .sites
                    .iter()
                    .position(|site| SECTIONS[site.section] == place.section && site.offset == place.offset);
                Err(found.unwrap_or_else(|| panic!("{place} is no site")))
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn object(&self, with_sites: bool) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let sections = [
            StandardSection::Text,
            StandardSection::Data,
            StandardSection::Tls,
            StandardSection::UninitializedTls,
        ]
        .map(|section| object.section_id(section));
        // The same size whatever the sites are, so that addresses do not depend on them.
        let cells = ROWS.len() as u64 * SITES_A_ROW as u64;
        for (section, align) in [(0, 16), (1, DATA_ALIGN)] {
            object.append_section_data(sections[section], &vec![0; (cells * CELL_BYTES) as usize], align);
        }
        object.append_section_data(sections[2], &[0x77; 200], 16);
        object.append_section_bss(sections[3], 1000, 32);
        let ids: Vec<SymbolId> = self
            .names
            .iter()
            .map(|name| object.add_symbol(symbol(name, self.kind, &sections)))
            .collect();
        for site in self.sites.iter().filter(|_| with_sites) {
            let relocation = Relocation {
                offset: site.offset,
                symbol: ids[site.name],
                addend: site.addend,
                flags: RelocationFlags::Elf {
                    r_type: elf::RelocationType(site.row.number),
                },
            };
            object
                .add_relocation(sections[site.section], relocation)
                .expect("any number can be written");
        }
        object.write().expect("the object can be written")
    }

    fn ours(&self) -> Vec<Outcome> {
        let mut object = self.object(true);
        let mut without = HashSet::new();
        let linked = loop {
            match self.link_ours(&object) {
                Ok(linked) => break linked,
                Err(index) => {
                    let site = &self.sites[index];
                    assert!(without.insert(index), "{site:?} is left out already");
                    Patch(&mut object).silence(&format!(".rela{}", SECTIONS[site.section]), site.offset);
                }
            }
        };
        let view = Ours(&linked);
        let outcome = |(index, site): (usize, &Site)| {
            if without.contains(&index) {
                Outcome::OutOfRange
            } else {
                self.outcome(site, &view)
            }
        };
        self.sites.iter().enumerate().map(outcome).collect()
    }

    /// What another linker makes of the sites; `None` for a type that it does not know.
    fn theirs(&self, linker: Linker) -> Vec<Option<Outcome>> {
        let folder = tempfile::tempdir().expect("a folder");
        let (input, output) = (folder.path().join("a.o"), folder.path().join("out"));
        let mut object = self.object(true);
        let mut patch = Patch(&mut object);
        for row in ROWS.iter().filter(|row| !linker.knows(row)) {
            patch.retype(row.number, 0);
        }
        for (rows, plain) in STAND_INS {
            for row in rows {
                patch.retype(*row, plain);
            }
        }
        std::fs::write(&input, object).expect("the object can be written");
        let bare = self.bare();
        let mut command = linker.command();
        command.args(["--no-relax", "--noinhibit-exec", "-z", "norelro", "--entry=0"]);
        match self.kind {
            // Everything is close to what has an address of its own.
            Kind::Program => match linker {
                Linker::Gnu => command.args([
                    "-static".into(),
                    format!("-Ttext-segment={:#x}", self.base - DATA_ALIGN),
                ]),
                Linker::Lld => command.args(["-static".into(), format!("--image-base={:#x}", self.base - DATA_ALIGN)]),
            },
            Kind::Library => command.args(["-shared", "-Bsymbolic"]),
        };
        for section in SECTIONS {
            let address = section_address(&bare, section);
            command.arg(format!("--section-start={section}={address:#x}"));
        }
        for name in &self.names {
            if let Placed::External(address) = name.place {
                command.arg(format!("--defsym={}={address:#x}", name.name));
            }
        }
        let result = command.arg(&input).arg("-o").arg(&output).output();
        let result = result.unwrap_or_else(|e| panic!("{linker:?} is needed for this test: {e}"));
        let messages = String::from_utf8_lossy(&result.stderr);
        let bytes = std::fs::read(&output).unwrap_or_else(|e| panic!("{linker:?} wrote nothing: {e}\n{messages}"));
        let failed = failures(&messages);
        let view = Theirs::new(&bytes);
        let outcome = |site: &Site| {
            let place = (SECTIONS[site.section].to_owned(), site.offset);
            linker.knows(site.row).then(|| {
                if failed.contains(&place) {
                    Outcome::OutOfRange
                } else {
                    self.outcome(site, &view)
                }
            })
        };
        self.sites.iter().map(outcome).collect()
    }

    /// What the field at a site says, in terms that do not depend on where a linker puts its tables.
    fn outcome(&self, site: &Site, view: &dyn View) -> Outcome {
        let place = view.section(SECTIONS[site.section]) + site.offset;
        let field = view.number(place, usize::from(site.row.width)).unwrap_or(0);
        let bits = 64 - u32::from(site.row.width) * 8;
        let value = match site.row.width {
            0 => 0,
            _ => ((field << bits).cast_signed() >> bits).cast_unsigned(),
        };
        let value = value.wrapping_sub(site.addend.cast_unsigned());
        let ifunc = matches!(self.names[site.name].place, Placed::Ifunc(_));
        match (site.row.formula, site.row.need) {
            (Formula::SlotFromGot, _) => view.slot(value.wrapping_add(view.got()), site.row.need),
            (Formula::SlotRelative, need) => view.slot(value.wrapping_add(place), need),
            (Formula::FromGot, _) => Outcome::Address(value.wrapping_add(view.got())),
            (Formula::GotRelative, _) => Outcome::Address(value.wrapping_add(place).wrapping_sub(view.got())),
            (Formula::PltFromGot, _) if ifunc => view.entry(value.wrapping_add(view.got())),
            (Formula::PltRelative, _) if ifunc => view.entry(value.wrapping_add(place)),
            (Formula::PltFromGot, _) => Outcome::Address(value.wrapping_add(view.got())),
            _ => Outcome::Field(field),
        }
    }
}

/// Symbols of every kind, with addresses all over the place.
fn names(kind: Kind, base: u64, random: &mut Random) -> Vec<Name> {
    let mut names = Vec::new();
    let mut add = |place, size| {
        let name = format!("symbol{}", names.len());
        names.push(Name { name, place, size });
    };
    for turn in 0..8 {
        if kind == Kind::Program {
            add(Placed::Section(0, random.below(0x4000)), random.below(0x1_0000));
            add(Placed::Section(1, random.below(0x4000)), random.next() >> (turn * 8));
            add(Placed::Absolute(random.next() >> (turn * 8)), random.below(256));
            add(Placed::Absolute(base + random.below(1 << 29)), random.below(256));
            add(Placed::External(random.next() >> (turn * 8)), 0);
            add(Placed::External(base + random.below(1 << 29)), 0);
        }
        add(Placed::Section(2, random.below(200)), random.below(64));
        add(Placed::Section(3, random.below(1000)), random.below(64));
    }
    if kind == Kind::Program {
        add(Placed::WeakUndefined, 0);
        add(Placed::Ifunc(0x40), 1);
        add(Placed::Ifunc(0x80), 1);
    }
    names
}

fn symbol(name: &Name, kind: Kind, sections: &[SectionId; 4]) -> Symbol {
    let (section, value) = match name.place {
        Placed::Section(section, value) => (SymbolSection::Section(sections[section]), value),
        Placed::Ifunc(value) => (SymbolSection::Section(sections[0]), value),
        Placed::Absolute(value) => (SymbolSection::Absolute, value),
        Placed::External(_) | Placed::WeakUndefined => (SymbolSection::Undefined, 0),
    };
    let symbol_kind = match name.place {
        Placed::Section(0, _) => elf::STT_FUNC,
        Placed::Section(1, _) => elf::STT_OBJECT,
        Placed::Section(..) => elf::STT_TLS,
        Placed::Ifunc(_) => elf::STT_GNU_IFUNC,
        _ => elf::STT_NOTYPE,
    };
    let weak = name.place == Placed::WeakUndefined;
    let binding = if weak { elf::STB_WEAK } else { elf::STB_GLOBAL };
    let visibility = match kind {
        Kind::Program => elf::STV_DEFAULT,
        Kind::Library => elf::STV_HIDDEN,
    };
    Symbol {
        name: name.name.clone().into_bytes(),
        value,
        size: name.size,
        kind: SymbolKind::Data,
        scope: SymbolScope::Dynamic,
        weak,
        section,
        flags: SymbolFlags::Elf {
            st_info: elf::SymbolInfo::new(binding, symbol_kind),
            st_other: elf::SymbolOther(visibility.0),
        },
    }
}

/// A value at an edge of what fits, close to one, or anywhere.
fn wanted_value(row: &Row, random: &mut Random) -> u64 {
    let bits = u32::from(row.width) * 8;
    if bits == 0 || bits == 64 {
        return random.next();
    }
    let edge = match (row.fit, random.below(3)) {
        (Fit::Signed, 0) => 1 << (bits - 1),
        (Fit::Unsigned, _) | (Fit::Either, 0) => 1 << bits,
        (_, 1) => (1_u64 << (bits - 1)).wrapping_neg(),
        _ => 0,
    };
    match random.below(8) {
        0 => edge,
        1 => edge.wrapping_sub(1),
        2 => edge.wrapping_add(1),
        3 => random.next(),
        4 => random.next() >> random.below(64),
        _ if row.fit == Fit::Unsigned => random.below(1 << bits),
        _ => ((random.next() << (64 - bits)).cast_signed() >> (64 - bits)).cast_unsigned(),
    }
}

/// The places that a linker's messages say are out of range.
fn failures(messages: &str) -> HashSet<(String, u64)> {
    let pattern =
        r"\((?:function \w+: )?(\.\w+)\+0x([0-9a-f]+)\): (?:relocation truncated to fit|relocation \S+ out of range)";
    let regex = regex::Regex::new(pattern).expect("the pattern is correct");
    let mut failed = HashSet::new();
    for line in messages.lines() {
        if let Some(found) = regex.captures(line) {
            let offset = u64::from_str_radix(&found[2], 16).expect("a hexadecimal number");
            failed.insert((found[1].to_owned(), offset));
        } else {
            let harmless = [
                "assertion fail", // binutils 2.40 on DTPOFF64 outside of debug information
                "cannot find entry symbol",
                "executable stack",
                "NOTE:",
                "in function",
                "not found",
            ];
            let explained = harmless.iter().any(|known| line.contains(known)) || line.starts_with(">>>");
            assert!(explained || line.trim().is_empty(), "{line}");
        }
    }
    failed
}

struct Externals<'a>(&'a [Name]);

impl Resolver for Externals<'_> {
    fn earlier(&mut self, _name: &[u8]) -> Option<Target> {
        None
    }

    fn external(&mut self, request: Request<'_>) -> Option<Target> {
        let name = self.0.iter().find(|name| name.name.as_bytes() == request.name)?;
        let Placed::External(address) = name.place else {
            return None;
        };
        Some(Target {
            address,
            size: 0,
            kind: TargetKind::Absolute,
        })
    }
}

impl Patch<'_> {
    /// Turns the relocation at an offset into R_X86_64_NONE.
    fn silence(&mut self, table: &str, offset: u64) {
        let section = self.find(table);
        for at in self.contents(section).step_by(24) {
            if self.0[at..at + 8] == offset.to_le_bytes() {
                self.0[at + 8..at + 12].fill(0);
            }
        }
    }
}

/// Counts of one row in one round.
#[derive(Debug, Default)]
struct Count {
    same: usize,
    out_of_range: usize,
    disputed: usize,
    unknown: usize,
}

fn compare(round: &Round) -> Vec<String> {
    let (gnu, lld) = (round.theirs(Linker::Gnu), round.theirs(Linker::Lld));
    let mut counts: BTreeMap<u32, Count> = BTreeMap::new();
    let mut differences = Vec::new();
    for (index, (site, ours)) in round.sites.iter().zip(round.ours()).enumerate() {
        let count = counts.entry(site.row.number).or_default();
        let theirs = [&gnu[index], &lld[index]];
        if let [Some(one), Some(other)] = theirs
            && one != other
            && DISAGREEMENTS.iter().any(|(rows, _)| rows.contains(&site.row.number))
        {
            count.disputed += 1;
            continue;
        }
        let known: Vec<_> = theirs.into_iter().flatten().collect();
        if known.is_empty() {
            count.unknown += 1;
        } else if known.iter().any(|theirs| **theirs != ours) {
            differences.push(format!(
                "{} at {}+{:#x} against {:x?} + {:#x}: ours {ours:x?}, GNU ld {:x?}, lld {:x?}",
                site.row.name,
                SECTIONS[site.section],
                site.offset,
                round.names[site.name],
                site.addend,
                theirs[0],
                theirs[1]
            ));
        } else if ours == Outcome::OutOfRange {
            count.out_of_range += 1;
        } else {
            count.same += 1;
        }
    }
    let sum = |of: fn(&Count) -> usize| counts.values().map(of).sum::<usize>();
    println!(
        "{:?} at {:#x}: {} rows; {} relocations with the same value, {} out of range for all, {} where the others \
         disagree, {} that neither of them knows",
        round.kind,
        round.base,
        counts.len(),
        sum(|count| count.same),
        sum(|count| count.out_of_range),
        sum(|count| count.disputed),
        sum(|count| count.unknown)
    );
    for (number, count) in &counts {
        if count.same == 0 && count.unknown == 0 {
            differences.push(format!("{}: none had a value to compare", Row::name_of(*number)));
        }
    }
    differences
}

/// The instructions that both rewrite where the target is in reach: in every register, and calls and jumps.
fn relaxed() -> Result<(), String> {
    let mut source = String::from("    .text\n    .globl target\ntarget: ret\n");
    for register in [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r12", "r15", "eax", "ebx", "r9d",
    ] {
        source.push_str(&format!("    mov target@GOTPCREL(%rip), %{register}\n"));
    }
    source.push_str(
        "    call *target@GOTPCREL(%rip)\n    jmp *target@GOTPCREL(%rip)\n    notrack jmp *target@GOTPCREL(%rip)\n",
    );
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (path, output) = (folder.path().join("a.s"), folder.path().join("out"));
    std::fs::write(&path, source).map_err(|e| e.to_string())?;
    let object = toolchain::compile("as", &path, &["-mrelax-relocations=yes".to_owned()], None)?;
    let ours = linking::link_object(&object).map_err(|e| e.to_string())?;
    let input = folder.path().join("a.o");
    std::fs::write(&input, object).map_err(|e| e.to_string())?;
    for linker in ["ld", "ld.lld-19"] {
        let mut command = Command::new(linker);
        command.args(["-pie", "--no-dynamic-linker", "--entry=target"]);
        command.arg(format!("--section-start=.text={:#x}", linking::BASE));
        toolchain::run(command.arg(&input).arg("-o").arg(&output))?;
        let bytes = std::fs::read(&output).map_err(|e| e.to_string())?;
        let view = Theirs::new(&bytes);
        let start = view.section(".text");
        let theirs = view
            .sections
            .iter()
            .find(|(name, ..)| name == ".text")
            .map_or(&[][..], |(.., data)| data);
        let ours = ours.read(section_address(&ours, ".text"), theirs.len());
        if start != linking::BASE || ours != theirs {
            return Err(format!(
                "{linker} at {start:#x}:\nours   {ours:02x?}\ntheirs {theirs:02x?}"
            ));
        }
    }
    Ok(())
}

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (kind, what) in [(Kind::Program, "program"), (Kind::Library, "library")] {
        for (stream, base) in [0x1000_0000, 0x7f12_3456_7000].into_iter().enumerate() {
            trials.push(Trial::test(format!("{what} at {base:#x}"), move || {
                let mut random = Random::new(stream as u64 + if kind == Kind::Library { 16 } else { 0 });
                let round = Round::new(kind, base, &mut random);
                let mut differences = compare(&round);
                if differences.is_empty() {
                    return Ok(());
                }
                let total = differences.len();
                differences.truncate(40);
                Err(format!("{total} differences\n{}", differences.join("\n")).into())
            }));
        }
    }
    trials.push(Trial::test("relaxed instructions", || relaxed().map_err(Into::into)));
    libtest_mimic::run(&arguments, trials).exit();
}
