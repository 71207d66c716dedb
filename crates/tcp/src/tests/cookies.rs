//! SYN cookies: a connection that opens from nothing but its last acknowledgment (RFC 4987, section 3.6).

use freeway_base::{Duration, HashKey, Instant, Rng, Seed};
use freeway_wire::tcp::{Flags, SeqNumber};

use super::single::{IRS, Made, ack, data, made, plain};
use crate::{Config, Context, Cookies, Held, SynReceived, Tcb};

const FLOW: [u8; 36] = *b"four-tuples are thirty-six bytes  : ";

fn cookies(flow: &[u8; 36]) -> Cookies<'_> {
    Cookies { key: HashKey::new([11, 12]), flow, ipv6: false, timestamp_offset: 99 }
}

fn at(now: Instant, config: &Config) -> Context<'_> {
    Context { now, config }
}

const THEN: Instant = Instant::from_secs(10_000);

fn syn() -> Made {
    made(Flags::SYN, 0, 0).mss(1_460).scale(7)
}

/// The peer's answer to the cookie, which it takes for an ordinary sequence number.
fn answer(iss: SeqNumber, echo: Option<u32>) -> Made {
    let mut answer = ack(1, 0).window(500);
    answer.repr.ack = iss + 1;
    match echo {
        Some(echo) => answer.stamps(41, echo),
        None => answer,
    }
}

fn redeem(config: &Config, now: Instant, flow: &[u8; 36], segment: Made) -> Option<Tcb> {
    let (cx, cookies) = (at(now, config), cookies(flow));
    let baked = cookies.read(&cx, &segment.arrival())?;
    Some(SynReceived::redeem(&cx, &segment.arrival(), &cookies, &baked))
}

#[test]
fn listen_cookie_keeps_scale_sack_and_timestamps() {
    let config = Config { sack: true, ..Config::default() };
    let mut offer = syn().scale(11).stamps(40, 0);
    offer.repr.options.sack_permitted = true;
    let record = SynReceived::with_cookie(&at(THEN, &config), &offer.arrival(), &cookies(&FLOW)).unwrap();
    let syn_ack = record.syn_ack(&at(THEN, &config));
    assert_eq!((syn_ack.flags, syn_ack.ack), (Flags::SYN | Flags::ACK, IRS + 1));
    assert_eq!((syn_ack.options.mss, syn_ack.options.window_scale), (Some(1_460), Some(7)));
    let stamps = syn_ack.options.timestamps.unwrap();
    assert_eq!((stamps.value, stamps.echo), (10_000_099, 40));

    let later = THEN + Duration::from_millis(80);
    let tcb = redeem(&config, later, &FLOW, answer(syn_ack.seq, Some(stamps.value))).unwrap();
    let info = tcb.info();
    assert_eq!((info.mss, info.window_scales, info.snd_wnd), (1_448, (11, 7), 500 << 11));
    assert!(info.timestamps && info.sack);
    assert_eq!(info.srtt, Some(Duration::from_millis(80)));
    assert_eq!((tcb.snd_nxt(), tcb.snd_una(), tcb.rcv_nxt()), (syn_ack.seq + 1, syn_ack.seq + 1, IRS + 1));
}

#[test]
fn listen_cookie_without_timestamps_rounds_the_scale_down() {
    let config = Config { sack: true, ..Config::default() };
    let mut offer = syn().scale(9).mss(1_459);
    offer.repr.options.sack_permitted = true;
    let record = SynReceived::with_cookie(&at(THEN, &config), &offer.arrival(), &cookies(&FLOW)).unwrap();
    let iss = record.syn_ack(&at(THEN, &config)).seq;
    let info = redeem(&config, THEN, &FLOW, answer(iss, None)).unwrap().info();
    assert_eq!((info.mss, info.window_scales, info.sack, info.timestamps), (1_452, (8, 7), true, false));
    assert_eq!(info.srtt, None);
}

#[test]
fn listen_cookie_of_a_bare_syn_opens_a_plain_connection() {
    let config = Config { sack: true, ..Config::default() };
    let bare = made(Flags::SYN, 0, 0);
    let record = SynReceived::with_cookie(&at(THEN, &config), &bare.arrival(), &cookies(&FLOW)).unwrap();
    let iss = record.syn_ack(&at(THEN, &config)).seq;
    let info = redeem(&config, THEN, &FLOW, answer(iss, None)).unwrap().info();
    assert_eq!((info.mss, info.window_scales, info.sack, info.timestamps), (536, (0, 0), false, false));
}

