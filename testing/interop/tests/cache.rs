//! The cache and clients that are not ours: memccapable, pymemcache, the `memcache` crate, and the tables.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use freeway_interop::lab::{SERVER_V4, SERVERS, at};
use freeway_interop::netns::Namespace;
use freeway_interop::pair::Pair;
use freeway_interop::peer::{tcp, udp};
use freeway_interop::privilege;
use freeway_interop::server::Server;
use freeway_memcache::udp::Frame;
use freeway_memcached::{Table, TcpWire, run};

const PORT: u16 = 11211;

/// Where Debian keeps pymemcache.
const PYMEMCACHE: &str = "/usr/lib/python3/dist-packages/pymemcache";

/// Tests of memccapable, for either protocol.
const CAPABILITIES: usize = 27;

/// A cache, and the namespace whose Linux talks to it. The server goes before the namespaces.
struct Cache {
    server: Server,
    client: Arc<Namespace>,
    _host: Option<Namespace>,
}

const FLAGS: [&str; 6] = ["-p", "11211", "-U", "11211", "-m", "64"];

impl Cache {
    /// Behind a TAP device; None when `test` is to be skipped.
    fn tap(test: &str, more: &[&str]) -> Result<Option<Self>> {
        if !privilege::granted(test) {
            return Ok(None);
        }
        let host = Namespace::new("host")?;
        let device = ["--dev", "tap:fw0", "-l", "198.18.0.2,fdc1::2"];
        let server = Server::start_as(&host, "memcached", &[&FLAGS[..], &device, more].concat())?;
        Ok(Some(Self { server, client: Arc::new(host), _host: None }))
    }

    /// On a veth pair by AF_XDP; None when `test` is to be skipped.
    fn afxdp(test: &str, more: &[&str]) -> Result<Option<Self>> {
        let Some(Pair { client, host }) = Pair::lay(test, 1, 1_500)? else { return Ok(None) };
        let device = ["--dev", "afxdp:s0", "-l", "198.18.0.2,fdc1::2"];
        let server = Server::start_as(&host, "memcached", &[&FLAGS[..], &device, more].concat())?;
        Ok(Some(Self { server, client: Arc::new(client), _host: Some(host) }))
    }

    fn wire(&self, server: SocketAddr) -> Result<TcpWire> {
        let client = Arc::clone(&self.client);
        TcpWire::by(move || tcp::connect(&client, server))
    }

    /// Runs a client's tests in the namespace and returns what they print.
    fn client(&self, line: &[&str]) -> Result<String> {
        let (program, arguments) = line.split_first().context("a program is missing")?;
        let output = self.client.command(program).args(arguments).output().with_context(|| line.join(" "))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(output.status.success(), "{}: {}\n{said}", line.join(" "), output.status);
        Ok(said)
    }
}

