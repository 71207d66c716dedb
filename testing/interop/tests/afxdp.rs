//! Freeway on a veth pair by AF_XDP, Linux on the other end with its offloads as they are.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use freeway_interop::lab::{SERVER_V4, SERVER_V6, SERVERS, at, port};
use freeway_interop::netns::Namespace;
use freeway_interop::pair::{CLIENT, Pair, SERVER};
use freeway_interop::peer::{tcp, udp};
use freeway_interop::privilege;
use freeway_interop::server::Server;

const GIB: u64 = 1 << 30;
const DEVICE: &str = "afxdp:s0";

/// Ping, TCP and UDP over both families.
fn answers(client: &Namespace) -> Result<()> {
    for server in SERVERS {
        client.run(&format!("ping -q -c 3 -i 0.1 -W 2 {server}"))?;
        let mut stream = tcp::connect(client, at(server, port::ECHO))?;
        for length in [1, 1_460, 60_000] {
            tcp::say_and_hear(&mut stream, &vec![0x5a; length])
                .with_context(|| format!("{length} bytes, {server}"))?;
        }
        let socket = udp::connect(client, at(server, port::ECHO))?;
        udp::say_and_hear(&socket, &[0xa5; 1_000], 3).with_context(|| server.to_string())?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn own_addresses_answer_in_both_modes() -> Result<()> {
    for mode in ["native", "generic"] {
        let Some(pair) = Pair::lay("own_addresses", 1, 1_500)? else { return Ok(()) };
        let server = pair.serve(&format!("{DEVICE},mode={mode}"), &[])?;
        ensure!(server.ready_line().contains(&format!("mode={mode}")), "{}", server.ready_line());
        answers(&pair.client).with_context(|| mode.to_string())?;
        server.stop()?;
        let shown = pair.host.run("ip link show s0")?;
        ensure!(!shown.contains("xdp"), "the program is still there: {shown}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_gib_each_way_with_linux_offloads_is_unharmed() -> Result<()> {
    let Some(pair) = Pair::lay("afxdp_gib", 1, 1_500)? else { return Ok(()) };
    let features = pair.client.run(&format!("ethtool -k {CLIENT}"))?;
    ensure!(features.contains("tx-checksumming: on"), "Linux leaves no sums to its device: {features}");
    let server = pair.serve(DEVICE, &[])?;
    for (address, length) in [(SERVER_V4, GIB), (SERVER_V6, GIB / 4)] {
        let stream = tcp::connect(&pair.client, at(address, port::ECHO))?;
        report_rate("echo", length, || tcp::echo(&stream, 1, length))?;
    }
    server.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn jumbo_frames_pass_both_ways() -> Result<()> {
    let Some(pair) = Pair::lay("afxdp_jumbo", 1, 9_000)? else { return Ok(()) };
    let server = pair.serve(DEVICE, &[])?;
    answers(&pair.client)?;
    // Not to be fragmented: only frames of full length carry it.
    pair.client.run("ping -q -c 3 -i 0.1 -W 2 -M do -s 8972 198.18.0.2")?;
    let stream = tcp::connect(&pair.client, at(SERVER_V4, port::ECHO))?;
    report_rate("jumbo echo", GIB / 4, || tcp::echo(&stream, 2, GIB / 4))?;
    server.stop()
}

/// Linux picks a queue by a random hash of the socket, so many connections meet every queue, and every core gets
/// frames of the other's flows.
#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn every_queue_is_served_whatever_core_a_flow_is_at_home() -> Result<()> {
    for (queues, cores) in [(2, "0,1"), (4, "0"), (1, "0,1"), (3, "0,1")] {
        let Some(pair) = Pair::lay("afxdp_queues", queues, 1_500)? else { return Ok(()) };
        let server = pair.serve(DEVICE, &["--cores", cores])?;
        ensure!(server.ready_line().contains(&format!("queues={queues}")), "{}", server.ready_line());
        answers(&pair.client)?;
        let mut streams = tcp::connect_many(&pair.client, at(SERVER_V4, port::ECHO), 200)?;
        for (number, stream) in streams.iter_mut().enumerate() {
            tcp::say_and_hear(stream, format!("flow {number}").as_bytes())
                .with_context(|| format!("{queues} queues, cores {cores}, connection {number}"))?;
        }
        let stream = tcp::connect(&pair.client, at(SERVER_V6, port::ECHO))?;
        tcp::echo(&stream, 4, 64 << 20).with_context(|| format!("{queues} queues, cores {cores}"))?;
        drop(streams);
        server.stop()?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_killed_server_leaves_the_interface_to_linux() -> Result<()> {
    let Some(pair) = Pair::lay("afxdp_kill", 1, 1_500)? else { return Ok(()) };
    let server = pair.serve(DEVICE, &[])?;
    answers(&pair.client)?;
    server.kill()?;
    pair.share()?;
    // The client has to forget whose MAC address that was; here it is the same one.
    let working = patiently(|| pair.client.run("ping -q -c 1 -W 1 198.18.0.2").is_ok());
    ensure!(working, "Linux does not get the interface's frames back");
    let shown = pair.host.run("ip link show s0")?;
    ensure!(!shown.contains("xdp"), "the program is still there: {shown}");
    pair.client.run("ping -q -c 2 -i 0.1 -W 2 fdc1::2")?;
    // And the next one can start.
    pair.host.ip(&format!("address flush dev {SERVER}"))?;
    let server = pair.serve(DEVICE, &[])?;
    answers(&pair.client)?;
    server.stop()
}

/// Linux keeps whatever is not Freeway's, on the same interface.
#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn linux_keeps_its_own_addresses() -> Result<()> {
    let Some(pair) = Pair::lay("afxdp_beside", 1, 1_500)? else { return Ok(()) };
    pair.host.address(SERVER, "198.18.0.3/24")?;
    pair.host.address(SERVER, "fdc1::3/64")?;
    let server = pair.serve(DEVICE, &[])?;
    answers(&pair.client)?;
    pair.client.run("ping -q -c 3 -i 0.1 -W 2 198.18.0.3")?;
    pair.client.run("ping -q -c 3 -i 0.1 -W 2 fdc1::3")?;
    server.stop()
}

/// One address for both: Freeway has the served ports, Linux everything else.
#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_shared_address_serves_both() -> Result<()> {
    let Some(pair) = Pair::lay("afxdp_shared", 2, 1_500)? else { return Ok(()) };
    pair.share()?;
    let linux = pair.host.enter(|| TcpListener::bind("198.18.0.2:2222"))??;
    let datagrams = pair.host.enter(|| UdpSocket::bind("198.18.0.2:2223"))??;
    let shared = [
        "--dev",
        DEVICE,
        "--shared-address",
        "--echo",
        "7",
        "--http",
        "0",
        "--discard",
        "0",
        "--chargen",
        "0",
    ];
    let server = Server::start(&pair.host, &[&shared[..], &["--cores", "0,1"]].concat())?;

    answers(&pair.client)?;
    // Linux's own service, over TCP and in datagrams of several fragments; Freeway's likewise.
    let mut stream = tcp::connect(&pair.client, at(SERVER_V4, 2222))?;
    let (mut theirs, _) = linux.accept()?;
    stream.write_all(b"to Linux")?;
    let mut heard = [0; 8];
    theirs.read_exact(&mut heard)?;
    ensure!(&heard == b"to Linux");
    let long = vec![0x5a; 4_000];
    let sender = pair.client.enter(|| UdpSocket::bind("198.18.0.1:0"))??;
    sender.send_to(&long, at(SERVER_V4, 2223))?;
    datagrams.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut room = [0; 5_000];
    ensure!(datagrams.recv(&mut room).context("Linux's fragments")? == long.len());
    for address in SERVERS {
        let socket = udp::connect(&pair.client, at(address, port::ECHO))?;
        udp::say_and_hear(&socket, &long, 5).with_context(|| format!("Freeway's fragments, {address}"))?;
    }
    // A port that nobody serves is Linux's to refuse, and a served one is not to be had by others.
    let refused =
        pair.client.enter(|| TcpStream::connect_timeout(&at(SERVER_V4, 4_444), Duration::from_secs(5)))?;
    let kind = refused.err().context("port 4444 is open")?.kind();
    ensure!(kind == std::io::ErrorKind::ConnectionRefused, "{kind}");
    let taken = pair.host.enter(|| TcpListener::bind("198.18.0.2:7"))?;
    ensure!(taken.is_err(), "Linux serves Freeway's port");
    for address in SERVERS {
        let stream = tcp::connect(&pair.client, at(address, port::ECHO))?;
        tcp::echo(&stream, 5, 64 << 20).with_context(|| address.to_string())?;
    }
    server.stop()?;
    pair.host.enter(|| TcpListener::bind("198.18.0.2:7"))?.context("the port was not given back")?;
    Ok(())
}

/// A client in a network that Linux reaches through a router, by a route that is not the default one.
#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn linuxs_routes_are_freeways_too() -> Result<()> {
    let Some(pair) = Pair::lay("afxdp_routes", 1, 1_500)? else { return Ok(()) };
    pair.share()?;
    pair.client.address("lo", "198.19.4.1/32")?;
    let ask = || pair.client.run("curl -s -m 3 --interface 198.19.4.1 http://198.18.0.2/");
    let start = || Server::start(&pair.host, &["--dev", DEVICE, "--shared-address"]);
    let server = start()?;
    ensure!(ask().is_err(), "an answer found a way that there is not");
    // A running server learns of it, and of its end; another that starts meanwhile knows it from the start.
    let found = || ask().is_ok_and(|page| page.contains("Freeway"));
    let route = "198.19.4.0/24 via 198.18.0.1";
    pair.host.ip(&format!("route add {route}"))?;
    ensure!(patiently(found), "no answer over the new route");
    server.stop()?;
    let server = start()?;
    ensure!(found(), "no answer over the route");
    pair.host.ip(&format!("route delete {route}"))?;
    ensure!(patiently(|| !found()), "an answer over a route that is gone");
    // A reload neither hinders that nor undoes it.
    server.hang_up()?;
    pair.host.ip("route add default via 198.18.0.1")?;
    ensure!(patiently(found), "no answer over the default route");
    server.hang_up()?;
    ensure!(found(), "a reload lost the route");
    server.stop()
}

/// What is for everybody is for Linux: a DHCP server beside Freeway, say.
#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn broadcasts_are_linuxs() -> Result<()> {
    for shared in [true, false] {
        let Some(pair) = Pair::lay("afxdp_broadcast", 1, 1_500)? else { return Ok(()) };
        let server = if shared {
            pair.share()?;
            Server::start(&pair.host, &["--dev", DEVICE, "--shared-address"])?
        } else {
            pair.host.address(SERVER, "198.18.0.3/24")?;
            pair.serve(DEVICE, &[])?
        };
        // 255.255.255.255 leaves by the interface that a route names.
        for (namespace, end) in [(&pair.client, CLIENT), (&pair.host, SERVER)] {
            namespace.ip(&format!("route add 255.255.255.255/32 dev {end}"))?;
        }
        let open = |namespace: &Namespace, port: u16| -> Result<UdpSocket> {
            let socket = namespace.enter(|| UdpSocket::bind(("0.0.0.0", port)))??;
            socket.set_broadcast(true)?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(socket)
        };
        let (host, client) = (open(&pair.host, 67)?, open(&pair.client, 68)?);
        let mut room = [0; 600];
        for all in ["255.255.255.255", "198.18.0.255"] {
            client.send_to(&[1; 300], (all, 67))?;
            let (length, from) =
                host.recv_from(&mut room).with_context(|| format!("{all}, shared {shared}"))?;
            ensure!((length, from.port()) == (300, 68), "{length} bytes from {from}");
            host.send_to(&[2; 320], (all, 68))?;
            ensure!(client.recv(&mut room).with_context(|| format!("{all} back"))? == 320);
        }
        answers(&pair.client)?;
        server.stop()?;
    }
    Ok(())
}

/// By the kernel's account, with all its threads: less than a hundredth of a processor.
#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn an_idle_server_leaves_the_processor_alone() -> Result<()> {
    for idle in ["sleep", "adaptive"] {
        let Some(pair) = Pair::lay("afxdp_idle", 1, 1_500)? else { return Ok(()) };
        let server = pair.serve(DEVICE, &["--idle", idle])?;
        // Connections that are open and say nothing cost nothing either.
        let streams = tcp::connect_many(&pair.client, at(SERVER_V4, port::ECHO), 100)?;
        std::thread::sleep(Duration::from_secs(1));
        let (before, begun) = (server.processor_time()?, Instant::now());
        std::thread::sleep(Duration::from_secs(3));
        let (used, elapsed) = (server.processor_time()? - before, begun.elapsed());
        println!(
            "{idle}: {used:?} of {elapsed:?}, {:.3}%",
            100.0 * used.as_secs_f64() / elapsed.as_secs_f64()
        );
        ensure!(used > Duration::ZERO, "nothing was measured");
        ensure!(used < elapsed / 100, "{idle}: {used:?} of {elapsed:?}");
        drop(streams);
        server.stop()?;
    }
    Ok(())
}

/// An address that Linux has and one that it has not, on one interface.
#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn shared_and_own_addresses_live_together() -> Result<()> {
    let Some(pair) = Pair::lay("afxdp_both", 1, 1_500)? else { return Ok(()) };
    pair.share()?;
    let more = ["--dev", DEVICE, "--shared-address", "--addr", "198.18.0.7/24", "--addr", "fdc1::7/64"];
    let server = Server::start(&pair.host, &more)?;
    answers(&pair.client)?;
    for own in ["198.18.0.7", "fdc1::7"] {
        pair.client.run(&format!("ping -q -c 2 -i 0.1 -W 2 {own}"))?;
        let mut stream = tcp::connect(&pair.client, at(own.parse()?, port::ECHO))?;
        tcp::say_and_hear(&mut stream, b"own").with_context(|| own.to_string())?;
    }
    server.kill()?;
    pair.client.run("ping -q -c 2 -i 0.1 -W 2 198.18.0.2")?;
    let gone = pair.client.run("ping -q -c 1 -W 1 198.18.0.7");
    ensure!(gone.is_err(), "an address that nobody has was answered");
    Ok(())
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn auto_makes_a_pair_and_takes_it_back() -> Result<()> {
    if !privilege::granted("afxdp_auto") {
        return Ok(());
    }
    let host = Namespace::new("auto")?;
    let serve = || Server::start(&host, &["--dev", "auto"]);
    let server = serve()?;
    ensure!(server.ready_line().contains("dev=afxdp:freeway0-xdp"), "{}", server.ready_line());
    answers(&host)?;
    let second = serve().err().context("a second server took the same pair")?;
    ensure!(format!("{second:#}").contains("has an XDP program already"), "{second:#}");
    answers(&host)?;
    // Whoever ends a service ends all of its processes: the one that removes the pair has to stay for that.
    ensure!(server.terminate_children()? == 1, "nobody keeps the pair");
    std::thread::sleep(Duration::from_millis(50));
    server.stop()?;
    ensure!(host.run("ip link show freeway0").is_err(), "freeway0 is still there");

    // A process of its own takes back what a killed server leaves behind.
    serve()?.kill()?;
    ensure!(patiently(|| host.run("ip link show freeway0").is_err()), "freeway0 outlives its server");

    // Without that process it is for the next server to do.
    Server::start(&host, &["--dev", "auto", "--protect", "false"])?.kill()?;
    host.run("ip link show freeway0")?;
    let server = patient_start(serve)?;
    answers(&host)?;
    server.stop()?;
    ensure!(host.run("ip link show freeway0").is_err(), "freeway0 is still there");
    Ok(())
}

/// What the service's unit leaves a server of root's capabilities.
#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn the_units_capabilities_are_enough() -> Result<()> {
    if !privilege::granted_with("afxdp_unit", &["setpriv"]) {
        return Ok(());
    }
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/freeway.service");
    let unit = std::fs::read_to_string(unit)?;
    let given =
        unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).context("the set")?;
    let names = given.split(' ').map(|name| name.to_lowercase().replacen("cap_", "+", 1));
    let set = format!("-all,{}", names.collect::<Vec<_>>().join(","));
    let host = Namespace::new("host")?;
    // As systemd starts it: root has what the bounding set leaves.
    let wrapper = ["setpriv", "--bounding-set", &set, "--inh-caps", &set];
    let server = Server::start_by(&host, &wrapper, &["serve", "--dev", "auto"])?;
    ensure!(server.ready_line().contains("dev=afxdp:freeway0-xdp"), "{}", server.ready_line());
    answers(&host)?;
    server.stop()?;
    // Without one of them there is something else to serve on.
    let less = set.replace(",+perfmon", "");
    let wrapper = ["setpriv", "--bounding-set", &less, "--inh-caps", &less];
    let server = Server::start_by(&host, &wrapper, &["serve", "--dev", "auto"])?;
    ensure!(server.ready_line().contains("dev=tap:freeway0"), "{}", server.ready_line());
    server.stop()
}

/// The kernel takes a killed process's program off a moment later.
fn patient_start(serve: impl Fn() -> Result<Server>) -> Result<Server> {
    let mut started = serve();
    patiently(|| {
        if started.is_err() {
            started = serve();
        }
        started.is_ok()
    });
    started
}

fn patiently(mut is_so: impl FnMut() -> bool) -> bool {
    let over = Instant::now() + Duration::from_secs(5);
    while Instant::now() < over {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// Runs `work`, which moves `length` bytes, and prints how fast it was.
fn report_rate(what: &str, length: u64, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    work().context(what.to_string())?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {length} bytes in {seconds:.2} s, {:.2} Gbit/s", length as f64 * 8e-9 / seconds);
    Ok(())
}
