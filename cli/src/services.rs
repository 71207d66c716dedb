//! The services of `freeway serve`, put together by number.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use freeway::ring::Consumer;
use freeway::{
    AcceptLimits, Application, Conn, ConnId, CounterVisit, Datagram, Ended, Instant, ListenConfig,
    ListenerId, Stack, SynCookies, TcpConfig, UdpId,
};
use freeway_cache::CacheState;
use freeway_echo::chargen::{Chargen, Position};
use freeway_echo::{discard, echo};
use freeway_httpd::{HoldsHttp, HttpCounters, HttpState, Parts, Server};

use crate::orders::Order;

/// A service's number, which each of its connections and datagrams carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Service {
    Echo,
    Discard,
    Chargen,
    Http,
    Cache,
    /// The cache over UDP, which is off unless asked for.
    CacheUdp,
    Https,
    /// The server's own figures over HTTP.
    Metrics,
}

impl Service {
    pub(crate) const ALL: [Self; 8] = [
        Self::Echo,
        Self::Discard,
        Self::Chargen,
        Self::Http,
        Self::Cache,
        Self::CacheUdp,
        Self::Https,
        Self::Metrics,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
            Self::Http => "http",
            Self::Cache => "cache",
            Self::CacheUdp => "cache-udp",
            Self::Https => "https",
            Self::Metrics => "metrics",
        }
    }

    pub(crate) fn of(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether it accepts connections.
    pub(crate) const fn has_tcp(self) -> bool {
        !matches!(self, Self::CacheUdp)
    }

    /// Whether it answers datagrams.
    pub(crate) const fn has_udp(self) -> bool {
        !matches!(self, Self::Http | Self::Https | Self::Cache | Self::Metrics)
    }
}

/// What a connection keeps for its service: 16 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum State {
    /// Nothing yet.
    #[default]
    Idle,
    Http(HttpState),
    Chargen(Position),
    Cache(CacheState),
}

const _: () = assert!(size_of::<State>() <= 16);

impl HoldsHttp for State {
    fn http(&mut self) -> &mut HttpState {
        match self {
            Self::Http(state) => state,
            other => {
                *other = Self::Http(HttpState::default());
                other.http()
            }
        }
    }
}

impl State {
    fn chargen(&mut self) -> &mut Position {
        match self {
            Self::Chargen(state) => state,
            other => {
                *other = Self::Chargen(Position::default());
                other.chargen()
            }
        }
    }

    pub(crate) fn cache(&mut self) -> &mut CacheState {
        match self {
            Self::Cache(state) => state,
            other => {
                *other = Self::Cache(CacheState::default());
                other.cache()
            }
        }
    }
}

/// Where a service is reached, and what holds for its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Listen {
    pub(crate) service: Service,
    /// One of the host's addresses, or all of them.
    pub(crate) addr: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) tcp: TcpConfig,
    /// Of one core.
    pub(crate) limits: AcceptLimits,
    pub(crate) cookies: SynCookies,
}

impl Listen {
    /// Whether it is the same service in the same place, whatever holds for its connections.
    fn is_where(&self, other: &Self) -> bool {
        (self.service, self.addr, self.port) == (other.service, other.addr, other.port)
    }
}

/// A place that is open.
struct Open {
    listen: Listen,
    listener: Option<ListenerId>,
    socket: Option<UdpId>,
}

impl Open {
    fn close<S: Copy + Default + 'static>(self, stack: &mut Stack<S>) {
        if let Some(listener) = self.listener {
            stack.unlisten(listener);
        }
        if let Some(socket) = self.socket {
            stack.udp_unbind(socket);
        }
    }
}

/// All services of one core.
pub(crate) struct Services {
    /// Where to listen from the start.
    listens: Vec<Listen>,
    http_parts: Option<Parts>,
    chargen: Option<Chargen>,
    http: Option<Server>,
    open: Vec<Open>,
    /// What a reload has it change, if anything may.
    orders: Option<Consumer<Box<Order>>>,
    metrics_parts: Option<Parts>,
    metrics: Option<Server>,
    /// Set from outside when the service is to end.
    ending: Arc<AtomicBool>,
    has_ended: bool,
}

impl Services {
    /// Services with the same settings for all connections, and no bounds of their own.
    pub(crate) fn new(ports: Vec<(Service, u16)>, http: Option<Parts>, tcp: TcpConfig) -> Self {
        let (limits, cookies) = (AcceptLimits::default(), SynCookies::default());
        let listen = |(service, port)| Listen { service, addr: None, port, tcp, limits, cookies };
        Self::on(ports.into_iter().map(listen).collect(), http)
    }

    /// Services where `listens` says.
    pub(crate) fn on(listens: Vec<Listen>, http: Option<Parts>) -> Self {
        Self {
            listens,
            http_parts: http,
            chargen: None,
            http: None,
            open: Vec::new(),
            orders: None,
            metrics_parts: None,
            metrics: None,
            ending: Arc::default(),
            has_ended: false,
        }
    }

    /// Does what is ordered while it runs.
    pub(crate) fn orders(mut self, orders: Consumer<Box<Order>>) -> Self {
        self.orders = Some(orders);
        self
    }

