//! Bulk transfer: few connections that send, or receive, as fast as they may.

use std::rc::Rc;

use freeway::{Conn, ConnId, Ended, Lent, Stack};

use super::sockets::Opener;
use super::{Common, Lane, LoadConfig, LoadState, Place};
use crate::gauge::{Reading, Work};
use crate::protocol::Protocol;

/// Bytes that are lent to the stack to be sent again and again.
const PATTERN: usize = 256 * 1024;
/// The most connections that transfer at once.
const STREAMS: usize = 1_024;

/// All streams.
pub(super) struct Stream {
    sink: Opener,
    source: Opener,
    pattern: Option<Lent>,
    ids: Vec<ConnId>,
    work: Work,
}

impl Stream {
    pub(super) fn new(config: &LoadConfig) -> Self {
        Self {
            sink: Opener::new(config.targets.sink, &config.sources, config.tcp),
            source: Opener::new(config.targets.source, &config.sources, config.tcp),
            pattern: None,
            ids: Vec::with_capacity(STREAMS),
            work: Work::Hold,
        }
    }

    pub(super) fn start<Q: Copy + Default + 'static>(&mut self, stack: &mut Stack<LoadState<Q>>) {
        let pattern: Vec<u8> =
            (0..PATTERN).map(|place| (place as u32).wrapping_mul(0x85eb_ca6b).to_be_bytes()[1]).collect();
        self.pattern = stack.lend(Rc::new(pattern));
    }

    /// Ends what flows.
    pub(super) fn begin<Q: Copy + Default + 'static>(&mut self, stack: &mut Stack<LoadState<Q>>, work: Work) {
        for id in self.ids.drain(..) {
            if let Some(mut conn) = stack.conn(id) {
                conn.abort();
            }
        }
        self.work = work;
    }

    /// Opens what is missing.
    pub(super) fn turn<P: Protocol>(
        &mut self,
        stack: &mut Stack<LoadState<P::Progress>>,
        common: &mut Common<P>,
    ) {
        let (opener, lane, wanted) = match self.work {
            Work::Upload { connections } => (&mut self.sink, Lane::Upload, connections),
            Work::Download { connections } => (&mut self.source, Lane::Download, connections),
            _ => return,
        };
        while self.ids.len() < (wanted as usize).min(STREAMS) {
            match opener.open(stack, Place::new(lane, self.ids.len() as u32)) {
                Ok(id) => self.ids.push(id),
                Err(_) => {
                    common.reading.failed += 1;
                    return;
                }
            }
        }
    }

    /// Sends as much as there is room for; `writable` goes on.
    pub(super) fn pump<P: Protocol>(
        &mut self,
        conn: &mut Conn<'_, LoadState<P::Progress>>,
        common: &mut Common<P>,
    ) {
        let Some(pattern) = self.pattern else { return };
        loop {
            let sent = conn.lend(pattern, 0..pattern.len());
            common.reading.bytes_out += sent as u64;
            if sent < pattern.len() {
                return;
            }
        }
    }

    /// Reads whatever comes.
    pub(super) fn readable<P: Protocol>(
        &mut self,
        conn: &mut Conn<'_, LoadState<P::Progress>>,
        common: &mut Common<P>,
    ) {
        let count = conn.readable_bytes();
        conn.consume(count);
        common.reading.bytes_in += count as u64;
        if conn.at_end() {
            conn.close();
        }
    }

    pub(super) fn closed<Q>(&mut self, ended: &Ended<LoadState<Q>>, reading: &mut Reading) {
        // Those that this side ended are on the list no more.
        if let Some(place) = self.ids.iter().position(|id| *id == ended.id) {
            // One that should flow and does not: the next turn opens another.
            reading.failed += 1;
            self.ids.swap_remove(place);
        }
    }
}
