//! One interface of one core: the port's queues, what did not fit into them, and whose frames arrive there.

use freeway_base::{HashKey, Instant};
use freeway_mem::{Packet, PacketPool, RxBurst, SharedPacket, TxBurst};
use freeway_port::{Port, Steering};
use freeway_stack::Stack;
use freeway_stack::net::IfaceId;
use freeway_stack::steer::{self, Home};

use crate::core::Attachment;
use crate::look::{Look, Way};
use crate::mailbox::Mailboxes;
use crate::remote::Relay;
use crate::stats::{MailCounters, Visit};

/// Bursts that one turn sends at most: another core could go on filling a relay for ever.
const TX_BURSTS_PER_TURN: usize = 8;

/// See the [module](self).
pub(crate) struct Link {
    pub(crate) iface: IfaceId,
    pub(crate) port: Box<dyn Port>,
    relays: Vec<Relay>,
    /// What the port's counters are called.
    label: String,
    /// Frames on their way into the port; what a full port left behind waits here.
    tx: TxBurst,
    /// How many of these a capture has seen already.
    seen: usize,
    /// Frames are sent here by another core's port, where they are captured.
    is_remote: bool,
    /// Relays first, this turn? They and the stack take turns, so that neither starves the other.
    relays_first: bool,
    /// Finds out whose a frame is; none where there is only one core.
    sorter: Option<Sorter>,
}

/// What finds a frame's core.
struct Sorter {
    key: HashKey,
    core: u32,
    cores: u32,
    /// The device spreads flows by a hash that is not ours. Where it is ours, only what all cores have to learn
    /// from (ARP, NDP) needs to go further.
    moves_flows: bool,
}

impl Link {
    pub(crate) fn new(attachment: Attachment, key: HashKey, core: u32, cores: u32) -> Self {
        let Attachment { iface, port, relays } = attachment;
        let moves_flows = port.info().capabilities.steering == Steering::Software;
        let sorter = Sorter { key, core, cores, moves_flows };
        Self {
            iface,
            label: format!("port {}", port.info().name),
            is_remote: port.is_remote(),
            port,
            relays,
            tx: TxBurst::new(),
            seen: 0,
            relays_first: false,
            sorter: (cores > 1).then_some(sorter),
        }
    }

    /// Takes what has arrived into the empty `burst`, and hands over what belongs to other cores. Returns how
    /// many frames arrived; `burst` keeps this core's.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        pool: &PacketPool,
        burst: &mut RxBurst,
        mail: &mut Mailboxes,
        look: &mut Option<Look>,
    ) -> usize {
        let arrived = self.port.rx_burst(pool, burst);
        if let Some(look) = look
            && look.is_capturing()
        {
            look.frames(now, self.iface, Way::In, &burst.iter().map(Packet::data));
        }
        if arrived > 0
            && let Some(sorter) = &self.sorter
        {
            sorter.keep_own(self.iface, burst, mail);
        }
        arrived
    }

    /// Gives the port what waits to be sent, until nothing is left, the port is full, or it is someone else's
    /// turn. Returns how many frames the port took.
    #[inline]
    pub(crate) fn transmit<S: Copy + Default + 'static>(
        &mut self,
        now: Instant,
        stack: &mut Stack<S>,
        counters: &mut MailCounters,
        look: &mut Option<Look>,
    ) -> usize {
        let mut sent = 0;
        for _ in 0..TX_BURSTS_PER_TURN {
            self.gather(stack, counters);
            if self.tx.is_empty() {
                break;
            }
            if let Some(look) = look
                && look.is_capturing()
            {
                self.show(now, look);
                sent += self.port.tx_burst(&mut self.tx);
                self.seen = self.tx.len();
            } else {
                sent += self.port.tx_burst(&mut self.tx);
            }
            if self.is_blocked() {
                break;
            }
        }
        sent
    }

    /// A capture begins: it has seen nothing.
    pub(crate) fn begin_capture(&mut self) {
        self.seen = 0;
    }

    /// Shows what is about to be sent, each frame once: those that a full port left are at the front.
    fn show(&self, now: Instant, look: &mut Look) {
        if !self.is_remote {
            let unseen = self.tx.iter().skip(self.seen).map(SharedPacket::data);
            look.frames(now, self.iface, Way::Out, &unseen);
        }
    }

    /// Fills the room in the transmit burst.
    #[inline]
    fn gather<S: Copy + Default + 'static>(&mut self, stack: &mut Stack<S>, counters: &mut MailCounters) {
        if !self.relays_first {
            stack.tx_burst(self.iface, &mut self.tx);
        }
        for relay in &mut self.relays {
            relay.take(stack.pool(), &mut self.tx, counters);
        }
        if self.relays_first {
            stack.tx_burst(self.iface, &mut self.tx);
        }
        self.relays_first = !self.relays_first && !self.relays.is_empty();
    }

    /// Whether frames wait for a port that was full.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.tx.is_empty()
    }

    /// Whether the stack has frames for this port, and the port had room for more.
    pub(crate) fn has_more<S: Copy + Default + 'static>(&self, stack: &Stack<S>) -> bool {
        !self.is_blocked() && stack.net.tx_pending(self.iface) > 0
    }

    /// Whether frames of other cores wait to be sent on.
    pub(crate) fn has_relay_work(&mut self) -> bool {
        self.relays.iter_mut().any(Relay::has_frames)
    }

    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        visit(&self.label, &mut self.port.counters().iter());
        self.port.more_counters(visit);
    }
}

impl Sorter {
    /// Leaves this core's frames in `burst`, in order.
    #[inline]
    fn keep_own(&self, iface: IfaceId, burst: &mut RxBurst, mail: &mut Mailboxes) {
        burst.retain(|packet| match steer::home(packet.data(), &self.key, self.cores) {
            Home::Core(core) if self.moves_flows && core != self.core => {
                mail.hand_over(core, iface, packet);
                false
            }
            Home::Every => {
                mail.share(iface, packet);
                true
            }
            Home::Core(_) | Home::Any => true,
        });
        mail.send();
    }
}
