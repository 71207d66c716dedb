//! Going to sleep without missing anything.
//!
//! The order matters: ask every source for a wake-up, look at every source once more, and only then sleep. A
//! frame that comes between the asking and the sleeping makes a descriptor readable, so the sleep ends at once.

use arrayvec::ArrayVec;
use freeway_base::{Duration, Instant};
use freeway_port::Armed;
use freeway_stack::Application;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::uptime;
use crate::core::Core;
use crate::link::Link;
use crate::look::Look;
use crate::mailbox::Mailboxes;

/// Interfaces that one core can wait for.
pub(crate) const LINKS_MAX: usize = 64;

/// How soon a port that was full is tried again: devices tell when frames arrive, not when room is made.
const BLOCKED: Duration = Duration::from_micros(100);

/// How soon a core looks again for room in a full ring of rows.
const READ: Duration = Duration::from_micros(200);

/// How a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woke {
    /// There was something to do after all: the core did not sleep.
    Awake,
    /// By a port, another core, or whoever else rang the bell.
    Descriptor,
    /// The time was up.
    Timeout,
}

/// What ended a sleep, as far as its moment is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    Deadline,
    RungAt(Instant),
    /// A device, or no sleep at all.
    Untold,
}

impl<A: Application> Core<A> {
    /// Sleeps until something arrives or the next deadline comes, but no longer than `at_most`. Does not sleep
    /// at all if there is something to do.
    pub fn sleep(&mut self, now: Instant, at_most: Duration) -> Woke {
        let span = self.spare_time(now, at_most);
        let woke = if span == Duration::ZERO {
            Woke::Awake
        } else {
            let fell_asleep = uptime();
            let app = &mut self.app;
            let (woke, cause) = arm_and_wait(&mut self.links, &mut self.mail, || app.has_mail(), span);
            if woke != Woke::Awake {
                let awake = uptime();
                self.idle.asleep_ns += awake.since(fell_asleep).as_nanos();
                match cause {
                    Cause::Deadline => self.wake.note(awake.since(fell_asleep + span)),
                    Cause::RungAt(at) if at >= fell_asleep => self.wake.note(awake.since(at)),
                    // One that was rung before, and too late for the sleep it was for, says nothing of this one.
                    Cause::RungAt(_) | Cause::Untold => {}
                }
            }
            woke
        };
        match woke {
            Woke::Awake => self.idle.stayed_awake += 1,
            Woke::Descriptor => self.idle.woken_by_fd += 1,
            Woke::Timeout => self.idle.woken_by_timer += 1,
        }
        self.idle.sleeps += u64::from(woke != Woke::Awake);
        woke
    }

    /// How long nothing needs to be done, as far as this core knows.
    fn spare_time(&self, now: Instant, at_most: Duration) -> Duration {
        if self.has_work() || self.look.as_ref().is_some_and(Look::has_work) {
            return Duration::ZERO;
        }
        // Whoever reads rows rings no bell when there is room for more.
        let is_read = self.look.as_ref().is_some_and(Look::is_waiting);
        let at_most = if is_read { at_most.min(READ) } else { at_most };
        let until_deadline = self.next_deadline().map_or(at_most, |deadline| deadline.since(now));
        let until_retry = if self.is_blocked() { BLOCKED } else { at_most };
        at_most.min(until_deadline).min(until_retry)
    }
}

/// Asks everyone for a wake-up, looks once more, and waits for `span`.
fn arm_and_wait(
    links: &mut [Link],
    mail: &mut Mailboxes,
    app_has_mail: impl FnOnce() -> bool,
    span: Duration,
) -> (Woke, Cause) {
    mail.bell().arm();
    let mut awake = mail.has_mail() || app_has_mail() || links.iter_mut().any(Link::has_relay_work);
    let mut rung = false;
    let mut woke = Woke::Awake;
    if !awake {
        let mut sources: ArrayVec<PollFd<'_>, { LINKS_MAX + 1 }> = ArrayVec::new();
        sources.push(PollFd::new(mail.bell(), PollFlags::IN));
        for link in links.iter_mut() {
            match link.port.arm() {
                Armed::Ready => awake = true,
                Armed::Fd(fd) => sources.push(PollFd::from_borrowed_fd(fd, PollFlags::IN)),
                Armed::Never => {}
            }
        }
        if !awake {
            woke = wait(&mut sources, span);
        }
        rung = sources.first().is_some_and(|bell| bell.revents().contains(PollFlags::IN));
        drop(sources);
        for link in links {
            link.port.disarm();
        }
    }
    let cause = match woke {
        Woke::Timeout => Cause::Deadline,
        Woke::Descriptor if rung => Cause::RungAt(mail.bell().rung_at()),
        Woke::Descriptor | Woke::Awake => Cause::Untold,
    };
    mail.bell().disarm(rung);
    (woke, cause)
}

