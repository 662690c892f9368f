//! The compiler matrix: programs in `tests/sources`, compiled by every compiler with many sets of flags, linked by the
//! compiler's own driver and run, then run by `restub run` from the same objects. Standard output, standard error and
//! exit status have to be equal.
//!
//! The default run is a selection in which every pair of flags occurs for every program (every single flag for those
//! that take seconds to compile). What is not expected to be equal stands in the table in `expected.rs`, with its reason.
//!
//! | variable | effect |
//! |---|---|
//! | `RESTUB` | the `restub` command to test instead of the one just built |
//! | `RESTUB_MATRIX=full` | every combination of flags, for hours |
//! | `RESTUB_MATRIX_KEEP=DIR` | leaves the files of failed cases there |
//! | `CI` | a missing compiler is a failure, not a skip |
mod axes;
mod c_family;
mod case;
mod combined;
mod expected;
mod languages;
mod process;
mod program;
mod recipe;
mod report;
mod tools;
mod traps;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use case::{Bench, Case};
use libtest_mimic::{Arguments, Failed, Trial};
use report::Report;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials() {
        Ok((trials, report)) => {
            let conclusion = libtest_mimic::run(&arguments, trials);
            if !arguments.list {
                report.print();
            }
            conclusion.exit_code()
        }
        Err(problem) => {
            eprintln!("matrix: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> Result<(Vec<Trial>, Arc<Report>), String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/sources");
    let sources = sources
        .canonicalize()
        .map_err(|e| format!("{}: {e}", sources.display()))?;
    let full = std::env::var("RESTUB_MATRIX").is_ok_and(|value| value == "full");
    let bench = Arc::new(Bench {
        restub: std::env::var("RESTUB").unwrap_or_else(|_| env!("CARGO_BIN_EXE_restub").to_owned()),
        keep: std::env::var_os("RESTUB_MATRIX_KEEP").map(Into::into),
        sources,
    });
    let mut cases = c_family::cases(&bench.sources, full)?;
    cases.extend(combined::cases(&bench.sources, full)?);
    for (seed, recipe) in languages::RECIPES.iter().chain(traps::RECIPES).enumerate() {
        cases.extend(recipe.cases(full, seed));
    }

    let report = Arc::new(Report::default());
    let missing: Vec<_> = tools::ALL
        .iter()
        .filter(|tool| tool.path().is_none())
        .copied()
        .collect();
    let mut trials = Vec::new();
    for tool in &missing {
        if std::env::var_os("CI").is_some() {
            trials.push(Trial::test(format!("tool: {}", tool.command), || {
                Err(Failed::from(format!(
                    "{} is missing (package {})",
                    tool.command, tool.package
                )))
            }));
        }
    }
    trials.push(Trial::test("packages.txt", packages_are_listed));
    for case in cases {
        if let Some(tool) = case.needs.iter().find(|tool| missing.contains(tool)) {
            report.skip(
                case.compiler,
                &case.name,
                &format!("{} is missing (package {})", tool.command, tool.package),
            );
        } else if case.v3 && !host_is_v3() {
            report.skip(case.compiler, &case.name, "this CPU is not x86-64-v3");
        } else {
            trials.push(trial(case, &bench, &report));
        }
    }
    Ok((trials, report))
}

fn trial(case: Case, bench: &Arc<Bench>, report: &Arc<Report>) -> Trial {
    let (bench, report) = (Arc::clone(bench), Arc::clone(report));
    Trial::test(case.name.clone(), move || {
        let result = case.run(&bench);
        report.count(case.compiler, &case.name, result.is_ok());
        result.map_err(Failed::from)
    })
}

/// What `.ci/run` installs has all that the matrix asks for.
fn packages_are_listed() -> Result<(), Failed> {
    let listed: Vec<&str> = include_str!("../packages.txt").lines().collect();
    let packages = tools::ALL
        .iter()
        .map(|tool| tool.package)
        .filter(|package| *package != tools::RUSTC.package);
    let absent: Vec<&str> = packages.filter(|package| !listed.contains(package)).collect();
    if absent.is_empty() {
        Ok(())
    } else {
        Err(format!("tests/packages.txt lacks {}", absent.join(", ")).into())
    }
}

fn host_is_v3() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("movbe")
        && is_x86_feature_detected!("f16c")
}
