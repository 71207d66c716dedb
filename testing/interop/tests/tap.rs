//! Freeway behind a TAP device, Linux right in front of it.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use freeway_interop::lab::{Lab, SERVER_V4, SERVER_V6, SERVERS, TAP, at, port};
use freeway_interop::peer::pattern::{Pattern, Proof, Prover};
use freeway_interop::peer::{http, tcp, udp};
use tempfile::TempDir;

const GIB: u64 = 1 << 30;

/// A directory that a server without privileges can read.
fn empty_root() -> Result<TempDir> {
    let root = tempfile::tempdir()?;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
    Ok(root)
}

/// Writes `length` random bytes to `name` in `root`.
fn write_file(root: &TempDir, name: &str, length: u64) -> Result<Proof> {
    let path = root.path().join(name);
    let mut file = fs::File::create(&path)?;
    let (mut prover, mut pattern, mut buffer) =
        (Prover::default(), Pattern::new(99, length), vec![0; 1 << 16]);
    loop {
        match std::io::Read::read(&mut pattern, &mut buffer)? {
            0 => break,
            part => {
                file.write_all(&buffer[..part])?;
                prover.add(&buffer[..part]);
            }
        }
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    Ok(prover.finish())
}

/// The server still runs and answers a new connection.
fn still_serves(lab: &mut Lab) -> Result<()> {
    ensure!(lab.server_mut().is_running(), "the server is gone");
    let mut stream = tcp::connect(lab.client(), at(SERVER_V4, port::ECHO))?;
    tcp::say_and_hear(&mut stream, b"still there?")
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn ping_is_answered_over_both_families() -> Result<()> {
    let root = empty_root()?;
    let Some(lab) = Lab::direct("ping", root.path())? else { return Ok(()) };
    for server in SERVERS {
        for size in ["0", "56", "1400"] {
            lab.client().run(&format!("ping -q -c 5 -i 0.1 -W 2 -s {size} {server}"))?;
        }
    }
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn tcp_echo_over_both_families() -> Result<()> {
    let root = empty_root()?;
    let Some(lab) = Lab::direct("tcp_echo", root.path())? else { return Ok(()) };
    for server in SERVERS {
        let mut stream = tcp::connect(lab.client(), at(server, port::ECHO))?;
        for length in [1, 2, 1_000, 1_460, 1_461, 60_000] {
            tcp::say_and_hear(&mut stream, &vec![0x5a; length])
                .with_context(|| format!("{length} bytes, {server}"))?;
        }
    }
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn udp_echo_over_both_families() -> Result<()> {
    let root = empty_root()?;
    let Some(lab) = Lab::direct("udp_echo", root.path())? else { return Ok(()) };
    for (server, length_max) in [(SERVER_V4, 1_472), (SERVER_V6, 1_452)] {
        for length in [1, 2, 18, 512, length_max] {
            // A socket for each, or the late answer to a datagram that was sent again would be taken for the next's.
            let socket = udp::connect(lab.client(), at(server, port::ECHO))?;
            udp::say_and_hear(&socket, &vec![0xa5; length], 3).with_context(|| server.to_string())?;
        }
    }
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_gib_each_way_through_echo_is_unharmed() -> Result<()> {
    let root = empty_root()?;
    let Some(lab) = Lab::direct("echo_gib", root.path())? else { return Ok(()) };
    for (server, length) in [(SERVER_V4, GIB), (SERVER_V6, GIB / 4)] {
        let stream = tcp::connect(lab.client(), at(server, port::ECHO))?;
        report_rate("echo", length, || tcp::echo(&stream, 1, length))?;
    }
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn discard_takes_a_gib_and_closes_in_turn() -> Result<()> {
    let root = empty_root()?;
    let Some(lab) = Lab::direct("discard_gib", root.path())? else { return Ok(()) };
    let mut stream = tcp::connect(lab.client(), at(SERVER_V4, port::DISCARD))?;
    report_rate("discard", GIB, || {
        let sent = tcp::send(&mut stream, Pattern::new(2, GIB))?;
        ensure!(sent.length == GIB);
        let received = tcp::receive(&mut stream)?;
        ensure!(received.length == 0, "{} bytes came from discard", received.length);
        Ok(())
    })?;
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn chargen_sends_a_gib_of_printable_lines() -> Result<()> {
    let root = empty_root()?;
    let Some(mut lab) = Lab::direct("chargen_gib", root.path())? else { return Ok(()) };
    let mut stream = tcp::connect(lab.client(), at(SERVER_V4, port::CHARGEN))?;
    report_rate("chargen", GIB, || {
        tcp::receive_exactly(&mut stream, GIB, |bytes| {
            let is_text = bytes.iter().all(|&byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n'));
            ensure!(is_text, "RFC 864 knows printable ASCII and line ends only");
            Ok(())
        })
    })?;
    drop(stream);
    still_serves(&mut lab)?;
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn http_serves_a_gib_unharmed() -> Result<()> {
    let root = empty_root()?;
    let file = write_file(&root, "gib.bin", GIB)?;
    let Some(lab) = Lab::direct("http_gib", root.path())? else { return Ok(()) };
    let mut stream = tcp::connect(lab.client(), at(SERVER_V4, port::HTTP))?;
    report_rate("http", GIB, || {
        let answer = http::get(&mut stream, "198.18.0.2", "/gib.bin")?;
        ensure!(answer.status == 200, "status {}", answer.status);
        ensure!(answer.body == file, "sent {file:?}, got {:?}", answer.body);
        Ok(())
    })?;
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn http_answers_one_request_after_the_other_and_curl_too() -> Result<()> {
    let root = empty_root()?;
    let small = write_file(&root, "small.bin", 1)?;
    let medium = write_file(&root, "medium.bin", 100_003)?;
    let Some(lab) = Lab::direct("http", root.path())? else { return Ok(()) };
    for server in SERVERS {
        let address = at(server, port::HTTP);
        let mut stream = tcp::connect(lab.client(), address)?;
        for (path, status, body) in [
            ("/small.bin", 200, Some(small)),
            ("/medium.bin", 200, Some(medium)),
            ("/small.bin", 200, Some(small)),
            // Last, for a server may close a connection after an error.
            ("/absent", 404, None),
        ] {
            let answer =
                http::get(&mut stream, &address.to_string(), path).with_context(|| path.to_string())?;
            ensure!(answer.status == status, "{path}: status {}", answer.status);
            ensure!(body.is_none_or(|body| body == answer.body), "{path}: {:?}", answer.body);
        }
        curl_gets(&lab, address, "medium.bin", &root)?;
    }
    lab.stop().map(drop)
}

/// A client of another maker sees the same bytes.
fn curl_gets(lab: &Lab, server: SocketAddr, name: &str, root: &TempDir) -> Result<()> {
    let copy = tempfile::NamedTempFile::new()?;
    let line = format!(
        "curl --silent --fail --max-time 20 --output {} http://{server}/{name}",
        copy.path().display()
    );
    lab.client().run(&line)?;
    ensure!(fs::read(copy.path())? == fs::read(root.path().join(name))?, "curl got other bytes");
    Ok(())
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_thousand_connections_at_once() -> Result<()> {
    let root = empty_root()?;
    let Some(mut lab) = Lab::direct("thousand", root.path())? else { return Ok(()) };
    let mut streams = tcp::connect_many(lab.client(), at(SERVER_V4, port::ECHO), 1_000)?;
    for round in 0..3u32 {
        // All speak before any listens, so that a thousand answers are under way together.
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&word(round, number)).with_context(|| format!("connection {number}"))?;
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            let length = word(round, number).len() as u64;
            tcp::receive_exactly(stream, length, |bytes| {
                ensure!(bytes == word(round, number), "another connection's bytes");
                Ok(())
            })
            .with_context(|| format!("connection {number}"))?;
        }
    }
    drop(streams);
    still_serves(&mut lab)?;
    lab.stop().map(drop)
}

/// What connection `number` says in `round`; short enough to come back in one piece.
fn word(round: u32, number: usize) -> Vec<u8> {
    format!("{round}:{number:04}").into_bytes()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_half_closed_connection_still_delivers() -> Result<()> {
    let root = empty_root()?;
    let Some(lab) = Lab::direct("half_close", root.path())? else { return Ok(()) };
    for server in SERVERS {
        let mut stream = tcp::connect(lab.client(), at(server, port::ECHO))?;
        let sent = tcp::send(&mut stream, Pattern::new(3, 50_000))?;
        // The sending direction is closed; what is under way has to come back, and then the end.
        let received = tcp::receive(&mut stream)?;
        ensure!(sent == received, "{server}: sent {sent:?}, got {received:?}");
    }
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn resets_leave_the_server_serving() -> Result<()> {
    let root = empty_root()?;
    let Some(mut lab) = Lab::direct("reset", root.path())? else { return Ok(()) };
    for service in [port::ECHO, port::CHARGEN, port::HTTP] {
        let mut streams = tcp::connect_many(lab.client(), at(SERVER_V4, service), 100)?;
        for stream in &mut streams {
            stream.write_all(b"GET / HTTP/1.1\r\n")?;
        }
        for stream in streams {
            tcp::reset(stream)?;
        }
    }
    still_serves(&mut lab)?;
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_closed_port_refuses() -> Result<()> {
    let root = empty_root()?;
    let Some(lab) = Lab::direct("closed_port", root.path())? else { return Ok(()) };
    for server in SERVERS {
        // Neighbour resolution is not what is timed below.
        drop(tcp::connect(lab.client(), at(server, port::ECHO))?);
        let start = Instant::now();
        let refused =
            lab.client().enter(|| TcpStream::connect_timeout(&at(server, 4_444), Duration::from_secs(5)))?;
        let Err(error) = refused else { anyhow::bail!("{server}: port 4444 is open") };
        ensure!(error.kind() == std::io::ErrorKind::ConnectionRefused, "{server}: {error}");
        ensure!(start.elapsed() < Duration::from_secs(1), "{server}: the reset took {:?}", start.elapsed());
    }
    lab.stop().map(drop)
}

/// A peer whose cable is pulled while data is on its way both ways, and whose address never comes back.
#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_peer_that_vanishes_takes_nobody_with_it() -> Result<()> {
    let root = empty_root()?;
    let Some(mut lab) = Lab::direct("vanish", root.path())? else { return Ok(()) };
    let host = lab.client();
    // Routes that prefer 198.18.0.9, an address of its own, for the peer that will vanish.
    host.address(TAP, "198.18.0.9/24")?;
    host.ip("route add 198.18.0.2/32 dev fw0 src 198.18.0.9")?;
    let mut doomed = tcp::connect_many(host, at(SERVER_V4, port::CHARGEN), 50)?;
    doomed.extend(tcp::connect_many(host, at(SERVER_V4, port::ECHO), 50)?);
    for stream in &mut doomed {
        ensure!(stream.local_addr()?.ip().to_string() == "198.18.0.9");
        stream.write_all(b"about to go")?;
    }

    host.ip("link set fw0 down")?;
    host.ip("address delete 198.18.0.9/24 dev fw0")?;
    // Closed without the address, they cannot even say goodbye.
    drop(doomed);
    std::thread::sleep(Duration::from_secs(2));
    host.ip("link set fw0 up")?;

    for _ in 0..20 {
        still_serves(&mut lab)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn an_idle_connection_hears_of_no_end() -> Result<()> {
    let root = empty_root()?;
    let Some(lab) = Lab::direct("idle", root.path())? else { return Ok(()) };
    let mut stream = tcp::connect(lab.client(), at(SERVER_V4, port::ECHO))?;
    ensure!(!tcp::is_ended(&mut stream, Duration::from_secs(2))?, "the server ended an idle connection");
    tcp::say_and_hear(&mut stream, b"awake")?;
    stream.shutdown(Shutdown::Write)?;
    ensure!(tcp::is_ended(&mut stream, Duration::from_secs(2))?, "the server did not end in turn");
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn the_server_says_where_it_is_and_takes_its_device_back() -> Result<()> {
    let root = empty_root()?;
    let Some(lab) = Lab::direct("ready", root.path())? else { return Ok(()) };
    let ready = lab.server().ready_line().to_string();
    for part in ["dev=", "fw0", "addr=", "198.18.0.2", "cores=", "services="] {
        ensure!(ready.contains(part), "`{part}` is not in `{ready}`");
    }
    let addresses = lab.client().run("ip -brief address show fw0")?;
    ensure!(addresses.contains("198.18.0.1/24") && addresses.contains("fdc1::1/64"), "{addresses}");
    let host = lab.stop()?;
    ensure!(host.run("ip link show fw0").is_err(), "fw0 is still there");
    Ok(())
}

/// Runs `work`, which moves `length` bytes, and prints how fast it was.
fn report_rate(what: &str, length: u64, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    work().context(what.to_string())?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {length} bytes in {seconds:.2} s, {:.2} Gbit/s", length as f64 * 8e-9 / seconds);
    Ok(())
}
