//! All counters of a server at one moment.
//!
//! The names are those of the counters' declarations, so a counter that is new in the data plane is new here too, and
//! nothing has to be kept in step. Numbers count from the server's start, unless their name says otherwise.

use std::collections::BTreeMap;

use freeway_runtime::{CoreStats, Stage};
use serde::{Deserialize, Serialize};

/// Counters by name.
pub type Counters = BTreeMap<String, u64>;

/// The form of [`Snapshot`], for readers that keep them: it is raised when a field changes its meaning.
pub const VERSION: u32 = 1;

/// A server's counters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// The form of what follows: [`VERSION`].
    pub version: u32,
    /// Version of the server's program.
    pub program: String,
    /// The server's process.
    pub pid: u32,
    /// The line that the server printed when it was ready.
    pub ready: String,
    /// Seconds since the server was ready.
    pub uptime_s: u64,
    /// Each core's.
    pub cores: Vec<CoreSnapshot>,
    /// Sums over all cores: counters by group, cycles by stage, bursts by size. Levels and marks are added up too.
    pub total: CoreSnapshot,
}

/// One core's counters.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CoreSnapshot {
    /// Which core; absent in the total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<u32>,
    /// How many cores' counters these are: one, or all in the total.
    pub cores: u32,
    /// When the core published them, in nanoseconds of its clock.
    pub at_ns: u64,
    /// Cycles of turns that did something, by stage.
    pub cycles: BTreeMap<String, u64>,
    /// Cycles of turns that found nothing to do.
    pub idle_cycles: u64,
    /// How many bursts of so many frames were received.
    pub bursts: BTreeMap<u32, u64>,
    /// All other counters, by group.
    pub groups: BTreeMap<String, Counters>,
}

impl CoreSnapshot {
    /// One counter; zero if there is none of this name.
    pub fn get(&self, group: &str, name: &str) -> u64 {
        self.groups.get(group).and_then(|group| group.get(name)).copied().unwrap_or(0)
    }

    /// Cycles of turns that did something, all stages.
    pub fn busy_cycles(&self) -> u64 {
        self.cycles.values().sum()
    }

    /// Every counter of something dropped that is not zero: group, name, value.
    pub fn drops(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        let all = self.groups.iter().flat_map(|(group, counters)| {
            counters.iter().map(move |(name, value)| (group.as_str(), name.as_str(), *value))
        });
        all.filter(|(_, name, value)| name.contains("drop") && *value > 0)
    }

    /// Adds another core's.
    pub fn add(&mut self, other: &Self) {
        self.cores += other.cores;
        self.at_ns = self.at_ns.max(other.at_ns);
        self.idle_cycles += other.idle_cycles;
        add_up(&mut self.cycles, &other.cycles);
        add_up(&mut self.bursts, &other.bursts);
        for (group, counters) in &other.groups {
            add_up(self.groups.entry(group.clone()).or_default(), counters);
        }
    }
}

fn add_up<K: Ord + Clone>(sums: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, value) in more {
        let sum = sums.entry(key.clone()).or_default();
        *sum = sum.saturating_add(*value);
    }
}

impl From<&CoreStats> for CoreSnapshot {
    fn from(stats: &CoreStats) -> Self {
        let by_stage = Stage::ALL.iter().map(|&stage| (stage.name().to_owned(), stats.stages.of(stage)));
        let bursts = (0u32..).zip(stats.bursts.counts).filter(|&(_, count)| count > 0);
        let groups = stats.groups.iter().map(|group| {
            let counters = group.counters.iter().map(|&(name, value)| (name.to_owned(), value));
            (group.name.clone(), counters.collect())
        });
        Self {
            core: Some(stats.core),
            cores: 1,
            at_ns: stats.at.as_nanos(),
            cycles: by_stage.collect(),
            idle_cycles: stats.stages.idle,
            bursts: bursts.collect(),
            groups: groups.collect(),
        }
    }
}

impl Snapshot {
    /// What the cores' boards say now.
    pub fn take(stats: &[CoreStats], ready: &str, uptime_s: u64) -> Self {
        let cores: Vec<CoreSnapshot> = stats.iter().map(CoreSnapshot::from).collect();
        let mut total = CoreSnapshot::default();
        cores.iter().for_each(|core| total.add(core));
        Self {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            ready: ready.to_owned(),
            uptime_s,
            cores,
            total,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn core(value: u64) -> CoreSnapshot {
        let counters = [("frames".to_owned(), value), ("dropped_full".to_owned(), value - 1)];
        CoreSnapshot {
            core: Some(value as u32),
            cores: 1,
            at_ns: value,
            cycles: [("rx".to_owned(), 10 * value)].into(),
            idle_cycles: value,
            bursts: [(64, value)].into(),
            groups: [("port a".to_owned(), counters.into())].into(),
        }
    }

    #[test]
    fn cores_add_up_and_drops_are_found_by_name() {
        let mut total = CoreSnapshot::default();
        total.add(&core(1));
        total.add(&core(2));
        assert_eq!((total.get("port a", "frames"), total.busy_cycles(), total.at_ns), (3, 30, 2));
        assert_eq!(
            (total.bursts[&64], total.get("port b", "frames"), total.core, total.cores),
            (3, 0, None, 2)
        );
        assert_eq!(total.drops().collect::<Vec<_>>(), [("port a", "dropped_full", 1)]);
        assert_eq!(core(1).drops().count(), 0);
    }

    #[test]
    fn json_there_and_back() {
        let mut total = CoreSnapshot::default();
        total.add(&core(7));
        let snapshot = Snapshot { cores: vec![core(7)], total, ..Snapshot::take(&[], "ready dev=pipe", 5) };
        let text = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
        assert!(!text.contains('\n'), "a snapshot is one line");
    }
}
