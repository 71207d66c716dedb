//! The application: it does what the script says, and holds the stack to what it promised.

use freeway_base::Duration;
use freeway_stack::application::Ended;
use freeway_stack::{Application, CloseReason, Conn, ConnId, Lent, Stack};

use super::byte_at;
use super::peer::{Peer, SLOT_ACTIVE};
use crate::host::World;

/// A connection that the application knows of.
struct Flow {
    id: ConnId,
    slot: usize,
    /// The sequence number of the first byte to be read; unknown until the connection is open.
    base: Option<u32>,
    /// Bytes read.
    read: u32,
    /// Whether the application has given the connection up, so that the end of the stream may not reach it.
    given_up: bool,
}

/// Something that an application does with a connection.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    Write(usize),
    WriteInPlace(usize),
    Lend(usize),
    /// Sends back the frame that is first to be read.
    Forward,
    Consume(usize),
    Receive,
    /// Takes a frame, reads so many bytes of it, and puts the rest back.
    ReceivePart(usize),
    CopyReadable(usize),
    Shutdown,
    Close,
    Abort,
    SetTimer(Duration),
}

/// The application and the peer.
pub(crate) struct Conversation {
    pub(crate) peer: Peer,
    flows: Vec<Flow>,
    /// What is to be done in the next event.
    pub(crate) next_action: Option<Action>,
    /// Memory to lend, which says what is in it.
    lent: Option<(Lent, Vec<u8>)>,
}

impl Conversation {
    pub(crate) fn new(lent: Option<(Lent, Vec<u8>)>) -> Self {
        Self { peer: Peer::new(), flows: Vec::new(), next_action: None, lent }
    }

    /// The newest connection of a conversation.
    pub(crate) fn newest(&self, slot: usize) -> Option<ConnId> {
        self.flows.iter().rev().find(|flow| flow.slot == slot).map(|flow| flow.id)
    }

    /// Whether the host waits for the peer's SYN, or has none to wait for.
    pub(crate) fn is_opening(&self, slot: usize) -> bool {
        let newest = self.flows.iter().rev().find(|flow| flow.slot == slot);
        slot == SLOT_ACTIVE && newest.is_none_or(|flow| flow.base.is_none())
    }

    /// Notes a connection that this side opens.
    pub(crate) fn opened(&mut self, mut conn: Conn<'_, u64>) {
        let id = conn.id();
        *conn.state() = SLOT_ACTIVE as u64;
        self.peer.is_called();
        self.flows.push(Flow { id, slot: SLOT_ACTIVE, base: None, read: 0, given_up: false });
    }

    /// The application has no more interest in any stream.
    pub(crate) fn give_up(&mut self) {
        self.flows.iter_mut().for_each(|flow| flow.given_up = true);
    }

    /// Every connection that was announced has ended.
    pub(crate) fn assert_over(&self) {
        assert!(self.flows.is_empty(), "{} connections never ended", self.flows.len());
    }

    fn position(&self, id: ConnId) -> usize {
        self.flows.iter().position(|flow| flow.id == id).expect("an event names a connection that is open")
    }

    /// Does something with a connection.
    pub(crate) fn act(&mut self, conn: &mut Conn<'_, u64>, action: Action) {
        let at = self.position(conn.id());
        let is_newest = self.newest(self.flows[at].slot) == Some(conn.id());
        let (flow, lent) = (&mut self.flows[at], self.lent.as_ref());
        let written = &mut self.peer.slots[flow.slot].written;
        let before = written.len();
        match action {
            Action::Write(len) => write(conn, written, len),
            Action::WriteInPlace(len) => write_in_place(conn, written, len),
            Action::Lend(len) => lent.into_iter().for_each(|lent| lend(conn, written, lent, len)),
            Action::Forward => forward(conn, flow, written),
            Action::Consume(len) => consume(conn, flow, len),
            Action::Receive => receive(conn, flow),
            Action::ReceivePart(len) => receive_part(conn, flow, len),
            Action::CopyReadable(len) => copy_readable(conn, flow, len),
            Action::Shutdown => conn.shutdown(),
            Action::Close => {
                flow.given_up = true;
                conn.close();
            }
            Action::Abort => {
                flow.given_up = true;
                conn.abort();
            }
            Action::SetTimer(wait) => conn.set_timer(Some(wait)),
        }
        assert!(
            is_newest || written.len() == before,
            "a connection whose place was taken can still be written"
        );
        if conn.at_end() && !flow.given_up {
            flow.assert_at_end(&self.peer);
        }
    }

    /// An event of a connection.
    fn event(&mut self, mut conn: Conn<'_, u64>) {
        let slot = self.flows[self.position(conn.id())].slot;
        assert_eq!(*conn.state(), slot as u64, "the wrong state");
        if let Some(action) = self.next_action.take() {
            self.act(&mut conn, action);
        }
    }
}

impl Flow {
    /// The next bytes of the stream are these.
    fn reads(&mut self, bytes: &[u8]) {
        let base = self.base.expect("nothing can be read from a connection that is not open");
        let first = base.wrapping_add(self.read);
        for (number, &byte) in (0..).zip(bytes) {
            assert_eq!(
                byte,
                byte_at(first.wrapping_add(number)),
                "byte {} of the stream",
                self.read + number
            );
        }
        self.read += bytes.len() as u32;
    }

