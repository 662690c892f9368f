//! `restub asm`, and `.s` files wherever objects are taken.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use restub::loader::Input;
use restub_asm::{Assembly, Options, Syntax};

use crate::arguments::{AsmArguments, SyntaxArgument};
use crate::output::print;

pub(crate) fn assemble(arguments: &AsmArguments) -> anyhow::Result<ExitCode> {
    let options = Options {
        file_name: file_name(&arguments.file),
        syntax: match arguments.syntax {
            SyntaxArgument::Att => Syntax::Att,
            SyntaxArgument::Intel => Syntax::Intel,
        },
        include_dirs: arguments.folders.clone(),
        defines: arguments
            .definitions
            .iter()
            .map(|definition| (definition.name.clone(), definition.value))
            .collect(),
        ..Options::default()
    };
    let assembly = assembled(&arguments.file, &options, arguments.listing)?;
    let output = &arguments.output;
    std::fs::write(output, assembly.object).with_context(|| format!("cannot write {}", output.display()))?;
    print(&assembly.listing)?;
    Ok(ExitCode::SUCCESS)
}

/// The object of a `.s` file, with the file's name.
pub(crate) fn object_of(path: &Path) -> anyhow::Result<Input<'static>> {
    let options = Options {
        file_name: file_name(path),
        ..Options::default()
    };
    let assembly = assembled(path, &options, false)?;
    Ok(Input::from_bytes(file_name(path), assembly.object))
}

/// Assembles, and passes on what the source says itself.
fn assembled(path: &Path, options: &Options, listing: bool) -> anyhow::Result<Assembly> {
    let assembly = restub_asm::assemble_with_messages(source(path)?, options, listing)?;
    for message in &assembly.messages {
        eprintln!("{message}");
    }
    Ok(assembly)
}

fn source(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut text = Vec::new();
        std::io::stdin()
            .read_to_end(&mut text)
            .context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn file_name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".into()
    } else {
        path.display().to_string()
    }
}
