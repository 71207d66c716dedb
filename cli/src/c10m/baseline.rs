//! The same steps against Linux's own stack: a small epoll server over loopback, and over a veth pair, in network
//! namespaces that this process makes and takes back.
//!
//! Both ends are on this machine, as Freeway's are. Each process may have so many descriptors and no more, which is where
//! this ends; the limit is reported, not hidden.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

use super::done;
use super::plan::Size;
use super::report::{AtLoad, Level, Ramp, Rates, number};

/// What Linux did over one path.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Baseline {
    pub(super) path: &'static str,
    pub(super) connections: u32,
    /// What Linux allows one process to open.
    pub(super) descriptors_max: u64,
    /// What one end of an idle connection takes of the kernel's slabs.
    pub(super) kernel_bytes_per_connection: f64,
    /// The same by what became unavailable, which counts other processes too.
    pub(super) unavailable_bytes_per_connection: f64,
    pub(super) ramp: Ramp,
    pub(super) flatness: Vec<Level>,
    pub(super) rates: Vec<Rates>,
    pub(super) loads: Vec<AtLoad>,
}

/// Descriptors for everything but held connections.
const SPARE: u64 = 1_024;

/// How many connections one process of each side can hold.
pub(super) fn connections(size: Size) -> (u32, u64) {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let most = limit.map_or(u64::MAX, |limit| limit.saturating_sub(SPARE));
    (u64::from(size.connections).min(most) as u32, limit.unwrap_or(0))
}

/// A way between two sockets, in namespaces that end with it.
pub(super) struct Path {
    pub(super) name: &'static str,
    server: String,
    client: String,
    names: Vec<String>,
}

impl Path {
    /// Both ends in one namespace, over its loopback interface.
    pub(super) fn loopback(size: Size, pairs: u32) -> Result<Self> {
        let own = format!("freeway-c10m-{}", std::process::id());
        let path = Self::new("loopback", std::slice::from_ref(&own), own.clone(), own.clone())?;
        for pair in 0..pairs {
            for addr in size.clients(pair).into_iter().chain([Size::server(pair)]) {
                ip(&["-n", &path.server, "address", "add", &format!("{addr}/32"), "dev", "lo"])?;
            }
        }
        Ok(path)
    }

    /// Each end in a namespace of its own, a veth pair between them.
    pub(super) fn veth(size: Size, pairs: u32) -> Result<Self> {
        let [a, b] = ["a", "b"].map(|end| format!("freeway-c10m-{}-{end}", std::process::id()));
        let path = Self::new("veth", &[a.clone(), b.clone()], a.clone(), b.clone())?;
        ip(&["link", "add", "veth0", "netns", &a, "type", "veth", "peer", "name", "veth0", "netns", &b])?;
        for pair in 0..pairs {
            ip(&["-n", &a, "address", "add", &format!("{}/15", Size::server(pair)), "dev", "veth0"])?;
            for addr in size.clients(pair) {
                ip(&["-n", &b, "address", "add", &format!("{addr}/15"), "dev", "veth0"])?;
            }
        }
        for end in [&a, &b] {
            ip(&["-n", end, "link", "set", "veth0", "up"])?;
        }
        Ok(path)
    }

    fn new(name: &'static str, names: &[String], server: String, client: String) -> Result<Self> {
        let mut path = Self { name, server, client, names: Vec::new() };
        for own in names {
            ip(&["netns", "add", own]).context("--baseline makes network namespaces, which takes root")?;
            path.names.push(own.clone());
            ip(&["-n", own, "link", "set", "lo", "up"])?;
            // As many ports and waiting connections as there can be, and none kept from use for a minute.
            for setting in [
                "ipv4/ip_local_port_range=1024 65535",
                "ipv4/tcp_tw_reuse=1",
                "ipv4/tcp_max_syn_backlog=65535",
                "core/somaxconn=65535",
            ] {
                let (key, value) = setting.split_once('=').unwrap_or_default();
                let write = format!("echo '{value}' > /proc/sys/net/{key}");
                ip(&["netns", "exec", own, "sh", "-c", &write])?;
            }
        }
        Ok(path)
    }

    /// What runs a program at the server's end.
    pub(super) fn at_server(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.server]
    }

    /// What runs a program at the client's end.
    pub(super) fn at_client(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.client]
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = ip(&["netns", "delete", name]) {
                eprintln!("freeway: namespace {name}: {error:#}");
            }
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output().context("ip (iproute2)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

/// The kernel's memory at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelMemory {
    slab_bytes: u64,
    available_bytes: u64,
}

/// The slabs that connections take their memory from.
const SLABS: [&str; 11] = [
    "TCP",
    "TCPv6",
    "sock_inode_cache",
    "dentry",
    "filp",
    "eventpoll_epi",
    "eventpoll_pwq",
    "ep_head",
    "tcp_bind_bucket",
    "tcp_bind2_bucket",
    "request_sock_TCP",
];

impl KernelMemory {
    pub(super) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/slabinfo").context("/proc/slabinfo takes root")?;
        let slab_bytes = slab_bytes(&text);
        let Some(available_bytes) = super::available_memory() else {
            bail!("/proc/meminfo has no MemAvailable")
        };
        Ok(Self { slab_bytes, available_bytes })
    }

    /// What each of `ends` has taken since: of the slabs, and of all that was available.
    pub(super) fn each(&self, now: &Self, ends: u64) -> (f64, f64) {
        let ends = ends.max(1) as f64;
        (
            (now.slab_bytes as f64 - self.slab_bytes as f64) / ends,
            (self.available_bytes as f64 - now.available_bytes as f64) / ends,
        )
    }
}

/// Objects in use times their size, over the slabs of connections.
fn slab_bytes(slabinfo: &str) -> u64 {
    let each = slabinfo.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let active: u64 = words.next()?.parse().ok()?;
        let size: u64 = words.nth(1)?.parse().ok()?;
        SLABS.contains(&name).then_some(active * size)
    });
    each.sum()
}

impl Baseline {
    /// One line for each figure.
    pub(super) fn say(&self) {
        done(&format!(
            "Linux over {}: {} connections (a process may have {} descriptors), {:.0} bytes of slab for each end",
            self.path,
            number(f64::from(self.connections)),
            number(self.descriptors_max as f64),
            self.kernel_bytes_per_connection
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_of_connections_are_summed() {
        let text = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize> ...\n\
                    TCP                 100    120   2368   13    8 : tunables\n\
                    dentry               10     20    192   21    1 : tunables\n\
                    kmalloc-64         9999   9999     64   64    1 : tunables\n";
        assert_eq!(slab_bytes(text), 100 * 2_368 + 10 * 192);
    }
}
