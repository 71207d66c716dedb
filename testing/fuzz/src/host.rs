//! A real stack on one interface, driven by hand and by virtual time.

use freeway_base::{Duration, HashKey, Instant, Seed};
use freeway_mem::{Arena, PacketPool, PoolConfig, RxBurst, TxBurst};
use freeway_stack::net::{IfaceId, InterfaceConfig};
use freeway_stack::{Application, Stack, StackConfig};

/// How often the stack is run at one instant before it counts as restless.
const TURNS_AT_REST: u32 = 1_000;
/// How often it is run in one wait before its deadlines count as endless.
const TURNS_IN_WAIT: u32 = 20_000;

/// The application of a host, and the network that it is on.
pub(crate) trait World: Application<Conn = u64> {
    /// Sees a frame that the host has sent; the network's answer, if it has one.
    fn sees(&mut self, frame: &[u8]) -> Option<Vec<u8>>;
}

/// A stack and its clock.
pub(crate) struct Host {
    pub(crate) stack: Stack<u64>,
    pub(crate) now: Instant,
    iface: IfaceId,
}

impl Host {
    /// The sizes that the targets share: small, so that every bound is soon reached and a host is soon built.
    pub(crate) fn config() -> StackConfig {
        let mut config = StackConfig::new(HashKey::new([1, 2]), HashKey::new([3, 4]));
        config.max_connections = 3;
        config.max_syn_received = 2;
        config.max_time_wait = 2;
        config.max_items = 64;
        config.max_out_of_order = 8;
        config.send_buffer = 8 * 1024;
        config.send_buffer_max = 8 * 1024;
        config.pool = PoolConfig { buffers: 64, ..PoolConfig::default() };
        config.large_pool.buffers = 2;
        config.net.neighbors = 8;
        config.net.pending = 8;
        config.net.reassemblies = 2;
        config
    }

    pub(crate) fn new(config: &StackConfig, interface: InterfaceConfig) -> Self {
        let now = Instant::from_secs(1);
        let mut arena = Arena::heap(config.arena_layout::<u64>().bytes()).expect("there is memory");
        let pool = PacketPool::new(&mut arena, &config.pool).expect("the arena was measured");
        let mut stack = Stack::new(config, &mut arena, pool, Seed(1), now).expect("the sizes are right");
        let iface = stack.net.add_interface(interface).expect("the interface is right");
        Self { stack, now, iface }
    }

    /// Gives the host frames, as one burst. Those that find no buffer, or do not fit into one, are lost.
    pub(crate) fn receive<F: AsRef<[u8]>>(&mut self, frames: &[F]) {
        let mut burst = RxBurst::new();
        for frame in frames.iter().take(burst.capacity()) {
            let Some(mut packet) = self.stack.pool().alloc() else { break };
            if packet.copy_from_slice(frame.as_ref()) {
                burst.push(packet);
            }
        }
        self.stack.input(self.now, self.iface, &mut burst);
        assert!(burst.is_empty(), "the stack left frames in the burst");
    }

    /// Runs the host at the present time until it has nothing more to do.
    pub(crate) fn settle(&mut self, world: &mut impl World) {
        for _ in 0..TURNS_AT_REST {
            if self.turn(world) == 0 {
                return;
            }
        }
        panic!("the host does not come to rest: {:?}", self.stack.occupancy());
    }

    fn turn(&mut self, world: &mut impl World) -> usize {
        let mut work = self.stack.expire(self.now, 64);
        work += self.stack.dispatch(self.now, world);
        work += self.stack.output(self.now);
        let mut burst = TxBurst::new();
        self.stack.tx_burst(self.iface, &mut burst);
        work += burst.len();
        let answers: Vec<Vec<u8>> = burst.drain(..).filter_map(|frame| world.sees(frame.data())).collect();
        self.receive(&answers);
        work
    }

    /// Lets time pass, and the host run at every deadline on the way.
    pub(crate) fn wait(&mut self, span: Duration, world: &mut impl World) {
        let end = self.now + span;
        for _ in 0..TURNS_IN_WAIT {
            let Some(deadline) = self.stack.next_deadline().filter(|&deadline| deadline <= end) else {
                self.now = end;
                self.settle(world);
                return;
            };
            self.now = deadline.max(self.now + Duration::from_micros(1)).min(end);
            self.settle(world);
        }
        panic!("the host's deadlines do not end: {:?}", self.stack.occupancy());
    }

    /// Ends every connection, waits for ten minutes, and holds the host to having given everything back.
    pub(crate) fn finish(&mut self, world: &mut impl World) {
        let connections: Vec<_> = self.stack.connections().map(|(id, _)| id).collect();
        for id in connections {
            if let Some(mut connection) = self.stack.conn(id) {
                connection.abort();
            }
        }
        self.settle(world);
        self.wait(Duration::from_secs(600), world);
        let left = self.stack.occupancy();
        let records = [left.connections.0, left.syn_received.0, left.time_wait, left.items.0];
        assert_eq!(records, [0; 4], "connections, SYN-RECEIVED, TIME-WAIT, items: {left:?}");
        assert_eq!([left.flows, left.timers], [0; 2], "flows, timers: {left:?}");
        assert_eq!(self.stack.pool().in_use(), 0, "packet buffers: {left:?}");
    }
}
