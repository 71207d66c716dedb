//! The scoreboard: what was measured, beside what it must be.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use freeway_loadgen::Percentiles;
use serde::{Serialize, Serializer};

use super::baseline::Baseline;
use super::fit::Law;

/// Everything that a run measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// Fewer connections than asked for, for want of memory.
    pub(super) short_of_memory: bool,
    pub(super) connections: Challenge,
    pub(super) connection_rate: Challenge,
    pub(super) bandwidth: Challenge,
    pub(super) packets: Challenge,
    pub(super) latency: Challenge,
    pub(super) jitter: Challenge,
    pub(super) cores_used: Challenge,
    /// Further targets.
    pub(super) others: BTreeMap<String, Challenge>,
    pub(super) memory: Memory,
    pub(super) ramp: Ramp,
    pub(super) flatness: Vec<Level>,
    pub(super) cores: Vec<Cores>,
    pub(super) scaling: Option<Law>,
    pub(super) cycles: Cycles,
    pub(super) rates: Vec<Rates>,
    pub(super) loads: Vec<AtLoad>,
    pub(super) noise: Noise,
    /// The same steps on Linux's own stack, with --baseline.
    pub(super) baseline: Vec<Baseline>,
    /// What the server dropped in all of it, by counter.
    pub(super) server_drops: BTreeMap<String, u64>,
}

/// Where it ran.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
    pub(super) server_cpus: Vec<usize>,
    pub(super) client_cpus: Vec<usize>,
}

/// One figure and its target.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Challenge {
    pub(super) measured: f64,
    pub(super) unit: &'static str,
    pub(super) target: f64,
    pub(super) aim: f64,
    pub(super) met: bool,
    pub(super) how: String,
}

impl Challenge {
    /// A figure that should be at least so much.
    pub(super) fn at_least(
        measured: f64,
        unit: &'static str,
        (target, aim): (f64, f64),
        how: impl Into<String>,
    ) -> Self {
        Self { measured, unit, target, aim, met: measured >= target, how: how.into() }
    }

    /// A figure that should be at most so much.
    pub(super) fn at_most(
        measured: f64,
        unit: &'static str,
        (target, aim): (f64, f64),
        how: impl Into<String>,
    ) -> Self {
        Self { measured, unit, target, aim, met: measured <= target, how: how.into() }
    }
}

/// What connections cost.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Memory {
    pub(super) server_bytes_per_connection: f64,
    pub(super) client_bytes_per_connection: f64,
    pub(super) server_resident_bytes: u64,
    pub(super) tcb_bytes: usize,
    pub(super) how: &'static str,
}

/// How the connections came about.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Ramp {
    pub(super) seconds: f64,
    pub(super) connects_per_s: f64,
    /// Seconds, connections open, resident bytes of the server.
    pub(super) samples: Vec<(f64, u64, u64)>,
    /// One request on each of them, answered.
    pub(super) swept: u64,
    pub(super) sweep_requests_per_s: f64,
}

/// Requests on so many connections.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Level {
    pub(super) connections: u32,
    pub(super) requests_per_s: f64,
    pub(super) cycles_per_packet: f64,
    #[serde(serialize_with = "as_latency")]
    pub(super) latency_us: Percentiles,
}

/// Requests on so many cores.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Cores {
    pub(super) cores: u32,
    pub(super) requests_per_s: f64,
}

/// Cycles a packet, in or out, on the server's cores.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Cycles {
    pub(super) rx: f64,
    /// Headers, look-up and TCP's input together: one pass, not told apart.
    pub(super) input: f64,
    /// Contained in `input`.
    pub(super) tcp: Option<f64>,
    pub(super) timers: f64,
    pub(super) app: f64,
    pub(super) output: f64,
    pub(super) tx: f64,
    pub(super) total: f64,
    pub(super) how: &'static str,
}

