//! Cores as threads: they start all or none, end together, and rest when there is nothing to do.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use freeway_base::{HashKey, Seed};
use freeway_mem::{Arena, PacketPool, PoolConfig};
use freeway_runtime::{BuildError, Core, Idle, Runtime, RuntimeConfig, Seat, StartError, StopHandle, pin};
use freeway_stack::{Application, Stack, StackConfig};
use rustix::time::{ClockId, clock_gettime};

/// What an application without a network does: nothing, but `act` once a turn.
struct App<F> {
    act: F,
    _alive: Arc<()>,
}

impl<F: FnMut()> Application for App<F> {
    type Conn = ();

    fn turn(&mut self, _stack: &mut Stack<()>, _now: freeway_base::Instant) {
        (self.act)();
    }
}

/// A core that has neither ports nor peers.
fn core<F: FnMut()>(seat: Seat, alive: &Arc<()>, act: F) -> Core<App<F>> {
    let key = HashKey::new([1, 2]);
    let small = PoolConfig { buffers: 64, ..PoolConfig::default() };
    let mut config = StackConfig::new(key, key);
    (config.max_connections, config.max_syn_received, config.max_time_wait, config.max_items) =
        (16, 16, 16, 64);
    (config.pool, config.large_pool) = (small, small);
    (config.core, config.cores) = (seat.core(), seat.cores());
    let mut arena = Arena::heap(config.arena_layout::<()>().bytes()).unwrap();
    let pool = PacketPool::new(&mut arena, &config.pool).unwrap();
    let stack = Stack::new(&config, &mut arena, pool, Seed(1), seat.now()).unwrap();
    Core::new(key, stack, App { act, _alive: Arc::clone(alive) }, [], seat.mailboxes)
}

fn config(cores: u32, idle: Idle) -> RuntimeConfig {
    RuntimeConfig { cores, idle, ..RuntimeConfig::default() }
}

/// Waits for what another thread is about to make true.
fn eventually(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(10), "it never came true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn cores_run_until_they_are_stopped() {
    for idle in [Idle::Spin, Idle::default(), Idle::Sleep] {
        let (alive, turns) = (Arc::new(()), Arc::new(AtomicU64::new(0)));
        let builders = [0, 1].map(|_| {
            let (alive, turns) = (Arc::clone(&alive), Arc::clone(&turns));
            move |seat: Seat| -> Result<_, BuildError> {
                let first = 1u64 << (32 * seat.core());
                Ok(core(seat, &alive, move || {
                    turns.fetch_or(first, Ordering::Relaxed);
                }))
            }
        });
        let running = Runtime::new(config(2, idle)).unwrap().start(builders).unwrap();
        eventually(|| turns.load(Ordering::Relaxed) == 1 | 1 << 32);
        let asked = Instant::now();
        let stats = running.stop().unwrap();
        assert!(asked.elapsed() < Duration::from_millis(900), "a sleeping core was not woken");
        assert_eq!(stats.iter().map(|stats| stats.core).collect::<Vec<_>>(), [0, 1]);
        assert!(stats.iter().all(|stats| stats.get("turns", "turns").unwrap() > 0));
        assert_eq!(Arc::strong_count(&alive), 1, "a core outlived its thread");
    }
}

#[test]
fn an_error_on_one_core_starts_none() {
    let alive = Arc::new(());
    let builders = [0, 1, 2].map(|_| {
        let alive = Arc::clone(&alive);
        move |seat: Seat| -> Result<_, BuildError> {
            if seat.core() == 1 {
                return Err("its queue is in use".into());
            }
            Ok(core(seat, &alive, || panic!("a core ran though another could not start")))
        }
    });
    let error = Runtime::new(config(3, Idle::Sleep)).unwrap().start(builders).unwrap_err();
    assert_eq!(error.to_string(), "core 1 cannot start: its queue is in use");
    assert_eq!(Arc::strong_count(&alive), 1, "a thread was left behind");
}

#[test]
fn a_panic_while_building_starts_none() {
    let alive = Arc::new(());
    let builders = [0, 1].map(|_| {
        let alive = Arc::clone(&alive);
        move |seat: Seat| -> Result<_, BuildError> {
            assert!(seat.core() != 0, "expected by this test");
            Ok(core(seat, &alive, || {}))
        }
    });
    let error = Runtime::new(config(2, Idle::Sleep)).unwrap().start(builders).unwrap_err();
    assert!(matches!(error, StartError::Panicked { core: 0 }), "{error}");
    assert_eq!(Arc::strong_count(&alive), 1, "a thread was left behind");
}

