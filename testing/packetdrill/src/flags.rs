//! The string of `--so_flags`: `key=value,key=value`.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use freeway::TcpConfig;
use freeway_tcp::EcnMode;
use freeway_tcp::congestion::Algorithm;

use crate::offload::Offload;

/// Largest shift of a window (RFC 7323, section 2.3).
const SCALE_MAX: u8 = 14;
/// The window field without a shift.
const WINDOW_UNSCALED: u32 = 65_535;
/// An Ethernet's MTU, from which the MSS follows.
const MTU: u16 = 1_500;

/// What the tool's command line chooses.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    /// TCP's settings of a new socket.
    pub(crate) tcp: TcpConfig,
    /// Bytes that a socket queues for sending unless it says otherwise.
    pub(crate) send_buffer: u32,
    /// The longest IP packet.
    pub(crate) mtu: u16,
    /// What is done to segments that leave together.
    pub(crate) offload: Offload,
    /// Segments that are handed down at once at least, where there are so many (`tcp_min_tso_segs`).
    pub(crate) offload_least: u32,
    /// The key of Fast Open cookies, where it is to be known.
    pub(crate) fast_open_key: Option<[u8; 16]>,
    /// What random numbers begin with.
    pub(crate) seed: u64,
    /// The host's addresses; without any of a version, the first bind or packet tells.
    pub(crate) local: Vec<IpAddr>,
}

impl Default for Flags {
    fn default() -> Self {
        // Linux's sockets have Nagle's algorithm on, take part in ECN when they are asked, and more of the kind.
        let tcp = TcpConfig {
            receive_window: WINDOW_UNSCALED,
            receive_window_max: WINDOW_UNSCALED,
            nagle: true,
            delayed_fin_ack: true,
            require_timestamps: false,
            slow_start_step: Some(u16::MAX),
            ecn: EcnMode::Passive,
            ..TcpConfig::default()
        };
        Self {
            tcp,
            send_buffer: 2 << 20,
            mtu: MTU,
            offload: Offload::None,
            offload_least: 2,
            fast_open_key: None,
            seed: 1,
            local: Vec::new(),
        }
    }
}

impl Flags {
    /// Reads the string.
    ///
    /// # Errors
    ///
    /// A key that is not known, or a value that it does not take.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut flags = Self::default();
        let mut receive_buffer = None;
        let mut shift = None;
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').with_context(|| format!("`{part}` is not key=value"))?;
            let bad = || format!("{key}={value}");
            match key {
                "rcvbuf" => receive_buffer = Some(number(value).with_context(bad)?),
                "sndbuf" => flags.send_buffer = number(value).with_context(bad)?,
                "delack" if switch(value).with_context(bad)? => {
                    flags.tcp.delayed_ack = TcpConfig::default().delayed_ack;
                }
                "delack" => flags.tcp.delayed_ack = None,
                "sack" => flags.tcp.sack = switch(value).with_context(bad)?,
                "ts" => flags.tcp.timestamps = switch(value).with_context(bad)?,
                "ecn" if switch(value).with_context(bad)? => flags.tcp.ecn = EcnMode::On,
                "ecn" => flags.tcp.ecn = EcnMode::Off,
                "wscale" => match value {
                    "on" | "off" => flags.tcp.window_scale = value == "on",
                    _ => shift = Some(number(value).with_context(bad)?),
                },
                "cc" => flags.tcp.congestion = algorithm(value).with_context(bad)?,
                "mtu" => flags.mtu = number(value).with_context(bad)?,
                "iw" => flags.tcp.initial_window = number(value).with_context(bad)?,
                "tso" => match value {
                    "on" => flags.offload = Offload::Large,
                    "off" => flags.offload = Offload::Cut,
                    _ => {
                        flags.offload = Offload::Large;
                        flags.offload_least = number(value).with_context(bad)?;
                    }
                },
                "tfokey" => flags.fast_open_key = Some(key_of(value).with_context(bad)?),
                "seed" => flags.seed = number(value).with_context(bad)?,
                "local" => flags.local.push(value.parse().with_context(bad)?),
                _ => bail!("`{key}` is no flag: see testing/packetdrill/README.md"),
            }
        }
        flags.set_window(receive_buffer, shift)?;
        Ok(flags)
    }

    /// The receive window, which grows only where a shift makes room for it to.
    fn set_window(&mut self, receive_buffer: Option<u32>, shift: Option<u8>) -> Result<()> {
        self.tcp.receive_window = receive_buffer.unwrap_or(WINDOW_UNSCALED);
        self.tcp.receive_window_max = self.tcp.receive_window;
        if let Some(shift) = shift {
            ensure!(shift <= SCALE_MAX, "wscale={shift}: at most {SCALE_MAX}");
            let largest = WINDOW_UNSCALED << shift;
            ensure!(
                self.tcp.receive_window <= largest,
                "wscale={shift}: rcvbuf is more than the {largest} that the shift expresses"
            );
            self.tcp.window_scale = true;
            self.tcp.receive_window_max = largest;
        }
        Ok(())
    }
}

