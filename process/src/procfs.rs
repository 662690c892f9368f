//! What `/proc` says of a process: its mappings, its threads, its status.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use restub_loader::PAGE_BYTES;

use crate::error::{Error, Result};
use crate::steps;

/// One mapping of `/proc/PID/maps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// As in the file: `r-xp`.
    pub(crate) permissions: [u8; 4],
    pub(crate) offset: u64,
    pub(crate) inode: u64,
    /// The file, or a name in brackets; empty for anonymous memory.
    pub(crate) path: PathBuf,
}

impl Mapping {
    pub(crate) fn is_readable(&self) -> bool {
        self.permissions[0] == b'r'
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.permissions[1] == b'w'
    }

    pub(crate) fn is_executable(&self) -> bool {
        self.permissions[2] == b'x'
    }

    pub(crate) fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// The folder of a process in `/proc`, and its memory.
///
/// All is read through one thread that is alive: a main thread that has ended keeps the process number, and has neither
/// mappings nor memory.
#[derive(Debug)]
pub(crate) struct Procfs {
    pub(crate) pid: i32,
    folder: PathBuf,
    memory: File,
}

impl Procfs {
    pub(crate) fn open(pid: i32) -> Result<Self> {
        let tasks = tasks(pid)?;
        let anchor = tasks
            .iter()
            .copied()
            .find(|tid| !matches!(state(pid, *tid), None | Some(b'Z' | b'X')))
            .ok_or(Error::NoProcess(pid))?;
        let folder = PathBuf::from(format!("/proc/{pid}/task/{anchor}"));
        let open = |write: bool| File::options().read(true).write(write).open(folder.join("mem"));
        let memory = open(true).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Permission {
                pid,
                reason: forbidden(pid),
            },
            io::ErrorKind::NotFound => Error::NoProcess(pid),
            _ if source.raw_os_error() == Some(libc::ESRCH) => without_memory(pid),
            _ => system(pid, "opening its memory", source),
        })?;
        let procfs = Procfs { pid, folder, memory };
        if procfs.maps()?.is_empty() {
            return Err(without_memory(pid));
        }
        Ok(procfs)
    }

    /// A process that a folder and a file stand for.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn recorded(folder: PathBuf, memory: File) -> Self {
        Procfs { pid: 0, folder, memory }
    }

    /// A path in the folder of the thread that is alive.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn maps(&self) -> Result<Vec<Mapping>> {
        let bytes = fs::read(self.path("maps")).map_err(|source| match source.raw_os_error() {
            Some(libc::ESRCH | libc::ENOENT) => Error::NoProcess(self.pid),
            _ => system(self.pid, "reading its mappings", source),
        })?;
        Ok(bytes.split(|byte| *byte == b'\n').filter_map(mapping).collect())
    }

    /// Reads memory. Returns whether all of it was there.
    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.memory.read_exact_at(bytes, address).is_ok()
    }

    /// Reads as much memory as there is, up to the length of `bytes`.
    pub(crate) fn read_some(&self, address: u64, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            match self.memory.read_at(&mut bytes[done..], address + done as u64) {
                Ok(count) if count > 0 => done += count,
                _ => break,
            }
        }
        done
    }

    pub(crate) fn read_word(&self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.read(address, &mut word).then(|| u64::from_le_bytes(word))
    }

    /// Reads memory, if all of it is there. No module has more code than this reads at once; a damaged file may say so.
    pub(crate) fn read_vec(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        const LARGEST: usize = 1 << 30;
        if length > LARGEST {
            return None;
        }
        let mut bytes = vec![0; length];
        self.read(address, &mut bytes).then_some(bytes)
    }

    /// Shows a function all pages of a range that are in use. Returns whether that was all of it: within what is left of
    /// a number of bytes, which it takes off.
    pub(crate) fn each_page_in_use(
        &self,
        range: &std::ops::Range<u64>,
        left: &mut u64,
        look: &mut dyn FnMut(&[u8]),
    ) -> bool {
        const PAGE: u64 = 4096;
        const IN_MEMORY_OR_SWAPPED: u64 = 3 << 62;
        const PAGES: u64 = 256;
        let Ok(pages) = File::open(self.path("pagemap")) else {
            return false;
        };
        let mut bytes = vec![0; (PAGES * PAGE) as usize];
        let mut at = range.start & !(PAGE - 1);
        while at < range.end {
            let count = PAGES.min((range.end - at).div_ceil(PAGE));
            let mut entries = vec![0; (count * 8) as usize];
            if pages.read_exact_at(&mut entries, at / PAGE * 8).is_err() {
                return false;
            }
            let mut index = 0;
            let in_use = |index: u64| {
                let entry = &entries[(index * 8) as usize..(index * 8 + 8) as usize];
                word(entry) & IN_MEMORY_OR_SWAPPED != 0
            };
            while index < count {
                let run = (index..count).take_while(|page| in_use(*page)).count() as u64;
                if run == 0 {
                    index += 1;
                    continue;
                }
                let length = (run * PAGE) as usize;
                let read = self.read_some(at + index * PAGE, &mut bytes[..length]);
                look(&bytes[..read]);
                index += run;
                let Some(rest) = left.checked_sub(run * PAGE) else {
                    return false;
                };
                *left = rest;
            }
            at += count * PAGE;
        }
        true
    }

    /// Writes memory, whatever its protection, and reads it back.
    ///
    /// The kernel copies page by page: bytes on one page are written all or not at all, also when the caller is killed.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        // Where steps are counted, what the kernel does in several is several.
        let first = if steps::matter() {
            bytes.len().min((PAGE_BYTES - address % PAGE_BYTES) as usize)
        } else {
            bytes.len()
        };
        let (first, rest) = bytes.split_at(first);
        let behind = address + first.len() as u64;
        let written = self.write_at_once(address, first);
        let written = written.and_then(|()| self.write_at_once(behind, rest));
        written.map_err(|source| match source.raw_os_error() {
            Some(libc::EIO | libc::ESRCH | libc::EFAULT) if state(self.pid, self.pid).is_none() => {
                Error::NoProcess(self.pid)
            }
            // The memory of a process that has ended takes no bytes.
            _ if source.kind() == io::ErrorKind::WriteZero => Error::NoProcess(self.pid),
            _ => system(self.pid, "writing its memory", source),
        })?;
        let mut back = vec![0; bytes.len()];
        if self.read(address, &mut back) && back == bytes {
            return Ok(());
        }
        Err(Error::Changed {
            pid: self.pid,
            address,
            expected: "what has just been written",
        })
    }

    fn write_at_once(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        if !bytes.is_empty() {
            self.memory.write_all_at(bytes, address)?;
            steps::step();
        }
        Ok(())
    }

    /// A field of `/proc/PID/status`.
    pub(crate) fn status(&self, field: &str) -> Option<String> {
        status(&self.path("status"), field)
    }

    /// A word of the auxiliary vector.
    pub(crate) fn auxiliary(&self, kind: u64) -> Option<u64> {
        let bytes = fs::read(self.path("auxv")).ok()?;
        let mut pairs = bytes.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..])));
        pairs.find(|(known, _)| *known == kind).map(|(_, value)| value)
    }

    /// Whether a signal that is not blocked is on its way to a thread.
    pub(crate) fn has_signal(&self, tid: i32) -> bool {
        let path = PathBuf::from(format!("/proc/{}/task/{tid}/status", self.pid));
        let set = |field: &str| status(&path, field).and_then(|text| u64::from_str_radix(&text, 16).ok());
        match (set("SigPnd"), set("ShdPnd"), set("SigBlk")) {
            (Some(own), Some(shared), Some(blocked)) => (own | shared) & !blocked != 0,
            _ => true,
        }
    }

    /// The name of one of its threads.
    pub(crate) fn thread_name(&self, tid: i32) -> String {
        let name = fs::read_to_string(format!("/proc/{}/task/{tid}/comm", self.pid)).unwrap_or_default();
        name.trim_end().to_owned()
    }

    /// What a thread is doing, for messages.
    pub(crate) fn describe_thread(&self, tid: i32) -> String {
        let name = self.thread_name(tid);
        let call = fs::read_to_string(format!("/proc/{}/task/{tid}/syscall", self.pid)).unwrap_or_default();
        let number = call.split(' ').next().and_then(|number| number.parse::<i64>().ok());
        let vfork = number == Some(libc::SYS_vfork) || state(self.pid, tid) == Some(b'D') && self.has_vfork_child();
        let doing = match (vfork, number) {
            (true, _) => " waits in vfork for a child that shares its memory".to_owned(),
            (_, Some(number)) => format!(" is in system call {number}"),
            _ => String::new(),
        };
        format!("{tid} ({name}){doing}")
    }

    /// Whether a child runs in this process's memory, as after `vfork`.
    fn has_vfork_child(&self) -> bool {
        let path = self.path("children");
        let children = fs::read_to_string(path).unwrap_or_default();
        let mine = fs::read(self.path("maps")).unwrap_or_default();
        children
            .split_whitespace()
            .any(|child| fs::read(format!("/proc/{child}/maps")).is_ok_and(|maps| maps == mine))
    }
}

