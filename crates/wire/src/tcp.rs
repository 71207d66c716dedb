//! TCP, RFC 9293 section 3.1.
//!
//! ```text
//!  0               1               2               3
//! +-------------------------------+-------------------------------+
//! |          source port          |       destination port        |   0
//! |                        sequence number                        |   4
//! |                     acknowledgment number                     |   8
//! +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
//! | words |  rsv  |C|E|U|A|P|R|S|F|            window             |  12
//! +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
//! |           checksum            |        urgent pointer         |  16
//! |                  options, (words - 5) words                   |  20
//! +---------------------------------------------------------------+
//! ```
//!
//! Options: RFC 9293 section 3.2 (maximum segment size), RFC 7323 (window scale, timestamps), RFC 2018 (selective
//! acknowledgement), RFC 7413 (Fast Open), RFC 5482 (user timeout).

mod flags;
mod options;
mod seq;

use core::net::IpAddr;

use crate::bytes::{self, U8, U16, U32};
use crate::checksum::{self, Sum};
use crate::{Error, Protocol, Result};

pub use flags::Flags;
pub use options::{FastOpenCookie, Options, SackBlocks, Timestamps, UserTimeout};
pub use seq::SeqNumber;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// Bytes of the longest header.
pub const HEADER_LEN_MAX: usize = 60;

/// Bytes of the header that an established connection uses when it has timestamps: NOP, NOP, timestamps.
pub const HEADER_LEN_TIMESTAMPS: usize = HEADER_LEN + options::TIMESTAMPS_ALIGNED_LEN;

/// Bytes of the header that opens a connection: MSS, timestamps, window scale.
const HEADER_LEN_OPENING: usize = HEADER_LEN + options::OPENING_LEN;

mod field {
    use super::{U8, U16, U32};

    pub const SRC_PORT: U16 = U16(0);
    pub const DST_PORT: U16 = U16(2);
    pub const SEQ: U32 = U32(4);
    pub const ACK: U32 = U32(8);
    pub const DATA_OFFSET: U8 = U8(12);
    pub const FLAGS: U8 = U8(13);
    pub const WINDOW: U16 = U16(14);
    pub const CHECKSUM: U16 = U16(16);
    pub const URGENT: U16 = U16(18);
}

