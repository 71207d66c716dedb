//! What is soaked: a server with everything on, what its settings are, and what it holds when nobody visits.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::accounts::Counters;
use super::weather;
use crate::impair::{Both, Impairment};
use crate::lab::{Lab, TAP};
use crate::netns::Namespace;
use crate::peer::pattern::{Pattern, Proof, Prover};
use crate::server::{Server, binary};
use crate::shell::output;

/// The server on the memif, where load generators are.
pub(super) const MEMIF_SERVER: &str = "198.18.1.2";
/// A port that is served under one of the two sets of settings only.
pub(super) const SOMETIMES: u16 = 1_007;
/// Lengths of the documents; the last are longer than what is kept in memory.
const DOCUMENTS: [u64; 6] = [0, 100, 1_460, 40_000, 300_000, 2_000_000];
/// Gauges of the group `tables` that are 0 when nobody is there.
const GAUGES: [&str; 8] =
    ["connections", "syn_received", "time_wait", "items", "timers", "flows", "buffers", "classes"];

/// The server and all around it.
pub(super) struct Site {
    lab: Lab,
    folder: TempDir,
    documents: Vec<Document>,
    lost: AtomicU64,
    corrupted: AtomicU64,
}

/// A file that is served, and what has to come of it.
pub(super) struct Document {
    pub(super) path: String,
    pub(super) proof: Proof,
}

/// What visitors and operators work with.
#[derive(Clone, Copy)]
pub(super) struct Tools<'a> {
    /// Where Linux's clients are.
    pub(super) client: &'a Namespace,
    pub(super) server: &'a Server,
    pub(super) documents: &'a [Document],
    folder: &'a Path,
}

