//! Where packets of a veth pair are received: on which processor.
//!
//! A veth runs the receiving end on the sender's processor, so the server pays for the client's reception and the client
//! for the server's, which no two machines do.

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use freeway_interop::netns::Namespace;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Where packets are received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Place {
    /// Where Linux does it by default: on the sender's processor.
    Linux,
    /// The client's on its own processor.
    Client,
    /// Each side's on its own processor.
    Apart,
}

impl Place {
    /// The same in words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Linux => "received where Linux does by default: on the sender's processor",
            Self::Client => "the client's reception on its own processor",
            Self::Apart => "each side's reception on its own processor",
        }
    }
}

/// Has Linux receive what comes from `interface` on processor `cpu`.
///
/// # Errors
///
/// When the kernel takes none of it.
pub fn steer(namespace: &Namespace, interface: &str, cpu: usize) -> Result<()> {
    write(
        namespace,
        &format!("/sys/class/net/{interface}/queues/rx-0/rps_cpus"),
        &format!("{:x}", 1_u64 << cpu),
    )
}

/// Gives an interface's NAPI a thread, on processor `cpu`.
///
/// # Errors
///
/// When the kernel takes none of it.
pub fn own_thread(namespace: &Namespace, interface: &str, cpu: usize) -> Result<()> {
    write(namespace, &format!("/sys/class/net/{interface}/threaded"), "1")?;
    let prefix = format!("napi/{interface}-");
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    let mut found = false;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if let Some(pid) = pid.and_then(Pid::from_raw)
            && name.starts_with(&prefix)
        {
            sched_setaffinity(Some(pid), &cpus)?;
            found = true;
        }
    }
    ensure!(found, "no thread of the name {prefix}N");
    Ok(())
}

/// Writes to a file of `/sys` as the namespace sees it, which `ip netns exec` alone mounts.
///
/// # Errors
///
/// When the kernel takes none of it.
pub fn write(namespace: &Namespace, path: &str, value: &str) -> Result<()> {
    let mut command = namespace.command("sh");
    let status = command.args(["-c", "echo \"$1\" > \"$0\"", path, value]).status()?;
    ensure!(status.success(), "{path} does not take {value}");
    Ok(())
}

/// Binds this thread to a processor.
///
/// # Errors
///
/// When the kernel takes none of it.
pub fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).with_context(|| format!("processor {cpu}"))
}
