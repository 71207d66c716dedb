//! Handlers: bodies both ways, events, WebSockets.

use freeway::Duration;
use freeway_http1::websocket::{FrameHead, accept_key};
use freeway_httpd::handlers::{Echo, Events, Handler, Health, Info, Publish, Rights, Socket};
use freeway_httpd::{Config, Route};

use crate::lab::{Answer, Lab, Plan};

/// Those of the laboratory's client, if it knows the word.
fn rights() -> Rights {
    Rights { from: vec![("198.18.0.3".parse().unwrap(), 32)], token: Some((*b"word").into()) }
}

fn plan(config: Config) -> Plan {
    let route = |path: &str, handler: Box<dyn Handler>| Route { path: path.into(), handler };
    let routes = vec![
        route("/healthz", Box::new(Health)),
        route("/info", Box::new(Info)),
        route("/echo", Box::new(Echo)),
        route("/events", Box::new(Events(0))),
        route("/publish", Box::new(Publish::new(0))),
        route("/guarded", Box::new(Publish::new(0).only(rights()))),
        route("/ws", Box::new(Socket(Some(0)))),
        route("/ws-echo", Box::new(Socket(None))),
    ];
    Plan { routes, config, ..Plan::new(&[("/", b"x")]) }
}

fn lab_with(config: Config) -> Lab {
    plan(config).start()
}

fn lab() -> Lab {
    lab_with(Config::default())
}

