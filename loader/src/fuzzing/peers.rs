//! Cases through another linker, at the same addresses: the same bytes, or the same meaning where each linker makes tables
//! of its own, and the same verdict.
//!
//! Starting a linker costs more than linking, so many cases are linked by one process: their names have a prefix each, and
//! a linker script puts each section where this crate has it.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use object::elf;

use super::attempt::Attempt;
use super::case::{Case, Scope};
use super::choices::{Choices, entropy};
use super::kinds::GOT;
use super::model::{Bound, Model, Site};
use super::ours::{Ours, link_case};
use super::plan::RelocationTable;
use super::theirs::{Complaints, Folder, Theirs};
use super::view::{LinkedSite, Meaning, View, meaning};
use super::write::write_archive;
use crate::error::Error;
use crate::image::Detail;
use crate::relocation::{Formula, Need, Row};

/// Where batches are linked: low, as for non-PIC code, and beside shared libraries.
const BASES: [u64; 2] = [0x1000_0000, 0x7f12_3400_0000];
/// Distance between two cases of a batch; each has four segments of a quarter of it.
const CASE_BYTES: u64 = 1 << 20;
/// Where the other linker's own tables are, before the first case.
const TABLES_BYTES: u64 = 32 << 20;

/// Another linker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// GNU ld, as `ld`.
    Gnu,
    /// LLVM's, as `ld.lld-19`.
    Lld,
}

/// Something that another linker makes otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The case, by its place in the batch.
    pub case: usize,
    /// What and where, with what each of the two makes of it.
    pub words: String,
}

/// Counts of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases.
    pub cases: u64,
    /// Objects in them.
    pub objects: u64,
    /// Relocated fields that mean the same.
    pub same: u64,
    /// Fields whose value does not fit, for both.
    pub out_of_range: u64,
    /// Cases that both refuse.
    pub refused: u64,
    /// Differences for a known cause.
    pub explained: BTreeMap<&'static str, u64>,
}

/// A difference that is meant to be: who differs, at which site, and why.
struct Explanation {
    peer: Peer,
    applies: fn(&Disagreement<'_>) -> bool,
    cause: &'static str,
}

/// A site, and what two linkers make of it.
struct Disagreement<'a> {
    model: &'a Model<'a>,
    site: Site<'a>,
    ours: Meaning,
    theirs: Meaning,
}

/// The differences that are known, each with its cause.
const EXPLAINED: [Explanation; 6] = [
    Explanation {
        peer: Peer::Lld,
        applies: |at| {
            let pair = [&at.ours, &at.theirs];
            let unsigned = pair
                .iter()
                .any(|meaning| matches!(meaning, Meaning::Field(0x8000_0000..)));
            at.site.row.number == 32 && unsigned && pair.contains(&&Meaning::OutOfRange)
        },
        cause: "lld takes sizes for signed; here an object may be larger than 2 GiB, as for GNU ld",
    },
    Explanation {
        peer: Peer::Gnu,
        applies: |at| {
            at.site.row.width < 4 && matches!((&at.ours, &at.theirs), (Meaning::OutOfRange, Meaning::Field(_)))
        },
        cause: "GNU ld takes negative values of one bit more in fields of 8 and 16 bits",
    },
    Explanation {
        peer: Peer::Gnu,
        applies: call_out_of_reach,
        cause: "a call out of reach gets a PLT entry here, and is an error there",
    },
    Explanation {
        peer: Peer::Lld,
        applies: call_out_of_reach,
        cause: "a call out of reach gets a PLT entry here, and is an error there",
    },
    Explanation {
        peer: Peer::Gnu,
        applies: size_of_another,
        cause: "where a definition has no size, GNU ld keeps that of one before it that does not count",
    },
    Explanation {
        peer: Peer::Lld,
        applies: address_as_operand,
        cause: "lld makes an address an operand of 32 bits before it knows whether that fits; here it stays in the GOT",
    },
];

