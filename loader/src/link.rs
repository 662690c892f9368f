//! The link itself, as its list of phases.

use object::elf;

use crate::apply::Linked;
use crate::archive::Archive;
use crate::debug;
use crate::error::{Error, Result};
use crate::fingerprint;
use crate::image::{
    Detail, FunctionArray, Image, ImageDefinition, ImageSection, ImageSymbol, ImageTls, SymbolBinding, SymbolKind,
};
use crate::input::Input;
use crate::layout::{self, ArrayKind, Layout, PLT_ENTRY_BYTES, SectionPlace, WORD_BYTES};
use crate::limits::Limits;
use crate::memory::{Memory, Reach, SegmentKind, SegmentSize, TlsRequest, Window};
use crate::object::Object;
use crate::own::{self, Rebind};
use crate::resolver::{CopyRule, Resolver, TargetKind};
use crate::scan::{self, Demand, NO_SLOT, Needs, Summary};
use crate::supplied::LinkerSymbol;
use crate::unit::{Definition, Symbol, Unit};

/// How to link.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How much the image tells of itself.
    pub detail: Detail,
    /// Whether to note every relocation as it is applied.
    pub trace: bool,
    /// Whether to read and relocate the objects' debug sections, for [`elf_image`](crate::elf_image()).
    pub debug: bool,
    /// Limits on the inputs.
    pub limits: Limits,
}

/// Links objects, and the members of archives that they need, into one image.
///
/// `fallbacks` gives archives that are asked last, for what nothing else defines: compiler runtimes such as libgcc.a.
/// It is called only if something is missing.
///
/// # Errors
/// Any [`Error`]; nothing is allocated then.
pub fn link<'data>(
    inputs: &'data [Input<'_>],
    fallbacks: impl FnOnce() -> &'data [Input<'data>],
    resolver: &mut dyn Resolver,
    memory: &mut dyn Memory,
    options: &Options,
) -> Result<Image> {
    // parse: objects as they are given, archives by their index
    let (mut unit, mut archives) = parse(inputs, resolver.rebinds())?;
    // resolve: which definition each name is bound to
    unit.bind_earlier(resolver, 0);
    unit.take_members(&mut archives, resolver)?;
    // scan: what the relocations need, which may need members of the fallbacks in turn
    let summary = scan_and_bind(&mut unit, fallbacks, resolver)?;
    // layout: where each section goes in its segment
    let mut layout = layout::place_sections(&unit, &options.limits)?;
    // rebind: which own definitions are called through stubs, or keep the storage of earlier ones
    own::rebind(&mut unit, &layout, resolver);
    // decide: GOT slots, PLT entries, copies and relaxations, which depend on where the image can be
    let mut window = choose_window(&unit, &layout, memory, &options.limits)?;
    if !unit.owns.is_empty() {
        own::take_stubs(&mut unit, window, resolver, memory)?;
        // Stubs may have taken what was to be the image's.
        window = choose_window(&unit, &layout, memory, &options.limits)?;
    }
    let tables = scan::decide(&mut unit, window, summary)?;
    layout.add_tables(&mut unit, &tables, &options.limits)?;
    // allocate: from here on addresses are final, and an error has to give the memory back
    let placement = memory.allocate(&layout.sizes)?;
    let request = tls_request(&unit, &layout, summary);
    let tls = match request.map(|request| memory.allocate_tls(&request)).transpose() {
        Ok(tls) => tls,
        Err(error) => {
            memory.free(&placement);
            return Err(error.into());
        }
    };
    let descriptors = memory.tls_descriptors();
    let local_dynamic = own::kept_tls_block(&unit).or(tls);
    let mut linked = Linked {
        unit: &mut unit,
        layout: &layout,
        tables: &tables,
        placement,
        tls,
        descriptors,
        local_dynamic,
    };
    let result = write(&mut linked, memory, options);
    if result.is_err() {
        memory.free(&placement);
        if let (Some(tls), Some(request)) = (&tls, &request) {
            memory.free_tls(tls, request);
        }
    }
    result
}

