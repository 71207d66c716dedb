//! A whole host under a script: what its peer sends, what its application does, how time passes.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use freeway_base::Duration;
use freeway_stack::net::{Cidr, InterfaceConfig};
use freeway_stack::{ConnectConfig, ListenConfig};
use freeway_tcp::{Config, Keepalive};
use freeway_wire::Ecn;
use freeway_wire::tcp::Flags;

use crate::conversation::{
    Action, Conversation, Draft, HOST, HOST_MAC, HOST_PORT_ACTIVE, PEER, Peer, SLOT_ACTIVE, SLOTS, TCP_PORT,
    arp_request, byte_at, icmp_unreachable,
};
use crate::host::Host;
use crate::script::Script;

/// Steps of one script; what follows is left out, to keep runs short.
const STEPS: u32 = 300;
/// Frames of one burst.
const HELD_MAX: usize = 8;

/// A script of operations against a stack. The first byte is TCP's settings; then one byte an operation, the
/// number in its low four bits, the conversation and a variety above, and its arguments.
///
/// # Panics
///
/// When the application reads other bytes than the peer sent, the peer sees other bytes than the application
/// wrote, a connection does not end exactly once, or something is left at the end.
pub fn stack(data: &[u8]) {
    let mut script = Script::new(data);
    let mut run = Run::new(script.u8());
    for _ in 0..STEPS {
        if script.is_empty() {
            break;
        }
        run.step(&mut script);
    }
    run.flush();
    run.world.give_up();
    run.host.finish(&mut run.world);
    run.world.assert_over();
}

struct Run {
    host: Host,
    world: Conversation,
    tcp: Config,
    /// Frames that arrive together.
    held: Vec<Vec<u8>>,
    /// How many frames are yet to be held.
    hold: usize,
}

impl Run {
    fn new(settings: u8) -> Self {
        let mut config = Host::config();
        config.net.announce = false;
        if settings & 0x40 != 0 {
            config.pool.buffers = 24;
            config.max_items = 12;
        }
        let interface = InterfaceConfig {
            addresses: vec![Cidr::new(IpAddr::V4(HOST), 24)],
            ..InterfaceConfig::new("fuzz0", HOST_MAC)
        };
        let mut host = Host::new(&config, interface);
        let tcp = tcp_config(settings);
        host.stack.listen(&ListenConfig { tcp, ..ListenConfig::new(TCP_PORT) }).expect("the port is free");
        let bytes: Vec<u8> = (0..4_096).map(|at| byte_at(at * 7)).collect();
        let lent = host.stack.lend(Rc::new(bytes.clone())).map(|lent| (lent, bytes));
        let mut run = Self { host, world: Conversation::new(lent), tcp, held: Vec::new(), hold: 0 };
        run.arrives(arp_request());
        run
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let operation = script.u8();
        let (slot, variety) = (usize::from(operation >> 4) % SLOTS, operation >> 6);
        match operation & 0x0f {
            0..=2 => self.data(slot, variety, script),
            3 => self.crafted(slot, script),
            4 => self.syn(slot, variety, script),
            5 => self.acknowledgment(slot, variety, script),
            6 => self.end_of_stream(slot, variety, script),
            7 => self.reset(slot, script),
            8 => self.time(script),
            9 => self.write(slot, variety, script),
            10 => self.read(slot, variety, script),
            11 => self.end(slot, variety, script),
            12 => self.connect(),
            13 => self.raw(script),
            14 => self.hold = usize::from(operation >> 4) % HELD_MAX,
            _ => self.icmp(slot, script),
        }
    }

    // ---- what arrives ----

    /// A frame arrives, at once or with those that come after it.
    fn arrives(&mut self, frame: Vec<u8>) {
        self.held.push(frame);
        if self.hold > 0 {
            self.hold -= 1;
        } else {
            self.flush();
        }
    }

    /// What was held arrives.
    fn flush(&mut self) {
        let frames = std::mem::take(&mut self.held);
        self.hold = 0;
        self.host.receive(&frames);
        self.host.settle(&mut self.world);
    }

    fn segment(&mut self, slot: usize, draft: &Draft) {
        let opening = self.world.is_opening(slot);
        let frame = self.world.peer.segment(slot, draft, opening, self.host.now);
        if draft.flags.contains(Flags::SYN) {
            // Nothing is said to a SYN-ACK before it was heard, though its number could be guessed: the peer would
            // not know which of its SYNs the host has taken.
            self.hold = 0;
        }
        self.arrives(frame);
    }

    fn data(&mut self, slot: usize, variety: u8, script: &mut Script<'_>) {
        let seq = i16::from(script.u8() as i8) * [0, 1, 8, 100][usize::from(variety)];
        let len = length(script.u8());
        self.segment(slot, &Draft { seq, len, flags: Flags::ACK | Flags::PSH, ..PLAIN });
    }

    fn crafted(&mut self, slot: usize, script: &mut Script<'_>) {
        let draft = Draft {
            flags: Flags::from_bits_retain(script.u8()),
            seq: script.u16() as i16,
            ack: script.u16() as i16,
            window: script.u16(),
            options: script.u8(),
            len: length(script.u8()),
            ecn: Ecn::Ce,
        };
        self.segment(slot, &draft);
    }

    fn syn(&mut self, slot: usize, variety: u8, script: &mut Script<'_>) {
        let flags =
            if slot == SLOT_ACTIVE && variety & 1 == 0 { Flags::SYN | Flags::ACK } else { Flags::SYN };
        let seq = if variety & 2 == 0 { 0 } else { 1_000 };
        self.segment(slot, &Draft { flags, seq, options: script.u8(), ..PLAIN });
    }

