//! Runs the system's compilers and binary tools, and patches what they wrote.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Compiles a source file to an object, and returns its bytes.
pub(crate) fn compile(compiler: &str, source: &Path, flags: &[String], part: Option<u32>) -> Result<Vec<u8>, String> {
    let folder = TempDir::new().map_err(|e| e.to_string())?;
    let object = folder.path().join("out.o");
    let mut command = Command::new(compiler);
    let assembler = compiler == "as";
    if let Some(part) = part {
        match (assembler, source.extension().is_some_and(|e| e == "s")) {
            (true, _) => command.arg("--defsym").arg(format!("PART={part}")),
            (false, true) => command.arg(format!("-Wa,-defsym,PART={part}")),
            (false, false) => command.arg(format!("-DPART={part}")),
        };
    }
    if !assembler {
        command.arg("-c");
    }
    command.args(flags).arg(source).arg("-o").arg(&object);
    run(&mut command)?;
    std::fs::read(object).map_err(|e| e.to_string())
}

/// Assembles a text with GNU as.
pub(crate) fn assemble(text: &str) -> Vec<u8> {
    let folder = TempDir::new().expect("a folder for temporary files");
    let source = folder.path().join("in.s");
    std::fs::write(&source, text).expect("the source can be written");
    compile("as", &source, &[], None).unwrap_or_else(|e| panic!("{e}"))
}

/// Compiles a text; `name` gives the language by its ending.
pub(crate) fn compile_text(compiler: &str, name: &str, text: &str, flags: &[&str]) -> Vec<u8> {
    let folder = TempDir::new().expect("a folder for temporary files");
    let source = folder.path().join(name);
    std::fs::write(&source, text).expect("the source can be written");
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    compile(compiler, &source, &flags, None).unwrap_or_else(|e| panic!("{e}"))
}

/// Makes an archive of members, by name and contents, in the order given, with the arguments of `tool` (such as
/// `["ar", "rc"]`). Returns the folder with the archive, `lib.a`, and its members.
pub(crate) fn archive(tool: &[&str], members: &[(&str, &[u8])]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder for temporary files");
    let mut command = Command::new(tool[0]);
    command.current_dir(folder.path()).args(&tool[1..]).arg("lib.a");
    for (name, bytes) in members {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(path, bytes).expect("the member can be written");
        command.arg(name);
    }
    run(&mut command).unwrap_or_else(|e| panic!("{e}"));
    let archive = folder.path().join("lib.a");
    (folder, archive)
}

/// Runs a command, and returns what it printed; an error names the tool.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|e| format!("{tool} is needed for this test: {e}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{command:?}: {}\n{errors}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The fields of an ELF section header, by their offset in it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    Name = 0,
    Type = 4,
    Flags = 8,
    Offset = 24,
    Size = 32,
    Link = 40,
    Info = 44,
    Align = 48,
    EntrySize = 56,
}

impl Field {
    fn width(self) -> usize {
        match self {
            Field::Name | Field::Type | Field::Link | Field::Info => 4,
            _ => 8,
        }
    }
}

/// An ELF object whose bytes are to be changed in place.
pub(crate) struct Patch<'a>(pub(crate) &'a mut Vec<u8>);

impl Patch<'_> {
    fn number(&self, at: usize, width: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&self.0[at..at + width]);
        u64::from_le_bytes(bytes)
    }

    /// The number of sections.
    pub(crate) fn sections(&self) -> usize {
        self.number(60, 2) as usize
    }

    fn header(&self, section: usize) -> usize {
        self.number(40, 8) as usize + section * 64
    }

    /// A field of a section's header.
    pub(crate) fn get(&self, section: usize, field: Field) -> u64 {
        self.number(self.header(section) + field as usize, field.width())
    }

    /// Changes a field of a section's header.
    pub(crate) fn set(&mut self, section: usize, field: Field, value: u64) {
        let at = self.header(section) + field as usize;
        self.0[at..at + field.width()].copy_from_slice(&value.to_le_bytes()[..field.width()]);
    }

    /// The index of the first section with that name.
    pub(crate) fn find(&self, name: &str) -> usize {
        let strings = self.number(62, 2) as usize;
        let start = self.get(strings, Field::Offset) as usize;
        (0..self.sections())
            .find(|section| {
                let at = start + self.get(*section, Field::Name) as usize;
                self.0[at..].starts_with(name.as_bytes()) && self.0[at + name.len()] == 0
            })
            .unwrap_or_else(|| panic!("no section {name}"))
    }

    /// Offset in the file and size of a section's contents.
    pub(crate) fn contents(&self, section: usize) -> std::ops::Range<usize> {
        let start = self.get(section, Field::Offset) as usize;
        start..start + self.get(section, Field::Size) as usize
    }

    /// Gives the relocations of type `old` the number `new`.
    pub(crate) fn retype(&mut self, old: u32, new: u32) {
        for section in 0..self.sections() {
            if self.get(section, Field::Type) != 4 {
                continue;
            }
            for at in self.contents(section).step_by(24) {
                if self.number(at + 8, 4) == u64::from(old) {
                    self.0[at + 8..at + 12].copy_from_slice(&new.to_le_bytes());
                }
            }
        }
    }

    /// Turns every SHT_RELA section into SHT_REL, with the addends moved into the fields.
    pub(crate) fn make_rel(&mut self) {
        for section in 0..self.sections() {
            if self.get(section, Field::Type) != 4 {
                continue;
            }
            let contents = self.contents(section);
            let target = self.contents(self.get(section, Field::Info) as usize);
            for (index, at) in contents.clone().step_by(24).enumerate() {
                let entry = self.0[at..at + 24].to_vec();
                let row = restub_loader::Row::of(u32::from_le_bytes([entry[8], entry[9], entry[10], entry[11]]));
                let width = row.map_or(0, |row| usize::from(row.width));
                let place = target.start + self.number(at, 8) as usize;
                self.0[place..place + width].copy_from_slice(&entry[16..16 + width]);
                let to = contents.start + index * 16;
                self.0[to..to + 16].copy_from_slice(&entry[..16]);
            }
            self.set(section, Field::Type, 9);
            self.set(section, Field::Size, contents.len() as u64 / 24 * 16);
            self.set(section, Field::EntrySize, 16);
        }
    }
}
