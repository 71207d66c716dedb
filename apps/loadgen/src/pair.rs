//! Two hosts in one process, each on a thread of its own, joined by a cable of shared memory.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};

use freeway::port::{Pipe, PipeConfig, pipe};
use freeway::{
    Application, BuildError, Cidr, CoreStats, HostConfig, Interface, Observer, Running, Runtime,
    RuntimeConfig, Seat, Secrets, StackConfig, allowed_cpus,
};

/// How large the two hosts are.
#[derive(Clone, Copy, Debug)]
pub struct PairSize {
    /// Connections that each has room for.
    pub connections: u32,
    /// Packet buffers of each.
    pub buffers: u32,
    /// Addresses of the client: each is good for some thirty thousand connections to one service.
    pub sources: u32,
}

/// Two hosts at work. Dropping it stops them.
pub struct Pair {
    server: Running,
    client: Running,
}

/// Anything that can go wrong while two hosts start or stop.
pub type PairError = Box<dyn Error + Send + Sync>;

impl PairSize {
    /// The addresses of the client.
    pub fn sources(self) -> Vec<IpAddr> {
        const FIRST: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
        (0..self.sources).map(|index| IpAddr::V4(Ipv4Addr::from(u32::from(FIRST) + index))).collect()
    }

    /// The settings of one of the hosts.
    pub fn config(self, secrets: Secrets) -> HostConfig {
        let mut config = HostConfig::new(secrets).max_connections(self.connections).buffers(self.buffers);
        let StackConfig { net, large_pool, .. } = &mut config.stack;
        let addresses = u16::try_from(self.sources).unwrap_or(u16::MAX).saturating_add(8);
        net.addresses = net.addresses.max(addresses);
        net.routes = net.routes.max(addresses);
        net.neighbors = net.neighbors.max(addresses.saturating_mul(2));
        large_pool.buffers = 4;
        config
    }
}

impl Pair {
    /// The address of the server.
    pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));

    /// Starts a host with `server` and one with `client`, pinned to the first two processors when there are two.
    ///
    /// # Errors
    ///
    /// No memory, no thread, no descriptor.
    pub fn start<A, B>(size: PairSize, server: A, client: B) -> Result<Self, PairError>
    where
        A: Application + Send + 'static,
        B: Application + Send + 'static,
    {
        let secrets = Secrets::random()?;
        let (left, right) = pipe(&PipeConfig::default())?;
        let server = host(left, 0, size.config(secrets), &[Self::SERVER], server)?;
        let client = host(right, 1, size.config(secrets), &size.sources(), client)?;
        Ok(Self { server, client })
    }

    /// The counters of the server's core, and of the client's.
    ///
    /// # Errors
    ///
    /// None while the hosts run.
    pub fn stats(&self) -> Result<(CoreStats, CoreStats), PairError> {
        let first = |stats: Vec<CoreStats>| stats.into_iter().next().ok_or("a host without a core");
        Ok((first(self.server.stats())?, first(self.client.stats())?))
    }

    /// What looks at the server's core while it runs.
    pub fn server_observer(&self) -> Observer {
        self.server.observer()
    }

    /// Stops both hosts; returns the last counters of the server's core, and of the client's.
    ///
    /// # Errors
    ///
    /// A core that panicked.
    pub fn stop(self) -> Result<(CoreStats, CoreStats), PairError> {
        let first = |stats: Vec<CoreStats>| stats.into_iter().next().ok_or("a host without a core");
        let client = self.client.stop()?;
        Ok((first(self.server.stop()?)?, first(client)?))
    }
}

fn host<A>(
    port: Pipe,
    number: usize,
    config: HostConfig,
    addresses: &[IpAddr],
    app: A,
) -> Result<Running, PairError>
where
    A: Application + Send + 'static,
{
    /// Both ends share one subnet, large enough for all addresses of the client.
    const PREFIX: u8 = 15;
    let addresses: Vec<_> = addresses.iter().map(|&addr| Cidr::new(addr, PREFIX)).collect();
    let cpus = allowed_cpus()?;
    let runtime = match cpus.get(number) {
        Some(&cpu) if cpus.len() > 1 => RuntimeConfig::pinned([cpu]),
        _ => RuntimeConfig::default(),
    };
    let build = move |seat: Seat| -> Result<_, BuildError> {
        let interface = addresses.into_iter().fold(Interface::new(port), Interface::address);
        let now = seat.now();
        Ok(config.build(seat.mailboxes, now, app, [interface])?)
    };
    Ok(Runtime::new(runtime)?.start([build])?)
}
