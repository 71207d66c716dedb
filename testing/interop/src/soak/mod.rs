//! Hours of real time with mixed services, all weathers and an operator: nothing may leak, nothing may drift, no error may go
//! untold.
//!
//! ```text
//!   ┌─ client ───────┐       ┌─ host ───────────────────────────────────────────────┐
//!   │ Linux visitors ══ veth ══ bridge with weather ── fw0 ══TAP══╗                 │
//!   └────────────────┘       │                                    freeway, 2 cores  │
//!                            │ freeway bench, some killed ══memif══╝ │  reload, ss,  │
//!                            │                                       │  stats, pcap  │
//!                            └───────────────────────────────────────────────────────┘
//! ```
//!
//! A day is busy: visitors do what clients do, over both IP versions: whole exchanges, downloads given up half-way, resets,
//! sudden silence; the weather changes every few seconds; load generators come by another interface, and some are killed;
//! an operator reloads and looks. Then comes a calm night without visits, at whose end the server must hold exactly what
//! it held before the first day, every visit must have ended as it should, and what was dropped must have a reason in the
//! weather or in what visitors did.
//!
//! The simulation's soak (`freeway-sim soak`) lives through a week of virtual time; this one has real threads, devices,
//! processes, signals and clocks.

mod accounts;
mod operator;
mod site;
mod visits;
mod weather;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use freeway_base::{Rng, Seed};

use site::{Holdings, Site};

/// The longest night: time-outs of TCP, keepalives and TIME-WAIT are over by then, as the site sets them.
const NIGHT: Duration = Duration::from_secs(90);
/// What the server's resident memory may grow by after the first day, in KiB: the allocator's pages come and go, and buffers
/// for documents on disk, which the settings keep few, take theirs when they are first used.
const DRIFT_KIB: u64 = 4 * 1024;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where chance starts. Linux's part is not repeated by it.
    pub seed: Seed,
    /// How long there are visits, nights not counted.
    pub visits: Duration,
    /// How much of that lies between two nights.
    pub day: Duration,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Visits that ended as they should, by kind.
    pub visits: Vec<(&'static str, u64)>,
    /// Nights, after each of which nothing was left over.
    pub nights: u32,
    /// Frames that the bridge lost, by loss or for a full queue, and spoilt.
    pub lost: u64,
    /// Frames with a flipped bit.
    pub corrupted: u64,
    /// Segments that the server sent again.
    pub retransmitted: u64,
    /// The server's resident memory after the first day and in the end, in KiB.
    pub resident_kib: (u64, u64),
    /// What the server dropped or refused, by counter.
    pub dropped: Vec<(String, u64)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { visits, nights, lost, corrupted, retransmitted, resident_kib, dropped } = self;
        for (name, count) in visits {
            writeln!(f, "{name:<22} {count:>9}")?;
        }
        writeln!(f, "{:<22} {lost:>9}", "frames lost")?;
        writeln!(f, "{:<22} {corrupted:>9}", "frames spoilt")?;
        writeln!(f, "{:<22} {retransmitted:>9}", "segments sent again")?;
        for (counter, count) in dropped {
            writeln!(f, "{counter:<40} {count:>9}")?;
        }
        let (first, last) = resident_kib;
        write!(
            f,
            "{nights} nights with nothing left over; resident {first} KiB after the first, {last} KiB after the last"
        )
    }
}

/// What visits came to. Shared by all who make them.
#[derive(Default)]
struct Book {
    is_night: AtomicBool,
    entries: Mutex<Vec<(&'static str, u64)>>,
    failures: Mutex<Vec<String>>,
    /// Visits that have begun, to number them.
    begun: AtomicU64,
}

impl Book {
    fn is_day(&self) -> bool {
        !self.is_night.load(Ordering::Relaxed)
    }

    /// Makes visits of one kind until the night, `pause` apart on average.
    fn keep_visiting(
        &self,
        name: &'static str,
        rng: &mut Rng,
        pause: Duration,
        mut visit: impl FnMut(&mut Rng) -> Result<()>,
    ) {
        while self.is_day() {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            match visit(rng) {
                Ok(()) => self.enter(name, 1),
                Err(error) => lock(&self.failures).push(format!("visit {number}, {name}: {error:#}")),
            }
            let pause = pause.mul_f64(2.0 * rng.unit());
            let end = Instant::now() + pause;
            while self.is_day() && Instant::now() < end {
                thread::sleep(pause.min(Duration::from_millis(50)));
            }
        }
    }

