//! The handshake, as each side sees it: messages in, messages out; no socket, no memory, no clock.
//!
//! ```text
//!   server                        client
//!   HELLO  ─────────────────────►          its limits
//!          ◄─────────────────────  INIT    which interface, the secret
//!   ACK    ─────────────────────►
//!          ◄─────────────────────  ADD_REGION, ADD_RING …      each with a file, each answered by ACK
//!          ◄─────────────────────  CONNECT
//!   CONNECTED ──────────────────►          now the rings are used
//! ```
//!
//! Either side may say DISCONNECT at any time. After CONNECTED nothing else is said.
//!
//! Sessions are generic over the files that come along, so that they can be driven without any.

use std::collections::VecDeque;

use crate::config::RING_LOG2_MAX;
use crate::message::{AddRing, Hello, Init, Message, Text, VERSION};
use crate::reason::Reason;

/// The last region a server takes: region numbers of other implementations are as many.
pub const REGION_LAST: u16 = 255;

/// `MEMIF_INTERFACE_MODE_ETHERNET`.
const ETHERNET: u8 = 0;

/// What a server asks of a client, and gives it: one of a socket's interfaces.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The interface's number.
    pub id: u32,
    /// What the client must say; empty for nothing.
    pub secret: Text<24>,
    /// How many rings of each direction it may have.
    pub queues: usize,
    /// The most slots of a ring, as a binary logarithm.
    pub ring_log2_max: u8,
    /// How much memory it may bring, in bytes.
    pub region_bytes_max: u64,
    /// Whether there is a client already.
    pub is_busy: bool,
}

/// A ring that a client has announced.
#[derive(Debug)]
pub struct RingOffer<F> {
    /// Where it lies.
    pub place: AddRing,
    /// What wakes its receiver.
    pub interrupt: F,
}

/// All that a client has announced when it says CONNECT. Where rings lie is not checked yet: that takes the memory.
#[derive(Debug)]
pub struct Offer<F> {
    /// Sizes and files, in the order of the regions' numbers.
    pub regions: Vec<(u64, F)>,
    /// Rings to the server, by number.
    pub to_server: Vec<Option<RingOffer<F>>>,
    /// Rings to the client, by number.
    pub to_client: Vec<Option<RingOffer<F>>>,
    /// Who the client is: its process, then its interface.
    pub peer: [Text<32>; 2],
}

impl<F> Offer<F> {
    const fn new() -> Self {
        Self { regions: Vec::new(), to_server: Vec::new(), to_client: Vec::new(), peer: [Text::ZERO; 2] }
    }
}

/// A server's answer to a message.
#[derive(Debug)]
pub enum ServerStep<F> {
    /// To be sent.
    Reply(Message),
    /// The client is ready. If its memory is in order, CONNECTED is to be sent.
    Ready(Offer<F>),
}

/// The server's side of one handshake.
#[derive(Debug)]
pub struct ServerSession<F> {
    /// Which of the socket's interfaces, after INIT.
    interface: Option<usize>,
    bytes: u64,
    offer: Offer<F>,
}

impl<F> Default for ServerSession<F> {
    fn default() -> Self {
        Self { interface: None, bytes: 0, offer: Offer::new() }
    }
}

impl<F> ServerSession<F> {
    /// What a server says first, for all the interfaces of its socket.
    pub fn hello(name: Text<32>, interfaces: &[Terms]) -> Message {
        let last_queue = interfaces.iter().map(|terms| terms.queues).max().unwrap_or(1).saturating_sub(1);
        Message::Hello(Hello {
            name,
            version_min: VERSION,
            version_max: VERSION,
            region_max: REGION_LAST,
            to_client_max: last_queue as u16,
            to_server_max: last_queue as u16,
            ring_log2_max: interfaces.iter().map(|terms| terms.ring_log2_max).max().unwrap_or(RING_LOG2_MAX),
        })
    }

    /// Which of the socket's interfaces the client has asked for.
    pub const fn interface(&self) -> Option<usize> {
        self.interface
    }

