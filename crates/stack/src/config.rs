//! How large a stack is: every bound, what it costs, and what happens at it.

use freeway_base::HashKey;
use freeway_collections::{FlowTable, Slab, Wheel};
use freeway_mem::{ArenaLayout, PoolConfig};
use thiserror::Error;

use crate::net::NetConfig;
use crate::tcp::flights::Flights;
use crate::tcp::peers::Peers;
use crate::tcp::record::Connection;
use crate::tcp::{item, syn_table, time_wait};

/// The size and the secrets of one core's stack. Everything is laid out when the stack is built.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Connections at once, beyond which new ones are not accepted (counted; the peer's SYN is retried).
    /// Default 65,536. Each costs [`StackConfig::connection_bytes`].
    pub max_connections: u32,
    /// Half-open passive connections; at the bound the newest SYN is dropped. Default 16,384, about 150 bytes each.
    pub max_syn_received: u32,
    /// SYN cookies that have opened a connection and are remembered, so that none opens another; past the bound the
    /// older is forgotten. Rounded up to a power of two. Default 4,096, 8 bytes each.
    pub max_used_cookies: u32,
    /// Servers that Fast Open was tried with and that are remembered; in a full set of four the one not used for
    /// longest goes. Rounded up to a power of two. Default 256, 64 bytes each.
    pub max_fast_open_servers: u32,
    /// Counts accepted connections by remote address, for
    /// [`connections_per_peer`](crate::AcceptLimits::connections_per_peer). Default off; costs about 28 bytes for each
    /// of `max_connections`.
    pub count_peers: bool,
    /// Whether an application's timers have entries of their own in the timing wheel. Default false: a connection has
    /// one, for the sooner of TCP's deadline and the application's. Where an application waits long on most of its
    /// connections, as an HTTP server does, each request then takes that entry out of a slot far ahead and puts it
    /// back, three cold cache lines each time; entries of their own cost 17 bytes a connection instead.
    pub application_timers: bool,
    /// TIME-WAIT records; at the bound the oldest goes. Default 65,536, about 110 bytes each.
    pub max_time_wait: u32,
    /// Pieces of data held for all connections together: received and not yet read, or sent and not yet
    /// acknowledged. Default as many as there are packet buffers; 32 bytes each, and 64 for the connection.
    pub max_items: u32,
    /// Connections that can have more than one segment in flight with selective acknowledgments, RACK-TLP and the
    /// congestion controller's whole state; those beyond recover as RFC 6582 says (counted). Default 4,096, about
    /// 1 KiB each.
    pub max_flights: u32,
    /// Of these, connections whose losses may leave more than some forty holes without being forgotten: a long fat path
    /// makes hundreds at once. Those beyond find their losses more slowly (counted). Default 64, 16 KiB each.
    pub max_wide_flights: u32,
    /// Packet buffers of a frame's size.
    pub pool: PoolConfig,
    /// Buffers of a whole datagram's size, for reassembly.
    pub large_pool: PoolConfig,
    /// Runs of received segments, each with a gap before it, that one connection may hold out of order: what one more
    /// segment costs grows with them. How many segments these have is bounded by the receive window, in which none counts
    /// for less than 1 KiB, and by two thirds of `receive_budget` for all connections. Default 256.
    pub max_out_of_order: u16,
    /// Different sets of settings that connections may have by [`Conn::configure`](crate::Conn::configure); at the bound a
    /// change is refused. Default 256, about 250 bytes each.
    pub max_classes: u16,
    /// Connections whose receive buffers are measured, and grow, at the same time; further ones wait until one of these has
    /// stopped. Rounded up to a power of two. Default 4,096, 40 bytes each.
    pub tuned_connections: u16,
    /// How often the persist timer of a peer with a shut window must have expired before the connection may be reset, to make
    /// room for others that found none to write (RFC 6429). Default 5, some ten seconds; 255 never does it.
    pub shut_out_expiries: u8,
    /// Buffers that may hold what peers sent and nobody has read, for all connections together: receive windows stop
    /// growing at half of it and shrink from three quarters on; at the bound payload is dropped, to be sent again. `None`
    /// is three eighths of all buffers. Default none.
    pub receive_budget: Option<u32>,
    /// Bytes that one connection may have queued for sending, acknowledged or not, while its path takes little. Default
    /// 256 KiB.
    pub send_buffer: u32,
    /// What that may grow to: twice the congestion window, so that one window is under way and another is ready. With no
    /// more than `send_buffer` it does not grow. Default 4 MiB. A peer has to acknowledge a window before it has buffers
    /// held for the next, so a slow one holds little.
    pub send_buffer_max: u32,
    /// Resets that strangers may provoke, per second; each second a random part of it, up to a half, is lost. Default
    /// 10,000.
    pub replies_per_second: u32,
    /// The same at once, after silence. Default 10,000.
    pub reply_burst: u32,
    /// Challenge ACKs (RFC 5961) of all connections together, and acknowledgments of what is half open or waits for
    /// its end, per second and at once; loses a random part likewise. A connection sends two a second at most. Default
    /// 10,000.
    pub challenges_per_second: u32,
    /// Neighbours, routes, reassembly, rate limits.
    pub net: NetConfig,
    /// This core's number, and how many cores share the flows.
    pub core: u32,
    /// How many cores the flows are spread over.
    pub cores: u32,
    /// Source ports for active opens (RFC 6056). Default 32768..=65535.
    pub ephemeral_ports: core::ops::RangeInclusive<u16>,
    /// The secret that spreads flows over cores and buckets; the same on all cores of a process.
    pub flow_key: HashKey,
    /// The secret of initial sequence numbers and timestamp offsets (RFC 6528, RFC 7323).
    pub sequence_key: HashKey,
    /// Makes and takes the Fast Open cookies of a pool of servers that share this key, as Linux does with
    /// `net.ipv4.tcp_fastopen_key` (the key's four words, each little-endian): SipHash-2-4 of the peer's address and ours.
    /// Such cookies are good until the key is changed. Default none: cookies under a key of this host's own, which
    /// changes with time.
    pub fast_open_key: Option<[u8; 16]>,
}

