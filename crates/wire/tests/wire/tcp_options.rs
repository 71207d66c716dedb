//! TCP's options.

use freeway_wire::tcp::{
    FastOpenCookie, Options, Repr, SackBlocks, Segment, SeqNumber, Timestamps, UserTimeout,
};
use proptest::prelude::*;

use crate::strategy::bytes;

const TIMESTAMPS: Timestamps = Timestamps { value: 0x0102_0304, echo: 0x0506_0708 };

fn blocks(count: u32) -> SackBlocks {
    (0..count).map(|i| (SeqNumber(i * 10), SeqNumber(i * 10 + 5))).collect()
}

/// The option bytes of a header.
fn emit(options: Options) -> Vec<u8> {
    let mut bytes = [0xa5; 60];
    let head = Segment::new_unchecked(&[0; 20]);
    let repr = Repr { options, ..Repr::read(&head) };
    repr.emit(&mut bytes);
    bytes[20..repr.header_len()].to_vec()
}

#[test]
fn a_syn_has_its_options_in_the_order_of_linux() {
    let syn = Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, ..Options::NONE };
    assert_eq!(
        emit(Options { timestamps: Some(TIMESTAMPS), ..syn }),
        [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7]
    );
    assert_eq!(emit(syn), [2, 4, 0x05, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7]);
    assert_eq!(emit(Options { sack_permitted: false, ..syn }), [2, 4, 0x05, 0xb4, 1, 3, 3, 7]);
}

