//! Hostile input: objects and archives of compilers, cut off at every byte and changed at random where it hurts. Every
//! one links or gives an error, quickly, without a panic, the same one every time, and leaves no memory behind.
//!
//! `cargo test` does some of it; `RESTUB_HOSTILE_BYTES=100000000` does the whole hundred.

mod linking;
mod random;
mod toolchain;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use random::Random;
use restub_loader::{
    Archive, BufferMemory, CopyRule, Detail, Input, Limits, Options, Request, Resolver, SegmentKind, Target,
    TargetKind, elf_image, link,
};
use toolchain::{Field, Patch, archive, assemble, compile_text};

/// Pretend addresses; at the last one there is hardly any room.
const BASES: [u64; 7] = [
    0x1000_0000,
    0x1000_0000,
    0x7fff_0000_0000,
    0x1000_0000,
    0x7fff_0000_0000,
    0,
    u64::MAX - 0xffff,
];
/// Bytes of changed input in all, unless the environment says otherwise.
const DEFAULT_BYTES: u64 = 15_000_000;
/// No input of these sizes may take longer, on a slow and busy machine and without optimization.
const PATIENCE: Duration = Duration::from_secs(5);

struct Seed {
    name: &'static str,
    bytes: Vec<u8>,
    /// The parts whose change is worth trying, with the width of their fields.
    targets: Vec<(Range<usize>, usize)>,
}

