//! Echo by events: the lowest interface, without a copy and without an allocation.
//!
//! ```sh
//! unshare -n sh -c 'target/debug/echo-events & sleep 1; echo hello | nc -N 198.18.0.2 7; kill $!'
//! ```

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser as _;
use freeway::{Application, Conn, Instant, ListenConfig, Stack};
use freeway_examples::{Options, run};

/// The application of one core. What belongs to a connection would be its `Conn` type.
struct Echo;

impl Application for Echo {
    type Conn = ();

    fn start(&mut self, stack: &mut Stack<()>, _now: Instant) {
        stack.listen(&ListenConfig::new(7)).expect("nobody else listens on port 7");
    }

    fn readable(&mut self, mut conn: Conn<'_, ()>) {
        // The frame that brought the bytes takes them back, as far as there is room.
        while let Some(frame) = conn.receive() {
            if conn.send_room() < frame.data().len() {
                conn.unreceive(frame);
                conn.want_room();
                return;
            }
            conn.send(frame);
        }
        if conn.at_end() {
            conn.close();
        }
    }

    fn writable(&mut self, conn: Conn<'_, ()>) {
        self.readable(conn);
    }
}

fn main() -> Result<()> {
    run(&Options::parse(), || Echo)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway_async::TcpStream;
    use freeway_examples::lab::{at, check};
    use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::Echo;

    #[test]
    fn what_is_said_comes_back() {
        let ask = || async {
            let stream = TcpStream::connect(at(7)).await.unwrap();
            let said: Vec<u8> = (0..500_000u32).map(|place| place as u8).collect();
            let (mut reader, mut writer) = stream.into_split();
            let mut heard = Vec::new();
            let speak = async {
                writer.write_all(&said).await.unwrap();
                writer.close().await.unwrap();
            };
            futures_util::join!(speak, async { reader.read_to_end(&mut heard).await.unwrap() });
            assert!(heard == said);
        };
        check(|_| Echo, ask).unwrap();
    }
}
