//! What a run came to: JSON for other programs, a table for people.

use std::fmt::Write as _;

use freeway_loadgen::Percentiles;
use serde::Serialize;

use crate::c10m::number;

/// The figures of one run. A figure's unit is in its name.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Figures {
    pub(super) target: String,
    pub(super) via: String,
    pub(super) connections: u64,
    pub(super) connects_per_s: f64,
    pub(super) requests_per_s: f64,
    /// Values in the answers: keys that a cache had.
    pub(super) values_per_s: f64,
    pub(super) bytes_in_per_s: f64,
    pub(super) bytes_out_per_s: f64,
    pub(super) latency_us: Latency,
    pub(super) errors: u64,
    pub(super) timeouts: u64,
    pub(super) retransmits: u64,
    pub(super) duration_s: f64,
    pub(super) client_cpu_s: f64,
    pub(super) open_loop: bool,
    pub(super) offered_per_s: f64,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Latency {
    min: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    p9999: f64,
    max: f64,
}

impl From<Percentiles> for Latency {
    fn from(of: Percentiles) -> Self {
        let Percentiles { count: _, min, mean, p50, p90, p99, p999, p9999, max } = of;
        Self { min, mean, p50, p90, p99, p999, p9999, max }
    }
}

impl Figures {
    /// A plain table.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self {
            target,
            via,
            connections,
            connects_per_s,
            requests_per_s,
            values_per_s,
            bytes_in_per_s,
            bytes_out_per_s,
            latency_us: Latency { min, mean, p50, p90, p99, p999, p9999, max },
            errors,
            timeouts,
            retransmits,
            duration_s,
            client_cpu_s,
            open_loop,
            offered_per_s,
        } = self;
        let kind = if *open_loop { "open loop" } else { "closed loop" };
        writeln!(out, "{target} via {via}, {kind}, {duration_s:.2} s")?;
        writeln!(out, "connections      {}", number(*connections as f64))?;
        if *connects_per_s > 0.0 {
            writeln!(out, "connects         {} a second", number(*connects_per_s))?;
        }
        if *open_loop {
            writeln!(out, "offered          {} a second", number(*offered_per_s))?;
        }
        if *requests_per_s > 0.0 {
            writeln!(out, "requests         {} a second", number(*requests_per_s))?;
        }
        if *values_per_s > 0.0 {
            writeln!(out, "values           {} a second", number(*values_per_s))?;
        }
        let bits = |bytes: f64| bytes * 8.0 / 1e9;
        writeln!(
            out,
            "payload          in {:.3}, out {:.3} Gbit/s",
            bits(*bytes_in_per_s),
            bits(*bytes_out_per_s)
        )?;
        if *max > 0.0 {
            writeln!(
                out,
                "latency, µs      min {min:.1}  mean {mean:.1}  p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  p99.9 {p999:.1}  p99.99 \
                 {p9999:.1}  max {max:.1}"
            )?;
        }
        writeln!(out, "errors           {errors}, timeouts {timeouts}, retransmits {retransmits}")?;
        writeln!(out, "client's CPU     {:.0}% of a core", client_cpu_s / duration_s.max(1e-9) * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_names_of_the_contract() {
        let json = serde_json::to_value(Figures::default()).expect("figures are JSON");
        for name in [
            "connections",
            "connects_per_s",
            "requests_per_s",
            "bytes_in_per_s",
            "bytes_out_per_s",
            "errors",
            "timeouts",
            "retransmits",
            "duration_s",
            "client_cpu_s",
            "open_loop",
            "offered_per_s",
        ] {
            assert!(json.get(name).is_some(), "{name}");
        }
        for name in ["min", "mean", "p50", "p90", "p99", "p999", "p9999", "max"] {
            assert!(json.pointer(&format!("/latency_us/{name}")).is_some(), "{name}");
        }
    }
}
