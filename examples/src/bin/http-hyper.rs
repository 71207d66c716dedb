//! hyper, unchanged, on Freeway's stack: its server speaks HTTP, a core's executor runs it.
//!
//! ```sh
//! unshare -n sh -c 'target/debug/http-hyper & sleep 1; curl -i http://198.18.0.2/path; kill $!'
//! ```

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use clap::Parser as _;
use freeway_async::{HyperIo, HyperTimer, JoinHandle, TcpListener, TcpStream, shutdown, spawn};
use freeway_examples::{Options, run_async};
use futures_util::future::{Either, select};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = format!("{} {} on Freeway\n", request.method(), request.uri().path());
    Ok(Response::new(Full::new(text.into())))
}

async fn serve() {
    let listener = TcpListener::bind(80).expect("nobody else listens on port 80");
    loop {
        let (accept, word) = (pin!(listener.accept()), pin!(shutdown()));
        match select(accept, word).await {
            Either::Left((Ok((stream, _peer)), _)) => {
                let _ = spawn(converse(stream)).map(JoinHandle::detach);
            }
            Either::Left((Err(_), _)) | Either::Right(_) => return,
        }
    }
}

/// One connection, until its peer or the server ends; requests under way are answered first.
async fn converse(stream: TcpStream) {
    let mut conn = pin!(
        http1::Builder::new()
            .timer(HyperTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .serve_connection(HyperIo(stream), service_fn(answer))
    );
    if let Either::Right(((), conn_left)) = select(conn.as_mut(), pin!(shutdown())).await {
        conn_left.graceful_shutdown();
        let _ = conn.await;
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
    fn requests_are_answered_one_after_the_other() {
        let ask = || async {
            let mut stream = TcpStream::connect(at(80)).await.unwrap();
            let requests = b"GET /one HTTP/1.1\r\nhost: x\r\n\r\nGET /two HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            stream.write_all(requests).await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            let one = heard.find("GET /one on Freeway\n").unwrap();
            assert!(
                heard.starts_with("HTTP/1.1 200 OK\r\n")
                    && heard.find("GET /two on Freeway\n").unwrap() > one
            );
        };
        check(tasks(serve), ask).unwrap();
    }
}