/// A view of a TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<T: AsRef<[u8]>> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Segment<T> {
    /// A view without any check: fields that are not there read as zero.
    #[inline]
    pub const fn new_unchecked(bytes: T) -> Self {
        Self { bytes }
    }

    /// A view of bytes that hold a whole header with its options. What follows is payload.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the bytes end before the header does, [`Error::BadLength`] when the header says that it
    /// is shorter than it can be.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self> {
        let segment = Self { bytes };
        let available = segment.bytes.as_ref().len();
        if available < HEADER_LEN {
            return Err(Error::Truncated);
        }
        if segment.header_len() < HEADER_LEN {
            return Err(Error::BadLength);
        }
        if segment.header_len() > available { Err(Error::Truncated) } else { Ok(segment) }
    }

    /// The bytes again.
    #[inline]
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// From which port.
    #[inline]
    pub fn src_port(&self) -> u16 {
        field::SRC_PORT.get(self.bytes.as_ref())
    }

    /// To which port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        field::DST_PORT.get(self.bytes.as_ref())
    }

    /// The first sequence number: of the SYN if there is one, else of the payload.
    #[inline]
    pub fn seq(&self) -> SeqNumber {
        SeqNumber(field::SEQ.get(self.bytes.as_ref()))
    }

    /// The next sequence number expected from the other side; means nothing without [`Flags::ACK`].
    #[inline]
    pub fn ack(&self) -> SeqNumber {
        SeqNumber(field::ACK.get(self.bytes.as_ref()))
    }

    /// Bytes of the header with its options.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(field::DATA_OFFSET.get(self.bytes.as_ref()) >> 4) * 4
    }

    /// The control bits. The four reserved ones are ignored.
    #[inline]
    pub fn flags(&self) -> Flags {
        Flags::from_bits_retain(field::FLAGS.get(self.bytes.as_ref()))
    }

    /// The receive window as it stands, not scaled.
    #[inline]
    pub fn window(&self) -> u16 {
        field::WINDOW.get(self.bytes.as_ref())
    }

    /// The checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        field::CHECKSUM.get(self.bytes.as_ref())
    }

    /// The urgent pointer; means nothing without [`Flags::URG`].
    #[inline]
    pub fn urgent(&self) -> u16 {
        field::URGENT.get(self.bytes.as_ref())
    }

    /// The options' bytes.
    #[inline]
    pub fn options(&self) -> &[u8] {
        bytes::range(self.bytes.as_ref(), HEADER_LEN, self.header_len())
    }

    /// What follows the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        bytes::rest(self.bytes.as_ref(), self.header_len())
    }

    /// Whether the checksum is right; the view must hold the whole segment.
    #[inline]
    pub fn verify_checksum(&self, src: IpAddr, dst: IpAddr) -> bool {
        checksum::verify_transport(src, dst, Protocol::TCP, self.bytes.as_ref())
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Segment<T> {
    /// Writes from which port.
    #[inline]
    pub fn set_src_port(&mut self, port: u16) {
        field::SRC_PORT.set(self.bytes.as_mut(), port);
    }

    /// Writes to which port.
    #[inline]
    pub fn set_dst_port(&mut self, port: u16) {
        field::DST_PORT.set(self.bytes.as_mut(), port);
    }

    /// Writes the first sequence number.
    #[inline]
    pub fn set_seq(&mut self, seq: SeqNumber) {
        field::SEQ.set(self.bytes.as_mut(), seq.0);
    }

    /// Writes the acknowledgment number.
    #[inline]
    pub fn set_ack(&mut self, ack: SeqNumber) {
        field::ACK.set(self.bytes.as_mut(), ack.0);
    }

    /// Writes the header's length in bytes (a multiple of four, at most 60), and zeros into the reserved bits.
    #[inline]
    pub fn set_header_len(&mut self, len: usize) {
        field::DATA_OFFSET.set(self.bytes.as_mut(), ((len / 4) << 4) as u8);
    }

    /// Writes the control bits.
    #[inline]
    pub fn set_flags(&mut self, flags: Flags) {
        field::FLAGS.set(self.bytes.as_mut(), flags.bits());
    }

    /// Writes the receive window as it is to stand, not scaled.
    #[inline]
    pub fn set_window(&mut self, window: u16) {
        field::WINDOW.set(self.bytes.as_mut(), window);
    }

    /// Writes the checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        field::CHECKSUM.set(self.bytes.as_mut(), checksum);
    }

    /// Writes the urgent pointer.
    #[inline]
    pub fn set_urgent(&mut self, urgent: u16) {
        field::URGENT.set(self.bytes.as_mut(), urgent);
    }

    /// The options' bytes, for writing.
    #[inline]
    pub fn options_mut(&mut self) -> &mut [u8] {
        let to = self.header_len();
        bytes::range_mut(self.bytes.as_mut(), HEADER_LEN, to)
    }

    /// What follows the header, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let from = self.header_len();
        bytes::rest_mut(self.bytes.as_mut(), from)
    }
}

/// A TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Repr {
    /// From which port.
    pub src_port: u16,
    /// To which port.
    pub dst_port: u16,
    /// The first sequence number: of the SYN if there is one, else of the payload.
    pub seq: SeqNumber,
    /// The next sequence number expected; means nothing without [`Flags::ACK`].
    pub ack: SeqNumber,
    /// The control bits.
    pub flags: Flags,
    /// The receive window as it stands in the header, not scaled.
    pub window: u16,
    /// The urgent pointer; means nothing without [`Flags::URG`].
    pub urgent: u16,
    /// The options.
    pub options: Options,
}

impl Repr {
    /// Reads the header. Options that make no sense are left out (RFC 9293, MUST-6 and MUST-7), and neither ports nor
    /// flags nor the checksum are judged.
    ///
    /// # Errors
    ///
    /// Those of [`Segment::new_checked`] for a view that was made unchecked.
    #[inline]
    pub fn parse<T: AsRef<[u8]>>(segment: &Segment<T>) -> Result<Self> {
        Ok(Self::read(&Segment::new_checked(segment.bytes.as_ref())?))
    }

