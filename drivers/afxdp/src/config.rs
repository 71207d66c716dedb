//! What a person may choose about an interface.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Which interface, how, and what of it is Freeway's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AfxdpConfig {
    /// The interface's name.
    pub interface: String,
    /// How many receive queues to serve, from queue 0 on. Default: all that the interface has. Frames that arrive on
    /// other queues go to Linux.
    pub queues: Option<u32>,
    /// Where the XDP program runs. Default: in the driver if that is possible.
    pub mode: Mode,
    /// Whether frames are copied between the device and the pool. Default: not if that is possible.
    pub copy: CopyMode,
    /// What is known of the sums of received frames. Default: see [`Checksum::Auto`].
    pub checksum: Checksum,
    /// Who fills in the sums of sent frames. Default: see [`TxChecksum::Auto`].
    pub tx_checksum: TxChecksum,
    /// Whether the core drives the device's interrupt handler itself. Default: no.
    pub busy_poll: Option<BusyPoll>,
    /// Buffers that lie with each queue to be filled, a power of two. Default 1,024; at most a quarter
    /// of the core's pool for all its queues. Each
    /// takes one buffer of the pool.
    pub fill: u32,
    /// Frames that may be under way to the device on each queue, a power of two. Default 1,024, 16 bytes each and 16
    /// bytes for each buffer of the pool.
    pub tx: u32,
    /// What is Freeway's of the interface's frames.
    pub steering: Steering,
}

impl AfxdpConfig {
    /// The defaults for `interface`; nothing is Freeway's yet.
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            queues: None,
            mode: Mode::Auto,
            copy: CopyMode::Auto,
            checksum: Checksum::Auto,
            tx_checksum: TxChecksum::Auto,
            busy_poll: None,
            fill: 1_024,
            tx: 1_024,
            steering: Steering::default(),
        }
    }
}

/// Where the XDP program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// In the driver, or, where that fails, in the network stack.
    #[default]
    Auto,
    /// In the driver, before the kernel makes anything of a frame.
    Native,
    /// In the network stack, on any interface: slower.
    Generic,
}

/// Whether frames are copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CopyMode {
    /// Not if the driver can do without.
    #[default]
    Auto,
    /// The kernel copies each frame once.
    Copy,
    /// The card reads and writes the pool itself, or it is an error.
    Zero,
}

/// What is known of the sums of received frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// All sums are verified. On a veth, whose other end leaves sums to a device that does not exist, a TCP or UDP sum
    /// that holds the pseudo-header's part alone is good too: such a frame never was on a wire.
    #[default]
    Auto,
    /// All sums are verified.
    Verify,
    /// No sum is verified.
    Trust,
}

/// Who fills in the TCP and UDP sums of sent frames. To ask the kernel for it takes Linux 6.8 with its stable fixes, or
/// 6.11, and an MTU that fits into one buffer; the kernel, where it copies frames, passes the wish on to the driver or sums
/// itself.
///
/// A veth passes it on to its other end, which takes such frames for good, as it does Linux's own; so does not an AF_XDP
/// socket there: it sees sums that are not filled in, as it does in Linux's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TxChecksum {
    /// The kernel or the card where it is known to work: on a veth, and where the driver says that it does so for AF_XDP.
    /// Software elsewhere.
    #[default]
    Auto,
    /// The kernel or the card, or it is an error. With copied frames it depends on the driver: some look for the headers
    /// where Linux's own stack notes them, which AF_XDP does not.
    On,
    /// Software.
    Off,
}

/// Busy polling: the core runs the device's interrupt handler in its own receive calls, and interrupts stay off
/// meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusyPoll {
    /// How long one call polls, in microseconds.
    pub us: u32,
    /// Frames that one call handles at most.
    pub budget: u32,
}

/// What of an interface's frames is Freeway's; everything else is Linux's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Steering {
    /// Every frame.
    pub whole_interface: bool,
    /// The VLAN of all addresses; 0 for none.
    pub vlan: u16,
    /// Addresses that Linux does not have: whatever is sent to them, and whatever asks for them.
    pub own: Vec<IpAddr>,
    /// Addresses that Linux has too.
    pub shared: Vec<IpAddr>,
    /// What is served on the shared addresses.
    pub services: Vec<(Transport, u16)>,
    /// The ports from which Freeway opens connections on the shared addresses. Linux must not use them.
    pub opens: Option<RangeInclusive<u16>>,
}

