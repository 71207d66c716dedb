//! The queues that one core serves, as a port.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use freeway_mem::{PacketPool, RxBurst, TxBurst};
use freeway_port::{Armed, CounterVisit, Port, PortCounters, PortInfo, RxQueue, TxQueue};
use rustix::event::epoll;

use crate::device::Shared;
use crate::program::{VerdictReader, Verdicts};
use crate::questions::{self, Fate};
use crate::queue::{Queue, mark_unfilled};
use crate::resolver::{Answer, Asking, Resolver};

/// One core's queues of an interface. See the [crate](crate).
///
/// Frames are received from all of them in turn, and sent by the first.
pub struct Afxdp {
    info: PortInfo,
    shared: Arc<Shared>,
    numbers: Vec<u32>,
    /// Empty until the port is attached to a pool.
    queues: Vec<Queue>,
    /// What asks Linux for neighbours, on shared addresses.
    asking: Option<Asking>,
    /// Wakes by any of several queues, or an answer; none where there is only one queue.
    epoll: Option<OwnedFd>,
    /// The queue to begin with in the next turn.
    next: usize,
    marks_unfilled: bool,
    counters: PortCounters,
    /// What the program made of all frames; the port of queue 0 shows it.
    verdicts: Option<RefCell<Shown>>,
}

/// The program's counters as they are shown.
struct Shown {
    label: String,
    reader: Option<VerdictReader>,
    verdicts: Verdicts,
}

impl Afxdp {
    pub(crate) fn new(shared: Arc<Shared>, numbers: Vec<u32>) -> Self {
        Self {
            info: shared.info(),
            marks_unfilled: shared.marks_unfilled(),
            verdicts: numbers.contains(&0).then(|| Shown::of(&shared)),
            shared,
            numbers,
            queues: Vec::new(),
            asking: None,
            epoll: None,
            next: 0,
            counters: PortCounters::default(),
        }
    }

    /// The receive queues that this port serves.
    pub fn queues(&self) -> &[u32] {
        &self.numbers
    }

    /// Whether the card reads and writes the pool itself, without the kernel's copy. False before the port is
    /// attached.
    pub fn is_zero_copy(&self) -> bool {
        !self.queues.is_empty() && self.queues.iter().all(Queue::is_zero_copy)
    }
}

impl Afxdp {
    /// Puts Linux's answers about neighbours into the burst.
    #[inline]
    fn hear(&mut self, pool: &PacketPool, into: &mut RxBurst) {
        let Some(asking) = &mut self.asking else { return };
        while !into.is_full()
            && let Some(Answer { asker, neighbour, mac }) = asking.next()
        {
            let vlan = self.shared.config.steering.vlan;
            match questions::answer(pool, vlan, self.info.mac, asker, neighbour, mac) {
                Some(packet) => into.push(packet),
                None => self.counters.rx_dropped_no_buffer += 1,
            }
        }
    }

    /// Takes out of the burst what Linux says and asks on shared addresses. Returns how many frames.
    #[inline]
    fn ask(&mut self, from: &mut TxBurst) -> usize {
        let Some(asking) = &mut self.asking else { return 0 };
        let before = from.len();
        from.retain(|packet| match questions::fate(packet.data(), &self.shared.config.steering.shared) {
            Fate::Send => true,
            Fate::Drop => false,
            Fate::Ask { asker, neighbour } => {
                asking.ask((asker, neighbour));
                false
            }
        });
        before - from.len()
    }
}

impl RxQueue for Afxdp {
    fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize {
        let before = into.len();
        for _ in 0..self.queues.len() {
            if into.is_full() {
                break;
            }
            self.next = if self.next + 1 < self.queues.len() { self.next + 1 } else { 0 };
            if let Some(queue) = self.queues.get_mut(self.next) {
                self.counters.rx_bytes += queue.receive(pool, into, &mut self.counters);
            }
        }
        if self.marks_unfilled {
            mark_unfilled(into, before);
        }
        self.hear(pool, into);
        let received = into.len() - before;
        self.counters.rx_frames += received as u64;
        received
    }

