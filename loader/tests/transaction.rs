//! What a link asks of its memory, and that an error at any point gives everything back.

mod linking;
mod toolchain;

use std::collections::HashMap;

use linking::BASE;
use restub_loader::{
    BufferMemory, CopyRule, Image, Input, Memory, MemoryError, Options, Placement, Reach, Request, Resolver,
    SegmentKind, SegmentSize, Target, TargetKind, TlsDescriptors, TlsPlacement, TlsRequest, Window, link,
};
use toolchain::assemble;

/// Where a link is made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    None,
    Reserve,
    Allocate,
    AllocateTls,
    Read,
    Finalize,
}

/// Memory that notes what is asked of it.
struct Recorder {
    memory: BufferMemory,
    failure: Failure,
    /// What `read` gives.
    library: Option<&'static [u8]>,
    /// Requests of `reserve`, in order.
    reaches: Vec<Reach>,
    /// Whether `Reach::Near` can be had.
    near: bool,
    /// Sizes of the last `reserve`.
    reserved: [SegmentSize; 4],
    allocated: u32,
    freed: u32,
    tls_allocated: u32,
    tls_freed: u32,
    finalized: u32,
}

impl Recorder {
    fn new(failure: Failure) -> Recorder {
        Recorder {
            memory: BufferMemory::at(BASE),
            failure,
            library: None,
            reaches: Vec::new(),
            near: true,
            reserved: [SegmentSize::default(); 4],
            allocated: 0,
            freed: 0,
            tls_allocated: 0,
            tls_freed: 0,
            finalized: 0,
        }
    }

    fn fail(&self, at: Failure) -> Result<(), MemoryError> {
        if self.failure == at {
            return Err(MemoryError::Refused("the test says so"));
        }
        Ok(())
    }
}

impl Memory for Recorder {
    fn reserve(&mut self, reach: Reach, sizes: &[SegmentSize; 4]) -> Result<Window, MemoryError> {
        self.reaches.push(reach);
        self.reserved = *sizes;
        self.fail(Failure::Reserve)?;
        let start = match reach {
            Reach::Near(address) if self.near => address + (1 << 20),
            Reach::Near(_) => return Err(MemoryError::Refused("nothing is near")),
            _ => BASE,
        };
        self.memory = BufferMemory::at(start);
        self.memory.reserve(reach, sizes)
    }

    fn allocate(&mut self, sizes: &[SegmentSize; 4]) -> Result<Placement, MemoryError> {
        self.fail(Failure::Allocate)?;
        self.allocated += 1;
        for (size, reserved) in sizes.iter().zip(&self.reserved) {
            assert!(
                size.total_bytes <= reserved.total_bytes && size.align <= reserved.align,
                "{size:?} of {reserved:?}"
            );
        }
        self.memory.allocate(sizes)
    }

    fn buffer(&mut self, placement: &Placement, segment: SegmentKind) -> &mut [u8] {
        self.memory.buffer(placement, segment)
    }

    fn initialize(&mut self, placement: &Placement, address: u64, bytes: &[u8]) {
        self.memory.initialize(placement, address, bytes);
    }

    fn finalize(&mut self, placement: &Placement) -> Result<(), MemoryError> {
        self.fail(Failure::Finalize)?;
        self.finalized += 1;
        self.memory.finalize(placement)
    }

    fn free(&mut self, placement: &Placement) {
        self.freed += 1;
        self.memory.free(placement);
    }

    fn read(&mut self, _address: u64, bytes: &mut [u8]) -> bool {
        match self.library {
            Some(library) if self.failure != Failure::Read => {
                bytes.copy_from_slice(&library[..bytes.len()]);
                true
            }
            _ => false,
        }
    }

    fn allocate_tls(&mut self, request: &TlsRequest) -> Result<TlsPlacement, MemoryError> {
        self.fail(Failure::AllocateTls)?;
        self.tls_allocated += 1;
        self.memory.allocate_tls(request)
    }

    fn free_tls(&mut self, tls: &TlsPlacement, request: &TlsRequest) {
        self.tls_freed += 1;
        self.memory.free_tls(tls, request);
    }

    fn tls_descriptors(&self) -> Option<TlsDescriptors> {
        None
    }
}

