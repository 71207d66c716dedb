//! The decoder's states, step by step.

#![allow(clippy::unwrap_used)]

use freeway_memcache::text::{Command, Verb};
use freeway_memcache::{Decoder, Limits, Protocol, Refusal, Refused, Step, meta};

fn next<'a>(decoder: &mut Decoder, input: &'a [u8]) -> (usize, Step<'a>) {
    decoder.next(input, &Limits::default())
}

#[test]
fn half_a_line_stays_with_the_caller() {
    let mut decoder = Decoder::new(Protocol::Auto);
    assert_eq!(next(&mut decoder, b""), (0, Step::More));
    assert_eq!(next(&mut decoder, b"get a"), (0, Step::More));
    assert_eq!(next(&mut decoder, b"get a\r"), (0, Step::More));
    let (used, Step::Text(Command::Get(get))) = next(&mut decoder, b"get a\r\nget") else { panic!() };
    assert_eq!(used, 7);
    assert_eq!(get.keys.collect::<Vec<_>>(), [b"a"]);
    assert!(decoder.is_between());
}

#[test]
fn a_value_comes_in_parts() {
    let mut decoder = Decoder::new(Protocol::Text);
    let (used, Step::Text(Command::Store(store))) = next(&mut decoder, b"set a 7 -1 5 noreply\r\nhel") else {
        panic!()
    };
    assert_eq!((used, store.verb, store.key), (22, Verb::Set, b"a".as_slice()));
    assert_eq!((store.flags, store.exptime, store.len, store.noreply), (7, -1, 5, true));
    assert_eq!(decoder.value_left(), 5);
    assert!(!decoder.is_between());
    assert_eq!(next(&mut decoder, b"hel"), (3, Step::Data(b"hel")));
    assert_eq!(next(&mut decoder, b""), (0, Step::More));
    assert_eq!(decoder.value_left(), 2);
    assert_eq!(next(&mut decoder, b"lo\r\n"), (2, Step::Data(b"lo")));
    assert_eq!(next(&mut decoder, b"\r"), (0, Step::More));
    assert_eq!(next(&mut decoder, b"\r\nget"), (2, Step::DataEnd { whole: true }));
    assert!(decoder.is_between());
}

#[test]
fn a_value_that_nobody_wants_is_skipped_from_where_it_is() {
    let mut decoder = Decoder::new(Protocol::Text);
    next(&mut decoder, b"set a 0 0 5\r\n");
    assert_eq!(next(&mut decoder, b"he"), (2, Step::Data(b"he")));
    decoder.skip_value();
    assert_eq!(next(&mut decoder, b"ll"), (2, Step::More));
    let (used, step) = next(&mut decoder, b"o\r\nversion\r\n");
    assert_eq!((used, step), (12, Step::Text(Command::Version)));
}

#[test]
fn a_refused_store_takes_its_value_with_it() {
    let mut decoder = Decoder::new(Protocol::Text);
    let refused = Step::Refused(Refused { refusal: Refusal::BadFormat, quiet: true });
    assert_eq!(next(&mut decoder, b"set a x 0 3 noreply\r\nabc"), (21, refused));
    assert_eq!(next(&mut decoder, b"abc\r\nmn\r\n"), (9, Step::Meta(meta::Command::Noop)));
}

#[test]
fn the_first_byte_says_which_protocol() {
    let mut decoder = Decoder::new(Protocol::Auto);
    assert_eq!(next(&mut decoder, b"\x80"), (0, Step::More));
    // Text is none any more.
    assert_eq!(next(&mut decoder, b"get a\r\n").1, Step::Close);
    let mut decoder = Decoder::new(Protocol::Text);
    assert!(matches!(next(&mut decoder, b"\x80\r\n\r\n\r\n").1, Step::Refused(_)));
    let mut decoder = Decoder::new(Protocol::Binary);
    assert_eq!(next(&mut decoder, b"get a\r\n").1, Step::Close);
    assert_eq!(next(&mut decoder, b"\x80").1, Step::Close);
}

#[test]
fn a_long_multi_get_comes_in_parts() {
    let mut line = b"gats 30".to_vec();
    for number in 0..4000 {
        line.extend(format!(" key{number:05}").into_bytes());
    }
    line.extend(b"\r\nmn\r\n");
    let mut decoder = Decoder::new(Protocol::Auto);
    let (mut rest, mut keys, mut parts) = (line.as_slice(), 0, 0);
    loop {
        let (used, step) = next(&mut decoder, rest);
        rest = &rest[used..];
        let Step::Text(Command::Get(get)) = step else { panic!("{step:?}") };
        assert_eq!((get.cas, get.touch), (true, Some(30)));
        for key in get.keys {
            assert_eq!(key, format!("key{keys:05}").as_bytes());
            keys += 1;
        }
        parts += 1;
        if !get.more {
            break;
        }
    }
    assert_eq!(keys, 4000);
    assert_eq!(parts, line.len().div_ceil(Limits::default().line_max));
    assert_eq!(next(&mut decoder, rest), (4, Step::Meta(meta::Command::Noop)));
}

#[test]
fn a_line_is_as_long_as_its_limit() {
    let limits = Limits { line_max: 2048 };
    let line = |len: usize| [b"touch ".as_slice(), &vec![b'k'; len - 10], b" 0\r\n"].concat();
    let fits = Decoder::new(Protocol::Auto).next(&line(2048), &limits).1 != Step::Close;
    assert!(fits);
    assert_eq!(Decoder::new(Protocol::Auto).next(&line(2049), &limits).1, Step::Close);
    // As long as it may still end in time, it is waited for.
    assert_eq!(Decoder::new(Protocol::Auto).next(&line(2048)[..2047], &limits).1, Step::More);
}

#[test]
fn a_password_comes_first() {
    let refused = |refusal| Step::Refused(Refused { refusal, quiet: false });
    let mut decoder = Decoder::locked();
    assert_eq!(next(&mut decoder, b"get a\r\nx"), (7, refused(Refusal::Unauthenticated)));
    assert_eq!(next(&mut decoder, b"set a 0 0 3\r\nabc\r\n"), (18, refused(Refusal::BadAuthFormat)));
    assert_eq!(next(&mut decoder, b"set a 0 0 3\r\nabcde"), (18, refused(Refusal::BadAuthTermination)));
    assert_eq!(next(&mut decoder, b"set a 0 0 3\r\na b"), (0, Step::More));
    let (used, Step::Auth(credentials)) = next(&mut decoder, b"set a 0 0 3\r\na b\r\nmn\r\n") else {
        panic!()
    };
    assert_eq!((used, credentials.user, credentials.password), (18, b"a".as_slice(), b"b".as_slice()));
    assert!(!format!("{credentials:?}").contains("password"), "{credentials:?}");
    // A wrong one leaves it as it is.
    assert_eq!(next(&mut decoder, b"mn\r\n"), (4, refused(Refusal::Unauthenticated)));
    decoder.authenticated();
    assert_eq!(next(&mut decoder, b"mn\r\n"), (4, Step::Meta(meta::Command::Noop)));
}

#[test]
fn a_password_too_long_ends_the_connection() {
    assert_eq!(next(&mut Decoder::locked(), b"set a 0 0 100000\r\na b").1, Step::Close);
    assert_eq!(next(&mut Decoder::locked(), b"set a 0 0 4294967295\r\na b").1, Step::Close);
    assert_eq!(next(&mut Decoder::locked(), &[b'x'; 8192]).1, Step::Close);
}
