//! Counters in Prometheus's text format, version 0.0.4.
//!
//! ```text
//!   # HELP freeway_tcp_segments_in_total Segments that arrived.
//!   # TYPE freeway_tcp_segments_in_total counter
//!   freeway_tcp_segments_in_total{core="0"} 1234
//! ```
//!
//! Every counter is there by itself, called by its group and its name, so one that is new in the data plane is new here.
//! Some belong together and are one family with labels: drops by reason, cycles by stage, tables by name. Labels are cores,
//! ports, stages, tables and reasons; nothing that a peer can choose, so the number of series is known when the server
//! starts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::help::Help;
use crate::snapshot::{CoreSnapshot, Snapshot};

/// Upper bounds of the histogram of bursts, in frames.
const BURSTS: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Counters of wake-ups by how late they came, with the bound of each in microseconds.
const LATE: [(&str, Option<u32>); 7] = [
    ("late_us_8", Some(8)),
    ("late_us_32", Some(32)),
    ("late_us_128", Some(128)),
    ("late_us_512", Some(512)),
    ("late_us_2048", Some(2_048)),
    ("late_us_8192", Some(8_192)),
    ("late_us_more", None),
];

/// The exposition of a snapshot.
pub fn text(snapshot: &Snapshot, help: &Help) -> String {
    let mut families = Families::default();
    let Snapshot { version: _, program, pid: _, ready: _, uptime_s, cores, total: _ } = snapshot;
    let build = families.gauge("freeway_build_info", "The server's version, as a label.");
    build.put(&[("version", program)], 1.0);
    families.gauge("freeway_uptime_seconds", "Since the server was ready.").put(&[], *uptime_s as f64);
    families.gauge("freeway_cores", "Cores of the data plane.").put(&[], cores.len() as f64);
    for core in cores {
        families.core(core, help);
    }
    families.write()
}

/// One metric: its type, its meaning, its series.
struct Family {
    kind: &'static str,
    help: String,
    lines: String,
    name: String,
}

impl Family {
    /// Adds a series.
    fn put(&mut self, labels: &[(&str, &str)], value: f64) {
        self.put_as("", labels, value);
    }

    /// The same for a part of a histogram.
    fn put_as(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let lines = &mut self.lines;
        lines.push_str(&self.name);
        lines.push_str(suffix);
        for (place, (label, value)) in labels.iter().enumerate() {
            let sign = if place == 0 { '{' } else { ',' };
            // Writing to a string does not fail.
            let _ = write!(lines, "{sign}{label}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            lines.push('}');
        }
        let _ = writeln!(lines, " {value}");
    }
}

/// A label's value with what it may not hold as it is: `\`, `"` and the end of a line.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// All metrics, by name: a metric's series stand together.
#[derive(Default)]
struct Families(BTreeMap<String, Family>);

impl Families {
    fn family(&mut self, name: String, kind: &'static str, help: impl FnOnce() -> String) -> &mut Family {
        self.0.entry(name).or_insert_with_key(|name| Family {
            kind,
            help: help(),
            lines: String::new(),
            name: name.clone(),
        })
    }

    fn gauge(&mut self, name: &str, help: &str) -> &mut Family {
        self.family(name.to_owned(), "gauge", || help.to_owned())
    }

    fn counter(&mut self, name: &str, help: &str) -> &mut Family {
        self.family(name.to_owned(), "counter", || help.to_owned())
    }

    fn histogram(&mut self, name: &str, help: &str) -> &mut Family {
        self.family(name.to_owned(), "histogram", || help.to_owned())
    }

    /// One core's series.
    fn core(&mut self, core: &CoreSnapshot, help: &Help) {
        let number = core.core.unwrap_or_default().to_string();
        let of_core = ("core", number.as_str());
        for (stage, cycles) in &core.cycles {
            self.cycles().put(&[of_core, ("stage", stage)], *cycles as f64);
        }
        self.cycles().put(&[of_core, ("stage", "idle")], core.idle_cycles as f64);
        self.bursts(core, of_core);
        for (group, counters) in &core.groups {
            match group.as_str() {
                "tables" => self.tables(counters, of_core),
                "wake" => self.wake(core, of_core),
                _ => self.group(group, counters, of_core, help),
            }
        }
    }