/// All tables, over both families.
fn tables(cache: &Cache) -> Result<()> {
    let mut failures = Vec::new();
    for server in SERVERS {
        let mut wire = cache.wire(at(server, PORT))?;
        for table in Table::all()? {
            if let Err(error) = run(&table, &mut wire, "freeway") {
                failures.push(format!("{server}: {error:#}"));
            }
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Both halves of memccapable.
fn capabilities(cache: &Cache) -> Result<()> {
    for half in ["-a", "-b"] {
        let said = cache.client(&["memccapable", "-h", "198.18.0.2", "-p", "11211", half])?;
        let passed = said.lines().filter(|line| line.ends_with("[pass]")).count();
        ensure!(passed == CAPABILITIES, "memccapable {half}: {passed} of {CAPABILITIES}\n{said}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn tables_hold_over_tap() -> Result<()> {
    let Some(cache) = Cache::tap("cache_tables_tap", &[])? else { return Ok(()) };
    tables(&cache)?;
    cache.server.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn tables_hold_over_afxdp() -> Result<()> {
    let Some(cache) = Cache::afxdp("cache_tables_afxdp", &[])? else { return Ok(()) };
    tables(&cache)?;
    cache.server.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn memccapable_finds_all_over_tap() -> Result<()> {
    let Some(cache) = Cache::tap("memccapable_tap", &[])? else { return Ok(()) };
    capabilities(&cache)?;
    cache.server.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn memccapable_finds_all_over_afxdp() -> Result<()> {
    let Some(cache) = Cache::afxdp("memccapable_afxdp", &[])? else { return Ok(()) };
    capabilities(&cache)?;
    cache.server.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn two_cores_are_one_server() -> Result<()> {
    let Some(cache) = Cache::tap("cache_two_cores", &["-t", "2", "--cores", "0,1"])? else { return Ok(()) };
    tables(&cache)?;
    capabilities(&cache)?;
    pymemcache(&cache)?;
    for protocol in ["ascii", "binary"] {
        let url = format!("memcache://198.18.0.2:{PORT}?protocol={protocol}&timeout=10");
        cache.client.enter(|| talk(&url))?.context(protocol)?;
    }
    long_datagrams(&cache)?;
    cache.server.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn pymemcache_passes_its_own_tests() -> Result<()> {
    let Some(cache) = Cache::tap("pymemcache", &[])? else { return Ok(()) };
    pymemcache(&cache)?;
    cache.server.stop()
}

/// pymemcache's integration tests.
fn pymemcache(cache: &Cache) -> Result<()> {
    let said = cache.client(&[
        "/usr/bin/python3",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        PYMEMCACHE,
        "-c",
        "/dev/null",
        "--confcutdir",
        PYMEMCACHE,
        &format!("{PYMEMCACHE}/test/test_integration.py"),
        "-k",
        "not tls",
        "--server",
        "198.18.0.2",
        "--port",
        "11211",
    ])?;
    ensure!(said.contains("46 passed"), "{said}");
    Ok(())
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn the_memcache_crate_talks_both_protocols() -> Result<()> {
    let Some(cache) = Cache::tap("memcache_crate", &[])? else { return Ok(()) };
    for protocol in ["ascii", "binary"] {
        let url = format!("memcache://198.18.0.2:{PORT}?protocol={protocol}&timeout=10");
        cache.client.enter(|| talk(&url))?.context(protocol)?;
    }
    cache.server.stop()
}

/// What a program does with the crate.
fn talk(url: &str) -> Result<()> {
    let client = memcache::connect(url)?;
    client.flush()?;
    ensure!(client.get::<String>("a")?.is_none());
    client.set("a", "hello", 0)?;
    ensure!(client.get::<String>("a")?.as_deref() == Some("hello"));
    // The crate does not tell whether it was stored.
    let _ = client.add("a", "again", 0);
    client.append("a", " there")?;
    client.prepend("a", "oh ")?;
    ensure!(client.get::<String>("a")?.as_deref() == Some("oh hello there"));
    client.replace("a", "b", 0)?;

    client.set("n", 40_u64, 0)?;
    ensure!(client.increment("n", 2)? == 42);
    ensure!(client.decrement("n", 1)? == 41);

    let found = client.gets::<(Vec<u8>, u32, Option<u64>)>(&["a", "n", "none"])?;
    ensure!(found.len() == 2, "{found:?}");
    let cas = found.get("a").and_then(|(_, _, cas)| *cas).context("gets tells no unique")?;
    ensure!(client.cas("a", "c", 0, cas)?);
    ensure!(!client.cas("a", "d", 0, cas)?, "a unique fits twice");
    ensure!(client.touch("a", 1000)?);
    ensure!(client.delete("a")?);
    ensure!(!client.delete("a")?);

    let large = vec![0xa5_u8; 900_000];
    client.set("large", large.as_slice(), 0)?;
    ensure!(client.get::<Vec<u8>>("large")?.as_deref() == Some(large.as_slice()));
    let too_large = vec![0_u8; 2 << 20];
    ensure!(client.set("large", too_large.as_slice(), 0).is_err(), "2 MiB were stored");
    ensure!(!client.version()?.is_empty());
    ensure!(!client.stats()?.is_empty());
    Ok(())
}

/// What exporters ask for by name (prometheus/memcached_exporter).
const EXPORTED: [&str; 28] = [
    "uptime",
    "time",
    "version",
    "curr_connections",
    "total_connections",
    "max_connections",
    "rejected_connections",
    "conn_yields",
    "listen_disabled_num",
    "bytes_read",
    "bytes_written",
    "cmd_get",
    "cmd_set",
    "cmd_touch",
    "cmd_flush",
    "get_hits",
    "get_misses",
    "delete_hits",
    "delete_misses",
    "incr_hits",
    "decr_misses",
    "cas_badval",
    "touch_hits",
    "bytes",
    "limit_maxbytes",
    "curr_items",
    "total_items",
    "evictions",
];

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn exporters_find_their_names() -> Result<()> {
    let Some(cache) = Cache::tap("cache_stats", &[])? else { return Ok(()) };
    let ask =
        |what: &str| cache.client(&["memcstat", &format!("--servers=198.18.0.2:{PORT}"), "--args", what]);
    let stats = cache.client(&["memcstat", &format!("--servers=198.18.0.2:{PORT}")])?;
    let missing: Vec<_> = EXPORTED
        .into_iter()
        .filter(|name| !stats.lines().any(|line| line.trim().split(':').next() == Some(name)))
        .collect();
    ensure!(missing.is_empty(), "{missing:?} are missing\n{stats}");
    // Without the last three an exporter that reads classes takes the server for dead.
    for (table, names) in [
        ("settings", ["maxconns", "item_size_max", "num_threads", "evictions"]),
        ("slabs", ["active_slabs", "1:cmd_set", "1:cas_hits", "1:cas_badval"]),
    ] {
        let said = ask(table)?;
        for name in names {
            ensure!(said.contains(name), "stats {table} has no {name}\n{said}");
        }
    }
    cache.server.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn datagrams_are_answered() -> Result<()> {
    let Some(cache) = Cache::tap("cache_udp", &[])? else { return Ok(()) };
    long_datagrams(&cache)?;
    cache.server.stop()
}

/// A value that takes several datagrams.
fn long_datagrams(cache: &Cache) -> Result<()> {
    let mut wire = tcp::connect(&cache.client, at(SERVER_V4, PORT))?;
    let value = vec![b'v'; 5_000];
    tcp_ask(&mut wire, &[b"set a 0 0 5000\r\n", value.as_slice(), b"\r\n"].concat(), b"STORED\r\n")?;
    for server in SERVERS {
        let socket = udp::connect(&cache.client, at(server, PORT))?;
        let mut ask = Frame { request: 77, sequence: 0, total: 1 }.to_bytes().to_vec();
        ask.extend_from_slice(b"get a\r\n");
        socket.send(&ask)?;
        let (mut parts, mut buffer) = (Vec::new(), [0; 2_000]);
        loop {
            let len = socket.recv(&mut buffer)?;
            let (frame, part) = Frame::parse(&buffer[..len]).context("no frame")?;
            ensure!(frame.request == 77 && len <= 1_400, "{frame:?}, {len} bytes");
            parts.push((frame.sequence, part.to_vec()));
            if parts.len() == usize::from(frame.total) {
                break;
            }
        }
        parts.sort();
        let answer: Vec<u8> = parts.into_iter().flat_map(|(_, part)| part).collect();
        let wanted = [b"VALUE a 0 5000\r\n", value.as_slice(), b"\r\nEND\r\n"].concat();
        ensure!(answer == wanted, "{} bytes", answer.len());
    }
    Ok(())
}

fn tcp_ask(stream: &mut std::net::TcpStream, ask: &[u8], wanted: &[u8]) -> Result<()> {
    use std::io::{Read as _, Write as _};
    stream.write_all(ask)?;
    let mut answer = vec![0; wanted.len()];
    stream.read_exact(&mut answer)?;
    ensure!(answer == wanted, "{}", answer.escape_ascii());
    Ok(())
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn memcached_s_flags_hold() -> Result<()> {
    let passwords = tempfile::NamedTempFile::new()?;
    std::fs::write(passwords.path(), "somebody:secret\n")?;
    let file = passwords.path().to_str().context("a path in UTF-8")?.to_owned();
    if !privilege::granted("cache_flags") {
        return Ok(());
    }
    let host = Namespace::new("host")?;
    let flags =
        ["-Y", &file, "-F", "-X", "-W", "-A", "-I", "2k", "-m", "8", "--dev", "tap:fw0", "-l", "198.18.0.2"];
    let mut server = Server::start_as(&host, "memcached", &flags)?;
    let mut stream = tcp::connect(&host, at(SERVER_V4, PORT))?;
    for (ask, answer) in [
        ("get a\r\n", "CLIENT_ERROR unauthenticated\r\n"),
        ("set x 0 0 14\r\nsomebody wrong\r\n", "CLIENT_ERROR authentication failure\r\n"),
        ("set x 0 0 15\r\nsomebody secret\r\n", "STORED\r\n"),
        ("get a\r\n", "END\r\n"),
        ("flush_all\r\n", "CLIENT_ERROR flush_all not allowed\r\n"),
        ("watch\r\n", "CLIENT_ERROR watch commands not allowed\r\n"),
        ("lru_crawler metadump all\r\n", "ERROR metadump not allowed\r\n"),
    ] {
        tcp_ask(&mut stream, ask.as_bytes(), answer.as_bytes()).with_context(|| ask.to_owned())?;
    }
    let large = format!("set a 0 0 4000\r\n{}\r\n", "v".repeat(4_000));
    tcp_ask(&mut stream, large.as_bytes(), b"SERVER_ERROR object too large for cache\r\n")?;
    std::io::Write::write_all(&mut stream, b"shutdown\r\n")?;
    for _ in 0..1_000 {
        if !server.is_running() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    bail!("shutdown did not end the server");
}

#[test]
fn lines_that_would_deceive_are_refused_before_anything_starts() -> Result<()> {
    let Some(binary) = std::env::var_os("FREEWAY_BIN") else { return Ok(()) };
    for line in [["memcached", "-d"], ["memcached", "-S"], ["memcached", "-M"], ["memcached", "-Z"]] {
        let output = Command::new(&binary).args(line).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains("is refused"), "{}: {said}", line.join(" "));
    }
    Ok(())
}
