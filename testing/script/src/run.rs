//! Running a scenario.

use std::net::IpAddr;

use anyhow::{Context as _, anyhow, bail, ensure};
use freeway_tcp::{Config, State};
use freeway_wire::tcp::{Flags, Options, Repr, Segment as View, SeqNumber, Timestamps};
use freeway_wire::{Ecn, Protocol, checksum, ethernet, ipv4};

use crate::host::{HOST, HOST_MAC, Host, PEER, PEER_MAC, PEER_PORT};
use crate::parse::{Scenario, Segment, Step};

/// The line at which a scenario went wrong, and how.
#[derive(Debug)]
pub struct Failure {
    /// The line, from 1.
    pub line: usize,
    /// What was expected and what was there.
    pub what: anyhow::Error,
}

/// Runs a scenario against a fresh host.
///
/// # Errors
///
/// The first step that did not go as written.
pub fn run(scenario: &Scenario) -> Result<(), Failure> {
    let mut runner = Runner::new().map_err(|what| Failure { line: 0, what })?;
    for (line, step) in &scenario.steps {
        runner.step(step).map_err(|what| Failure { line: *line, what })?;
    }
    Ok(())
}

struct Runner {
    host: Host,
    host_port: u16,
    peer_port: u16,
    /// The peer's initial sequence number.
    peer_iss: SeqNumber,
    /// The host's, once its SYN was seen.
    host_iss: Option<SeqNumber>,
    /// Every byte that is written or injected is told by its place in the stream.
    written: u32,
}

/// A state as RFC 9293 writes it.
const fn name_of(state: State) -> &'static str {
    match state {
        State::Closed => "CLOSED",
        State::SynSent => "SYN-SENT",
        State::SynReceived => "SYN-RECEIVED",
        State::Established => "ESTABLISHED",
        State::FinWait1 => "FIN-WAIT-1",
        State::FinWait2 => "FIN-WAIT-2",
        State::CloseWait => "CLOSE-WAIT",
        State::Closing => "CLOSING",
        State::LastAck => "LAST-ACK",
        State::TimeWait => "TIME-WAIT",
    }
}

/// The payload byte at a place in a stream.
const fn byte_at(place: u32) -> u8 {
    (place.wrapping_mul(31) >> 3) as u8
}