    /// Deals with a message, and the file that came with it. `interfaces` are those of the socket, always in the
    /// same order.
    ///
    /// # Errors
    ///
    /// Why the client is turned away. The session is over.
    pub fn handle(
        &mut self,
        message: &Message,
        file: Option<F>,
        interfaces: &[Terms],
    ) -> Result<ServerStep<F>, Reason> {
        if let Message::Disconnect { .. } = message {
            return Err(Reason::PeerDisconnected);
        }
        let Some(terms) = self.interface.and_then(|index| interfaces.get(index)) else {
            let Message::Init(init) = message else { return Err(Reason::OutOfOrder) };
            self.interface = Some(admit(init, interfaces)?);
            self.offer.peer[0] = init.name;
            return Ok(ServerStep::Reply(Message::Ack));
        };
        match message {
            Message::AddRegion { index, size } => {
                if usize::from(*index) != self.offer.regions.len() || *index > REGION_LAST {
                    return Err(Reason::RegionIndex);
                }
                let bytes = self.bytes.checked_add(*size).filter(|&bytes| bytes <= terms.region_bytes_max);
                self.bytes = bytes.filter(|_| *size > 0).ok_or(Reason::RegionSize)?;
                self.offer.regions.push((*size, file.ok_or(Reason::RegionFile)?));
            }
            Message::AddRing(place) => {
                let rings =
                    if place.to_server { &mut self.offer.to_server } else { &mut self.offer.to_client };
                add_ring(rings, *place, file, terms)?;
            }
            Message::Connect { name } => {
                if self.offer.to_server.is_empty() && self.offer.to_client.is_empty() {
                    return Err(Reason::NoRing);
                }
                self.offer.peer[1] = *name;
                return Ok(ServerStep::Ready(std::mem::replace(&mut self.offer, Offer::new())));
            }
            _ => return Err(Reason::OutOfOrder),
        }
        Ok(ServerStep::Reply(Message::Ack))
    }
}

/// The interface a client asks for, if it may have it.
fn admit(init: &Init, interfaces: &[Terms]) -> Result<usize, Reason> {
    if init.version != VERSION {
        return Err(Reason::Version);
    }
    let index = interfaces.iter().position(|terms| terms.id == init.id).ok_or(Reason::UnknownId)?;
    let terms = interfaces.get(index).ok_or(Reason::UnknownId)?;
    // Before anything is said about the interface.
    if !terms.secret.as_bytes().is_empty() && !terms.secret.is_same_secret(&init.secret) {
        return Err(Reason::Secret);
    }
    if init.mode != ETHERNET {
        return Err(Reason::Mode);
    }
    if terms.is_busy {
        return Err(Reason::Busy);
    }
    Ok(index)
}

fn add_ring<F>(
    rings: &mut Vec<Option<RingOffer<F>>>,
    place: AddRing,
    file: Option<F>,
    terms: &Terms,
) -> Result<(), Reason> {
    let index = usize::from(place.index);
    if index >= terms.queues {
        return Err(Reason::RingIndex);
    }
    if place.log2_size == 0 || place.log2_size > terms.ring_log2_max.min(RING_LOG2_MAX) {
        return Err(Reason::RingSize);
    }
    if place.private_header != 0 {
        return Err(Reason::PrivateHeader);
    }
    let interrupt = file.ok_or(Reason::Interrupt)?;
    if rings.len() <= index {
        rings.resize_with(index + 1, || None);
    }
    match rings.get_mut(index) {
        Some(vacant @ None) => *vacant = Some(RingOffer { place, interrupt }),
        _ => return Err(Reason::RingIndex),
    }
    Ok(())
}

/// A client's answer to a message.
#[derive(Debug)]
pub enum ClientStep<F> {
    /// To be sent, with the file.
    Send(Message, Option<F>),
    /// The server is ready too. This is what it calls its interface.
    Connected(Text<32>),
}

/// The client's side of one handshake.
#[derive(Debug)]
pub struct ClientSession<F> {
    /// What is still to be said, after HELLO.
    script: Option<VecDeque<(Message, Option<F>)>>,
}

impl<F> Default for ClientSession<F> {
    fn default() -> Self {
        Self { script: None }
    }
}

impl<F> ClientSession<F> {
    /// Deals with a message. When the server has said what it allows, `write` is asked for what to announce: INIT,
    /// regions, rings, CONNECT.
    ///
    /// # Errors
    ///
    /// Why there is no connection. The session is over.
    pub fn handle(
        &mut self,
        message: &Message,
        write: impl FnOnce(&Hello) -> Result<Vec<(Message, Option<F>)>, Reason>,
    ) -> Result<ClientStep<F>, Reason> {
        match (message, &mut self.script) {
            (Message::Disconnect { .. }, _) => Err(Reason::PeerDisconnected),
            (Message::Hello(hello), script @ None) => {
                if !(hello.version_min..=hello.version_max).contains(&VERSION) {
                    return Err(Reason::Version);
                }
                next(script.insert(write(hello)?.into()))
            }
            (Message::Ack, Some(script)) => next(script),
            (Message::Connected { name }, Some(script)) if script.is_empty() => {
                Ok(ClientStep::Connected(*name))
            }
            _ => Err(Reason::OutOfOrder),
        }
    }
}

