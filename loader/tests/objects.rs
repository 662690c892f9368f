//! Objects with odd bytes: made with `object::write`, or by changing what an assembler wrote.

mod linking;
mod toolchain;

use linking::{BASE, link_files, link_object, message};
use object::write::{Object, Relocation, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope, elf,
};
use restub_loader::{Limits, NoSymbols, Options, RelocationBinding, SegmentKind, SymbolBinding};
use toolchain::{Field, Patch, assemble, compile_text};

fn patched(text: &str, change: impl FnOnce(&mut Patch<'_>)) -> Vec<u8> {
    let mut object = assemble(text);
    change(&mut Patch(&mut object));
    object
}

fn defined(name: &str, section: object::write::SectionId, value: u64) -> Symbol {
    Symbol {
        name: name.as_bytes().to_vec(),
        value,
        size: 8,
        kind: SymbolKind::Data,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    }
}

#[test]
fn more_sections_than_sixteen_bits_count() {
    const SECTIONS: u32 = 66_000;
    let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let mut symbols = Vec::new();
    let mut sections = Vec::new();
    for number in 0..SECTIONS {
        let section = object.add_section(Vec::new(), format!(".data.{number}").into_bytes(), SectionKind::Data);
        object.append_section_data(section, &u64::from(number).to_le_bytes(), 8);
        symbols.push(object.add_symbol(defined(&format!("s{number}"), section, 0)));
        sections.push(section);
    }
    for (from, to) in [(0, SECTIONS - 1), (SECTIONS - 1, 0), (SECTIONS - 2, 65_300)] {
        let relocation = Relocation {
            offset: 0,
            symbol: symbols[to as usize],
            addend: 0,
            flags: RelocationFlags::Elf {
                r_type: elf::R_X86_64_64,
            },
        };
        object
            .add_relocation(sections[from as usize], relocation)
            .expect("a section of the object");
    }
    let bytes = object.write().expect("the object can be written");
    assert_eq!(
        Patch(&mut bytes.clone()).sections(),
        0,
        "e_shnum does not hold the number"
    );
    let linked = link_object(&bytes).expect("the object links");
    let (first, last) = (linked.address("s0"), linked.address("s65999"));
    assert_eq!(linked.word(first), last);
    assert_eq!(linked.word(last), first);
    assert_eq!(linked.word(linked.address("s65998")), linked.address("s65300"));
    assert_eq!(linked.word(linked.address("s65300")), 65_300);
}

#[test]
fn section_contents_need_no_alignment_in_the_file() {
    let source = "
        .text
        .globl f
    f:  call g@PLT
        mov data@GOTPCREL(%rip), %rax
        .section .text.g, \"axG\", @progbits, g, comdat
        .weak g
    g:  ret
        .data
        .balign 8
        .globl data
    data: .quad f, g, data, 0x1234
        .comm common, 8, 8";
    let straight = assemble(source);
    let mut crooked = straight.clone();
    for section in 1..Patch(&mut crooked).sections() {
        let mut patch = Patch(&mut crooked);
        if patch.get(section, Field::Type) == 8 {
            continue;
        }
        let contents = patch.0[patch.contents(section)].to_vec();
        let at = patch.0.len() | 1;
        patch.0.resize(at, 0xee);
        patch.0.extend(contents);
        patch.set(section, Field::Offset, at as u64);
    }
    let one = link_object(&straight).expect("the object links");
    let other = link_object(&crooked).expect("the object links with its contents at odd offsets");
    assert_eq!(one.bytes(), other.bytes());
}

#[test]
fn implicit_addends() {
    let source = "
        .data
        .quad data + 0x1122334455667788
        .long here - 4 - .
        .reloc ., R_X86_64_32, data - 4
        .long 0
        .reloc ., R_X86_64_32S, data - 8
        .long 0
        .reloc ., R_X86_64_8, small - 1
        .byte 0
    here:
        .globl data
    data:
        .quad 0
        small = 5
        .globl small";
    let rela = assemble(source);
    let mut rel = rela.clone();
    Patch(&mut rel).make_rel();
    assert_ne!(rela, rel);
    let one = link_object(&rela).expect("the object links");
    let other = link_object(&rel).expect("the object with SHT_REL links");
    assert_eq!(one.bytes(), other.bytes());
}

#[test]
fn several_relocation_sections_for_one() {
    // .rela.other is made one of .data, at the same offsets as its own.
    let object = patched(
        "
        .data
        .globl data
    data: .quad 0, data
        .section .other, \"aw\"
        .quad data + 1",
        |patch| {
            let (rela, data) = (patch.find(".rela.other"), patch.find(".data"));
            patch.set(rela, Field::Info, data as u64);
        },
    );
    let linked = link_object(&object).expect("the object links");
    let data = linked.address("data");
    assert_eq!((linked.word(data), linked.word(data + 8)), (data + 1, data));
}

#[test]
fn relocation_sections_without_info_link() {
    let object = patched("    .data\n    .globl data\ndata: .quad data", |patch| {
        let rela = patch.find(".rela.data");
        patch.set(rela, Field::Flags, 0);
    });
    let linked = link_object(&object).expect("sh_info counts without SHF_INFO_LINK");
    let data = linked.address("data");
    assert_eq!(linked.word(data), data);
}

#[test]
fn relocation_sections_have_to_make_sense() {
    let data = "    .data\n    .quad symbol\n    .globl symbol\nsymbol:";
    let with = |change: fn(&mut Patch<'_>, usize)| {
        let object = patched(data, |patch| {
            let rela = patch.find(".rela.data");
            change(patch, rela);
        });
        message(link_object(&object))
    };
    let message = with(|patch, rela| patch.set(rela, Field::Info, 0));
    assert!(
        message.contains("relocations for section 0, which does not exist"),
        "{message}"
    );
    let message = with(|patch, rela| patch.set(rela, Field::Info, 0xffff_ffff));
    assert!(message.contains("which does not exist"), "{message}");
    let message = with(|patch, rela| patch.set(rela, Field::Link, 1));
    assert!(
        message.contains("relocations against section 1 as symbol table"),
        "{message}"
    );
    let message = with(|patch, rela| patch.set(rela, Field::Type, 19));
    assert!(
        message.contains("SHT_RELR has no meaning in a relocatable object"),
        "{message}"
    );
}

#[test]
fn fields_outside_of_their_section() {
    for (offset, number, width) in [
        (1_u64, 1_u32, 8),
        (8, 1, 8),
        (9, 35, 0),
        (6, 2, 4),
        (7, 12, 2),
        (8, 14, 1),
        (u64::MAX, 1, 8),
        (u64::MAX - 7, 1, 8),
        (u64::MAX - 3, 2, 4),
    ] {
        let object = patched("    .data\n    .quad symbol\n    .globl symbol\nsymbol:", |patch| {
            let rela = patch.find(".rela.data");
            let at = patch.contents(rela).start;
            patch.0[at..at + 8].copy_from_slice(&offset.to_le_bytes());
            patch.retype(1, number);
        });
        let message = message(link_object(&object));
        let expected = format!("a.o: .data+{offset:#x}: R_X86_64_");
        assert!(message.starts_with(&expected), "{message}");
        let expected = format!("against symbol: the {width} byte field lies outside the section of 0x8 bytes");
        assert!(message.ends_with(&expected), "{message}");
    }
}

#[test]
fn fields_without_contents() {
    let object = patched(
        "    .bss\n    .zero 16\n    .data\n    .quad symbol\n    .globl symbol\nsymbol:",
        |patch| {
            let (rela, bss) = (patch.find(".rela.data"), patch.find(".bss"));
            patch.set(rela, Field::Info, bss as u64);
        },
    );
    assert_eq!(
        message(link_object(&object)),
        "a.o: .bss+0x0: R_X86_64_64 against symbol: the section has no contents"
    );
}

#[test]
fn symbols_outside_of_their_table() {
    let object = patched("    .data\n    .quad symbol\n    .globl symbol\nsymbol:", |patch| {
        let rela = patch.find(".rela.data");
        let at = patch.contents(rela).start;
        patch.0[at + 12..at + 16].copy_from_slice(&1000_u32.to_le_bytes());
    });
    assert_eq!(
        message(link_object(&object)),
        "a.o: .data+0x0: R_X86_64_64 against symbol 1000: symbol index 1000 lies outside the symbol table"
    );
}

#[test]
fn relocations_of_sections_that_are_not_loaded_are_not_read() {
    let object = patched(
        "    .section .debug_info, \"\", @progbits\n    .quad symbol\n    .globl symbol\nsymbol:",
        |patch| patch.retype(1, 200),
    );
    link_object(&object).expect("a section for tools may hold anything");
}

#[test]
fn sizes_that_no_object_has_are_refused() {
    for (section, size) in [(".bss", 1_u64 << 60), (".bss", u64::MAX), (".bss", 65 << 30)] {
        let object = patched("    .bss\n    .zero 16", |patch| {
            let section = patch.find(section);
            patch.set(section, Field::Size, size);
        });
        assert_eq!(
            message(link_object(&object)),
            format!("a.o: size of section {section} of {size:#x} exceeds the limit of 0x1000000000")
        );
    }
    let object = patched("    .data\n    .quad 1", |patch| {
        let section = patch.find(".data");
        patch.set(section, Field::Align, 1 << 40);
    });
    assert_eq!(
        message(link_object(&object)),
        "a.o: alignment of section .data of 0x10000000000 exceeds the limit of 0x40000000"
    );
    for kind in [".comm", ".tls_common"] {
        let object = patched(&format!("    {kind} shared, 8, 8"), |patch| {
            let symtab = patch.find(".symtab");
            let last = patch.contents(symtab).end - 24;
            patch.0[last + 8..last + 16].copy_from_slice(&(1_u64 << 62).to_le_bytes());
        });
        assert_eq!(
            message(link_object(&object)),
            "a.o: alignment of symbol shared of 0x4000000000000000 exceeds the limit of 0x40000000"
        );
    }
    let object = patched("    .data\n    .quad 1", |patch| {
        let section = patch.find(".data");
        patch.set(section, Field::Align, 12);
    });
    assert!(message(link_object(&object)).contains("alignment 0xc is not a power of two"));
}

#[test]
fn sums_of_sizes_are_limited_too() {
    let source: String = (0..40)
        .map(|n| format!("    .section .bss.n{n}, \"aw\", @nobits\n    .zero 16\n"))
        .collect();
    let object = patched(&source, |patch| {
        for n in 0..40 {
            let section = patch.find(&format!(".bss.n{n}"));
            patch.set(section, Field::Size, 2 << 30);
        }
    });
    assert_eq!(
        message(link_object(&object)),
        "image: size of the segment of 0x1080000000 exceeds the limit of 0x1000000000"
    );
    for text in [
        "    .comm huge, 0x7000000000, 8",
        "    .comm huge, 8, 8\n    .data\n    .quad 1",
    ] {
        let mut object = assemble(text);
        let patch = Patch(&mut object);
        let symtab = patch.find(".symtab");
        let last = patch.contents(symtab).end - 24;
        patch.0[last + 16..last + 24].copy_from_slice(&u64::MAX.to_le_bytes());
        let message = message(link_object(&object));
        assert!(message.contains("exceeds the limit"), "{message}");
    }
}

#[test]
fn gaps_and_zeros_that_have_to_be_stored_are_limited() {
    // Without a limit these few bytes would make the link fill gigabytes.
    for source in [
        "    .section .text.huge, \"ax\", @nobits\n    .zero 16",
        "    .section .rodata.huge, \"a\", @nobits\n    .zero 16",
        "    .section .huge, \"awx\", @nobits\n    .zero 16\n",
    ] {
        let object = patched(source, |patch| {
            for section in 0..patch.sections() {
                if patch.get(section, Field::Type) == 8 && patch.get(section, Field::Size) == 16 {
                    patch.set(section, Field::Size, 60 << 30);
                }
            }
        });
        message(link_object(&object));
    }
    let source: String = (0..40)
        .map(|n| format!("    .section .rodata.n{n}, \"a\"\n    .quad 1\n"))
        .collect();
    let object = patched(&source, |patch| {
        for n in 0..40 {
            let section = patch.find(&format!(".rodata.n{n}"));
            patch.set(section, Field::Align, 1 << 30);
        }
    });
    let message = message(link_object(&object));
    assert!(message.contains("exceeds the limit"), "{message}");
}

#[test]
fn limits_can_be_lowered() {
    let object = assemble("    .bss\n    .zero 0x10000");
    let options = Options {
        limits: Limits {
            image_bytes: 0xffff,
            ..Limits::default()
        },
        ..Options::default()
    };
    let inputs = [restub_loader::Input::from_bytes("a.o", object)];
    let mut memory = restub_loader::BufferMemory::at(BASE);
    let error = restub_loader::link(&inputs, || &[], &mut NoSymbols, &mut memory, &options).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "a.o: size of section .bss of 0x10000 exceeds the limit of 0xffff"
    );
    assert!(memory.bytes(SegmentKind::Data).is_empty());
}