    fn acknowledgment(&mut self, slot: usize, variety: u8, script: &mut Script<'_>) {
        let ack = if variety & 1 == 0 { 0 } else { -i16::from(script.u8()) * 16 };
        let window = u16::from(script.u8()) << 8;
        self.segment(slot, &Draft { ack, window, ..PLAIN });
    }

    fn end_of_stream(&mut self, slot: usize, variety: u8, script: &mut Script<'_>) {
        let seq = i16::from(script.u8() as i8) * [0, 1, 8, 100][usize::from(variety)];
        self.segment(slot, &Draft { seq, flags: Flags::FIN | Flags::ACK, ..PLAIN });
    }

    fn reset(&mut self, slot: usize, script: &mut Script<'_>) {
        let seq = i16::from(script.u8() as i8);
        self.segment(slot, &Draft { seq, flags: Flags::RST | Flags::ACK, ..PLAIN });
    }

    /// Any frame, but for TCP, whose bytes would not be those of the stream.
    fn raw(&mut self, script: &mut Script<'_>) {
        const PROTOCOL: usize = 23;
        let len = usize::from(script.u8());
        let frame = script.take(len).to_vec();
        if frame.get(PROTOCOL) != Some(&6) {
            self.arrives(frame);
        }
    }

    fn icmp(&mut self, slot: usize, script: &mut Script<'_>) {
        let (code, mtu) = (script.u8() % 16, u16::from(script.u8()) * 8);
        let frame = icmp_unreachable(code, mtu, self.world.peer.last_packet(slot));
        self.arrives(frame);
    }

    // ---- what the application does ----

    fn act(&mut self, slot: usize, action: Action) {
        self.flush();
        let Some(id) = self.world.newest(slot) else { return };
        let mut conn = self.host.stack.conn(id).expect("it has not ended");
        self.world.act(&mut conn, action);
        self.host.settle(&mut self.world);
    }

    fn write(&mut self, slot: usize, variety: u8, script: &mut Script<'_>) {
        let len = usize::from(script.u8()) * 16;
        let action = match variety {
            0 => Action::Write(len),
            1 => Action::WriteInPlace(len),
            2 => Action::Lend(len),
            _ => Action::Forward,
        };
        self.act(slot, action);
    }

    fn read(&mut self, slot: usize, variety: u8, script: &mut Script<'_>) {
        let len = usize::from(script.u8()) * 8;
        let action = match variety {
            0 => Action::Consume(len),
            1 => Action::Receive,
            2 => Action::ReceivePart(len),
            _ => Action::CopyReadable(len),
        };
        self.act(slot, action);
    }

    /// Ends a connection; or, with an argument of 128 and more, does so (or something else) in the next event.
    fn end(&mut self, slot: usize, variety: u8, script: &mut Script<'_>) {
        let argument = script.u8();
        let action = match (variety, argument & 0x80 != 0) {
            (0, _) => Action::Shutdown,
            (1, _) => Action::Close,
            (2, _) => Action::Abort,
            (_, false) => Action::SetTimer(Duration::from_millis(u64::from(argument))),
            (_, true) if argument & 1 == 0 => Action::Write(usize::from(argument)),
            (_, true) => Action::Consume(usize::from(argument)),
        };
        if argument & 0x80 == 0 {
            self.act(slot, action);
        } else {
            self.world.next_action = Some(action);
        }
    }

    fn connect(&mut self) {
        self.flush();
        let remote = SocketAddr::new(IpAddr::V4(PEER), Peer::port(SLOT_ACTIVE));
        let connect =
            ConnectConfig { local_port: Some(HOST_PORT_ACTIVE), tcp: self.tcp, ..ConnectConfig::new(remote) };
        if let Ok(id) = self.host.stack.connect(&connect) {
            self.world.opened(self.host.stack.conn(id).expect("it was just opened"));
        }
        self.host.settle(&mut self.world);
    }

    // ---- the rest ----

    /// From 100 µs to 49 s.
    fn time(&mut self, script: &mut Script<'_>) {
        self.flush();
        let argument = script.u8();
        let span = Duration::from_micros((100 * (1 + u64::from(argument & 0x0f))) << (argument >> 4));
        self.host.wait(span, &mut self.world);
    }
}

/// An acknowledgment of all that was heard, and nothing else.
const PLAIN: Draft =
    Draft { flags: Flags::ACK, seq: 0, ack: 0, window: 60_000, options: 0, len: 0, ecn: Ecn::NotEct };

/// Small lengths one by one, larger ones in steps, up to 1408.
const fn length(byte: u8) -> u16 {
    let byte = byte as u16;
    if byte < 128 { byte } else { (byte - 127) * 11 }
}

fn tcp_config(settings: u8) -> Config {
    let has = |bit: u8| settings & (1 << bit) != 0;
    let second = Duration::from_secs(1);
    let default = Config::default();
    Config {
        timestamps: !has(0),
        window_scale: !has(1),
        sack: has(2),
        nagle: has(3),
        keepalive: has(4).then_some(Keepalive { idle: second, interval: second, probes: 3, spread: 0 }),
        delayed_ack: if has(5) { None } else { default.delayed_ack },
        receive_window: if has(7) { 2_048 } else { 16 * 1024 },
        ..default
    }
}