fn wait(sources: &mut [PollFd<'_>], span: Duration) -> Woke {
    let span = span.to_std();
    let timeout = Timespec { tv_sec: span.as_secs() as i64, tv_nsec: i64::from(span.subsec_nanos()) };
    match poll(sources, Some(&timeout)) {
        Ok(0) => Woke::Timeout,
        // An interrupted sleep is like a wake-up: the loop looks around and sleeps again.
        Ok(_) | Err(_) => Woke::Descriptor,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time;

    use freeway_base::{HashKey, Rng, Seed};
    use freeway_mem::{PacketPool, RxBurst, TxBurst};
    use freeway_port::{PipeConfig, pipe};
    use freeway_stack::net::IfaceId;

    use super::*;
    use crate::core::Attachment;
    use crate::mailbox::{MailConfig, mesh};
    use crate::testing::{packet, pool};

    const ROUNDS: u32 = 50_000;
    const LAN: IfaceId = IfaceId(0);

    /// A pause about as long as the way from arming to sleeping, so that the frame comes at every moment of it.
    fn pause(rng: &mut Rng) {
        for _ in 0..rng.below(1_500) {
            std::hint::spin_loop();
        }
    }

    /// Sleeps until `arrived` finds something. Time may never end a sleep: the frame is on its way.
    fn wait_for(
        links: &mut [Link],
        mail: &mut Mailboxes,
        mut arrived: impl FnMut(&mut [Link], &mut Mailboxes) -> bool,
    ) {
        while !arrived(links, mail) {
            let (woke, _) = arm_and_wait(links, mail, || false, Duration::from_secs(20));
            assert_ne!(woke, Woke::Timeout, "a wake-up was lost");
        }
    }

    /// One frame goes back and forth: there through a mailbox, back through a pipe, each side asleep while it
    /// waits, both pausing at random so that arming, publishing, ringing and sleeping meet in every order.
    #[test]
    fn no_wake_up_is_lost() {
        let mut boxes = mesh(2, &MailConfig::default()).unwrap();
        let (mut there, mut here) = (boxes.pop().unwrap(), boxes.pop().unwrap());
        let (near, far) = pipe(&PipeConfig::default()).unwrap();
        let deadline = time::Instant::now() + time::Duration::from_secs(3);
        let echo = std::thread::spawn(move || {
            let (pool, mut rng) = (pool(8), Rng::new(Seed(1)));
            let mut links = [link(far)];
            let mut echoed = 0;
            loop {
                let mut burst = RxBurst::new();
                wait_for(&mut [], &mut there, |_, mail| mail.take(0, &pool, &mut burst).is_some());
                let last = burst[0].data() == b"last";
                pause(&mut rng);
                let mut frames = TxBurst::from_iter(burst.into_iter().map(freeway_mem::Packet::share));
                links[0].port.tx_burst(&mut frames);
                echoed += 1;
                if last {
                    return echoed;
                }
            }
        });
        let (pool, mut rng) = (pool(8), Rng::new(Seed(2)));
        let mut links = [link(near)];
        let mut rounds = 0;
        let mut over = false;
        while !over {
            over = rounds + 1 == ROUNDS || time::Instant::now() > deadline;
            pause(&mut rng);
            here.hand_over(1, LAN, &packet(&pool, if over { b"last" } else { b"ping" }));
            here.send();
            wait_for(&mut links, &mut here, |links, _| received(&mut links[0], &pool));
            rounds += 1;
        }
        assert_eq!(echo.join().unwrap(), rounds);
        assert!(rounds > 100, "only {rounds} rounds: too few to find a race");
    }

    fn received(link: &mut Link, pool: &PacketPool) -> bool {
        link.port.rx_burst(pool, &mut RxBurst::new()) > 0
    }

    fn link(port: impl freeway_port::Port + 'static) -> Link {
        Link::new(Attachment::new(LAN, Box::new(port)), HashKey::new([1, 2]), 0, 1)
    }

    #[test]
    fn a_sleep_ends_when_its_time_is_up() {
        let mut mail = Mailboxes::single().unwrap();
        assert_eq!(
            arm_and_wait(&mut [], &mut mail, || false, Duration::from_millis(2)),
            (Woke::Timeout, Cause::Deadline)
        );
    }

    #[test]
    fn mail_that_is_there_already_keeps_a_core_awake() {
        let pool = pool(4);
        let mut all = mesh(2, &MailConfig::default()).unwrap();
        all[0].hand_over(1, LAN, &packet(&pool, b"frame"));
        all[0].send();
        let (woke, cause) = arm_and_wait(&mut [], &mut all[1], || false, Duration::from_secs(20));
        assert_eq!((woke, cause), (Woke::Awake, Cause::Untold));
    }

    #[test]
    fn a_bell_ends_a_sleep_once() {
        let mut mail = Mailboxes::single().unwrap();
        let before = uptime();
        mail.bell().signal();
        let after = uptime();
        let (woke, cause) = arm_and_wait(&mut [], &mut mail, || false, Duration::from_secs(20));
        let Cause::RungAt(at) = cause else { panic!("{cause:?}") };
        assert!(woke == Woke::Descriptor && before <= at && at <= after);
        assert_eq!(arm_and_wait(&mut [], &mut mail, || false, Duration::from_millis(1)).0, Woke::Timeout);
    }
}
