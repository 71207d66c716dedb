//! Each thing that a protected thread may not do is tried, and denied; what it needs is there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::process::Command;

use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::Signal;

use super::*;

/// What one attempt came to.
type Attempt = (&'static str, std::result::Result<(), io::Error>);

/// Runs on a thread that has given everything up, as one beside the cores (or, with no folders, as a core's).
fn attempts(folders: Option<Folders>, tries: impl FnOnce() -> Vec<Attempt> + Send + 'static) -> Vec<Attempt> {
    let thread = thread::spawn(move || {
        let protection = Protection::new(Some(folders.clone().unwrap_or_default()));
        match folders {
            Some(_) => protection.of_helpers().unwrap(),
            None => protection.of_core().unwrap(),
        }
        // As the process's, but for this thread alone.
        seccompiler::apply_filter(&syscalls::filter().unwrap()).unwrap();
        tries()
    });
    thread.join().unwrap()
}

fn done<T, E: Into<io::Error>>(result: std::result::Result<T, E>) -> std::result::Result<(), io::Error> {
    result.map(drop).map_err(Into::into)
}

#[test]
fn what_is_shut_is_shut() {
    let folder = tempfile::tempdir().unwrap();
    let (read, log, socket_folder, other) = (
        folder.path().join("read"),
        folder.path().join("log"),
        folder.path().join("run"),
        folder.path().join("other"),
    );
    for path in [&read, &log, &socket_folder, &other] {
        fs::create_dir(path).unwrap();
    }
    for path in [&read, &other] {
        fs::write(path.join("file"), "text").unwrap();
    }
    let one = |path: &std::path::Path| BTreeSet::from([path.to_owned()]);
    let folders =
        Folders { read: one(&read), append: one(&log), sockets: one(&socket_folder), ..Folders::default() };
    let parent = rustix::process::getppid().unwrap();
    let outcome = attempts(Some(folders), move || {
        let append = |path: &std::path::Path| OpenOptions::new().create(true).append(true).open(path);
        vec![
            ("+ read a document", done(fs::read(read.join("file")))),
            ("+ list documents", done(fs::read_dir(&read))),
            ("+ append to a log", append(&log.join("log")).and_then(|mut file| file.write_all(b"line"))),
            ("+ make a socket", done(UnixListener::bind(socket_folder.join("socket")))),
            ("+ remove it", fs::remove_file(socket_folder.join("socket"))),
            (
                "+ start a thread",
                done(thread::Builder::new().spawn(|| 1).map(|thread| thread.join().unwrap())),
            ),
            ("- read another file", done(fs::read(other.join("file")))),
            ("- read the passwords", done(fs::read("/etc/passwd"))),
            ("- list the root", done(fs::read_dir("/"))),
            ("- write a document", done(append(&read.join("file")))),
            ("- make a document", fs::write(read.join("new"), "text")),
            ("- remove a document", fs::remove_file(read.join("file"))),
            ("- make a file elsewhere", fs::write(other.join("new"), "text")),
            ("- execute a program", done(Command::new("/bin/true").status())),
            ("- a TCP socket of Linux's", done(TcpListener::bind("127.0.0.1:0"))),
            ("- a UDP socket of Linux's", done(UdpSocket::bind("127.0.0.1:0"))),
            ("- a packet socket", done(socket(AddressFamily::PACKET, SocketType::RAW, None))),
            ("- a netlink socket", done(socket(AddressFamily::NETLINK, SocketType::RAW, None))),
            ("- signal another process", done(rustix::process::kill_process(parent, Signal::URG))),
            ("- another root", done(rustix::process::chroot("/"))),
            ("- be another user", done(rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(1)))),
            ("- leave no_new_privs", done(set_no_new_privs(false))),
            (
                "- gain a capability",
                done(set_capabilities(
                    None,
                    CapabilitySets {
                        effective: CapabilitySet::NET_ADMIN,
                        permitted: CapabilitySet::NET_ADMIN,
                        inheritable: CapabilitySet::empty(),
                    },
                )),
            ),
            ("- change owners", std::os::unix::fs::chown(read.join("file"), Some(1), None)),
        ]
    });
    compare(outcome);
}

#[test]
fn a_core_has_no_file_at_all() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "text").unwrap();
    let path = folder.path().to_owned();
    let outcome = attempts(None, move || {
        vec![
            ("+ an eventfd", done(rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC))),
            ("- read a file", done(fs::read(path.join("file")))),
            ("- make a file", fs::write(path.join("new"), "text")),
            ("- make a socket", done(UnixListener::bind(path.join("socket")))),
            ("- remove a file", fs::remove_file(path.join("file"))),
        ]
    });
    compare(outcome);
}

/// What begins with a plus went well, what begins with a minus was denied.
fn compare(outcome: Vec<Attempt>) {
    let mut wrong = Vec::new();
    for (what, result) in outcome {
        let denied = matches!(&result, Err(error) if error.kind() == ErrorKind::PermissionDenied);
        if what.starts_with('+') && result.is_err() || what.starts_with('-') && !denied {
            wrong.push(format!("{what}: {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_capability_is_left() {
    let told = thread::spawn(|| {
        drop_capabilities().unwrap();
        fs::read_to_string("/proc/thread-self/status").unwrap()
    });
    let status = told.join().unwrap();
    for field in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    assert!(status.contains("NoNewPrivs:\t1"));
}