/// One step at full speed.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Rates {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    pub(super) per_s: f64,
    pub(super) per_s_min: f64,
    pub(super) per_s_max: f64,
    /// Cycles a frame by stage on the server, from first to last, and their sum.
    pub(super) cycles: Vec<(String, f64)>,
    pub(super) cycles_total: f64,
    pub(super) frames_per_burst: f64,
    pub(super) server_busy: f64,
    pub(super) retransmitted: u64,
    pub(super) failed: u64,
}

/// An open loop at a part of the peak, and bare frames at the same rate.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct AtLoad {
    pub(super) part_of_peak: f64,
    pub(super) connections: u32,
    pub(super) offered_per_s: f64,
    pub(super) requests_per_s: f64,
    #[serde(serialize_with = "as_latency")]
    pub(super) latency_us: Percentiles,
    #[serde(serialize_with = "as_latency")]
    pub(super) bare_frames_us: Percentiles,
}

/// What a bare spinning loop suffers.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Noise {
    pub(super) stall_us_p99: f64,
    pub(super) stall_us_p999: f64,
    pub(super) stall_us_max: f64,
    pub(super) how: &'static str,
}

/// Without the number of them.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn as_latency<S: Serializer>(of: &Percentiles, serializer: S) -> Result<S::Ok, S::Error> {
    let Percentiles { count: _, min, mean, p50, p90, p99, p999, p9999, max } = *of;
    let names = ["min", "mean", "p50", "p90", "p99", "p999", "p9999", "max"];
    serializer.collect_map(names.into_iter().zip([min, mean, p50, p90, p99, p999, p9999, max]))
}

