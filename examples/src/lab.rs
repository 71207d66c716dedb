//! Two hosts on a cable, on a clock that is moved by hand: how an application is tested without a device.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use freeway::port::{PipeConfig, pipe};
use freeway::{
    Application, Core, Duration, HostConfig, Instant, Interface, Mailboxes, Memory, Secrets, Seed,
};
use freeway_async::{Executor, ExecutorConfig};

/// From turn to turn.
const TICK: Duration = Duration::from_micros(50);
/// What takes longer than this is stuck.
const LIMIT: Duration = Duration::from_secs(30);

/// A service of the host under test, which is 198.18.0.2.
pub fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 18, 0, 2], port))
}

/// A host with the tasks of `main`.
pub fn tasks<M, F>(main: M) -> impl FnOnce(&Mailboxes) -> Executor
where
    M: FnOnce() -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    |mail| Executor::new(mail, ExecutorConfig { max_tasks: 256, ..ExecutorConfig::default() }, main)
}

/// Runs `app` on 198.18.0.2 until the tasks of `client`, on 198.18.0.3, have ended.
///
/// # Errors
///
/// They do not end, or one of them panicked.
pub fn check<A, M, F>(app: impl FnOnce(&Mailboxes) -> A, client: M) -> Result<Core<A>>
where
    A: Application,
    M: FnOnce() -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut now = Instant::from_secs(1);
    let (left, right) = pipe(&PipeConfig::default())?;
    let mut config =
        HostConfig::new(Secrets::from_seed(Seed(1))).max_connections(256).buffers(2_048).memory(Memory::Heap);
    let (mail, interface) = (Mailboxes::single()?, Interface::new(left).address("198.18.0.2/24".parse()?));
    let app = app(&mail);
    let mut server = config.build(mail, now, app, [interface])?;
    config.seed = Seed(2);
    let (mail, interface) = (Mailboxes::single()?, Interface::new(right).address("198.18.0.3/24".parse()?));
    let app = tasks(client)(&mail);
    let mut client = config.build(mail, now, app, [interface])?;
    server.start(now);
    client.start(now);
    let end = now + LIMIT;
    while client.app().tasks() > 0 {
        ensure!(now < end, "{} tasks are stuck", client.app().tasks());
        server.poll(now);
        client.poll(now);
        now += TICK;
    }
    ensure!(client.app().counters().panicked == 0, "a task of the client panicked");
    Ok(server)
}
