//! No wake-up is lost, however arming, arriving and sleeping meet.
//!
//! ```text
//!   peer's thread                      port's thread
//!   pause, send n, wait for n ──────►  nothing there: arm, look, sleep ─► woken, take n, send n back, pause
//!        ▲───────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! There is one frame under way, so nothing but its own arrival can end the sleep: a wake-up that is lost is a sleep
//! that lasts until patience ends, and that is a failure.

use std::time::{Duration, Instant};

use freeway_base::{Rng, Seed};
use freeway_mem::{PacketPool, RxBurst, TxBurst};

use super::Peer;
use super::bench::{SHORTEST, frame, is_ours, number_of};
use super::checks::is_readable;
use crate::queue::{Armed, Port};

/// Rounds where the environment does not say.
const ROUNDS: u32 = 2_000;
/// What says otherwise.
const VARIABLE: &str = "FREEWAY_WAKE_ROUNDS";
/// How long one round may take on a machine that does a hundred other things.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the first frame is sent again: the other end may not be there yet.
const AGAIN: Duration = Duration::from_millis(20);
/// The frame that ends it.
const LAST: u32 = u32::MAX;

/// Sends one frame back and forth between a peer and a port that sleeps whenever it has nothing, with random pauses on
/// both sides: 2,000 times, or as often as `FREEWAY_WAKE_ROUNDS` in the environment says. The port is attached to
/// `pool` already; the peer is made on a thread of its own, where it stays.
///
/// # Panics
///
/// A wake-up was lost, or the other end cannot be reached at all.
pub fn no_wake_up_is_lost<P: Port, Q: Peer>(port: P, pool: &PacketPool, peer: impl FnOnce() -> Q + Send) {
    let rounds = match std::env::var(VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{VARIABLE}={text}: a number of rounds")),
        Err(_) => ROUNDS,
    };
    converse(port, pool, peer, rounds, PATIENCE);
}

fn converse<P: Port, Q: Peer>(
    mut port: P,
    pool: &PacketPool,
    peer: impl FnOnce() -> Q + Send,
    rounds: u32,
    patience: Duration,
) {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| plays(peer(), rounds, 2 * patience));
        let slept = echoes(&mut port, pool, patience);
        if let Err(panic) = other.join() {
            std::panic::resume_unwind(panic);
        }
        // Otherwise nothing was tested.
        assert!(slept >= rounds / 4, "it slept {slept} times in {rounds} rounds");
    });
}

/// Sends frames back until the last one. Returns how many sleeps there were.
fn echoes<P: Port>(port: &mut P, pool: &PacketPool, patience: Duration) -> u32 {
    let mut rng = Rng::new(Seed(1));
    let (mut burst, mut answers) = (RxBurst::new(), TxBurst::new());
    let (mut slept, mut heard) = (0, None);
    loop {
        port.rx_burst(pool, &mut burst);
        for packet in burst.drain(..).filter(|packet| is_ours(packet.data())) {
            heard = Some(number_of(packet.data()));
            answers.push(packet.share());
        }
        if !answers.is_empty() {
            let begun = Instant::now();
            while !answers.is_empty() {
                port.tx_burst(&mut answers);
                assert!(begun.elapsed() < patience, "no room for one frame");
            }
            if heard == Some(LAST) {
                return slept;
            }
            pause(&mut rng);
            continue;
        }
        let woken = match port.arm() {
            Armed::Ready => true,
            Armed::Fd(fd) => {
                slept += 1;
                is_readable(&fd, patience)
            }
            Armed::Never => panic!("frames do arrive at this port"),
        };
        port.disarm();
        assert!(woken, "a wake-up was lost after frame {heard:?}");
    }
}

fn plays<Q: Peer>(mut peer: Q, rounds: u32, patience: Duration) {
    let mut rng = Rng::new(Seed(2));
    for number in (0..rounds).chain([LAST]) {
        pause(&mut rng);
        let begun = Instant::now();
        let mut sent_at = None;
        loop {
            // Once it was heard, a frame is sent once: a second one would wake whom the first did not.
            let is_due = sent_at.is_none_or(|at: Instant| number == 0 && at.elapsed() > AGAIN);
            if is_due && peer.send(&frame(number, SHORTEST)) {
                sent_at = Some(Instant::now());
            }
            if peer.receive().is_some_and(|bytes| is_ours(&bytes) && number_of(&bytes) == number) {
                break;
            }
            assert!(begun.elapsed() < patience, "no answer to frame {number}");
            std::thread::yield_now();
        }
    }
}

/// From none at all to some tens of microseconds: the way to sleep and the way back are within that.
fn pause(rng: &mut Rng) {
    let most = 1 << (4 + 2 * rng.below(6));
    for _ in 0..rng.below(most) {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::fd::{AsFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;
    use crate::conformance::{PortPeer, pool_for};
    use crate::info::PortInfo;
    use crate::pipe::{Pipe, PipeConfig, pipe};
    use crate::queue::{PortCounters, RxQueue, TxQueue};

    /// A pipe that looks at its frames and then forgets to ask for a wake-up.
    struct Forgetful {
        pipe: Pipe,
        fd: OwnedFd,
    }

    impl RxQueue for Forgetful {
        fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize {
            self.pipe.rx_burst(pool, into)
        }

        fn arm(&mut self) -> Armed<'_> {
            if matches!(self.pipe.arm(), Armed::Ready) {
                return Armed::Ready;
            }
            self.pipe.disarm();
            Armed::Fd(self.fd.as_fd())
        }

        fn disarm(&mut self) {}
    }

    impl TxQueue for Forgetful {
        fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
            self.pipe.tx_burst(from)
        }
    }

    impl Port for Forgetful {
        fn info(&self) -> &PortInfo {
            self.pipe.info()
        }

        fn counters(&self) -> PortCounters {
            self.pipe.counters()
        }
    }

    #[test]
    #[should_panic = "a wake-up was lost"]
    fn a_lost_wake_up_is_found() {
        let (pipe, far) = pipe(&PipeConfig::default()).unwrap();
        let port = Forgetful { pipe, fd: eventfd(0, EventfdFlags::CLOEXEC).unwrap() };
        let pool = pool_for(port.info(), 64);
        converse(port, &pool, || PortPeer::new(far), 1_000, Duration::from_millis(300));
    }
}
