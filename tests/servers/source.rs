//! Patches as people make them: a source is changed, compiled by the server's own command, and compared.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::restub;

/// A change of a source file: text that occurs once, and what stands there instead.
pub(crate) struct Edit {
    pub(crate) file: &'static str,
    pub(crate) changes: &'static [(&'static str, &'static str)],
}

/// Makes a patch object of a changed source. `folder` is where the server's build ran its commands, which `log` has.
pub(crate) fn patch_of(folder: &Path, log: &Path, edit: &Edit, output: &Path) -> PathBuf {
    let path = folder.join(edit.file);
    let mut text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (old, new) in edit.changes {
        assert_eq!(text.matches(old).count(), 1, "{}: {old:?}", path.display());
        text = text.replace(old, new);
    }
    let name = Path::new(edit.file)
        .file_name()
        .expect("a file")
        .to_str()
        .expect("text");
    std::fs::create_dir_all(output.join("changed")).expect("a folder");
    let changed = output.join("changed").join(name);
    std::fs::write(&changed, text).expect("the source can be written");
    let (command, old) = compile_command(log, edit.file);
    let new = output.join("changed").join(format!("{name}.o"));
    let own_folder = path.parent().expect("a folder");
    let status = Command::new("sh")
        .args([
            "-c",
            &format!(
                "{command} -w -iquote {} -o {} -c {}",
                show(own_folder),
                show(&new),
                show(&changed)
            ),
        ])
        .current_dir(folder)
        .status()
        .expect("a shell");
    assert!(status.success(), "{name} does not compile");
    let patch = output.join(format!("{name}.patch.o"));
    let old = folder.join(old);
    print!(
        "{name}: {}",
        restub(&["diff", show(&old), show(&new), "-o", show(&patch)])
    );
    patch
}

fn show(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// The command that made a source's object, without input and output, and the object.
fn compile_command(log: &Path, source: &str) -> (String, String) {
    let text = std::fs::read_to_string(log)
        .expect("the log of the build")
        .replace("\\\n", " ");
    let line = text.lines().find(|line| {
        let mut words = line.split_whitespace();
        words.any(|word| word == source)
            && line.split_whitespace().any(|word| word == "-c" || word == "-o")
            && !line.contains(" -MM ")
    });
    let words: Vec<&str> = line
        .unwrap_or_else(|| panic!("{source} is not compiled"))
        .split_whitespace()
        .collect();
    let mut command = Vec::new();
    let mut object = String::new();
    let mut skip = false;
    for (index, word) in words.iter().enumerate() {
        match *word {
            _ if skip => skip = false,
            "-o" => {
                object = words[index + 1].to_owned();
                skip = true;
            }
            "-c" | "-MMD" => {}
            word if word == source => {}
            word => command.push(word),
        }
    }
    // What make echoes is quoted for a shell.
    (command.join(" "), object)
}
