//! Arbitrary text never panics, never hangs, and errors have their place.

use proptest::prelude::*;
use restub_asm::{Options, Severity, Syntax, assemble, assemble_with_messages};

fn both(source: &str) {
    for syntax in [Syntax::Att, Syntax::Intel] {
        let options = Options {
            syntax,
            ..Options::default()
        };
        let plain = assemble(source, &options);
        // A listing changes nothing, and lines that are remembered are those that are read.
        let listed = assemble_with_messages(source, &options, true).map(|assembly| assembly.object);
        assert_eq!(plain, listed);
    }
}

/// Words of the language.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "mov", "movq", "add", "vaddps", "jmp", "je", "call", "lock", "rep", "push", "lea", "%rax", "%xmm3", "%k1",
    "rax", "$5", "$x", "x", ".L1", "1:", "1b", "1f", "(%rax)", "8(%rsp,%rcx,4)", "x(%rip)", "x@PLT",
    "x@GOTPCREL(%rip)", "[rax+rcx*4+8]", "QWORD PTR", "OFFSET FLAT:x", "{%k1}", "{z}", "{1to8}", "{rn-sae}", ",",
    "\n", " ", ":", "=", ".byte", ".long", ".quad", ".uleb128", ".ascii", "\"text\"", ".section", ".text", ".data",
    ".bss", ".align", ".p2align", ".org", ".fill", ".skip", ".set", ".globl", ".type", ".size", ".comm",
    ".cfi_startproc", ".cfi_endproc", ".cfi_def_cfa", ".cfi_offset", ".loc", ".file", ".macro", ".endm", ".rept",
    ".endr", ".irp", ".if", ".else", ".endif", ".intel_syntax noprefix", ".att_syntax", ".pushsection",
    ".popsection", ".previous", ".subsection", ".reloc", ".symver", ".weakref", "-", "+", "*", "(", ")",
    ".altmacro", ".noaltmacro", "LOCAL", "<a b>", "%1+1", "\\a", "\\ a", "a", "m", ".macro m a, b:req", ".endif\n", ".exitm",
    "y = %rax", ".set y, %ecx", "y", "(y)", "*y", "%rax == %rcx", ".cfi_label", ".cfi_escape", "view", ".LVU1", "-0",
    ".uleb128 x-y", ".sleb128", ".octa", ".float", ".symver x, x@@V", ".include", ".incbin", ".lcomm", ".local",
    ".section .x,\"awG\",@progbits,g,comdat", ".base64", ".ifdef x", ".ifc a,b", ".irpc c,abc", "\n.endm\n", "\n.endr\n",
    "0x7fffffffffffffff", "-1", "@function", "#", "/*", "*/", ";", "'a", "\\", "%", "\\@",
];

/// Pieces that make lines which get far into the assembler.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~\n]{0,12}", prop::sample::select(WORDS).prop_map(String::from),]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_assembled_or_refused(source in "\\PC{0,80}") {
        both(&source);
    }

    #[test]
    fn any_mixture_of_pieces_is_assembled_or_refused(pieces in prop::collection::vec(piece(), 0..24)) {
        both(&pieces.join(" "));
    }
}

#[test]
fn bombs_are_defused() {
    let nested = "((((((((((((((((((((".repeat(50);
    let repeats = ".rept 50000000\n".repeat(4) + "nop\n" + &".endr\n".repeat(4);
    let sources = [
        ".macro m\nm\nm\n.endm\nm\n",
        &repeats,
        ".rept 1000000000\n nop\n.endr\n",
        ".skip 0x7fffffffffffffff\n",
        ".fill 0x7fffffff, 8, 1\n",
        ".set a, b\n.set b, a\n.quad a\n",
        ".long x-y\nx = y + 1\ny = x\n",
        ".p2align 63\n",
        ".org 0x7fffffffffffffff\n",
        ".long ",
        &alloc_expression(&nested),
        "mov [[[[[[[[[[rax",
        ".if 1\n",
        ".macro",
        ".rept 3",
        "\"",
        "/*",
        ".file 999999999 \"x\"\n",
        ".loc 1 1\n nop\n",
        ".section .text,\"axG\",@progbits,g,comdat\nnop\n",
        ".irp \"\" 1\nnop\n.endr\n",
    ];
    for source in sources {
        both(source);
    }
}

fn alloc_expression(nested: &str) -> String {
    format!(".long {nested}1\n")
}

#[test]
fn errors_have_line_column_source_and_reason() {
    let source = "nop\n\tmovl\t%eax, %xyz\n\taddq $1, %eax\n\t.bogus\n";
    let errors = assemble(
        source,
        &Options {
            file_name: "f.s".into(),
            ..Options::default()
        },
    )
    .unwrap_err();
    assert_eq!(errors.0.len(), 3);
    let text = errors.to_string();
    assert!(
        text.contains("f.s:2:13: there is no such register\n    \tmovl\t%eax, %xyz\n    \t    \t      ^"),
        "{text}"
    );
    assert!(
        text.contains("f.s:3:2: `add` does not take this size suffix here"),
        "{text}"
    );
    assert!(text.contains("f.s:4:2: there is no directive .bogus"), "{text}");
}

#[test]
fn a_long_line_is_not_cited_in_full() {
    let source = format!("{}mov %eax, %xyz{}\n", " ;".repeat(1 << 16), "; nop".repeat(1 << 16));
    let errors = assemble(&source, &Options::default()).unwrap_err();
    let text = errors.to_string();
    assert!(
        text.starts_with("<source>:1:131083: there is no such register\n    ..."),
        "{text}"
    );
    assert!(text.contains(";mov %eax, %xyz; nop;"), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[2].find('^'), lines[1].find("%xyz"), "{text}");
    assert!(text.len() < 500, "{} bytes", text.len());
}

#[test]
fn a_source_says_what_it_has_to_say() {
    let source = ".if 1\n.warning \"old\"\n.endif\n.print \"1 2\"\nret\n.warning\n";
    let assembly = assemble_with_messages(source, &Options::default(), false).unwrap();
    let said: Vec<String> = assembly.messages.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "<source>:2: warning: old",
            "<source>:4: note: 1 2",
            "<source>:6: warning: .warning"
        ]
    );
    let errors = assemble(format!("{source}nonsense\n"), &Options::default()).unwrap_err();
    assert_eq!(errors.0.len(), 4);
    assert_eq!(errors.0[3].severity, Severity::Error);
}

/// LLVM writes them so, and does not read them.
#[test]
fn shifts_by_1_into_a_new_register_need_no_count() {
    for (bare, counted) in [
        ("{nf} shrb %r8b, %sil", "{nf} shrb $1, %r8b, %sil"),
        ("shlq %rax, %r20", "shlq $1, %rax, %r20"),
        ("rorl 8(%rdi,%rcx,8), %eax", "rorl $1, 8(%rdi,%rcx,8), %eax"),
        (
            ".intel_syntax noprefix\n{nf} sar sil, r8b",
            ".intel_syntax noprefix\n{nf} sar sil, r8b, 1",
        ),
    ] {
        let object = |line: &str| assemble(format!("{line}\n"), &Options::default()).unwrap();
        assert_eq!(object(bare), object(counted), "{bare}");
    }
}