/// A library with one variable and one function, both far away.
struct Library(CopyRule);

const VARIABLE: u64 = 0x7fff_f000_0000;

impl Resolver for Library {
    fn earlier(&mut self, _name: &[u8]) -> Option<Target> {
        None
    }

    fn external(&mut self, request: Request<'_>) -> Option<Target> {
        let (kind, address) = match request.name {
            b"variable" => (TargetKind::Data(self.0), VARIABLE),
            b"function" => (TargetKind::Function, VARIABLE + 0x1000),
            _ => return None,
        };
        Some(Target { address, size: 8, kind })
    }
}

fn run(source: &str, memory: &mut Recorder) -> Result<Image, restub_loader::Error> {
    let inputs = [Input::from_bytes("a.o", assemble(source))];
    link(
        &inputs,
        || &[],
        &mut Library(CopyRule::Harmless),
        memory,
        &Options::default(),
    )
}

const EVERYTHING: &str = "
    .text
    mov variable(%rip), %rax
    mov local@GOTTPOFF(%rip), %rax
    .data
    .quad 1
    .section .tdata, \"awT\"
local: .quad 2";

#[test]
fn an_error_gives_everything_back() {
    for failure in [
        Failure::Reserve,
        Failure::Allocate,
        Failure::AllocateTls,
        Failure::Read,
        Failure::Finalize,
    ] {
        let mut memory = Recorder::new(failure);
        memory.near = false;
        memory.library = Some(b"original");
        run(EVERYTHING, &mut memory).expect_err("the link fails");
        assert_eq!(memory.allocated, memory.freed, "{failure:?}");
        assert_eq!(memory.tls_allocated, memory.tls_freed, "{failure:?}");
        assert_eq!(memory.finalized, 0, "{failure:?}");
    }
}

#[test]
fn a_relocation_that_does_not_fit_gives_everything_back() {
    let mut memory = Recorder::new(Failure::None);
    let source = format!("{EVERYTHING}\n    .data\n    .reloc ., R_X86_64_8, .data\n    .byte 0");
    memory.near = false;
    memory.library = Some(b"original");
    run(&source, &mut memory).expect_err("the address does not fit a byte");
    assert_eq!((memory.allocated, memory.freed), (1, 1));
    assert_eq!((memory.tls_allocated, memory.tls_freed), (1, 1));
}

#[test]
fn a_descriptor_where_there_is_none_gives_everything_back() {
    let mut memory = Recorder::new(Failure::None);
    let source = "    lea local@TLSDESC(%rip), %rax\n    .section .tbss, \"awT\", @nobits\nlocal: .quad 0";
    let error = run(source, &mut memory)
        .expect_err("there are no descriptors")
        .to_string();
    assert!(error.contains("R_X86_64_GOTPC32_TLSDESC against local"), "{error}");
    assert_eq!((memory.allocated, memory.freed), (1, 1));
    assert_eq!((memory.tls_allocated, memory.tls_freed), (1, 1));
}

#[test]
fn nothing_is_asked_of_memory_before_all_is_known() {
    for source in ["    .data\n    .quad nowhere", "    .section .both, \"awx\"\n    nop"] {
        let mut memory = Recorder::new(Failure::None);
        run(source, &mut memory).expect_err("the link fails");
        assert_eq!((memory.reaches.len(), memory.allocated), (0, 0));
    }
}

#[test]
fn copies_start_with_the_contents_of_the_original() {
    let mut memory = Recorder::new(Failure::None);
    memory.near = false;
    memory.library = Some(b"original");
    let image = run(EVERYTHING, &mut memory).expect("the variable is copied");
    let contents = memory.memory.bytes(SegmentKind::Data);
    assert!(contents.windows(8).any(|bytes| bytes == b"original"));
    assert_eq!((memory.allocated, memory.freed, memory.finalized), (1, 0, 1));
    assert!(image.tls.is_some());
}