/// A protocol with ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl Transport {
    /// Its IP protocol number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// `IFACE[,queues=N][,mode=native|generic|auto][,copy=auto|copy|zero][,checksum=auto|verify|trust]
/// [,tx-checksum=auto|on|off][,busy-poll=US][,vlan=ID][,fill=N][,tx=N]`, as the command line has it.
impl FromStr for AfxdpConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        if !(1..16).contains(&name.len()) || name.contains(['/', ' ']) {
            return Err(format!(
                "'{name}' cannot name an interface: 1 to 15 characters, no slash, space or comma"
            ));
        }
        let mut config = Self::new(name);
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("'{part}' is not KEY=VALUE"))?;
            match key {
                "queues" => config.queues = Some(number(key, value, 1, 256)?),
                "mode" => config.mode = word(key, value, &MODES)?,
                "copy" => config.copy = word(key, value, &COPIES)?,
                "checksum" => config.checksum = word(key, value, &CHECKSUMS)?,
                "tx-checksum" => config.tx_checksum = word(key, value, &TX_CHECKSUMS)?,
                "busy-poll" => {
                    config.busy_poll = Some(BusyPoll { us: number(key, value, 1, 10_000)?, budget: 64 });
                }
                "vlan" => config.steering.vlan = number(key, value, 1, 4_094)? as u16,
                "fill" => config.fill = power(key, value)?,
                "tx" => config.tx = power(key, value)?,
                _ => {
                    return Err(format!(
                        "'{key}' is no setting of an AF_XDP device: queues, mode, copy, checksum, tx-checksum, \
                         busy-poll, vlan, fill, tx"
                    ));
                }
            }
        }
        Ok(config)
    }
}

const MODES: [(&str, Mode); 3] = [("auto", Mode::Auto), ("native", Mode::Native), ("generic", Mode::Generic)];
const COPIES: [(&str, CopyMode); 3] =
    [("auto", CopyMode::Auto), ("copy", CopyMode::Copy), ("zero", CopyMode::Zero)];
const CHECKSUMS: [(&str, Checksum); 3] =
    [("auto", Checksum::Auto), ("verify", Checksum::Verify), ("trust", Checksum::Trust)];
const TX_CHECKSUMS: [(&str, TxChecksum); 3] =
    [("auto", TxChecksum::Auto), ("on", TxChecksum::On), ("off", TxChecksum::Off)];

fn word<T: Copy>(key: &str, value: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == value).map(|&(_, meaning)| meaning);
    let names = || words.iter().map(|&(word, _)| word).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("{key}={value}: it is one of {}", names()))
}

fn number(key: &str, value: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{key}={value}: it is a number from {least} to {most}"))
}

fn power(key: &str, value: &str) -> Result<u32, String> {
    let number = number(key, value, 64, 1 << 15)?;
    if number.is_power_of_two() { Ok(number) } else { Err(format!("{key}={value}: it is a power of two")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_spec_names_an_interface_and_its_settings() {
        let config: AfxdpConfig =
            "eth0,queues=2,mode=generic,copy=zero,checksum=trust,tx-checksum=off,busy-poll=20,vlan=7,fill=256,tx=128"
                .parse()
                .unwrap();
        let expected = AfxdpConfig {
            queues: Some(2),
            mode: Mode::Generic,
            copy: CopyMode::Zero,
            checksum: Checksum::Trust,
            tx_checksum: TxChecksum::Off,
            busy_poll: Some(BusyPoll { us: 20, budget: 64 }),
            fill: 256,
            tx: 128,
            steering: Steering { vlan: 7, ..Steering::default() },
            ..AfxdpConfig::new("eth0")
        };
        assert_eq!(config, expected);
        assert_eq!("eth0".parse(), Ok(AfxdpConfig::new("eth0")));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        for (spec, says) in [
            ("", "cannot name an interface"),
            ("0123456789abcdef", "cannot name an interface"),
            ("eth0,queues=0", "from 1 to 256"),
            ("eth0,mode=fast", "auto, native, generic"),
            ("eth0,copy", "KEY=VALUE"),
            ("eth0,tx-checksum=yes", "auto, on, off"),
            ("eth0,colour=red", "no setting"),
            ("eth0,fill=100", "power of two"),
            ("eth0,vlan=4095", "from 1 to 4094"),
        ] {
            let error = spec.parse::<AfxdpConfig>().unwrap_err();
            assert!(error.contains(says), "{spec}: {error}");
        }
    }
}
