//! A server whose client lies: each lie is counted by its name, told to the liar, and ends the connection; the server
//! goes on.
#![allow(clippy::unwrap_used)]

use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use freeway_base::{Rng, Seed};
use freeway_mem::{PacketPool, RxBurst};
use freeway_memif::message::{AddRing, Message, Text};
use freeway_memif::{Config, Memif, Patience, Reason, Role};
use freeway_port::{Port, RxQueue};
use rustix::fs::{OFlags, SealFlags, fcntl_getfl, fcntl_setfl};

use crate::lab::{config, ended, meet, open_one, path, pool, receive, send, until, ups_and_downs};
use crate::liar::{self, BYTES, Desc, Liar, Memory, SLOTS, TO_CLIENT, TO_SERVER, desc};

/// What is done to the shared memory.
type Lie = dyn Fn(&Memory);

struct Victim {
    port: Memif,
    pool: PacketPool,
    path: PathBuf,
}

impl Victim {
    fn new() -> Self {
        let path = path();
        let port = open_one(&config(Role::Server, path.clone())).into_port();
        Self { port, pool: pool(64, false), path }
    }

    /// A liar that has been let in, and is served.
    fn visited(&mut self) -> Liar {
        let ups = self.port.counters().link_ups;
        let liar = Liar::connected(&self.path);
        until("the link", || {
            self.poll();
            self.port.counters().link_ups > ups
        });
        liar
    }

    fn poll(&mut self) -> RxBurst {
        let mut burst = RxBurst::new();
        self.port.rx_burst(&self.pool, &mut burst);
        burst
    }

    /// The connection ends for this reason, and an honest client is served.
    fn ends_for(&mut self, reason: Reason, liar: &Liar) {
        assert_eq!(liar.goodbye(), reason.text());
        until("the end", || {
            self.poll();
            ended(self.port.status(), reason) && !self.port.status().is_up()
        });
        assert_eq!(self.port.status().last_reason(), Some(reason));
        self.serves();
    }

    fn serves(&mut self) {
        let mut honest = open_one(&config(Role::Client, self.path.clone())).into_port();
        let ups = self.port.counters().link_ups;
        until("an honest link", || {
            self.poll();
            honest.rx_burst(&self.pool, &mut RxBurst::new());
            self.port.counters().link_ups > ups && honest.counters().link_ups == 1
        });
        assert!(send(&mut honest, &self.pool, b"honest"));
        assert_eq!(receive(&mut self.port, &self.pool).unwrap(), b"honest");
        drop(honest);
        until("the honest end", || {
            self.poll();
            !self.port.status().is_up() && self.port.counters().link_ups == self.port.counters().link_downs
        });
        assert_eq!(self.pool.in_use(), 0);
    }
}

/// A client in order may lie about its rings later.
#[test]
fn lies_about_what_was_sent() {
    let with = |desc: Desc| {
        move |memory: &Memory| {
            memory.set_desc(TO_SERVER, 0, desc);
            memory.set_head(TO_SERVER, 1);
        }
    };
    let lies: [(Box<Lie>, Reason); 8] = [
        (Box::new(|memory| memory.set_head(TO_SERVER, SLOTS + 1)), Reason::RingIndices),
        (Box::new(|memory| memory.set_head(TO_SERVER, u16::MAX)), Reason::RingIndices),
        (Box::new(with(Desc { region: 1, ..desc(60) })), Reason::Descriptor),
        (Box::new(with(Desc { region: u16::MAX, ..desc(60) })), Reason::Descriptor),
        (Box::new(with(Desc { offset: BYTES as u32 - 59, ..desc(60) })), Reason::Descriptor),
        (Box::new(with(Desc { offset: u32::MAX, ..desc(u32::MAX) })), Reason::Descriptor),
        (Box::new(with(Desc { offset: 0, ..desc(BYTES as u32 + 1) })), Reason::Descriptor),
        (
            Box::new(|memory| {
                (0..SLOTS).for_each(|slot| memory.set_desc(TO_SERVER, slot, Desc { flags: 1, ..desc(1) }));
                memory.set_head(TO_SERVER, SLOTS);
            }),
            Reason::EndlessChain,
        ),
    ];
    let mut victim = Victim::new();
    for (lie, reason) in lies {
        let liar = victim.visited();
        let errors = victim.port.counters().rx_errors;
        lie(&liar.memory);
        until("the lie is found out", || {
            assert!(victim.poll().is_empty(), "a lie was received");
            victim.port.counters().rx_errors > errors
        });
        victim.ends_for(reason, &liar);
    }
}