const C: &str = "
    int shared; static int counter; extern int outside; __thread int local; extern __thread int other;
    const char *const names[] = {\"one\", \"two\"};
    static int helper(int n) { return n + counter; }
    int f(int n) { counter++; other = n; return helper(n) + outside + local + names[n & 1][0]; }
    __attribute__((constructor)) void start(void) { shared = f(1); }
    static int (*resolve(void))(int) { return helper; }
    int chosen(int) __attribute__((ifunc(\"resolve\")));
    int common_one[4];
    int call(int n) { return chosen(n) + __builtin_popcountll(n); }";

const CC: &str = "
    template <typename T> struct Box { T value; virtual ~Box() {} virtual T get() const { return value; } };
    struct Guard { ~Guard(); };
    int may_throw(int);
    thread_local Box<int> box;
    inline int shared_inline(int n) { static int calls; Guard guard; return may_throw(n) + ++calls; }
    int work(int n) {
        try { Guard guard; return shared_inline(n) + box.get(); } catch (int e) { return e; }
    }
    Box<long> global;";

const ASM: &str = "
    .section .text.inline, \"axG\", @progbits, inline, comdat
    .weak inline
inline: call inline@PLT
    mov inline@GOTPCREL(%rip), %rax
    lea variable@TLSGD(%rip), %rdi
    lea variable@TLSLD(%rip), %rdi
    mov variable@GOTTPOFF(%rip), %rax
    lea variable@TLSDESC(%rip), %rax
    call *variable@TLSCALL(%rax)
    movabs $inline@GOT, %rax
    movabs $inline@PLTOFF, %rax
    .section .tdata, \"awT\"
    .globl variable
variable: .quad 1
    .section .init_array.7, \"aw\"
    .quad inline
    .section my_list, \"aw\"
    .quad __start_my_list, __stop_my_list, _GLOBAL_OFFSET_TABLE_, __dso_handle, _end
    .section .eh_frame, \"a\"
    .long 4, 0, 8, 8
    .long inline - .
    .section .gnu.linkonce.t.old, \"ax\"
    .weak old
old: ret
    .section .entries, \"awo\", @progbits, .text.inline
    .quad old
    .comm common_one, 64, 32
    .largecomm common_two, 64, 32
    .symver old, api@@V1
    .symver wanted, versioned@V2
    .data
    .quad wanted
    .globl tiny
    tiny = 5
    .reloc ., R_X86_64_8, tiny
    .byte 0";

fn seeds() -> Vec<Seed> {
    let c = compile_text("gcc", "a.c", C, &["-O1"]);
    let pic = compile_text(
        "clang-19",
        "a.c",
        C,
        &["-O1", "-fPIC", "-ffunction-sections", "-fdata-sections"],
    );
    let cc = compile_text("g++", "a.cc", CC, &["-O1", "-g", "-fPIC"]);
    let crel_flags = ["-O1", "-fPIC", "-Wa,--crel,--allow-experimental-crel"];
    let crel = compile_text("clang++-19", "a.cc", CC, &crel_flags);
    let asm = assemble(ASM);
    let mut rel = asm.clone();
    Patch(&mut rel).make_rel();
    let members: [(&str, &[u8]); 3] = [
        ("a-name-of-more-than-sixteen-bytes.o", &asm),
        ("README", b"text"),
        ("c.o", &c),
    ];
    let pack = |tool: &[&str]| {
        let (_folder, path) = archive(tool, &members);
        std::fs::read(path).expect("the archive can be read")
    };
    let mut seeds = vec![
        Seed::object("gcc", c.clone()),
        Seed::object("gcc, table first", table_first(&c)),
        Seed::object("clang", pic),
        Seed::object("g++ with debug information", cc.clone()),
        Seed::object("g++, table first", table_first(&cc)),
        Seed::object("clang++ with SHT_CREL", crel),
        Seed::object("assembler", asm.clone()),
        Seed::object("assembler, table first", table_first(&asm)),
        Seed::object("SHT_REL", rel),
    ];
    seeds.push(Seed::archive("GNU archive", pack(&["ar", "rcsD"])));
    seeds.push(Seed::archive(
        "BSD archive",
        pack(&["llvm-ar-19", "rcs", "--format=bsd"]),
    ));
    seeds.push(Seed::archive("archive without an index", pack(&["ar", "rcSD"])));
    seeds.push(Seed::archive("thin archive", pack(&["ar", "rcsDT"])));
    seeds
}

/// The same object with its section header table right behind the file header, so that cutting the file off cuts
/// sections off and not the table.
fn table_first(object: &[u8]) -> Vec<u8> {
    let mut object = object.to_vec();
    let patch = Patch(&mut object);
    let count = patch.sections();
    let at = u64::from_le_bytes(patch.0[40..48].try_into().expect("8 bytes")) as usize;
    let table = object[at..at + count * 64].to_vec();
    let mut moved = object[..64].to_vec();
    moved.extend(&table);
    moved.extend(&object[64..at]);
    moved[40..48].copy_from_slice(&64_u64.to_le_bytes());
    let mut patch = Patch(&mut moved);
    for section in 1..count {
        let offset = patch.get(section, Field::Offset);
        patch.set(section, Field::Offset, offset + table.len() as u64);
    }
    moved
}

impl Seed {
    fn object(name: &'static str, mut bytes: Vec<u8>) -> Seed {
        let table = u64::from_le_bytes(bytes[40..48].try_into().expect("8 bytes")) as usize;
        let patch = Patch(&mut bytes);
        let mut targets = vec![
            (0..64, 2),
            (table..table + patch.sections() * 64, 4),
            (table..table + patch.sections() * 64, 8),
        ];
        for section in 1..patch.sections() {
            let range = patch.contents(section);
            match patch.get(section, Field::Type) {
                2 => targets.extend([(range.clone(), 8), (range.clone(), 2), (range, 1)]),
                4 | 9 => targets.extend([(range.clone(), 8), (range.clone(), 4), (range, 8)]),
                17 | 18 => targets.push((range, 4)),
                3 | 0x4000_0014 => targets.push((range, 1)),
                _ => {}
            }
        }
        for section in 1..patch.sections() {
            let flags = patch.get(section, Field::Flags);
            if flags & 2 != 0 && patch.get(section, Field::Type) != 8 {
                // Loaded contents: unwind tables above all, whose lengths are followed.
                targets.push((patch.contents(section), 4));
            }
        }
        targets.retain(|(range, width)| range.len() >= *width);
        Seed { name, bytes, targets }
    }

    fn archive(name: &'static str, bytes: Vec<u8>) -> Seed {
        let mut targets = vec![(8..200.min(bytes.len()), 4), (0..bytes.len(), 1)];
        for at in 0..bytes.len() - 1 {
            if at >= 66 && bytes[at..at + 2] == *b"`\n" {
                targets.push((at - 58..at + 2, 1));
            }
        }
        Seed { name, bytes, targets }
    }

    /// The seed with one to four changes.
    fn changed(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for _ in 0..=random.below(4) {
            let (range, width) = random.choose(&self.targets).clone();
            let fields = (range.len() / width) as u64;
            let at = range.start + random.below(fields) as usize * width;
            let mut field = [0; 8];
            field[..width].copy_from_slice(&bytes[at..at + width]);
            let old = u64::from_le_bytes(field);
            let new = match random.below(10) {
                0 => 0,
                1 => u64::MAX,
                2 => old.wrapping_add(1),
                3 => old.wrapping_sub(1),
                4 => old ^ (1 << random.below(width as u64 * 8)),
                5 => self.bytes.len() as u64 - random.below(9),
                6 => 1 << random.below(64),
                7 => random.below(64),
                8 => {
                    let from = range.start + random.below(fields) as usize * width;
                    let mut other = [0; 8];
                    other[..width].copy_from_slice(&bytes[from..from + width]);
                    u64::from_le_bytes(other)
                }
                _ => random.next(),
            };
            bytes[at..at + width].copy_from_slice(&new.to_le_bytes()[..width]);
        }
        bytes
    }
}

/// Defines names, in some turns as anything, in the others as what a C library would have.
struct Varied(u64);

impl Varied {
    fn target(&self, name: &[u8]) -> Option<Target> {
        let hash = name.iter().fold(self.0, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        let address = if hash & 0x100 == 0 { 0x2000_0000 } else { hash };
        let kind = match hash % 8 {
            _ if name == b"other" && !self.0.is_multiple_of(4) => TargetKind::Tls {
                module: 7,
                block_offset: Some(-64),
            },
            _ if !self.0.is_multiple_of(4) => TargetKind::Function,
            0 => return None,
            1 => TargetKind::Data(CopyRule::Harmless),
            2 => TargetKind::Data(CopyRule::Stale),
            3 => TargetKind::Data(CopyRule::Zeroed),
            4 => TargetKind::Absolute,
            5 => TargetKind::Tls {
                module: 7,
                block_offset: (hash & 0x200 == 0).then_some(-64),
            },
            _ => TargetKind::Function,
        };
        let size = hash >> 60;
        Some(Target { address, size, kind })
    }
}

impl Resolver for Varied {
    fn earlier(&mut self, name: &[u8]) -> Option<Target> {
        self.target(name)
            .filter(|target| self.0.is_multiple_of(4) && target.address % 16 == 3)
    }

    fn external(&mut self, request: Request<'_>) -> Option<Target> {
        self.target(request.name)
    }
}

/// What became of an input, in words that are the same whenever the input is. In some turns there is a second one.
fn attempt(bytes: &[u8], other: &[u8], turn: u64) -> String {
    let user = user();
    let mut inputs = vec![Input::from_bytes("a", bytes), Input::from_bytes("user.o", user)];
    if turn.is_multiple_of(5) && !other.is_empty() {
        inputs.push(Input::from_bytes("b", other));
    }
    let mut resolver = Varied(turn);
    let mut memory = BufferMemory::at(BASES[turn as usize % BASES.len()]);
    let options = Options {
        detail: if turn.is_multiple_of(2) {
            Detail::Full
        } else {
            Detail::Minimal
        },
        trace: turn.is_multiple_of(2),
        debug: turn.is_multiple_of(3),
        limits: if turn.is_multiple_of(64) {
            Limits::default()
        } else {
            // The same checks, without the time that filling so much memory takes.
            Limits {
                image_bytes: 1 << 30,
                align_bytes: 1 << 24,
                padding_bytes: 1 << 20,
            }
        },
    };
    let members = if inputs[0].is_archive() {
        let objects = Archive::parse(&inputs[0]).and_then(|archive| archive.objects());
        format!("{:?}", objects.map(|objects| objects.len()))
    } else {
        String::new()
    };
    match link(&inputs, || &[], &mut resolver, &mut memory, &options) {
        Ok(image) => {
            let sum = SegmentKind::ALL.iter().fold(0_u64, |sum, segment| {
                let bytes = memory.bytes(*segment).iter();
                bytes.fold(sum, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
            });
            let file = elf_image(&image, SegmentKind::ALL.map(|segment| memory.bytes(segment)));
            let size = file.map(|file| file.len()).map_err(|error| error.to_string());
            format!("{members} linked {} symbols, {sum:#x}, {size:?}", image.symbols.len())
        }
        Err(error) => {
            let emptied = SegmentKind::ALL.iter().all(|segment| memory.bytes(*segment).is_empty());
            assert!(emptied, "an error left bytes behind: {error}");
            format!("{members} {error}")
        }
    }
}

/// An object that wants what the archives define.
fn user() -> &'static [u8] {
    static USER: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    USER.get_or_init(|| assemble("    .data\n    .quad inline, f, call"))
}

#[derive(Default)]
struct Tally {
    inputs: u64,
    bytes: u64,
    linked: u64,
    slowest: Duration,
}

impl Tally {
    fn check(&mut self, what: &str, bytes: &[u8], other: &[u8], turn: u64) -> Result<(), Failed> {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| attempt(bytes, other, turn)));
        let duration = start.elapsed();
        let failed = |reason: String| {
            let path = std::env::temp_dir().join(format!("restub-hostile-{turn}"));
            let _ = std::fs::write(&path, bytes);
            Err(Failed::from(format!(
                "{what}, turn {turn}: {reason}; the input is in {}",
                path.display()
            )))
        };
        let Ok(outcome) = outcome else {
            return failed("panic".into());
        };
        if duration > PATIENCE {
            return failed(format!("took {duration:?}"));
        }
        if turn.is_multiple_of(8) {
            let again = attempt(bytes, other, turn);
            if outcome != again {
                return failed(format!("at first {outcome}, then {again}"));
            }
        }
        self.inputs += 1;
        self.bytes += bytes.len() as u64;
        self.linked += u64::from(outcome.contains(" linked "));
        self.slowest = self.slowest.max(duration);
        Ok(())
    }

    fn print(&self, what: &str) {
        println!(
            "{what}: {} inputs, {} bytes, {} link all the same, the slowest took {:?}",
            self.inputs, self.bytes, self.linked, self.slowest
        );
    }
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count())
}

fn truncations(seed: &Seed) -> Result<(), Failed> {
    let whole = attempt(&seed.bytes, &[], 1);
    // The members of a thin archive are files beside it, which are not there.
    if !whole.contains(" linked ") && !seed.bytes.starts_with(b"!<thin>") {
        return Err(format!("the whole file does not link: {whole}").into());
    }
    let mut tally = Tally::default();
    let before = mappings();
    for length in 0..seed.bytes.len() {
        tally.check(seed.name, &seed.bytes[..length], &seed.bytes, length as u64)?;
    }
    tally.print(&format!("{}, cut off at every byte", seed.name));
    let after = mappings();
    if after > before + 32 {
        return Err(format!("{before} memory mappings grew to {after}").into());
    }
    Ok(())
}

fn changes(seed: &Seed, stream: u64, total: u64) -> Result<(), Failed> {
    let mut random = Random::new(stream);
    let mut previous = seed.bytes.clone();
    let mut tally = Tally::default();
    let before = mappings();
    while tally.bytes < total {
        let bytes = seed.changed(&mut random);
        tally.check(seed.name, &bytes, &previous, tally.inputs)?;
        previous = bytes;
    }
    tally.print(&format!("{}, changed", seed.name));
    let after = mappings();
    if after > before + 32 {
        return Err(format!("{before} memory mappings grew to {after}").into());
    }
    Ok(())
}

fn noise(total: u64) -> Result<(), Failed> {
    let mut random = Random::new(1000);
    let mut tally = Tally::default();
    while tally.bytes < total {
        let mut bytes: Vec<u8> = (0..random.below(4096)).map(|_| random.next() as u8).collect();
        let start: &[u8] = match random.below(4) {
            0 => b"",
            1 => b"!<arch>\n",
            2 => b"!<thin>\n",
            _ => b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\x3e\0\x01\0\0\0",
        };
        let length = start.len().min(bytes.len());
        bytes[..length].copy_from_slice(&start[..length]);
        tally.check("noise", &bytes, &[], tally.inputs)?;
    }
    tally.print("noise");
    Ok(())
}

fn main() {
    let arguments = Arguments::from_args();
    // A panic is reported with its input; its message goes to standard error as ever.
    let total = std::env::var("RESTUB_HOSTILE_BYTES")
        .ok()
        .and_then(|bytes| bytes.parse().ok());
    let total: u64 = total.unwrap_or(DEFAULT_BYTES);
    let mut trials = Vec::new();
    for (stream, seed) in seeds().into_iter().enumerate() {
        let seed = std::sync::Arc::new(seed);
        let share = total / 14;
        let other = std::sync::Arc::clone(&seed);
        trials.push(Trial::test(format!("cut off: {}", seed.name), move || {
            truncations(&other)
        }));
        trials.push(Trial::test(format!("changed: {}", seed.name), move || {
            changes(&seed, stream as u64, share)
        }));
    }
    trials.push(Trial::test("noise", move || noise(total / 14)));
    libtest_mimic::run(&arguments, trials).exit();
}
