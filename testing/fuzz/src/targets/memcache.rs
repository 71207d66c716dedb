//! memcached's protocols, carried out on a model: however the bytes are split, the answers are the same.
//!
//! The first byte of an input says how long the pieces are that the rest arrives in. Short inputs also arrive in two pieces,
//! split at every position.

use freeway_memcache::udp::{FRAME_LEN, Frame};
use freeway_memcache::{Decoder, Limits, Protocol, Step, text};
use freeway_memcached::{Model, Session};

/// Inputs of at most so many bytes are split everywhere.
const SHORT: usize = 64;
/// Values over this are refused, so that inputs reach what happens then.
const ITEM_MAX: u32 = 100;

/// The text protocol and meta; half of the inputs have to say a password first.
pub fn memcache_text(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    let start = || match first & 0x80 {
        0 => Session::new(Protocol::Text, Limits::default()),
        _ => Session::locked("user", "pass"),
    };
    same_however_split(first, bytes, start);
    check_steps(Decoder::new(Protocol::Text), bytes);
    check_steps(Decoder::locked(), bytes);
}

/// The binary protocol.
pub fn memcache_binary(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    same_however_split(first, bytes, || Session::new(Protocol::Auto, Limits::default()));
    check_steps(Decoder::new(Protocol::Auto), bytes);
    check_steps(Decoder::new(Protocol::Binary), bytes);
}

/// A datagram: a frame and the requests in it.
pub fn memcache_udp(data: &[u8]) {
    let Some((frame, payload)) = Frame::parse(data) else {
        assert!(data.len() < FRAME_LEN);
        return;
    };
    let again = frame.to_bytes();
    // Two bytes are reserved, and not kept.
    assert_eq!(again[..6], data[..6]);
    assert_eq!(Frame::parse(&again), Some((frame, [].as_slice())));
    if frame.is_whole() {
        let (mut model, mut answer) = (model(), Vec::new());
        let mut session = Session::new(Protocol::Auto, Limits::default());
        assert!(session.feed(&mut model, payload, &mut answer) <= payload.len());
    }
}

fn model() -> Model {
    Model::with_item_max(ITEM_MAX)
}

fn same_however_split(first: u8, bytes: &[u8], start: impl Fn() -> Session) {
    let whole = answer(&start, [bytes]);
    let size = usize::from(first & 0x7f).max(1);
    assert_eq!(whole, answer(&start, bytes.chunks(size)), "in pieces of {size} bytes");
    if bytes.len() <= SHORT {
        for at in 1..bytes.len() {
            let (one, other) = bytes.split_at(at);
            assert_eq!(whole, answer(&start, [one, other]), "split at {at}");
        }
    }
}

/// What is answered to these pieces, and whether the connection is over.
fn answer<'a>(start: impl Fn() -> Session, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, bool) {
    let (mut session, mut model, mut answer) = (start(), model(), Vec::new());
    let mut unread = Vec::new();
    for piece in pieces {
        unread.extend_from_slice(piece);
        let used = session.feed(&mut model, &unread, &mut answer);
        unread.drain(..used);
    }
    (answer, session.is_closed())
}

/// Every step is what its documentation promises, and the decoder comes to an end.
fn check_steps(mut decoder: Decoder, bytes: &[u8]) {
    let limits = Limits::default();
    let mut rest = bytes;
    // A step without a byte is a value's empty end.
    let mut empty_steps = 0;
    loop {
        let left = decoder.value_left() as usize;
        let (used, step) = decoder.next(rest, &limits);
        rest = &rest[used..];
        empty_steps = if used == 0 { empty_steps + 1 } else { 0 };
        assert!(empty_steps < 3, "{step:?} again and again");
        match step {
            Step::More | Step::Close => return,
            Step::Data(data) => assert!(!data.is_empty() && data.len() <= left),
            Step::Text(text::Command::Get(get)) => {
                assert!(get.keys.into_iter().all(|key| (1..=250).contains(&key.len())));
            }
            Step::Text(text::Command::Store(store)) => {
                assert!((1..=250).contains(&store.key.len()));
                assert_eq!(decoder.value_left(), store.len);
                if store.len > ITEM_MAX {
                    decoder.skip_value();
                    assert_eq!(decoder.value_left(), 0);
                }
            }
            Step::BinaryRefused { close: true, .. } => {
                assert!(matches!(decoder.next(rest, &limits), (_, Step::Close)));
                return;
            }
            Step::Auth(credentials) if credentials.user == b"user" => decoder.authenticated(),
            _ => {}
        }
    }
}