    fn enter(&self, name: &'static str, count: u64) {
        let mut entries = lock(&self.entries);
        match entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += count,
            None => entries.push((name, count)),
        }
    }

    /// What went wrong, the first of it; nothing should.
    fn check(&self) -> Result<()> {
        const QUOTED: usize = 10;
        let failures = lock(&self.failures);
        let first = &failures[..failures.len().min(QUOTED)];
        ensure!(failures.is_empty(), "{} visits failed:\n{}", failures.len(), first.join("\n"));
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs days of visits with a night after each; `say` hears a line after each. None when `name` is to be skipped.
///
/// # Errors
///
/// What was left over, went wrong or cannot be explained.
///
/// # Panics
///
/// In CI, when the test may not run.
pub fn run(name: &str, plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<Option<Report>> {
    let Some(site) = Site::open(name)? else { return Ok(None) };
    let before = site.at_rest(NIGHT, None).context("before the first day")?;
    let mut rng = Rng::new(plan.seed);
    let book = Book::default();
    let (mut nights, mut visited) = (0, Duration::ZERO);
    let (mut first_night, mut last) = (None::<Holdings>, before.clone());
    while visited < plan.visits {
        let day = plan.day.min(plan.visits.saturating_sub(visited));
        spend(&site, &book, day, &mut rng)?;
        visited += day;
        book.check().with_context(|| {
            let dropped = site.counters().map(|counters| accounts::dropped(&counters)).unwrap_or_default();
            format!("after {} s of visits; dropped: {dropped:?}", visited.as_secs())
        })?;
        let now = site.at_rest(NIGHT, Some(&before)).with_context(|| format!("in night {}", nights + 1))?;
        nights += 1;
        let first = first_night.get_or_insert_with(|| now.clone());
        ensure!(
            now.resident_kib <= first.resident_kib + DRIFT_KIB,
            "resident memory grew from {} to {} KiB",
            first.resident_kib,
            now.resident_kib
        );
        let visits: u64 = lock(&book.entries).iter().map(|(_, count)| count).sum();
        say(&format!(
            "night {nights} after {} s of visits: {visits} visits went well, nothing is left over, resident {} KiB",
            visited.as_secs(),
            now.resident_kib
        ));
        last = now;
    }
    let (lost, corrupted) = site.losses();
    site.close()?;
    let mut visits = lock(&book.entries).clone();
    visits.sort_unstable();
    let report = Report {
        visits,
        nights,
        lost,
        corrupted,
        retransmitted: last
            .counters
            .iter()
            .find(|(name, _)| name == "tcp.retransmitted")
            .map_or(0, |(_, n)| *n),
        resident_kib: (first_night.unwrap_or(before).resident_kib, last.resident_kib),
        dropped: accounts::dropped(&last.counters),
    };
    accounts::unexplained(&last.counters).with_context(|| format!("{report}"))?;
    Ok(Some(report))
}

/// A day of visits.
fn spend(site: &Site, book: &Book, day: Duration, rng: &mut Rng) -> Result<()> {
    book.is_night.store(false, Ordering::Relaxed);
    let end = Instant::now() + day;
    // What chance gives each, before anybody draws from it.
    let (mut skies, visitors, crew) = (rng.fork(), rng.fork(), rng.fork());
    let tools = site.tools();
    thread::scope(|scope| {
        let visitors = visits::start(scope, book, &tools, visitors);
        let operators = operator::start(scope, book, &tools, crew);
        let mut weather = Ok(());
        while weather.is_ok() && Instant::now() < end {
            let (path, length) = weather::spell(&mut skies);
            weather = site.impair(path, skies.next_u64());
            thread::sleep(length.min(end.saturating_duration_since(Instant::now())));
        }
        // Whoever is under way comes home in fair weather.
        let calm = site.impair(weather::calm(), 1);
        book.is_night.store(true, Ordering::Relaxed);
        for thread in visitors.into_iter().chain(operators) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        weather.and(calm)
    })
}