/// What a server holds that nobody visits.
#[derive(Clone, Debug)]
pub(super) struct Holdings {
    pub(super) gauges: Vec<(&'static str, u64)>,
    pub(super) descriptors: usize,
    pub(super) resident_kib: u64,
    pub(super) counters: Counters,
}

impl Site {
    /// None when `name` is to be skipped.
    pub(super) fn open(name: &str) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        // The server gives its rights up, and is then one of the others.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let root = folder.path().join("root");
        fs::create_dir(&root)?;
        let mut documents = Vec::new();
        for (number, length) in DOCUMENTS.into_iter().enumerate() {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut Pattern::new(number as u64, length), &mut bytes)?;
            fs::write(root.join(format!("{number}.bin")), &bytes)?;
            let mut prover = Prover::default();
            prover.add(&bytes);
            documents.push(Document { path: format!("/{number}.bin"), proof: prover.finish() });
        }
        let place = folder.path();
        configure(place, false)?;
        let config = place.join("freeway.toml").display().to_string();
        let Some(lab) = Lab::behind_path_of(name, |host| Server::start(host, &["--config", &config]))? else {
            return Ok(None);
        };
        Ok(Some(Self { lab, folder, documents, lost: AtomicU64::new(0), corrupted: AtomicU64::new(0) }))
    }

    pub(super) fn tools(&self) -> Tools<'_> {
        Tools {
            client: self.lab.client(),
            server: self.lab.server(),
            documents: &self.documents,
            folder: self.folder.path(),
        }
    }

    /// Changes the weather.
    pub(super) fn impair(&self, path: Both<Impairment>, seed: u64) -> Result<()> {
        if let Some(report) = self.lab.change_path(path, seed)? {
            for way in [report.path.forward, report.path.backward] {
                let lost = way.lost + way.lost_in_burst + way.dropped_queue_full;
                self.lost.fetch_add(lost, Ordering::Relaxed);
                self.corrupted.fetch_add(way.corrupted, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Frames that were lost, and spoilt.
    pub(super) fn losses(&self) -> (u64, u64) {
        (self.lost.load(Ordering::Relaxed), self.corrupted.load(Ordering::Relaxed))
    }

    /// Waits in fair weather until the server holds nothing, `patience` at most, and no more descriptors than `before`.
    pub(super) fn at_rest(&self, patience: Duration, before: Option<&Holdings>) -> Result<Holdings> {
        self.impair(weather::calm(), 1)?;
        configure(self.folder.path(), false)?;
        self.tools().ask("reload", &[])?;
        let end = Instant::now() + patience;
        loop {
            let now = self.holdings()?;
            let is_empty = now.gauges.iter().all(|&(_, level)| level == 0);
            let is_shut = before.is_none_or(|before| now.descriptors <= before.descriptors);
            if is_empty && is_shut {
                return Ok(now);
            }
            ensure!(
                Instant::now() < end,
                "after {} s without a visit the server still holds {:?} and {} descriptors ({:?} before); {}",
                patience.as_secs(),
                now.gauges,
                now.descriptors,
                before.map(|before| before.descriptors),
                self.tools().ask("ss", &[]).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// All counters of both cores together.
    pub(super) fn counters(&self) -> Result<Counters> {
        let stats: Value = serde_json::from_str(&self.tools().ask("stats", &["--json", "-"])?)?;
        let groups =
            stats.pointer("/total/groups").and_then(Value::as_object).context("no groups of counters")?;
        let mut counters = Vec::new();
        for (group, entries) in groups {
            // A memif's name is its path.
            let group =
                if group.starts_with("port ") && !group.ends_with(TAP) { "port memif" } else { group };
            for (name, count) in entries.as_object().context("counters")? {
                counters.push((format!("{group}.{name}"), count.as_u64().context("a count")?));
            }
        }
        Ok(counters)
    }

    fn holdings(&self) -> Result<Holdings> {
        let counters = self.counters()?;
        let gauge = |name: &'static str| -> Result<_> {
            let found = counters.iter().find(|(counter, _)| counter.strip_prefix("tables.") == Some(name));
            Ok((name, found.with_context(|| format!("no gauge tables.{name}"))?.1))
        };
        let gauges = GAUGES.into_iter().map(gauge).collect::<Result<_>>()?;
        let server = self.lab.server();
        Ok(Holdings {
            gauges,
            descriptors: server.descriptors()?,
            resident_kib: server.resident_kib()?,
            counters,
        })
    }

    pub(super) fn close(self) -> Result<()> {
        self.lab.stop().map(drop)
    }
}

impl Tools<'_> {
    /// What `freeway COMMAND` answers about the server.
    pub(super) fn ask(&self, command: &str, words: &[&str]) -> Result<String> {
        output(Command::new(binary()?).arg(command).arg("--admin").arg(self.admin()).args(words))
    }

    /// The Unix socket that the server is asked by.
    pub(super) fn admin(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// The memif's other end, for `--via`.
    pub(super) fn memif(&self) -> String {
        format!("memif:{},role=client,id=1", self.folder.join("memif.sock").display())
    }

    /// A place for a file of a visitor's own.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the other settings, or the first ones again, for the server to read.
    pub(super) fn configure(&self, is_other: bool) -> Result<()> {
        configure(self.folder, is_other)
    }
}

/// Writes the settings: time-outs short enough that a night is over soon; the other ones have a service, an address and
/// limits that the first do not have.
fn configure(folder: &Path, is_other: bool) -> Result<()> {
    let place = folder.display();
    let (ports, addresses, backlog) = if is_other {
        (format!("7, {SOMETIMES}"), ", \"198.18.0.3/24\"", 2_048)
    } else {
        ("7".to_owned(), "", 4_096)
    };
    let text = format!(
        r#"cores = [0, 1]
admin = "{place}/admin.sock"
metrics = ":9100"
drain = "1s"

[[interface]]
device = "tap:{TAP}"
addresses = ["198.18.0.2/24", "fdc1::2/64"{addresses}]

[[interface]]
device = "memif:{place}/memif.sock,role=server,id=1"
addresses = ["{MEMIF_SERVER}/24"]

[tcp]
time_wait = "5s"
fin_wait_2 = "10s"
keepalive = "10s"
keepalive_interval = "2s"
keepalive_probes = 5
user_timeout = "30s"

[accept]
backlog = {backlog}

[echo]
ports = [{ports}]

[http]
root = "{place}/root"
handlers = ["healthz", "events", "publish"]
document_max = "1M"
disk_buffer = "16K"
access_log = "{place}/access.log"
keep_alive_timeout = "15s"

[cache]
ports = [11211]
udp_ports = [11211]
idle_timeout = 30
"#
    );
    // Whole or not at all: it is read at any time.
    let new = folder.join("freeway.toml.new");
    fs::write(&new, text)?;
    Ok(fs::rename(new, folder.join("freeway.toml"))?)
}
