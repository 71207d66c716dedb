//! Running a scenario.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, anyhow, bail, ensure};
use freeway_base::Instant;
use freeway_stack::ListenConfig;
use freeway_tcp::{Config, EcnMode, State};
use freeway_wire::Protocol;

use crate::expect::{check_icmp, check_segment, describe};
use crate::flow::Flow;
use crate::host::{Host, Setup};
use crate::packet::{self, byte_at};
use crate::parse::{Scenario, Step};
use crate::segment::{Icmp, IpWords, Segment};
use crate::settings;
use crate::version::Version;
use crate::words;

/// The port of the peer's end of the first flow; further flows have the ports behind it.
const PEER_PORT: u16 = 40_000;

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
/// The first step that did not go as written; or, at the end, something that the host sent or the application heard
/// and no step asked for.
pub fn run(scenario: &Scenario) -> Result<(), Failure> {
    let mut runner = Runner::new(scenario.version);
    for (line, step) in &scenario.steps {
        runner.step(step).map_err(|what| Failure { line: *line, what })?;
    }
    let last = scenario.steps.last().map_or(0, |(line, _)| *line);
    runner.finish().map_err(|what| Failure { line: last, what })
}

struct Runner {
    version: Version,
    setup: Setup,
    /// The host, from the first step on that needs it.
    host: Option<Host>,
    tcp: Config,
    /// What listeners have beside that.
    listen: ListenConfig,
    /// Active opens try Fast Open with so many bytes.
    opens_with: Option<usize>,
    flows: HashMap<String, Flow>,
    current: String,
    /// Frames that come together with the next.
    together: Vec<Vec<u8>>,
    /// When the segment was sent that was expected last.
    seen_at: Instant,
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

impl Runner {
    fn new(version: Version) -> Self {
        Self {
            version,
            setup: Setup::new(),
            host: None,
            // Scenarios that are about congestion marks ask for them.
            tcp: Config { ecn: EcnMode::Passive, ..Config::default() },
            listen: ListenConfig::new(0),
            opens_with: None,
            flows: HashMap::from([(String::new(), Flow::new(version, 0, PEER_PORT))]),
            current: String::new(),
            together: Vec::new(),
            seen_at: Instant::ZERO,
        }
    }

    fn host(&mut self) -> anyhow::Result<&mut Host> {
        match &mut self.host {
            Some(host) => Ok(host),
            none => Ok(none.insert(Host::new(&self.setup)?)),
        }
    }

