//! From a few numbers to a core that runs.
//!
//! A host on one core is an arena, a pool of frames and a stack laid out in it, an interface for each port, and
//! an application. [`HostConfig::build`] makes them in that order. Each core calls it on its own thread, so that
//! its memory is faulted in where it will be used.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use freeway_base::{HashKey, Instant, Rng, Seed};
use freeway_mem::{Arena, ArenaConfig, ArenaError, HugePages, PacketPool};
use freeway_port::{Port, PortInfo, RxChecksum as PortChecksum};
use freeway_runtime::{Attachment, Core, Mailboxes, Relay};
use freeway_stack::net::{Cidr, InterfaceConfig, NetError, RxChecksum};
use freeway_stack::stack::StackError;
use freeway_stack::{Application, Stack, StackConfig};
use freeway_wire::MacAddr;
use thiserror::Error;

/// How large one core's host is, and its secrets.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Every bound of the stack. The methods of this type set those that go together.
    pub stack: StackConfig,
    /// Where the arena lies.
    pub memory: Memory,
    /// Where this host's random numbers start; each core's start elsewhere.
    pub seed: Seed,
}

/// Where a core's arena lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// Memory of its own, faulted in at start.
    Mapped(HugePages),
    /// Ordinary memory: for tests and small examples.
    Heap,
}

/// What a stranger must not know. All cores of a process share one.
#[derive(Clone, Copy, Debug)]
pub struct Secrets {
    /// Spreads flows over cores and buckets.
    pub flow_key: HashKey,
    /// Initial sequence numbers and timestamps.
    pub sequence_key: HashKey,
    /// Everything else that is random.
    pub seed: Seed,
}

impl Secrets {
    /// Secrets drawn from the operating system.
    ///
    /// # Errors
    ///
    /// It has none, which no Linux since 3.17 admits to.
    pub fn random() -> io::Result<Self> {
        let mut words = [0; 5];
        for word in &mut words {
            let mut bytes = [0; 8];
            rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
            *word = u64::from_ne_bytes(bytes);
        }
        let [a, b, c, d, seed] = words;
        Ok(Self { flow_key: HashKey::new([a, b]), sequence_key: HashKey::new([c, d]), seed: Seed(seed) })
    }

    /// Secrets that `seed` repeats: for simulations and tests.
    pub fn from_seed(seed: Seed) -> Self {
        let mut rng = Rng::new(seed);
        let (flow_key, sequence_key) = (HashKey::random(&mut rng), HashKey::random(&mut rng));
        Self { flow_key, sequence_key, seed: Seed(rng.next_u64()) }
    }
}

/// A port and the addresses it carries.
pub struct Interface {
    port: Box<dyn Port>,
    relays: Vec<Relay>,
    addresses: Vec<Cidr>,
    gateway_v4: Option<Ipv4Addr>,
    gateway_v6: Option<Ipv6Addr>,
    vlan: Option<u16>,
}

impl Interface {
    /// An interface on `port`, without an address yet.
    pub fn new(port: impl Port + 'static) -> Self {
        Self::boxed(Box::new(port))
    }

    /// The same for a port whose kind is not known.
    pub fn boxed(port: Box<dyn Port>) -> Self {
        Self {
            port,
            relays: Vec::new(),
            addresses: Vec::new(),
            gateway_v4: None,
            gateway_v6: None,
            vlan: None,
        }
    }

    /// Adds an address and its subnet.
    #[must_use]
    pub fn address(mut self, address: Cidr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Sends what no subnet contains to `router`.
    #[must_use]
    pub const fn gateway_v4(mut self, router: Ipv4Addr) -> Self {
        self.gateway_v4 = Some(router);
        self
    }

    /// Sends what no subnet contains to `router`.
    #[must_use]
    pub const fn gateway_v6(mut self, router: Ipv6Addr) -> Self {
        self.gateway_v6 = Some(router);
        self
    }

    /// Puts it into a VLAN, 1 to 4094: frames go out tagged, and only frames with this tag come in.
    #[must_use]
    pub const fn vlan(mut self, vlan: u16) -> Self {
        self.vlan = Some(vlan);
        self
    }

    fn wants_packed_buffers(&self) -> bool {
        self.port.info().capabilities.packed_buffers
    }

    /// Also sends what arrives by `relay`, from a core that has no queue of this device.
    #[must_use]
    pub fn relay(mut self, relay: Relay) -> Self {
        self.relays.push(relay);
        self
    }
}

/// Why a host cannot be built.
#[derive(Debug, Error)]
pub enum HostError {
    /// A size that makes no sense, or does not fit.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// Not enough memory.
    #[error("a core's arena of {bytes} bytes: {source}")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// What was wrong.
        source: ArenaError,
    },
    /// A device that cannot work with the core's packets.
    #[error("device {name}: {source}")]
    Port {
        /// The port's name.
        name: String,
        /// What was wrong.
        source: io::Error,
    },
    /// An interface that the stack does not take.
    #[error("interface {name}: {source}")]
    Interface {
        /// The port's name.
        name: String,
        /// What was wrong.
        source: NetError,
    },
}