#[test]
fn overlapping_sections_cannot_multiply_a_file() {
    // 2,000 sections that all hold the same 100 KB, and as many relocation tables: 200 MB from a small file.
    let mut source = String::from("    .data\n    .globl data\ndata:\n    .rept 12500\n    .quad data\n    .endr\n");
    for n in 0..2000 {
        source.push_str(&format!("    .section .data.n{n}, \"aw\"\n    .quad data\n"));
    }
    let object = patched(&source, |patch| {
        let rela = patch.find(".rela.data");
        let (offset, size) = (patch.get(rela, Field::Offset), patch.get(rela, Field::Size));
        let data = patch.find(".data") as u64;
        for section in 0..patch.sections() {
            if patch.get(section, Field::Type) == 4 && section != rela {
                patch.set(section, Field::Offset, offset);
                patch.set(section, Field::Size, size);
                patch.set(section, Field::Info, data);
            }
        }
    });
    let message = message(link_object(&object));
    assert!(message.contains("overlap"), "{message}");
}

#[test]
fn compressed_sections_that_are_loaded_are_refused() {
    let object = patched("    .data\n    .quad 1, 2, 3", |patch| {
        let data = patch.find(".data");
        let flags = patch.get(data, Field::Flags);
        patch.set(data, Field::Flags, flags | 1 << 11);
    });
    let message = message(link_object(&object));
    assert!(message.contains("SHF_COMPRESSED"), "{message}");
    let debug = compile_text("gcc", "a.c", "int f(int x) { return x + 1; }", &["-g", "-gz=zlib"]);
    link_object(&debug).expect("compressed debug information is not loaded");
}