/// The phases that write: copy, apply, finalize.
fn write(linked: &mut Linked<'_, '_>, memory: &mut dyn Memory, options: &Options) -> Result<Image> {
    linked.assign_addresses();
    linked.copy(memory);
    let mut relocations = Vec::new();
    let noted = linked.apply(memory, options.trace.then_some(&mut relocations))?;
    let ifuncs = linked.fill_tables(memory)?;
    copy_variables(linked, memory)?;
    let debug = if options.debug {
        debug::sections(linked, &options.limits)?
    } else {
        Vec::new()
    };
    memory.finalize(&linked.placement)?;
    let mut image = describe(linked, options.detail);
    image.relocations = relocations;
    image.references = noted.references;
    image.exposed = noted.exposed;
    image.ifuncs = ifuncs;
    image.debug = debug;
    Ok(image)
}

fn parse<'data>(inputs: &'data [Input<'_>], rebinds: bool) -> Result<(Unit<'data>, Vec<Archive<'data>>)> {
    let mut unit = Unit::new(rebinds);
    let mut archives = Vec::new();
    for input in inputs {
        if input.is_archive() {
            archives.push(Archive::parse(input)?);
        } else {
            unit.add(Object::parse(input.name(), input.bytes())?)?;
        }
    }
    Ok((unit, archives))
}

fn scan_and_bind<'data>(
    unit: &mut Unit<'data>,
    fallbacks: impl FnOnce() -> &'data [Input<'data>],
    resolver: &mut dyn Resolver,
) -> Result<Summary> {
    let mut fallbacks = Some(fallbacks);
    let mut summary = Summary::default();
    let mut archives = Vec::new();
    let mut scanned = 0;
    loop {
        let end = unit.objects.len();
        scan::collect(unit, scanned, &mut summary)?;
        scanned = end;
        unit.bind_external(resolver);
        let undefined = unit.undefined();
        if undefined.is_empty() {
            return Ok(summary);
        }
        if let Some(fallbacks) = fallbacks.take() {
            archives = fallbacks().iter().map(Archive::parse).collect::<Result<_>>()?;
        }
        if !unit.take_members(&mut archives, resolver)? {
            return Err(Error::Undefined(undefined));
        }
    }
}

/// Finds a range from which every variable outside of the unit is in reach, where there is one.
fn choose_window(unit: &Unit<'_>, layout: &Layout, memory: &mut dyn Memory, limits: &Limits) -> Result<Window> {
    let sizes = with_tables(unit, layout, limits)?;
    if scan::demand(unit) == Demand::Low {
        return Ok(memory.reserve(Reach::Low, &sizes)?);
    }
    let default = memory.reserve(Reach::Default, &sizes)?;
    let Some(address) = scan::unreachable(unit, default) else {
        return Ok(default);
    };
    let other = if address < 1 << 31 {
        Reach::Low
    } else {
        Reach::Near(address)
    };
    if let Ok(window) = memory.reserve(other, &sizes)
        && scan::unreachable(unit, window).is_none()
    {
        return Ok(window);
    }
    Ok(memory.reserve(Reach::Default, &sizes)?)
}

/// The segments' sizes with as many table entries, copies and common symbols as there can be.
fn with_tables(unit: &Unit<'_>, layout: &Layout, limits: &Limits) -> Result<[SegmentSize; 4]> {
    const WORDS_A_SYMBOL: u64 = 9;
    let mut sizes = layout.sizes;
    let mut add = |segment: SegmentKind, bytes: u64, align: u64| {
        let size = &mut sizes[segment as usize];
        size.total_bytes = limits.add(size.total_bytes, bytes.saturating_add(align - 1), "segment")?;
        size.align = size.align.max(align);
        Ok::<_, Error>(())
    };
    let mut slots = 1;
    for symbol in &unit.symbols {
        slots += u64::from(symbol.needs.has(Needs::SLOTS));
        let taken = match symbol.definition {
            Definition::Linker(LinkerSymbol::DsoHandle) => Some(layout::DSO_HANDLE),
            Definition::External(target) if symbol.needs.has(Needs::NEAR) => {
                matches!(target.kind, TargetKind::Data(_)).then(|| layout::taken_by_copy(target))
            }
            _ => layout::taken(symbol),
        };
        if let Some(taken) = taken {
            add(taken.segment, taken.size, taken.align)?;
        }
    }
    add(SegmentKind::Code, slots * PLT_ENTRY_BYTES, PLT_ENTRY_BYTES)?;
    add(SegmentKind::ReadOnly, slots * WORDS_A_SYMBOL * WORD_BYTES, WORD_BYTES)?;
    Ok(sizes)
}