#[test]
fn all_that_is_allocated_was_reserved() {
    let sources = [
        "    .comm unused, 0x2000000, 64",
        "    mov variable(%rip), %rax",
        "    lea __dso_handle(%rip), %rax",
        "    .largecomm unused, 0x2000000, 64",
        "    call *function@GOTPCREL(%rip)\n    lea function(%rip), %rax",
    ];
    for source in sources {
        let mut memory = Recorder::new(Failure::None);
        memory.near = false;
        memory.library = Some(b"original");
        run(source, &mut memory).expect("it links");
        assert_eq!((memory.allocated, memory.freed), (1, 0), "{source}");
        assert!(
            memory.reserved[2].total_bytes < 0x2000000 || source.contains(".comm"),
            "{source}"
        );
    }
}

#[test]
fn where_images_have_to_be() {
    let reaches = |source: &str| {
        let mut memory = Recorder::new(Failure::None);
        memory.library = Some(b"original");
        let result = run(source, &mut memory);
        assert!(result.is_ok(), "{source}: {result:?}");
        memory.reaches
    };
    let low = "    .data\na: .reloc ., R_X86_64_32, a\n    .long 0";
    assert_eq!(reaches(low), [Reach::Low], "absolute 32-bit addresses");
    let low = "    .data\na: .reloc ., R_X86_64_32S, function\n    .long 0";
    assert_eq!(reaches(low), [Reach::Low], "a function has a PLT entry there");
    let number = "    .globl n\n    n = 5\n    .data\n    .reloc ., R_X86_64_32, n\n    .long 0";
    assert_eq!(reaches(number), [Reach::Default], "a number is no address of the image");
    let call = "    call function@PLT\n    lea function(%rip), %rax";
    assert_eq!(reaches(call), [Reach::Default], "a PLT entry stands in");
    let wide = "    movabs $variable, %rax\n    push variable@GOTPCREL(%rip)";
    assert_eq!(reaches(wide), [Reach::Default], "64 bits reach everything");
    let near = "    mov variable(%rip), %rax";
    assert_eq!(reaches(near), [Reach::Default, Reach::Near(VARIABLE)]);
}

#[test]
fn fallbacks_are_asked_only_if_something_is_missing() {
    let has_all = assemble("    .globl a\na: call a@PLT\n    .weak b\n    .quad b");
    let inputs = [Input::from_bytes("a.o", has_all)];
    let mut memory = BufferMemory::at(BASE);
    link(
        &inputs,
        || panic!("nothing is missing"),
        &mut Library(CopyRule::Harmless),
        &mut memory,
        &Options::default(),
    )
    .expect("the object links");
}

/// Counts the questions, and answers few.
#[derive(Default)]
struct Counter {
    earlier: HashMap<Vec<u8>, u32>,
    external: HashMap<Vec<u8>, u32>,
}

impl Resolver for Counter {
    fn earlier(&mut self, name: &[u8]) -> Option<Target> {
        *self.earlier.entry(name.to_vec()).or_default() += 1;
        None
    }

    fn external(&mut self, request: Request<'_>) -> Option<Target> {
        *self.external.entry(request.name.to_vec()).or_default() += 1;
        None
    }
}

#[test]
fn each_name_is_asked_for_once() {
    let user = assemble("    .weak weak, unused\n    .data\n    .quad first, weak, weak, first, _end, __dso_handle");
    let first = assemble("    .globl first\nfirst: .quad second, weak\n    .weak weak");
    let second = assemble("    .globl second\nsecond: .quad first, weak\n    .weak weak");
    let (_folder, path) = toolchain::archive(&["ar", "rcs"], &[("first.o", &first)]);
    let (_other_folder, other) = toolchain::archive(&["ar", "rcs"], &[("second.o", &second)]);
    let open = |path| Input::open(path).expect("the archive can be read");
    let inputs = [Input::from_bytes("user.o", user)];
    let fallbacks = [open(path), open(other)];
    let mut counter = Counter::default();
    let mut memory = BufferMemory::at(BASE);
    link(&inputs, || &fallbacks, &mut counter, &mut memory, &Options::default()).expect("the fallbacks have all");
    for (name, count) in counter.earlier.iter().chain(&counter.external) {
        assert_eq!(*count, 1, "{}", String::from_utf8_lossy(name));
    }
    assert!(counter.external.contains_key(&b"weak"[..]) && !counter.external.contains_key(&b"_end"[..]));
    assert!(!counter.external.contains_key(&b"unused"[..]), "nothing refers to it");
}
