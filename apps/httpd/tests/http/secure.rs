//! The same over TLS, against rustls's own client.

use std::io::{Read, Write};
use std::sync::Arc;

use freeway::Duration;
use freeway_httpd::handlers::{Echo, Events, Handler, Publish};
use freeway_httpd::{Certificate, Route, Tls, TlsError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use crate::lab::{Answer, Lab, Plan};

/// A certificate of its own making for a.example, good for a hundred years.
fn certificate() -> Certificate {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/tls");
    Certificate {
        names: vec!["a.example".into()],
        chain: format!("{folder}/chain.pem").into(),
        key: format!("{folder}/key.pem").into(),
    }
}

fn lab() -> Lab {
    lab_of(&mut tls())
}

fn tls() -> Tls {
    Tls::open(&[certificate()]).unwrap()
}

fn lab_of(tls: &mut Tls) -> Lab {
    let large: Vec<u8> = (0..300_000u32).map(|at| b'a' + (at % 26) as u8).collect();
    let route = |path: &str, handler: Box<dyn Handler>| Route { path: path.into(), handler };
    let routes = vec![
        route("/echo", Box::new(Echo)),
        route("/events", Box::new(Events(0))),
        route("/publish", Box::new(Publish::new(0))),
    ];
    Plan { routes, tls: Some(tls.feed()), ..Plan::new(&[("/", b"Hello, World!"), ("/large", &large)]) }
        .start()
}

/// A client's TLS on a connection of the lab's.
struct Client {
    number: usize,
    tls: ClientConnection,
}

impl Client {
    fn open(lab: &mut Lab, versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::open_as(lab, &Self::config(versions))
    }

    /// What a client remembers from one connection to the next.
    fn config(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate().chain).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    fn open_as(lab: &mut Lab, config: &Arc<ClientConfig>) -> Self {
        let tls = ClientConnection::new(Arc::clone(config), "a.example".try_into().unwrap()).unwrap();
        Self { number: lab.open(), tls }
    }

    /// Sends `bytes` in pieces of TCP of at most `piece` bytes, and returns what was heard until nothing more comes.
    fn ask(&mut self, lab: &mut Lab, bytes: &[u8], piece: usize) -> Vec<u8> {
        self.tls.writer().write_all(bytes).unwrap();
        let mut heard = Vec::new();
        for _ in 0..200 {
            let mut out = Vec::new();
            while self.tls.wants_write() {
                self.tls.write_tls(&mut out).unwrap();
            }
            let is_quiet = out.is_empty();
            for part in out.chunks(piece) {
                lab.say(self.number, &[part]);
            }
            lab.run(Duration::from_millis(20));
            let came = std::mem::take(&mut lab.talk(self.number).heard);
            if is_quiet && came.is_empty() {
                break;
            }
            let mut rest = &came[..];
            while !rest.is_empty() {
                self.tls.read_tls(&mut rest).unwrap();
                self.tls.process_new_packets().unwrap();
                let mut plain = vec![0; 1 << 16];
                while let Ok(count @ 1..) = self.tls.reader().read(&mut plain) {
                    heard.extend_from_slice(&plain[..count]);
                }
            }
        }
        heard
    }
}

#[test]
fn both_versions_carry_requests_and_their_answers() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for piece in [100_000, 7] {
            let mut lab = lab();
            let mut client = Client::open(&mut lab, &[version]);
            let heard = client.ask(&mut lab, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", piece);
            let answer = Answer::parse(std::str::from_utf8(&heard).unwrap());
            assert_eq!((answer.status, answer.body.as_str()), (200, "Hello, World!"), "{version:?}");
            assert_eq!(client.tls.alpn_protocol(), Some(&b"http/1.1"[..]));
            let heard = client.ask(
                &mut lab,
                "GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(3).as_bytes(),
                piece,
            );
            assert!(heard.len() > 900_000, "{} bytes", heard.len());
        }
    }
}

#[test]
fn bodies_come_back_and_the_end_is_said() {
    let mut lab = lab();
    let mut client = Client::open(&mut lab, &[&rustls::version::TLS13]);
    let body: Vec<u8> = (0..50_000u32).map(|at| b'a' + (at % 23) as u8).collect();
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let heard = client.ask(&mut lab, &[head.as_bytes(), &body].concat(), 1_000);
    assert!(heard.ends_with(&body), "{} bytes", heard.len());
    assert!(lab.talk(client.number).is_over);
    // The end of TLS came before the end of TCP: nobody has cut the answer short.
    assert_eq!(client.tls.reader().read(&mut [0; 1]).unwrap(), 0);
    assert_eq!((lab.server().counters().tls_handshakes, lab.server().counters().tls_failed), (1, 0));
}

#[test]
fn messages_reach_subscribers_over_tls() {
    let mut lab = lab();
    let mut listener = Client::open(&mut lab, &[&rustls::version::TLS13]);
    let heard = listener.ask(&mut lab, b"GET /events HTTP/1.1\r\nHost: a.example\r\n\r\n", 10_000);
    assert!(heard.starts_with(b"HTTP/1.1 200 OK"));
    let mut speaker = Client::open(&mut lab, &[&rustls::version::TLS13]);
    let heard = speaker.ask(
        &mut lab,
        b"POST /publish HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nnews",
        10_000,
    );
    assert!(heard.starts_with(b"HTTP/1.1 202"));
    assert!(listener.ask(&mut lab, b"", 1).ends_with(b"data: news\n\n\r\n"));
}

#[test]
fn what_is_no_tls_ends_the_connection() {
    let mut lab = lab();
    let (_, is_over) = lab.ask(&[b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"]);
    assert!(is_over);
    assert_eq!(lab.server().counters().tls_failed, 1);
    let missing = Certificate { chain: "/nonexistent".into(), ..certificate() };
    assert!(matches!(Tls::open(&[missing]), Err(TlsError::Pem { .. })));
    assert!(matches!(Tls::open(&[]), Err(TlsError::None)));
}

#[test]
fn a_session_is_taken_up_again_until_its_key_is_gone() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut tls = tls();
        let mut lab = lab_of(&mut tls);
        let config = Client::config(&[version]);
        let visit = |lab: &mut Lab| {
            let mut client = Client::open_as(lab, &config);
            let heard = client.ask(lab, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", 10_000);
            assert!(heard.ends_with(b"Hello, World!"), "{version:?}");
            client.tls.handshake_kind()
        };
        assert_eq!(visit(&mut lab), Some(HandshakeKind::Full));
        assert_eq!(visit(&mut lab), Some(HandshakeKind::Resumed));
        // New certificates and a new key end no session.
        tls.change(Tls::prepare(&[certificate()]).unwrap());
        assert_eq!(visit(&mut lab), Some(HandshakeKind::Resumed));
        tls.rotate().unwrap();
        assert_eq!(visit(&mut lab), Some(HandshakeKind::Resumed));
        // A client comes back when the key of all its tickets is gone. It has taken one of the last in TLS 1.3.
        tls.rotate().unwrap();
        tls.rotate().unwrap();
        assert_eq!(visit(&mut lab), Some(HandshakeKind::Full));
        let counters = lab.server().counters();
        assert_eq!((counters.tls_handshakes, counters.tls_resumed, counters.tls_failed), (5, 3, 0));
    }
}