fn tls_request(unit: &Unit<'_>, layout: &Layout, summary: Summary) -> Option<TlsRequest> {
    if layout.tls_size == 0 && !summary.tls_ld {
        return None;
    }
    let fixed_offset = unit.symbols.iter().any(|symbol| {
        let own = symbol.definition != Definition::Undefined && unit.outside(symbol).is_none();
        own && (symbol.needs.has(Needs::TLS_LE) || symbol.needs.has(Needs::TLS_IE))
    });
    Some(TlsRequest {
        size_bytes: layout.tls_size,
        align: layout.tls_align,
        fixed_offset,
    })
}

fn copy_variables(linked: &Linked<'_, '_>, memory: &mut dyn Memory) -> Result<()> {
    let copies: Vec<_> = linked
        .copies()
        .filter(|(_, _, rule)| *rule == CopyRule::Harmless)
        .collect();
    for (address, original, _) in copies {
        let mut bytes = vec![0; original.size as usize];
        if !memory.read(original.address, &mut bytes) {
            return Err(Error::Memory(crate::MemoryError::Refused(
                "a library's variable cannot be read",
            )));
        }
        memory.initialize(&linked.placement, address, &bytes);
    }
    Ok(())
}

/// Describes the image once all is written.
fn describe(linked: &Linked<'_, '_>, detail: Detail) -> Image {
    let constants = linked.base(SegmentKind::ReadOnly);
    let arrays = |kind: ArrayKind| {
        let parts = linked
            .layout
            .arrays
            .iter()
            .filter(|part| part.kind == kind && part.size >= 8);
        let array = |part: &layout::ArrayPart| FunctionArray {
            address: constants + part.offset,
            count: part.size / 8,
            backwards: part.backwards,
        };
        parts.map(array).collect::<Vec<_>>()
    };
    let mut symbols = Vec::new();
    for symbol in &linked.unit.symbols {
        describe_symbol(linked, symbol, detail, &mut symbols);
    }
    Image {
        placement: linked.placement,
        symbols,
        objects: linked.unit.objects.iter().map(|object| object.name.clone()).collect(),
        preinit: arrays(ArrayKind::Preinit),
        init: arrays(ArrayKind::Init),
        fini: arrays(ArrayKind::Fini),
        ifuncs: Vec::new(),
        eh_frame: linked
            .layout
            .eh_frame
            .filter(|(_, size)| *size > 0)
            .map(|(start, size)| (constants + start, size)),
        tls: linked.tls.map(|placement| ImageTls {
            placement,
            template: constants + linked.layout.tls_template,
            filled_bytes: linked.layout.tls_filled,
            size_bytes: linked.layout.tls_size,
            align: linked.layout.tls_align,
        }),
        dso_handle: linked
            .layout
            .dso_handle
            .map(|offset| linked.base(SegmentKind::Data) + offset),
        sections: if detail == Detail::Full {
            describe_sections(linked)
        } else {
            Vec::new()
        },
        relocations: Vec::new(),
        debug: Vec::new(),
        definitions: describe_definitions(linked),
        references: Vec::new(),
        exposed: own::Exposed::default(),
    }
}

fn describe_definitions(linked: &Linked<'_, '_>) -> Vec<ImageDefinition> {
    let fingerprints = fingerprint::of_functions(linked.unit);
    let describe = |(owned, fingerprint): (&own::Owned, u64)| {
        let own = own::describe(linked.unit, owned);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
        ImageDefinition {
            name: text(own.name),
            file: own.file.map(text),
            kind: own.kind,
            binding: own.binding,
            address: linked.definition_address(&linked.unit.symbols[owned.id.0 as usize]),
            size: own.size,
            fingerprint,
            rebound: match owned.rebind {
                Rebind::To(target) => Some(target),
                _ => None,
            },
        }
    };
    linked.unit.owns.iter().zip(fingerprints).map(describe).collect()
}

