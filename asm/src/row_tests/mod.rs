//! Every row with every class of operand, against GNU as, llvm-mc and iced-x86.

#![cfg(feature = "std")]

mod cases;
mod causes;
mod decode;
mod instances;
mod oracle;
mod print;
mod refusals;
mod reverse;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::choices::{choose, find};
use crate::key::{Key, look};
use crate::select::Wanted;
use crate::table::FORMS;
use crate::{EncodeError, Hints, Syntax, encode};
use cases::Case;
use oracle::Theirs;
use print::Dialect;

fn ours(case: &Case, syntax: Syntax) -> Result<Vec<u8>, EncodeError> {
    encode(&print::stated(case, syntax)).map(|encoded| encoded.bytes().to_vec())
}

/// Compares and reports by row; `meant` explains a difference.
fn compare(
    what: &str,
    cases: &[&Case],
    lines: &[String],
    dialect: Dialect,
    theirs: &[Theirs],
    meant: impl Fn(&Case, &Result<Vec<u8>, EncodeError>, &Theirs) -> Option<&'static str>,
) {
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut same, mut both_refuse) = (0, 0);
    for ((case, line), theirs) in cases.iter().zip(lines).zip(theirs) {
        let ours = ours(case, dialect.syntax());
        match (&ours, theirs) {
            (Ok(a), Theirs::Bytes(b)) if a == b => same += 1,
            (Err(_), Theirs::Refused(_)) => both_refuse += 1,
            _ => match meant(case, &ours, theirs) {
                Some(cause) => *causes.entry(cause).or_default() += 1,
                None => wrong
                    .entry(case.row.text())
                    .or_default()
                    .push(format!("{line}: ours {ours:02x?}, theirs {theirs:02x?}")),
            },
        }
    }
    let mut report = String::new();
    for (row, lines) in &wrong {
        let _ = writeln!(report, "{row}: {} differ, e.g. {}", lines.len(), lines[0]);
    }
    println!(
        "{what}, {dialect:?}: {same} the same, {both_refuse} refused by both, {} rows differ",
        wrong.len()
    );
    println!("{causes:?}\n{report}");
    if let Ok(path) = std::env::var("ROWS_REPORT") {
        std::fs::write(format!("{path}.{what}.{dialect:?}"), &report).unwrap();
    }
    assert!(wrong.is_empty());
}

fn with_gnu_as(dialect: Dialect) {
    let cases: Vec<&Case> = cases::all()
        .iter()
        .filter(|c| !c.is_recent() && c.row.is_of(dialect.syntax()))
        .collect();
    let lines: Vec<String> = cases.iter().map(|c| print::text(c, dialect)).collect();
    let theirs = oracle::gnu_as(&lines, dialect.syntax());
    compare("as", &cases, &lines, dialect, &theirs, causes::gnu_as);
}

fn with_llvm_mc(dialect: Dialect) {
    let cases: Vec<&Case> = cases::all().iter().filter(|c| c.row.is_of(dialect.syntax())).collect();
    let lines: Vec<String> = cases.iter().map(|c| print::text(c, dialect)).collect();
    let theirs = oracle::llvm_mc(&lines, dialect.syntax());
    compare("llvm-mc", &cases, &lines, dialect, &theirs, causes::llvm_mc);
}

#[test]
fn rows_encode_as_gnu_as_does_in_intel_syntax() {
    with_gnu_as(Dialect::GnuIntel);
}

#[test]
fn rows_encode_as_gnu_as_does_in_att_syntax() {
    with_gnu_as(Dialect::Att);
}

#[test]
fn rows_encode_as_llvm_mc_does_in_intel_syntax() {
    with_llvm_mc(Dialect::LlvmIntel);
}

#[test]
fn rows_encode_as_llvm_mc_does_in_att_syntax() {
    with_llvm_mc(Dialect::Att);
}

/// Twice, so that most have been remembered, and many forgotten for others.
#[test]
fn remembered_forms_are_those_that_a_search_finds() {
    let of = |number: u16| {
        let form = &FORMS[number as usize];
        (form.row, form.variant)
    };
    for case in cases::all().iter().chain(cases::all()) {
        let (numbers, _) = look(case.inst.operands());
        let key = Key::of(&case.inst, numbers);
        let remembered = choose(key).map(|form| (form.row, form.variant));
        assert_eq!(
            remembered,
            find(&Wanted::of(key, Hints::NONE)).map(of),
            "{:?}",
            case.inst
        );
    }
}

/// A row that was added has its typed method too.
#[test]
fn every_mnemonic_has_a_typed_method() {
    let mut methods: Vec<(usize, &str)> = crate::instructions::METHODS
        .iter()
        .map(|(arguments, name)| (arguments.bytes().filter(u8::is_ascii_lowercase).count(), *name))
        .collect();
    let mut wanted: Vec<(usize, &str)> = crate::Mnemonic::all()
        .flat_map(|mnemonic| mnemonic.rows().map(move |row| (mnemonic, row)))
        .filter(|(mnemonic, row)| row.is_of(Syntax::Intel) && !mnemonic.name().contains('-'))
        .map(|(mnemonic, row)| (usize::from(row.len), mnemonic.name()))
        .collect();
    for list in [&mut methods, &mut wanted] {
        list.sort_unstable();
        list.dedup();
    }
    assert_eq!(methods, wanted);
}

/// What `encode` makes of an instruction, the text assembler makes of its text.
fn text_is_read_back(dialect: Dialect) {
    let encoded: Vec<(&Case, Vec<u8>)> = cases::all()
        .iter()
        .filter(|c| c.row.is_of(dialect.syntax()))
        .filter_map(|c| Some((c, ours(c, dialect.syntax()).ok()?)))
        .collect();
    let lines: Vec<String> = encoded.iter().map(|(c, _)| print::text(c, dialect)).collect();
    let mut wrong = Vec::new();
    for ((line, (_, expected)), read) in lines.iter().zip(&encoded).zip(oracle::ours(&lines, dialect.syntax())) {
        if read != Theirs::Bytes(expected.clone()) {
            wrong.push(format!("{line}: encoded {expected:02x?}, read {read:02x?}"));
        }
    }
    if let Ok(path) = std::env::var("ROWS_REPORT") {
        std::fs::write(format!("{path}.text.{dialect:?}"), wrong.join("\n")).unwrap();
    }
    assert!(
        wrong.is_empty(),
        "{} lines, e.g. {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
}

#[test]
fn intel_text_is_read_as_it_is_encoded() {
    text_is_read_back(Dialect::GnuIntel);
}

#[test]
fn att_text_is_read_as_it_is_encoded() {
    text_is_read_back(Dialect::Att);
}
