//! TCP on one core: every connection in every stage of its life.
//!
//! The protocol itself (the numbers) is `freeway_tcp`; here are the tables it lives in and the bytes it speaks
//! of. One keyed flow table leads to all stages (`slot`), so a segment costs one look-up.
//!
//! | file | holds |
//! |---|---|
//! | `input` | the three passes over a batch of arrived segments |
//! | `handshake` | listeners' side of opening: SYN-RECEIVED records and what becomes of them |
//! | `gate`, `accept`, `peers` | how many connections a listener lets in, and those it has |
//! | `fast_open`, `destinations` | text in SYNs, and what is known of the servers that take it |
//! | `jar` | SYN cookies that were used |
//! | `replies` | how many segments a stranger can provoke |
//! | `open` | active opens and the choice of a port |
//! | `output` | what connections have to say, turned into frames |
//! | `class`, `tuning` | settings of single connections; receive buffers that grow |
//! | `path` | how large a segment gets through, and what the host remembers of it |
//! | `expire` | deadlines |
//! | `record`, `key`, `slot` | a connection's memory, a flow's name, a table's entry |
//! | `item`, `receive_queue`, `gaps`, `send_queue` | data that is held |
//! | `flights` | what is known of data in flight |
//! | `syn_table`, `time_wait`, `listener` | the other tables |
//! | `settings` | which of TCP's settings apply to a connection |
//! | `conn` | what the application does with a connection |

mod accept;
mod class;
mod conn;
mod destinations;
mod expire;
mod fast_open;
pub(crate) mod flights;
mod gaps;
mod gate;
mod handshake;
mod input;
pub(crate) mod item;
mod jar;
pub(crate) mod key;
mod lifecycle;
pub(crate) mod list;
mod listener;
mod open;
mod output;
mod path;
pub(crate) mod peers;
#[cfg(test)]
mod queue_tests;
mod receive_queue;
pub(crate) mod record;
mod replies;
mod send_queue;
mod settings;
pub(crate) mod slot;
pub(crate) mod syn_table;
pub(crate) mod time_wait;
mod troubles;
mod tuning;

use freeway_base::{FlowHash, HashKey, Rng, counters};
use freeway_collections::{BuildError, FlowTable, Slab, Wheel};
use freeway_mem::arch::CACHE_LINE;
use freeway_mem::{Arena, PacketPool};

pub use class::ConfigureError;
pub use conn::{Conn, ConnId};
pub use fast_open::FastOpen;
pub use gate::{AcceptLimits, ListenerCounters, ListenerReport, Overflow, SynCookies};
pub use item::Lent;
pub use listener::{ListenConfig, ListenError, ListenerId};
pub use open::{ConnectConfig, ConnectError};

use crate::config::StackConfig;
use crate::net::Net;
use crate::steer;
use destinations::Destinations;
use fast_open::Baker;
use input::Batch;
use item::Store;
use jar::CookieJar;
use key::FlowKey;
use list::List;
use listener::Listeners;
use peers::Peers;
use record::Connection;
use replies::Replies;
use slot::Slot;
use syn_table::SynTable;
use time_wait::TimeWaitTable;
use troubles::Troubles;
use tuning::Tuning;

/// No entry: the index that no table reaches.
pub(crate) const NONE: u32 = u32::MAX;

/// Where a connection's queues lie, or [`NONE`].
pub(crate) type ListId = u32;