    /// Serves the server's own figures where [`Service::Metrics`] is listened for.
    pub(crate) fn metrics(mut self, parts: Option<Parts>) -> Self {
        self.metrics_parts = parts;
        self
    }

    /// The HTTP server whose connections these are.
    fn server(&mut self, service: Service) -> Option<&mut Server> {
        match service {
            Service::Http | Service::Https => self.http.as_mut(),
            Service::Metrics => self.metrics.as_mut(),
            _ => None,
        }
    }

    /// Ends gracefully when `ending` is set: nothing more is accepted, and HTTP connections end with what they are at.
    pub(crate) fn ending(mut self, ending: Arc<AtomicBool>) -> Self {
        self.ending = ending;
        self
    }

    fn end(&mut self, stack: &mut Stack<State>) {
        self.has_ended = true;
        for open in &mut self.open {
            if let Some(listener) = open.listener.take() {
                stack.unlisten(listener);
            }
        }
        [&mut self.http, &mut self.metrics].into_iter().flatten().for_each(Server::stop);
        // The end may allocate.
        let connections: Vec<ConnId> = stack.connections().map(|(id, _)| id).collect();
        for id in connections {
            if let Some(mut conn) = stack.conn(id)
                && let Some(service) = Service::of(conn.service())
                && let Some(server) = self.server(service)
            {
                server.end(&mut conn);
            }
        }
    }

    /// Listens where `wanted` says and nowhere else; connections that are open stay. Returns what could not be.
    pub(crate) fn listen_on(&mut self, stack: &mut Stack<State>, wanted: &[Listen]) -> Vec<String> {
        let mut errors = Vec::new();
        // A socket for datagrams stays where it is, whatever becomes of the settings of connections there: requests that
        // other cores or disks are asked about are answered through it.
        let mut sockets: Vec<(Listen, UdpId)> = Vec::new();
        for mut open in std::mem::take(&mut self.open) {
            if wanted.contains(&open.listen) {
                self.open.push(open);
                continue;
            }
            let stays = wanted.iter().any(|listen| listen.is_where(&open.listen));
            sockets.extend(open.socket.take_if(|_| stays).map(|socket| (open.listen, socket)));
            open.close(stack);
        }
        for listen in wanted {
            if !self.open.iter().any(|open| open.listen == *listen) {
                let socket =
                    sockets.iter().find(|(before, _)| listen.is_where(before)).map(|&(_, socket)| socket);
                match Self::listen(stack, *listen, socket) {
                    Ok(open) => self.open.push(open),
                    Err(error) => errors.push(error),
                }
            }
        }
        errors
    }

    /// Becomes what a reload says.
    #[cold]
    fn obey(&mut self, stack: &mut Stack<State>, order: Order) {
        let Order { listens, http, net, done } = order;
        let changed = net.into_iter().filter_map(|change| change.apply(stack).err());
        let mut errors: Vec<String> = changed.collect();
        // Whoever ends listens no more.
        if !self.has_ended {
            errors.extend(self.listen_on(stack, &listens));
        }
        if let Some(server) = &mut self.http {
            server.configure(&http);
        }
        // Nobody may wait for it any more.
        let _ = done.send(errors);
    }

    /// Opens a place, where there may be a socket for datagrams already.
    fn listen(stack: &mut Stack<State>, listen: Listen, socket: Option<UdpId>) -> Result<Open, String> {
        let Listen { service, addr, port, tcp, limits, cookies } = listen;
        let mut open = Open { listen, listener: None, socket };
        if service.has_tcp() {
            let config = ListenConfig {
                service: service as u16,
                addr,
                tcp,
                limits,
                cookies,
                ..ListenConfig::new(port)
            };
            match stack.listen(&config) {
                Ok(listener) => open.listener = Some(listener),
                Err(error) => {
                    open.close(stack);
                    return Err(format!("{} on {port}: {error}", service.name()));
                }
            }
        }
        if service.has_udp() && open.socket.is_none() {
            match stack.udp_bind(addr, port, service as u16) {
                Ok(socket) => open.socket = Some(socket),
                Err(error) => {
                    open.close(stack);
                    return Err(format!("{} on {port}: {error}", service.name()));
                }
            }
        }
        Ok(open)
    }

    fn pump(&mut self, mut conn: Conn<'_, State>) {
        match Service::of(conn.service()) {
            Some(Service::Echo) => echo::pump(&mut conn),
            Some(Service::Discard) => discard::drain(&mut conn),
            Some(Service::Chargen) => {
                discard::drain(&mut conn);
                if let Some(chargen) = &self.chargen {
                    chargen.pump(&mut conn, State::chargen);
                }
            }
            Some(service @ (Service::Http | Service::Https | Service::Metrics)) => {
                if let Some(server) = self.server(service) {
                    server.pump(&mut conn);
                }
            }
            Some(Service::Cache | Service::CacheUdp) | None => conn.abort(),
        }
    }
}

impl Application for Services {
    type Conn = State;

