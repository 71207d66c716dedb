//! Every setting of the server: meaning, default, cost.

use freeway::Duration;
use freeway_http1::Limits;

/// How a core's HTTP server behaves. A time or a rate of zero is no bound.
#[derive(Clone, Debug)]
pub struct Config {
    /// How large a request's head may be. Each core has one buffer of that size.
    pub limits: Limits,
    /// Bytes of a request's body that a handler may be given. Default 1 MiB; bodies pass through and are not kept.
    pub body_max: u64,
    /// Requests and answers under way at once, beyond those that are answered in the turn they arrive in: answers that
    /// wait for room, bodies that arrive in parts. Past it the request is answered with 503 and the connection closed.
    /// Default 4,096; 400 bytes each.
    pub exchanges_max: u32,
    /// From the first byte of a request (or the opening of the connection) to the end of its head. Default 10 s.
    pub header_timeout: Duration,
    /// Between requests of a connection. Default 75 s.
    pub keep_alive_timeout: Duration,
    /// Requests that one connection may make; 0 is no bound. Default 0.
    pub requests_per_connection: u16,
    /// Bytes a second at least that a body arrives with, over each `rate_interval`. Default 256.
    pub body_rate_min: u64,
    /// Bytes a second at least that a client takes an answer with, over each `rate_interval`. Default 256.
    pub send_rate_min: u64,
    /// How often the two rates are looked at: a peer is given so long before the first look. Default 10 s.
    pub rate_interval: Duration,
    /// How long a connection that is closed because of an error goes on reading, so that the peer can read why. Default
    /// 2 s.
    pub linger_timeout: Duration,
    /// Requests a second from one address (IPv6: one /64 network); past it they are answered with 429. Default no bound.
    /// Costs a look into a table of 16 bytes for each of `addresses_max` when there is one.
    pub requests_per_second: u32,
    /// How many requests an address may make at once before its rate counts. Default 100.
    pub requests_burst: u32,
    /// Addresses whose rates are known at once, rounded up to a power of two; of more, the ones idle longest are
    /// forgotten. Default 65,536: 1 MiB a core when rates are bounded, else nothing.
    pub addresses_max: u32,
    /// Request heads whose meaning is kept, rounded up to a power of two; 0 for none. Default 128, 500 bytes each.
    pub heads_kept: u32,
    /// Buffers for documents that are read from disk, two for each download under way. Default 64, that is 8 MiB a core;
    /// downloads beyond take turns.
    pub disk_buffers: u32,
    /// Bytes of each. Default 128 KiB.
    pub disk_buffer: u32,
    /// Connections with TLS. Past it they are reset. Default 8,192; each has some 10 KiB in rustls's hands.
    pub tls_max: u32,
    /// Buffers for bytes on their way through TLS, up to four for each connection that is at it. A connection that finds
    /// none is reset. Default 256, 33 KiB each: 8 MiB a core if there is TLS.
    pub tls_buffers: u32,
    /// Subscribers of one topic of a core. Default 65,536; 12 bytes each, for every topic.
    pub subscribers_max: u32,
    /// Subscribers that one turn sends a message to. Default 512, some 200 µs.
    pub broadcast_step: u32,
    /// Messages that wait to be sent to all subscribers; past it they are dropped. Default 64.
    pub broadcast_queue: u32,
    /// How long a message waits while its core is short of room to send to anybody; then those whose turn it would be are
    /// passed over. Default 1 s.
    pub broadcast_patience: Duration,
    /// Bytes that a subscriber may be behind; past it messages pass it over. Default 64 KiB.
    pub subscriber_backlog: u32,
    /// How often a subscriber's connection is looked at: one that has acknowledged nothing of what it was sent since the
    /// last time is closed. Default 60 s.
    pub subscriber_check: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            body_max: 1 << 20,
            exchanges_max: 4_096,
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            requests_per_connection: 0,
            body_rate_min: 256,
            send_rate_min: 256,
            rate_interval: Duration::from_secs(10),
            linger_timeout: Duration::from_secs(2),
            requests_per_second: 0,
            requests_burst: 100,
            addresses_max: 1 << 16,
            heads_kept: 128,
            disk_buffers: 64,
            disk_buffer: 128 << 10,
            tls_max: 8_192,
            tls_buffers: 256,
            subscribers_max: 1 << 16,
            broadcast_step: 512,
            broadcast_queue: 64,
            broadcast_patience: Duration::from_secs(1),
            subscriber_backlog: 64 << 10,
            subscriber_check: Duration::from_secs(60),
        }
    }
}
