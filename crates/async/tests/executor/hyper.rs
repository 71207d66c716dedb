//! hyper's server and client, unchanged, on two cores.

use std::convert::Infallible;

use freeway::Duration;
use freeway_async::{HyperExecutor, HyperIo, HyperTimer, TcpListener, TcpStream, now, sleep, spawn};
use futures_util::AsyncWriteExt;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Executor as _, Timer as _};
use hyper::service::service_fn;
use hyper::{Request, Response};

use crate::world::{Slot, World, server_addr};

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = [path.as_bytes(), b" ", &body].concat();
    Ok(Response::new(Full::new(Bytes::from(text))))
}

async fn serve() {
    let listener = TcpListener::bind(80).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let serve = async move {
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(HyperTimer::new())
                .header_read_timeout(std::time::Duration::from_secs(3))
                .serve_connection(HyperIo(stream), service_fn(answer))
                .await;
        };
        spawn(serve).unwrap().detach();
    }
}

#[test]
fn a_client_and_a_server_of_hypers_exchange_requests() {
    let mut world = World::new(serve, || async {
        let stream = TcpStream::connect(server_addr(80)).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(HyperIo(stream)).await.unwrap();
        let driver = spawn(connection).unwrap();
        for len in [0, 1, 1_000, 200_000] {
            let body = Full::new(Bytes::from(vec![b'x'; len]));
            let request = Request::post("/path").header("host", "there").body(body).unwrap();
            let response = sender.send_request(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.len(), "/path ".len() + len);
            assert!(body.starts_with(b"/path "));
        }
        drop(sender);
        driver.await.unwrap().unwrap();
    });
    world.finish(Duration::from_secs(10));
    world.assert_clean(1);
}

/// hyper's own time-out runs on the core's time: three virtual seconds, whatever the wall says.
#[test]
fn a_client_that_says_nothing_is_timed_out_by_the_cores_clock() {
    let took = Slot::new();
    let slot = took.clone();
    let mut world = World::new(serve, move || async move {
        let mut stream = TcpStream::connect(server_addr(80)).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let begun = now();
        stream.ended().await;
        slot.put(now().since(begun));
    });
    world.run(Duration::from_secs(4));
    // The server has closed; this side has not.
    assert!(took.take().is_none());
    assert_eq!(world.server.app().tasks(), 1, "the server's task for the connection is over");
}

#[test]
fn the_timer_and_the_executor_do_what_hyper_expects() {
    let mut world = World::new(
        || async {},
        || async {
            let timer = HyperTimer::new();
            let begun = timer.now();
            let ran = Slot::new();
            let slot = ran.clone();
            HyperExecutor.execute(async move { slot.put(()) });
            timer.sleep(std::time::Duration::from_millis(20)).await;
            assert!(ran.take().is_some());
            let mut wait = timer.sleep_until(begun + std::time::Duration::from_secs(50));
            timer.reset(&mut wait, begun + std::time::Duration::from_millis(40));
            wait.await;
            let passed = timer.now() - begun;
            assert!((40..42).contains(&passed.as_millis()), "{passed:?}");
            sleep(Duration::ZERO).await;
        },
    );
    world.finish(Duration::from_secs(1));
}
