//! What a server takes of memory, as a sum with a line for each holder, and whether it is there.

use std::fmt;
use std::fs;

use super::plan::Plan;
use crate::http::Http;
use crate::services::State;

/// One holder: what it is, how often there is one, and what each takes in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    what: String,
    count: u64,
    each: u64,
}

/// All of a server's memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Budget {
    lines: Vec<Line>,
}

impl Budget {
    /// The sum of what is mapped at start. Documents are counted as they are now.
    pub(super) fn of(plan: &Plan, http: &Http) -> Self {
        let cores = plan.cpus.len() as u64;
        let stack = &plan.host.stack;
        let arena = plan.host.arena_bytes::<State>() as u64;
        let buffers = u64::from(stack.pool.buffers) * stack.pool.stride() as u64;
        let large = u64::from(stack.large_pool.buffers) * stack.large_pool.stride() as u64;
        let connections = u64::from(stack.max_connections) * stack.connection_bytes::<State>();
        let flights = u64::from(stack.max_flights) * FLIGHT + u64::from(stack.max_wide_flights) * WIDE_FLIGHT;
        let tables = arena.saturating_sub(buffers + large + connections + flights);
        let mut lines = Vec::new();
        let mut line = |what: String, count: u64, each: u64| {
            if count * each > 0 {
                lines.push(Line { what, count, each });
            }
        };
        line(
            format!("packet buffers, {} of {} B", stack.pool.buffers, stack.pool.buffer_size),
            cores,
            buffers,
        );
        line(
            format!("reassembly, {} of {} KiB", stack.large_pool.buffers, stack.large_pool.buffer_size >> 10),
            cores,
            large,
        );
        let each = stack.connection_bytes::<State>();
        line(format!("connections, {} of {each} B", stack.max_connections), cores, connections);
        line(format!("flights, {} and {} wide", stack.max_flights, stack.max_wide_flights), cores, flights);
        line("half open, TIME-WAIT, queues".to_owned(), cores, tables);
        let mail = (plan.mail.slots * plan.mail.slot_size) as u64;
        line("rings between cores".to_owned(), cores * cores.saturating_sub(1), mail);
        for (what, each) in http.bytes_by_core() {
            line(what, cores, each);
        }
        line("HTTP documents".to_owned(), 1, http.document_bytes());
        let cache = plan.cache.as_ref().map_or(0, |cache| cache.store.memory as u64);
        line("cache".to_owned(), cores, cache);
        Self { lines }
    }

    /// All of it, in bytes.
    pub(super) fn sum(&self) -> u64 {
        self.lines.iter().map(|line| line.count * line.each).sum()
    }

    /// What is wrong with it, if it is more than `available` bytes.
    pub(super) fn refusal(&self, available: Option<u64>) -> Option<String> {
        let available = available.filter(|&available| available < self.sum())?;
        let largest = self.lines.iter().max_by_key(|line| line.count * line.each);
        Some(format!(
            "{} MiB are needed and {} MiB are available; most of it for {}: lower stack.max_connections \
             (--max-connections), stack.buffers (--buffers), or what else the table says\n{self}",
            self.sum() >> 20,
            available >> 20,
            largest.map_or("", |line| line.what.as_str()),
        ))
    }
}

/// A connection's recovery and congestion control while more than one segment is in flight, about.
const FLIGHT: u64 = 1 << 10;
/// The same with room for hundreds of holes.
const WIDE_FLIGHT: u64 = 16 << 10;

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        for Line { what, count, each } in &self.lines {
            writeln!(
                f,
                "  {what:<44} {count:>3} x {:>9.1} MiB = {:>9.1} MiB",
                mib(*each),
                mib(count * each)
            )?;
        }
        write!(f, "  {:<44} {:>29.1} MiB", "memory in all", mib(self.sum()))
    }
}

/// What Linux says can be allocated without swapping, huge pages that are set aside included, in bytes.
pub(super) fn available() -> Option<u64> {
    of_meminfo(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn of_meminfo(text: &str) -> Option<u64> {
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    let reserved = field("HugePages_Rsvd").unwrap_or(0);
    let pages = field("HugePages_Free").unwrap_or(0).saturating_sub(reserved);
    let page_kilobytes = field("Hugepagesize").unwrap_or(0);
    field("MemAvailable").map(|kilobytes| (kilobytes + pages * page_kilobytes) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        let line = |what: &str, count, each| Line { what: what.into(), count, each };
        Budget { lines: vec![line("packet buffers", 2, 32 << 20), line("cache", 1, 64 << 20)] }
    }

    #[test]
    fn a_sum_that_does_not_fit_is_refused_with_its_lines() {
        assert_eq!(budget().sum(), 128 << 20);
        assert_eq!(budget().refusal(Some(128 << 20)), None);
        assert_eq!(budget().refusal(None), None);
        let refusal = budget().refusal(Some(100 << 20)).unwrap_or_default();
        assert!(refusal.starts_with("128 MiB are needed and 100 MiB are available"), "{refusal}");
        assert!(refusal.contains("packet buffers") && refusal.contains("cache"), "{refusal}");
    }

    #[test]
    fn huge_pages_that_nobody_reserved_are_available_too() {
        let text = "MemTotal: 9 kB\nMemAvailable:    1000 kB\nHugePages_Free:    10\nHugePages_Rsvd:     4\n\
                    Hugepagesize:       2048 kB\n";
        assert_eq!(of_meminfo(text), Some((1_000 + 6 * 2_048) * 1024));
        assert_eq!(of_meminfo("MemAvailable: 5 kB"), Some(5 * 1024));
        assert_eq!(of_meminfo(""), None);
    }
}
