//! One core: its stack, its application, its ports, and the order in which they take turns.

use std::sync::Arc;

use freeway_base::{HashKey, Instant};
use freeway_mem::RxBurst;
use freeway_port::Port;
use freeway_stack::net::IfaceId;
use freeway_stack::stack::Occupancy;
use freeway_stack::{Application, Stack, StackCounters};

use crate::link::Link;
use crate::look::Look;
use crate::mailbox::{IFACE_MAX, Mailboxes};
use crate::observer::{Desk, LinkInfo, Observer};
use crate::remote::Relay;
use crate::sleep::LINKS_MAX;
use crate::stage::{Bursts, Stage, Stages, Stopwatch};
use crate::stats::{CoreStats, IdleCounters, MailCounters, Tally, TurnCounters, Visit, WakeCounters};

/// Timers that one turn may run. What is left over is due in the next turn, so that a crowd of timers delays
/// frames by no more than this many.
const TIMERS_PER_TURN: usize = 256;

/// A device as one core is given it: the interface it carries, this core's queues of it, and the cores without
/// a queue whose frames go out through them.
pub struct Attachment {
    pub(crate) iface: IfaceId,
    pub(crate) port: Box<dyn Port>,
    pub(crate) relays: Vec<Relay>,
}

impl Attachment {
    /// `port` carries the frames of `iface`.
    pub fn new(iface: IfaceId, port: Box<dyn Port>) -> Self {
        Self { iface, port, relays: Vec::new() }
    }

    /// Also sends what arrives by `relay`, from a core that has no queue of this device.
    #[must_use]
    pub fn with_relay(mut self, relay: Relay) -> Self {
        self.relays.push(relay);
        self
    }
}

/// One core's whole share of the data plane. It shares nothing with another core but rings.
///
/// The owner of the loop calls [`Core::poll`] again and again, telling it the time: the runtime's threads by the
/// system's clock, a simulation by its own.
pub struct Core<A: Application> {
    pub(crate) stack: Stack<A::Conn>,
    pub(crate) app: A,
    pub(crate) links: Vec<Link>,
    pub(crate) mail: Mailboxes,
    /// What the core does for whoever looks at it, once somebody may.
    pub(crate) look: Option<Look>,
    /// What the turn at hand has received; empty between turns.
    burst: RxBurst,
    started: bool,
    turns: TurnCounters,
    stages: Stages,
    bursts: Bursts,
    pub(crate) idle: IdleCounters,
    pub(crate) wake: WakeCounters,
}

/// What one turn did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// Frames taken from ports and mailboxes.
    pub received: usize,
    /// Timers that came due.
    pub timers: usize,
    /// Events that the application ran on.
    pub events: usize,
    /// Frames given to ports.
    pub sent: usize,
}

impl Turn {
    /// Whether the turn did anything at all.
    pub const fn is_busy(&self) -> bool {
        self.received + self.timers + self.events + self.sent > 0
    }
}

impl<A: Application> Core<A> {
    /// A core that has not run yet. `flow_key` is the secret that spreads flows over cores, the same for all of
    /// them.
    ///
    /// # Panics
    ///
    /// More than 64 interfaces, or one numbered 128 or higher.
    pub fn new(
        flow_key: HashKey,
        stack: Stack<A::Conn>,
        app: A,
        attachments: impl IntoIterator<Item = Attachment>,
        mail: Mailboxes,
    ) -> Self {
        let links = attachments
            .into_iter()
            .map(|attachment| Link::new(attachment, flow_key, mail.core(), mail.cores()));
        let links: Vec<_> = links.collect();
        assert!(links.len() <= LINKS_MAX, "a core serves at most {LINKS_MAX} interfaces");
        assert!(
            links.iter().all(|link| link.iface.0 <= IFACE_MAX),
            "interfaces are numbered up to {IFACE_MAX}"
        );
        Self {
            stack,
            app,
            links,
            mail,
            look: None,
            burst: RxBurst::new(),
            started: false,
            turns: TurnCounters::default(),
            stages: Stages::default(),
            bursts: Bursts::default(),
            idle: IdleCounters::default(),
            wake: WakeCounters::default(),
        }
    }

    /// One turn: whatever has arrived, at most 64 frames a port, goes through stack and application to the
    /// transmit queues before anything else is taken. Never waits.
    pub fn poll(&mut self, now: Instant) -> Turn {
        let mut turn = Turn::default();
        let mut watch = Stopwatch::start();
        self.start(now);

        for link in &mut self.links {
            let received =
                link.receive(now, self.stack.pool(), &mut self.burst, &mut self.mail, &mut self.look);
            if received > 0 {
                turn.received += self.bursts.note(received);
                watch.lap(Stage::Rx);
                self.stack.input(now, link.iface, &mut self.burst);
                watch.lap(Stage::Input);
            }
        }
        for ring in 0..self.mail.rings() {
            if let Some(iface) = self.mail.take(ring, self.stack.pool(), &mut self.burst) {
                turn.received += self.bursts.note(self.burst.len());
                watch.lap(Stage::Rx);
                self.stack.input(now, iface, &mut self.burst);
                watch.lap(Stage::Input);
            }
        }
        watch.lap(Stage::Rx);

        turn.timers = self.stack.expire(now, TIMERS_PER_TURN);
        watch.lap(Stage::Timers);
        turn.events = self.app.mail(&mut self.stack, now);
        turn.events += self.stack.dispatch(now, &mut self.app);
        watch.lap(Stage::App);
        self.stack.output(now);
        watch.lap(Stage::Output);
        if let Some(look) = &mut self.look
            && look.is_wanted()
        {
            if look.turn(now, &self.stack) {
                self.links.iter_mut().for_each(Link::begin_capture);
            }
            watch.lap(Stage::Timers);
        }

        for link in &mut self.links {
            turn.sent += link.transmit(now, &mut self.stack, &mut self.mail.counters, &mut self.look);
        }
        watch.lap(Stage::Tx);

        self.book(turn, &watch);
        turn
    }