impl Runner {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            host: Host::new()?,
            host_port: 0,
            peer_port: PEER_PORT,
            peer_iss: SeqNumber(1_000),
            host_iss: None,
            written: 0,
        })
    }

    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "a handle's methods hold for one lifetime only"
    )]
    fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        match step {
            Step::Set(key, value) => self.set(key, value),
            Step::Listen(port) => {
                if self.host_port == 0 {
                    self.host_port = *port;
                }
                self.host.listen(*port)
            }
            Step::Connect(port) => {
                self.peer_port = *port;
                self.host_port = self.host.connect(*port)?;
                self.host.run();
                Ok(())
            }
            Step::Inject(segment) => self.inject(segment),
            Step::Expect(segment) => self.expect(segment),
            Step::Quiet => match self.host.sent.pop_front() {
                Some(frame) => bail!("expected nothing, the host sent {}", self.describe(&frame)),
                None => Ok(()),
            },
            Step::Wait(span) => {
                self.host.wait(*span);
                Ok(())
            }
            Step::Write(count) => self.write(*count),
            Step::Read(count) => self.read(*count),
            Step::Shutdown => self.act(|conn| conn.shutdown()),
            Step::Close => self.act(|conn| conn.close()),
            Step::Abort => self.act(|conn| conn.abort()),
            Step::Event(event) => {
                let heard = self.host.app.events.pop_front();
                ensure!(heard.as_deref() == Some(event), "expected event '{event}', heard {heard:?}");
                Ok(())
            }
            Step::State(name) => self.state(name),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        let config: &mut Config = &mut self.host.config;
        let on = value == "on";
        match key {
            "timestamps" => config.timestamps = on,
            "wscale" => config.window_scale = on,
            "nagle" => config.nagle = on,
            "delack" if !on => config.delayed_ack = None,
            "quickacks" => config.quick_acks = value.parse()?,
            "window" => config.receive_window = value.parse()?,
            "port" => self.host_port = value.parse()?,
            "iss" => self.peer_iss = SeqNumber(value.parse()?),
            _ => bail!("'{key} {value}' is no setting"),
        }
        Ok(())
    }

    fn act(&mut self, act: impl FnOnce(&mut freeway_stack::Conn<'_, [u64; 2]>)) -> anyhow::Result<()> {
        act(&mut self.host.conn()?);
        self.host.run();
        Ok(())
    }

    fn write(&mut self, count: usize) -> anyhow::Result<()> {
        let bytes: Vec<u8> = (self.written..).map(byte_at).take(count).collect();
        let taken = self.host.conn()?.write(&bytes);
        self.written += taken as u32;
        self.host.run();
        ensure!(taken == count, "the connection took {taken} of {count} bytes");
        Ok(())
    }

    fn read(&mut self, count: usize) -> anyhow::Result<()> {
        let mut bytes = vec![0; count];
        let mut conn = self.host.conn()?;
        let copied = conn.copy_readable(&mut bytes);
        ensure!(copied == count, "{copied} bytes are there to be read, not {count}");
        conn.consume(count);
        self.host.run();
        Ok(())
    }

    fn state(&mut self, name: &str) -> anyhow::Result<()> {
        let state = match self.host.conn() {
            Ok(conn) => conn.info().map_or("CLOSED", |info| name_of(info.state)),
            Err(_) => "CLOSED",
        };
        ensure!(state == name, "expected state {name}, it is {state}");
        Ok(())
    }

    fn inject(&mut self, segment: &Segment) -> anyhow::Result<()> {
        let ack = match segment.ack {
            Some(ack) => self.host_iss.unwrap_or(SeqNumber(0)) + ack,
            None => SeqNumber(0),
        };
        let relative = segment.seq.unwrap_or(0);
        let repr = Repr {
            src_port: self.peer_port,
            dst_port: self.host_port,
            seq: self.peer_iss + relative,
            ack,
            flags: segment.flags.unwrap_or(Flags::empty()),
            window: segment.window.unwrap_or(65_535),
            urgent: 0,
            options: Options {
                mss: segment.mss,
                window_scale: segment.wscale,
                sack_permitted: segment.sack_permitted,
                timestamps: segment.timestamps.map(|(value, echo)| Timestamps { value, echo }),
                ..Options::default()
            },
        };
        let payload = (relative..).map(byte_at).take(segment.len as usize);
        let frame = frame(&repr, payload, segment.bad_checksum);
        self.host.receive(&frame)?;
        self.host.run();
        Ok(())
    }

    fn expect(&mut self, wanted: &Segment) -> anyhow::Result<()> {
        let frame = self.host.sent.pop_front().context("the host sent nothing")?;
        let (repr, payload) = open(&frame)?;
        if repr.flags.contains(Flags::SYN) && self.host_iss.is_none() {
            self.host_iss = Some(repr.seq);
        }
        let sent = self.describe(&frame);
        let base = self.host_iss.unwrap_or(SeqNumber(0));
        let checks = [
            ("flags", wanted.flags.is_none_or(|flags| flags == repr.flags)),
            ("sequence number", wanted.seq.is_none_or(|seq| base + seq == repr.seq)),
            ("length", payload.len() == wanted.len as usize),
            ("acknowledgment", wanted.ack.is_none_or(|ack| self.peer_iss + ack == repr.ack)),
            ("window", wanted.window.is_none_or(|window| window == repr.window)),
            ("MSS", wanted.mss.is_none_or(|mss| Some(mss) == repr.options.mss)),
            ("window scale", wanted.wscale.is_none_or(|shift| Some(shift) == repr.options.window_scale)),
            ("SACK-permitted", !wanted.sack_permitted || repr.options.sack_permitted),
            ("timestamps", !wanted.any_timestamps || repr.options.timestamps.is_some()),
            (
                "echoed timestamp",
                wanted
                    .timestamps
                    .is_none_or(|(_, echo)| repr.options.timestamps.is_some_and(|ts| ts.echo == echo)),
            ),
        ];
        for (what, holds) in checks {
            ensure!(holds, "wrong {what}: the host sent {sent}");
        }
        if let Some(start) = wanted.seq.filter(|_| wanted.len > 0) {
            let first = start - 1;
            let intact = payload.iter().zip(first..).all(|(&byte, place)| byte == byte_at(place));
            ensure!(intact, "the payload is not what was written: {sent}");
        }
        Ok(())
    }

    /// A frame of the host's in a scenario's words.
    fn describe(&self, frame: &[u8]) -> String {
        match open(frame) {
            Ok((repr, payload)) => {
                let base = self.host_iss.unwrap_or(SeqNumber(0));
                let seq = repr.seq.distance_from(base);
                let ack = repr.ack.distance_from(self.peer_iss);
                format!(
                    "{:?} {seq}:{} ack {ack} win {}",
                    repr.flags,
                    seq as usize + payload.len(),
                    repr.window
                )
            }
            Err(error) => format!("a frame that is no segment of the connection ({error})"),
        }
    }
}