#[test]
fn symbols_have_to_make_sense() {
    let symbol = |offset: usize, bytes: &[u8]| {
        let object = patched("    .data\n    .globl data\ndata: .quad data", |patch| {
            let symtab = patch.find(".symtab");
            let last = patch.contents(symtab).end - 24;
            patch.0[last + offset..last + offset + bytes.len()].copy_from_slice(bytes);
        });
        message(link_object(&object))
    };
    let message = symbol(0, &[0xff; 4]);
    assert!(message.contains("malformed"), "{message}");
    let message = symbol(6, &0x1234_u16.to_le_bytes());
    assert!(
        message.contains("is defined in section 4660, which does not exist"),
        "{message}"
    );
    let message = symbol(6, &0xff50_u16.to_le_bytes());
    assert!(message.contains("section index 0xff50 is reserved"), "{message}");
    let message = symbol(6, &0xffff_u16.to_le_bytes());
    assert!(message.contains("malformed"), "{message}");
    // SHN_COMMON, with an alignment (the value) that is none.
    let mut common = [0; 10];
    common[..2].copy_from_slice(&0xfff2_u16.to_le_bytes());
    common[2] = 3;
    let message = symbol(6, &common);
    assert!(message.contains("alignment 0x3 is not a power of two"), "{message}");
}

