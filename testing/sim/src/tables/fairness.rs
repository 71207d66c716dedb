//! How flows share one link: equal ones, near and far ones, and algorithms beside each other.

use std::fmt::Write as _;

use freeway_base::{Duration, Seed};
use freeway_tcp::Config;
use freeway_tcp::congestion::Algorithm;

use super::grid::compute;
use crate::bottleneck::{Flow, Road, World};

const RATE: u64 = 20_000_000;
/// Flows open one after the other.
const APART: Duration = Duration::from_millis(200);
/// What they get is counted from here
const FROM: Duration = Duration::from_secs(20);
/// and so long.
const SPAN: Duration = Duration::from_secs(40);

/// Flows of one kind.
#[derive(Clone, Copy)]
struct Kind {
    algorithm: Algorithm,
    round_trip_ms: u64,
    count: usize,
}

struct Case {
    kinds: Vec<Kind>,
    /// Routers mark instead of dropping, above a seventh of the buffer.
    marks: bool,
}

impl Case {
    fn run(&self) -> String {
        let longest = self.kinds.iter().map(|kind| kind.round_trip_ms).max().unwrap_or(0);
        let product = RATE / 8 * longest / 1_000;
        let mut road = Road::new(RATE, product.max(16 * 1_514));
        road.mark_above_bytes = self.marks.then_some((product / 7).max(10 * 1_514));
        // Kinds take turns in opening, so that none is there first.
        let turns = self.kinds.iter().map(|kind| kind.count).max().unwrap_or(0);
        let order: Vec<&Kind> =
            (0..turns).flat_map(|turn| self.kinds.iter().filter(move |kind| turn < kind.count)).collect();
        let flows: Vec<Flow> = order
            .iter()
            .enumerate()
            .map(|(number, kind)| Flow {
                tcp: Config {
                    congestion: kind.algorithm,
                    user_timeout: Duration::from_secs(3_600),
                    ..Config::default()
                },
                round_trip: Duration::from_millis(kind.round_trip_ms),
                starts: APART.saturating_mul(number as u64),
                bytes: u64::MAX,
            })
            .collect();
        let mut world = World::new(road, &flows, Seed(1));
        let delivered =
            |world: &World| -> Vec<u64> { (0..flows.len()).map(|flow| world.delivered(flow)).collect() };
        world.run_until(FROM, |_| false);
        let before = delivered(&world);
        world.run_until(SPAN, |_| false);
        let shares: Vec<u64> =
            delivered(&world).iter().zip(&before).map(|(after, before)| after - before).collect();
        let total: u64 = shares.iter().sum();
        let kilobits = total * 8_000 / SPAN.as_micros();
        let mut text = format!("{:5}  {kilobits:>6}  ", jain(&shares));
        for kind in &self.kinds {
            let mut own: Vec<u64> = order
                .iter()
                .zip(&shares)
                .filter(|(other, _)| std::ptr::eq(**other, kind))
                .map(|(_, share)| share * 1_000 / total.max(1))
                .collect();
            own.sort_unstable();
            let own: Vec<String> = own.iter().map(u64::to_string).collect();
            write!(text, "  {}", own.join(" ")).expect("strings take everything");
            if !std::ptr::eq(kind, &self.kinds[self.kinds.len() - 1]) {
                text.push_str("  |");
            }
        }
        text
    }

    fn name(&self) -> String {
        let kinds: Vec<String> = self
            .kinds
            .iter()
            .map(|kind| format!("{} {} {} ms", kind.count, kind.algorithm, kind.round_trip_ms))
            .collect();
        format!("{}{}", kinds.join(" | "), if self.marks { ", marks" } else { "" })
    }
}

/// Jain's index in thousandths: 1000 if all have the same, 1000 / n if one has everything.
fn jain(shares: &[u64]) -> u128 {
    let sum: u128 = shares.iter().map(|&share| u128::from(share)).sum();
    let squares: u128 = shares.iter().map(|&share| u128::from(share) * u128::from(share)).sum();
    (sum * sum * 1_000).checked_div(squares * shares.len() as u128).unwrap_or(0)
}

pub(super) fn table() -> String {
    use Algorithm::{Cubic, Dctcp, NewReno};
    let kind = |algorithm, round_trip_ms, count| Kind { algorithm, round_trip_ms, count };
    let case = |kinds: &[Kind], marks| Case { kinds: kinds.to_vec(), marks };
    let mut cases = Vec::new();
    for (algorithm, marks) in [(Cubic, false), (NewReno, false), (Cubic, true), (Dctcp, true)] {
        for count in [2, 10] {
            cases.push(case(&[kind(algorithm, 40, count)], marks));
        }
        for (near, far) in [(20, 40), (10, 100)] {
            cases.push(case(&[kind(algorithm, near, 1), kind(algorithm, far, 1)], marks));
        }
        cases.push(case(&[kind(algorithm, 10, 5), kind(algorithm, 100, 5)], marks));
    }
    for round_trip_ms in [10, 40, 100] {
        for count in [1, 5] {
            cases
                .push(case(&[kind(Cubic, round_trip_ms, count), kind(NewReno, round_trip_ms, count)], false));
        }
    }
    let mut text = format!(
        "Flows over one link of 20 Mbit/s with a buffer of one bandwidth-delay product of the longest round trip, from 20 s\n\
         to 60 s: Jain's index in thousandths, kilobits of payload a second in all, and shares in thousandths.\n\n\
         {:38}{:>5}  {:>6}    shares\n",
        "", "Jain", "kbit/s"
    );
    for (case, line) in cases.iter().zip(compute(&cases, Case::run)) {
        writeln!(text, "{:38}{line}", case.name()).expect("strings take everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::jain;

    #[test]
    fn the_index_tells_equal_from_unequal() {
        assert_eq!(jain(&[7, 7, 7]), 1_000);
        assert_eq!(jain(&[9, 0, 0]), 333);
        assert_eq!(jain(&[]), 0);
    }
}