fn without_memory(pid: i32) -> Error {
    Error::Unsupported {
        pid,
        reason: "it is a kernel thread, or ends just now".into(),
    }
}

pub(crate) fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = bytes.len().min(8);
    word[..length].copy_from_slice(&bytes[..length]);
    u64::from_le_bytes(word)
}

pub(crate) fn system(pid: i32, operation: &'static str, source: io::Error) -> Error {
    Error::System { pid, operation, source }
}

/// The threads of a process: the main thread, which stays, and then the others in the order of their numbers. Numbers
/// begin anew when they are used up, so that the main thread's need not be the lowest.
pub(crate) fn tasks(pid: i32) -> Result<Vec<i32>> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NoProcess(pid),
        _ => system(pid, "listing its threads", source),
    })?;
    let mut tids: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    tids.sort_unstable_by_key(|tid| (*tid != pid, *tid));
    Ok(tids)
}

/// The state letter of a thread; `None` if it is gone.
pub(crate) fn state(pid: i32, tid: i32) -> Option<u8> {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    after_name.trim_start().bytes().next()
}

/// Whether some thread of a process has not ended; its main thread may have.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    let tasks = tasks(pid).unwrap_or_default();
    tasks
        .iter()
        .any(|tid| !matches!(state(pid, *tid), None | Some(b'Z' | b'X')))
}

