//! Archives of every make: GNU, BSD and Darwin symbol tables, 64-bit ones, thin ones, none at all; members that are no
//! objects, that have the same name, or that need each other.

mod linking;
mod toolchain;

use std::collections::HashSet;
use std::process::Command;

use linking::{link_files, link_inputs, message};
use object::read::archive::ArchiveFile;
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSymbol as _};
use restub_loader::{Archive, Input, NoSymbols, Request, Resolver, Target, TargetKind};
use toolchain::{archive, assemble, run};

fn wants(names: &str) -> Vec<u8> {
    assemble(&format!("    .data\n    .globl uses\nuses: .quad {names}"))
}

fn defines(name: &str, wants: &str) -> Vec<u8> {
    assemble(&format!("    .data\n    .globl {name}\n{name}: .quad {wants}"))
}

/// Links an object that wants `first` with an archive of three members: `first` wants `second`, nobody wants `third`.
fn check(tool: &[&str]) {
    let (first, second, third) = (
        defines("first", "second"),
        defines("second", "0"),
        defines("third", "0"),
    );
    let long = "a-member-with-a-name-of-more-than-sixteen-characters.o";
    let (_folder, path) = archive(tool, &[("second.o", &second), (long, &first), ("third.o", &third)]);
    let user = wants("first");
    let inputs = [
        Input::from_bytes("user.o", user),
        Input::open(&path).expect("the archive can be read"),
    ];
    let linked = link_inputs(&inputs, &mut NoSymbols).unwrap_or_else(|e| panic!("{tool:?}: {e}"));
    assert_eq!(linked.word(linked.address("uses")), linked.address("first"), "{tool:?}");
    assert_eq!(
        linked.word(linked.address("first")),
        linked.address("second"),
        "{tool:?}"
    );
    assert!(
        linked.image.symbols.iter().all(|symbol| &*symbol.name != "third"),
        "{tool:?}"
    );
    let names: Vec<_> = linked
        .image
        .objects
        .iter()
        .map(|name| name.rsplit('/').next().unwrap_or(""))
        .collect();
    assert_eq!(names[0], "user.o");
    assert!(names[1].starts_with("lib.a(a-member-with-a"), "{tool:?}: {names:?}");
    assert_eq!(names[2], "lib.a(second.o)");
}

#[test]
fn gnu() {
    check(&["ar", "rcs"]);
    check(&["llvm-ar-19", "rcs", "--format=gnu"]);
}

#[test]
fn bsd() {
    check(&["llvm-ar-19", "rcs", "--format=bsd"]);
}

#[test]
fn darwin() {
    check(&["llvm-ar-19", "rcs", "--format=darwin"]);
}

#[test]
fn without_an_index() {
    check(&["ar", "rcS"]);
    check(&["llvm-ar-19", "rcS", "--format=bsd"]);
}

#[test]
fn thin() {
    check(&["ar", "rcsT"]);
    check(&["llvm-ar-19", "rcs", "--thin"]);
}

#[test]
fn thin_without_an_index() {
    check(&["ar", "rcST"]);
}

#[test]
fn thin_with_members_in_folders() {
    let (folder, path) = archive(
        &["ar", "rcsT"],
        &[
            ("one/member.o", &defines("first", "second")),
            ("two/member.o", &defines("second", "0")),
        ],
    );
    let inputs = [
        Input::from_bytes("user.o", wants("first")),
        Input::open(&path).expect("the archive and its members can be read"),
    ];
    let linked = link_inputs(&inputs, &mut NoSymbols).expect("both members are found");
    assert_eq!(linked.word(linked.address("first")), linked.address("second"));
    std::fs::remove_file(folder.path().join("two/member.o")).expect("the member can be removed");
    let error = Input::open(&path).expect_err("a member is missing").to_string();
    assert!(error.contains("two/member.o"), "{error}");
    let bytes = std::fs::read(&path).expect("the archive can be read");
    let error = message(link_files(&[("user.o", &wants("first")), ("lib.a", &bytes)]));
    assert!(error.contains("a thin archive has to be given as a path"), "{error}");
}

#[test]
fn sixty_four_bit_index() {
    // What `ar` writes for archives beyond 4 GiB, made from the 32-bit index of a small one.
    let (_folder, path) = archive(&["ar", "rcsD"], &[("first.o", &defines("first", "0"))]);
    let bytes = std::fs::read(path).expect("the archive can be read");
    let size: usize = String::from_utf8_lossy(&bytes[8 + 48..8 + 58])
        .trim()
        .parse()
        .expect("a decimal size");
    let index = &bytes[68..68 + size];
    let count = u32::from_be_bytes(index[..4].try_into().expect("4 bytes"));
    assert_eq!(count, 1);
    let names = &index[8..];
    let mut wide = u64::from(count).to_be_bytes().to_vec();
    wide.extend((8 + 60 + 16 + names.len() as u64).to_be_bytes());
    wide.extend(names);
    assert!(wide.len().is_multiple_of(2));
    let mut archive = bytes[..8].to_vec();
    archive.extend(
        format!(
            "{:<16}{:<32}{:<10}`\n",
            "/SYM64/",
            "0           0     0     0",
            wide.len()
        )
        .as_bytes(),
    );
    archive.extend(&wide);
    archive.extend(&bytes[68 + size..]);
    let linked = link_files(&[("user.o", &wants("first")), ("lib.a", &archive)]).expect("the wide index is read");
    assert_eq!(linked.word(linked.address("uses")), linked.address("first"));
}

