//! TCP's control bits.

bitflags::bitflags! {
    /// The control bits of a header, RFC 9293 section 3.1 and RFC 3168 section 6.1.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Flags: u8 {
        /// No more data from the sender.
        const FIN = 0x01;
        /// Synchronises sequence numbers.
        const SYN = 0x02;
        /// Resets the connection.
        const RST = 0x04;
        /// Push: the data is to be given to the application.
        const PSH = 0x08;
        /// The acknowledgment number counts.
        const ACK = 0x10;
        /// The urgent pointer counts.
        const URG = 0x20;
        /// Echo of a congestion mark.
        const ECE = 0x40;
        /// The congestion window was reduced.
        const CWR = 0x80;
    }
}

impl Flags {
    /// How many sequence numbers the bits themselves take: one for a SYN, one for a FIN.
    #[inline]
    pub const fn sequence_len(self) -> u32 {
        self.contains(Self::SYN) as u32 + self.contains(Self::FIN) as u32
    }
}