#[test]
fn groups_have_to_make_sense() {
    let source = "    .section .text.f, \"axG\", @progbits, f, comdat\n    .weak f\nf:  ret";
    let object = patched(source, |patch| {
        let group = patch.find(".group");
        let contents = patch.contents(group);
        patch.0[contents.start + 4..contents.start + 8].copy_from_slice(&999_u32.to_le_bytes());
    });
    let text = message(link_object(&object));
    assert!(text.contains("member 999 does not exist"), "{text}");
    let object = patched(source, |patch| {
        let group = patch.find(".group");
        patch.set(group, Field::Info, 999);
    });
    let text = message(link_object(&object));
    assert!(
        text.contains("symbol index 999 lies outside the symbol table"),
        "{text}"
    );
}

#[test]
fn one_object_with_two_groups_of_one_signature() {
    let source = "
        .section .text.a, \"axG\", @progbits, first, comdat
        .weak first
    first: ret
        .section .text.b, \"axG\", @progbits, second, comdat
        .weak second
    second: ret
        .data
        .quad first, second";
    let object = patched(source, |patch| {
        let groups: Vec<_> = (0..patch.sections())
            .filter(|section| patch.get(*section, Field::Type) == 17)
            .collect();
        let signature = patch.get(groups[0], Field::Info);
        patch.set(groups[1], Field::Info, signature);
    });
    let message = message(link_object(&object));
    assert_eq!(message, "undefined symbol second, wanted by a.o");
}