#[test]
fn listen_cookie_brings_its_text_to_the_connection() {
    let config = plain();
    let record = SynReceived::with_cookie(&at(THEN, &config), &syn().arrival(), &cookies(&FLOW)).unwrap();
    let mut segment = data(1, 100, 0);
    segment.repr.ack = record.syn_ack(&at(THEN, &config)).seq + 1;
    let mut tcb = redeem(&config, THEN, &FLOW, segment).unwrap();
    let outcome = tcb.take_segment(&at(THEN, &config), &segment.arrival(), &Held::default(), None);
    assert_eq!((outcome.accept.unwrap().len, outcome.dropped), (100, None));
}

#[test]
fn listen_cookie_lasts_one_slot_and_a_part() {
    let config = plain();
    let slot = 1u64 << 36;
    for into in [0, slot / 2, slot - 1] {
        let then = Instant::from_nanos(500 * slot + into);
        let record = SynReceived::with_cookie(&at(then, &config), &syn().arrival(), &cookies(&FLOW)).unwrap();
        let iss = record.syn_ack(&at(then, &config)).seq;
        let good = |now| redeem(&config, now, &FLOW, answer(iss, None)).is_some();
        assert!(good(then) && good(then + Duration::from_nanos(slot)));
        assert!(!good(then + Duration::from_nanos(2 * slot)), "too old");
    }
}

#[test]
fn listen_cookie_with_a_timestamp_from_nowhere_is_refused() {
    let config = Config::default();
    let offer = syn().stamps(40, 0);
    let record = SynReceived::with_cookie(&at(THEN, &config), &offer.arrival(), &cookies(&FLOW)).unwrap();
    let syn_ack = record.syn_ack(&at(THEN, &config));
    let echo = syn_ack.options.timestamps.unwrap().value;
    let good = |echo| redeem(&config, THEN, &FLOW, answer(syn_ack.seq, echo)).is_some();
    assert!(good(Some(echo)) && good(Some(echo - 1_000)));
    assert!(!good(Some(echo + 1)), "from the future");
    assert!(!good(Some(echo.wrapping_sub(140_000))), "from long ago");
    assert!(!good(None), "timestamps were agreed on");
}

#[test]
fn listen_cookie_of_another_flow_number_or_key_is_refused() {
    let config = plain();
    let record = SynReceived::with_cookie(&at(THEN, &config), &syn().arrival(), &cookies(&FLOW)).unwrap();
    let iss = record.syn_ack(&at(THEN, &config)).seq;
    assert!(redeem(&config, THEN, &FLOW, answer(iss, None)).is_some());
    let mut other = FLOW;
    other[35] ^= 1;
    assert!(redeem(&config, THEN, &other, answer(iss, None)).is_none());
    let mut late = answer(iss, None);
    late.repr.seq = IRS + 2;
    assert!(redeem(&config, THEN, &FLOW, late).is_none());
    for bit in 0..32 {
        let flipped = SeqNumber(iss.0 ^ 1 << bit);
        assert!(redeem(&config, THEN, &FLOW, answer(flipped, None)).is_none(), "bit {bit}");
    }
    let stranger = Cookies { key: HashKey::new([11, 13]), ..cookies(&FLOW) };
    assert!(stranger.read(&at(THEN, &config), &answer(iss, None).arrival()).is_none());
}

#[test]
fn listen_guesses_do_not_open_connections() {
    // One guess in 2^24 is right: of 2^20, one in sixteen times a single one.
    let config = plain();
    let mut rng = Rng::new(Seed(5));
    let right = (0..1 << 20)
        .filter(|_| redeem(&config, THEN, &FLOW, answer(SeqNumber(rng.next_u32()), None)).is_some())
        .count();
    assert!(right <= 1, "{right}");
}

#[test]
fn listen_a_segment_size_below_the_table_gets_no_cookie() {
    let config = plain();
    let tiny = syn().mss(500);
    assert!(SynReceived::with_cookie(&at(THEN, &config), &tiny.arrival(), &cookies(&FLOW)).is_none());
}

#[test]
fn listen_cookie_keeps_ecn_with_timestamps_and_does_not_agree_to_it_without() {
    let config = Config::default();
    let cx = at(THEN, &config);
    for (asks, stamps) in [(true, true), (true, false), (false, true)] {
        let mut offer = if stamps { syn().stamps(40, 0) } else { syn() };
        offer.repr.flags.set(Flags::ECE | Flags::CWR, asks);
        let syn_ack = SynReceived::with_cookie(&cx, &offer.arrival(), &cookies(&FLOW)).unwrap().syn_ack(&cx);
        let echo = syn_ack.options.timestamps.map(|stamps| stamps.value);
        let info = redeem(&config, THEN, &FLOW, answer(syn_ack.seq, echo)).unwrap().info();
        assert_eq!(syn_ack.flags.contains(Flags::ECE), asks && stamps);
        assert_eq!(info.ecn.unwrap(), asks && stamps);
    }
}