#[test]
fn lies_about_what_may_be_written_to() {
    let lies: [(&Lie, Reason); 4] = [
        (&|memory: &Memory| memory.set_head(TO_CLIENT, SLOTS + 1), Reason::RingIndices),
        (
            &|memory: &Memory| {
                memory.set_desc(TO_CLIENT, 0, Desc { region: 9, ..desc(2_048) });
                memory.set_head(TO_CLIENT, 1);
            },
            Reason::Descriptor,
        ),
        (
            &|memory: &Memory| {
                memory.set_desc(TO_CLIENT, 0, Desc { offset: BYTES as u32, ..desc(1) });
                memory.set_head(TO_CLIENT, 1);
            },
            Reason::Descriptor,
        ),
        (
            // The first is in order and too short for the frame, the second is the lie.
            &|memory: &Memory| {
                memory.set_desc(TO_CLIENT, 0, desc(2));
                memory.set_desc(TO_CLIENT, 1, Desc { offset: u32::MAX, ..desc(2_048) });
                memory.set_head(TO_CLIENT, 2);
            },
            Reason::Descriptor,
        ),
    ];
    let mut victim = Victim::new();
    for (lie, reason) in lies {
        let liar = victim.visited();
        lie(&liar.memory);
        let errors = victim.port.counters().tx_errors;
        send(&mut victim.port, &victim.pool, &[7; 60]);
        assert_eq!(victim.port.counters().tx_errors, errors + 1);
        victim.ends_for(reason, &liar);
    }
}