fn call_out_of_reach(at: &Disagreement<'_>) -> bool {
    at.site.row.need == Need::Plt && matches!((&at.ours, &at.theirs), (Meaning::Address(_), Meaning::OutOfRange))
}

fn size_of_another(at: &Disagreement<'_>) -> bool {
    let Disagreement { model, site, .. } = at;
    let (Bound::Section(_, bound) | Bound::Absolute(bound)) = model.bound(site.object, site.symbol) else {
        return false;
    };
    let mut others = model
        .symbols()
        .map(|(_, symbol)| symbol)
        .filter(|symbol| symbol.is_global() && symbol.name == bound.name && !symbol.is_undefined() && symbol.size != 0);
    let taken = |size: u64| match size.wrapping_add_signed(site.relocation.addend) {
        0x1_0000_0000.. if site.row.width == 4 => Meaning::OutOfRange,
        value => Meaning::Field(value),
    };
    site.row.formula == Formula::Size && bound.size == 0 && others.any(|other| at.theirs == taken(other.size))
}

/// In programs at fixed addresses lld rewrites `test` and binary operations with R_X86_64_REX_GOTPCRELX, and takes back
/// only what it did to `mov` and `call`.
fn address_as_operand(at: &Disagreement<'_>) -> bool {
    let Disagreement { model, site, .. } = at;
    let contents = &model.case.object(site.object).sections[site.section].contents;
    let opcode = (site.relocation.offset as usize)
        .checked_sub(2)
        .and_then(|at| contents.get(at));
    let operation = opcode.is_some_and(|opcode| *opcode == 0x85 || opcode & 0xc7 == 0x03);
    let too_far = matches!(at.ours, Meaning::Slot(address) if i32::try_from(address).is_err());
    site.row.number == elf::R_X86_64_REX_GOTPCRELX.0 && operation && too_far && at.theirs == Meaning::OutOfRange
}

/// Whether cases for other linkers have relocations of that type.
pub(super) fn can_ask(row: &Row) -> bool {
    [Peer::Gnu, Peer::Lld]
        .iter()
        .any(|peer| peer.stand_in(row.number).is_some())
}

/// Cases that can be linked together, with everything that other linkers can be asked.
#[must_use]
pub fn batch(scope: Scope, seed: u64, count: u64) -> Vec<Case> {
    let base = if seed.is_multiple_of(2) {
        0x1000_0000
    } else {
        0x7f12_3400_0000
    };
    let case = |index: u64| {
        let entropy = entropy(seed.wrapping_mul(1 << 20).wrapping_add(index));
        let mut choices = Choices::new(&entropy);
        Case::generate(&mut choices, scope, &format!("e{index}_"), base + index * CASE_BYTES)
    };
    (0..count).map(case).collect()
}

/// Compares both linkers with this crate on the cases that bytes stand for, a piece of them for each.
///
/// # Panics
/// If one of them differs for no known cause, or cannot be run.
pub fn check_peers_bytes(bytes: &[u8]) {
    const PIECE_BYTES: usize = 384;
    const MOST_CASES: usize = 40;
    let Some((first, rest)) = bytes.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return;
    };
    let scope = if first & 1 == 0 { Scope::Program } else { Scope::Library };
    let base = BASES[usize::from(first >> 1 & 1)];
    let pieces = rest.chunks(PIECE_BYTES).take(MOST_CASES).enumerate();
    let cases: Vec<Case> = pieces
        .map(|(index, piece)| {
            let (prefix, base) = (format!("e{index}_"), base + index as u64 * CASE_BYTES);
            Case::generate(&mut Choices::new(piece), scope, &prefix, base)
        })
        .collect();
    for peer in [Peer::Gnu, Peer::Lld] {
        let (_, differences) = peer.check(scope, &cases).unwrap_or_else(|error| panic!("{error}"));
        assert!(differences.is_empty(), "{differences:#?}");
    }
}

