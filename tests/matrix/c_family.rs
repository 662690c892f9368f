//! C and C++: every program with gcc and clang over the three flag axes.
use std::path::Path;

use crate::axes::{EXTRA, MODEL, OPT, TLSDESC, V3, covering, product};
use crate::case::Case;
use crate::expected::expectation;
use crate::program::{Program, list};
use crate::tools::{self, Tool};

/// A language of this family.
struct Language {
    /// The directory of its programs below `tests/sources`.
    directory: &'static str,
    extension: &'static str,
    compilers: [&'static Tool; 2],
}

impl Language {
    fn program(&self, sources: &Path, name: &str) -> Result<Program, String> {
        Program::read(sources, &format!("{}/{name}", self.directory), self.extension)
    }
}

static LANGUAGES: &[Language] = &[
    Language {
        directory: "c",
        extension: "c",
        compilers: [&tools::GCC, &tools::CLANG],
    },
    Language {
        directory: "cxx",
        extension: "cc",
        compilers: [&tools::GXX, &tools::CLANGXX],
    },
];

/// All cases, or with `full` unset the covering selection.
pub(crate) fn cases(sources: &Path, full: bool) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for language in LANGUAGES {
        for (seed, name) in list(&sources.join(language.directory))?.into_iter().enumerate() {
            let program = language.program(sources, &name)?;
            let extra: Vec<&str> = EXTRA
                .iter()
                .copied()
                .filter(|flags| program.tls || *flags != TLSDESC)
                .collect();
            let lengths = [language.compilers.len(), OPT.len(), MODEL.len(), extra.len()];
            let rows = if full {
                product(&lengths)
            } else {
                covering(&lengths, program.cover, seed)
            };
            for row in rows {
                let flags = Flags {
                    opt: OPT[row[1]],
                    model: MODEL[row[2]],
                    extra: extra[row[3]],
                };
                cases.push(case(&program, language.compilers[row[0]], &flags));
            }
        }
    }
    Ok(cases)
}

/// Cases of one program with flags written out, for both compilers.
pub(crate) fn written_out(sources: &Path, name: &str, flags: &'static str) -> Result<[Case; 2], String> {
    let (directory, name) = name.split_once('/').ok_or_else(|| format!("{name} has no directory"))?;
    let language = LANGUAGES.iter().find(|language| language.directory == directory);
    let language = language.ok_or_else(|| format!("no language has the directory {directory}"))?;
    let program = language.program(sources, name)?;
    // The whole of it stands in the model's place: there `-no-pie` is looked for.
    let flags = Flags {
        opt: "",
        model: flags,
        extra: "",
    };
    Ok(language.compilers.map(|compiler| case(&program, compiler, &flags)))
}

/// A value of each axis.
struct Flags {
    opt: &'static str,
    model: &'static str,
    extra: &'static str,
}

impl Flags {
    fn all(&self) -> String {
        [self.opt, self.model, self.extra]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn case(program: &Program, compiler: &'static Tool, flags: &Flags) -> Case {
    let all = flags.all();
    let command = compiler.command;
    let (steps, files) = objects(program, command, &all);
    let plain = Flags { model: "", ..*flags };
    let (mut plain_steps, _) = objects(program, command, &plain.all());
    plain_steps.push(link(program, command, "", &files));
    Case {
        name: format!("{}: {command} {all}", program.name),
        compiler: command,
        needs: vec![compiler, &tools::GCC, &tools::AR],
        v3: flags.opt == V3,
        steps,
        link: link(program, command, flags.model, &files),
        plain: plain_steps,
        load: files,
        args: program.args.clone(),
        env: program.env.clone(),
        status: program.status,
        expect: expectation(&program.name, command, &all),
    }
}

/// The commands that make the objects and the archive, and the files to link.
fn objects(program: &Program, command: &str, flags: &str) -> (Vec<String>, String) {
    // `-no-pie` is for the link alone; clang would warn of it here.
    let compile_flags: Vec<&str> = flags.split_whitespace().filter(|flag| *flag != "-no-pie").collect();
    let mut steps = Vec::new();
    let (mut files, mut members) = (Vec::new(), Vec::new());
    for source in &program.sources {
        let object = Program::object(source);
        let own = program.flags.join(" ");
        let flags = compile_flags.join(" ");
        steps.push(format!(
            "{command} {flags} {own} -c {{src}}/{}/{source} -o {object}",
            program.name
        ));
        if program.archived.contains(source) {
            members.push(object)
        } else {
            files.push(object)
        }
    }
    if !members.is_empty() {
        steps.push(format!("ar rcs lib.a {}", members.join(" ")));
        files.push("lib.a".to_owned());
    }
    (steps, files.join(" "))
}

fn link(program: &Program, command: &str, model: &str, files: &str) -> String {
    // `-fno-lto`: the code is compared, not what a plugin of the linker makes of the intermediate form beside it.
    let only: Vec<&str> = [("-no-pie", "-no-pie"), ("-flto", "-fno-lto")]
        .into_iter()
        .filter_map(|(given, passed)| model.contains(given).then_some(passed))
        .collect();
    let (flags, libraries) = (program.flags.join(" "), program.link.join(" "));
    format!("{command} {} {flags} {files} {libraries} -o reference", only.join(" "))
}