fn switch(value: &str) -> Result<bool> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => bail!("on or off"),
    }
}

fn number<T>(value: &str) -> Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    Ok(value.parse()?)
}

/// A key as Linux's `tcp_fastopen_key` has it: four words in hexadecimal, with dashes between them.
fn key_of(value: &str) -> Result<[u8; 16]> {
    let words: Vec<u32> =
        value.split('-').map(|word| u32::from_str_radix(word, 16)).collect::<std::result::Result<_, _>>()?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.try_into().ok().context("four words")
}

/// The algorithm of a name, Linux's names included.
///
/// # Errors
///
/// A name that is not known.
pub(crate) fn algorithm(name: &str) -> Result<Algorithm> {
    match name {
        "reno" => Ok(Algorithm::NewReno),
        _ => Ok(name.parse()?),
    }
}

/// The name by which Linux knows an algorithm.
pub(crate) const fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::NewReno => "reno",
        _ => algorithm.name(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_flags_are_read() {
        let text = "rcvbuf=20000,sndbuf=9000,delack=off,sack=on,ts=off,ecn=off,wscale=off,cc=newreno,mtu=1400,iw=3,\
                    seed=7,local=192.0.2.9,local=2001:db8::9";
        let flags = Flags::parse(text).unwrap();
        assert_eq!((flags.tcp.receive_window, flags.send_buffer, flags.mtu), (20_000, 9_000, 1_400));
        assert_eq!(flags.tcp.delayed_ack, None);
        assert!(flags.tcp.sack && !flags.tcp.timestamps && !flags.tcp.window_scale);
        assert_eq!(flags.tcp.ecn, EcnMode::Off);
        assert_eq!(Flags::parse("ecn=on").unwrap().tcp.ecn, EcnMode::On);
        assert_eq!((flags.tcp.initial_window, flags.seed, flags.local.len()), (3, 7, 2));
    }

    #[test]
    fn a_shift_lets_the_window_grow_and_must_hold_it() {
        let window =
            |text| Flags::parse(text).map(|flags| (flags.tcp.receive_window, flags.tcp.receive_window_max));
        assert_eq!(window("wscale=8").unwrap(), (65_535, 65_535 << 8));
        assert_eq!(window("wscale=0").unwrap(), (65_535, 65_535));
        assert_eq!(window("wscale=3,rcvbuf=70000").unwrap(), (70_000, 65_535 << 3));
        assert_eq!(window("rcvbuf=70000").unwrap(), (70_000, 70_000));
        assert!(window("wscale=0,rcvbuf=70000").is_err());
        assert!(window("wscale=15").is_err());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in ["rcvbuf", "window=3", "sack=maybe", "cc=vegas", "mtu=x", "local=nowhere"] {
            assert!(Flags::parse(text).is_err(), "{text}");
        }
        assert_eq!(Flags::parse("").unwrap().tcp.receive_window, 65_535);
    }
}