/// Who traces a thread, if somebody does.
pub(crate) fn tracer(pid: i32, tid: i32) -> Option<(i32, String)> {
    let path = PathBuf::from(format!("/proc/{pid}/task/{tid}/status"));
    let tracer: i32 = status(&path, "TracerPid")?.parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{tracer}/comm")).unwrap_or_default();
    (tracer != 0).then(|| (tracer, name.trim_end().to_owned()))
}

/// Why a process may not be traced, and what to do about it.
pub(crate) fn forbidden(pid: i32) -> String {
    let own = fs::metadata("/proc/self").ok();
    let theirs = fs::metadata(format!("/proc/{pid}")).ok();
    let users = |metadata: &fs::Metadata| std::os::unix::fs::MetadataExt::uid(metadata);
    let status_of = |field: &str| status(&PathBuf::from(format!("/proc/{pid}/status")), field);
    let real_user = status_of("Uid").and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    if let (Some(own), Some(real)) = (own.as_ref().map(users), real_user)
        && own != real
        && own != 0
    {
        return format!("it belongs to user {real}; run restub as that user, as root, or with CAP_SYS_PTRACE");
    }
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match scope.trim() {
        "1" if own.as_ref().map(users) != Some(0) => {
            return "kernel.yama.ptrace_scope is 1, which lets only a parent trace; run restub as root or with \
                    CAP_SYS_PTRACE, or set it to 0"
                .into();
        }
        "2" if own.as_ref().map(users) != Some(0) => {
            return "kernel.yama.ptrace_scope is 2: only CAP_SYS_PTRACE may trace; run restub as root".into();
        }
        "3" => return "kernel.yama.ptrace_scope is 3: nobody may trace until the next boot".into(),
        _ => {}
    }
    if let (Some(theirs), Some(real)) = (theirs.as_ref().map(users), real_user)
        && theirs == 0
        && real != 0
    {
        return "it is not dumpable (it changed its user, or asked for that with prctl); run restub as root or with \
                CAP_SYS_PTRACE"
            .into();
    }
    let label = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap_or_default();
    let label = label.trim_end_matches(['\0', '\n']);
    let selinux = fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim() == "1");
    if selinux {
        return format!("SELinux forbids it (the process runs as {label}); allow ptrace in the policy");
    }
    if label.ends_with("(enforce)") {
        return format!(
            "AppArmor may forbid it (the process is confined by {label}); allow ptrace (tracedby) in the profile"
        );
    }
    "tracing it is not permitted: restub needs CAP_SYS_PTRACE in the user namespace of the process, which a container \
     or a seccomp filter around restub may have taken away"
        .into()
}

fn status(path: &std::path::Path, field: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

pub(crate) fn mapping(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let (start, end) = text()?.split_once('-')?;
    let permissions = text()?.as_bytes().try_into().ok()?;
    let offset = u64::from_str_radix(text()?, 16).ok()?;
    text()?;
    let inode = text()?.parse().ok()?;
    let path = fields.next().unwrap_or_default().trim_ascii_start();
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        permissions,
        offset,
        inode,
        path: PathBuf::from(OsString::from_vec(path.to_vec())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read() {
        let line = b"7f00aa000000-7f00aa021000 r-xp 00001000 08:01 1234                       /a b/c (deleted)";
        let mapping = mapping(line).unwrap();
        assert_eq!((mapping.start, mapping.end), (0x7f00_aa00_0000, 0x7f00_aa02_1000));
        assert!(mapping.is_readable() && mapping.is_executable() && !mapping.is_writable());
        assert_eq!((mapping.offset, mapping.inode), (0x1000, 1234));
        assert_eq!(mapping.path, PathBuf::from("/a b/c (deleted)"));
        assert_eq!(super::mapping(b""), None);
        assert_eq!(super::mapping(b"zz-1 r"), None);
    }

    #[test]
    fn this_process_is_read() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let procfs = Procfs::open(pid).unwrap();
        let value = 0x1122_3344_5566_u64;
        let address = (&raw const value).addr() as u64;
        assert_eq!(procfs.read_word(address), Some(value));
        assert_eq!(procfs.read_word(8), None);
        assert!(procfs.maps().unwrap().iter().any(|mapping| mapping.contains(address)));
        assert_eq!(
            tasks(i32::MAX).unwrap_err().to_string(),
            format!("process {} does not exist", i32::MAX)
        );
    }
}
