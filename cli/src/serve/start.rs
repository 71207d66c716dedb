//! From a plan and open devices to running cores.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use freeway::ring::{Consumer, spsc};
use freeway::{
    BuildError, IfaceId, Interface, MailConfig, PostConfig, Relay, Running, Runtime, RuntimeConfig, Seat,
    Secrets,
};
use freeway_cache::CacheServer;

use super::plan::Plan;
use super::ways::Way;
use crate::cached::Cached;
use crate::device::Cidr;
use crate::http::{Helpers, Http};
use crate::metrics::Metrics;
use crate::open::{MakePort, Opened};
use crate::orders::Order;
use crate::protect::Protection;
use crate::services::{Service, Services};

/// Linux's half of a frame's buffer on AF_XDP, in bytes: what the kernel keeps before a received frame.
const RX_HEADROOM: usize = 256;

/// One interface as one core is given it.
struct Share {
    make: MakePort,
    relays: Vec<Relay>,
    addresses: Vec<Cidr>,
    /// Through routers.
    ways: Vec<Way>,
    vlan: Option<u16>,
}

/// Cores that run, what runs beside them, where orders to each go, and who publishes their figures.
pub(super) type Started = (Running, Helpers, Vec<freeway::ring::Producer<Box<Order>>>, Option<Metrics>);

/// Starts the cores from a thread of `starter`, which has the rights for their devices; what runs beside them is started
/// from this one.
pub(super) fn start(
    plan: Plan,
    http: Http,
    opened: Vec<Opened>,
    ending: &Arc<AtomicBool>,
    protection: &Protection,
    starter: Starter,
) -> Result<Started> {
    let Plan { interfaces, listens, cpus, mut host, cache, idle, mail } = plan;
    // A device may have another MTU than was asked for.
    let frame_max = opened.iter().map(|opened| opened.info.frame_max()).max().unwrap_or(0);
    let room = (frame_max + RX_HEADROOM).next_power_of_two() as u32;
    host.stack.pool.buffer_size = host.stack.pool.buffer_size.max(room);
    let mail = MailConfig { slot_size: mail.slot_size.max(frame_max.next_multiple_of(64)), ..mail };
    let cores = cpus.len();
    let (parts, helpers) = http.start(cores, host.stack.flow_key)?;
    let has_metrics = listens.iter().any(|listen| listen.service == Service::Metrics);
    let (metrics, metrics_parts) = if has_metrics {
        let (metrics, parts) = Metrics::new(cores, host.stack.flow_key)?;
        (Some(metrics), parts.into_iter().map(Some).collect())
    } else {
        (None, (0..cores).map(|_| None).collect::<Vec<_>>())
    };
    let parts = parts.into_iter().zip(metrics_parts);
    let runtime = Runtime::new(RuntimeConfig { idle, mail, ..RuntimeConfig::pinned(cpus) })?;

    let mut shares: Vec<Vec<Share>> = (0..cores).map(|_| Vec::new()).collect();
    for (opened, planned) in opened.into_iter().zip(interfaces) {
        let Opened { label: _, ports: makers, info, addresses, routes: _, vlan, made: _ } = opened;
        let ways = planned.ways();
        // As many more as Linux has.
        host.stack.net.routes = host.stack.net.routes.saturating_add(planned.of_linux.len() as u16);
        // Cores without a queue send by those that have one.
        let queues = makers.len();
        let mut relays: Vec<Vec<Relay>> = (0..cores).map(|_| Vec::new()).collect();
        let mut makers: Vec<MakePort> = makers;
        for core in queues..cores {
            let owner = core % queues.max(1);
            let (remote, relay) =
                runtime.remote_port(owner as u32, info.clone()).context("a device without a queue")?;
            makers.push(Box::new(|| Box::new(remote)));
            relays[owner].push(relay);
        }
        for ((core, make), relays) in shares.iter_mut().zip(makers).zip(relays) {
            core.push(Share { make, relays, addresses: addresses.clone(), ways: ways.clone(), vlan });
        }
    }

    // Keys belong to cores by one hash, and what arrives elsewhere goes there.
    let (cache_key, post) = (Secrets::random()?.flow_key, PostConfig::default());
    let mesh = || if cache.is_some() { runtime.post(&post) } else { Vec::new() };
    let mut peers = mesh().into_iter().zip(mesh()).collect::<Vec<_>>().into_iter();

    // One order waits while another is obeyed.
    let (orders, inboxes): (Vec<_>, Vec<Consumer<Box<Order>>>) = (0..cores).map(|_| spsc(2)).unzip();
    let builders =
        shares.into_iter().zip(parts).zip(inboxes).map(|((shares, (parts, of_metrics)), inbox)| {
            let (host, listens, ending) = (host.clone(), listens.clone(), Arc::clone(ending));
            let (cache, peers) = (cache.clone(), peers.next());
            let protection = protection.clone();
            move |seat: Seat| -> Result<_, BuildError> {
                let mut routes = Vec::new();
                let mut interfaces = Vec::new();
                for (number, share) in shares.into_iter().enumerate() {
                    routes.extend(share.ways.iter().map(|way| (IfaceId(number as u8), *way)));
                    interfaces.push(interface(share));
                }
                let services = Services::on(listens, Some(parts)).metrics(of_metrics);
                let services = services.orders(inbox).ending(ending);
                let now = seat.now();
                let cache = match cache {
                    Some(cache) => Some(CacheServer::new(cache, cache_key, now)?),
                    None => None,
                };
                let cache = match (cache, peers) {
                    (Some(cache), Some((asks, answers))) => Some(cache.with_peers(asks, answers)),
                    (cache, _) => cache,
                };
                let services = Cached::new(services, cache, seat.stop.clone());
                let mut core = host.build(seat.mailboxes, now, services, interfaces)?;
                for (iface, (network, gateway)) in routes {
                    core.stack_mut().net.add_route(network, Some(gateway), iface)?;
                }
                protection.of_core()?;
                Ok(core)
            }
        });
    let builders: Vec<_> = builders.collect();
    let running = starter.run(move || runtime.start(builders))?;
    Ok((running?, helpers, orders, metrics))
}

/// A thread that has the rights which its maker had when it was made, for one task.
pub(super) struct Starter {
    tasks: Sender<Task>,
    thread: JoinHandle<()>,
}

type Task = Box<dyn FnOnce() + Send>;

impl Starter {
    pub(super) fn new() -> Result<Self> {
        let (tasks, waiting) = channel::<Task>();
        // Without a task it ends when its maker lets go of it.
        let work = move || waiting.into_iter().for_each(|task| task());
        let thread = thread::Builder::new().name("starter".to_owned()).spawn(work)?;
        Ok(Self { tasks, thread })
    }

    /// Does it there, and ends the thread.
    fn run<T: Send + 'static>(self, task: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (done, result) = channel();
        let task = Box::new(move || drop(done.send(task())));
        let lost = "the thread that starts the cores has ended";
        self.tasks.send(task).ok().context(lost)?;
        let result = result.recv().context(lost)?;
        drop(self.tasks);
        // It has nothing left to do.
        let _ = self.thread.join();
        Ok(result)
    }
}

fn interface(share: Share) -> Interface {
    let Share { make, relays, addresses, ways: _, vlan } = share;
    let mut interface = relays.into_iter().fold(Interface::boxed(make()), Interface::relay);
    if let Some(vlan) = vlan {
        interface = interface.vlan(vlan);
    }
    for cidr in addresses {
        interface = interface.address(freeway::Cidr::new(cidr.addr, cidr.prefix_len));
    }
    interface
}
