//! How fast one flow carries its bytes, over loss, delay, buffers and reordering.

use freeway_base::{Duration, Seed};
use freeway_tcp::Config;
use freeway_tcp::congestion::Algorithm;

use super::grid::{Grid, compute};
use crate::bottleneck::{Flow, Road, World};

/// A link that is fast enough for windows of some hundred segments, and slow enough for a quick test.
const RATE: u64 = 20_000_000;
/// What one flow carries.
const BYTES: u64 = 6_000_000;
/// Round trips without queues.
const ROUND_TRIPS_MS: [u64; 5] = [0, 10, 50, 100, 200];
/// Longer than any cell takes.
const LIMIT: Duration = Duration::from_secs(3_600);
/// A queue has room for so many bytes at least, however short the way.
const QUEUE_MIN: u64 = 16 * 1_514;

/// One cell: an algorithm, a road, a round trip.
struct Cell {
    algorithm: Algorithm,
    round_trip: Duration,
    /// Of the bandwidth-delay product, in tenths.
    buffer_tenths: u64,
    loss_permille: u32,
    reorder_percent: u32,
    /// Of the round trip.
    reorder_by_percent: u64,
}

impl Cell {
    const fn plain(algorithm: Algorithm, round_trip_ms: u64) -> Self {
        Self {
            algorithm,
            round_trip: Duration::from_millis(round_trip_ms),
            buffer_tenths: 10,
            loss_permille: 0,
            reorder_percent: 0,
            reorder_by_percent: 0,
        }
    }

    /// Kilobits of payload a second, and segments sent again in a thousand.
    fn run(&self) -> String {
        let product = RATE / 8 * self.round_trip.as_micros() / 1_000_000;
        let mut road = Road::new(RATE, (product * self.buffer_tenths / 10).max(QUEUE_MIN));
        road.loss_ratio = f64::from(self.loss_permille) / 1e3;
        road.reorder_ratio = f64::from(self.reorder_percent) / 1e2;
        road.reorder_delay =
            Duration::from_micros(self.round_trip.as_micros() * self.reorder_by_percent / 100);
        if self.algorithm == Algorithm::Dctcp {
            // A seventh of the product (Alizadeh and others, 2010), and no less than ten segments.
            road.mark_above_bytes = Some((product / 7).max(10 * 1_514).min(road.queue_bytes / 2));
        }
        let tcp =
            Config { congestion: self.algorithm, user_timeout: LIMIT, syn_retries: 20, ..Config::default() };
        let flow = Flow { tcp, round_trip: self.round_trip, starts: Duration::ZERO, bytes: BYTES };
        let mut world = World::new(road, &[flow], Seed(1));
        let done = world.run_until(LIMIT, |world| world.delivered(0) >= BYTES);
        assert!(done, "{} of {BYTES} bytes after {LIMIT}", world.delivered(0));
        let sent = world.sent();
        let kilobits = BYTES * 8_000 / world.age().as_micros().max(1);
        format!("{kilobits} {:>4}", sent.retransmitted * 1_000 / sent.segments.max(1))
    }
}

const ABOUT: &str = "\
Kilobits of payload a second that one flow of 6 MB brings over a link of 20 Mbit/s (19,127 at best), slow start
included; then segments sent again, in a thousand.";

/// Grids of `rows` over all round trips, for each algorithm.
fn table<R: Copy>(about: &str, rows: &[(String, R)], cell: impl Fn(Cell, R) -> Cell) -> String {
    let mut cells = Vec::new();
    for algorithm in Algorithm::ALL {
        for &(_, row) in rows {
            cells.extend(ROUND_TRIPS_MS.map(|ms| cell(Cell::plain(algorithm, ms), row)));
        }
    }
    let mut results = compute(&cells, Cell::run).into_iter();
    let mut text = format!("{ABOUT}\n{about}\n\n");
    for algorithm in Algorithm::ALL {
        let grid = Grid {
            title: algorithm.name().to_owned(),
            columns: ROUND_TRIPS_MS.map(|ms| format!("{ms} ms")).into(),
            rows: rows.iter().map(|(name, _)| name.clone()).collect(),
        };
        grid.print(&mut text, results.by_ref());
    }
    text
}

/// Random loss, over round trips.
pub(super) fn over_loss() -> String {
    let rows = [0, 1, 5, 10, 30, 50, 100]
        .map(|permille| (format!("loss {} %", f64::from(permille) / 10.0), permille));
    table(
        "A buffer of one bandwidth-delay product; DCTCP's is marked above a seventh of it.",
        &rows,
        |cell, loss_permille| Cell { loss_permille, ..cell },
    )
}

/// Depths of the buffer, with and without a little loss.
pub(super) fn over_buffers() -> String {
    let rows: Vec<_> = [0, 1]
        .into_iter()
        .flat_map(|permille| [1, 5, 10, 20].map(|tenths| (permille, tenths)))
        .map(|(permille, tenths)| {
            let name = format!("buffer {} x, loss {} %", tenths as f64 / 10.0, f64::from(permille) / 10.0);
            (name, (permille, tenths))
        })
        .collect();
    table(
        "Buffers in bandwidth-delay products, 16 segments at least; DCTCP's is marked above a seventh of the product.",
        &rows,
        |cell, (loss_permille, buffer_tenths)| Cell { loss_permille, buffer_tenths, ..cell },
    )
}

/// Segments that others overtake.
pub(super) fn over_reordering() -> String {
    let rows: Vec<_> = [10, 50]
        .into_iter()
        .flat_map(|by| [1, 5, 20].map(|percent| (percent, by)))
        .map(|(percent, by)| (format!("{percent} % by {by} % of RTT"), (percent, by)))
        .collect();
    table(
        "Some segments take longer by a part of the round trip. A buffer of one bandwidth-delay product.",
        &rows,
        |cell, (reorder_percent, reorder_by_percent)| Cell { reorder_percent, reorder_by_percent, ..cell },
    )
}