    /// What [`parse`](Self::parse) gives for a view that was checked, without the detour over a `Result` of a hundred
    /// bytes, which costs the hot path a copy or two.
    #[inline]
    pub fn read<T: AsRef<[u8]>>(segment: &Segment<T>) -> Self {
        let mut repr = Self::default();
        repr.reread(segment);
        repr
    }

    /// The same into a place that has held another header, field by field: so that none of it is copied.
    #[inline(always)]
    pub fn reread<T: AsRef<[u8]>>(&mut self, segment: &Segment<T>) {
        self.src_port = segment.src_port();
        self.dst_port = segment.dst_port();
        self.seq = segment.seq();
        self.ack = segment.ack();
        self.flags = segment.flags();
        self.window = segment.window();
        self.urgent = segment.urgent();
        self.options = Options::NONE;
        self.options.read(segment.options());
    }

    /// Bytes of the header with its options: what [`emit`](Self::emit) writes.
    #[inline]
    pub fn header_len(&self) -> usize {
        HEADER_LEN + self.options.len()
    }

    /// The same, by the name that it has in every protocol.
    #[inline]
    pub fn buffer_len(&self) -> usize {
        self.header_len()
    }

    /// Writes the header to the front of `bytes`, with a checksum of zero, for
    /// [`fill_transport`](checksum::fill_transport) or [`seed_transport`](checksum::seed_transport).
    ///
    /// Options that the 40 bytes there are do not hold are left out, as [`Options::fitting`] says.
    #[inline]
    pub fn emit(&self, bytes: &mut [u8]) {
        self.as_header().emit(bytes);
    }

    /// The same header, its options where they are.
    #[inline]
    const fn as_header(&self) -> Header<'_> {
        let Self { src_port, dst_port, seq, ack, flags, window, urgent, ref options } = *self;
        Header { src_port, dst_port, seq, ack, flags, window, urgent, options }
    }
}

/// A header to be written, whose options lie elsewhere: a hundred bytes that need not be copied for it.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// From which port.
    pub src_port: u16,
    /// To which port.
    pub dst_port: u16,
    /// The first sequence number.
    pub seq: SeqNumber,
    /// The next sequence number expected.
    pub ack: SeqNumber,
    /// The control bits.
    pub flags: Flags,
    /// The receive window as it stands in the header, not scaled.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// The options.
    pub options: &'a Options,
}

