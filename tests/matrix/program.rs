//! A test program: a directory of sources whose main file begins with `//#Name: value` directives.
use std::fs;
use std::path::Path;

/// How many of the flag combinations the default run takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cover {
    /// Every pair of values of two axes occurs.
    Pairs,
    /// Every value of every axis occurs: for programs that take seconds to compile.
    Values,
}

/// One program and what its directives say.
pub(crate) struct Program {
    /// Directory below `tests/sources`, as in `c/tls`.
    pub(crate) name: String,
    /// File names, the main file first.
    pub(crate) sources: Vec<String>,
    /// `Archive:` the sources whose objects go into `lib.a`.
    pub(crate) archived: Vec<String>,
    /// `Flags:` passed to every compilation and to the link.
    pub(crate) flags: Vec<String>,
    /// `Link:` libraries for the reference link.
    pub(crate) link: Vec<String>,
    /// `Args:` what the program is called with.
    pub(crate) args: Vec<String>,
    /// `Env: NAME=VALUE`, any number of times.
    pub(crate) env: Vec<(String, String)>,
    /// `Status:` what the program returns when all is well.
    pub(crate) status: i32,
    /// `Tls: yes` the program has thread-local data, so TLS flags make a difference.
    pub(crate) tls: bool,
    /// `Cover: values`.
    pub(crate) cover: Cover,
}

impl Program {
    /// Reads the program in `sources/name`, whose files end in `.extension`.
    pub(crate) fn read(sources: &Path, name: &str, extension: &str) -> Result<Self, String> {
        let directory = sources.join(name);
        let mut files: Vec<String> = list(&directory)?;
        files.retain(|file| file.ends_with(&format!(".{extension}")));
        let main = format!("main.{extension}");
        files.retain(|file| *file != main);
        files.insert(0, main);
        let text = fs::read_to_string(directory.join(&files[0])).map_err(|e| format!("{name}/{}: {e}", files[0]))?;
        let mut program = Self {
            name: name.to_owned(),
            sources: files,
            archived: Vec::new(),
            flags: Vec::new(),
            link: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            status: 0,
            tls: false,
            cover: Cover::Pairs,
        };
        for directive in text.lines().map_while(|line| line.strip_prefix("//#")) {
            program
                .apply(directive)
                .ok_or_else(|| format!("{name}: bad directive `//#{directive}`"))?;
        }
        Ok(program)
    }

    fn apply(&mut self, directive: &str) -> Option<()> {
        let (key, value) = directive.split_once(": ")?;
        let words = || value.split_whitespace().map(str::to_owned).collect();
        match key {
            "Archive" => self.archived = words(),
            "Flags" => self.flags = words(),
            "Link" => self.link = words(),
            "Args" => self.args = words(),
            "Env" => self.env.extend(
                value
                    .split_once('=')
                    .map(|(name, value)| (name.to_owned(), value.to_owned())),
            ),
            "Status" => self.status = value.parse().ok()?,
            "Tls" => self.tls = value == "yes",
            "Cover" => self.cover = (value == "values").then_some(Cover::Values)?,
            _ => return None,
        }
        Some(())
    }

    /// The object file of a source.
    pub(crate) fn object(source: &str) -> String {
        let stem = source.rsplit_once('.').map_or(source, |(stem, _)| stem);
        format!("{stem}.o")
    }
}

/// The sorted names in a directory.
pub(crate) fn list(directory: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}
