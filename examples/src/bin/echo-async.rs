//! Echo by async: a task for each connection, and an orderly end.
//!
//! ```sh
//! unshare -n sh -c 'target/debug/echo-async & sleep 1; echo hello | nc -N 198.18.0.2 7; kill $!'
//! ```

#![forbid(unsafe_code)]

use std::pin::pin;

use anyhow::Result;
use clap::Parser as _;
use freeway::Duration;
use freeway_async::{JoinHandle, TcpListener, TcpStream, shutdown, spawn, timeout};
use freeway_examples::{Options, run_async};
use futures_util::future::{Either, select};

/// A connection that says nothing for so long is closed.
const PATIENCE: Duration = Duration::from_secs(60);

async fn serve() {
    let listener = TcpListener::bind(7).expect("nobody else listens on port 7");
    loop {
        let (accept, word) = (pin!(listener.accept()), pin!(shutdown()));
        match select(accept, word).await {
            Either::Left((Ok((stream, _peer)), _)) => {
                // Where all tasks are in use, the stream is dropped with the future: the peer sees it closed.
                let _ = spawn(echo(stream)).map(JoinHandle::detach);
            }
            Either::Left((Err(_), _)) | Either::Right(_) => return,
        }
    }
}

/// Sends frames back as they came. A slow reader makes `send` wait, and that closes the peer's window.
async fn echo(stream: TcpStream) {
    while let Ok(Ok(Some(frame))) = timeout(PATIENCE, stream.receive()).await {
        if stream.send(frame).await.is_err() {
            return;
        }
    }
}

fn main() -> Result<()> {
    run_async(&Options::parse(), serve)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway_examples::lab::{at, check, tasks};
    use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn what_is_said_comes_back_and_who_is_silent_is_closed() {
        let ask = || async {
            let mut stream = TcpStream::connect(at(7)).await.unwrap();
            for round in 0..100u32 {
                stream.write_all(&round.to_be_bytes()).await.unwrap();
                let mut heard = [0; 4];
                stream.read_exact(&mut heard).await.unwrap();
                assert_eq!(u32::from_be_bytes(heard), round);
            }
            stream.close().await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        };
        check(tasks(serve), ask).unwrap();
    }
}
