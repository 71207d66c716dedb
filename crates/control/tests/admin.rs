//! A runtime with two cores that do nothing, asked by its admin socket.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use freeway_base::{HashKey, Instant, Seed};
use freeway_control::admin::{AskError, CLIENTS, ServerError};
use freeway_control::{Actions, Client, Reloaded, Server};
use freeway_mem::{Arena, PacketPool, PoolConfig};
use freeway_runtime::{BuildError, Core, Running, Runtime, RuntimeConfig, Seat};
use freeway_stack::{Application, Stack, StackConfig};

struct Nothing;

impl Application for Nothing {
    type Conn = ();

    fn next_deadline(&self) -> Option<Instant> {
        None
    }
}

/// A core that has neither ports nor peers.
fn core(seat: Seat) -> Core<Nothing> {
    let key = HashKey::new([1, 2]);
    let small = PoolConfig { buffers: 64, ..PoolConfig::default() };
    let mut config = StackConfig::new(key, key);
    (config.max_connections, config.max_syn_received, config.max_time_wait, config.max_items) =
        (16, 16, 16, 64);
    (config.pool, config.large_pool) = (small, small);
    (config.core, config.cores) = (seat.core(), seat.cores());
    let mut arena = Arena::heap(config.arena_layout::<()>().bytes()).unwrap();
    let pool = PacketPool::new(&mut arena, &config.pool).unwrap();
    let stack = Stack::new(&config, &mut arena, pool, Seed(1), seat.now()).unwrap();
    Core::new(key, stack, Nothing, [], seat.mailboxes)
}

fn two_cores() -> Running {
    let runtime = Runtime::new(RuntimeConfig { cores: 2, ..RuntimeConfig::default() }).unwrap();
    let builders = [0, 1].map(|_| |seat: Seat| -> Result<_, BuildError> { Ok(core(seat)) });
    runtime.start(builders).unwrap()
}

#[test]
fn a_running_server_is_asked_as_often_as_one_likes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/admin.sock");
    let running = two_cores();
    let server = Server::open(&path, running.observer(), "ready dev=none").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "its first name is gone");

    let mut client = Client::connect(&path).unwrap();
    for _ in 0..3 {
        let snapshot = client.stats().unwrap();
        assert_eq!((snapshot.cores.len(), snapshot.ready.as_str()), (2, "ready dev=none"));
        assert_eq!(snapshot.cores[1].core, Some(1));
        assert!(snapshot.total.groups.contains_key("tcp") && snapshot.total.groups.contains_key("turns"));
    }
    drop(server);
    assert!(!path.exists());
    assert!(matches!(Client::connect(&path), Err(AskError::Nobody(_))));
    running.stop().unwrap();
}

#[test]
fn senseless_questions_are_answered_with_a_reason_and_the_server_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let running = two_cores();
    let _server = Server::open(&path, running.observer(), "").unwrap();
    let long = [b'x'; 1 << 16];
    for question in [&b"{\"ask\":\"weather\"}\n"[..], b"\xff\xfe\n", b"{}\n", b"[[[[[\n", &long] {
        let mut stream = UnixStream::connect(&path).unwrap();
        // The server may have closed before it has read all of a long one.
        let _ = stream.write_all(question);
        let mut answer = String::new();
        let _ = BufReader::new(&stream).read_line(&mut answer);
        assert!(
            answer.is_empty() && question.len() > 4_096 || answer.starts_with("{\"error\":"),
            "{answer:?}"
        );
    }
    assert!(Client::connect(&path).unwrap().stats().is_ok());
    running.stop().unwrap();
}

#[test]
fn a_crowd_is_kept_waiting_outside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let running = two_cores();
    let _server = Server::open(&path, running.observer(), "").unwrap();
    let silent: Vec<_> = (0..CLIENTS).map(|_| UnixStream::connect(&path).unwrap()).collect();
    // Each of them is asked and answered once, so that all are surely inside.
    for mut stream in &silent {
        stream.write_all(b"{\"ask\":\"stats\"}\n").unwrap();
        assert!(BufReader::new(stream).read_line(&mut String::new()).unwrap() > 2);
    }
    let refused = Client::connect(&path).unwrap().stats();
    assert!(matches!(refused, Err(AskError::Refused(_) | AskError::Io { .. })), "{refused:?}");
    drop(silent);
    running.stop().unwrap();
}

#[test]
fn a_dead_servers_socket_is_replaced_and_a_living_ones_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(UnixListener::bind(&path).unwrap());
    let dead = fs::metadata(&path).unwrap().ino();
    let running = two_cores();
    let server = Server::open(&path, running.observer(), "").unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), dead);
    let second = Server::open(&path, running.observer(), "");
    assert!(matches!(second, Err(ServerError::InUse(_))), "{second:?}");
    assert!(Client::connect(&path).unwrap().stats().is_ok());
    drop(server);

    fs::write(&path, "somebody's letter").unwrap();
    let third = Server::open(&path, running.observer(), "");
    assert!(matches!(third, Err(ServerError::NotASocket(_))), "{third:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's letter");
    running.stop().unwrap();
}

#[test]
fn a_reload_is_done_by_whoever_runs_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let running = two_cores();
    let outcome = Reloaded {
        changed: true,
        applied: vec!["echo.ports".into()],
        wrong: vec!["x".into()],
        ..Reloaded::default()
    };
    let told = outcome.clone();
    let actions = Actions { reload: Some(Box::new(move || told.clone())) };
    let server = Server::open_with(&path, running.observer(), "", actions).unwrap();
    let answer = Client::connect(&path).unwrap().reload().unwrap();
    assert_eq!(answer, outcome);
    assert_eq!(answer.lines().collect::<Vec<_>>(), ["applied  echo.ports", "wrong    x"]);
    drop(server);
    let _server = Server::open(&path, running.observer(), "").unwrap();
    assert!(matches!(Client::connect(&path).unwrap().reload(), Err(AskError::Refused(_))));
    running.stop().unwrap();
}