/// What is odd and yet allowed costs nothing but itself.
#[test]
fn an_interrupt_that_makes_its_writers_wait_stops_nobody() {
    let mut victim = Victim::new();
    let liar = victim.visited();
    // The flag was set when it was handed over, and is taken away again.
    let flags = fcntl_getfl(&liar.interrupt).unwrap();
    assert!(flags.contains(OFlags::NONBLOCK));
    fcntl_setfl(&liar.interrupt, flags - OFlags::NONBLOCK).unwrap();
    rustix::io::write(&liar.interrupt, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    (0..SLOTS).for_each(|slot| liar.memory.set_desc(TO_CLIENT, slot, desc(2_048)));
    liar.memory.set_head(TO_CLIENT, SLOTS);
    for number in 1..=SLOTS {
        assert!(send(&mut victim.port, &victim.pool, &[1; 60]));
        assert_eq!(liar.memory.tail(TO_CLIENT), number);
    }
}

#[test]
fn odd_frames_are_dropped_and_the_link_stays() {
    let mut victim = Victim::new();
    let liar = victim.visited();
    let memory = &liar.memory;
    memory.0.write_all_at(b"abcdefgh", 8_192).unwrap();
    // A frame without bytes, one longer than a packet, a chain longer than a packet, a chain that is in order.
    memory.set_desc(TO_SERVER, 0, desc(0));
    memory.set_desc(TO_SERVER, 1, desc(8_000));
    memory.set_desc(TO_SERVER, 2, Desc { flags: 1, ..desc(1_500) });
    memory.set_desc(TO_SERVER, 3, desc(1_500));
    memory.set_desc(TO_SERVER, 4, Desc { flags: 1, ..desc(3) });
    memory.set_desc(TO_SERVER, 5, Desc { flags: 1, ..desc(0) });
    memory.set_desc(TO_SERVER, 6, Desc { offset: 8_195, ..desc(5) });
    memory.set_head(TO_SERVER, 7);
    let mut received = RxBurst::new();
    until("the chain", || {
        received.extend(victim.poll());
        !received.is_empty()
    });
    assert_eq!(received.pop().unwrap().data(), b"abcdefgh");
    let counters = victim.port.counters();
    assert_eq!((counters.rx_errors, counters.rx_dropped_too_long, counters.rx_frames), (1, 2, 1));
    assert_eq!(memory.tail(TO_SERVER), 7);
    // A chain whose end is not there yet waits for it.
    memory.set_desc(TO_SERVER, 7, Desc { flags: 1, ..desc(4) });
    memory.set_head(TO_SERVER, 8);
    for _ in 0..10 {
        assert!(victim.poll().is_empty());
    }
    memory.set_desc(TO_SERVER, 0, Desc { offset: 8_196, ..desc(4) });
    memory.set_head(TO_SERVER, 9);
    assert_eq!(victim.poll().pop().unwrap().data(), b"abcdefgh");
    // Buffers without room: nothing can ever be sent.
    (0..SLOTS).for_each(|slot| memory.set_desc(TO_CLIENT, slot, desc(0)));
    memory.set_head(TO_CLIENT, SLOTS);
    assert!(send(&mut victim.port, &victim.pool, &[7; 60]), "taken and dropped");
    assert_eq!((victim.port.counters().tx_dropped_too_long, memory.tail(TO_CLIENT)), (1, 0));
    // Buffers of a few bytes each.
    (0..SLOTS).for_each(|slot| memory.set_desc(TO_CLIENT, slot, desc(9)));
    assert!(send(&mut victim.port, &victim.pool, &[7; 60]));
    assert_eq!(memory.tail(TO_CLIENT), 7);
    let flags: Vec<_> = (0..7).map(|slot| memory.u16_at(TO_CLIENT + 128 + 16 * slot)).collect();
    assert_eq!(flags, [1, 1, 1, 1, 1, 1, 0]);
    assert_eq!(memory.u16_at(TO_CLIENT + 128 + 16 * 6 + 4), 60 - 6 * 9, "the rest");
    assert_eq!(ups_and_downs(&victim.port), (1, 0));
}

/// What a client may say before it is let in, and shall not.
#[test]
fn lies_in_the_handshake() {
    let mut victim = Victim::new();
    let ring = |change: fn(&mut AddRing)| {
        let mut place =
            AddRing { to_server: true, index: 0, region: 0, offset: 0, log2_size: 3, private_header: 0 };
        change(&mut place);
        Message::AddRing(place)
    };
    let unsealed = Memory::new(BYTES, SealFlags::empty());
    let short = Memory::new(100, SealFlags::SHRINK);
    let blank = Memory::new(BYTES, SealFlags::SHRINK);
    let (pipe, _other_end) = std::io::pipe().unwrap();
    let region = Message::AddRegion { index: 0, size: BYTES };
    // Which of the five messages is replaced, by what, and with which file.
    let lies = [
        (0, Message::Ack, None, Reason::OutOfOrder),
        (0, Message::Connected { name: Text::default() }, None, Reason::OutOfOrder),
        (1, Message::AddRegion { index: 1, size: BYTES }, Some(blank.0.as_fd()), Reason::RegionIndex),
        (1, Message::AddRegion { index: 0, size: 0 }, Some(blank.0.as_fd()), Reason::RegionSize),
        (1, Message::AddRegion { index: 0, size: u64::MAX }, Some(blank.0.as_fd()), Reason::RegionSize),
        (1, region, None, Reason::RegionFile),
        (1, region, Some(unsealed.0.as_fd()), Reason::RegionKind),
        (1, region, Some(pipe.as_fd()), Reason::RegionKind),
        (1, region, Some(short.0.as_fd()), Reason::RegionSize),
        (1, region, Some(blank.0.as_fd()), Reason::RingCookie),
        (2, ring(|place| place.index = 1), Some(pipe.as_fd()), Reason::RingIndex),
        (2, ring(|place| place.log2_size = 15), Some(pipe.as_fd()), Reason::RingSize),
        (2, ring(|_| ()), None, Reason::Interrupt),
        (2, ring(|_| ()), Some(pipe.as_fd()), Reason::Interrupt),
        (2, ring(|place| place.private_header = 1), Some(pipe.as_fd()), Reason::PrivateHeader),
        (2, ring(|place| place.region = 3), Some(pipe.as_fd()), Reason::RingPlace),
        (2, ring(|place| place.offset = BYTES as u32 - 8), Some(pipe.as_fd()), Reason::RingPlace),
        (2, ring(|place| place.offset = 1), Some(pipe.as_fd()), Reason::RingPlace),
    ];
    for (place, message, file, reason) in lies {
        let before = victim.port.status().ended(reason);
        let liar = Liar::dial(&victim.path);
        for (number, (said, with)) in liar.script().into_iter().enumerate() {
            let (said, with) = if number == place { (message, file) } else { (said, with) };
            liar.say(&said, with);
        }
        assert_eq!(liar.goodbye(), reason.text(), "{message:?}");
        assert_eq!(victim.port.status().ended(reason), before + 1);
        assert!(!victim.port.status().is_up());
    }
    for (bytes, reason) in [(vec![1; 127], Reason::MessageSize), (vec![9; 128], Reason::MessageType)] {
        let liar = Liar::dial(&victim.path);
        liar::send(&liar.socket, &bytes, None);
        assert_eq!(liar.goodbye(), reason.text());
    }
    // Talking on when all has been said.
    let liar = victim.visited();
    liar.say(&liar::init(), None);
    victim.ends_for(Reason::OutOfOrder, &liar);
}

#[test]
fn silent_strangers_and_crowds_are_shown_out() {
    let path = path();
    let patience = Patience { handshake: Duration::from_millis(50), ..Patience::default() };
    let port = open_one(&Config { patience, ..config(Role::Server, path.clone()) }).into_port();
    let mut victim = Victim { port, pool: pool(64, false), path };
    let silent = Liar::dial(&victim.path);
    assert_eq!(silent.goodbye(), Reason::TimedOut.text());
    let crowd: Vec<_> = (0..100).map(|_| Liar::dial(&victim.path)).collect();
    until("some are shown out", || {
        let status = victim.port.status();
        status.ended(Reason::TooMany) + status.ended(Reason::TimedOut) > 50
    });
    victim.serves();
    drop(crowd);
}

/// Descriptors that change all the time, between what is in order and what is not. Whatever is read is checked.
#[test]
fn descriptors_that_change_while_they_are_read() {
    let mut victim = Victim::new();
    let mut frames = 0;
    for round in 0..50_u64 {
        let liar = victim.visited();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut rng = Rng::new(Seed(round));
                let mut head = 0_u16;
                while !stop.load(Ordering::Relaxed) {
                    let slot = rng.below(u32::from(SLOTS)) as u16;
                    let wild = rng.below(64) == 0;
                    let length = if wild { rng.next_u64() as u32 } else { rng.below(2_000) };
                    let flags = u16::from(rng.below(4) == 0);
                    liar.memory.set_desc(TO_SERVER, slot, Desc { flags, ..desc(length) });
                    liar.memory.set_desc(TO_CLIENT, slot, Desc { flags, ..desc(length) });
                    head = head
                        .wrapping_add(rng.below(3) as u16)
                        .min(liar.memory.tail(TO_SERVER).wrapping_add(SLOTS));
                    liar.memory.set_head(TO_SERVER, head);
                    liar.memory.set_head(TO_CLIENT, liar.memory.tail(TO_CLIENT).wrapping_add(SLOTS));
                }
            });
            let (before, downs) = (frames, victim.port.counters().link_downs);
            until("frames, or a lie", || {
                let burst = victim.poll();
                assert!(burst.iter().all(|packet| !packet.is_empty() && packet.len() <= 1_920));
                frames += burst.len();
                drop(burst);
                send(&mut victim.port, &victim.pool, &[1; 60]);
                frames >= before + 300 || victim.port.counters().link_downs > downs
            });
            stop.store(true, Ordering::Relaxed);
        });
        drop(liar);
        until("the end", || {
            victim.poll();
            victim.port.counters().link_ups == victim.port.counters().link_downs
                && !victim.port.status().is_up()
        });
    }
    assert!(frames > 100, "only {frames} frames passed");
    assert!(victim.port.status().ended(Reason::Descriptor) > 0, "no lie was found out");
    victim.serves();
}

