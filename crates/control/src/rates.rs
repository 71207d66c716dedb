//! What happened between two snapshots of a core.

use serde::Serialize;

use crate::snapshot::CoreSnapshot;

/// What a core did in an interval, by the second.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Rates {
    /// Seconds between the two snapshots.
    pub seconds: f64,
    /// Frames received.
    #[serde(rename = "rx_frames_per_s")]
    pub rx_frames: f64,
    /// Frames sent.
    #[serde(rename = "tx_frames_per_s")]
    pub tx_frames: f64,
    /// TCP payload received, in bits.
    #[serde(rename = "bits_in_per_s")]
    pub bits_in: f64,
    /// TCP payload sent, in bits.
    #[serde(rename = "bits_out_per_s")]
    pub bits_out: f64,
    /// Connections accepted.
    #[serde(rename = "accepted_per_s")]
    pub accepted: f64,
    /// Events that the application ran on.
    #[serde(rename = "events_per_s")]
    pub events: f64,
    /// Segments sent again.
    #[serde(rename = "retransmitted_per_s")]
    pub retransmitted: f64,
    /// Things dropped, whatever the reason.
    #[serde(rename = "drops_per_s")]
    pub drops: f64,
    /// Frames in a burst, on average.
    #[serde(rename = "burst_frames")]
    pub burst: f64,
    /// The share of its cycles that the core spent in turns that did something, 0 to 1; what it slept is not busy.
    #[serde(rename = "busy_share")]
    pub busy: f64,
    /// Cycles for each frame received or sent, by stage in the order of a turn.
    pub cycles_per_frame: [f64; 6],
}

/// The stages in the order of a turn, as [`CoreSnapshot::cycles`] names them.
pub const STAGES: [&str; 6] = ["rx", "input", "timers", "app", "output", "tx"];

impl Rates {
    /// What happened from `before` to `after`, both of one core or both totals. Nothing if no time has passed.
    pub fn between(before: &CoreSnapshot, after: &CoreSnapshot) -> Self {
        let seconds = after.at_ns.saturating_sub(before.at_ns) as f64 / 1e9;
        if seconds <= 0.0 {
            return Self::default();
        }
        let grown = |group, name| after.get(group, name).saturating_sub(before.get(group, name)) as f64;
        let cycles = |stage| {
            let of = |core: &CoreSnapshot| core.cycles.get(stage).copied().unwrap_or(0);
            of(after).saturating_sub(of(before)) as f64
        };
        let bursts = |core: &CoreSnapshot| core.bursts.values().sum::<u64>();
        let drops = |core: &CoreSnapshot| core.drops().map(|(_, _, value)| value).sum::<u64>();
        let (rx, tx) = (grown("turns", "rx_frames"), grown("turns", "tx_frames"));
        let busy_cycles = after.busy_cycles().saturating_sub(before.busy_cycles()) as f64;
        let idle_cycles = after.idle_cycles.saturating_sub(before.idle_cycles) as f64;
        let asleep =
            ratio(grown("idle", "asleep_ns") / 1e9, seconds * f64::from(after.cores)).clamp(0.0, 1.0);
        let share = ratio(busy_cycles, busy_cycles + idle_cycles);
        Self {
            seconds,
            rx_frames: rx / seconds,
            tx_frames: tx / seconds,
            bits_in: grown("tcp", "bytes_in") * 8.0 / seconds,
            bits_out: grown("tcp", "bytes_out") * 8.0 / seconds,
            accepted: grown("tcp", "accepted") / seconds,
            events: grown("turns", "events") / seconds,
            retransmitted: grown("tcp", "retransmitted") / seconds,
            drops: drops(after).saturating_sub(drops(before)) as f64 / seconds,
            burst: ratio(rx, bursts(after).saturating_sub(bursts(before)) as f64),
            busy: share * (1.0 - asleep),
            cycles_per_frame: STAGES.map(|stage| ratio(cycles(stage), rx + tx)),
        }
    }

    /// Cycles for each frame, all stages.
    pub fn total_cycles_per_frame(&self) -> f64 {
        self.cycles_per_frame.iter().sum()
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(at_s: u64, frames: u64, cycles: u64, asleep_s: u64) -> CoreSnapshot {
        let group = |name: &str, counters: &[(&str, u64)]| {
            let counters = counters.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
            (name.to_owned(), counters)
        };
        CoreSnapshot {
            core: Some(0),
            cores: 1,
            at_ns: at_s * 1_000_000_000,
            cycles: STAGES.iter().map(|&stage| (stage.to_owned(), cycles)).collect(),
            idle_cycles: 6 * cycles,
            bursts: [(2, frames / 2)].into(),
            groups: [
                group("turns", &[("rx_frames", frames), ("tx_frames", frames), ("events", frames / 2)]),
                group("idle", &[("asleep_ns", asleep_s * 1_000_000_000)]),
                group(
                    "tcp",
                    &[("bytes_in", frames * 64), ("retransmitted", 3), ("dropped_malformed", frames)],
                ),
            ]
            .into(),
        }
    }

    #[test]
    fn two_snapshots_make_rates() {
        let rates = Rates::between(&core(10, 100, 1_000, 0), &core(12, 300, 5_000, 1));
        assert_eq!(
            (rates.seconds, rates.rx_frames, rates.tx_frames, rates.events),
            (2.0, 100.0, 100.0, 50.0)
        );
        assert_eq!((rates.bits_in, rates.retransmitted, rates.drops), (51_200.0, 0.0, 100.0));
        assert_eq!((rates.burst, rates.busy), (2.0, 0.25));
        assert_eq!(rates.cycles_per_frame, [10.0; 6]);
        assert_eq!(rates.total_cycles_per_frame(), 60.0);
    }

    #[test]
    fn no_time_is_no_rate() {
        let one = core(10, 100, 1_000, 0);
        assert_eq!(Rates::between(&one, &one), Rates::default());
        let still = Rates::between(&one, &CoreSnapshot { at_ns: one.at_ns + 1_000_000_000, ..one.clone() });
        assert_eq!((still.rx_frames, still.burst, still.busy, still.seconds), (0.0, 0.0, 0.0, 1.0));
    }
}
