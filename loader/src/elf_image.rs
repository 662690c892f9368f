//! Writes a linked image as an ELF file that debuggers and binary tools read.

use std::collections::HashMap;

use object::elf;
use object::write::StringId;
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, SectionIndex, Sym, Writer};

use crate::error::{Error, Result};
use crate::image::{Image, ImageSection, ImageSymbol, SymbolBinding, SymbolKind};
use crate::memory::{PAGE_BYTES, SegmentKind};
use crate::own::OwnKind;

/// Writes an image as an ELF file (ET_EXEC): its sections at their addresses, its symbols, and its debug sections.
///
/// The image was linked with [`Detail::Full`](crate::Detail::Full), and with
/// [`Options::debug`](crate::Options::debug) if debug sections are wanted. `contents` has the bytes of each segment, by
/// [`SegmentKind::ALL`], from its start; where they are shorter than a section reaches, the section is written without
/// contents (SHT_NOBITS), so that four empty slices give a file of symbols alone, like the separate debug files of
/// `objcopy --only-keep-debug`.
///
/// Neighbouring sections of one name are joined. Symbols that nobody outside may bind to are local, after an STT_FILE
/// symbol that names their object. Common symbols and copies of variables are in a section `COMMON`. There is no entry
/// point: the file is to be read, not to be executed.
///
/// # Errors
/// [`Error::Unsupported`] where the file would have more than 4 GiB of names.
///
/// # Example
/// ```
/// use restub_loader::{BufferMemory, Detail, Input, NoSymbols, Options, SegmentKind, elf_image, link};
///
/// # fn write(object: &[u8]) -> restub_loader::Result<Vec<u8>> {
/// let inputs = [Input::from_bytes("a.o", object)];
/// let mut memory = BufferMemory::at(0x40_0000);
/// let options = Options { detail: Detail::Full, debug: true, ..Options::default() };
/// let image = link(&inputs, || &[], &mut NoSymbols, &mut memory, &options)?;
/// elf_image(&image, SegmentKind::ALL.map(|segment| memory.bytes(segment)))
/// # }
/// ```
pub fn elf_image(image: &Image, contents: [&[u8]; 4]) -> Result<Vec<u8>> {
    let too_large = |error: object::write::Error| Error::Unsupported {
        object: "image".into(),
        what: error.to_string(),
        remedy: "link fewer objects at once",
    };
    let file = File::plan(image, contents);
    let mut buffer = Vec::new();
    let mut writer = Writer::new(object::Endianness::Little, true, &mut buffer);
    file.write(&mut writer).map_err(too_large)?;
    Ok(buffer)
}

/// What the file will hold, in the order of its sections.
struct File<'a> {
    image: &'a Image,
    contents: [&'a [u8]; 4],
    loaded: Vec<Output<'a>>,
    /// How many of `loaded` are in the order of addresses, without overlaps.
    in_order: usize,
    symbols: Vec<OutputSymbol<'a>>,
    /// Where variables are kept that the resolver has bound to other storage, by their names and places in the image.
    kept: HashMap<(&'a str, u64), u64>,
}

/// A section of the file that is loaded.
struct Output<'a> {
    name: &'a str,
    segment: SegmentKind,
    address: u64,
    size: u64,
    filled: bool,
    thread_local: bool,
}

struct OutputSymbol<'a> {
    name: &'a str,
    symbol: Option<&'a ImageSymbol>,
    address: u64,
    /// Its place in [`File::loaded`]; `None` for absolute symbols and names of files.
    section: Option<usize>,
}