#[test]
fn members_of_the_same_name() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in [("x", defines("first", "second")), ("y", defines("second", "0"))] {
        std::fs::create_dir(folder.path().join(name)).expect("the folder can be made");
        std::fs::write(folder.path().join(name).join("same.o"), bytes).expect("the member can be written");
    }
    for flags in ["qcs", "qcS"] {
        let _ = std::fs::remove_file(folder.path().join("lib.a"));
        let mut command = Command::new("ar");
        run(command
            .current_dir(folder.path())
            .args([flags, "lib.a", "x/same.o", "y/same.o"]))
        .expect("ar works");
        let inputs = [
            Input::from_bytes("user.o", wants("first")),
            Input::open(folder.path().join("lib.a")).expect("the archive can be read"),
        ];
        let linked = link_inputs(&inputs, &mut NoSymbols).expect("each member is found by its place");
        assert_eq!(linked.word(linked.address("first")), linked.address("second"));
    }
}

#[test]
fn members_that_define_the_same_symbol() {
    let (_folder, path) = archive(
        &["ar", "rcs"],
        &[("one.o", &defines("first", "1")), ("two.o", &defines("first", "2"))],
    );
    let inputs = [
        Input::from_bytes("user.o", wants("first")),
        Input::open(&path).expect("the archive can be read"),
    ];
    let linked = link_inputs(&inputs, &mut NoSymbols).expect("the first one is taken");
    assert_eq!(linked.word(linked.address("first")), 1);
}

#[test]
fn archives_that_need_each_other() {
    let (_one, one) = archive(
        &["ar", "rcs"],
        &[("a.o", &defines("a", "b")), ("c.o", &defines("c", "d"))],
    );
    let (_two, two) = archive(
        &["ar", "rcs"],
        &[("b.o", &defines("b", "c")), ("d.o", &defines("d", "a"))],
    );
    for order in [[&one, &two], [&two, &one]] {
        let mut inputs = vec![Input::from_bytes("user.o", wants("a"))];
        inputs.extend(order.map(|path| Input::open(path).expect("the archive can be read")));
        let linked = link_inputs(&inputs, &mut NoSymbols).expect("archives are asked until nothing is wanted");
        assert_eq!(linked.word(linked.address("d")), linked.address("a"));
        assert_eq!(linked.image.objects.len(), 5);
    }
}

#[test]
fn an_archive_before_the_object_that_needs_it() {
    let (_folder, path) = archive(&["ar", "rcs"], &[("a.o", &defines("a", "0"))]);
    let inputs = [
        Input::open(&path).expect("the archive can be read"),
        Input::from_bytes("user.o", wants("a")),
    ];
    link_inputs(&inputs, &mut NoSymbols).expect("the order of inputs does not matter");
}

#[test]
fn members_that_are_no_objects() {
    let members: [(&str, &[u8]); 3] = [
        ("README.txt", b"not an object"),
        ("lib.rmeta", b"rust\0\0\0\x09 metadata"),
        ("a.o", &defines("a", "0")),
    ];
    for flags in ["rcs", "rcS"] {
        let (_folder, path) = archive(&["ar", flags], &members);
        let inputs = [
            Input::from_bytes("user.o", wants("a")),
            Input::open(&path).expect("the archive can be read"),
        ];
        link_inputs(&inputs, &mut NoSymbols).expect("other members are passed over");
        let archive = Archive::parse(&inputs[1]).expect("an archive");
        assert_eq!(archive.objects().expect("its objects").len(), 1);
    }
}

#[test]
fn a_member_for_another_machine() {
    let foreign = toolchain::compile_text("clang-19", "a.c", "int a;", &["--target=aarch64-linux-gnu"]);
    let (_folder, path) = archive(&["llvm-ar-19", "rcs"], &[("a.o", &foreign)]);
    let inputs = [
        Input::from_bytes("user.o", wants("a")),
        Input::open(&path).expect("the archive can be read"),
    ];
    let error = message(link_inputs(&inputs, &mut NoSymbols));
    assert!(
        error.ends_with("lib.a(a.o): is an AArch64 object; compile for x86-64 (64-bit ELF)"),
        "{error}"
    );
}