#[test]
fn later_segments_have_timestamps_and_then_blocks() {
    let ack = Options::with_timestamps(TIMESTAMPS);
    assert_eq!(emit(ack), [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    let with_block = emit(Options { sack: blocks(1), ..ack });
    assert_eq!(with_block[12..], [1, 1, 5, 10, 0, 0, 0, 0, 0, 0, 0, 5]);
    assert!(emit(Options::NONE).is_empty());
}

#[test]
fn a_cookie_is_padded_to_whole_words() {
    let cookie = FastOpenCookie::new(&[9, 8, 7, 6]);
    assert_eq!(emit(Options { fast_open: cookie, ..Options::NONE }), [34, 6, 9, 8, 7, 6, 1, 1]);
    let request = Some(FastOpenCookie::REQUEST);
    assert_eq!(emit(Options { fast_open: request, ..Options::NONE }), [34, 2, 1, 1]);
    for len in [1, 2, 3, 5, 15, 17, 18] {
        assert_eq!(FastOpenCookie::new(&vec![0; len]), None, "{len}");
    }
}

#[test]
fn user_timeouts_keep_their_unit() {
    assert_eq!(UserTimeout::from_seconds(100).seconds(), 100);
    assert_eq!(UserTimeout::from_seconds(32_767).seconds(), 32_767);
    assert_eq!(UserTimeout::from_seconds(32_769).seconds(), 32_820, "to the next minute");
    assert_eq!(UserTimeout::from_seconds(u32::MAX).seconds(), 32_767 * 60);
    let timeout = Some(UserTimeout::from_bits(0x800a));
    assert_eq!(emit(Options { user_timeout: timeout, ..Options::NONE }), [28, 4, 0x80, 0x0a]);
}

#[test]
fn blocks_that_do_not_fit_are_left_out_from_the_end() {
    let four = Options { sack: blocks(4), ..Options::NONE };
    assert_eq!((four.len(), four.fitting().sack), (36, blocks(4)));
    let beside_timestamps = Options { timestamps: Some(TIMESTAMPS), ..four };
    assert_eq!((beside_timestamps.len(), beside_timestamps.fitting().sack), (40, blocks(3)));
    let mut full = blocks(4);
    assert!(!full.push(SeqNumber(1), SeqNumber(2)));
}

/// MUST-4, MUST-64: options need no alignment, and NOP and END are understood.
#[test]
fn options_need_no_alignment() {
    let options = Options::parse(&[1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 2, 4, 0x05, 0xb4, 0, 3, 3, 9]);
    assert_eq!(options, Options { mss: Some(1460), ..Options::with_timestamps(TIMESTAMPS) });
    let behind_the_end = Options::parse(&[0, 2, 4, 0x05, 0xb4, 0, 0, 0]);
    assert_eq!(behind_the_end, Options::NONE);
}

/// MUST-6, MUST-68: unknown options are skipped by their length.
#[test]
fn unknown_options_are_skipped() {
    let mss = Options { mss: Some(1460), ..Options::NONE };
    assert_eq!(Options::parse(&[254, 6, 0xf9, 0x89, 2, 4, 77, 2, 2, 4, 0x05, 0xb4]), mss);
}

/// MUST-7: illegal lengths end the options; those before them count.
#[test]
fn illegal_lengths_are_survived() {
    let mss = Options { mss: Some(1460), ..Options::NONE };
    for illegal in [&[3, 0, 7][..], &[3, 1, 7], &[3, 4, 7], &[77, 255], &[77], &[8, 10, 1, 2, 3]] {
        let bytes = [&[2, 4, 0x05, 0xb4], illegal].concat();
        assert_eq!(Options::parse(&bytes), mss, "{illegal:?}");
    }
}

#[test]
fn known_options_of_a_wrong_length_are_skipped() {
    let scale = Options { window_scale: Some(2), ..Options::NONE };
    for wrong in [
        &[2, 3, 0][..],
        &[4, 3, 0],
        &[8, 4, 0, 0],
        &[5, 2],
        &[5, 9, 0, 0, 0, 0, 0, 0, 0],
        &[34, 5, 1, 2, 3],
        &[28, 3, 1],
    ] {
        let bytes = [wrong, &[3, 3, 2]].concat();
        assert_eq!(Options::parse(&bytes), scale, "{wrong:?}");
    }
}

#[test]
fn of_two_the_later_counts() {
    let options = Options::parse(&[2, 4, 0, 1, 2, 4, 0, 2]);
    assert_eq!(options.mss, Some(2));
}

pub fn timestamps() -> impl Strategy<Value = Timestamps> {
    any::<(u32, u32)>().prop_map(|(value, echo)| Timestamps { value, echo })
}

/// What most SYNs say.
pub fn opening() -> impl Strategy<Value = Options> {
    (any::<(u16, u8, bool)>(), timestamps()).prop_map(|((mss, shift, sack_permitted), timestamps)| Options {
        mss: Some(mss),
        window_scale: Some(shift),
        sack_permitted,
        timestamps: Some(timestamps),
        ..Options::NONE
    })
}

fn sack() -> impl Strategy<Value = SackBlocks> {
    prop::collection::vec(any::<(u32, u32)>(), 0..=4).prop_map(|blocks| {
        blocks.into_iter().map(|(first, last)| (SeqNumber(first), SeqNumber(last))).collect()
    })
}

fn fast_open() -> impl Strategy<Value = FastOpenCookie> {
    bytes(16).prop_filter_map("a length that cookies have", |cookie| FastOpenCookie::new(&cookie))
}

pub fn any_options() -> impl Strategy<Value = Options> {
    let of = |timeout: Option<u16>| timeout.map(UserTimeout::from_bits);
    (
        any::<(Option<u16>, Option<u8>, bool, Option<u16>)>(),
        proptest::option::of(timestamps()),
        sack(),
        proptest::option::of(fast_open()),
    )
        .prop_map(move |((mss, window_scale, sack_permitted, timeout), timestamps, sack, fast_open)| {
            Options {
                mss,
                window_scale,
                sack_permitted,
                timestamps,
                sack,
                fast_open,
                user_timeout: of(timeout),
            }
        })
}

proptest! {
    #[test]
    fn what_fits_comes_back(options in any_options()) {
        let bytes = emit(options);
        prop_assert_eq!(bytes.len(), options.len());
        prop_assert!(bytes.len() <= 40 && bytes.len().is_multiple_of(4));
        prop_assert_eq!(Options::parse(&bytes), options.fitting());
        prop_assert_eq!(options.fitting().fitting(), options.fitting());
    }

    /// Whatever is negotiated on a SYN is never what gives way.
    #[test]
    fn what_negotiates_always_fits(options in any_options()) {
        let fitting = options.fitting();
        prop_assert_eq!((fitting.mss, fitting.window_scale), (options.mss, options.window_scale));
        prop_assert_eq!((fitting.sack_permitted, fitting.timestamps), (options.sack_permitted, options.timestamps));
    }

    #[test]
    fn no_bytes_panic(bytes in bytes(50)) {
        let options = Options::parse(&bytes);
        prop_assert!(options.fitting().len() <= 40);
    }
}