fn next<F>(script: &mut VecDeque<(Message, Option<F>)>) -> Result<ClientStep<F>, Reason> {
    let (message, file) = script.pop_front().ok_or(Reason::OutOfOrder)?;
    Ok(ClientStep::Send(message, file))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn terms() -> Terms {
        Terms {
            id: 3,
            secret: Text::new("open"),
            queues: 2,
            ring_log2_max: 10,
            region_bytes_max: 1 << 20,
            is_busy: false,
        }
    }

    fn init() -> Init {
        Init { version: VERSION, id: 3, mode: 0, secret: Text::new("open"), name: Text::new("client") }
    }

    fn ring(to_server: bool, index: u16) -> AddRing {
        AddRing { to_server, index, region: 0, offset: 0, log2_size: 4, private_header: 0 }
    }

    /// Says all, and returns the answer to the last. Every message comes with a file, but for those where none is said.
    fn after(messages: &[(Message, Option<()>)], terms: &[Terms]) -> Result<ServerStep<()>, Reason> {
        let mut session = ServerSession::default();
        let (last, first) = messages.split_last().unwrap();
        for (message, file) in first {
            assert!(matches!(session.handle(message, *file, terms), Ok(ServerStep::Reply(Message::Ack))));
        }
        session.handle(&last.0, last.1, terms)
    }

    fn refused(messages: &[(Message, Option<()>)]) -> Reason {
        after(messages, &[terms()]).unwrap_err()
    }

    const FILE: Option<()> = Some(());

    #[test]
    fn a_client_in_order_is_let_in() {
        let messages = [
            (Message::Init(init()), None),
            (Message::AddRegion { index: 0, size: 4_096 }, FILE),
            (Message::AddRing(ring(true, 1)), FILE),
            (Message::AddRing(ring(false, 0)), FILE),
            (Message::Connect { name: Text::new("port") }, None),
        ];
        let Ok(ServerStep::Ready(offer)) = after(&messages, &[terms()]) else { panic!("not ready") };
        assert_eq!(offer.regions, [(4_096, ())]);
        assert!(offer.to_server[0].is_none() && offer.to_server[1].is_some());
        assert_eq!((offer.to_server.len(), offer.to_client.len()), (2, 1));
        assert_eq!(offer.peer, [Text::new("client"), Text::new("port")]);
    }

    #[test]
    fn whoever_may_not_is_turned_away_by_name() {
        let refused = |init| refused(&[(Message::Init(init), None)]);
        assert_eq!(refused(Init { version: 0x100, ..init() }), Reason::Version);
        assert_eq!(refused(Init { id: 4, ..init() }), Reason::UnknownId);
        assert_eq!(refused(Init { secret: Text::new("opem"), ..init() }), Reason::Secret);
        assert_eq!(refused(Init { secret: Text::default(), ..init() }), Reason::Secret);
        assert_eq!(refused(Init { mode: 1, ..init() }), Reason::Mode);
        let busy = [Terms { is_busy: true, ..terms() }];
        assert_eq!(after(&[(Message::Init(init()), None)], &busy).unwrap_err(), Reason::Busy);
        let open = [Terms { secret: Text::default(), ..terms() }];
        assert!(after(&[(Message::Init(init()), None)], &open).is_ok());
    }

    #[test]
    fn messages_out_of_order_end_the_session() {
        let init = (Message::Init(init()), None);
        let connect = (Message::Connect { name: Text::default() }, None);
        assert_eq!(refused(&[(Message::Ack, None)]), Reason::OutOfOrder);
        assert_eq!(refused(&[connect]), Reason::OutOfOrder);
        assert_eq!(refused(&[(Message::AddRegion { index: 0, size: 1 }, FILE)]), Reason::OutOfOrder);
        assert_eq!(refused(&[init, init]), Reason::OutOfOrder);
        assert_eq!(refused(&[init, connect]), Reason::NoRing);
        assert_eq!(
            refused(&[init, (Message::Connected { name: Text::default() }, None)]),
            Reason::OutOfOrder
        );
        let goodbye = (Message::Disconnect { code: 0, reason: Text::default() }, None);
        assert_eq!(refused(&[goodbye]), Reason::PeerDisconnected);
    }

    #[test]
    fn regions_come_in_order_with_files_and_within_bounds() {
        let init = (Message::Init(init()), None);
        let region = |index, size| Message::AddRegion { index, size };
        assert_eq!(refused(&[init, (region(1, 4_096), FILE)]), Reason::RegionIndex);
        assert_eq!(refused(&[init, (region(0, 1), FILE), (region(0, 1), FILE)]), Reason::RegionIndex);
        assert_eq!(refused(&[init, (region(0, 4_096), None)]), Reason::RegionFile);
        assert_eq!(refused(&[init, (region(0, 0), FILE)]), Reason::RegionSize);
        assert_eq!(refused(&[init, (region(0, (1 << 20) + 1), FILE)]), Reason::RegionSize);
        assert_eq!(
            refused(&[init, (region(0, 1 << 20), FILE), (region(1, u64::MAX), FILE)]),
            Reason::RegionSize
        );
        let mut all = vec![init];
        all.extend((0..=REGION_LAST).map(|index| (region(index, 1), FILE)));
        assert!(after(&all, &[terms()]).is_ok());
        all.push((region(256, 1), FILE));
        assert_eq!(refused(&all), Reason::RegionIndex);
    }

    #[test]
    fn rings_come_once_with_a_size_and_an_interrupt() {
        let init = (Message::Init(init()), None);
        let refused = |place, file| refused(&[init, (Message::AddRing(place), file)]);
        assert_eq!(refused(ring(true, 2), FILE), Reason::RingIndex);
        assert_eq!(refused(AddRing { log2_size: 0, ..ring(true, 0) }, FILE), Reason::RingSize);
        assert_eq!(refused(AddRing { log2_size: 11, ..ring(true, 0) }, FILE), Reason::RingSize);
        assert_eq!(refused(AddRing { log2_size: 255, ..ring(false, 0) }, FILE), Reason::RingSize);
        assert_eq!(refused(AddRing { private_header: 8, ..ring(true, 0) }, FILE), Reason::PrivateHeader);
        assert_eq!(refused(ring(true, 0), None), Reason::Interrupt);
        let twice = (Message::AddRing(ring(true, 0)), FILE);
        assert_eq!(super::tests::refused(&[init, twice, twice]), Reason::RingIndex);
    }

    #[test]
    fn a_client_speaks_only_when_answered() {
        let Message::Hello(hello) = ServerSession::<()>::hello(Text::new("s"), &[terms()]) else {
            panic!("a server says hello");
        };
        assert_eq!((hello.to_client_max, hello.to_server_max, hello.ring_log2_max), (1, 1, 10));
        let script = |_: &Hello| {
            Ok(vec![(Message::Init(init()), None), (Message::Connect { name: Text::default() }, FILE)])
        };
        let never = |_: &Hello| -> Result<_, Reason> { panic!("said hello before") };
        let connected = Message::Connected { name: Text::new("port") };

        let mut client = ClientSession::default();
        assert!(matches!(
            client.handle(&Message::Hello(hello), script),
            Ok(ClientStep::Send(Message::Init(_), None))
        ));
        assert!(matches!(
            client.handle(&Message::Ack, never),
            Ok(ClientStep::Send(Message::Connect { .. }, FILE))
        ));
        assert!(
            matches!(client.handle(&connected, never), Ok(ClientStep::Connected(name)) if name == Text::new("port"))
        );

        let first = |message: &Message| ClientSession::<()>::default().handle(message, script).unwrap_err();
        assert_eq!(first(&Message::Ack), Reason::OutOfOrder);
        assert_eq!(first(&connected), Reason::OutOfOrder);
        let newer = Hello { version_min: VERSION + 1, version_max: VERSION + 2, ..hello };
        assert_eq!(first(&Message::Hello(newer)), Reason::Version);
        assert_eq!(
            first(&Message::Disconnect { code: 1, reason: Text::default() }),
            Reason::PeerDisconnected
        );
        let mut hasty = ClientSession::default();
        hasty.handle(&Message::Hello(hello), script).unwrap();
        assert_eq!(hasty.handle(&connected, never).unwrap_err(), Reason::OutOfOrder);
        assert_eq!(hasty.handle(&Message::Hello(hello), never).unwrap_err(), Reason::OutOfOrder);
    }
}
