//! The other assemblers.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::compile::Cache;

/// What another assembler makes of a file.
pub(crate) enum Reference {
    Gnu {
        object: Vec<u8>,
        /// It had to be told of DWARF 5.
        dwarf5: bool,
    },
    /// GNU as does not take it.
    Llvm(Vec<u8>),
    /// No assembler takes it; the message is GNU as's.
    Refused(String),
}

/// The object that GNU as makes of a file, or else llvm-mc.
///
/// GNU as does not know `.addrsig`, so the lines with it are left out, and has to be told of DWARF 5 where a `.file`
/// of DWARF 4 has a directory of its own.
pub(crate) fn reference(path: &Path, source: &[u8], cache: &Cache) -> Result<Reference, String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let include = vec![format!("-I{}", folder.display())];
    let made = cache.made("as", &include, path, "reference.o", |file| {
        let plain = file.with_extension("s");
        fs::write(&plain, without_addrsig(source)).map_err(|e| e.to_string())?;
        let mut message = String::new();
        for (dwarf, letter) in [(None, b'G'), (Some("--gdwarf-5"), b'5')] {
            match run(Command::new("as")
                .args(dwarf)
                .args(&include)
                .arg("-o")
                .arg(file)
                .arg(&plain))
            {
                Ok(()) => return mark(file, letter),
                Err(error) => message = error,
            }
        }
        // The older one is closer to GNU as in how long jumps become; the younger one knows AVX10.2.
        for version in ["llvm-mc-19", "llvm-mc-22"] {
            let mut llvm = Command::new(version);
            llvm.args(["-triple=x86_64-linux-gnu", "-filetype=obj", "-mattr", APX]);
            if run(llvm.args(&include).arg("-o").arg(file).arg(path)).is_ok() {
                return mark(file, b'L');
            }
        }
        fs::write(file, format!("R{message}")).map_err(|e| e.to_string())
    })?;
    let mut data = fs::read(&made).map_err(|e| format!("{}: {e}", made.display()))?;
    Ok(match data.first() {
        Some(letter @ (b'G' | b'5')) => Reference::Gnu {
            dwarf5: *letter == b'5',
            object: data.split_off(1),
        },
        Some(b'L') => Reference::Llvm(data.split_off(1)),
        _ => Reference::Refused(String::from_utf8_lossy(&data[1..]).into_owned()),
    })
}

/// Puts a letter before an object, for which assembler it is from.
fn mark(file: &Path, letter: u8) -> Result<(), String> {
    let object = fs::read(file).map_err(|e| e.to_string())?;
    let mut marked = vec![letter];
    marked.extend(object);
    let _ = fs::remove_file(file.with_extension("s"));
    fs::write(file, marked).map_err(|e| e.to_string())
}

/// The features without which llvm-mc does not know an instruction's names.
const APX: &str = "+egpr,+push2pop2,+ppx,+ndd,+ccmp,+nf,+cf,+zu";

fn without_addrsig(source: &[u8]) -> Vec<u8> {
    let lines = source.split_inclusive(|&byte| byte == b'\n');
    let kept = lines.filter(|line| !line.trim_ascii_start().starts_with(b".addrsig"));
    kept.flatten().copied().collect()
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.lines().take(5).collect::<Vec<_>>().join("\n"))
}
