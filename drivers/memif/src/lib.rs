//! Shared memory with another process of the same machine as a Freeway port: memif, protocol 2.0, as VPP and DPDK speak
//! it.
//!
//! ```text
//!   client ("slave")                                            server ("master")
//!   brings the memory                control socket             maps it
//!     Memif, queue 0   ═══════ ring to the server ═══════►        Memif, queue 0
//!                      ◄══════ ring to the client ════════
//!     packet pool or buffers ◄┄┄┄ named by descriptors ┄┄┄►       copies in and out
//! ```
//!
//! No kernel stands between two processes that poll: a frame costs a descriptor and, on the server's side, a copy. One
//! that sleeps is woken through an eventfd.
//!
//! [`open`] makes interfaces of [`Config`]s and starts one thread that keeps their connections: it listens or dials,
//! shakes hands, and begins again when the other side has died. Each queue becomes a [`Memif`], a port on a core; frames
//! sent while there is no peer are dropped and counted.
//!
//! # Zero copy
//!
//! A client with [`Trust::Full`] and a pool that is [shared](freeway_mem::PoolConfig::shared) lends its packets: what it
//! sends is read by the server where it lies, and what it receives was written there by the server. The buffers lie in
//! a file of their own, so the peer sees frames and nothing else of the process. A server always copies: a received
//! frame is a packet of the core's own pool, and the memory is the client's, who may end at any moment. Packets that are
//! lent when the peer dies go back to the pool.
//!
//! # A peer that lies
//!
//! It is believed nothing that memory safety rests on (see `region.rs`). Every descriptor is copied before it is
//! checked, every index compared with what was lent, every file examined. The first lie ends the connection, is counted
//! by its [`Reason`] in the [`LinkStatus`], and told to the peer. What is left to it: to send frames, valid or not, and
//! to write nothing. With [`Trust::Full`] it can change frames that it has already given away, as a card could.
//!
//! # The path of the socket
//!
//! Whoever may write to it may connect: it is made with the process's umask. The [secret](Config::secret) keeps apart
//! clients that share a socket, not users.
//!
//! Sources: VPP's and DPDK's `memif.h` for the format; memfd_create(2), fcntl(2) for seals, unix(7), epoll(7).

mod alarm;
mod config;
mod control;
mod error;
mod link;
pub mod message;
mod port;
mod reason;
mod region;
mod ring;
mod rx;
pub mod session;
mod shared;
mod socket;
mod tx;

use std::sync::Arc;

pub use config::{Config, ConfigError, Patience, QUEUES_MAX, RING_LOG2_MAX, Role, SocketName, Trust};
pub use error::OpenError;
pub use port::{Memif, MemifQueue};
pub use reason::Reason;
pub use shared::LinkStatus;

use control::{Control, Interface, Port};
use socket::Listener;

/// Opens interfaces, and returns the queues of each. Servers of the same socket share it, told apart by
/// [`Config::id`]. A client's server need not be there yet.
///
/// All ends with the last queue, or port made of one.
///
/// # Errors
///
/// A configuration makes no sense, a socket cannot be listened on, or the process has no descriptors or threads left.
pub fn open(configs: &[Config]) -> Result<Vec<Vec<MemifQueue>>, OpenError> {
    let mut interfaces = Vec::new();
    let mut ports: Vec<Port> = Vec::new();
    let mut sockets: Vec<&SocketName> = Vec::new();
    for (index, config) in configs.iter().enumerate() {
        config.check()?;
        interfaces.push(Interface::new(config.clone()).map_err(OpenError::System)?);
        if config.role == Role::Client {
            continue;
        }
        let is_same = |other: &&Config| other.role == Role::Server && other.socket == config.socket;
        let before = configs.get(..index).unwrap_or_default();
        if before.iter().filter(is_same).any(|other| other.id == config.id) {
            return Err(ConfigError::SameId { socket: config.socket.clone(), id: config.id }.into());
        }
        let known = sockets.iter().position(|socket| **socket == config.socket);
        if let Some(port) = known.and_then(|place| ports.get_mut(place)) {
            port.interfaces.push(index);
        } else {
            let listener = Listener::bind(&config.socket)
                .map_err(|source| OpenError::Listen { socket: config.socket.clone(), source })?;
            sockets.push(&config.socket);
            ports.push(Port { listener, interfaces: vec![index] });
        }
    }
    let shares: Vec<_> = interfaces
        .iter()
        .map(|interface| (interface.config.clone(), interface.queues.clone(), Arc::clone(&interface.status)))
        .collect();
    let handle = Control::start(interfaces, ports).map_err(OpenError::System)?;
    let queues_of = |(config, queues, status): (Config, Vec<_>, _)| {
        let queue = |queue| MemifQueue::new(&config, queue, Arc::clone(&status), Arc::clone(&handle));
        queues.into_iter().map(queue).collect::<Result<Vec<_>, _>>().map_err(OpenError::System)
    };
    shares.into_iter().map(queues_of).collect()
}
