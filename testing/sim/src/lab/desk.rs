//! What the lab's hosts do: echo, discard, and pour out; and on the other side send, and count.

use freeway_base::Instant;
use freeway_stack::udp::Datagram;
use freeway_stack::{Application, CloseReason, Conn, Ended, Stack};

/// Sends back what it receives.
pub(crate) const ECHO: u16 = 7;
/// Reads and counts.
pub(crate) const DISCARD: u16 = 9;
/// Answers anything with a page.
pub(crate) const SOURCE: u16 = 19;
/// The client's side: sends as many bytes as its state says, then finishes; discards what comes.
pub(crate) const SENDER: u16 = 1;

/// What `SOURCE` answers with, in bytes.
const PAGE: usize = 1_000;

/// An application and what it has seen.
#[derive(Default)]
pub(crate) struct Desk {
    /// Bytes that were read and thrown away.
    pub(crate) discarded: u64,
    /// A sum over these bytes and their places, to tell streams apart.
    pub(crate) digest: u64,
    /// Whether discarding waits.
    pub(crate) paused: bool,
    pub(crate) opened: u32,
    pub(crate) accepted: u32,
    /// Connections that ended in order.
    pub(crate) finished: u32,
    /// Connections that ended otherwise, and how the last of them did.
    pub(crate) broken: u32,
    pub(crate) broken_by: Option<CloseReason>,
    pub(crate) stalled: u32,
    pub(crate) datagrams: u32,
    pub(crate) writable: u32,
}

impl Desk {
    fn pour(conn: &mut Conn<'_, [u64; 2]>) {
        const BYTES: [u8; 16_384] = [0x5a; 16_384];
        loop {
            let [left, done] = *conn.state();
            if left == 0 && done == 0 {
                // It is the test's to write.
                return;
            }
            let wanted = left.min(BYTES.len() as u64) as usize;
            let taken = conn.write(&BYTES[..wanted]) as u64;
            *conn.state() = [left - taken, done + taken];
            if left == taken {
                conn.shutdown();
                return;
            }
            if (taken as usize) < wanted {
                return;
            }
        }
    }

    fn discard(&mut self, conn: &mut Conn<'_, [u64; 2]>) {
        while !self.paused && !conn.peek().is_empty() {
            let bytes = conn.peek();
            for &byte in bytes {
                self.discarded += 1;
                self.digest = self.digest.rotate_left(5).wrapping_add(u64::from(byte) ^ self.discarded);
            }
            let count = bytes.len();
            conn.consume(count);
        }
        if conn.at_end() {
            conn.close();
        }
    }
}

impl Application for Desk {
    type Conn = [u64; 2];

    fn accepted(&mut self, _: Conn<'_, Self::Conn>) {
        self.accepted += 1;
    }

    fn connected(&mut self, mut conn: Conn<'_, Self::Conn>) {
        Self::pour(&mut conn);
    }

    fn readable(&mut self, mut conn: Conn<'_, Self::Conn>) {
        match conn.service() {
            ECHO => {
                while let Some(packet) = conn.receive() {
                    if !conn.send(packet) {
                        break;
                    }
                }
                if conn.at_end() {
                    conn.close();
                }
            }
            SOURCE => {
                conn.consume(usize::MAX);
                conn.write(&[0xa5; PAGE]);
                if conn.at_end() {
                    conn.close();
                }
            }
            _ => self.discard(&mut conn),
        }
    }

    fn writable(&mut self, mut conn: Conn<'_, Self::Conn>) {
        self.writable += 1;
        if conn.service() == SENDER {
            Self::pour(&mut conn);
        }
    }

    fn stalled(&mut self, _: Conn<'_, Self::Conn>) {
        self.stalled += 1;
    }

    fn datagram(&mut self, _: &mut Stack<Self::Conn>, _: Datagram) {
        self.datagrams += 1;
    }

    fn turn(&mut self, _: &mut Stack<Self::Conn>, _: Instant) {}

    fn closed(&mut self, _: &mut Stack<Self::Conn>, ended: Ended<Self::Conn>) {
        if ended.reason == CloseReason::Finished {
            self.finished += 1;
        } else {
            self.broken += 1;
            self.broken_by = Some(ended.reason);
        }
    }
}