impl<'a> File<'a> {
    fn plan(image: &'a Image, contents: [&'a [u8]; 4]) -> Self {
        let mut loaded = join(image, |section| !section.thread_local || section.filled);
        add_tails(image, &mut loaded);
        loaded.sort_by_key(|output| output.address);
        let in_order = loaded.len();
        // `.tbss` takes no room of its own, so its addresses are those of what follows.
        loaded.extend(join(image, |section| section.thread_local && !section.filled));
        let variables = image.definitions.iter().filter(|own| own.kind == OwnKind::Variable);
        let kept = variables.filter_map(|own| Some(((&*own.name, own.address), own.rebound?.address)));
        let mut file = File {
            image,
            contents,
            loaded,
            in_order,
            symbols: Vec::new(),
            kept: kept.collect(),
        };
        file.symbols = file.order_symbols();
        file
    }

    /// Local symbols after the names of their objects, then the global ones.
    fn order_symbols(&self) -> Vec<OutputSymbol<'a>> {
        let image = self.image;
        let mut local: Vec<&ImageSymbol> = image.symbols.iter().filter(|symbol| is_local(symbol)).collect();
        local.sort_by_key(|symbol| symbol.object);
        let mut ordered = Vec::with_capacity(image.symbols.len() + image.objects.len());
        let mut object = None;
        for symbol in local {
            if object != Some(symbol.object) {
                object = Some(symbol.object);
                let name = image.objects.get(symbol.object as usize).map_or("", String::as_str);
                // An archive may give its members any name; a string table ends it here.
                let name = name.split('\0').next().unwrap_or("");
                ordered.push(OutputSymbol {
                    name,
                    symbol: None,
                    address: 0,
                    section: None,
                });
            }
            ordered.push(self.output_symbol(symbol));
        }
        let global = image.symbols.iter().filter(|symbol| !is_local(symbol));
        ordered.extend(global.map(|symbol| self.output_symbol(symbol)));
        ordered
    }

    fn output_symbol(&self, symbol: &'a ImageSymbol) -> OutputSymbol<'a> {
        let kept = self.kept.get(&(&*symbol.name, symbol.address));
        let address = kept.copied().unwrap_or(symbol.address);
        let section = match symbol.kind {
            SymbolKind::Absolute => None,
            SymbolKind::Tls => {
                let address = self
                    .image
                    .tls
                    .map_or(0, |tls| tls.template)
                    .wrapping_add(symbol.address);
                self.section_at(address, true)
            }
            _ => self.section_at(address, false),
        };
        OutputSymbol {
            name: &symbol.name,
            symbol: Some(symbol),
            address,
            section,
        }
    }

    /// The section that an address lies in or right behind.
    fn section_at(&self, address: u64, thread_local: bool) -> Option<usize> {
        let reaches = |output: &Output<'_>| address.wrapping_sub(output.address) <= output.size;
        if thread_local {
            // Few, and not in order: those without contents come last.
            return self
                .loaded
                .iter()
                .rposition(|output| output.thread_local && reaches(output));
        }
        let after = self.loaded[..self.in_order].partition_point(|output| output.address <= address);
        after.checked_sub(1).filter(|index| reaches(&self.loaded[*index]))
    }

    fn write(&self, writer: &mut Writer<'a>) -> object::write::Result<()> {
        let plan = self.reserve(writer)?;
        writer.write_file_header(&FileHeader {
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            e_type: elf::ET_EXEC,
            e_machine: elf::EM_X86_64,
            e_entry: 0,
            e_flags: elf::FileFlags(0),
        })?;
        writer.write_align_program_headers();
        for header in &plan.program_headers {
            writer.write_program_header(header);
        }
        for (offset, bytes) in SegmentKind::ALL.map(|segment| (plan.segments[segment as usize], self.bytes(segment))) {
            if !bytes.is_empty() {
                writer.pad_until(offset);
                writer.write(bytes);
            }
        }
        for (section, offset) in self.image.debug.iter().zip(&plan.debug_offsets) {
            writer.pad_until(*offset);
            writer.write(&section.bytes);
        }
        self.write_symbols(writer, &plan);
        writer.write_strtab();
        writer.write_shstrtab();
        self.write_section_headers(writer, &plan);
        Ok(())
    }

    fn reserve(&self, writer: &mut Writer<'a>) -> object::write::Result<Plan> {
        let mut plan = Plan::default();
        writer.reserve_file_header();
        let headers = SegmentKind::ALL
            .iter()
            .filter(|segment| self.total_bytes(**segment) > 0)
            .count();
        writer.reserve_program_headers(headers as u32 + u32::from(self.image.tls.is_some()) + 1);
        for segment in SegmentKind::ALL {
            let bytes = self.bytes(segment);
            if !bytes.is_empty() {
                // An offset congruent to the address lets the segment be mapped (gABI, "Program Header").
                let address = self.image.placement.addresses[segment as usize];
                let behind = address.wrapping_sub(writer.reserved_len()) % PAGE_BYTES;
                writer.reserve_until(writer.reserved_len() + behind);
                plan.segments[segment as usize] = writer.reserve(bytes.len() as u64, 1);
            }
        }
        for section in &self.image.debug {
            plan.debug_offsets.push(writer.reserve(section.bytes.len() as u64, 16));
        }
        writer.reserve_null_section_index();
        for output in &self.loaded {
            plan.names.push(writer.add_section_name(output.name.as_bytes()));
            plan.indexes.push(writer.reserve_section_index());
        }
        for section in &self.image.debug {
            plan.names.push(writer.add_section_name(section.name.as_bytes()));
            writer.reserve_section_index();
        }
        writer.reserve_null_symbol_index();
        for symbol in &self.symbols {
            plan.symbol_names.push(writer.add_string(symbol.name.as_bytes()));
            writer.reserve_symbol_index(symbol.section.map(|section| plan.indexes[section]));
        }
        writer.reserve_symtab_section_index();
        writer.reserve_symtab();
        if writer.symtab_shndx_needed() {
            writer.reserve_symtab_shndx_section_index();
            writer.reserve_symtab_shndx();
        }
        writer.reserve_strtab_section_index();
        writer.reserve_strtab()?;
        writer.reserve_shstrtab_section_index();
        writer.reserve_shstrtab()?;
        writer.reserve_section_headers();
        plan.program_headers = self.program_headers(&plan);
        Ok(plan)
    }

    fn program_headers(&self, plan: &Plan) -> Vec<ProgramHeader> {
        let mut headers = Vec::new();
        for segment in SegmentKind::ALL
            .into_iter()
            .filter(|segment| self.total_bytes(*segment) > 0)
        {
            let address = self.image.placement.addresses[segment as usize];
            let offset = plan.segments[segment as usize];
            headers.push(ProgramHeader {
                p_type: elf::PT_LOAD,
                p_flags: segment_flags(segment),
                p_offset: if offset == 0 { address % PAGE_BYTES } else { offset },
                p_vaddr: address,
                p_paddr: address,
                p_filesz: self.bytes(segment).len() as u64,
                p_memsz: self.total_bytes(segment),
                p_align: PAGE_BYTES,
            });
        }
        if let Some(tls) = &self.image.tls {
            let filled = if self
                .offset_of(SegmentKind::ReadOnly, plan, tls.template, tls.filled_bytes)
                .is_some()
            {
                tls.filled_bytes
            } else {
                0
            };
            headers.push(ProgramHeader {
                p_type: elf::PT_TLS,
                p_flags: elf::PF_R,
                p_offset: self
                    .offset_of(SegmentKind::ReadOnly, plan, tls.template, filled)
                    .unwrap_or(0),
                p_vaddr: tls.template,
                p_paddr: tls.template,
                p_filesz: filled,
                p_memsz: tls.size_bytes,
                p_align: tls.align,
            });
        }
        headers.push(ProgramHeader {
            p_type: elf::PT_GNU_STACK,
            p_flags: elf::PF_R | elf::PF_W,
            p_offset: 0,
            p_vaddr: 0,
            p_paddr: 0,
            p_filesz: 0,
            p_memsz: 0,
            p_align: 16,
        });
        headers
    }

    fn write_symbols(&self, writer: &mut Writer<'a>, plan: &Plan) {
        writer.write_null_symbol();
        for (symbol, name) in self.symbols.iter().zip(&plan.symbol_names) {
            let st_name = writer.string_offset(Some(*name));
            let section = symbol.section.map(|section| plan.indexes[section].0);
            let (binding, kind) = symbol.symbol.map_or((elf::STB_LOCAL, elf::STT_FILE), symbol_info);
            writer.write_symbol(&Sym {
                section,
                st_name,
                st_info: elf::SymbolInfo::new(binding, kind),
                st_other: elf::SymbolOther(0),
                st_shndx: elf::SHN_ABS,
                st_value: symbol.address,
                st_size: symbol.symbol.map_or(0, |symbol| symbol.size),
            });
        }
        writer.write_symtab_shndx();
    }

    fn write_section_headers(&self, writer: &mut Writer<'a>, plan: &Plan) {
        writer.write_null_section_header();
        for (output, name) in self.loaded.iter().zip(&plan.names) {
            let offset = self.offset_of(output.segment, plan, output.address, output.size);
            let filled = output.filled && offset.is_some();
            let header = SectionHeader {
                sh_name: writer.section_name_offset(Some(*name)),
                sh_type: if filled { elf::SHT_PROGBITS } else { elf::SHT_NOBITS },
                sh_flags: output.flags(),
                sh_addr: output.address,
                sh_offset: offset.unwrap_or(0),
                sh_size: output.size,
                sh_link: 0,
                sh_info: 0,
                sh_addralign: 1 << output.address.trailing_zeros().min(12),
                sh_entsize: 0,
            };
            writer.write_section_header(&header);
        }
        let debug = self.image.debug.iter().zip(&plan.debug_offsets);
        for ((section, offset), name) in debug.zip(&plan.names[self.loaded.len()..]) {
            let header = SectionHeader {
                sh_name: writer.section_name_offset(Some(*name)),
                sh_type: elf::SHT_PROGBITS,
                sh_flags: elf::SectionFlags(0),
                sh_addr: 0,
                sh_offset: *offset,
                sh_size: section.bytes.len() as u64,
                sh_link: 0,
                sh_info: 0,
                sh_addralign: 1,
                sh_entsize: 0,
            };
            writer.write_section_header(&header);
        }
        let local = self
            .symbols
            .iter()
            .filter(|symbol| symbol.symbol.is_none_or(is_local))
            .count();
        writer.write_symtab_section_header(local as u32 + 1);
        writer.write_symtab_shndx_section_header();
        writer.write_strtab_section_header();
        writer.write_shstrtab_section_header();
    }

    /// The contents of a segment that go into the file.
    fn bytes(&self, segment: SegmentKind) -> &'a [u8] {
        let bytes = self.contents[segment as usize];
        let filled = self.image.placement.sizes[segment as usize].filled_bytes;
        &bytes[..bytes.len().min(usize::try_from(filled).unwrap_or(usize::MAX))]
    }

    fn total_bytes(&self, segment: SegmentKind) -> u64 {
        self.image.placement.sizes[segment as usize].total_bytes
    }

    /// The file offset of a range of memory, if all of it is in the file.
    fn offset_of(&self, segment: SegmentKind, plan: &Plan, address: u64, size: u64) -> Option<u64> {
        let start = address.checked_sub(self.image.placement.addresses[segment as usize])?;
        let end = start.checked_add(size)?;
        (end <= self.bytes(segment).len() as u64 && plan.segments[segment as usize] != 0)
            .then(|| plan.segments[segment as usize] + start)
    }
}

