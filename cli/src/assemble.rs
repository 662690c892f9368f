//! `restub asm`, and `.s` files wherever objects are taken.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use restub::loader::Input;
use restub_asm::{Options, Syntax};

use crate::arguments::{AsmArguments, SyntaxArgument};

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
            .map(|definition| (definition.name.clone(), definition.address.cast_signed()))
            .collect(),
        ..Options::default()
    };
    let object = restub_asm::assemble(&source(&arguments.file)?, &options)?;
    let output = &arguments.output;
    std::fs::write(output, object).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The object of a `.s` file, with the file's name.
pub(crate) fn object_of(path: &Path) -> anyhow::Result<Input<'static>> {
    let options = Options {
        file_name: file_name(path),
        ..Options::default()
    };
    let object = restub_asm::assemble(&source(path)?, &options)?;
    Ok(Input::from_bytes(file_name(path), object))
}

fn source(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn file_name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".into()
    } else {
        path.display().to_string()
    }
}