    fn start(&mut self, stack: &mut Stack<State>, _now: Instant) {
        // The ports were checked to differ before anything started.
        let listens = std::mem::take(&mut self.listens);
        let errors = self.listen_on(stack, &listens);
        debug_assert!(errors.is_empty(), "{errors:?}");
        self.chargen = Chargen::new(stack);
        self.http = self.http_parts.take().map(|parts| Server::new(parts, stack));
        self.metrics = self.metrics_parts.take().map(|parts| Server::new(parts, stack));
    }

    fn turn(&mut self, stack: &mut Stack<State>, now: Instant) {
        if let Some(http) = &mut self.http {
            http.turn(stack, now);
        }
        if let Some(order) = self.orders.as_mut().and_then(Consumer::pop) {
            self.obey(stack, *order);
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.turn(stack, now);
        }
        if !self.has_ended && self.ending.load(Ordering::Relaxed) {
            self.end(stack);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let servers = self.http.iter().chain(&self.metrics);
        servers.filter_map(Server::next_deadline).min()
    }

    fn accepted(&mut self, mut conn: Conn<'_, State>) {
        match Service::of(conn.service()) {
            Some(Service::Chargen) => {
                if let Some(chargen) = &self.chargen {
                    chargen.pump(&mut conn, State::chargen);
                }
            }
            Some(service @ (Service::Http | Service::Https | Service::Metrics)) => {
                if let Some(server) = self.server(service) {
                    server.accepted(&mut conn, service == Service::Https);
                }
            }
            _ => {}
        }
    }

    fn readable(&mut self, conn: Conn<'_, State>) {
        self.pump(conn);
    }

    fn writable(&mut self, conn: Conn<'_, State>) {
        self.pump(conn);
    }

    fn timer(&mut self, mut conn: Conn<'_, State>) {
        if let Some(service) = Service::of(conn.service())
            && let Some(server) = self.server(service)
        {
            server.timer(&mut conn);
        }
    }

    fn closed(&mut self, stack: &mut Stack<State>, ended: Ended<State>) {
        if let Some(service) = Service::of(ended.service)
            && let Some(server) = self.server(service)
        {
            server.closed(stack, &ended);
        }
    }

    fn counters(&self, visit: &mut CounterVisit<'_>) {
        if let Some(http) = &self.http {
            visit("http", &mut http.counters().iter());
        } else {
            visit("http", &mut HttpCounters::default().iter());
        }
        let of_metrics =
            self.metrics.as_ref().map_or_else(HttpCounters::default, |server| *server.counters());
        visit("metrics", &mut of_metrics.iter());
    }

    fn datagram(&mut self, stack: &mut Stack<State>, datagram: Datagram) {
        match Service::of(datagram.service) {
            Some(Service::Echo) => echo::datagram(stack, datagram),
            Some(Service::Chargen) => {
                if let Some(chargen) = &self.chargen {
                    chargen.datagram(stack, datagram);
                }
            }
            Some(
                Service::Discard
                | Service::Http
                | Service::Https
                | Service::Cache
                | Service::CacheUdp
                | Service::Metrics,
            )
            | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc::channel;

    use freeway::port::{PipeConfig, pipe};
    use freeway::ring::spsc;
    use freeway::{HostConfig, Interface, Mailboxes, Memory, Secrets, Seed};

    use super::*;

    fn echo(port: u16, backlog: u32) -> Listen {
        let limits = AcceptLimits { backlog, ..AcceptLimits::default() };
        let (tcp, cookies) = (TcpConfig::default(), SynCookies::default());
        Listen { service: Service::Echo, addr: None, port, tcp, limits, cookies }
    }

    /// Requests that wait for an answer from elsewhere are answered through the socket they came by.
    #[test]
    fn a_datagrams_socket_outlives_a_change_of_what_connections_may_do() {
        let (near, _far) = pipe(&PipeConfig::default()).unwrap();
        let (mut orders, inbox) = spsc(2);
        let app = Services::on(vec![echo(7, 10), echo(8, 10)], None).orders(inbox);
        let now = Instant::from_secs(1);
        let config = HostConfig::new(Secrets::from_seed(Seed(1)))
            .max_connections(64)
            .buffers(256)
            .memory(Memory::Heap);
        let interface = Interface::new(near).address("198.18.0.2/24".parse().unwrap());
        let mut core = config.build(Mailboxes::single().unwrap(), now, app, [interface]).unwrap();
        core.poll(now);
        let socket = |app: &Services, port| {
            app.open.iter().find(|open| open.listen.port == port).map(|open| open.socket.unwrap())
        };
        let before = socket(core.app(), 7).unwrap();

        let (done, answers) = channel();
        let listens = vec![echo(7, 20), echo(9, 10)];
        let order = Order { listens, http: freeway_httpd::Config::default(), net: Vec::new(), done };
        orders.push(Box::new(order)).ok().unwrap();
        core.poll(now);
        assert!(answers.recv().unwrap().is_empty());
        assert_eq!(core.app().open.iter().find(|open| open.listen.port == 7).unwrap().listen, echo(7, 20));
        assert_eq!(socket(core.app(), 7), Some(before));
        assert_eq!(socket(core.app(), 8), None);
        assert!(socket(core.app(), 9).is_some());
    }
}
