//! What is asked, and how an answer is known: one small trait for every client, on Freeway's stack or on Linux's sockets.
//!
//! A codec writes a request into a frame and counts whole answers in a stream of bytes that comes in pieces of any
//! length. What it must remember of a stream between two pieces is a word or two in the connection's own state.

mod cache;
mod echo;
mod http;
mod subscribe;

pub use cache::{Cache, CacheConfig, CacheProgress};
pub use echo::{Echo, EchoProgress};
pub use http::{Http, HttpProgress};
pub use subscribe::{Form, Subscribe, SubscribeProgress};

/// What a piece of a stream held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Answers {
    /// Answers that ended in it.
    pub whole: u32,
    /// Values found, where an answer has values: keys of a multi-get that were there.
    pub values: u32,
    /// Answers that say that something went wrong, or do not hold what they should. They are whole, too.
    pub wrong: u32,
}

/// A protocol's client side. Nothing here allocates.
pub trait Protocol {
    /// What is to be remembered of a stream of answers; zero at its beginning.
    type Progress: Copy + Default + Send + 'static;

    /// The longest request, in bytes.
    fn request_max(&self) -> usize;

    /// Writes the next request to the start of `into`, which is as long as the longest; returns its length.
    fn request(&mut self, into: &mut [u8]) -> usize;

    /// Whether what connections that come and go ask for is told to those that are held: latencies are then from the
    /// one to each of the others, and the next one goes out when all have heard the one before.
    const TELLS: bool = false;

    /// The same for a connection that is opened for this request alone.
    fn request_apart(&mut self, into: &mut [u8]) -> usize {
        self.request(into)
    }

    /// Takes the next bytes of a stream of answers, all of them.
    fn answers(&mut self, progress: &mut Self::Progress, bytes: &[u8]) -> Answers;
}

#[cfg(test)]
pub(crate) mod testing {
    //! One stream, cut in every way: what is found must not depend on the cuts.
    use super::{Answers, Protocol};

    /// What `protocol` finds in `stream` if it comes whole, byte by byte, and in any two pieces.
    pub(crate) fn however_cut<P: Protocol>(protocol: &mut P, stream: &[u8]) -> Answers {
        let mut progress = P::Progress::default();
        let whole = protocol.answers(&mut progress, stream);
        let sum = |total: &mut Answers, found: Answers| {
            total.whole += found.whole;
            total.values += found.values;
            total.wrong += found.wrong;
        };
        let (mut progress, mut found) = (P::Progress::default(), Answers::default());
        for byte in stream {
            sum(&mut found, protocol.answers(&mut progress, std::slice::from_ref(byte)));
        }
        assert_eq!(found, whole, "byte by byte");
        for cut in 0..stream.len() {
            let (mut progress, mut found) = (P::Progress::default(), Answers::default());
            sum(&mut found, protocol.answers(&mut progress, &stream[..cut]));
            sum(&mut found, protocol.answers(&mut progress, &stream[cut..]));
            assert_eq!(found, whole, "cut at {cut}");
        }
        whole
    }
}