/// The frame in which the peer sends a segment.
fn frame(repr: &Repr, payload: impl Iterator<Item = u8>, bad_checksum: bool) -> Vec<u8> {
    let payload: Vec<u8> = payload.collect();
    let header_len = repr.header_len();
    let ip = ipv4::Repr {
        src: PEER,
        dst: HOST,
        protocol: Protocol::TCP,
        ttl: 64,
        dscp: 0,
        ecn: Ecn::NotEct,
        ident: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: (header_len + payload.len()) as u16,
    };
    let start = ethernet::HEADER_LEN + ipv4::HEADER_LEN;
    let mut frame = vec![0; start + header_len + payload.len()];
    ethernet::Repr { dst: HOST_MAC, src: PEER_MAC, ethertype: ethernet::EtherType::IPV4 }.emit(&mut frame);
    ip.emit(&mut frame[ethernet::HEADER_LEN..]);
    repr.emit(&mut frame[start..]);
    frame[start + header_len..].copy_from_slice(&payload);
    checksum::fill_transport(IpAddr::V4(PEER), IpAddr::V4(HOST), Protocol::TCP, &mut frame[start..]);
    if bad_checksum {
        frame[start + 16] ^= 0xff;
    }
    frame
}

/// The segment in a frame of the host's; its checksums are verified.
fn open(frame: &[u8]) -> anyhow::Result<(Repr, &[u8])> {
    let ethernet = ethernet::Frame::new_checked(frame).map_err(|error| anyhow!("{error:?}"))?;
    ensure!(ethernet.ethertype() == ethernet::EtherType::IPV4, "it is not IPv4");
    let start = ethernet::HEADER_LEN;
    let ip = ipv4::Packet::new_checked(&frame[start..]).map_err(|error| anyhow!("{error:?}"))?;
    ensure!(ip.verify_checksum(), "the IP checksum is wrong");
    ensure!(
        ip.src() == HOST && ip.dst() == PEER && ip.protocol() == Protocol::TCP,
        "it is not TCP to the peer"
    );
    let total = ip.total_len();
    let bytes = &frame[start + ip.header_len()..start + total];
    let sound = checksum::verify_transport(IpAddr::V4(HOST), IpAddr::V4(PEER), Protocol::TCP, bytes);
    ensure!(sound, "the TCP checksum is wrong");
    let view = View::new_checked(bytes).map_err(|error| anyhow!("{error:?}"))?;
    let repr = Repr::parse(&view).map_err(|error| anyhow!("{error:?}"))?;
    Ok((repr, &bytes[view.header_len()..]))
}
