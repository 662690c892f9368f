//! The report of `inspect` for people.

use std::fmt::Write as _;

use super::{FileReport, Load, ObjectReport, Report};
use crate::report;

pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = report.files.iter().try_for_each(|one| file(&mut text, one));
    let _ = load(&mut text, &report.load);
    text
}

fn file(text: &mut String, file: &FileReport) -> std::fmt::Result {
    if let Some(error) = &file.error {
        return writeln!(text, "{}: cannot be read\n  {error}\n", file.file);
    }
    if file.kind == Some("archive") {
        writeln!(text, "{}: archive of {} objects\n", file.file, file.objects.len())?;
    }
    file.objects.iter().try_for_each(|one| object(text, one))
}

fn object(text: &mut String, object: &ObjectReport) -> std::fmt::Result {
    writeln!(text, "{}: object of {} bytes", object.name, object.size_bytes)?;
    writeln!(text, "  sections")?;
    writeln!(
        text,
        "    {:>5} {:32} {:13} {:6} {:>10} {:>6} {:>11}",
        "index", "name", "kind", "flags", "bytes", "align", "relocations"
    )?;
    for section in &object.sections {
        writeln!(
            text,
            "    {:5} {:32} {:13} {:6} {:10} {:6} {:11}",
            section.index,
            section.name,
            section.kind,
            section.flags,
            section.size_bytes,
            section.align,
            section.relocations
        )?;
    }
    let counts = &object.symbol_counts;
    let parts = [
        (counts.local, "local"),
        (counts.global, "global"),
        (counts.weak, "weak"),
        (counts.unique, "unique"),
        (counts.common, "common"),
        (counts.undefined, "undefined"),
    ];
    let parts = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"));
    writeln!(text, "  symbols: {}", or_none(&parts.collect::<Vec<_>>().join(", ")))?;
    writeln!(text, "  undefined: {}", or_none(&object.undefined.join(", ")))?;
    let types = object
        .relocation_types
        .iter()
        .map(|count| format!("{} {}", count.count, count.what));
    writeln!(
        text,
        "  relocations: {}",
        or_none(&types.collect::<Vec<_>>().join(", "))
    )?;
    if object.unloaded_relocations > 0 {
        writeln!(
            text,
            "    and {} in sections that are not loaded",
            object.unloaded_relocations
        )?;
    }
    if !object.tls_models.is_empty() {
        writeln!(text, "  TLS models: {}", object.tls_models.join(", "))?;
    }
    if !object.comdat_groups.is_empty() {
        writeln!(text, "  COMDAT groups")?;
    }
    for group in &object.comdat_groups {
        let kept = match group.kept {
            Some(true) => ", kept",
            Some(false) => ", another object's copy is used",
            None => "",
        };
        writeln!(text, "    {}: {}{kept}", group.signature, group.sections.join(" "))?;
    }
    if !object.needs.is_empty() {
        writeln!(text, "  needs: {}", object.needs.join(", "))?;
    }
    outcomes(text, object)?;
    symbols(text, object)?;
    relocations(text, object)?;
    writeln!(text)
}

fn outcomes(text: &mut String, object: &ObjectReport) -> std::fmt::Result {
    if !object.linked {
        return writeln!(text, "  not linked");
    }
    let outcomes = object
        .outcomes
        .iter()
        .map(|count| format!("{} {}", count.count, count.what.words()));
    writeln!(text, "  becomes: {}", or_none(&outcomes.collect::<Vec<_>>().join(", ")))
}

fn symbols(text: &mut String, object: &ObjectReport) -> std::fmt::Result {
    let Some(symbols) = &object.symbols else { return Ok(()) };
    writeln!(text, "  symbols")?;
    for symbol in symbols {
        writeln!(
            text,
            "    {:#018x} {:8} {:8} {:6} {:9} {:24} {}",
            symbol.value.0, symbol.size, symbol.kind, symbol.binding, symbol.visibility, symbol.section, symbol.name
        )?;
    }
    Ok(())
}

fn relocations(text: &mut String, object: &ObjectReport) -> std::fmt::Result {
    let Some(relocations) = &object.relocations else {
        return Ok(());
    };
    writeln!(text, "  relocations")?;
    for relocation in relocations {
        let place = format!("{}+{:#x}", relocation.section, relocation.offset.0);
        let symbol = report::with_addend(&relocation.symbol, relocation.addend);
        write!(
            text,
            "    {place:28} {:24} {symbol:32} {}",
            relocation.r#type,
            relocation.outcome.words()
        )?;
        if let Some(relaxation) = relocation.relaxation {
            write!(text, ": {relaxation}")?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn load(text: &mut String, load: &Load) -> std::fmt::Result {
    if let Some(error) = &load.error {
        return writeln!(text, "does not load:\n  {}", error.replace('\n', "\n  "));
    }
    let segments = load
        .segments
        .iter()
        .map(|segment| format!("{} bytes of {}", segment.total_bytes, segment.kind));
    writeln!(text, "loads: {}", or_none(&segments.collect::<Vec<_>>().join(", ")))
}

fn or_none(words: &str) -> &str {
    if words.is_empty() { "none" } else { words }
}
