//! The host under test: a real stack on one interface with two addresses of each version.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, anyhow, ensure};
use freeway_base::{HashKey, Instant, Seed};
use freeway_mem::{Arena, PacketPool, PoolConfig, RxBurst, TxBurst};
use freeway_stack::net::{Cidr, IfaceId, InterfaceConfig};
use freeway_stack::{
    Conn, ConnectConfig, ConnectError, ListenConfig, ListenError, ListenerId, Stack, StackConfig,
};
use freeway_tcp::Config;

use crate::application::{Ports, Recorder};
use crate::neighbors;
use crate::version::{HOST_MAC, Version};

/// What a scenario may set before the host begins.
pub(crate) struct Setup {
    pub(crate) stack: StackConfig,
    pub(crate) mtu: u16,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let mut stack = StackConfig::new(HashKey::new([1, 2]), HashKey::new([3, 4]));
        stack.max_connections = 64;
        stack.max_syn_received = 64;
        stack.max_time_wait = 64;
        stack.pool = PoolConfig { buffers: 1024, ..PoolConfig::default() };
        stack.max_items = 1024;
        stack.large_pool.buffers = 2;
        stack.net.announce = false;
        Self { stack, mtu: 1_500 }
    }
}

/// A frame that the host sent.
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) frame: Vec<u8>,
}

/// A stack with its recorder, and the frames it has sent.
pub(crate) struct Host {
    pub(crate) stack: Stack<[u64; 2]>,
    pub(crate) app: Recorder,
    pub(crate) now: Instant,
    pub(crate) sent: VecDeque<Sent>,
    iface: IfaceId,
    listeners: Vec<(u16, ListenerId)>,
    next_port: u16,
}

impl Host {
    pub(crate) fn new(setup: &Setup) -> anyhow::Result<Self> {
        let now = Instant::from_secs(1);
        let config = &setup.stack;
        let mut arena = Arena::heap(config.arena_layout::<[u64; 2]>().bytes())?;
        let pool = PacketPool::new(&mut arena, &config.pool)?;
        let mut stack = Stack::new(config, &mut arena, pool, Seed(1), now)?;
        let own = |version: Version| {
            let prefix = if version == Version::Ipv4 { 24 } else { 64 };
            [Cidr::new(version.host(), prefix), Cidr::new(version.second(), prefix)]
        };
        let iface = stack.net.add_interface(InterfaceConfig {
            addresses: Version::ALL.into_iter().flat_map(own).collect(),
            mtu: setup.mtu,
            ..InterfaceConfig::new("script0", HOST_MAC)
        })?;
        let (app, sent) = (Recorder::default(), VecDeque::new());
        Ok(Self { stack, app, now, sent, iface, listeners: Vec::new(), next_port: 50_000 })
    }

    /// Gives the host frames, all at once.
    pub(crate) fn receive(&mut self, frames: &[Vec<u8>]) -> anyhow::Result<()> {
        let mut burst = RxBurst::new();
        for frame in frames {
            let mut packet = self.stack.pool().alloc().context("the pool is empty")?;
            ensure!(packet.copy_from_slice(frame), "the frame is longer than a buffer");
            burst.push(packet);
        }
        self.stack.input(self.now, self.iface, &mut burst);
        Ok(())
    }

    /// Runs the host at the present time until it has nothing more to do.
    pub(crate) fn run(&mut self) {
        for _ in 0..1_000 {
            let mut work = self.stack.expire(self.now, 64);
            work += self.stack.dispatch(self.now, &mut self.app);
            work += self.stack.output(self.now);
            let mut burst = TxBurst::new();
            self.stack.tx_burst(self.iface, &mut burst);
            work += burst.len();
            for frame in burst.drain(..).map(|frame| frame.data().to_vec()) {
                if !neighbors::is_discovery(&frame) {
                    self.sent.push_back(Sent { at: self.now, frame });
                } else if let Some(answer) = neighbors::answer(&frame) {
                    // An answer that finds no buffer is lost, as on a network; the host asks again.
                    let _ = self.receive(&[answer]);
                }
            }
            if work == 0 {
                return;
            }
        }
    }

    /// Lets time pass, and the host run at every deadline on the way.
    pub(crate) fn wait(&mut self, span: std::time::Duration) {
        let end = self.now + span.into();
        while let Some(deadline) = self.stack.next_deadline().filter(|&deadline| deadline <= end) {
            self.now = deadline.max(self.now + freeway_base::Duration::from_micros(1));
            self.run();
        }
        self.now = end;
        self.run();
    }

    pub(crate) fn listen(&mut self, config: &ListenConfig) -> Result<(), ListenError> {
        self.listeners.push((config.port, self.stack.listen(config)?));
        Ok(())
    }

    pub(crate) fn unlisten(&mut self, port: u16) -> anyhow::Result<()> {
        let at = self.listeners.iter().position(|&(own, _)| own == port).context("nobody listens there")?;
        self.stack.unlisten(self.listeners.remove(at).1);
        Ok(())
    }

    /// Opens a connection from a port of its own, and returns that.
    pub(crate) fn connect(
        &mut self,
        remote: SocketAddr,
        local_addr: Option<IpAddr>,
        tcp: Config,
        fast_open: bool,
    ) -> Result<u16, ConnectError> {
        let port = self.next_port;
        let connect = ConnectConfig {
            local_addr,
            local_port: Some(port),
            tcp,
            fast_open,
            ..ConnectConfig::new(remote)
        };
        let conn = self.stack.connect(&connect)?;
        self.next_port += 1;
        self.app.name(conn, (port, remote.port()));
        Ok(port)
    }

    /// The connection of a flow.
    pub(crate) fn conn(&mut self, ports: Ports) -> anyhow::Result<Conn<'_, [u64; 2]>> {
        let id = self.app.flow(ports).conn.ok_or_else(|| anyhow!("there is no connection"))?;
        self.stack.conn(id).ok_or_else(|| anyhow!("the connection is gone"))
    }
}
