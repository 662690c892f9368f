//! ELF images: what is in them, what may be left out, and what damaged debug sections lead to.

#![allow(missing_docs, reason = "tests have names")]

mod toolchain;

use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use restub_loader::{BufferMemory, Detail, Image, Input, NoSymbols, Options, Result, SegmentKind, elf_image, link};
use toolchain::compile_text;

const SOURCE: &str = "
    __thread int filled = 1; __thread int empty[4];
    int common[3]; static volatile int zeros[5]; int data = 7;
    __attribute__((noipa)) static int helper(int x) { return x + zeros[x]; }
    int entry(int x) { return helper(x) + data + common[1] + filled + empty[2]; }
";
const AT: u64 = 0x7f00_0000_0000;

fn source(flags: &[&str]) -> Vec<u8> {
    compile_text("gcc", "image.c", SOURCE, &[&["-fcommon"], flags].concat())
}

fn link_with(object: &[u8], debug: bool, memory: &mut BufferMemory) -> Result<Image> {
    let inputs = [Input::from_bytes("image.o", object)];
    let options = Options {
        detail: Detail::Full,
        trace: true,
        debug,
        ..Options::default()
    };
    link(&inputs, || &[], &mut NoSymbols, memory, &options)
}

#[test]
fn sections_hold_the_linked_bytes() {
    let mut memory = BufferMemory::at(AT);
    let image = link_with(&source(&["-g", "-O1"]), true, &mut memory).expect("image");
    let bytes = elf_image(&image, SegmentKind::ALL.map(|segment| memory.bytes(segment))).expect("file");
    let file: ElfFile64 = ElfFile64::parse(&*bytes).expect("ELF");
    for section in &image.sections {
        if !section.filled || section.size == 0 || &*section.name == ".eh_frame" {
            continue;
        }
        let named = file.section_by_name(&section.name).expect("the section");
        assert_eq!(named.address(), section.address, "{}", section.name);
        let start = (section.address - image.placement.addresses[section.segment as usize]) as usize;
        let linked = &memory.bytes(section.segment)[start..start + section.size as usize];
        assert_eq!(named.data().expect("data"), linked, "{}", section.name);
    }
    // The unwind table has the terminator that the linker added.
    let (address, size) = image.eh_frame.expect("an unwind table");
    let unwind = file.section_by_name(".eh_frame").expect("the unwind table");
    assert_eq!((unwind.address(), unwind.size()), (address, size + 4));
    assert_eq!(unwind.data().expect("data")[size as usize..], [0; 4]);
    // Each symbol lies in a section that reaches it.
    for symbol in file
        .symbols()
        .filter(|symbol| symbol.kind() != object::SymbolKind::File)
    {
        let section = symbol.section_index().expect("a section");
        let section = file.section_by_index(section).expect("the section");
        let tls = image.tls.expect("thread-local storage").template;
        let address = if symbol.kind() == object::SymbolKind::Tls {
            tls
        } else {
            0
        } + symbol.address();
        assert!(
            (section.address()..=section.address() + section.size()).contains(&address),
            "{:?}",
            symbol.name()
        );
    }
    let names: Vec<&str> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    for name in [
        "entry", "helper", "zeros", "common", "data", "filled", "empty", "image.o",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
}

#[test]
fn contents_may_be_left_out() {
    let mut memory = BufferMemory::at(AT);
    let image = link_with(&source(&["-g"]), true, &mut memory).expect("image");
    let full = elf_image(&image, SegmentKind::ALL.map(|segment| memory.bytes(segment))).expect("file");
    let symbols = elf_image(&image, [&[]; 4]).expect("file");
    assert!(symbols.len() < full.len());
    let (full, symbols): (ElfFile64, ElfFile64) = (
        ElfFile64::parse(&*full).expect("ELF"),
        ElfFile64::parse(&*symbols).expect("ELF"),
    );
    for (one, other) in full.sections().zip(symbols.sections()) {
        assert_eq!(
            (one.name(), one.address(), one.size()),
            (other.name(), other.address(), other.size())
        );
        if one.name().is_ok_and(|name| name.starts_with(".debug_")) {
            assert_eq!(one.data(), other.data());
        } else if one.address() != 0 {
            assert_eq!(other.data().expect("no data"), [0; 0], "{:?}", one.name());
        }
    }
    assert_eq!(full.symbols().count(), symbols.symbols().count());
}

#[test]
fn debug_sections_are_read_only_when_asked_for() {
    let object = source(&["-g"]);
    let mut memory = BufferMemory::at(AT);
    let image = link_with(&object, false, &mut memory).expect("image");
    assert!(image.debug.is_empty());
    let image = link_with(&object, true, &mut memory).expect("image");
    assert!(image.debug.iter().any(|section| &*section.name == ".debug_info"));
}

/// A xorshift generator: the same damage in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Links with debug sections; what links has to be a file that can be read.
fn survives(object: &[u8]) -> bool {
    let mut memory = BufferMemory::at(AT);
    let Ok(image) = link_with(object, true, &mut memory) else {
        return false;
    };
    let sizes = image.placement.sizes;
    if sizes.iter().any(|size| size.filled_bytes > 1 << 24) {
        return true; // damaged alignments make files of gigabytes, which are not worth writing
    }
    let bytes = elf_image(&image, SegmentKind::ALL.map(|segment| memory.bytes(segment))).expect("file");
    let file: ElfFile64 = ElfFile64::parse(&*bytes).expect("ELF");
    for section in file.sections() {
        section.name_bytes().expect("a name");
        section.data().expect("contents");
    }
    for symbol in file.symbols() {
        symbol.name_bytes().expect("a name");
    }
    true
}

#[test]
fn damage_gives_errors_and_no_panic() {
    for flags in [
        &["-g"][..],
        &["-g3", "-gz=zlib"],
        &["-g", "-gz=zlib-gnu", "-ffunction-sections"],
    ] {
        let object = source(flags);
        assert!(survives(&object));
        for length in (0..object.len()).step_by(331) {
            assert!(!survives(&object[..length]), "cut off after {length} bytes");
        }
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut linked = 0;
        for _ in 0..300 {
            let mut damaged = object.clone();
            for _ in 0..=random.below(4) {
                // The headers at the end are what most depends on.
                let tail = random.below(2) * (object.len() - 64 * 24);
                let at = tail + random.below(object.len() - tail);
                damaged[at] = random.below(256) as u8;
            }
            linked += u32::from(survives(&damaged));
        }
        assert!(linked > 20, "{flags:?}: {linked}");
    }
}