/// A configuration that cannot be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ConfigError {
    /// A table of no entries.
    #[error("{0} is 0: a stack needs at least one")]
    Zero(&'static str),
    /// More entries than an index can name.
    #[error("{what} is {value}, more than the {most} that can be indexed: lower it")]
    TooMany {
        /// The setting.
        what: &'static str,
        /// What was asked for.
        value: u32,
        /// The most there can be.
        most: u32,
    },
    /// A core number beyond the number of cores.
    #[error("core {core} of {cores} cores: cores are numbered from 0")]
    NoSuchCore {
        /// This core.
        core: u32,
        /// All cores.
        cores: u32,
    },
}

impl StackConfig {
    /// The defaults, with the two secrets.
    pub fn new(flow_key: HashKey, sequence_key: HashKey) -> Self {
        let pool = PoolConfig::default();
        Self {
            max_connections: 65_536,
            max_syn_received: 16_384,
            max_used_cookies: 4_096,
            max_fast_open_servers: 256,
            count_peers: false,
            application_timers: false,
            max_time_wait: 65_536,
            max_items: pool.buffers,
            max_flights: 4_096,
            max_wide_flights: 64,
            pool,
            large_pool: PoolConfig { buffers: 64, buffer_size: 128 * 1024, ..PoolConfig::default() },
            max_out_of_order: 256,
            max_classes: 256,
            tuned_connections: 4_096,
            shut_out_expiries: 5,
            receive_budget: None,
            send_buffer: 256 * 1024,
            send_buffer_max: 4 << 20,
            replies_per_second: 10_000,
            reply_burst: 10_000,
            challenges_per_second: 10_000,
            net: NetConfig::default(),
            core: 0,
            cores: 1,
            ephemeral_ports: 32_768..=65_535,
            flow_key,
            sequence_key,
            fast_open_key: None,
        }
    }

    /// Says what is wrong with the sizes, if anything is.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be built.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bounds = [
            ("max_connections", self.max_connections),
            ("max_syn_received", self.max_syn_received),
            ("max_used_cookies", self.max_used_cookies),
            ("max_time_wait", self.max_time_wait),
            ("max_items", self.max_items),
            ("max_flights", self.max_flights),
            ("max_wide_flights", self.max_wide_flights),
            ("cores", self.cores),
        ];
        for (what, value) in bounds {
            if value == 0 {
                return Err(ConfigError::Zero(what));
            }
            if value > crate::tcp::slot::INDEX_MAX {
                return Err(ConfigError::TooMany { what, value, most: crate::tcp::slot::INDEX_MAX });
            }
        }
        if self.core >= self.cores {
            return Err(ConfigError::NoSuchCore { core: self.core, cores: self.cores });
        }
        Ok(())
    }

    /// How many flows the flow table holds: connections in every stage of life.
    pub(crate) const fn flows(&self) -> u32 {
        self.max_connections + self.max_syn_received + self.max_time_wait
    }

    /// How many timers the wheel holds: one for each connection and each half-open one, and what applications have
    /// [apart](Self::application_timers). TIME-WAIT records expire in the order of their list.
    pub(crate) const fn timers(&self) -> u32 {
        let apart = if self.application_timers { self.max_connections } else { 0 };
        self.max_connections + self.max_syn_received + apart
    }

    /// The arena that a stack with application state `S` needs, in bytes.
    pub fn arena_layout<S: Copy + Default + 'static>(&self) -> ArenaLayout {
        let layout = ArenaLayout::new().pool(&self.pool).pool(&self.large_pool);
        let layout = FlowTable::plan(layout, self.flows());
        let layout = Wheel::plan(layout, self.timers());
        let layout = Slab::<Connection<S>>::plan(layout, self.max_connections);
        let layout = Slab::<syn_table::Entry>::plan(layout, self.max_syn_received);
        let layout = Slab::<time_wait::Entry>::plan(layout, self.max_time_wait);
        let layout = if self.count_peers { Peers::plan(layout, self.max_connections) } else { layout };
        let layout = Slab::<item::Item>::plan(layout, self.max_items);
        let layout = Slab::<item::Queues>::plan(layout, self.max_items);
        Flights::plan(layout, self)
    }

    /// What one more idle connection costs, in bytes: its record, its share of the flow table, its timer.
    pub fn connection_bytes<S: Copy + Default + 'static>(&self) -> u64 {
        let with = |connections| {
            let layout = FlowTable::plan(ArenaLayout::new(), connections);
            let layout =
                Wheel::plan(layout, if self.application_timers { 2 * connections } else { connections });
            Slab::<Connection<S>>::plan(layout, connections).bytes() as u64
        };
        with(self.max_connections) / u64::from(self.max_connections.max(1))
    }
}
