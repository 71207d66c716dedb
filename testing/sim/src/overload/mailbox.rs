//! Mailbox rings: a core that stands still while the one with the queue goes on.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use freeway::host::Memory;
use freeway::{Cidr, HostConfig, Interface, Mailboxes, Secrets};
use freeway_base::{Duration, Instant, Seed};
use freeway_port::{PipeConfig, Port, pipe};
use freeway_runtime::{Core, MailConfig, mesh, remote};

use super::crowd::{Crowd, Habit, Server};

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const TICK: Duration = Duration::from_micros(200);
/// Connections of the crowd.
const TALKERS: u32 = 64;
/// Frames that a mailbox holds.
const SLOTS: usize = 16;

struct World {
    cores: [Core<Server>; 2],
    crowd: Core<Crowd>,
    now: Instant,
    peak_buffers: u32,
}

impl World {
    fn new() -> Self {
        let now = Instant::from_secs(1_000);
        let cidr = |host| Cidr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, host)), 24);
        let (far, near) = pipe(&PipeConfig { frames: 1_024, ..PipeConfig::default() }).expect("a pipe");
        let mut config = HostConfig::new(Secrets::from_seed(Seed(1)))
            .max_connections(256)
            .buffers(1_024)
            .memory(Memory::Heap);
        config.stack.large_pool.buffers = 2;
        let mail = MailConfig { slots: SLOTS, ..MailConfig::default() };
        let mut boxes = mesh(2, &mail).expect("mailboxes").into_iter();
        let (first, second) = (boxes.next().expect("two"), boxes.next().expect("two"));
        // Core 0 has the queue; core 1 sends through it.
        let (away, relay) = remote(near.info().clone(), &mail, Arc::clone(first.bell()));
        let owner = Interface::new(near).relay(relay).address(cidr(2));
        let other = Interface::new(away).address(cidr(2));
        let cores = [(first, owner), (second, other)].map(|(mail, interface)| {
            config.build(mail, now, Server::default(), [interface]).expect("a core")
        });
        config.seed = Seed(2);
        let crowd = Crowd::new(IpAddr::V4(SERVER), Habit::Talk(TALKERS));
        let crowd = config
            .build(
                Mailboxes::single().expect("mailboxes"),
                now,
                crowd,
                [Interface::new(far).address(cidr(1))],
            )
            .expect("a crowd");
        Self { cores, crowd, now, peak_buffers: 0 }
    }

    /// Lets time pass while the second core runs or does not.
    fn run(&mut self, span: Duration, both: bool) {
        let end = self.now + span;
        while self.now < end {
            self.cores[0].poll(self.now);
            if both {
                self.cores[1].poll(self.now);
            }
            self.crowd.poll(self.now);
            self.peak_buffers = self.peak_buffers.max(self.cores[0].stack().occupancy().buffers.0);
            self.now += TICK;
        }
    }

    /// Connections that talked in `span`.
    fn talkers(&mut self, span: Duration, both: bool) -> usize {
        let before = self.crowd.app().talked.clone();
        self.run(span, both);
        self.crowd.app().talked.iter().zip(&before).filter(|(after, before)| after > before).count()
    }
}

#[test]
fn a_full_mailbox_drops_and_the_core_that_fills_it_serves_its_own() {
    let mut world = World::new();
    world.run(Duration::from_secs(1), true);
    assert_eq!(world.talkers(Duration::from_millis(100), true), TALKERS as usize);
    let shares = [0, 1].map(|core: usize| world.cores[core].app().echoing);
    assert_eq!(shares.iter().sum::<u32>(), TALKERS);
    assert!(shares.iter().all(|&share| share >= TALKERS / 8), "{shares:?}");

    // The second core stands still: its connections wait, and nobody else does.
    world.run(Duration::from_millis(20), false);
    for _ in 0..20 {
        assert_eq!(world.talkers(Duration::from_millis(100), false), shares[0] as usize);
    }
    let mail = *world.cores[0].mail();
    assert!(mail.dropped_full > 0, "{mail:?}");
    assert!(world.peak_buffers < 512, "{} buffers: frames that do not fit are not kept", world.peak_buffers);

    // It goes on: what was lost is sent again, and nobody has lost a byte or the connection.
    world.run(Duration::from_secs(8), true);
    assert_eq!(world.talkers(Duration::from_millis(100), true), TALKERS as usize);
    let after = world.cores[0].mail().dropped_full;
    world.run(Duration::from_secs(1), true);
    assert_eq!(world.cores[0].mail().dropped_full, after, "nothing is dropped any more");
    assert_eq!(world.crowd.app().broken, 0);
    world.crowd.app_mut().habit = Habit::Leave;
    world.run(Duration::from_secs(2), true);
    for core in &world.cores {
        let left = core.stack().occupancy();
        assert_eq!((left.connections.0, left.items.0, left.buffers.0), (0, 0, 0), "{left:?}");
    }
}