impl Peer {
    /// The relocation type to ask for in place of one; `None` if the linker has no answer.
    fn stand_in(self, number: u32) -> Option<u32> {
        match (self, number) {
            (_, 16) => None,      // both take DTPMOD64 for a dynamic type
            (_, 18 | 23) => None, // shared libraries cannot have them
            (_, 35) => Some(0),   // marks an instruction; nothing is written
            (Peer::Lld, 28 | 30) => None,
            (Peer::Lld, 39) => Some(2), // withdrawn with MPX
            (Peer::Lld, 40) => Some(4),
            // The psABI has these since 2024, and computes the same.
            (_, 43 | 46 | 49) => Some(9),
            (_, 44 | 47 | 50) => Some(22),
            (_, 45 | 48 | 51) => Some(34),
            (_, number) => Some(number),
        }
    }

    fn command(self) -> Command {
        match self {
            Peer::Gnu => {
                let mut command = Command::new("ld");
                // With --verbose it reports more than the first ten overflows.
                command.args(["--verbose", "--no-warn-rwx-segments"]);
                command
            }
            Peer::Lld => {
                let mut command = Command::new("ld.lld-19");
                command.arg("--error-limit=0");
                command
            }
        }
    }

    /// Links a [`batch`], and compares what becomes of every case. Returns the differences that have no known cause.
    ///
    /// # Errors
    /// With words, if the linker cannot be run or gives up.
    pub fn check(self, scope: Scope, cases: &[Case]) -> Result<(Tally, Vec<Difference>), String> {
        let folder = Folder::new()?;
        let attempts: Vec<_> = cases
            .iter()
            .map(|case| Attempt::new(case, |case| link_case(case, 0, Detail::Minimal, false).1))
            .collect();
        let models: Vec<Model<'_>> = attempts.iter().map(|attempt| Model::new(&attempt.case)).collect();
        let mut linked = Vec::new();
        for (attempt, model) in attempts.iter().zip(&models) {
            let result = link_case(&attempt.case, 0, Detail::Full, false);
            linked.push(result.1.ok().map(|image| Ours::new(model, result.0, image)));
        }
        let output = self.link(scope, cases, &linked, &folder.0)?;
        let theirs = Theirs::new(&output.0)?;
        let complaints = Complaints::read(&output.1);
        let mut comparison = Comparison {
            peer: self,
            theirs: &theirs,
            complaints: &complaints,
            tally: Tally::default(),
            differences: Vec::new(),
        };
        for (index, case) in cases.iter().enumerate() {
            comparison.tally.cases += 1;
            comparison.tally.objects += case.all().count() as u64;
            comparison.verdict(index, case, attempts[index].result.as_ref().err());
            if let Some(ours) = &linked[index] {
                comparison.sites(index, case, ours, &attempts[index].out_of_range);
                comparison.contents(index, ours);
            }
        }
        Ok((comparison.tally, comparison.differences))
    }

