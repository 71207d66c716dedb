//! After start the server allocates nothing, whatever is asked: its turns run under a sealed heap.
//!
//! TLS, publishing and changed documents are no part of this: they allocate, as their modules say.
#![allow(clippy::unwrap_used)]

// Other tests use what this one does not.
#[allow(dead_code)]
#[path = "http/lab.rs"]
mod lab;

use std::fs;

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use freeway::Duration;
use freeway_httpd::handlers::{Echo, Events, Handler, Health, Info, Publish, Socket};
use freeway_httpd::{Config, Feed, Format, Library, LibraryConfig, Log, LogConfig, Route};
use lab::{Lab, Plan};

#[global_allocator]
static HEAP: AllocDisabler = AllocDisabler;

/// Documents in memory and on disk, and every handler that there is.
fn lab(feed: Feed, log: &mut Option<Log>, folder: &std::path::Path) -> Lab {
    let route = |path: &str, handler: Box<dyn Handler>| Route { path: path.into(), handler };
    let routes = vec![
        route("/healthz", Box::new(Health)),
        route("/info", Box::new(Info)),
        route("/echo", Box::new(Echo)),
        route("/events", Box::new(Events(0))),
        route("/publish", Box::new(Publish::new(0))),
        route("/ws", Box::new(Socket(Some(0)))),
        route("/ws-echo", Box::new(Socket(None))),
    ];
    let config = LogConfig { path: folder.join("log"), format: Format::Combined, waiting_max: 4_096 };
    let (started, mut senders) = Log::start(config, 1).unwrap();
    *log = Some(started);
    let config = Config { requests_per_second: 1_000_000, ..Config::default() };
    Plan { routes, config, log: senders.pop(), ..Plan::new(&[]) }.start_with(feed)
}

/// Sends `bytes` on one connection and lets `turns` go by, the server's sealed; returns what was heard.
fn ask(lab: &mut Lab, number: usize, bytes: &[u8], turns: u32) -> String {
    let mut left = bytes;
    for _ in 0..turns {
        let id = lab.talk(number).id.unwrap();
        left = &left[lab.client.stack_mut().conn(id).map_or(0, |mut conn| conn.write(left))..];
        lab.client.poll(lab.now);
        assert_no_alloc(|| lab.server.poll(lab.now));
        lab.now += Duration::from_micros(20);
    }
    assert!(left.is_empty(), "{} bytes had no room", left.len());
    String::from_utf8_lossy(&std::mem::take(&mut lab.talk(number).heard)).into_owned()
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[test]
fn nothing_is_allocated_after_start() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("small"), "hello, world\n").unwrap();
    fs::write(root.join("small.gz"), "coded").unwrap();
    fs::write(root.join("memory"), vec![b'm'; 60_000]).unwrap();
    fs::write(root.join("disk"), vec![b'd'; 400_000]).unwrap();
    let config = LibraryConfig { document_max: 100_000, ..LibraryConfig::new(&root) };
    let mut library = Library::open(config).unwrap();
    let mut log = None;
    let mut lab = lab(library.feed(), &mut log, folder.path());
    // The first connection of a kind takes a profile, which is a start, too.
    let first = lab.open();
    assert!(ask(&mut lab, first, get("/small", "").as_bytes(), 50).contains("200 OK"));

    let mut heard = String::new();
    for round in 0..20 {
        // Documents, whole and in parts, from memory and from disk; and what is said of those that are not there.
        for (path, fields, turns) in [
            ("/small", "", 30),
            ("/small", "Accept-Encoding: gzip\r\n", 30),
            ("/small", "If-None-Match: *\r\n", 30),
            ("/small", "Range: bytes=0-1,3-4,-2\r\n", 30),
            ("/small", "Range: bytes=100-\r\n", 30),
            ("/memory", "", 600),
            ("/memory", "Range: bytes=10-50000\r\n", 600),
            ("/sub", "", 30),
            ("/none", "User-Agent: somebody\r\n", 30),
            ("/healthz", "", 30),
            ("/info", "", 30),
        ] {
            heard += &ask(&mut lab, first, get(path, fields).as_bytes(), turns);
        }
        heard += &ask(&mut lab, first, get("/disk", "").as_bytes(), 1);
        // The disk's thread has its own time.
        while !heard.ends_with(&"d".repeat(400_000)) {
            heard += &ask(&mut lab, first, b"", 200);
            std::thread::yield_now();
        }
        // Many at once, bodies of both kinds, and a head that comes byte by byte.
        heard += &ask(&mut lab, first, get("/small", "").repeat(30).as_bytes(), 100);
        let body = "b".repeat(5_000);
        let long = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n{body}");
        heard += &ask(&mut lab, first, long.as_bytes(), 200);
        let chunks = "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n";
        heard += &ask(&mut lab, first, chunks.as_bytes(), 50);
        for byte in get("/small", "").as_bytes() {
            heard += &ask(&mut lab, first, &[*byte], 3);
        }
        // Connections that come, hear, are refused, and go.
        for bytes in [
            get("/events", "").as_str(),
            &get(
                "/ws",
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \
                 dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npart",
        ] {
            let number = lab.connect();
            ask(&mut lab, number, b"", 50);
            heard += &ask(&mut lab, number, bytes.as_bytes(), 100);
            // A message on a WebSocket that hears is dropped.
            if bytes.contains("websocket") {
                ask(&mut lab, number, b"\x81\x82\0\0\0\0hi", 50);
            }
            if round % 2 == 0 {
                lab.finish(number);
            } else {
                lab.abort(number);
            }
            ask(&mut lab, number, b"", 50);
        }
    }
    for (what, count) in [
        ("HTTP/1.1 200 OK", 20 * (31 + 6)),
        ("HTTP/1.1 206 ", 40),
        ("HTTP/1.1 304 ", 20),
        ("HTTP/1.1 416 ", 20),
        ("HTTP/1.1 301 ", 20),
        ("HTTP/1.1 404 ", 20),
        ("HTTP/1.1 400 ", 20),
        ("HTTP/1.1 101 ", 20),
        ("text/event-stream", 20),
        ("coded", 20),
    ] {
        let found = heard.matches(what).count();
        assert!(found >= count, "{what}: {found} of {count}");
    }
    assert!(lab.server().counters().disk_reads > 20);
    drop(lab);
    drop(log);
    let lines = fs::read_to_string(folder.path().join("log")).unwrap().lines().count();
    assert!(lines > 20 * 40, "{lines} lines in the log");
}