#[test]
fn small_answers_are_made() {
    let mut lab = lab();
    let answer = lab.get("/healthz", "");
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.field("Content-Length")),
        (200, "ok\n", Some("3"))
    );
    let answer = lab.get("/info", "");
    assert!(answer.body.starts_with("{\"server\":\"freeway\",\"connections\":2,"), "{}", answer.body);
    assert_eq!(lab.ask(&[b"DELETE /healthz HTTP/1.1\r\nHost: a\r\n\r\n"]).0.get(9..12), Some("405"));
    let (text, _) = lab.ask(&[b"OPTIONS /echo HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert_eq!(Answer::parse(&text).field("Allow"), Some("POST, PUT, OPTIONS"));
}

#[test]
fn a_body_comes_back_as_it_was_framed() {
    let mut lab = lab();
    let number = lab.open();
    lab.say(
        number,
        &[
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello",
            b" world",
            b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
    let heard = lab.heard(number);
    let answer = Answer::parse(&heard);
    assert_eq!(answer.field("Content-Length"), Some("11"));
    assert!(answer.body.starts_with("hello worldHTTP/1.1 200 OK"), "{heard}");

    lab.say(
        number,
        &[
            b"PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            b"lo\r\n1;x=y\r\n!\r\n0\r\nX: y\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
    let heard = lab.heard(number);
    let answer = Answer::parse(&heard);
    assert_eq!(answer.field("Transfer-Encoding"), Some("chunked"));
    let (body, rest) = answer.body.split_once("0\r\n\r\n").unwrap();
    let text: String = body.split("\r\n").skip(1).step_by(2).collect();
    assert_eq!(text, "hello!");
    assert_eq!(Answer::parse(rest).status, 200);
    // HTTP/1.0 has no chunks, and no body is one of no bytes.
    let (text, is_over) = lab.ask(&[b"POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nab"]);
    assert!(text.ends_with("\r\n\r\nab") && is_over, "{text}");
    let (text, _) = lab.ask(&[b"POST /echo HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert_eq!(Answer::parse(&text).field("Content-Length"), Some("0"));
}

#[test]
fn a_large_body_passes_through_however_slowly_it_is_read() {
    let mut lab = lab();
    let number = lab.open();
    let body: Vec<u8> = (0..900_000u32).map(|at| b'a' + (at % 23) as u8).collect();
    lab.say(
        number,
        &[format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes()],
    );
    for (place, piece) in body.chunks(50_000).enumerate() {
        lab.talk(number).is_deaf = place % 3 != 0;
        lab.say_while_reading(number, piece);
    }
    lab.talk(number).is_deaf = false;
    lab.hear_again(number);
    lab.run(Duration::from_secs(3));
    let heard = lab.heard(number);
    assert!(Answer::parse(&heard).body.as_bytes() == body, "other bytes came back");
}

#[test]
fn the_client_is_told_to_go_on() {
    let mut lab = lab();
    let number = lab.open();
    lab.say(
        number,
        &[b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"],
    );
    assert_eq!(lab.heard(number), "HTTP/1.1 100 Continue\r\n\r\n");
    lab.say(number, &[b"ab"]);
    assert!(lab.heard(number).starts_with("HTTP/1.1 200 OK"));
    // Who will get an error anyway need not send its body.
    let (text, is_over) =
        lab.ask(&[b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"]);
    assert!(text.starts_with("HTTP/1.1 405") && is_over);
}

#[test]
fn bodies_are_bounded_and_bad_ones_end_the_connection() {
    let mut lab = lab_with(Config { body_max: 10, ..Config::default() });
    let (text, is_over) =
        lab.ask(&[b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n01234567890"]);
    assert!(text.starts_with("HTTP/1.1 413") && is_over);
    let head = "POST /publish HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, status) in [("b\r\n01234567890\r\n0\r\n\r\n", 413), ("1\na", 400), ("1\r\nab", 400)] {
        let (text, is_over) = lab.ask(&[head.as_bytes(), body.as_bytes()]);
        assert_eq!((Answer::parse(&text).status, is_over), (status, true), "{body:?}");
    }
    // Drafts that were given up are free again.
    for _ in 0..20 {
        let number = lab.open();
        lab.say(number, &[b"POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"]);
        lab.finish(number);
        lab.settle();
    }
    let (text, _) = lab.ask(&[b"POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"]);
    assert!(text.starts_with("HTTP/1.1 202"), "{text}");
}

fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first, 0x80 | payload.len() as u8];
    if payload.len() > 125 {
        frame[1] = 0x80 | 126;
        frame.extend((payload.len() as u16).to_be_bytes());
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn open_socket(lab: &mut Lab, path: &str) -> usize {
    let number = lab.open();
    lab.say(number, &[upgrade(path).as_bytes()]);
    let answer = Answer::parse(&lab.heard(number));
    let key = accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!((answer.status, answer.field("Sec-WebSocket-Accept")), (101, core::str::from_utf8(&key).ok()));
    number
}

#[test]
fn a_message_reaches_all_subscribers_of_both_kinds() {
    let mut lab = lab_with(Config { broadcast_step: 2, ..Config::default() });
    let events: Vec<usize> = (0..5).map(|_| lab.open()).collect();
    for &number in &events {
        lab.say(number, &[b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n"]);
        let answer = Answer::parse(&lab.heard(number));
        assert_eq!((answer.status, answer.field("Content-Type")), (200, Some("text/event-stream")));
    }
    let sockets: Vec<usize> = (0..5).map(|_| open_socket(&mut lab, "/ws")).collect();
    let gone = lab.open();
    lab.say(gone, &[b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n"]);
    lab.finish(gone);
    lab.settle();
    for text in ["first", "second"] {
        let request =
            format!("POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        assert_eq!(Answer::parse(&lab.ask(&[request.as_bytes()]).0).status, 202);
        for &number in &events {
            let expected = format!("{:x}\r\ndata: {text}\n\n\r\n", text.len() + 8);
            assert_eq!(lab.heard(number), expected);
        }
        for &number in &sockets {
            assert!(lab.heard(number).ends_with(text));
        }
    }
    assert_eq!(lab.server().counters().broadcast, 20);
}

#[test]
fn a_subscriber_that_is_behind_is_passed_over() {
    let mut lab = lab_with(Config { subscriber_backlog: 2_000, ..Config::default() });
    let (deaf, good) = (lab.open(), lab.open());
    for number in [deaf, good] {
        lab.say(number, &[b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n"]);
        lab.heard(number);
    }
    lab.talk(deaf).is_deaf = true;
    let text = "x".repeat(1_000);
    let request = format!("POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{text}");
    for _ in 0..200 {
        assert_eq!(Answer::parse(&lab.ask(&[request.as_bytes()]).0).status, 202);
    }
    let heard = lab.heard(good);
    assert_eq!(heard.matches("data: ").count(), 200, "nobody else misses any");
    assert!(lab.server().counters().broadcast_skipped > 0);
    // It took nothing for longer than an interval.
    lab.run(Duration::from_secs(130));
    assert_eq!(lab.server().counters().timed_out_send, 1);
}

#[test]
fn a_socket_sends_back_what_it_hears() {
    let mut lab = lab();
    let number = open_socket(&mut lab, "/ws-echo");
    let long = vec![b'x'; 3_000];
    lab.say(
        number,
        &[&frame(0x81, b"hello"), &frame(0x02, &long), &frame(0x89, b"ping"), &frame(0x80, b"end")],
    );
    let heard = {
        lab.settle();
        std::mem::take(&mut lab.talk(number).heard)
    };
    // A long frame comes back in fragments.
    let mut expected = b"\x81\x05hello".to_vec();
    for (first, len) in [(0x02, 1_024_u16), (0, 1_024), (0, 952)] {
        expected.extend([first, 0x7e]);
        expected.extend(len.to_be_bytes());
        expected.extend(&long[..usize::from(len)]);
    }
    expected.extend(b"\x8a\x04ping\x80\x03end");
    assert!(heard == expected, "{:?}", heard.len());
    lab.say(number, &[&frame(0x88, b"\x03\xe8bye")]);
    lab.settle();
    assert_eq!(lab.talk(number).heard, b"\x88\x02\x03\xe8");
    assert!(lab.talk(number).is_over);
    // Byte by byte it is the same.
    let number = open_socket(&mut lab, "/ws-echo");
    let all = [frame(0x81, "gr\u{fc}n".as_bytes()), frame(0x89, b"")].concat();
    let single: Vec<&[u8]> = all.chunks(1).collect();
    lab.say(number, &single);
    lab.settle();
    assert_eq!(lab.talk(number).heard, [b"\x81\x05gr\xc3\xbcn".as_slice(), b"\x8a\x00"].concat());
}

#[test]
fn a_socket_that_breaks_the_protocol_is_told_and_closed() {
    let mut lab = lab();
    for (frames, code) in [
        (vec![0x81, 0x05, b'h', b'e', b'l', b'l', b'o'], 1002u16),
        (frame(0x80, b"x"), 1002),
        (frame(0xc1, b"x"), 1002),
        ([frame(0x01, b"x"), frame(0x81, b"x")].concat(), 1002),
        (frame(0x88, b"\x03"), 1002),
        (frame(0x81, b"\xff\xff"), 1007),
        (frame(0x81, b"gr\xc3"), 1007),
        (frame(0x81, &[&[b'x'; 3_000], &b"\xff"[..]].concat()), 1007),
    ] {
        let number = open_socket(&mut lab, "/ws-echo");
        lab.say(number, &[&frames]);
        lab.settle();
        let close =
            [&FrameHead::write(freeway_http1::websocket::Opcode::Close, 2)[..], &code.to_be_bytes()].concat();
        let heard = &lab.talk(number).heard;
        assert!(heard.ends_with(&close), "{frames:x?}: {heard:x?}");
        assert!(lab.talk(number).is_over, "{frames:x?}");
    }
    assert_eq!(lab.server().counters().websocket_failed, 8);
    let answer = lab.get("/ws-echo", "");
    assert_eq!((answer.status, answer.field("Upgrade")), (426, Some("websocket")));
}

#[test]
fn only_who_may_publishes() {
    let mut lab = lab();
    for (fields, status) in [
        ("", 401),
        ("Authorization: Bearer wor\r\n", 401),
        ("Authorization: Basic word\r\n", 401),
        ("Authorization: Bearer word\r\nAuthorization: Bearer word\r\n", 401),
        ("authorization: bearer word\r\n", 202),
    ] {
        let text = format!("POST /guarded HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 1\r\n\r\nx");
        let answer = Answer::parse(&lab.ask(&[text.as_bytes()]).0);
        assert_eq!(answer.status, status, "{fields}");
    }
}

#[test]
fn a_message_waits_for_room_rather_than_pass_anybody_over() {
    // There are fewer buffers for what is on its way than there are subscribers.
    for (patience, all) in [(Duration::from_secs(1), true), (Duration::ZERO, false)] {
        let config = Config { broadcast_patience: patience, ..Config::default() };
        let mut lab = Plan { buffers: 256, ..plan(config) }.start();
        let numbers: Vec<usize> = (0..200).map(|_| lab.connect()).collect();
        lab.settle();
        for &number in &numbers {
            lab.say(number, &[b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n"]);
        }
        lab.settle();
        let (text, _) = lab.ask(&[b"POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nnews"]);
        assert_eq!(Answer::parse(&text).status, 202);
        lab.run(Duration::from_secs(1));
        let heard = numbers.iter().filter(|&&number| lab.talk(number).heard.ends_with(b"data: news\n\n\r\n"));
        let heard = heard.count() as u64;
        assert_eq!(heard == 200, all, "{heard} heard it, {patience:?}");
        let counters = lab.server().counters();
        assert_eq!((counters.broadcast, counters.broadcast_skipped), (heard, 200 - heard));
    }
}

#[test]
fn a_subscriber_may_speak_and_nobody_minds() {
    let mut lab = lab();
    let number = open_socket(&mut lab, "/ws");
    lab.say(number, &[&frame(0x81, b"hello"), &frame(0x89, b"p")]);
    lab.settle();
    assert_eq!(lab.talk(number).heard, b"\x8a\x01p");
    lab.say(number, &[&frame(0x01, b"part"), &frame(0x80, b"rest"), &frame(0x89, b"q")]);
    lab.settle();
    assert!(lab.talk(number).heard.ends_with(b"\x8a\x01q"), "{:x?}", lab.talk(number).heard);
}