    /// The same without going on.
    fn shows(&mut self, bytes: &[u8]) {
        let read = self.read;
        self.reads(bytes);
        self.read = read;
    }

    /// The stream ends where the peer said that it does.
    fn assert_at_end(&self, peer: &Peer) {
        let end = self.base.map(|base| base.wrapping_add(self.read));
        let ends = &peer.slots[self.slot].ends;
        assert!(end.is_some_and(|end| ends.contains(&end)), "the stream ends after {} bytes", self.read);
    }
}

/// Bytes to be written behind those that were.
fn fresh(written: &[u8], len: usize) -> Vec<u8> {
    (written.len()..written.len() + len).map(|at| byte_at(!(at as u32))).collect()
}

fn write(conn: &mut Conn<'_, u64>, written: &mut Vec<u8>, len: usize) {
    let bytes = fresh(written, len);
    let room = conn.send_room();
    let count = conn.write(&bytes);
    assert!(count <= len.min(room), "{count} bytes written of {len}, room for {room}");
    written.extend(&bytes[..count]);
}

fn write_in_place(conn: &mut Conn<'_, u64>, written: &mut Vec<u8>, len: usize) {
    let Some(mut packet) = conn.reserve() else { return };
    let bytes = fresh(written, len.min(conn.mss()));
    packet.append(bytes.len()).expect("a reservation holds a segment").copy_from_slice(&bytes);
    if conn.commit(packet) {
        written.extend(bytes);
    }
}

fn lend(conn: &mut Conn<'_, u64>, written: &mut Vec<u8>, (lent, bytes): &(Lent, Vec<u8>), len: usize) {
    let start = written.len() % bytes.len();
    let range = start..(start + len).min(bytes.len());
    let count = conn.lend(*lent, range.clone());
    assert!(count <= range.len(), "{count} bytes queued of {}", range.len());
    written.extend(&bytes[start..start + count]);
}

fn forward(conn: &mut Conn<'_, u64>, flow: &mut Flow, written: &mut Vec<u8>) {
    let Some(packet) = conn.receive() else { return };
    flow.reads(packet.data());
    let bytes = packet.data().to_vec();
    if conn.send(packet) {
        written.extend(bytes);
    }
}

fn consume(conn: &mut Conn<'_, u64>, flow: &mut Flow, len: usize) {
    let mut left = len;
    while left > 0 && !conn.peek().is_empty() {
        let piece = conn.peek();
        let count = piece.len().min(left);
        flow.reads(&piece[..count]);
        let readable = conn.readable_bytes();
        conn.consume(count);
        assert_eq!(conn.readable_bytes(), readable - count, "what is left to be read");
        left -= count;
    }
}

fn receive(conn: &mut Conn<'_, u64>, flow: &mut Flow) {
    if let Some(packet) = conn.receive() {
        flow.reads(packet.data());
    }
}

fn receive_part(conn: &mut Conn<'_, u64>, flow: &mut Flow, len: usize) {
    let readable = conn.readable_bytes();
    let Some(mut packet) = conn.receive() else { return };
    let count = len.min(packet.len());
    flow.reads(&packet.data()[..count]);
    packet.trim_front(count);
    conn.unreceive(packet);
    assert_eq!(conn.readable_bytes(), readable - count, "what is left to be read");
}

fn copy_readable(conn: &Conn<'_, u64>, flow: &mut Flow, len: usize) {
    let mut into = vec![0; len];
    let count = conn.copy_readable(&mut into);
    assert_eq!(count, len.min(conn.readable_bytes()), "what can be copied");
    if count > 0 {
        flow.shows(&into[..count]);
    }
}

impl Application for Conversation {
    type Conn = u64;

    fn accepted(&mut self, mut conn: Conn<'_, u64>) {
        let id = conn.id();
        let slot = Peer::slot_of(conn.peer().port()).expect("nobody else opens connections");
        assert!(self.flows.iter().all(|flow| flow.id != id), "accepted again");
        *conn.state() = slot as u64;
        self.peer.slots[slot].written.clear();
        let base = Some(self.peer.slots[slot].base);
        self.flows.push(Flow { id, slot, base, read: 0, given_up: false });
        self.event(conn);
    }

    fn connected(&mut self, conn: Conn<'_, u64>) {
        let at = self.position(conn.id());
        let flow = &mut self.flows[at];
        assert!(flow.base.is_none(), "connected again");
        flow.base = Some(self.peer.slots[flow.slot].iss.wrapping_add(1));
        self.event(conn);
    }

    fn readable(&mut self, conn: Conn<'_, u64>) {
        self.event(conn);
    }

    fn writable(&mut self, conn: Conn<'_, u64>) {
        self.event(conn);
    }

    fn timer(&mut self, conn: Conn<'_, u64>) {
        self.position(conn.id());
    }

    fn closed(&mut self, stack: &mut Stack<u64>, ended: Ended<u64>) {
        let flow = self.flows.remove(self.position(ended.id));
        assert_eq!(ended.state, flow.slot as u64, "the wrong state");
        assert!(stack.conn(ended.id).is_none(), "a handle on a connection that has ended");
        if ended.reason == CloseReason::Finished && !flow.given_up {
            flow.assert_at_end(&self.peer);
        }
    }
}

impl World for Conversation {
    fn sees(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        self.peer.sees(frame)
    }
}