/// A number for people: 1,234,567 or 12.3.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 1_000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let mut text = String::from(sign);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Report {
    /// The targets in order, with their names.
    pub(super) fn board(&self) -> Vec<(&str, &Challenge)> {
        let mut board = vec![
            ("connections held", &self.connections),
            ("connection rate", &self.connection_rate),
            ("bandwidth", &self.bandwidth),
            ("packets", &self.packets),
            ("latency", &self.latency),
            ("jitter", &self.jitter),
            ("cores", &self.cores_used),
        ];
        board.extend(self.others.iter().map(|(name, challenge)| (name.as_str(), challenge)));
        board
    }

    /// Everything as plain text.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Machine { processor, processors, memory_bytes, kernel, server_cpus, client_cpus } = &self.machine;
        writeln!(out, "{processor}, {processors} processors, {} GiB, Linux {kernel}", memory_bytes >> 30)?;
        writeln!(out, "server on {server_cpus:?}, client on {client_cpus:?}, memif between them\n")?;
        writeln!(out, "{:<34} {:>14} {:<14} {:>12} {:>12}", "", "measured", "", "must", "aim")?;
        for (name, Challenge { measured, unit, target, aim, met, how: _ }) in self.board() {
            let mark = if *met { "met" } else { "MISSED" };
            let (measured, target, aim) = (number(*measured), number(*target), number(*aim));
            writeln!(out, "{name:<34} {measured:>14} {unit:<14} {target:>12} {aim:>12}  {mark}")?;
        }
        writeln!(out, "\nserver cycles a packet by stage, and how busy its core was")?;
        for Rates { what, unit, per_s, per_s_min, per_s_max, cycles, cycles_total, server_busy, .. } in
            &self.rates
        {
            write!(
                out,
                "{what:<34} {:>14} {unit:<14} {:.0}%  {cycles_total:.0}:",
                number(*per_s),
                server_busy * 100.0
            )?;
            for (stage, cycles) in cycles {
                write!(out, " {stage} {cycles:.0}")?;
            }
            writeln!(out, "  ({} to {})", number(*per_s_min), number(*per_s_max))?;
        }
        writeln!(out, "\nrequests of 64 bytes on connections drawn at random")?;
        for Level { connections, requests_per_s, cycles_per_packet, latency_us } in &self.flatness {
            let (connections, rate) = (number(f64::from(*connections)), number(*requests_per_s));
            writeln!(
                out,
                "{connections:>14} connections {rate:>12}/s  {cycles_per_packet:.0} cycles a packet  p50 {:.0} p99 {:.0} µs",
                latency_us.p50, latency_us.p99
            )?;
        }
        writeln!(
            out,
            "\nlatency at a part of the peak, µs (in brackets: bare frames over the same memif at the same rate)"
        )?;
        for AtLoad {
            part_of_peak, connections, requests_per_s, latency_us: own, bare_frames_us: bare, ..
        } in &self.loads
        {
            write!(
                out,
                "{:>3.0}% {:>10}/s on {:>10}",
                part_of_peak * 100.0,
                number(*requests_per_s),
                number(f64::from(*connections))
            )?;
            for (name, own, bare) in [
                ("p50", own.p50, bare.p50),
                ("p90", own.p90, bare.p90),
                ("p99", own.p99, bare.p99),
                ("p99.9", own.p999, bare.p999),
                ("max", own.max, bare.max),
            ] {
                write!(out, "  {name} {own:.1} ({bare:.1})")?;
            }
            writeln!(out)?;
        }
        let Noise { stall_us_p99, stall_us_p999, stall_us_max, how: _ } = self.noise;
        writeln!(
            out,
            "\na bare spinning loop: at a random instant p99 {stall_us_p99:.1}, p99.9 {stall_us_p999:.1}, at most {stall_us_max:.0} µs"
        )?;
        for Baseline { path, connections, kernel_bytes_per_connection, ramp, rates, loads, .. } in
            &self.baseline
        {
            writeln!(
                out,
                "\nLinux over {path}: {} connections opened in {:.2} s, {kernel_bytes_per_connection:.0} bytes of slab for each end",
                number(f64::from(*connections)),
                ramp.seconds
            )?;
            for Rates { what, unit, per_s, per_s_min, per_s_max, .. } in rates {
                let (low, high) = (number(*per_s_min), number(*per_s_max));
                writeln!(out, "{what:<34} {:>14} {unit:<14} ({low} to {high})", number(*per_s))?;
            }
            for AtLoad { part_of_peak, requests_per_s, latency_us, .. } in loads {
                writeln!(
                    out,
                    "{:>3.0}% {:>10}/s  p50 {:.1}  p99 {:.1}  p99.9 {:.1} µs",
                    part_of_peak * 100.0,
                    number(*requests_per_s),
                    latency_us.p50,
                    latency_us.p99,
                    latency_us.p999
                )?;
            }
        }
        if !self.server_drops.is_empty() {
            writeln!(out, "the server dropped: {:?}", self.server_drops)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        for (value, text) in [
            (0.0, "0.0"),
            (12.34, "12.3"),
            (1_000.0, "1,000"),
            (9_999_999.6, "10,000,000"),
            (-2_500.0, "-2,500"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn figures_have_the_names_of_the_contract() {
        let report =
            Report { flatness: vec![Level::default()], cores: vec![Cores::default()], ..Report::default() };
        let json = serde_json::to_value(&report).expect("a report is JSON");
        for name in [
            "/machine",
            "/connections/measured",
            "/connection_rate/unit",
            "/bandwidth/target",
            "/packets/met",
            "/latency/how",
            "/jitter/measured",
            "/memory/server_bytes_per_connection",
            "/memory/client_bytes_per_connection",
            "/memory/server_resident_bytes",
            "/memory/tcb_bytes",
            "/memory/how",
            "/flatness/0/connections",
            "/flatness/0/requests_per_s",
            "/flatness/0/cycles_per_packet",
            "/flatness/0/latency_us/p99",
            "/cores/0/cores",
            "/cores/0/requests_per_s",
            "/cycles/rx",
            "/cycles/input",
            "/cycles/tcp",
            "/cycles/app",
            "/cycles/output",
            "/cycles/tx",
            "/cycles/total",
            "/noise/stall_us_p999",
            "/noise/stall_us_max",
        ] {
            assert!(json.pointer(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_target_is_met_or_missed() {
        assert!(Challenge::at_least(2.0, "", (2.0, 3.0), "").met);
        assert!(!Challenge::at_least(1.9, "", (2.0, 3.0), "").met);
        assert!(!Challenge::at_most(2.1, "", (2.0, 1.0), "").met);
    }
}
