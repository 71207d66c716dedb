//! Requests and what they are answered with: framing, persistence, methods.

use proptest::prelude::*;

use crate::lab::{Answer, Lab, Plan};

fn lab() -> Lab {
    let large: Vec<u8> = (0..100_000u32).map(|at| b'a' + (at % 26) as u8).collect();
    Plan::new(&[("/", b"Hello, World!"), ("/large", &large), ("/empty", b""), ("/sub/", b"sub")]).start()
}

/// The statuses of all answers in `text`, each with a Content-Length.
fn statuses(mut text: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !text.is_empty() {
        let answer = Answer::parse(text);
        let len: usize = answer.field("Content-Length").map_or(0, |len| len.parse().unwrap());
        let head = answer.head.len() + 4;
        text = &text[head + len..];
        statuses.push(answer.status);
    }
    statuses
}

#[test]
fn a_document_is_answered_with_its_fields() {
    let mut lab = lab();
    let (text, is_over) = lab.ask(&[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]);
    let answer = Answer::parse(&text);
    assert_eq!((answer.status, answer.body.as_str(), is_over), (200, "Hello, World!", false));
    assert_eq!(answer.field("Content-Length"), Some("13"));
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(
        answer.field("Date").is_some_and(|date| date.ends_with(" GMT")) && answer.field("ETag").is_some()
    );
    assert_eq!(answer.field("Connection"), None);
}

#[test]
fn methods_are_answered_by_what_they_ask() {
    let mut lab = lab();
    for (request, status, field, body) in [
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, ("Content-Length", "13"), ""),
        ("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", 200, ("Allow", "GET, HEAD, OPTIONS"), ""),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200, ("Allow", "GET, HEAD, OPTIONS"), ""),
        ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, ("Allow", "GET, HEAD, OPTIONS"), "Method Not Allowed"),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501, ("Content-Length", "15"), "Not Implemented"),
        (
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
            405,
            ("Allow", "GET, HEAD, OPTIONS"),
            "Method Not Allowed",
        ),
        ("GET /absent HTTP/1.1\r\nHost: a\r\n\r\n", 404, ("Content-Length", "9"), "Not Found"),
        ("HEAD /absent HTTP/1.1\r\nHost: a\r\n\r\n", 404, ("Content-Length", "9"), ""),
        ("GET /../etc HTTP/1.1\r\nHost: a\r\n\r\n", 400, ("Content-Length", "11"), "Bad Request"),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 200, ("Content-Length", "13"), "Hello, World!"),
        ("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n", 200, ("Content-Length", "0"), ""),
    ] {
        let (text, is_over) = lab.ask(&[request.as_bytes()]);
        let answer = Answer::parse(&text);
        assert_eq!((answer.status, answer.body.as_str(), is_over), (status, body, false), "{request}");
        assert_eq!(answer.field(field.0), Some(field.1), "{request}");
    }
}

#[test]
fn a_refused_request_is_answered_and_the_connection_ends() {
    let mut lab = lab();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("\x16\x03\x01\x02\x00\x01\x00", 400),
    ] {
        let follower = "GET /sub/ HTTP/1.1\r\nHost: a\r\n\r\n";
        let (text, is_over) = lab.ask(&[request.as_bytes(), follower.as_bytes()]);
        assert_eq!((statuses(&text), is_over), (vec![status], true), "{request}");
        assert_eq!(Answer::parse(&text).field("Connection"), Some("close"));
    }
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(9_000));
    assert_eq!(statuses(&lab.ask(&[long.as_bytes()]).0), [414]);
    let wide = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(17_000));
    assert_eq!(statuses(&lab.ask(&[wide.as_bytes()]).0), [431]);
    assert_eq!(lab.server().counters().malformed, 6);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut lab = lab();
    let one = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /absent HTTP/1.1\r\nHost: a\r\n\r\nGET /large HTTP/1.1\r\nHost: a\r\n\r\n";
    let all = one.repeat(40);
    let number = lab.open();
    lab.say(number, &[all.as_bytes()]);
    lab.run(freeway::Duration::from_secs(1));
    let heard = std::mem::take(&mut lab.talk(number).heard);
    let text: String = heard.iter().map(|&byte| byte as char).collect();
    assert_eq!(statuses(&text), [200, 404, 200].repeat(40));
    assert_eq!(lab.server().counters().requests, 120);
}