#[test]
fn a_core_that_panics_ends_all() {
    let alive = Arc::new(());
    let builders = [0, 1].map(|_| {
        let alive = Arc::clone(&alive);
        move |seat: Seat| -> Result<_, BuildError> {
            let number = seat.core();
            Ok(core(seat, &alive, move || assert!(number != 1, "expected by this test")))
        }
    });
    let running = Runtime::new(config(2, Idle::Sleep)).unwrap().start(builders).unwrap();
    let panic = running.join().unwrap_err();
    assert_eq!((panic.core, panic.message.as_str()), (1, "expected by this test"));
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn an_application_can_stop_all_cores() {
    let alive = Arc::new(());
    let builders = [0, 1].map(|_| {
        let alive = Arc::clone(&alive);
        move |seat: Seat| -> Result<_, BuildError> {
            let (number, stop): (u32, StopHandle) = (seat.core(), seat.stop.clone());
            Ok(core(seat, &alive, move || {
                if number == 1 {
                    stop.stop();
                }
            }))
        }
    });
    let running = Runtime::new(config(2, Idle::Sleep)).unwrap().start(builders).unwrap();
    running.join().unwrap();
}

#[test]
fn numbers_must_fit_together() {
    let start = |cores, cpus: &[usize]| {
        let no_builders = [(); 0].map(|()| |seat: Seat| Ok(core(seat, &Arc::new(()), || {})));
        Runtime::new(RuntimeConfig { cores, cpus: cpus.to_vec(), ..RuntimeConfig::default() })?
            .start(no_builders)
    };
    let message = |cores, cpus: &[usize]| start(cores, cpus).unwrap_err().to_string();
    assert_eq!(message(2, &[1]), "2 cores with 1 CPUs: there must be one for each core");
    assert_eq!(message(2, &[]), "2 cores with 0 builders: there must be one for each core");
    assert!(start(0, &[]).is_err());
}

#[test]
fn a_cpu_that_is_not_there_is_an_error() {
    let alive = Arc::new(());
    let builder = move |seat: Seat| -> Result<_, BuildError> { Ok(core(seat, &alive, || {})) };
    let error = Runtime::new(RuntimeConfig::pinned([1_000])).unwrap().start([builder]).unwrap_err();
    assert!(matches!(error, StartError::Pin { core: 0, cpu: 1_000, .. }), "{error}");
    assert!(pin(1_000).is_err());
}

#[test]
fn a_running_core_shows_its_counters() {
    let alive = Arc::new(());
    let builder = move |seat: Seat| -> Result<_, BuildError> { Ok(core(seat, &alive, || {})) };
    let running = Runtime::new(config(1, Idle::Spin)).unwrap().start([builder]).unwrap();
    let reader = running.stats_reader();
    eventually(|| reader.read()[0].get("turns", "turns").unwrap() > 0);
    let stats = running.stop().unwrap().remove(0);
    let groups: Vec<&str> = stats.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(groups, ["turns", "idle", "wake", "mail", "net", "udp", "tcp", "tables"]);
    assert_eq!(stats.get("turns", "busy_turns"), Some(0));
    assert_eq!(stats.get("tables", "connections_max"), Some(16));
    assert_eq!(stats.stages.total(), 0);
    assert!(stats.stages.idle > 0);
}

/// The CPU time of the thread that asks.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Writes down how much CPU time its thread took from the first turn on.
#[derive(Default)]
struct Meter {
    first: Option<Duration>,
    used: Arc<AtomicU64>,
}

impl Meter {
    fn turn(&mut self) {
        self.first.get_or_insert_with(cpu_time);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let used = cpu_time() - self.first.unwrap();
        self.used.store(used.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// The budget of an idle server: less than one percent of a CPU, first and last turn included.
#[test]
fn an_idle_core_uses_less_than_one_percent_of_its_cpu() {
    for idle in [Idle::default(), Idle::Sleep] {
        let (alive, mut meter) = (Arc::new(()), Meter::default());
        let used = Arc::clone(&meter.used);
        let builder =
            move |seat: Seat| -> Result<_, BuildError> { Ok(core(seat, &alive, move || meter.turn())) };
        let running = Runtime::new(config(1, idle)).unwrap().start([builder]).unwrap();
        let start = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        let stats = running.stop().unwrap().remove(0);
        let used = Duration::from_nanos(used.load(Ordering::Relaxed));
        assert!(used < start.elapsed() / 100, "{idle}: {used:?} of {:?}", start.elapsed());
        assert!(stats.get("idle", "sleeps").unwrap() < 20, "{stats:?}");
        assert!(stats.get("idle", "asleep_ns").unwrap() > 900_000_000);
        // The stop rings, and the deadline for publishing ends a sleep.
        assert!(stats.get("wake", "wakes").unwrap() > 0, "{stats:?}");
        assert!(stats.get("wake", "late_ns").unwrap() > 0, "{stats:?}");
    }
}