    fn cycles(&mut self) -> &mut Family {
        let help = "Processor cycles by stage of a turn; idle are those of turns that found nothing to do.";
        self.counter("freeway_cycles_total", help)
    }

    fn bursts(&mut self, core: &CoreSnapshot, of_core: (&str, &str)) {
        let help = "Frames taken in one burst from a port or from another core.";
        let family = self.histogram("freeway_burst_frames", help);
        let mut bursts = core.bursts.iter().peekable();
        let (mut count, mut sum) = (0, 0);
        for bound in BURSTS {
            while let Some((size, times)) = bursts.next_if(|(size, _)| **size <= bound) {
                count += times;
                sum += u64::from(*size) * times;
            }
            family.put_as("_bucket", &[of_core, ("le", &bound.to_string())], count as f64);
        }
        family.put_as("_bucket", &[of_core, ("le", "+Inf")], count as f64);
        family.put_as("_sum", &[of_core], sum as f64);
        family.put_as("_count", &[of_core], count as f64);
    }

    fn wake(&mut self, core: &CoreSnapshot, of_core: (&str, &str)) {
        let help = "How late a core was that slept until a deadline or the ring of another core's bell.";
        let family = self.histogram("freeway_wake_late_seconds", help);
        let mut count = 0;
        for (name, bound_us) in LATE {
            count += core.get("wake", name);
            let bound = bound_us.map_or("+Inf".to_owned(), |us| (f64::from(us) / 1e6).to_string());
            family.put_as("_bucket", &[of_core, ("le", &bound)], count as f64);
        }
        family.put_as("_sum", &[of_core], core.get("wake", "late_ns") as f64 / 1e9);
        family.put_as("_count", &[of_core], count as f64);
        let worst = self.gauge("freeway_wake_late_max_seconds", "The latest of these since the start.");
        worst.put(&[of_core], core.get("wake", "late_ns_max") as f64 / 1e9);
    }

    fn tables(&mut self, counters: &BTreeMap<String, u64>, of_core: (&str, &str)) {
        for (name, value) in counters {
            let (table, family) = if let Some(table) = name.strip_suffix("_free_least") {
                (table, self.gauge("freeway_table_free_least", "Places that were ever free at the least."))
            } else if let Some(table) = name.strip_suffix("_max") {
                (table, self.gauge("freeway_table_places", "Places that there are in a table or pool."))
            } else {
                let help = "Places in use in a table or pool: connections, buffers, timers and so on.";
                (name.as_str(), self.gauge("freeway_table_used", help))
            };
            family.put(&[of_core, ("table", table)], *value as f64);
        }
    }

    fn group(&mut self, group: &str, counters: &BTreeMap<String, u64>, of_core: (&str, &str), help: &Help) {
        let (kind, port) = match group.split_once(' ') {
            Some(("port", port)) => ("port", Some(port)),
            _ => (group, None),
        };
        for (name, value) in counters {
            if name.contains("drop") {
                let help = "What was dropped, by the part that dropped it and its reason.";
                let labels = [of_core, ("group", kind), ("reason", name), ("port", port.unwrap_or(""))];
                let count = if port.is_some() { 4 } else { 3 };
                self.counter("freeway_drops_total", help).put(&labels[..count], *value as f64);
                continue;
            }
            if (kind, name.as_str()) == ("idle", "asleep_ns") {
                let family = self.counter("freeway_idle_asleep_seconds_total", "Seconds asleep.");
                family.put(&[of_core], *value as f64 / 1e9);
                continue;
            }
            let full = format!("freeway_{}_{}_total", word(kind), word(name));
            let family = self.family(full, "counter", || help.of(kind, name));
            match port {
                Some(port) => family.put(&[of_core, ("port", port)], *value as f64),
                None => family.put(&[of_core], *value as f64),
            }
        }
    }

