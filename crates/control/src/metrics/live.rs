//! A page that shows a server live in a browser, and the figures that it asks for.

use serde::Serialize;

use crate::rates::Rates;
use crate::snapshot::Snapshot;

/// The page: it asks for `/stats.json` every second and shows what `freeway top` shows.
pub const PAGE: &str = include_str!("live.html");

/// What `/stats.json` holds: a snapshot's fields, and with them what happened since the one before.
#[derive(Serialize)]
struct Live<'a> {
    #[serde(flatten)]
    snapshot: &'a Snapshot,
    /// By the second: each core's, then all cores'.
    rates: Vec<Rates>,
}

/// A snapshot with the rates since the one before it, as JSON.
pub fn json(before: &Snapshot, now: &Snapshot) -> String {
    let cores = before.cores.iter().zip(&now.cores).map(|(before, now)| Rates::between(before, now));
    let rates = cores.chain([Rates::between(&before.total, &now.total)]).collect();
    // Maps whose keys are text or numbers, and numbers: there is nothing that JSON cannot hold.
    serde_json::to_string(&Live { snapshot: now, rates }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::snapshot::CoreSnapshot;

    #[test]
    fn rates_stand_beside_the_counters() {
        let at = |seconds: u64, frames| {
            let turns = [("rx_frames".to_owned(), frames)].into();
            let core = CoreSnapshot {
                core: Some(0),
                cores: 1,
                at_ns: seconds * 1_000_000_000,
                groups: [("turns".to_owned(), turns)].into(),
                ..CoreSnapshot::default()
            };
            let total = CoreSnapshot { core: None, ..core.clone() };
            Snapshot { cores: vec![core], total, ..Snapshot::take(&[], "ready", seconds) }
        };
        let value: serde_json::Value = serde_json::from_str(&json(&at(1, 100), &at(3, 700))).unwrap();
        assert_eq!((value["uptime_s"].as_u64(), value["cores"].as_array().map(Vec::len)), (Some(3), Some(1)));
        let rates = value["rates"].as_array().unwrap();
        assert_eq!((rates.len(), rates[0]["rx_frames_per_s"].as_f64()), (2, Some(300.0)));
        // Each figure that the page shows is there.
        for name in PAGE.split("rate.").skip(1) {
            let name: String = name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            assert!(!rates[0][&name].is_null(), "the page shows `{name}`, which is not in /stats.json");
        }
    }
}