#[test]
fn unwind_records_beyond_their_section() {
    for (bytes, at) in [
        (".long 0xffffffff, 8, 0, 0", 0),
        (".long 100", 0),
        (".long 4, 0\n    .byte 1, 2", 8),
        (".long 4, 0, 0xfffffffe, 0", 8),
    ] {
        let object = assemble(&format!("    .section .eh_frame, \"a\", @progbits\n    {bytes}"));
        assert_eq!(
            message(link_object(&object)),
            format!("a.o: malformed: .eh_frame+{at:#x}: the record reaches beyond the section")
        );
    }
}

#[test]
fn unwind_tables_of_compilers() {
    let source = "
        struct Guard { ~Guard(); };
        int may_throw(int);
        __attribute__((noinline)) inline int shared(int n) { Guard guard; return may_throw(n) + 1; }
        int WRAPPER(int n) { Guard guard; return shared(n) * 2; }";
    let compile = |compiler: &str, name: &str| {
        compile_text(
            compiler,
            "a.cc",
            source,
            &["-O1", "-fPIC", "-fexceptions", &format!("-DWRAPPER={name}")],
        )
    };
    let (one, other) = (compile("g++", "one"), compile("clang++-19", "other"));
    let inputs = [
        restub_loader::Input::from_bytes("one.o", one.as_slice()),
        restub_loader::Input::from_bytes("other.o", other.as_slice()),
    ];
    let linked = linking::link_inputs(&inputs, &mut linking::Anything(0x2000_0000)).expect("the objects link");
    let (start, size) = linked.image.eh_frame.expect("an unwind table");
    let table = linked.read(start, size as usize + 4);
    let number = |at: usize| u32::from_le_bytes(table[at..at + 4].try_into().expect("4 bytes"));
    let (mut at, mut functions, mut skipped) = (0, Vec::new(), 0);
    while number(at) != 0 {
        if number(at + 4) != 0 {
            // Both compilers encode the start as a relative 4-byte value in position-independent code.
            match number(at + 8) {
                0 => skipped += 1,
                offset => functions.push((start + at as u64 + 8).wrapping_add_signed(i64::from(offset.cast_signed()))),
            }
        }
        at += 4 + number(at) as usize;
    }
    assert_eq!(at as u64, size, "the end mark follows the last record");
    functions.sort_unstable();
    let mut expected = ["_Z3onei", "_Z5otheri", "_Z6sharedi"].map(|name| linked.address(name));
    expected.sort_unstable();
    assert_eq!(functions, expected);
    assert_eq!(skipped, 1, "the record of the copy that was not chosen is skipped");
}

