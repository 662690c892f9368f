//! A process as it is at one moment: mappings, modules, and what is patched already.

use std::time::{Duration, Instant};

use crate::arena::{self, Arena};
use crate::error::{Error, Result};
use crate::module::{self, Module};
use crate::procfs::{Mapping, Procfs};
use crate::registry::Records;

/// How long the dynamic linker may take to load libraries.
const LOADING_LIMIT: Duration = Duration::from_secs(2);
/// How long the kernel may take to put the executable into a process that has just been started.
const STARTING_LIMIT: Duration = Duration::from_millis(200);
const LOADING_PAUSE: Duration = Duration::from_millis(2);

/// What is known of a process.
#[derive(Debug)]
pub(crate) struct State<'a> {
    pub(crate) procfs: &'a Procfs,
    pub(crate) maps: Vec<Mapping>,
    pub(crate) modules: Vec<Module>,
    /// The arena with the switch page, if the process was patched before.
    pub(crate) arena: Option<Arena>,
    pub(crate) records: Records,
}

impl<'a> State<'a> {
    /// Waits until the dynamic linker of the process is not at work.
    pub(crate) fn read(procfs: &'a Procfs) -> Result<Self> {
        let begin = Instant::now();
        loop {
            match Self::read_at_once(procfs) {
                Ok(state) if !module::is_loading(procfs, &state.modules) => return Ok(state),
                Ok(_) if begin.elapsed() > LOADING_LIMIT => return Err(Error::Loading(procfs.pid)),
                Err(Error::Unsupported { .. }) if begin.elapsed() < STARTING_LIMIT => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
            std::thread::sleep(LOADING_PAUSE);
        }
    }

    pub(crate) fn read_at_once(procfs: &'a Procfs) -> Result<Self> {
        let maps = procfs.maps()?;
        let modules = module::read_all(procfs, &maps)?;
        let (arena, records) = records(procfs, &maps)?;
        Ok(State {
            procfs,
            maps,
            modules,
            arena,
            records,
        })
    }
}

/// The records of a process, without its modules.
pub(crate) fn records(procfs: &Procfs, maps: &[Mapping]) -> Result<(Option<Arena>, Records)> {
    let arena = arena::find(procfs, maps);
    let records = match &arena {
        Some(arena) => Records::read(procfs, arena)?,
        None => Records::empty(),
    };
    Ok((arena, records))
}

/// Opens a process that is not this one.
pub(crate) fn open(pid: i32) -> Result<Procfs> {
    if i32::try_from(std::process::id()) == Ok(pid) {
        return Err(Error::Unsupported {
            pid,
            reason: "restub does not patch itself".into(),
        });
    }
    if pid <= 0 {
        return Err(Error::NoProcess(pid));
    }
    Procfs::open(pid)
}
