//! Which processes a command is for: by number, by name, by systemd unit, by cgroup.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use restub_process::is_alive;

/// Processes, other than by their number as the first operand.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several processes")]
pub(crate) struct TargetArguments {
    /// The process with this number (repeatable)
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(crate) pid: Vec<i32>,
    /// Every process whose executable or command has this name (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) process: Vec<String>,
    /// Every process of this systemd unit, such as redis.service (repeatable)
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Vec<String>,
    /// Every process of this cgroup and of those below it (repeatable)
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Vec<String>,
}

impl TargetArguments {
    /// Whether processes are chosen by options, so that no operand is a process's number.
    pub(crate) fn given(&self) -> bool {
        !(self.pid.is_empty() && self.process.is_empty() && self.unit.is_empty() && self.cgroup.is_empty())
    }

    /// The processes that are meant just now, in the order of their numbers.
    ///
    /// Each option has to find one.
    pub(crate) fn find(&self) -> anyhow::Result<Vec<i32>> {
        let all = processes()?;
        let mut found = self.pid.clone();
        let mut add = |what: &str, name: &str, matching: Vec<i32>| {
            if matching.is_empty() {
                bail!("no process {what} {name}");
            }
            found.extend(matching);
            Ok(())
        };
        let of = |wanted: &dyn Fn(i32) -> bool| all.iter().copied().filter(|pid| wanted(*pid)).collect::<Vec<_>>();
        for name in &self.process {
            add("is called", name, of(&|pid| is_called(pid, name)))?;
        }
        for unit in &self.unit {
            let full = if unit.contains('.') {
                unit.clone()
            } else {
                format!("{unit}.service")
            };
            add("is of unit", &full, of(&|pid| is_of_unit(&cgroups(pid), &full)))?;
        }
        for path in &self.cgroup {
            add("is in cgroup", path, of(&|pid| is_below(&cgroups(pid), path)))?;
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

/// What a command line is for: processes, and its other operands.
#[derive(Debug)]
pub(crate) struct Operands {
    pub(crate) pids: Vec<i32>,
    pub(crate) rest: Vec<String>,
}

/// Tells a process's number from the other operands.
pub(crate) fn operands(targets: &TargetArguments, operands: &[String]) -> anyhow::Result<Operands> {
    if targets.given() {
        return Ok(Operands {
            pids: targets.find()?,
            rest: operands.to_vec(),
        });
    }
    let Some((first, rest)) = operands.split_first() else {
        bail!("no process: give its number, or --process, --unit or --cgroup");
    };
    let pid = first.parse().ok().filter(|pid| *pid > 0);
    let pid = pid.with_context(|| format!("{first} is not the number of a process"))?;
    Ok(Operands {
        pids: vec![pid],
        rest: rest.to_vec(),
    })
}

/// All processes but this one.
fn processes() -> anyhow::Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc").context("cannot list processes")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut pids: Vec<i32> = pids.collect();
    pids.retain(|pid| u32::try_from(*pid) != Ok(std::process::id()) && is_alive(*pid));
    pids.sort_unstable();
    Ok(pids)
}

fn is_called(pid: i32, name: &str) -> bool {
    // The command is cut after 15 bytes.
    let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let executable = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let file = executable
        .file_name()
        .and_then(|file| file.to_str())
        .unwrap_or_default();
    command.trim_end() == name || file.strip_suffix(" (deleted)").unwrap_or(file) == name
}

/// The paths of a process's cgroups, in every hierarchy.
fn cgroups(pid: i32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    // "0::/system.slice/redis.service"
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.map(str::to_owned).collect()
}

fn is_of_unit(cgroups: &[String], unit: &str) -> bool {
    cgroups.iter().any(|path| path.split('/').any(|part| part == unit))
}

fn is_below(cgroups: &[String], path: &str) -> bool {
    let path = path.strip_prefix("/sys/fs/cgroup").unwrap_or(path);
    let path = path.strip_prefix("/unified").unwrap_or(path).trim_matches('/');
    let below = |group: &str| {
        let rest = group.trim_start_matches('/').strip_prefix(path);
        rest.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('/'))
    };
    cgroups.iter().any(|group| below(group))
}

/// The executable of a process, for messages.
pub(crate) fn executable(pid: i32) -> String {
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_else(|_| PathBuf::from("?"));
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_cgroups_are_found_by_their_paths() {
        let groups = ["/system.slice/redis.service".to_owned(), "/a/b".to_owned()];
        assert!(is_of_unit(&groups, "redis.service") && !is_of_unit(&groups, "dis.service"));
        assert!(is_below(&groups, "/system.slice") && is_below(&groups, "/sys/fs/cgroup/a"));
        assert!(is_below(&groups, "a/b/") && !is_below(&groups, "/a/b/c") && !is_below(&groups, "/sys"));
    }
}