#[test]
fn what_relocations_were_bound_to_is_told() {
    let object = assemble(
        "
        .text
        .globl f
    f:  call f@PLT
        mov f@GOTPCREL(%rip), %rax
        cmp f@GOTPCREL(%rip), %rax
        .weak nobody
        .data
        .quad nobody",
    );
    let linked = link_object(&object).expect("the object links");
    let bindings: Vec<_> = linked.image.relocations.iter().map(|applied| applied.binding).collect();
    use RelocationBinding::{Direct, Got, Null, Relaxed};
    assert_eq!(bindings, [Direct, Relaxed, Got, Null]);
    assert_eq!(linked.image.relocations[0].name, "R_X86_64_PLT32");
    assert_eq!(linked.image.relocations[1].symbol, "f");
    assert_eq!(linked.symbol("f@GOT").binding, SymbolBinding::Local);
}

#[test]
fn an_error_leaves_no_bytes_behind() {
    let good = assemble("    .data\n    .globl a\na: .quad a");
    let bad = assemble("    .data\n    .globl b\nb: .byte 0\n    .reloc b, R_X86_64_8, a");
    let inputs = [
        restub_loader::Input::from_bytes("good.o", good),
        restub_loader::Input::from_bytes("bad.o", bad),
    ];
    let mut memory = restub_loader::BufferMemory::at(BASE);
    let error = restub_loader::link(&inputs, || &[], &mut NoSymbols, &mut memory, &Options::default());
    assert!(error.is_err());
    for segment in SegmentKind::ALL {
        assert!(memory.bytes(segment).is_empty());
    }
}

#[test]
fn nothing_to_link() {
    let linked = link_files(&[]).expect("nothing is no error");
    assert!(linked.image.symbols.is_empty());
    let empty = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little)
        .write()
        .expect("an object without sections");
    link_object(&empty).expect("an object without sections is no error");
}

#[test]
fn addresses_at_the_end_of_the_address_space() {
    let object = assemble("    .text\n    ret\n    .data\n    .quad 1\n    .bss\n    .zero 0x100000");
    let inputs = [restub_loader::Input::from_bytes("a.o", object)];
    let mut memory = restub_loader::BufferMemory::at(u64::MAX - 0xfff);
    let error = restub_loader::link(&inputs, || &[], &mut NoSymbols, &mut memory, &Options::default());
    let error = error.expect_err("there is no room").to_string();
    assert!(error.contains("no free range of"), "{error}");
}

/// Every one of these took time in proportion to the square of its size, or would if somebody searched a list in a loop.
/// The bound is for a slow and busy machine without optimization; the squares would take minutes.
#[test]
fn large_inputs_take_time_in_proportion() {
    const COUNT: usize = 20_000;
    let within = |what: &str, source: String| {
        let object = assemble(&source);
        let start = std::time::Instant::now();
        let result = link_object(&object);
        let duration = start.elapsed();
        assert!(duration < std::time::Duration::from_secs(10), "{what}: {duration:?}");
        result.map(drop).map_err(|error| error.to_string())
    };
    let lines = |line: &dyn Fn(usize) -> String| (0..COUNT).map(line).collect::<String>();
    let undefined = within(
        "undefined",
        format!("    .data\n{}", lines(&|n| format!("    .quad u{n}\n"))),
    );
    assert_eq!(undefined.expect_err("undefined").lines().count(), COUNT);
    within(
        "GOT",
        format!(
            "{}s:\n",
            lines(&|n| format!("    .globl g{n}\ng{n}: push g{n}@GOTPCREL(%rip)\n"))
        ),
    )
    .expect("links");
    within("commons", lines(&|n| format!("    .comm c{n}, 8, 8\n"))).expect("links");
    within(
        "bounds",
        lines(&|n| format!("    .section s{n}, \"aw\"\n    .quad __start_s{n}\n")),
    )
    .expect("links");
    within(
        "groups",
        lines(&|n| format!("    .section .text.f{n}, \"axG\", @progbits, f{n}, comdat\n    .weak f{n}\nf{n}: ret\n")),
    )
    .expect("links");
    within(
        "arrays",
        lines(&|n| format!("    .section .init_array.{n}, \"aw\", @init_array\n    .quad .text\n")),
    )
    .expect("links");
    within(
        "unwind tables",
        lines(&|n| format!("    .section .text.f{n}, \"ax\"\n    .cfi_startproc\n    ret\n    .cfi_endproc\n")),
    )
    .expect("links");
}