/// All bytes of the rings at random.
#[test]
fn noise_in_the_rings() {
    let mut victim = Victim::new();
    let mut rng = Rng::new(Seed(7));
    for _ in 0..200 {
        let liar = victim.visited();
        for _ in 0..20 {
            let at = rng.below(300);
            let noise: Vec<u8> = (0..rng.below(16)).map(|_| rng.next_u64() as u8).collect();
            for ring in [TO_SERVER, TO_CLIENT] {
                liar.memory.0.write_all_at(&noise, ring + u64::from(at)).unwrap();
            }
            victim.poll();
            send(&mut victim.port, &victim.pool, &[1; 60]);
        }
        drop(liar);
        until("the end", || {
            victim.poll();
            victim.port.counters().link_ups == victim.port.counters().link_downs
                && !victim.port.status().is_up()
        });
    }
    assert_eq!(victim.pool.in_use(), 0);
    victim.serves();
}

/// The two roles meet a liar alike; here the server lies, by writing to the client's memory.
#[test]
fn servers_that_lie() {
    let lies: [(&Lie, Reason); 4] = [
        // More filled than was lent, more read than was sent.
        (&|memory: &Memory| memory.set_tail(RING_TO_CLIENT, 1_025), Reason::RingIndices),
        (&|memory: &Memory| memory.set_tail(0, 1), Reason::RingIndices),
        (
            &|memory: &Memory| {
                memory.set_desc(RING_TO_CLIENT, 0, desc(2_049));
                memory.set_tail(RING_TO_CLIENT, 1);
            },
            Reason::Length,
        ),
        (
            &|memory: &Memory| {
                (0..1_024)
                    .for_each(|slot| memory.set_desc(RING_TO_CLIENT, slot, Desc { flags: 1, ..desc(1) }));
                memory.set_tail(RING_TO_CLIENT, 1_024);
            },
            Reason::EndlessChain,
        ),
    ];
    /// The second ring of a client with one queue and 1,024 slots.
    const RING_TO_CLIENT: u64 = 128 + 16 * 1_024;
    for lends in [false, true] {
        for (lie, reason) in lies {
            let path = path();
            let mut own = config(Role::Client, path.clone());
            if lends {
                crate::lab::trusting(&mut own);
            }
            let pool = pool(4_096, lends);
            let mut client = open_one(&own).into_port();
            client.attach(&pool).unwrap();
            let (socket, memory) = liar::serve(&path);
            until("the link", || {
                client.rx_burst(&pool, &mut RxBurst::new());
                client.counters().link_ups == 1
            });
            client.rx_burst(&pool, &mut RxBurst::new());
            assert_eq!(memory.head(RING_TO_CLIENT), 1_024);
            lie(&memory);
            client.rx_burst(&pool, &mut RxBurst::new());
            send(&mut client, &pool, &[1; 60]);
            assert_eq!(liar::goodbye(&socket), reason.text());
            until("the end", || {
                client.rx_burst(&pool, &mut RxBurst::new());
                client.counters().link_downs == 1
            });
            assert!(ended(client.status(), reason));
            assert_eq!(pool.in_use(), 0);
            assert!(client.counters().rx_errors + client.counters().tx_errors > 0);
            drop(socket);
            // An honest server in its place.
            std::fs::remove_file(&path).unwrap();
            let mut honest = config(Role::Server, path);
            if lends {
                // A pool with huge pages, where the machine has some, is taken from trusted clients only.
                crate::lab::trusting(&mut honest);
            }
            let mut server = open_one(&honest).into_port();
            until("an honest link", || {
                client.rx_burst(&pool, &mut RxBurst::new());
                server.rx_burst(&pool, &mut RxBurst::new());
                client.counters().link_ups == 2 && server.counters().link_ups == 1
            });
            if !lends {
                meet(&pool, &mut [&mut server]);
            }
        }
    }
}
