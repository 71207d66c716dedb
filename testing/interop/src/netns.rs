//! Network namespaces that belong to one test and go with it.
//!
//! A namespace is named `fwt-PID-N-LABEL` by the process that made it, so that two test runs never meet and the
//! leftovers of a run that was killed are known: the first namespace a process makes sweeps away all those whose
//! maker is gone.
//!
//! Everything is done by the `ip` command; a thread enters a namespace by setns(2).

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::shell::output;

const PREFIX: &str = "fwt-";

/// Where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";

/// A network namespace, deleted on drop with every interface in it.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes an empty namespace with a loopback device that is up. `label` shows in its name.
    ///
    /// IPv6 addresses are usable at once: duplicate address detection, which takes a second, is off.
    ///
    /// # Errors
    ///
    /// Without root, or without `ip`.
    pub fn new(label: &str) -> Result<Self> {
        static SWEEP: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        SWEEP.call_once(sweep);

        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{label}", std::process::id());
        output(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        for scope in ["all", "default"] {
            namespace.set(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `program`, to be started inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a command line inside, its words split at spaces, and returns what it printed.
    ///
    /// # Errors
    ///
    /// When it fails, with what it complained of.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        output(self.command(program).args(words))
    }

    /// Runs `ip` with the words of `line` on this namespace.
    ///
    /// # Errors
    ///
    /// When `ip` fails, with what it complained of.
    pub fn ip(&self, line: &str) -> Result<String> {
        output(Command::new("ip").args(["-netns", &self.name]).args(line.split_whitespace()))
    }

    /// Writes `value` to `/proc/sys/KEY` as this namespace sees it.
    ///
    /// # Errors
    ///
    /// When there is no such key.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.enter(|| fs::write(&path, value).with_context(|| path.display().to_string()))?
    }

    /// Calls `work` on a thread of its own inside this namespace. Sockets made there stay in the namespace, whoever
    /// uses them later.
    ///
    /// # Errors
    ///
    /// When the thread cannot enter.
    ///
    /// # Panics
    ///
    /// When `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = PathBuf::from(NAMES).join(&self.name);
        let inside = || -> Result<T> {
            let file = File::open(&path).with_context(|| path.display().to_string())?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .with_context(|| format!("entering namespace {}", self.name))?;
            Ok(work())
        };
        std::thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Joins this namespace's new interface `own` to `other`'s new interface `theirs` by a veth pair, both up and
    /// with no offload, so that every frame on it is one that could be on a wire.
    ///
    /// # Errors
    ///
    /// When a name is taken.
    pub fn join(&self, own: &str, other: &Self, theirs: &str) -> Result<()> {
        output(Command::new("ip").args(["link", "add", own, "netns", &self.name, "type", "veth"]).args([
            "peer",
            "name",
            theirs,
            "netns",
            &other.name,
        ]))?;
        for (namespace, interface) in [(self, own), (other, theirs)] {
            namespace.without_offloads(interface)?;
            namespace.ip(&format!("link set {interface} up"))?;
        }
        Ok(())
    }

    /// Switches checksum and segmentation offload of `interface` off: see [`offloads_off`].
    ///
    /// # Errors
    ///
    /// When there is no such interface.
    pub fn without_offloads(&self, interface: &str) -> Result<()> {
        self.enter(|| offloads_off(interface))?
    }

    /// Gives `interface` an address, `198.18.0.1/24` or `2001:db8::1/64`.
    ///
    /// # Errors
    ///
    /// When it has it already.
    pub fn address(&self, interface: &str, cidr: &str) -> Result<()> {
        self.ip(&format!("address add {cidr} dev {interface}")).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = output(Command::new("ip").args(["netns", "delete", &self.name])) {
            eprintln!("namespace {} stays behind: {error:#}", self.name);
        }
    }
}

/// Switches checksum and segmentation offload of `interface`, in the caller's namespace, off.
///
/// With them on, Linux hands over packets whose checksum holds the pseudo-header's sum only, and segments longer than
/// the MTU, both of which would be wrong on a wire.
///
/// # Errors
///
/// When there is no such interface, or no `ethtool`.
pub fn offloads_off(interface: &str) -> Result<()> {
    let features = ["tx", "sg", "tso", "gso", "gro"];
    let switches = features.into_iter().flat_map(|feature| [feature, "off"]);
    output(Command::new("ethtool").args(["-K", interface]).args(switches)).map(drop)
}

/// Takes back what killed runs left: processes first, or the namespace would live on without a name.
fn sweep() {
    let Ok(names) = fs::read_dir(NAMES) else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if let Some(maker) = maker_of(&name)
            && !Path::new("/proc").join(maker.to_string()).exists()
        {
            eprintln!("sweeping the leftover namespace {name}");
            if let Err(error) = sweep_one(&name) {
                eprintln!("namespace {name} stays behind: {error:#}");
            }
        }
    }
}

fn sweep_one(name: &str) -> Result<()> {
    for process in output(Command::new("ip").args(["netns", "pids", name]))?.split_whitespace() {
        let process =
            process.parse().ok().and_then(Pid::from_raw).ok_or_else(|| anyhow!("no pid: {process}"))?;
        // It may have ended by itself since.
        let _ = kill_process(process, Signal::KILL);
    }
    output(Command::new("ip").args(["netns", "delete", name])).map(drop)
}

/// The process that made the namespace `name`, if it is one of ours.
fn maker_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_our_own_names_have_a_maker() {
        assert_eq!(maker_of("fwt-123-0-server"), Some(123));
        for name in ["fwt-x-0-server", "server", "cni-123", "fwt-"] {
            assert_eq!(maker_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_namespace_is_its_own_world_and_goes_on_drop() {
        if !crate::privilege::granted("a_namespace_is_its_own_world_and_goes_on_drop") {
            return;
        }
        let (a, b) = (Namespace::new("a").unwrap(), Namespace::new("b").unwrap());
        a.join("left", &b, "right").unwrap();
        a.address("left", "198.18.0.1/24").unwrap();
        assert!(a.run("ip -brief address show left").unwrap().contains("198.18.0.1/24"));
        assert!(b.run("ip link show left").is_err());
        let seen = b.enter(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap()).unwrap();
        assert!(seen.contains("right:") && !seen.contains("left:"), "{seen}");

        let path = Path::new(NAMES).join(a.name());
        assert!(path.exists());
        drop(a);
        assert!(!path.exists());
    }

    #[test]
    fn leftovers_of_a_process_that_is_gone_are_swept() {
        if !crate::privilege::granted("leftovers_of_a_process_that_is_gone_are_swept") {
            return;
        }
        // No process has this number: pid_max is at most 2^22.
        let name = "fwt-4194999-0-left";
        output(Command::new("ip").args(["netns", "add", name])).unwrap();
        let mut sleeper = Command::new("ip").args(["netns", "exec", name, "sleep", "100"]).spawn().unwrap();
        while !output(Command::new("ip").args(["netns", "pids", name]))
            .unwrap()
            .contains(&sleeper.id().to_string())
        {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        sweep();
        assert!(!Path::new(NAMES).join(name).exists());
        assert!(!sleeper.wait().unwrap().success());
    }
}
