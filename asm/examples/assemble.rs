//! Assembles a file: `assemble IN.s OUT.o [intel]`.

use std::process::ExitCode;

use restub_asm::{Options, Syntax, assemble};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, rest @ ..] = &arguments[..] else {
        eprintln!("usage: assemble IN.s OUT.o [intel]");
        return ExitCode::from(2);
    };
    let syntax = if rest.is_empty() { Syntax::Att } else { Syntax::Intel };
    let options = Options {
        file_name: input.clone(),
        syntax,
        ..Options::default()
    };
    let result = std::fs::read_to_string(input)
        .map_err(|error| format!("{input}: {error}"))
        .and_then(|source| assemble(&source, &options).map_err(|errors| errors.to_string()))
        .and_then(|object| std::fs::write(output, object).map_err(|error| format!("{output}: {error}")));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