/// Where everything goes in the file.
#[derive(Default)]
struct Plan {
    /// Offsets of the segments; 0 for one without contents.
    segments: [u64; 4],
    debug_offsets: Vec<u64>,
    program_headers: Vec<ProgramHeader>,
    /// The sections' names, the loaded ones first.
    names: Vec<StringId>,
    indexes: Vec<SectionIndex>,
    symbol_names: Vec<StringId>,
}

impl Output<'_> {
    fn flags(&self) -> elf::SectionFlags {
        let mut flags = elf::SHF_ALLOC;
        match self.segment {
            SegmentKind::Code => flags |= elf::SHF_EXECINSTR,
            // The template is written to by nobody, but tools expect the flag on thread-local sections.
            SegmentKind::ReadOnly if self.thread_local => flags |= elf::SHF_WRITE,
            SegmentKind::ReadOnly => {}
            SegmentKind::Data | SegmentKind::LargeData => flags |= elf::SHF_WRITE,
        }
        if self.thread_local {
            flags |= elf::SHF_TLS;
        }
        flags
    }
}

/// Joins neighbouring sections of one name, in the order of addresses.
fn join<'a>(image: &'a Image, wanted: impl Fn(&ImageSection) -> bool) -> Vec<Output<'a>> {
    let mut outputs: Vec<Output<'a>> = Vec::new();
    for section in image
        .sections
        .iter()
        .filter(|section| section.size > 0 && wanted(section))
    {
        let end = section.address + section.size;
        if let Some(last) = outputs.last_mut()
            && (last.name, last.segment, last.filled) == (&*section.name, section.segment, section.filled)
            && section.object.is_some()
        {
            last.size = end - last.address;
            continue;
        }
        outputs.push(Output {
            name: &section.name,
            segment: section.segment,
            address: section.address,
            size: section.size,
            filled: section.filled,
            thread_local: section.thread_local,
        });
    }
    // Unwind tables are linked without their own terminators, and with one behind them all.
    if let Some((address, size)) = image.eh_frame
        && let Some(output) = outputs
            .iter_mut()
            .find(|output| output.address == address && output.name == ".eh_frame")
    {
        output.size = size + 4;
    }
    outputs
}

