//! A UDP responder: tells whoever asks what address it is seen by, in the buffer that brought the question.
//!
//! ```sh
//! unshare -n sh -c 'target/debug/udp-responder & sleep 1; echo "who am I" | nc -u -w 1 198.18.0.2 3478; kill $!'
//! ```

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::pin::pin;

use anyhow::Result;
use clap::Parser as _;
use freeway_async::{UdpSocket, shutdown};
use freeway_examples::{Options, run_async};
use futures_util::future::{Either, select};

const PORT: u16 = 3_478;
/// The longest answer: an IPv6 address and a port, as text.
const ANSWER_MAX: usize = 64;

async fn respond() {
    let socket = UdpSocket::bind(None, PORT).expect("nobody else has the port");
    loop {
        let (receive, word) = (pin!(socket.receive()), pin!(shutdown()));
        let Either::Left((Ok(mut datagram), _)) = select(receive, word).await else { return };
        let mut text = [0; ANSWER_MAX];
        let mut rest = &mut text[..];
        let written = writeln!(rest, "{}", datagram.remote()).is_ok();
        let len = ANSWER_MAX - rest.len();
        // No longer than the question: a forged sender gains nothing by it.
        if !written || len > datagram.packet.len() {
            continue;
        }
        datagram.packet.truncate(len);
        datagram.packet.data_mut().copy_from_slice(&text[..len]);
        if socket.reply(datagram).is_err() {
            return;
        }
    }
}

fn main() -> Result<()> {
    run_async(&Options::parse(), respond)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway::Duration;
    use freeway_async::timeout;
    use freeway_examples::lab::{at, check, tasks};

    use super::*;

    #[test]
    fn who_asks_is_told_its_address_and_no_more_bytes_than_it_sent() {
        let ask = || async {
            let socket = UdpSocket::bind(None, 5_000).unwrap();
            socket.send_to(&[b'?'; 40], at(PORT)).unwrap();
            let mut heard = [0; 64];
            let (count, from) = socket.recv_from(&mut heard).await.unwrap();
            assert_eq!((&heard[..count], from), (&b"198.18.0.3:5000\n"[..], at(PORT)));
            socket.send_to(b"short", at(PORT)).unwrap();
            assert!(timeout(Duration::from_millis(200), socket.receive()).await.is_err());
        };
        check(tasks(respond), ask).unwrap();
    }
}