#[test]
fn answers_to_pipelined_requests_share_frames() {
    let mut lab = lab();
    let number = lab.open();
    let before = lab.server().counters().requests;
    lab.say(number, &["GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(16).as_bytes()]);
    assert_eq!(statuses(&lab.heard(number)).len(), 16);
    assert_eq!(lab.server().counters().requests - before, 16);
}

#[test]
fn a_client_that_reads_nothing_holds_its_own_requests_only() {
    let mut lab = lab();
    let number = lab.open();
    lab.talk(number).is_deaf = true;
    let request = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
    lab.say(number, &[request.repeat(20).as_bytes()]);
    lab.settle();
    let answered = lab.server().counters().requests;
    assert!(answered < 20, "{answered} answers were made for nobody");
    assert_eq!(lab.get("/", "").status, 200);
}

#[test]
fn connections_stay_or_end_as_the_client_asks() {
    let mut lab = lab();
    for (request, connection, ends) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Some("close"), true),
        ("GET / HTTP/1.0\r\n\r\n", Some("close"), true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Some("keep-alive"), false),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", None, false),
    ] {
        let (text, is_over) = lab.ask(&[request.as_bytes()]);
        assert_eq!((Answer::parse(&text).field("Connection"), is_over), (connection, ends), "{request}");
    }
    // A client that has finished sending is still answered.
    let number = lab.open();
    lab.say(number, &[b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"]);
    lab.finish(number);
    lab.settle();
    assert!(lab.talk(number).is_over && lab.talk(number).heard.len() > 100_000);
    lab.run(freeway::Duration::from_secs(90));
    assert_eq!(lab.server_connections(), 0, "nothing is left");
}

#[test]
fn a_body_that_nobody_wants_is_skipped_or_ends_the_connection() {
    let mut lab = lab();
    let next = "GET /sub/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let (text, is_over) =
        lab.ask(&[b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", next.as_bytes()]);
    assert_eq!((statuses(&text), is_over), (vec![200, 200], false));
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let (text, is_over) = lab.ask(&[chunked.as_bytes(), next.as_bytes()]);
    assert_eq!((statuses(&text), is_over), (vec![405], true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Wherever the input is cut, the answers are the same.
    #[test]
    fn requests_are_answered_alike_however_they_arrive(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        const TEXT: &[u8] = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /absent HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
            HEAD /sub/ HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nGET /empty HTTP/1.0\r\n\r\n";
        let mut lab = lab();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(TEXT.len())).collect();
        places.sort_unstable();
        let (mut pieces, mut from) = (Vec::new(), 0);
        for place in places {
            pieces.push(&TEXT[from..place]);
            from = place;
        }
        pieces.push(&TEXT[from..]);
        let (text, is_over) = lab.ask(&pieces);
        let lines: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        prop_assert!(is_over);
        // A body that has not arrived with its head is not waited for.
        let is_whole = lines.len() == 4;
        let expected = ["200", "404", "200", "200"];
        prop_assert_eq!(&lines[..], if is_whole { &expected[..] } else { &expected[..2] });
    }
}

#[test]
fn every_byte_may_come_alone() {
    let mut lab = lab();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n";
    for cut in 1..request.len() {
        let (text, _) = lab.ask(&[&request[..cut], &request[cut..]]);
        assert_eq!(statuses(&text), [200], "{cut}");
    }
    let single: Vec<&[u8]> = request.chunks(1).collect();
    assert_eq!(statuses(&lab.ask(&single).0), [200]);
}