fn describe_symbol(linked: &Linked<'_, '_>, symbol: &Symbol<'_>, detail: Detail, symbols: &mut Vec<ImageSymbol>) {
    let full = detail == Detail::Full;
    let global = symbol.binding != elf::STB_LOCAL;
    if symbol.name.is_empty() || !(full || global) {
        return;
    }
    let name = String::from_utf8_lossy(symbol.name);
    if full && let Some(slots) = linked.slots(symbol) {
        let mut synthetic = |suffix: &str, address, size| {
            symbols.push(ImageSymbol {
                name: format!("{name}@{suffix}").into(),
                address,
                size,
                kind: SymbolKind::Synthetic,
                binding: SymbolBinding::Local,
                object: symbol.object,
            });
        };
        let words = [
            ("GOT", slots.got, 8),
            ("GOTPLT", slots.plt_got, 8),
            ("TLSGD", slots.tls_gd, 16),
            ("GOTTPOFF", slots.tls_ie, 8),
            ("TLSDESC", slots.tls_desc, 32),
        ];
        for (suffix, word, size) in words.into_iter().filter(|(_, word, _)| *word != NO_SLOT) {
            synthetic(suffix, linked.slot(word), size);
        }
        if slots.plt != NO_SLOT {
            synthetic("PLT", linked.plt(slots.plt), PLT_ENTRY_BYTES);
        }
    }
    let Some(kind) = symbol_kind(linked, symbol) else {
        return;
    };
    let binding = symbol.visible_binding();
    if full || binding != SymbolBinding::Local {
        symbols.push(ImageSymbol {
            name: name.into(),
            address: linked.definition_address(symbol),
            size: symbol.size,
            kind,
            binding,
            object: symbol.object,
        });
    }
}

/// What a symbol that the image itself defines is; `None` for the others.
fn symbol_kind(linked: &Linked<'_, '_>, symbol: &Symbol<'_>) -> Option<SymbolKind> {
    if matches!(symbol.kind, elf::STT_FILE | elf::STT_SECTION) {
        return None;
    }
    match symbol.definition {
        _ if linked.thread_local(symbol).is_some() => (!matches!(
            symbol.definition,
            Definition::External(_) | Definition::Undefined | Definition::Linker(_)
        ))
        .then_some(SymbolKind::Tls),
        Definition::Section { section, .. } => {
            let code = linked.unit.objects[symbol.object as usize].sections[section as usize]
                .flags
                .contains(elf::SHF_EXECINSTR);
            let loaded = linked.layout.places[symbol.object as usize][section as usize] != SectionPlace::Nowhere;
            let function =
                matches!(symbol.kind, elf::STT_FUNC | elf::STT_GNU_IFUNC) || (symbol.kind == elf::STT_NOTYPE && code);
            loaded.then_some(if function {
                SymbolKind::Function
            } else {
                SymbolKind::Data
            })
        }
        Definition::Common { .. } => Some(SymbolKind::Data),
        Definition::Absolute(_) => Some(SymbolKind::Absolute),
        _ => None,
    }
}

fn describe_sections(linked: &Linked<'_, '_>) -> Vec<ImageSection> {
    let mut sections = Vec::new();
    for (number, places) in linked.layout.places.iter().enumerate() {
        for (index, (place, section)) in places.iter().zip(&linked.unit.objects[number].sections).enumerate() {
            let (segment, offset) = match *place {
                SectionPlace::In(segment, offset) => (segment, offset),
                SectionPlace::Tls(offset) => (SegmentKind::ReadOnly, linked.layout.tls_template + offset),
                SectionPlace::Nowhere => continue,
            };
            sections.push(ImageSection {
                name: section.display_name().into(),
                object: Some(number as u32),
                index: Some(index as u32),
                segment,
                address: linked.base(segment) + offset,
                size: section.size,
                filled: !section.is_nobits(),
                thread_local: section.is_tls(),
            });
        }
    }
    let mut made = |name: &str, segment, address, size| {
        if size > 0 {
            sections.push(ImageSection {
                name: name.into(),
                object: None,
                index: None,
                segment,
                address,
                size,
                filled: true,
                thread_local: false,
            });
        }
    };
    made(
        ".plt",
        SegmentKind::Code,
        linked.plt(0),
        u64::from(linked.tables.plt_entries) * PLT_ENTRY_BYTES,
    );
    made(
        ".got",
        SegmentKind::ReadOnly,
        linked.got(),
        u64::from(linked.tables.got_words) * 8,
    );
    sections.sort_by_key(|section| section.address);
    sections
}
