//! The copy that loading is compared with.
use object::elf::SHF_ALLOC;
use object::{Object as _, ObjectSection as _, SectionFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// What a loader cannot avoid: the sections that a program has in memory, copied into pages that are mapped anew.
pub(crate) struct Sections<'data> {
    filled: Vec<&'data [u8]>,
    size_bytes: usize,
}

impl<'data> Sections<'data> {
    /// The allocated sections of an object that have contents.
    pub(crate) fn of(object: &'data [u8]) -> Result<Self, String> {
        let file = object::File::parse(object).map_err(|e| e.to_string())?;
        let mut filled = Vec::new();
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
                continue;
            };
            if sh_flags.contains(SHF_ALLOC) {
                filled.push(section.data().map_err(|e| e.to_string())?);
            }
        }
        let size_bytes = filled.iter().map(|section| section.len().next_multiple_of(16)).sum();
        Ok(Self { filled, size_bytes })
    }

    /// Bytes copied by [`Self::copy`].
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Maps pages, copies the sections there, and unmaps the pages.
    pub(crate) fn copy(&self) {
        let size = self.size_bytes.max(1);
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: the kernel chooses an unused range.
        let mapped = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), size, protection, flags) };
        let start = mapped.expect("memory for a copy");
        // SAFETY: the range was just mapped, zeroed, and nobody else knows of it.
        let pages = unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>(), size) };
        let mut rest = &mut *pages;
        for section in &self.filled {
            let (piece, behind) = rest.split_at_mut(section.len().next_multiple_of(16));
            piece[..section.len()].copy_from_slice(section);
            rest = behind;
        }
        std::hint::black_box(&*pages);
        // SAFETY: `pages` is not used any more.
        unsafe { rustix::mm::munmap(start, size) }.expect("the pages are there");
    }
}
