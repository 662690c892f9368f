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
    /// Neither takes it; the message is GNU as's.
    Refused(String),
}

/// The object that GNU as makes of a file, or else llvm-mc.
///
/// GNU as does not know `.addrsig`, so the lines with it are left out, and has to be told of DWARF 5 where a `.file`
/// of DWARF 4 has a directory of its own.
pub(crate) fn reference(path: &Path, source: &[u8], cache: &Cache) -> Result<Reference, String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let include = vec![format!("-I{}", folder.display())];
    let made = cache.made("as", &include, path, "as-or-llvm.o", |file| {
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
        fs::write(&plain, with_counts(source)).map_err(|e| e.to_string())?;
        // The older one is closer to GNU as in how long jumps become; the younger one knows AVX10.2.
        for version in ["llvm-mc-19", "llvm-mc-22"] {
            let mut llvm = Command::new(version);
            llvm.args(["-triple=x86_64-linux-gnu", "-filetype=obj", "-mattr", APX]);
            if run(llvm.args(&include).arg("-o").arg(file).arg(&plain)).is_ok() {
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

/// LLVM writes shifts and rotations by 1 into a new register without their count (`{nf} shrb %r8b, %sil`), and does not
/// read that; `shrb %cl, %sil` is one by `cl`. rustc's code for diamondrapids has some.
fn with_counts(source: &[u8]) -> Vec<u8> {
    let lines = source.split_inclusive(|&byte| byte == b'\n');
    lines
        .flat_map(|line| {
            let text = std::str::from_utf8(line).ok().and_then(with_count);
            text.map_or_else(|| line.to_vec(), String::into_bytes)
        })
        .collect()
}

fn with_count(line: &str) -> Option<String> {
    const SHIFTS: [&str; 8] = ["shl", "shr", "sal", "sar", "rol", "ror", "rcl", "rcr"];
    let statement = line.trim();
    let bare = statement.strip_prefix("{nf}").unwrap_or(statement).trim_start();
    let (mnemonic, operands) = bare.split_once(char::is_whitespace)?;
    let is_att = !SHIFTS.contains(&mnemonic);
    if is_att && !SHIFTS.contains(&mnemonic.strip_suffix(['b', 'w', 'l', 'q'])?) {
        return None;
    }
    let head = &line[..line.find(operands)?];
    let (first, last) = operands.rsplit_once(", ")?;
    let constant = first.starts_with('$') || last.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    // LLVM writes no space behind the commas in an address.
    if first.contains(", ") || constant || first == "%cl" || last == "cl" {
        return None;
    }
    Some(match is_att {
        true => format!("{head}$1, {operands}\n"),
        false => format!("{head}{operands}, 1\n"),
    })
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
