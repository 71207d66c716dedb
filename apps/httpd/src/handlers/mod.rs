//! Answers that are made, not stored.
//!
//! A [`Handler`] is told of a request, reads its body in place as it comes, and writes into the answer as far as there is
//! room. One value serves all requests to its path on one core; what belongs to a single request is a `u64`.

mod examples;
mod named;
mod publish;
mod published;

use std::net::SocketAddr;

pub use examples::{Echo, Events, Health, Info, Socket};
use freeway_http1::{Request, Status};
pub use named::Named;
pub use publish::{Publish, Rights};

use crate::broadcast::Outbox;
use crate::counters::HttpCounters;
pub use crate::reply::Reply;
pub use published::{Published, Publisher};

/// What a handler can reach beside its request.
pub struct Context<'a> {
    /// Who asks.
    pub peer: SocketAddr,
    /// What the core's server has counted.
    pub counters: &'a HttpCounters,
    /// Where messages to subscribers are left.
    pub outbox: &'a mut Outbox,
}

/// What follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing: the answer is written, or ends here.
    Done,
    /// The request's body, of at most so many bytes; 413 answers a longer one.
    Body(u64),
    /// More of the answer, when there is room: [`Handler::more`] is called.
    More,
    /// The connection hears the events of this topic from now on (Server-Sent Events), which only GET may ask for.
    Events(u8),
    /// It becomes a WebSocket that hears this topic's messages; what the client sends is checked and dropped.
    Subscribe(u8),
    /// It becomes a WebSocket that sends back what it hears.
    EchoSocket,
    /// An error, with the page that goes with it.
    Refuse(Status),
}

/// Answers to the requests of one path.
pub trait Handler: Send {
    /// The methods it knows, as Allow lists them. Others are answered with 405, OPTIONS with the list.
    fn allow(&self) -> &'static str {
        "GET, HEAD, OPTIONS"
    }

    /// A request has arrived. There is room for an answer of [`Reply::whole`], or the beginning of a longer one.
    fn request(
        &mut self,
        request: &Request<'_, '_>,
        state: &mut u64,
        reply: &mut Reply<'_>,
        context: &mut Context<'_>,
    ) -> Step;

    /// The next piece of its body; returns how many bytes of it were dealt with. The others come again when there is room
    /// to write.
    fn body(&mut self, state: &mut u64, piece: &[u8], reply: &mut Reply<'_>) -> usize {
        let _ = (state, reply);
        piece.len()
    }

    /// The body is whole. [`Step::Done`] or [`Step::More`].
    fn end(&mut self, state: &mut u64, reply: &mut Reply<'_>, context: &mut Context<'_>) -> Step {
        let _ = (state, reply, context);
        Step::Done
    }

    /// There is room again. [`Step::Done`] or [`Step::More`].
    fn more(&mut self, state: &mut u64, reply: &mut Reply<'_>) -> Step {
        let _ = (state, reply);
        Step::Done
    }

    /// The request ended before its answer did: its connection is gone.
    fn abandoned(&mut self, state: u64) {
        let _ = state;
    }
}