    fn arm(&mut self) -> Armed<'_> {
        for queue in &mut self.queues {
            queue.reap();
            if queue.has_frames() {
                return Armed::Ready;
            }
            // What the device did not take before may go now; there is no wake-up for that.
            queue.kick();
        }
        if self.asking.as_mut().is_some_and(Asking::has_answers) {
            return Armed::Ready;
        }
        if self.queues.iter_mut().any(Queue::is_gone) {
            return Armed::Never;
        }
        match (&self.epoll, self.queues.first()) {
            (Some(epoll), _) => Armed::Fd(epoll.as_fd()),
            (None, Some(queue)) => Armed::Fd(queue.fd()),
            (None, None) => Armed::Never,
        }
    }

    fn disarm(&mut self) {}
}

impl TxQueue for Afxdp {
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
        let frame_max = self.info.frame_max();
        let asked = self.ask(from);
        asked
            + match self.queues.first_mut() {
                Some(queue) => queue.transmit(from, frame_max, &mut self.counters),
                None => {
                    let lost = from.len();
                    self.counters.tx_dropped_no_link += lost as u64;
                    from.clear();
                    lost
                }
            }
    }
}

impl Port for Afxdp {
    /// Opens the sockets over the pool's memory, and has the XDP program send them what is Freeway's.
    fn attach(&mut self, pool: &PacketPool) -> io::Result<()> {
        let frame_max = self.info.frame_max();
        let queues = self.numbers.len() as u32;
        self.queues = self
            .numbers
            .iter()
            .map(|&number| Queue::open(&self.shared, number, queues, frame_max, pool))
            .collect::<io::Result<_>>()?;
        self.asking = self.shared.resolver.as_ref().map(Resolver::join).transpose()?;
        if self.queues.len() > 1 || self.asking.is_some() {
            let sources = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            for (number, queue) in (0..).zip(&self.queues) {
                epoll::add(&sources, queue.fd(), epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
            }
            if let Some(asking) = &self.asking {
                epoll::add(
                    &sources,
                    asking.wake(),
                    epoll::EventData::new_u64(u64::MAX),
                    epoll::EventFlags::IN,
                )?;
            }
            self.epoll = Some(sources);
        }
        for (&number, queue) in self.numbers.iter().zip(&self.queues) {
            self.shared.set_socket(number, queue.fd())?;
        }
        Ok(())
    }

    fn lent(&self) -> u32 {
        self.queues.iter().map(Queue::lent).sum()
    }

    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&self) -> PortCounters {
        let mut counters = self.counters;
        self.queues.iter().for_each(|queue| queue.add_statistics(&mut counters));
        counters
    }

    /// What the XDP program made of the interface's frames, by the port of queue 0. Ten system calls, as often as a
    /// core publishes its counters.
    fn more_counters(&self, visit: &mut CounterVisit<'_>) {
        let Some(shown) = &self.verdicts else { return };
        let mut shown = shown.borrow_mut();
        shown.refresh();
        let mut counters = shown.verdicts.iter();
        visit(&shown.label, &mut counters);
    }
}

impl Shown {
    fn of(shared: &Shared) -> RefCell<Self> {
        RefCell::new(Self {
            label: format!("xdp {}", shared.link.name),
            reader: shared.verdict_reader().ok(),
            verdicts: Verdicts::default(),
        })
    }

    fn refresh(&mut self) {
        if let Some(reader) = &mut self.reader {
            // What the kernel does not tell stays what it told last.
            self.verdicts = reader.read().unwrap_or(self.verdicts);
        }
    }
}

impl fmt::Debug for Afxdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Afxdp")
            .field("info", &self.info)
            .field("queues", &self.numbers)
            .field("attached", &!self.queues.is_empty())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
