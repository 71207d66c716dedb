//! What a memif's peer says before memory is shared.
//!
//! The input is a conversation. Its first byte says which end listens; each message after it is two bytes, whether a file
//! comes along and how many bytes follow, and those bytes; the rest of the message is zeros.

use freeway_memif::message::{Hello, Init, MESSAGE_BYTES, Message, Text, VERSION};
use freeway_memif::session::{ClientSession, ClientStep, Offer, ServerSession, ServerStep, Terms};

const QUEUES: usize = 2;
const RING_LOG2_MAX: u8 = 10;
const REGION_BYTES_MAX: u64 = 1 << 20;
const SECRET: &str = "fuzz";

/// A memif's control messages: each is read and written, and a session of either end hears them all.
pub fn memif(data: &[u8]) {
    hear(data);
}

/// True if the two came to terms.
fn hear(data: &[u8]) -> bool {
    let Some((&side, mut rest)) = data.split_first() else { return false };
    let mut messages = Vec::new();
    while let Some((&[with_file, len], bytes)) = rest.split_first_chunk() {
        let (said, others) = bytes.split_at(usize::from(len).min(bytes.len()).min(MESSAGE_BYTES));
        let mut whole = [0; MESSAGE_BYTES];
        whole[..said.len()].copy_from_slice(said);
        rest = others;
        // The session ends with a message that is none.
        let Ok(message) = Message::parse(&whole) else { break };
        assert_eq!(Message::parse(&message.emit()), Ok(message));
        messages.push((message, (with_file & 1 != 0).then_some(())));
    }
    if side & 1 == 0 { serve(&messages) } else { visit(&messages) }
}

/// A server with an interface that is open, one with a secret, and one that is taken.
fn serve(messages: &[(Message, Option<()>)]) -> bool {
    let terms = |id, secret, is_busy| Terms {
        id,
        secret: Text::new(secret),
        queues: QUEUES,
        ring_log2_max: RING_LOG2_MAX,
        region_bytes_max: REGION_BYTES_MAX,
        is_busy,
    };
    let interfaces = [terms(0, "", false), terms(1, SECRET, false), terms(2, "", true)];
    let mut session = ServerSession::default();
    for (message, file) in messages {
        match session.handle(message, *file, &interfaces) {
            Ok(ServerStep::Reply(reply)) => assert_eq!(reply, Message::Ack),
            Ok(ServerStep::Ready(offer)) => {
                let Some((Message::Init(init), _)) = messages.first() else { panic!("let in without INIT") };
                assert_eq!((init.version, init.mode), (VERSION, 0));
                assert_eq!(session.interface(), Some(init.id as usize));
                assert!(init.id == 0 || (init.id == 1 && init.secret == Text::new(SECRET)), "{init:?}");
                check_offer(&offer);
                return true;
            }
            Err(_) => return false,
        }
    }
    false
}

/// What a server would map and use is within its terms.
fn check_offer(offer: &Offer<()>) {
    assert!(offer.regions.len() <= 256 && offer.regions.iter().all(|&(size, ())| size > 0));
    assert!(offer.regions.iter().map(|&(size, ())| size).sum::<u64>() <= REGION_BYTES_MAX);
    assert!(!offer.to_server.is_empty() || !offer.to_client.is_empty());
    for (rings, to_server) in [(&offer.to_server, true), (&offer.to_client, false)] {
        assert!(rings.len() <= QUEUES);
        for (index, ring) in rings.iter().enumerate() {
            let Some(ring) = ring else { continue };
            assert_eq!((ring.place.to_server, usize::from(ring.place.index)), (to_server, index));
            assert!((1..=RING_LOG2_MAX).contains(&ring.place.log2_size) && ring.place.private_header == 0);
        }
    }
}

/// A client that has three things to say.
fn visit(messages: &[(Message, Option<()>)]) -> bool {
    let script = |_: &Hello| {
        let init =
            Init { version: VERSION, id: 0, mode: 0, secret: Text::new(SECRET), name: Text::new("fuzz") };
        let region = Message::AddRegion { index: 0, size: 4_096 };
        Ok(vec![
            (Message::Init(init), None),
            (region, Some(())),
            (Message::Connect { name: Text::ZERO }, None),
        ])
    };
    let mut session = ClientSession::default();
    let mut said = 0;
    for (message, _) in messages {
        match session.handle(message, script) {
            Ok(ClientStep::Send(next, file)) => {
                said += 1;
                assert_eq!(file.is_some(), matches!(next, Message::AddRegion { .. }));
            }
            Ok(ClientStep::Connected(name)) => {
                assert_eq!(
                    (said, *message),
                    (3, Message::Connected { name }),
                    "connected before all is said"
                );
                let Some((Message::Hello(hello), _)) = messages.first() else { panic!("no HELLO") };
                assert!((hello.version_min..=hello.version_max).contains(&VERSION));
                return true;
            }
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Or nothing that is checked of an offer would be reached.
    #[test]
    fn some_of_the_corpus_come_to_terms() {
        let inputs = crate::corpus::read("memif").unwrap();
        for side in [0, 1] {
            assert!(inputs.iter().any(|input| input.first() == Some(&side) && hear(input)), "side {side}");
        }
    }
}