impl HostConfig {
    /// The defaults: room for 65,536 connections and as many frames as the stack's own default.
    pub fn new(secrets: Secrets) -> Self {
        let stack = StackConfig::new(secrets.flow_key, secrets.sequence_key);
        Self { stack, memory: Memory::Mapped(HugePages::Auto), seed: secrets.seed }
    }

    /// Room for `connections` at once on each core, and for the records of those that open and end.
    #[must_use]
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.stack.max_connections = connections;
        self.stack.max_syn_received = (connections / 16).clamp(4_096, 1 << 16);
        self.stack.max_time_wait = (connections / 8).clamp(4_096, 1 << 18);
        self
    }

    /// Room for `frames` on each core, received or waiting to be sent or acknowledged.
    #[must_use]
    pub fn buffers(mut self, frames: u32) -> Self {
        self.stack.pool.buffers = frames;
        self.stack.max_items = frames;
        self
    }

    /// Puts the arena elsewhere.
    #[must_use]
    pub const fn memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// The arena that one core with the application state `S` takes, in bytes. The sum, holder by holder, is
    /// [`StackConfig::arena_layout`].
    pub fn arena_bytes<S: Copy + Default + 'static>(&self) -> usize {
        self.stack.arena_layout::<S>().bytes()
    }

    /// Builds the host of the core that `mailboxes` belong to, at the time `now`.
    ///
    /// # Errors
    ///
    /// A size that makes no sense, not enough memory, or an interface that does not fit.
    pub fn build<A: Application>(
        &self,
        mailboxes: Mailboxes,
        now: Instant,
        app: A,
        interfaces: impl IntoIterator<Item = Interface>,
    ) -> Result<Core<A>, HostError> {
        let interfaces: Vec<_> = interfaces.into_iter().collect();
        let mut config = self.for_core(&mailboxes);
        config.pool.spread &= !interfaces.iter().any(Interface::wants_packed_buffers);
        config.check().map_err(StackError::from)?;
        let mut stack = self.stack(&config, now)?;
        let mut attachments = Vec::new();
        for interface in interfaces {
            attachments.push(attach(&mut stack, interface)?);
        }
        Ok(Core::new(config.flow_key, stack, app, attachments, mailboxes))
    }

    /// What differs between cores.
    fn for_core(&self, mailboxes: &Mailboxes) -> StackConfig {
        let mut config = self.stack.clone();
        (config.core, config.cores) = (mailboxes.core(), mailboxes.cores());
        // All cores learn from ARP and neighbour discovery; one of them answers.
        config.net.respond_to_arp = config.core == 0;
        config
    }

    fn stack<S: Copy + Default + 'static>(
        &self,
        config: &StackConfig,
        now: Instant,
    ) -> Result<Stack<S>, HostError> {
        let bytes = config.arena_layout::<S>().bytes();
        let no_memory = |source| HostError::Memory { bytes, source };
        let mut arena = match self.memory {
            Memory::Mapped(huge_pages) => Arena::map(&ArenaConfig { bytes, name: "freeway", huge_pages }),
            Memory::Heap => Arena::heap(bytes),
        }
        .map_err(no_memory)?;
        let pool = PacketPool::new(&mut arena, &config.pool).map_err(no_memory)?;
        let seed = Seed(self.seed.0 ^ u64::from(config.core));
        Ok(Stack::new(config, &mut arena, pool, seed, now)?)
    }
}

/// Makes an interface of a port.
fn attach<S: Copy + Default + 'static>(
    stack: &mut Stack<S>,
    interface: Interface,
) -> Result<Attachment, HostError> {
    let Interface { mut port, relays, addresses, gateway_v4, gateway_v6, vlan } = interface;
    port.attach(stack.pool()).map_err(|source| HostError::Port { name: port.info().name.clone(), source })?;
    let config = InterfaceConfig { addresses, gateway_v4, gateway_v6, vlan, ..described(port.info()) };
    let name = config.name.clone();
    let iface = stack.net.add_interface(config).map_err(|source| HostError::Interface { name, source })?;
    Ok(relays.into_iter().fold(Attachment::new(iface, port), Attachment::with_relay))
}

/// What a port says of itself, in the stack's words.
fn described(info: &PortInfo) -> InterfaceConfig {
    let rx_checksum = match info.capabilities.rx_checksum {
        PortChecksum::Trusted => RxChecksum::Trust,
        // What the device verified is marked frame by frame.
        PortChecksum::Verified | PortChecksum::None => RxChecksum::Verify,
    };
    InterfaceConfig {
        mtu: info.mtu,
        rx_checksum,
        tx_checksum: info.capabilities.tx_checksum,
        ..InterfaceConfig::new(info.name.clone(), MacAddr(info.mac))
    }
}
