//! An object with one function.
use std::fs;

use crate::compile::Cache;

/// Digits that [`Function::numbered`] replaces.
const NAME: &str = "f00000000";

/// An object with one function.
pub(crate) struct Function {
    bytes: Vec<u8>,
    name_at: usize,
}

impl Function {
    /// Compiles it.
    pub(crate) fn compile() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let source = folder.path().join("function.c");
        fs::write(&source, format!("int {NAME}(int x) {{ return x + 1; }}\n")).map_err(|e| e.to_string())?;
        let flags = ["-O2".to_owned(), "-fPIC".to_owned()];
        let object = Cache::new(folder.path().join("objects")).object("gcc", &flags, &source)?;
        let bytes = fs::read(object).map_err(|e| e.to_string())?;
        let mut places = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(NAME.as_bytes()));
        let name_at = places.next().ok_or("the function's name is not in its object")?;
        Ok(Self { bytes, name_at })
    }

    /// The object, its function named by a number.
    pub(crate) fn numbered(&mut self, number: u32) -> &[u8] {
        let name = format!("f{number:08}");
        self.bytes[self.name_at..self.name_at + NAME.len()].copy_from_slice(name.as_bytes());
        &self.bytes
    }
}
