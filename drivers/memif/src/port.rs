//! One queue of an interface, as the core that polls it sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::{fmt, io};

use freeway_mem::{BufferFile, PacketPool, RxBurst, TxBurst};
use freeway_port::{Armed, Port, PortCounters, PortInfo, RxQueue, TxQueue};
use rustix::event::{Timespec, epoll};

use crate::alarm::Alarm;
use crate::config::{Config, RING_LOG2_MAX, Role, Trust};
use crate::control::Handle;
use crate::link::QueueLink;
use crate::reason::Reason;
use crate::rx::{Rx, RxLoan};
use crate::shared::{LinkStatus, PoolOffer, Queue};
use crate::tx::{Tx, TxLoan};

/// The events of an [`epoll`] set that are looked at together: the bell and the interrupt.
const EVENTS: usize = 2;

/// The bursts in which a lost peer's last frames are received: as many as a ring has slots, so that a core with room
/// for one frame a burst gets all of them.
const LAST_BURSTS: u32 = 1 << RING_LOG2_MAX;

/// One queue of an interface, before a core has it. It may cross threads; the [`Memif`] it becomes may not.
pub struct MemifQueue {
    info: PortInfo,
    queue: Arc<Queue>,
    status: Arc<LinkStatus>,
    /// The bell, and the interrupt of the present connection. Both report by edges, so that nothing of the peer's is
    /// ever read: it could block.
    sleep: OwnedFd,
    handle: Arc<Handle>,
    /// A client that lends its pool: how many slots its rings have at most.
    lends: Option<usize>,
}

impl MemifQueue {
    pub(crate) fn new(
        config: &Config,
        queue: Arc<Queue>,
        status: Arc<LinkStatus>,
        handle: Arc<Handle>,
    ) -> std::io::Result<Self> {
        let sleep = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        watch(&sleep, queue.bell.fd())?;
        let info = PortInfo { mtu: config.mtu, ..PortInfo::new(config.name.as_str()) };
        let lends = (config.role == Role::Client && config.trust == Trust::Full)
            .then_some(1_usize << config.ring_log2);
        Ok(Self { info, queue, status, sleep, handle, lends })
    }

    /// How the interface's connection is doing.
    pub fn status(&self) -> Arc<LinkStatus> {
        Arc::clone(&self.status)
    }

    /// Who the port will be.
    pub const fn info(&self) -> &PortInfo {
        &self.info
    }

    /// The port, for the thread that calls.
    pub fn into_port(self) -> Memif {
        let Self { info, queue, status, sleep, handle, lends } = self;
        let frame_max = info.frame_max();
        // Room for the packets of any connection to come: the data path allocates nothing.
        let (rx_slots, tx_slots) = (lends.unwrap_or(0), lends.unwrap_or(0));
        let loans = match lends {
            Some(_) => Loans::Unattached {
                rx: (0..rx_slots).map(|_| None).collect(),
                tx: (0..tx_slots).map(|_| None).collect(),
            },
            None => Loans::None,
        };
        Memif {
            info,
            frame_max,
            counters: PortCounters::default(),
            seen: u64::MAX,
            link: None,
            loans,
            queue,
            status,
            sleep,
            alarm: Arc::new(Alarm::new()),
            handle,
        }
    }
}

impl fmt::Debug for MemifQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemifQueue").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Packets that the peer may hold.
#[derive(Debug)]
enum Loans {
    /// This end does not lend.
    None,
    /// It would, but has not been attached to a pool yet.
    Unattached { rx: Box<[Option<freeway_mem::Packet>]>, tx: Box<[Option<freeway_mem::SharedPacket>]> },
    /// The pool of this core.
    Of { rx: RxLoan, tx: TxLoan },
}

impl Loans {
    const fn rx(&mut self) -> Option<&mut RxLoan> {
        if let Self::Of { rx, .. } = self { Some(rx) } else { None }
    }

    const fn tx(&mut self) -> Option<&mut TxLoan> {
        if let Self::Of { tx, .. } = self { Some(tx) } else { None }
    }