counters! {
    /// What TCP did and dropped on one core.
    pub struct TcpCounters {
        /// Segments that arrived.
        segments_in,
        /// Segments sent.
        segments_out,
        /// Payload bytes accepted in order.
        bytes_in,
        /// Payload bytes sent, repetitions included.
        bytes_out,
        /// Connections opened by a peer.
        accepted,
        /// Connections opened by this side.
        connected,
        /// Connections that ended with both FINs acknowledged.
        closed_finished,
        /// Connections reset or refused by the peer.
        closed_reset,
        /// Connections that timed out.
        closed_timed_out,
        /// Connections aborted by the application.
        closed_aborted,
        /// Of these, closed ones that did not deliver what was queued in time.
        lingered_out,
        /// Segments sent again.
        retransmitted,
        /// Fast recoveries begun: losses that acknowledgments told of.
        fast_recoveries,
        /// Retransmission time-outs of connections that are open.
        time_outs,
        /// Tail loss probes (RFC 8985, section 7).
        probes,
        /// Recoveries that were a mistake, and were taken back.
        spurious,
        /// Acknowledgments that told of retransmissions that were lost.
        lost_again,
        /// Acknowledgments with SACK blocks that cannot be.
        sack_rejected,
        /// Times a peer threw away what it had reported to have.
        reneged,
        /// Segments received twice and reported so (RFC 2883).
        duplicates_reported,
        /// Resets sent.
        resets_out,
        /// Connections whose data was sent several times in vain (R1 of RFC 9293).
        stalled,
        /// Errors of the path that an application was told of.
        path_errors,
        /// The same, of which it was not, since there were too many in one turn.
        path_errors_untold,
        /// Receive buffers made larger, because the application took all that they let through.
        windows_widened,
        /// Segments held out of order.
        out_of_order,
        /// Dropped: the header was cut short or lied about its length.
        dropped_malformed,
        /// Dropped: wrong checksum.
        dropped_checksum,
        /// Dropped: broadcast or multicast.
        dropped_broadcast,
        /// Dropped: no connection and no listener (a reset was sent unless the limit was reached).
        dropped_no_listener,
        /// Dropped: the SYN table was full, the newest SYN goes.
        dropped_syn_table_full,
        /// Dropped: a SYN or a last acknowledgment at a bound of its listener; the peer will try again.
        dropped_accept_limit,
        /// Dropped: an acknowledgment that is no good SYN cookie, while cookies are about (a reset was sent unless the
        /// limit was reached).
        dropped_bad_cookie,
        /// Dropped: no room for another connection; the peer will try again.
        dropped_connections_full,
        /// Payload dropped, the acknowledgment with it used: too few buffers or items were free.
        dropped_no_room,
        /// Dropped: too many segments after a gap, or too many gaps, or too few buffers left.
        dropped_out_of_order_full,
        /// Dropped: held already.
        dropped_duplicate,
        /// Dropped: not acceptable to the connection (RFC 9293, section 3.10.7.4, RFC 5961, PAWS).
        dropped_unacceptable,
        /// TIME-WAIT records shed before their time, the oldest first.
        shed_time_wait,
        /// Replies not sent because of the host's rate limit.
        limited_replies,
        /// Challenge ACKs not sent because the connection had sent one in the same half second.
        limited_challenges,
        /// SYNs answered by a cookie.
        syn_cookies_sent,
        /// Connections that a cookie opened.
        syn_cookies_accepted,
        /// Active opens whose SYN carried text.
        fast_open_sent,
        /// Active opens with Fast Open whose text or option did not get through: it is not tried for an hour.
        fast_open_failed,
        /// Active opens that found every source port taken.
        no_source_port,
        /// Writes that came short because too few buffers or items were free; they are resumed when there are.
        starved_writes,
        /// Paths that swallowed long segments in silence (RFC 4821).
        black_holes,
        /// Probes for a wider path sent.
        path_probes,
        /// Of these, lost: the path is not so wide.
        path_probes_lost,
        /// Connections reset because their peers' windows stayed shut while others found no room to write (RFC 6429).
        shed_shut_out,
        /// Segments not sent because no buffer was free; the retransmission timer will.
        no_buffer,
        /// Segments that arrived with a congestion mark.
        marked_in,
        /// Congestion windows reduced because the peer echoed a mark.
        ecn_reductions,
        /// Segments sent behind others without a flight, because all were in use: losses are repaired more slowly.
        no_flight,
        /// Flights exchanged for wide ones: losses left more holes than a narrow one tells apart.
        wide_flights,
        /// Acknowledgments of flights that needed a wide one while all were in use: losses are found more slowly.
        no_wide_flight,
    }
}

/// All TCP state of one core.
pub(crate) struct TcpHost<S: Copy + Default + 'static> {
    pub(crate) flows: FlowTable,
    pub(crate) connections: Slab<Connection<S>>,
    pub(crate) half_open: SynTable,
    pub(crate) time_wait: TimeWaitTable,
    /// Accepted connections by remote address, if they are counted.
    peers: Option<Peers>,
    jar: CookieJar,
    baker: Baker,
    destinations: Destinations,
    pub(crate) wheel: Wheel,
    /// The wheel's number for the first connection's application timer, if those are apart from TCP's.
    pub(crate) application_timers: Option<u32>,
    pub(crate) store: Store,
    pub(crate) listeners: Listeners,
    /// Receive buffers being measured.
    pub(crate) tuning: Tuning,
    /// Errors of the path that applications have yet to hear.
    troubles: Troubles,
    /// Connections with events for the application.
    pub(crate) ready: List,
    /// Connections with something to transmit.
    pub(crate) dirty: List,
    /// Connections that want to write and found too few buffers free.
    pub(crate) starved: List,
    /// The segments of the batch at hand.
    batch: Batch,
    /// Whether the flow table got an entry since pass two looked there for all of them.
    flows_grew: bool,
    pub(crate) counters: TcpCounters,
    pub(crate) secrets: Secrets,
    limits: Limits,
    next_serial: u32,
    /// Where the search for a source port goes on, by destination (RFC 6056, algorithm 4).
    next_ports: [u16; PORT_COUNTERS],
    /// Resets that strangers may provoke.
    resets: Replies,
    /// Acknowledgments that strangers may provoke.
    challenges: Replies,
}