    /// Lets the application listen, bind and connect. [`Core::poll`] does so at its first turn; calling it
    /// before only does it earlier.
    pub fn start(&mut self, now: Instant) {
        if !self.started {
            self.started = true;
            self.app.start(&mut self.stack, now);
        }
    }

    /// Lets the core be looked at, for whoever polls it without a [`Runtime`](crate::Runtime), which does so by itself. Its
    /// sockets and frames are shown; its counters are published by a runtime only.
    pub fn observer(&mut self) -> Observer {
        Observer::of(vec![Arc::new(self.observed())])
    }

    /// Lets the core be looked at while it runs, by what is returned.
    pub(crate) fn observed(&mut self) -> Desk {
        let (look, ends) = Look::new();
        self.look = Some(look);
        let interfaces = self.links.iter().map(|link| {
            let info = link.port.info();
            LinkInfo { iface: link.iface, name: info.name.clone(), frame_max: info.frame_max() }
        });
        let interfaces = interfaces.collect();
        Desk::new(self.number(), Arc::clone(self.mail.bell()), interfaces, ends)
    }

    /// This core's number.
    pub fn number(&self) -> u32 {
        self.mail.core()
    }

    /// The application.
    pub fn app(&self) -> &A {
        &self.app
    }

    /// The application, for the owner of the loop to talk to between turns.
    pub fn app_mut(&mut self) -> &mut A {
        &mut self.app
    }

    /// The stack.
    pub fn stack(&self) -> &Stack<A::Conn> {
        &self.stack
    }

    /// The stack, for the owner of the loop to act on between turns.
    pub fn stack_mut(&mut self) -> &mut Stack<A::Conn> {
        &mut self.stack
    }

    /// When there is something to do though nothing arrives: the soonest of the stack's and the application's
    /// deadlines.
    pub fn next_deadline(&self) -> Option<Instant> {
        let (stack, app) = (self.stack.next_deadline(), self.app.next_deadline());
        stack.into_iter().chain(app).min()
    }

    /// Whether the next turn has something to do, whatever arrives: events or frames were left over.
    pub fn has_work(&self) -> bool {
        self.stack.has_work() || self.links.iter().any(|link| link.has_more(&self.stack))
    }

    /// Whether frames wait for a port that was full.
    pub fn is_blocked(&self) -> bool {
        self.links.iter().any(Link::is_blocked)
    }

    /// Cycles by stage since the start.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// The sizes of the bursts received since the start.
    pub fn bursts(&self) -> &Bursts {
        &self.bursts
    }

    /// What the loop did since the start.
    pub fn turns(&self) -> &TurnCounters {
        &self.turns
    }

    /// How the core rested since the start.
    pub fn idle(&self) -> &IdleCounters {
        &self.idle
    }

    /// How late the core woke since the start.
    pub fn wake(&self) -> &WakeCounters {
        &self.wake
    }

    /// What passed between this core and the others since the start.
    pub fn mail(&self) -> &MailCounters {
        &self.mail.counters
    }

    /// Every counter of this core, by name.
    pub fn stats(&self, now: Instant) -> CoreStats {
        CoreStats::collect(self.number(), now, self)
    }

    fn book(&mut self, turn: Turn, watch: &Stopwatch) {
        let Turn { received, timers, events, sent } = turn;
        self.stages.book(watch, turn.is_busy());
        self.turns.turns += 1;
        self.turns.busy_turns += u64::from(turn.is_busy());
        self.turns.rx_frames += received as u64;
        self.turns.timers += timers as u64;
        self.turns.events += events as u64;
        self.turns.tx_frames += sent as u64;
        self.turns.tx_blocked += u64::from(self.is_blocked());
    }
}

impl<A: Application> Tally for Core<A> {
    fn stages(&self) -> Stages {
        self.stages
    }

    fn bursts(&self) -> Bursts {
        self.bursts
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit("turns", &mut self.turns.iter());
        visit("idle", &mut self.idle.iter());
        visit("wake", &mut self.wake.iter());
        visit("mail", &mut self.mail.counters.iter());
        let StackCounters { net, udp, tcp } = self.stack.counters();
        visit("net", &mut net.iter());
        visit("udp", &mut udp.iter());
        visit("tcp", &mut tcp.iter());
        visit("tables", &mut fill_levels(&self.stack.occupancy()));
        self.app.counters(visit);
        for link in &self.links {
            link.visit(visit);
        }
    }
}

/// How full the stack's tables are, and how much they hold, as a group of counters.
fn fill_levels(occupancy: &Occupancy) -> impl Iterator<Item = (&'static str, u64)> + use<> {
    let Occupancy {
        connections,
        syn_received,
        time_wait,
        peers,
        flows,
        timers,
        classes,
        paths,
        items,
        buffers,
        buffers_low_water,
    } = *occupancy;
    [
        ("connections", connections.0),
        ("connections_max", connections.1),
        ("syn_received", syn_received.0),
        ("syn_received_max", syn_received.1),
        ("time_wait", time_wait),
        ("peers", peers),
        ("flows", flows),
        ("timers", timers),
        ("classes", classes),
        ("paths", paths),
        ("items", items.0),
        ("items_max", items.1),
        ("buffers", buffers.0),
        ("buffers_max", buffers.1),
        ("buffers_free_least", buffers_low_water),
    ]
    .into_iter()
    .map(|(name, value)| (name, u64::from(value)))
}