    /// Nobody has the packets any more: they go back to their pool.
    fn recall(&mut self) {
        if let Self::Of { rx, tx } = self {
            rx.packets.iter_mut().for_each(|place| *place = None);
            tx.packets.iter_mut().for_each(|place| *place = None);
        }
    }
}

/// A connection in use.
#[derive(Debug)]
struct Link {
    rx: Option<Rx>,
    tx: Option<Tx>,
    /// The peer is gone: what it has sent is still received, in so many bursts at most; nothing more is sent.
    ending: Option<u32>,
}

/// One queue of a memif interface as a port. See the [crate](crate).
#[derive(Debug)]
pub struct Memif {
    info: PortInfo,
    frame_max: usize,
    counters: PortCounters,
    /// The generation of connections that has been dealt with.
    seen: u64,
    link: Option<Link>,
    loans: Loans,
    queue: Arc<Queue>,
    status: Arc<LinkStatus>,
    sleep: OwnedFd,
    alarm: Arc<Alarm>,
    /// Keeps the thread that keeps connections; the last port of a call to [`open`](crate::open) ends it.
    handle: Arc<Handle>,
}

impl Memif {
    /// How the interface's connection is doing.
    pub fn status(&self) -> &LinkStatus {
        &self.status
    }

    /// The connection came or went. What cannot be done now is done by a later burst.
    #[cold]
    fn look_at_changes(&mut self) {
        let generation = self.queue.generation();
        if let Some(link) = &mut self.link {
            // First comes what the last peer has sent; then its end; then the next.
            link.ending.get_or_insert(LAST_BURSTS);
            return;
        }
        let Some(mut slot) = self.queue.try_slot() else { return };
        let offered = slot.offered.take();
        drop(slot);
        self.seen = generation;
        if let Some(offered) = offered {
            self.take_up(offered);
        }
    }

    fn take_up(&mut self, offered: QueueLink) {
        let QueueLink { rx, tx, buffers } = offered;
        if let Some(channel) = &rx {
            // Without it a sleeper is not woken, and still finds the frames when it wakes.
            let _ = watch(&self.sleep, &channel.interrupt);
        }
        self.link = Some(Link {
            rx: rx.map(|channel| Rx::new(channel, buffers, self.loans.rx().map(|loan| &*loan))),
            tx: tx.map(|channel| Tx::new(channel, buffers, self.frame_max, Arc::clone(&self.alarm))),
            ending: None,
        });
        self.counters.link_ups += 1;
    }

    /// Lets go of the connection. Its memory is unmapped by the control thread.
    #[cold]
    fn end_link(&mut self) {
        let Some(Link { rx, tx, .. }) = self.link.take() else { return };
        self.counters.link_downs += 1;
        self.loans.recall();
        if let Some(rx) = &rx {
            let _ = epoll::delete(&self.sleep, &rx.channel.interrupt);
        }
        let link = QueueLink {
            rx: rx.map(|rx| rx.channel),
            tx: tx.map(|tx| tx.channel),
            buffers: crate::link::Buffers::Peer,
        };
        if let Some(mut slot) = self.queue.try_slot() {
            slot.give_back(link);
        }
        self.handle.wake();
    }

    /// The peer broke a rule: nothing of its memory is looked at any more.
    #[cold]
    fn accuse(&mut self, reason: Reason) {
        self.queue.report(reason);
        self.end_link();
    }

    #[inline(always)]
    fn has_changes(&self) -> bool {
        self.queue.generation() != self.seen
    }
}

impl RxQueue for Memif {
    #[inline]
    fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize {
        if self.has_changes() {
            self.look_at_changes();
        }
        let before = into.len();
        let Some(link) = &mut self.link else { return 0 };
        let mut ended = link.tx.as_mut().map_or(Ok(()), |tx| tx.reap(self.loans.tx()));
        if let (Ok(()), Some(rx)) = (ended, &mut link.rx) {
            ended = rx.burst(pool, self.loans.rx(), into, &mut self.counters);
        }
        let received = into.len() - before;
        if let Err(reason) = ended {
            self.counters.rx_errors += 1;
            self.accuse(reason);
        } else if let Some(left) = &mut link.ending {
            // A peer that has only closed its socket may go on writing.
            *left = left.saturating_sub(1);
            if *left == 0 || !link.rx.as_ref().is_some_and(Rx::has_frames) {
                self.end_link();
            }
        }
        received
    }