    fn write(self) -> String {
        let mut text = String::with_capacity(64 << 10);
        for (name, family) in self.0 {
            let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
            // Writing to a string does not fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {}\n{}", family.kind, family.lines);
        }
        text
    }
}

/// A name made of letters, digits and underlines.
fn word(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    fn snapshot() -> Snapshot {
        let group = |name: &str, counters: &[(&str, u64)]| {
            let counters = counters.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
            (name.to_owned(), counters)
        };
        let core = |core| CoreSnapshot {
            core: Some(core),
            cores: 1,
            cycles: [("rx".to_owned(), 10), ("app".to_owned(), 1 << 50)].into(),
            idle_cycles: 7,
            bursts: [(1, 5), (3, 2), (64, 1)].into(),
            groups: [
                group("tcp", &[("segments_in", 12), ("dropped_checksum", 3)]),
                group("cache store", &[("evictions", 4)]),
                group("port eth\"0\\", &[("rx_frames", 9), ("rx_dropped_no_buffer", 2)]),
                group("idle", &[("sleeps", 1), ("asleep_ns", 2_500_000_000)]),
                group(
                    "wake",
                    &[("late_us_8", 2), ("late_us_512", 1), ("late_ns", 400_000), ("late_ns_max", 300_000)],
                ),
                group("tables", &[("buffers", 5), ("buffers_max", 64), ("buffers_free_least", 50)]),
            ]
            .into(),
            ..CoreSnapshot::default()
        };
        Snapshot { cores: vec![core(0), core(1)], ..Snapshot::take(&[], "ready", 9) }
    }

    #[test]
    fn every_line_follows_the_format_and_a_familys_stand_together() {
        let text = text(&snapshot(), &Help::default());
        let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let (mut current, mut seen, mut series) = (String::new(), BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(is_name(name) && !help.is_empty() && seen.insert(name.to_owned()), "{line}");
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, current);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(series.insert(name.to_owned()), "twice: {line}");
                let family = name.split('{').next().unwrap();
                let parts = ["", "_bucket", "_sum", "_count"];
                assert!(
                    parts.iter().any(|part| family.strip_suffix(part) == Some(current.as_str())),
                    "{line}"
                );
            }
        }
        assert!(text.ends_with('\n') && seen.len() > 10);
    }

    #[test]
    fn counters_become_what_they_are() {
        let text = text(&snapshot(), &Help::default().with("cache store", &[("evictions", " Items shed.")]));
        for line in [
            "freeway_cores 2",
            "freeway_tcp_segments_in_total{core=\"1\"} 12",
            "# HELP freeway_tcp_segments_in_total Segments that arrived.",
            "# HELP freeway_cache_store_evictions_total Items shed.",
            "freeway_drops_total{core=\"0\",group=\"tcp\",reason=\"dropped_checksum\"} 3",
            "freeway_drops_total{core=\"0\",group=\"port\",reason=\"rx_dropped_no_buffer\",port=\"eth\\\"0\\\\\"} 2",
            "freeway_port_rx_frames_total{core=\"0\",port=\"eth\\\"0\\\\\"} 9",
            "freeway_cycles_total{core=\"0\",stage=\"app\"} 1125899906842624",
            "freeway_cycles_total{core=\"0\",stage=\"idle\"} 7",
            "freeway_burst_frames_bucket{core=\"0\",le=\"1\"} 5",
            "freeway_burst_frames_bucket{core=\"0\",le=\"4\"} 7",
            "freeway_burst_frames_bucket{core=\"0\",le=\"32\"} 7",
            "freeway_burst_frames_bucket{core=\"0\",le=\"+Inf\"} 8",
            "freeway_burst_frames_sum{core=\"0\"} 75",
            "freeway_wake_late_seconds_bucket{core=\"0\",le=\"0.000008\"} 2",
            "freeway_wake_late_seconds_bucket{core=\"0\",le=\"0.000512\"} 3",
            "freeway_wake_late_seconds_count{core=\"0\"} 3",
            "freeway_wake_late_max_seconds{core=\"0\"} 0.0003",
            "freeway_table_used{core=\"0\",table=\"buffers\"} 5",
            "freeway_table_places{core=\"0\",table=\"buffers\"} 64",
            "freeway_table_free_least{core=\"0\",table=\"buffers\"} 50",
            "freeway_idle_asleep_seconds_total{core=\"0\"} 2.5",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