/// Adds what lies behind the last section of the writable segments: common symbols and copies of variables.
fn add_tails(image: &Image, outputs: &mut Vec<Output<'_>>) {
    for segment in [SegmentKind::Data, SegmentKind::LargeData] {
        let start = image.placement.addresses[segment as usize];
        let end = start + image.placement.sizes[segment as usize].total_bytes;
        let own = outputs.iter().filter(|output| output.segment == segment);
        let used = own.map(|output| output.address + output.size).max().unwrap_or(start);
        if used < end {
            outputs.push(Output {
                name: "COMMON",
                segment,
                address: used,
                size: end - used,
                filled: false,
                thread_local: false,
            });
        }
    }
}

fn segment_flags(segment: SegmentKind) -> elf::ProgramFlags {
    match segment {
        SegmentKind::Code => elf::PF_R | elf::PF_X,
        SegmentKind::ReadOnly => elf::PF_R,
        SegmentKind::Data | SegmentKind::LargeData => elf::PF_R | elf::PF_W,
    }
}

fn is_local(symbol: &ImageSymbol) -> bool {
    symbol.binding == SymbolBinding::Local
}

fn symbol_info(symbol: &ImageSymbol) -> (elf::SymbolBind, elf::SymbolType) {
    let binding = match symbol.binding {
        SymbolBinding::Local => elf::STB_LOCAL,
        SymbolBinding::Strong => elf::STB_GLOBAL,
        SymbolBinding::Weak => elf::STB_WEAK,
    };
    let kind = match symbol.kind {
        SymbolKind::Function => elf::STT_FUNC,
        SymbolKind::Data => elf::STT_OBJECT,
        SymbolKind::Tls => elf::STT_TLS,
        SymbolKind::Absolute => elf::STT_NOTYPE,
        SymbolKind::Synthetic if symbol.name.ends_with("@PLT") => elf::STT_FUNC,
        SymbolKind::Synthetic => elf::STT_OBJECT,
    };
    (binding, kind)
}
