//! Links objects of a test into a plain buffer at a pretend address.

#![allow(dead_code, reason = "each test uses a part of it")]

use restub_loader::{
    BufferMemory, Detail, Error, Image, ImageSymbol, Input, NoSymbols, Options, Request, Resolver, SegmentKind, Target,
    TargetKind, link,
};

/// Where the tests link to, unless they say otherwise.
pub(crate) const BASE: u64 = 0x1000_0000;

/// An image with its bytes.
pub(crate) struct Linked {
    pub(crate) image: Image,
    pub(crate) memory: BufferMemory,
}

/// Links named objects and archives with nothing around them.
pub(crate) fn link_files(files: &[(&str, &[u8])]) -> Result<Linked, Error> {
    let inputs: Vec<_> = files
        .iter()
        .map(|(name, bytes)| Input::from_bytes(*name, *bytes))
        .collect();
    link_inputs(&inputs, &mut NoSymbols)
}

/// Links one object, called `a.o`.
pub(crate) fn link_object(bytes: &[u8]) -> Result<Linked, Error> {
    link_files(&[("a.o", bytes)])
}

/// Links inputs at [`BASE`].
pub(crate) fn link_inputs(inputs: &[Input<'_>], resolver: &mut dyn Resolver) -> Result<Linked, Error> {
    let mut memory = BufferMemory::at(BASE);
    let options = Options {
        detail: Detail::Full,
        trace: true,
        ..Options::default()
    };
    let image = link(inputs, || &[], resolver, &mut memory, &options)?;
    Ok(Linked { image, memory })
}

/// The message of a link that has to fail.
pub(crate) fn message(result: Result<Linked, Error>) -> String {
    match result {
        Ok(_) => panic!("the link succeeded"),
        Err(error) => error.to_string(),
    }
}

impl Linked {
    /// The symbol of that name.
    pub(crate) fn symbol(&self, name: &str) -> &ImageSymbol {
        let found = self.image.symbols.iter().find(|symbol| &*symbol.name == name);
        found.unwrap_or_else(|| panic!("the image has no symbol {name}"))
    }

    /// The address of a symbol.
    pub(crate) fn address(&self, name: &str) -> u64 {
        self.symbol(name).address
    }

    /// Bytes at an address.
    pub(crate) fn read(&self, address: u64, count: usize) -> Vec<u8> {
        for segment in SegmentKind::ALL {
            let start = self.image.placement.addresses[segment as usize];
            let bytes = self.memory.bytes(segment);
            if address >= start && address - start + count as u64 <= bytes.len() as u64 {
                return bytes[(address - start) as usize..][..count].to_vec();
            }
        }
        panic!("{address:#x} is not among the contents of the image")
    }

    /// A word at an address.
    pub(crate) fn word(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.read(address, 8).try_into().expect("8 bytes"))
    }

    /// All bytes of all segments.
    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        SegmentKind::ALL
            .iter()
            .map(|segment| self.memory.bytes(*segment).to_vec())
            .collect()
    }
}

/// Says of every name that it is a function at one address.
#[derive(Debug)]
pub(crate) struct Anything(pub(crate) u64);

impl Resolver for Anything {
    fn earlier(&mut self, _name: &[u8]) -> Option<Target> {
        None
    }

    fn external(&mut self, _request: Request<'_>) -> Option<Target> {
        Some(Target {
            address: self.0,
            size: 0,
            kind: TargetKind::Function,
        })
    }
}