impl Header<'_> {
    /// Bytes of the header with its options.
    #[inline]
    pub fn len(&self) -> usize {
        HEADER_LEN + self.options.len()
    }

    /// Never: there are twenty bytes at least.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes the header to the front of `bytes`, with a checksum of zero, for
    /// [`fill_transport`](checksum::fill_transport) or [`seed_transport`](checksum::seed_transport).
    ///
    /// Options that the 40 bytes there are do not hold are left out, as [`Options::fitting`] says.
    #[inline]
    pub fn emit(&self, bytes: &mut [u8]) {
        match self.options.only_timestamps() {
            Some(timestamps) => self.emit_with_timestamps(timestamps, bytes),
            None => self.emit_with_options(bytes),
        }
    }

    /// Writes the header to the front of `bytes`, the rest of which is the payload, with its checksum; `pseudo` is the
    /// [pseudo-header's sum](checksum::pseudo_header).
    ///
    /// The sum of a common header is taken from the words as they are written: reading back what was written in parts
    /// would wait for the stores.
    #[inline]
    pub fn emit_summed(&self, bytes: &mut [u8], pseudo: Sum) {
        if let Some(timestamps) = self.options.only_timestamps()
            && let Some((header, payload)) = bytes.split_first_chunk_mut::<HEADER_LEN_TIMESTAMPS>()
        {
            write_summed(header, self.words(timestamps), pseudo.add(payload));
            return;
        }
        if let Some(options) = self.options.opening()
            && let Some((header, payload)) = bytes.split_first_chunk_mut::<HEADER_LEN_OPENING>()
        {
            write_summed(header, self.opening_words(options), pseudo.add(payload));
            return;
        }
        self.emit(bytes);
        let checksum = pseudo.join(checksum::sum(bytes), 0).finish();
        field::CHECKSUM.set(bytes, checksum);
    }

    /// The header of nearly every segment.
    #[inline]
    fn emit_with_timestamps(&self, timestamps: Timestamps, bytes: &mut [u8]) {
        let Some(header) = bytes.first_chunk_mut::<HEADER_LEN_TIMESTAMPS>() else { return };
        write_words(header, self.words(timestamps), 0);
    }

    /// A header with timestamps and nothing else, aligned as RFC 7323 appendix A recommends; the checksum is zero.
    #[inline(always)]
    fn words(&self, timestamps: Timestamps) -> [u64; HEADER_LEN_TIMESTAMPS / 8] {
        let [first, second, third] = self.fixed_words(HEADER_LEN_TIMESTAMPS);
        [
            first,
            second,
            third | u64::from(Timestamps::ALIGNED_LEAD),
            u64::from(timestamps.value) << 32 | u64::from(timestamps.echo),
        ]
    }

    /// A header that opens a connection; the checksum is zero.
    #[inline(always)]
    fn opening_words(&self, options: [u32; options::OPENING_LEN / 4]) -> [u64; HEADER_LEN_OPENING / 8] {
        let [first, second, third] = self.fixed_words(HEADER_LEN_OPENING);
        let [a, b, c, d, e] = options.map(u64::from);
        [first, second, third | a, b << 32 | c, d << 32 | e]
    }

    /// The first twenty bytes, and room for four more.
    #[inline(always)]
    fn fixed_words(&self, header_len: usize) -> [u64; 3] {
        let Self { src_port, dst_port, seq, ack, flags, window, urgent, options: _ } = *self;
        let data_offset = (header_len / 4) as u64;
        [
            u64::from(src_port) << 48 | u64::from(dst_port) << 32 | u64::from(seq.0),
            u64::from(ack.0) << 32 | data_offset << 28 | u64::from(flags.bits()) << 16 | u64::from(window),
            u64::from(urgent) << 32,
        ]
    }

    fn emit_with_options(&self, bytes: &mut [u8]) {
        let header_len = self.len();
        let Some(header) = bytes.get_mut(..header_len) else { return };
        let Some((fixed, options)) = header.split_first_chunk_mut::<HEADER_LEN>() else { return };
        self.emit_fixed(header_len, fixed);
        self.options.emit(options);
    }

    /// The first twenty bytes.
    #[inline(always)]
    fn emit_fixed<const N: usize>(&self, header_len: usize, bytes: &mut [u8; N]) {
        let Self { src_port, dst_port, seq, ack, flags, window, urgent, options: _ } = *self;
        let mut segment = Segment::new_unchecked(bytes);
        segment.set_src_port(src_port);
        segment.set_dst_port(dst_port);
        segment.set_seq(seq);
        segment.set_ack(ack);
        segment.set_header_len(header_len);
        segment.set_flags(flags);
        segment.set_window(window);
        segment.set_checksum(0);
        segment.set_urgent(urgent);
    }
}

/// Writes a header's words, with the checksum of them and of what `rest` sums.
#[inline(always)]
fn write_summed<const LEN: usize, const WORDS: usize>(
    header: &mut [u8; LEN],
    words: [u64; WORDS],
    rest: Sum,
) {
    write_words(header, words, words.into_iter().fold(rest, Sum::add_u64).finish());
}

/// Writes a header's words, with its checksum in the third.
#[inline(always)]
fn write_words<const LEN: usize, const WORDS: usize>(
    header: &mut [u8; LEN],
    mut words: [u64; WORDS],
    checksum: u16,
) {
    const { assert!(LEN == 8 * WORDS && WORDS > 2) };
    words[2] |= u64::from(checksum) << 48;
    let (places, _) = header.as_chunks_mut::<8>();
    for (place, word) in places.iter_mut().zip(words) {
        *place = word.to_be_bytes();
    }
}