#[test]
fn an_archive_inside_an_archive() {
    let (_inner, inner) = archive(&["ar", "rcs"], &[("a.o", &defines("a", "0"))]);
    let inner = std::fs::read(inner).expect("the archive can be read");
    let (_folder, path) = archive(&["ar", "rcs"], &[("inner.a", &inner), ("b.o", &defines("b", "0"))]);
    let inputs = [
        Input::from_bytes("user.o", wants("b")),
        Input::open(&path).expect("the archive can be read"),
    ];
    link_inputs(&inputs, &mut NoSymbols).expect("the inner archive is passed over");
}

#[test]
fn empty_archives() {
    for bytes in [&b"!<arch>\n"[..], b"!<thin>\n"] {
        link_files(&[("empty.a", bytes)]).expect("an archive without members is no error");
        let message = message(link_files(&[("user.o", &wants("a")), ("empty.a", bytes)]));
        assert_eq!(message, "undefined symbol a, wanted by user.o");
    }
}

#[test]
fn an_index_that_lies() {
    let (_folder, path) = archive(
        &["ar", "rcs"],
        &[("a.o", &defines("a", "0")), ("b.o", &defines("b", "0"))],
    );
    let good = std::fs::read(path).expect("the archive can be read");
    let user = wants("a");
    for offset in [
        0_u32,
        1,
        7,
        9,
        68,
        0xffff_ffff,
        good.len() as u32,
        good.len() as u32 - 1,
    ] {
        let mut bytes = good.clone();
        bytes[72..76].copy_from_slice(&offset.to_be_bytes());
        let error = message(link_files(&[("user.o", &user), ("lib.a", &bytes)]));
        assert!(error.contains("lib.a"), "{offset}: {error}");
    }
    // The other member, which does not define the symbol: it is taken, and the symbol stays undefined.
    let mut bytes = good.clone();
    let other = u32::from_be_bytes(bytes[76..80].try_into().expect("4 bytes"));
    bytes[72..76].copy_from_slice(&other.to_be_bytes());
    let error = message(link_files(&[("user.o", &user), ("lib.a", &bytes)]));
    assert_eq!(error, "undefined symbol a, wanted by user.o");
    // More symbols than there are bytes.
    bytes[68..72].copy_from_slice(&u32::MAX.to_be_bytes());
    let error = message(link_files(&[("user.o", &user), ("lib.a", &bytes)]));
    assert!(error.contains("lib.a: malformed"), "{error}");
}

/// Says of every name that it is defined nearby: as a thread-local variable where some object refers to it as one.
struct Nearby(HashSet<Vec<u8>>);

impl Resolver for Nearby {
    fn earlier(&mut self, _name: &[u8]) -> Option<Target> {
        None
    }

    fn external(&mut self, request: Request<'_>) -> Option<Target> {
        let kind = if self.0.contains(request.name) {
            TargetKind::Tls {
                module: 1,
                block_offset: Some(-64),
            }
        } else {
            TargetKind::Function
        };
        Some(Target {
            address: 0x2000_0000,
            size: 8,
            kind,
        })
    }
}

#[test]
fn every_member_of_the_systems_archives_links() {
    let mut counts = Vec::new();
    for name in [
        "libgcc.a",
        "libgcc_eh.a",
        "libc.a",
        "libm.a",
        "libstdc++.a",
        "libgfortran.a",
    ] {
        let path = run(Command::new("gcc").arg(format!("-print-file-name={name}"))).expect("gcc answers");
        let path = std::path::Path::new(path.trim());
        // gcc answers with the bare name where it has no such file; libm.a may be a linker script.
        if !path.is_absolute() {
            continue;
        }
        let bytes = std::fs::read(path).expect("the archive can be read");
        let Ok(archive) = ArchiveFile::parse(&*bytes) else {
            continue;
        };
        let mut count = 0;
        for member in archive.members() {
            let member = member.expect("the archive is sound");
            let data = member.data(&*bytes).expect("the archive is sound");
            let Ok(file) = ElfFile64::<object::LittleEndian>::parse(data) else {
                continue;
            };
            let thread_local = file
                .symbols()
                .filter(|symbol| symbol.is_undefined() && symbol.elf_symbol().st_type() == object::elf::STT_TLS)
                .map(|symbol| symbol.name_bytes().expect("a name").to_vec());
            let mut resolver = Nearby(thread_local.collect());
            let name = format!("{name}({})", String::from_utf8_lossy(member.name()));
            let inputs = [Input::from_bytes(name.as_str(), data)];
            let linked = link_inputs(&inputs, &mut resolver).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(linked.image.objects, [name]);
            count += 1;
        }
        counts.push((name, count));
    }
    println!("{counts:?}");
    assert!(counts.iter().any(|(name, count)| *name == "libgcc.a" && *count > 100));
}
