//! `restub link`: links objects at a pretend address.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use restub::loader::{
    BufferMemory, Detail, Image, ImageSymbol, Object, Options, Request, Resolver, SegmentKind, SymbolBinding,
    SymbolKind, Target, TargetKind, elf_image,
};
use serde::Serialize;

use crate::arguments::{Definition, LinkArguments};
use crate::output::{self, Hex};
use crate::{files, report};

/// What `link --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    at: Hex,
    objects: Vec<String>,
    segments: Vec<report::Segment>,
    sections: Vec<Section>,
    symbols: Vec<report::Symbol>,
    relocations: Vec<report::Relocation>,
    tls: Option<Tls>,
    init: Vec<Array>,
    fini: Vec<Array>,
    ifuncs: Vec<Ifunc>,
}

#[derive(Debug, Serialize)]
struct Section {
    name: String,
    object: Option<String>,
    segment: &'static str,
    address: Hex,
    size: u64,
    filled: bool,
}

#[derive(Debug, Serialize)]
struct Tls {
    template: Hex,
    filled_bytes: u64,
    size_bytes: u64,
    align: u64,
}

/// An array of functions that run at the start or the end.
#[derive(Debug, Serialize)]
struct Array {
    address: Hex,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Ifunc {
    resolver: Hex,
    slot: Hex,
}

pub(crate) fn link(arguments: &LinkArguments) -> anyhow::Result<ExitCode> {
    let inputs = files::open_all(&arguments.files)?;
    let mut definitions = Definitions::new(&arguments.definitions);
    let mut memory = BufferMemory::at(arguments.at);
    let options = Options {
        detail: Detail::Full,
        trace: arguments.json,
        debug: arguments.output.is_some(),
        ..Options::default()
    };
    let mut image = restub::loader::link(&inputs, || &[], &mut definitions, &mut memory, &options)?;
    image.symbols.extend(definitions.used());
    let report = if arguments.json {
        Some(describe(&image, arguments.at, &files::objects(&inputs)?))
    } else {
        None
    };
    // The output may be one of the inputs.
    drop(inputs);
    if let Some(path) = &arguments.output {
        let file = elf_image(&image, SegmentKind::ALL.map(|segment| memory.bytes(segment)))?;
        std::fs::write(path, file).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(report) = report {
        output::print_json(&report)?;
    } else if arguments.output.is_none() {
        output::print(&map(&image))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The symbols of `-D`.
struct Definitions<'a> {
    addresses: HashMap<&'a [u8], (u64, bool)>,
}

impl<'a> Definitions<'a> {
    fn new(definitions: &'a [Definition]) -> Self {
        let addresses = definitions.iter().map(|d| (d.name.as_bytes(), (d.address, false)));
        Definitions {
            addresses: addresses.collect(),
        }
    }

    /// The symbols that something was bound to.
    fn used(&self) -> impl Iterator<Item = ImageSymbol> {
        let mut used: Vec<_> = self.addresses.iter().filter(|(_, (_, used))| *used).collect();
        used.sort();
        used.into_iter().map(|(name, (address, _))| ImageSymbol {
            name: String::from_utf8_lossy(name).into(),
            address: *address,
            size: 0,
            kind: SymbolKind::Absolute,
            binding: SymbolBinding::Strong,
            object: u32::MAX,
        })
    }
}

impl Resolver for Definitions<'_> {
    fn earlier(&mut self, _name: &[u8]) -> Option<Target> {
        None
    }

    fn external(&mut self, request: Request<'_>) -> Option<Target> {
        let (address, used) = self.addresses.get_mut(request.name)?;
        *used = true;
        Some(Target {
            address: *address,
            size: 0,
            kind: TargetKind::Absolute,
        })
    }
}

fn describe(image: &Image, at: u64, objects: &[Object<'_>]) -> Report {
    let array = |array: &restub::loader::FunctionArray| Array {
        address: Hex(array.address),
        count: array.count,
    };
    let sections = image.sections.iter().map(|section| Section {
        name: section.name.to_string(),
        object: section.object.map(|object| image.objects[object as usize].clone()),
        segment: report::segment_name(section.segment),
        address: Hex(section.address),
        size: section.size,
        filled: section.filled,
    });
    Report {
        at: Hex(at),
        objects: image.objects.clone(),
        segments: report::segments(image),
        sections: sections.collect(),
        symbols: sorted(image)
            .into_iter()
            .map(|symbol| report::symbol(image, symbol))
            .collect(),
        relocations: report::relocations(image, objects),
        tls: image.tls.map(|tls| Tls {
            template: Hex(tls.template),
            filled_bytes: tls.filled_bytes,
            size_bytes: tls.size_bytes,
            align: tls.align,
        }),
        init: image.preinit.iter().chain(&image.init).map(array).collect(),
        fini: image.fini.iter().map(array).collect(),
        ifuncs: image
            .ifuncs
            .iter()
            .map(|ifunc| Ifunc {
                resolver: Hex(ifunc.resolver),
                slot: Hex(ifunc.slot),
            })
            .collect(),
    }
}

/// The symbols in the order of their addresses.
fn sorted(image: &Image) -> Vec<&ImageSymbol> {
    let mut symbols: Vec<&ImageSymbol> = image.symbols.iter().collect();
    symbols.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
    symbols
}

/// The map: every section with its symbols below it.
fn map(image: &Image) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(text, "{:18} {:>10}  section or symbol", "address", "size");
    let symbols = sorted(image);
    let addressed = |symbol: &&&ImageSymbol| !matches!(symbol.kind, SymbolKind::Absolute | SymbolKind::Tls);
    for segment in report::segments(image) {
        let _ = writeln!(
            text,
            "\n{} segment, {}, {} bytes",
            segment.kind, segment.permissions, segment.total_bytes
        );
        let (start, end) = (segment.address.0, segment.address.0 + segment.total_bytes);
        let mut lines = Vec::new();
        let in_segment =
            |section: &&restub::loader::ImageSection| report::segment_name(section.segment) == segment.kind;
        for section in image
            .sections
            .iter()
            .filter(in_segment)
            .filter(|section| section.size > 0)
        {
            let object = section
                .object
                .map_or("(made by restub)", |object| &image.objects[object as usize]);
            let line = format!(
                "{:#018x} {:#10x}  {}  {object}",
                section.address, section.size, section.name
            );
            lines.push((section.address, 0, line));
        }
        for symbol in symbols
            .iter()
            .filter(addressed)
            .filter(|symbol| (start..end).contains(&symbol.address))
        {
            let line = format!("{:#018x} {:#10x}      {}", symbol.address, symbol.size, symbol.name);
            lines.push((symbol.address, 1, line));
        }
        lines.sort();
        for (_, _, line) in lines {
            text.push_str(&line);
            text.push('\n');
        }
    }
    for (title, kind) in [("thread-local", SymbolKind::Tls), ("absolute", SymbolKind::Absolute)] {
        let of_kind: Vec<_> = symbols.iter().filter(|symbol| symbol.kind == kind).collect();
        if !of_kind.is_empty() {
            let _ = writeln!(text, "\n{title}");
        }
        for symbol in of_kind {
            let _ = writeln!(
                text,
                "{:#018x} {:#10x}      {}",
                symbol.address, symbol.size, symbol.name
            );
        }
    }
    text
}