    fn arm(&mut self) -> Armed<'_> {
        let rx = self.link.as_ref().and_then(|link| link.rx.as_ref());
        if let Some(rx) = rx {
            rx.channel.ring.set_interrupts(true);
        }
        forget_events(&self.sleep);
        if self.has_changes() || rx.is_some_and(Rx::has_frames) {
            return Armed::Ready;
        }
        Armed::Fd(self.sleep.as_fd())
    }

    fn disarm(&mut self) {
        if let Some(rx) = self.link.as_ref().and_then(|link| link.rx.as_ref()) {
            rx.channel.ring.set_interrupts(false);
        }
    }
}

impl TxQueue for Memif {
    #[inline]
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
        if self.has_changes() {
            self.look_at_changes();
        }
        let before = from.len();
        let tx = self.link.as_mut().filter(|link| link.ending.is_none()).and_then(|link| link.tx.as_mut());
        let Some(tx) = tx else {
            from.clear();
            self.counters.tx_dropped_no_link += before as u64;
            return before;
        };
        if let Err(reason) = tx.burst(from, self.loans.tx(), &mut self.counters) {
            self.counters.tx_errors += 1;
            self.accuse(reason);
        }
        before - from.len()
    }
}

impl Port for Memif {
    /// Lends the pool from here on, if the peer is trusted and the pool [shared](freeway_mem::PoolConfig::shared). A
    /// client that trusts its peer dials only now.
    fn attach(&mut self, pool: &PacketPool) -> io::Result<()> {
        let (rx, tx) = match &mut self.loans {
            Loans::None => return Ok(()),
            Loans::Of { .. } => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "attached already")),
            Loans::Unattached { rx, tx } => (rx, tx),
        };
        // SAFETY: needed to lend the pool. The configuration says that the peer is trusted like a card (`Trust::Full`,
        // without which there are no loans).
        let file = unsafe { pool.memory().file() };
        // Descriptors name places by 32 bits.
        let offer = match file.filter(|file| u32::try_from(file.bytes).is_ok()) {
            Some(BufferFile { file, bytes }) => {
                let offer = PoolOffer::Shared(file.try_clone_to_owned()?, bytes);
                let (rx, tx) = (std::mem::take(rx), std::mem::take(tx));
                self.loans = Loans::Of {
                    rx: RxLoan { pool: pool.clone(), packets: rx },
                    tx: TxLoan { pool: pool.clone(), packets: tx },
                };
                offer
            }
            None => {
                self.loans = Loans::None;
                PoolOffer::Private
            }
        };
        // The control thread keeps this lock for moments only, and no burst waits for it.
        self.queue.slot().pool = offer;
        self.handle.wake();
        Ok(())
    }

    fn lent(&self) -> u32 {
        self.link.as_ref().and_then(|link| link.rx.as_ref()).map_or(0, Rx::lent)
    }

    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&self) -> PortCounters {
        self.counters
    }
}

/// Packets go home before their pool's handles do.
impl Drop for Memif {
    fn drop(&mut self) {
        self.end_link();
    }
}

/// Takes the edges that have come so far: what they tell of is looked for afterwards.
fn forget_events(sleep: &OwnedFd) {
    let nothing = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A failure leaves an edge, which ends the next sleep for nothing.
    let _ = epoll::wait(sleep, &mut [nothing; EVENTS], Some(&now));
}

fn watch(sleep: &OwnedFd, file: &OwnedFd) -> std::io::Result<()> {
    let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
    Ok(epoll::add(sleep, file, epoll::EventData::new_u64(0), edges)?)
}
