//! `restub fuzz-object`.

use std::process::ExitCode;

use anyhow::Context as _;
use restub::loader::fuzzing::Case;

use crate::arguments::FuzzObjectArguments;

pub(crate) fn fuzz_object(arguments: &FuzzObjectArguments) -> anyhow::Result<ExitCode> {
    let case = Case::from_seed(arguments.seed);
    let output = &arguments.output;
    let written = std::fs::write(output, case.object(0).write());
    written.with_context(|| format!("cannot write {}", output.display()))?;
    Ok(ExitCode::SUCCESS)
}