    /// Writes the files and the script, and runs the linker. Returns what it wrote, and its messages.
    fn link(
        self,
        scope: Scope,
        cases: &[Case],
        linked: &[Option<Ours<'_>>],
        folder: &Path,
    ) -> Result<(Vec<u8>, String), String> {
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).map_err(|e| e.to_string());
        let mut files = String::new();
        for case in cases {
            let mut asked = case.clone();
            for index in 0..case.objects.len() + case.members.len() {
                let object = asked.object_mut(index);
                debug_assert!(object.table == RelocationTable::Rela, "GNU ld reads no other");
                for relocation in object.sections.iter_mut().flat_map(|section| &mut section.relocations) {
                    relocation.number = self.stand_in(relocation.number).unwrap_or(0);
                }
            }
            for object in &asked.objects {
                write(&object.name, &object.write())?;
                let _ = writeln!(files, "{}", object.name);
            }
            if !asked.members.is_empty() {
                let name = format!("{}lib.a", case.prefix);
                // Without an index GNU ld does not read it.
                write(&name, &write_archive(&asked.members, true))?;
                let _ = writeln!(files, "{name}");
            }
        }
        write("files", files.as_bytes())?;
        write("script", script(scope, cases, linked).as_bytes())?;
        let mut command = self.command();
        // Files that the script names before the command line does are linked in the order of the script.
        command.current_dir(folder).args([
            "--noinhibit-exec",
            "-n",
            "--entry=0",
            "@files",
            "-T",
            "script",
            "-o",
            "out",
        ]);
        match scope {
            Scope::Library => command.args(["-shared", "-Bsymbolic"]),
            _ => command.arg("-static"),
        };
        let mut run = |more: &[&str]| {
            let output = command.args(more).output().map_err(|e| format!("{self:?}: {e}"))?;
            Ok::<_, String>(String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let mut messages = run(&[])?;
        if messages.contains("relink with --no-relax") {
            // GNU ld has made an absolute form of an instruction, and gives up because the address does not fit it.
            messages = run(&["--no-relax"])?;
        }
        let bytes = std::fs::read(folder.join("out"));
        Ok((
            bytes.map_err(|e| format!("{self:?} wrote nothing: {e}\n{messages}"))?,
            messages,
        ))
    }
}

/// The linker script that puts every section where it is in our images.
fn script(scope: Scope, cases: &[Case], linked: &[Option<Ours<'_>>]) -> String {
    let mut script = String::new();
    for external in cases.iter().flat_map(|case| &case.externals) {
        let _ = writeln!(script, "{} = {:#x};", external.name, external.target.address);
    }
    let tables = cases.first().map_or(0, |case| case.base) - TABLES_BYTES;
    let _ = writeln!(
        script,
        "SECTIONS {{\n . = {tables:#x};\n .got : {{ *(.got) *(.igot) }}\n .got.plt : {{ *(.got.plt) *(.igot.plt) }}\n \
         .plt : {{ *(.plt) *(.iplt) *(.plt.got) *(.plt.sec) }}\n .rela.dyn : {{ *(.rela.dyn) *(.rela.got) *(.rela.iplt) \
         *(.rela.plt) *(.rela.*) }}\n .dynsym : {{ *(.dynsym) }}\n .dynstr : {{ *(.dynstr) }}\n .hash : {{ \
         *(.hash) }}\n .gnu.hash : {{ *(.gnu.hash) }}\n .dynamic : {{ *(.dynamic) }}"
    );
    if scope == Scope::Library {
        let _ = writeln!(
            script,
            " .tdata ALIGN(64) : {{ *(.tdata.*) }}\n .tbss : {{ *(.tbss.*) }}"
        );
    }
    for (case, ours) in cases.iter().zip(linked) {
        let Some(ours) = ours else { continue };
        let mut placed: Vec<_> = ours
            .sections
            .iter()
            .map(|(place, address)| (*address, *place))
            .collect();
        placed.sort_unstable();
        for (address, (object, at)) in placed {
            let plan = case.object(object);
            let section = &plan.sections[at];
            if section.is_tls() {
                continue;
            }
            let file = if object < case.objects.len() {
                format!("\"{}\"", plan.name)
            } else {
                format!("*{}lib.a:{}", case.prefix, plan.name)
            };
            let _ = writeln!(
                script,
                " {}o{object}_{at} {address:#x} : {{ {file}({}) }}",
                case.prefix, section.name
            );
        }
        for (name, address) in ours.commons() {
            let files = case
                .objects
                .iter()
                .map(|object| format!("\"{}\"(COMMON) ", object.name));
            let _ = writeln!(
                script,
                " {name}_common {address:#x} : {{ {} }}",
                files.collect::<String>()
            );
        }
    }
    // What is refused is linked there all the same.
    let rest = cases.last().map_or(0, |case| case.base) + 16 * CASE_BYTES;
    let _ = writeln!(
        script,
        " .rest.text {rest:#x} : {{ *(.text.*) }}\n .rest.data : {{ *(.data.* .rodata.*) }}\n .rest.bss : {{ *(.bss.* \
         COMMON) }}\n}}"
    );
    script
}

struct Comparison<'a> {
    peer: Peer,
    theirs: &'a Theirs<'a>,
    complaints: &'a Complaints,
    tally: Tally,
    differences: Vec<Difference>,
}

impl Comparison<'_> {
    fn differ(&mut self, case: usize, words: String) {
        self.differences.push(Difference { case, words });
    }

    /// Whether both refuse a case for names that are defined twice or not at all, or neither does.
    fn verdict(&mut self, index: usize, case: &Case, error: Option<&Error>) {
        let theirs: Vec<&String> = self
            .complaints
            .names
            .iter()
            .filter(|n| n.starts_with(&case.prefix))
            .collect();
        let ours: Vec<&str> = match error {
            None => Vec::new(),
            Some(Error::Duplicate { symbol, .. }) => vec![symbol],
            Some(Error::Undefined(undefined)) => undefined.iter().map(|undefined| undefined.symbol.as_str()).collect(),
            Some(other) => return self.differ(index, format!("ours alone: {other}")),
        };
        let duplicate = matches!(error, Some(Error::Duplicate { .. }));
        let model = Model::new(case);
        // What only relocations refer to that this linker is not asked for, it does not miss.
        let peer = self.peer;
        let asked = |name: &str| {
            let mut sites = model.sites().filter(|site| site.symbol.name == name);
            duplicate || sites.any(|site| peer.stand_in(site.row.number).is_some_and(|number| number != 0))
        };
        let ours: Vec<&str> = ours.into_iter().filter(|name| asked(name)).collect();
        self.tally.refused += u64::from(!ours.is_empty());
        let missing = ours.iter().find(|name| !theirs.iter().any(|their| their == *name));
        if ours.is_empty() != theirs.is_empty() || missing.is_some() {
            self.differ(
                index,
                format!("ours complains of {ours:?}, {:?} of {theirs:?}", self.peer),
            );
        }
    }

    fn sites(&mut self, index: usize, case: &Case, ours: &Ours<'_>, out_of_range: &HashSet<(usize, usize, usize)>) {
        let blocks = Blocks::new(ours, self.theirs);
        let model = Model::new(case);
        let peer = self.peer;
        // Each has a table of its own, whose address the probe asks for.
        let asked = |site: &Site<'_>| peer.stand_in(site.row.number).is_some() && site.symbol.name != GOT;
        for site in model.sites().filter(asked) {
            let linked = LinkedSite {
                place: ours.place(&site),
                ..ours.linked_site(&site)
            };
            let mine = if out_of_range.contains(&(site.object, site.section, site.index)) {
                Meaning::OutOfRange
            } else {
                meaning(ours, &linked).unrelaxed()
            };
            let section = &case.object(site.object).sections[site.section];
            let place = (section.name.clone(), site.relocation.offset);
            let theirs = if self.complaints.out_of_range.contains(&place) {
                Meaning::OutOfRange
            } else {
                blocks.translate(&site, meaning(self.theirs, &linked).unrelaxed())
            };
            if mine == theirs {
                self.tally.same += u64::from(mine != Meaning::OutOfRange);
                self.tally.out_of_range += u64::from(mine == Meaning::OutOfRange);
                continue;
            }
            let at = Disagreement {
                model: &model,
                site,
                ours: mine,
                theirs,
            };
            let mut known = EXPLAINED.iter().filter(|known| known.peer == peer);
            match known.find(|known| (known.applies)(&at)) {
                Some(known) => *self.tally.explained.entry(known.cause).or_default() += 1,
                None => self.differ(
                    index,
                    format!(
                        "{} against {:?} of {:?} + {:#x} at {}+{:#x} ({:#x}): ours {:x?}, {peer:?} {:x?}",
                        site.row.name,
                        site.symbol.name,
                        model.bound(site.object, site.symbol),
                        site.relocation.addend,
                        place.0,
                        place.1,
                        linked.place,
                        at.ours,
                        at.theirs,
                    ),
                ),
            }
        }
    }

    /// The bytes that no relocation covers.
    fn contents(&mut self, index: usize, ours: &Ours<'_>) {
        for place in ours.model.sections() {
            let plan = &ours.model.case.object(place.0).sections[place.1];
            let Some(&start) = ours.sections.get(&place) else {
                continue;
            };
            if plan.is_nobits() || plan.is_tls() {
                continue;
            }
            let mut free = vec![true; plan.contents.len()];
            for relocation in &plan.relocations {
                let at = relocation.offset as usize;
                // Instructions before a GOT field may be rewritten by either.
                let before = if matches!(relocation.number, 9 | 41..=51) { 4 } else { 0 };
                free[at.saturating_sub(before)..(at + 8).min(plan.contents.len())].fill(false);
            }
            let theirs = self.theirs.bytes(start, plan.contents.len());
            let mine = ours.bytes(start, plan.contents.len());
            let (Some(mine), Some(theirs)) = (mine, theirs) else {
                return self.differ(index, format!("{} at {start:#x} is not in both", plan.name));
            };
            if let Some(at) = (0..free.len()).find(|at| free[*at] && mine[*at] != theirs[*at]) {
                self.differ(index, format!("{}+{at:#x} differs", plan.name));
            }
        }
    }
}

/// Where a case's thread-local sections are in their block and in ours.
struct Blocks {
    /// Theirs, size, ours.
    sections: Vec<(u64, u64, u64)>,
}

impl Blocks {
    fn new(ours: &Ours<'_>, theirs: &Theirs<'_>) -> Self {
        let template = ours.image.tls.map_or(0, |tls| tls.template);
        let sections = ours.sections.iter().filter_map(|((object, at), address)| {
            let section = &ours.model.case.object(*object).sections[*at];
            let symbol = format!("{}s{object}_{at}", ours.model.case.prefix);
            let start = theirs.symbols.get(symbol.as_str()).copied()?;
            section
                .is_tls()
                .then(|| (start, section.size, address.wrapping_sub(template)))
        });
        Blocks {
            sections: sections.collect(),
        }
    }

