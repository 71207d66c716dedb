//! Peers that are slow, and peers that are many.

use freeway::Duration;
use freeway_httpd::Config;

use crate::lab::{Answer, Lab, Plan};

fn lab_with(config: Config) -> Lab {
    let large = vec![b'x'; 4 << 20];
    let echo: Box<dyn freeway_httpd::handlers::Handler> = Box::new(freeway_httpd::handlers::Echo);
    let routes = vec![freeway_httpd::Route { path: "/echo".into(), handler: echo }];
    Plan { config, routes, ..Plan::new(&[("/", b"x"), ("/large", &large)]) }.start()
}

#[test]
fn a_head_that_trickles_in_is_given_ten_seconds() {
    let mut lab = lab_with(Config::default());
    let number = lab.open();
    lab.say(number, &[b"GET / HTTP/1.1\r\nHost: a\r\n"]);
    for _ in 0..12 {
        lab.run(Duration::from_millis(900));
        lab.say(number, &[b"X: y\r\n"]);
    }
    lab.run(Duration::from_secs(1));
    assert!(lab.talk(number).is_over);
    assert_eq!(Answer::parse(&lab.heard(number)).status, 408);
    assert_eq!(lab.server().counters().timed_out_head, 1);
    // The same on a connection that has been served before: its time begins with the request.
    let number = lab.open();
    lab.say(number, &[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]);
    lab.run(Duration::from_secs(30));
    lab.heard(number);
    lab.say(number, &[b"GET / HTTP/1.1\r\n"]);
    lab.run(Duration::from_secs(8));
    assert!(!lab.talk(number).is_over);
    lab.run(Duration::from_secs(3));
    assert_eq!(Answer::parse(&lab.heard(number)).status, 408);
}

#[test]
fn idle_connections_end_in_their_time() {
    let mut lab = lab_with(Config::default());
    let (silent, served) = (lab.open(), lab.open());
    lab.say(served, &[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]);
    lab.run(Duration::from_secs(11));
    assert!(lab.talk(silent).is_over && !lab.talk(served).is_over);
    lab.run(Duration::from_secs(60));
    assert!(!lab.talk(served).is_over);
    lab.run(Duration::from_secs(10));
    assert!(lab.talk(served).is_over);
    assert_eq!((lab.server().counters().timed_out_idle, lab.server_connections()), (2, 0));
}

#[test]
fn a_body_that_trickles_in_is_given_up() {
    let mut lab = lab_with(Config::default());
    let number = lab.open();
    lab.say(number, &[b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"]);
    for _ in 0..25 {
        lab.run(Duration::from_secs(1));
        lab.say(number, &[b"x"]);
    }
    assert!(lab.talk(number).is_over);
    assert_eq!(lab.server().counters().timed_out_body + lab.server().counters().timed_out_send, 1);
}

#[test]
fn an_answer_that_nobody_takes_is_given_up_and_one_taken_slowly_is_not() {
    let mut lab = lab_with(Config::default());
    let (deaf, slow) = (lab.open(), lab.open());
    for number in [deaf, slow] {
        lab.talk(number).is_deaf = true;
        lab.say(number, &[b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"]);
    }
    for _ in 0..25 {
        lab.read_some(slow, 4_000);
        lab.run(Duration::from_secs(1));
    }
    assert_eq!((lab.server().counters().timed_out_send, lab.server_connections()), (1, 1));
    // The end of an answer, which lies in the stack's hands, is watched as well.
    let last = lab.open();
    lab.talk(last).is_deaf = true;
    lab.say(last, &[b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\nRange: bytes=0-90000\r\n\r\n"]);
    lab.run(Duration::from_secs(40));
    assert_eq!(lab.server().counters().timed_out_send, 2 + u64::from(lab.server_connections() == 0));
}

#[test]
fn too_many_requests_of_one_address_are_refused() {
    let mut lab = lab_with(Config { requests_per_second: 1, requests_burst: 5, ..Config::default() });
    let statuses: Vec<u16> = (0..8).map(|_| lab.get("/", "").status).collect();
    assert_eq!(statuses[..5], [200; 5]);
    assert!(statuses[5..].contains(&429));
    lab.run(Duration::from_secs(5));
    assert_eq!(lab.get("/", "").status, 200);
}

#[test]
fn past_their_bounds_requests_are_refused_and_connections_end() {
    let mut lab = lab_with(Config { exchanges_max: 1, requests_per_connection: 2, ..Config::default() });
    let first = lab.open();
    lab.talk(first).is_deaf = true;
    lab.say(first, &[b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"]);
    let (text, is_over) = lab.ask(&[b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert_eq!((Answer::parse(&text).status, is_over), (503, true));
    assert_eq!(lab.server().counters().refused_exchanges, 1);
    assert_eq!(lab.get("/", "").status, 200, "what is answered at once needs no record");
    let (text, is_over) = lab.ask(&["GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3).as_bytes()]);
    assert_eq!((text.matches("HTTP/1.1 200").count(), is_over), (2, true));
}
