//! The tables against Debian's memcached, so that they stay honest.

#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use freeway_memcached::{Table, TcpWire, run};

/// A memcached that ends with the test.
struct Server {
    child: Child,
    address: SocketAddr,
    version: String,
}

impl Server {
    /// `None` where there is no memcached; that is an error where tests must not be left out.
    fn start() -> Option<Self> {
        let Ok(output) = Command::new("memcached").arg("--version").output() else {
            assert!(std::env::var_os("CI").is_none(), "memcached is missing: apt-get install memcached");
            eprintln!("SKIPPED: memcached is missing: apt-get install memcached");
            return None;
        };
        let version = String::from_utf8(output.stdout).unwrap();
        let version = version.trim().trim_start_matches("memcached ").to_owned();
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("memcached")
            .args([
                "-l",
                "127.0.0.1",
                "-u",
                "nobody",
                "-U",
                "0",
                "-t",
                "1",
                "-p",
                &address.port().to_string(),
            ])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, address, version };
        for _ in 0..1000 {
            if TcpStream::connect(address).is_ok() {
                return Some(server);
            }
            sleep(Duration::from_millis(10));
        }
        panic!("memcached does not listen on {address}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn tables_are_what_memcached_does() {
    let Some(server) = Server::start() else { return };
    let mut wire = TcpWire::new(server.address).unwrap();
    let mut failures = Vec::new();
    for table in Table::all().unwrap() {
        if let Err(error) = run(&table, &mut wire, &server.version) {
            failures.push(error.to_string());
        }
    }
    assert!(failures.is_empty(), "memcached {}\n{}", server.version, failures.join("\n"));
}