    fn flow(&mut self) -> anyhow::Result<&mut Flow> {
        self.flows.get_mut(&self.current).context("there is no such flow")
    }

    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "a handle's methods hold for one lifetime only"
    )]
    fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        match step {
            Step::Set(key, values) => self.set(key, values),
            Step::Flow(name) => self.switch(name),
            Step::Anew => {
                let flow = self.flow()?;
                (flow.host_iss, flow.written, flow.read) = (None, 0, 0);
                Ok(())
            }
            Step::Listen(port, addr) => self.listen(*port, *addr),
            Step::CannotListen(port, why) => {
                let config = self.listener(*port, None);
                refused(self.host()?.listen(&config), why)
            }
            Step::Unlisten(port) => self.host()?.unlisten(*port),
            Step::Connect(port, from) => self.connect(*port, *from),
            Step::CannotConnect(addr, why) => {
                let tcp = self.tcp;
                refused(self.host()?.connect(SocketAddr::new(*addr, 80), None, tcp, false), why)
            }
            Step::Inject(segment, together) => self.inject(segment, *together),
            Step::InjectIcmp(icmp) => self.inject_icmp(icmp),
            Step::InjectIp(protocol, bytes, ip) => self.inject_ip(Protocol(*protocol), bytes, ip),
            Step::Expect(segment) => self.expect(segment),
            Step::ExpectIcmp(icmp) => self.expect_icmp(icmp),
            Step::Quiet => self.quiet(),
            Step::Wait(span) => {
                self.host()?.wait(*span);
                Ok(())
            }
            Step::Write(count) => self.write(*count),
            Step::Read(count) => self.read(*count),
            Step::Shutdown => self.act(|conn| conn.shutdown()),
            Step::Close => self.act(|conn| conn.close()),
            Step::Abort => self.act(|conn| conn.abort()),
            Step::Event(event) => {
                let ports = self.flow()?.ports();
                let heard = self.host()?.app.flow(ports).events.pop_front();
                ensure!(heard.as_deref() == Some(event), "expected event '{event}', heard {heard:?}");
                Ok(())
            }
            Step::State(name) => self.state(name),
            Step::Count(name, value) => self.count(name, *value),
            Step::Holds(table, value) => self.holds(table, *value),
        }
    }

    /// Nothing may be left over.
    fn finish(&mut self) -> anyhow::Result<()> {
        ensure!(self.together.is_empty(), "at the end a frame waits for another one");
        self.quiet().context("at the end")?;
        let left: Vec<_> = self.host()?.app.left().into_iter().map(str::to_owned).collect();
        ensure!(left.is_empty(), "at the end the application had also heard {left:?}");
        Ok(())
    }

    fn set(&mut self, key: &str, values: &[String]) -> anyhow::Result<()> {
        let value = values.first().context("a setting wants a value")?;
        let number = || words::number(value).map_err(|what| anyhow!(what));
        let version = self.version;
        let address = || version.address(value).map_err(|what| anyhow!(what));
        match key {
            "port" => self.flow()?.host_port = value.parse()?,
            "from-port" => self.flow()?.peer_port = value.parse()?,
            "iss" => self.flow()?.peer_iss.0 = number()?,
            "from" => self.flow()?.peer = address()?,
            "to" => self.flow()?.host = address()?,
            // Active opens try Fast Open, and write this much in the same turn.
            "opens-with" => self.opens_with = Some(number()? as usize),
            _ if settings::of_tcp(&mut self.tcp, key, values)? => {}
            _ if settings::of_listener(&mut self.listen, key, values)? => {}
            _ if settings::of_host(&mut self.setup, key, values)? => {
                ensure!(self.host.is_none(), "'{key}' can be set only before the host begins");
            }
            _ => bail!("'{key}' is no setting"),
        }
        Ok(())
    }

    /// Goes on with the flow of that name; a new one begins like the first, from a port of its own.
    fn switch(&mut self, name: &str) -> anyhow::Result<()> {
        let port = PEER_PORT + self.flows.len() as u16;
        let first = Flow::new(self.version, self.flow()?.host_port, port);
        self.flows.entry(name.to_owned()).or_insert(first);
        self.current = name.to_owned();
        Ok(())
    }

    fn listener(&self, port: u16, addr: Option<IpAddr>) -> ListenConfig {
        ListenConfig { port, addr, tcp: self.tcp, ..self.listen.clone() }
    }

    fn listen(&mut self, port: u16, addr: Option<IpAddr>) -> anyhow::Result<()> {
        let config = self.listener(port, addr);
        self.host()?.listen(&config)?;
        let flow = self.flow()?;
        if flow.host_port == 0 {
            flow.host_port = port;
        }
        Ok(())
    }

    fn connect(&mut self, port: u16, from: Option<IpAddr>) -> anyhow::Result<()> {
        let (tcp, remote) = (self.tcp, SocketAddr::new(self.flow()?.peer, port));
        let text: Option<Vec<u8>> = self.opens_with.map(|count| (0..).map(byte_at).take(count).collect());
        let host = self.host()?;
        let own = host.connect(remote, from, tcp, text.is_some())?;
        if let Some(text) = &text {
            let taken = host.conn((own, port))?.write(text);
            ensure!(taken == text.len(), "the connection took {taken} of {} bytes", text.len());
        }
        host.run();
        let flow = self.flow()?;
        flow.written += text.map_or(0, |text| text.len() as u32);
        (flow.peer_port, flow.host_port) = (port, own);
        flow.host = from.unwrap_or(flow.host);
        Ok(())
    }

    fn act(&mut self, act: impl FnOnce(&mut freeway_stack::Conn<'_, [u64; 2]>)) -> anyhow::Result<()> {
        let ports = self.flow()?.ports();
        let host = self.host()?;
        act(&mut host.conn(ports)?);
        host.run();
        Ok(())
    }

    /// Every byte that is written or injected is told by its place in the stream.
    fn write(&mut self, count: usize) -> anyhow::Result<()> {
        let flow = self.flow()?;
        let (ports, from) = (flow.ports(), flow.written);
        let bytes: Vec<u8> = (from..).map(byte_at).take(count).collect();
        let host = self.host()?;
        let taken = host.conn(ports)?.write(&bytes);
        host.run();
        self.flow()?.written += taken as u32;
        ensure!(taken == count, "the connection took {taken} of {count} bytes");
        Ok(())
    }

    fn read(&mut self, count: usize) -> anyhow::Result<()> {
        let flow = self.flow()?;
        let (ports, from) = (flow.ports(), flow.read + 1);
        let mut bytes = vec![0; count];
        let host = self.host()?;
        let mut conn = host.conn(ports)?;
        let copied = conn.copy_readable(&mut bytes);
        ensure!(copied == count, "{copied} bytes are there to be read, not {count}");
        conn.consume(count);
        host.run();
        let intact = bytes.iter().zip(from..).all(|(&byte, place)| byte == byte_at(place));
        ensure!(intact, "what is read is not what the peer sent");
        self.flow()?.read += count as u32;
        Ok(())
    }

    fn state(&mut self, name: &str) -> anyhow::Result<()> {
        let ports = self.flow()?.ports();
        let state = match self.host()?.conn(ports) {
            Ok(conn) => conn.info().map_or("CLOSED", |info| name_of(info.state)),
            Err(_) => "CLOSED",
        };
        ensure!(state == name, "expected state {name}, it is {state}");
        Ok(())
    }

    fn count(&mut self, name: &str, value: u64) -> anyhow::Result<()> {
        let counters = self.host()?.stack.counters();
        let (group, counter) = name.split_once('.').context("a counter is GROUP.NAME")?;
        let found = match group {
            "net" => counters.net.iter().find(|(known, _)| *known == counter),
            "udp" => counters.udp.iter().find(|(known, _)| *known == counter),
            "tcp" => counters.tcp.iter().find(|(known, _)| *known == counter),
            _ => bail!("'{group}' is no group of counters: net, udp or tcp"),
        };
        let (_, counted) = found.with_context(|| format!("there is no counter {name}"))?;
        ensure!(counted == value, "expected {name} to be {value}, it is {counted}");
        Ok(())
    }

    fn holds(&mut self, table: &str, value: u32) -> anyhow::Result<()> {
        let occupancy = self.host()?.stack.occupancy();
        let held = match table {
            "connections" => occupancy.connections.0,
            "half-open" => occupancy.syn_received.0,
            "time-wait" => occupancy.time_wait,
            "items" => occupancy.items.0,
            _ => bail!("'{table}' is no table: connections, half-open, time-wait or items"),
        };
        ensure!(held == value, "expected {value} in {table}, there are {held}");
        Ok(())
    }

    fn inject(&mut self, segment: &Segment, together: bool) -> anyhow::Result<()> {
        let flow = self.flow()?;
        let (repr, payload) = flow.say(segment);
        let ends = flow.inbound().or(&segment.ip);
        let bytes = packet::tcp(&repr, &payload, ends, segment);
        self.together.extend(packet::frames(ends, Protocol::TCP, &bytes, &segment.ip));
        if together { Ok(()) } else { self.deliver() }
    }

    fn inject_icmp(&mut self, icmp: &Icmp) -> anyhow::Result<()> {
        let version = self.version;
        let flow = self.flow()?;
        let ends = flow.inbound().or(&icmp.ip);
        let quote = match icmp.quote {
            Some((first, end)) => {
                let header = flow.quote(first, icmp.quoted_port);
                packet::quoted(&header, end - first, flow.outbound(), icmp.cut)
            }
            None => Vec::new(),
        };
        let bytes = packet::icmp(icmp, &quote, ends, version);
        self.together.extend(packet::frames(ends, version.icmp(), &bytes, &icmp.ip));
        self.deliver()
    }

    fn inject_ip(&mut self, protocol: Protocol, bytes: &[u8], ip: &IpWords) -> anyhow::Result<()> {
        let ends = self.flow()?.inbound().or(ip);
        self.together.extend(packet::frames(ends, protocol, bytes, ip));
        self.deliver()
    }

    fn deliver(&mut self) -> anyhow::Result<()> {
        let frames = std::mem::take(&mut self.together);
        let host = self.host()?;
        host.receive(&frames)?;
        host.run();
        Ok(())
    }

    fn expect(&mut self, wanted: &Segment) -> anyhow::Result<()> {
        let sent = self.host()?.sent.pop_front().context("the host sent nothing")?;
        let flow = self.flow()?;
        check_segment(&sent.frame, flow, wanted)
            .with_context(|| format!("the host sent {}", describe(&sent.frame, flow)))?;
        let since = sent.at - self.seen_at;
        if let Some((least, most)) = wanted.after {
            let in_time = (least.into()..=most.into()).contains(&since);
            ensure!(in_time, "it was sent {since:?} after the one before, not {least:?} to {most:?}");
        }
        self.seen_at = sent.at;
        Ok(())
    }

    fn expect_icmp(&mut self, wanted: &Icmp) -> anyhow::Result<()> {
        let sent = self.host()?.sent.pop_front().context("the host sent nothing")?;
        let flow = self.flow()?;
        check_icmp(&sent.frame, flow, wanted)
            .with_context(|| format!("the host sent {}", describe(&sent.frame, flow)))
    }

    fn quiet(&mut self) -> anyhow::Result<()> {
        let Some(sent) = self.host()?.sent.pop_front() else { return Ok(()) };
        let flow = self.flow()?;
        bail!("expected nothing, the host sent {}", describe(&sent.frame, flow))
    }
}

/// The call must have failed, for that reason.
fn refused<T, E: std::fmt::Debug>(result: Result<T, E>, why: &str) -> anyhow::Result<()> {
    let Err(error) = result else { bail!("expected {why}, but it succeeded") };
    let told = format!("{error:?}");
    let name = told.split('(').next().unwrap_or_default();
    ensure!(name == why, "expected {why}, it is {told}");
    Ok(())
}