    fn offset(&self, theirs: u64) -> Option<u64> {
        let found = self
            .sections
            .iter()
            .find(|(start, size, _)| theirs.wrapping_sub(*start) < *size);
        found.map(|(start, _, ours)| theirs - start + ours)
    }

    /// The same meaning with offsets in our block.
    fn translate(&self, site: &Site<'_>, meaning: Meaning) -> Meaning {
        match meaning {
            Meaning::Pair { module, offset } if site.row.need != Need::TlsLd => Meaning::Pair {
                module,
                offset: self.offset(offset).unwrap_or(u64::MAX),
            },
            Meaning::Offset(offset) => Meaning::Offset(self.offset(offset).unwrap_or(u64::MAX)),
            Meaning::Field(field) if site.row.formula == Formula::FromTlsBlock => {
                let bits = 64 - u32::from(site.row.width) * 8;
                let addend = site.relocation.addend.cast_unsigned();
                let value = ((field << bits).cast_signed() >> bits)
                    .cast_unsigned()
                    .wrapping_sub(addend);
                let value = self.offset(value).unwrap_or(u64::MAX).wrapping_add(addend);
                Meaning::Field(value << bits >> bits)
            }
            other => other,
        }
    }
}

impl Tally {
    /// Adds the counts of another batch.
    pub fn add(&mut self, other: &Tally) {
        self.cases += other.cases;
        self.objects += other.objects;
        self.same += other.same;
        self.out_of_range += other.out_of_range;
        self.refused += other.refused;
        for (cause, count) in &other.explained {
            *self.explained.entry(cause).or_default() += count;
        }
    }
}
