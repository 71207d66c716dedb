//! The services of `freeway serve`, put together by number.

use freeway::{Application, Conn, Datagram, Instant, ListenConfig, Stack, TcpConfig};
use freeway_cache::CacheState;
use freeway_echo::chargen::{Chargen, Position};
use freeway_echo::{discard, echo};
use freeway_httpd::{Documents, HttpState, Server};

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
}

impl Service {
    pub(crate) const ALL: [Self; 6] =
        [Self::Echo, Self::Discard, Self::Chargen, Self::Http, Self::Cache, Self::CacheUdp];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
            Self::Http => "http",
            Self::Cache => "cache",
            Self::CacheUdp => "cache-udp",
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
        !matches!(self, Self::Http | Self::Cache)
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

impl State {
    fn http(&mut self) -> &mut HttpState {
        match self {
            Self::Http(state) => state,
            other => {
                *other = Self::Http(HttpState::default());
                other.http()
            }
        }
    }

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

/// All services of one core.
pub(crate) struct Services {
    /// Which service listens on which port.
    ports: Vec<(Service, u16)>,
    documents: Documents,
    tcp: TcpConfig,
    chargen: Option<Chargen>,
    http: Option<Server>,
}

impl Services {
    pub(crate) const fn new(ports: Vec<(Service, u16)>, documents: Documents, tcp: TcpConfig) -> Self {
        Self { ports, documents, tcp, chargen: None, http: None }
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
            Some(Service::Http) => {
                if let Some(http) = &mut self.http {
                    http.pump(&mut conn, State::http);
                }
            }
            Some(Service::Cache | Service::CacheUdp) | None => conn.abort(),
        }
    }
}

impl Application for Services {
    type Conn = State;

    fn start(&mut self, stack: &mut Stack<State>, _now: Instant) {
        for &(service, port) in &self.ports {
            let listen = ListenConfig { service: service as u16, tcp: self.tcp, ..ListenConfig::new(port) };
            // The ports were checked to differ before anything started.
            if service.has_tcp() {
                let listening = stack.listen(&listen);
                debug_assert!(listening.is_ok());
            }
            if service.has_udp() {
                let bound = stack.udp_bind(None, port, service as u16);
                debug_assert!(bound.is_ok());
            }
        }
        self.chargen = Chargen::new(stack);
        self.http = Some(Server::new(&self.documents, stack));
        self.documents = Documents::default();
    }

    fn accepted(&mut self, mut conn: Conn<'_, State>) {
        if Service::of(conn.service()) == Some(Service::Chargen)
            && let Some(chargen) = &self.chargen
        {
            chargen.pump(&mut conn, State::chargen);
        }
    }

    fn readable(&mut self, conn: Conn<'_, State>) {
        self.pump(conn);
    }

    fn writable(&mut self, conn: Conn<'_, State>) {
        self.pump(conn);
    }

    fn datagram(&mut self, stack: &mut Stack<State>, datagram: Datagram) {
        match Service::of(datagram.service) {
            Some(Service::Echo) => echo::datagram(stack, datagram),
            Some(Service::Chargen) => {
                if let Some(chargen) = &self.chargen {
                    chargen.datagram(stack, datagram);
                }
            }
            Some(Service::Discard | Service::Http | Service::Cache | Service::CacheUdp) | None => {}
        }
    }
}