/// The keys of this core's flows.
#[derive(Clone, Copy)]
pub(crate) struct Secrets {
    pub(crate) flow: HashKey,
    pub(crate) sequence: HashKey,
}

/// Counters of the search for source ports: those of other destinations tell a peer nothing.
const PORT_COUNTERS: usize = 256;

/// What the configuration bounds.
struct Limits {
    shut_out_expiries: u8,
    send_buffer: u32,
    send_buffer_max: u32,
    core: u32,
    cores: u32,
    ports: core::ops::RangeInclusive<u16>,
}

impl Limits {
    /// What a connection with that congestion window may have queued.
    fn send_buffer(&self, cwnd: u32) -> u32 {
        self.send_buffer.max(cwnd.saturating_mul(2).min(self.send_buffer_max))
    }
}

impl<S: Copy + Default + 'static> TcpHost<S> {
    pub(crate) fn new(
        arena: &mut Arena,
        config: &StackConfig,
        pool: PacketPool,
        large: PacketPool,
        now: freeway_base::Instant,
        mut rng: Rng,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            flows: FlowTable::new(arena, config.flows())?,
            connections: Slab::new(arena, "connections", config.max_connections, |_| Connection::vacant())?,
            half_open: SynTable::new(arena, config.max_syn_received)?,
            time_wait: TimeWaitTable::new(arena, config.max_time_wait)?,
            peers: match config.count_peers {
                true => Some(Peers::new(arena, config.max_connections, config.flow_key)?),
                false => None,
            },
            jar: CookieJar::new(config.sequence_key, config.max_used_cookies),
            baker: Baker::new(config.sequence_key, config.fast_open_key),
            destinations: Destinations::new(config.max_fast_open_servers, config.flow_key),
            wheel: Wheel::new(arena, config.timers(), now)?,
            application_timers: (config.application_timers)
                .then_some(config.max_connections + config.max_syn_received),
            store: Store::new(arena, config, pool, large)?,
            listeners: Listeners::with_classes(config.max_classes),
            tuning: Tuning::new(config.tuned_connections),
            troubles: Troubles::new(),
            ready: List::EMPTY,
            dirty: List::EMPTY,
            starved: List::EMPTY,
            batch: Batch::new(),
            flows_grew: false,
            counters: TcpCounters::default(),
            secrets: Secrets { flow: config.flow_key, sequence: config.sequence_key },
            resets: Replies::new(config.replies_per_second, config.reply_burst, rng.fork()),
            challenges: Replies::new(config.challenges_per_second, config.challenges_per_second, rng.fork()),
            next_serial: rng.next_u32(),
            next_ports: core::array::from_fn(|_| rng.next_u32() as u16),
            limits: Limits {
                shut_out_expiries: config.shut_out_expiries,
                send_buffer: config.send_buffer,
                send_buffer_max: config.send_buffer_max,
                core: config.core,
                cores: config.cores,
                ports: config.ephemeral_ports.clone(),
            },
        })
    }

    /// Cache lines of a connection's record.
    const LINES: usize = size_of::<Connection<S>>().div_ceil(CACHE_LINE);

    /// Asks for all that a connection's next segment or timer will touch; any number is harmless.
    #[inline]
    pub(crate) fn prefetch(&self, index: u32) {
        self.connections.prefetch(index, Self::LINES);
        self.wheel.prefetch(index);
    }

    /// The hash of a flow, as every core computes it.
    #[inline]
    pub(crate) fn hash(&self, net: &Net, key: &FlowKey) -> FlowHash {
        let local = (net.addr(key.local), key.local_port);
        steer::flow_hash(&self.secrets.flow, local, (key.remote_addr(), key.remote_port))
    }

    /// Puts a flow into the table; false when that is full.
    #[inline]
    pub(crate) fn enter_flow(&mut self, hash: FlowHash, slot: Slot) -> bool {
        self.flows_grew = true;
        self.flows.insert(hash, slot.pack()).is_ok()
    }

    /// Where the flow `key` stands.
    #[inline]
    pub(crate) fn find(&self, hash: FlowHash, key: &FlowKey) -> Option<Slot> {
        let is_it = |entry| match Slot::unpack(entry) {
            Slot::Connection(index) => self.connections.slot(index).is_some_and(|c| c.socket.key == *key),
            Slot::SynReceived(index) => self.half_open.key(index) == Some(key),
            Slot::TimeWait(index) => self.time_wait.key(index) == Some(key),
        };
        self.flows.find(hash, is_it).map(Slot::unpack)
    }
}
