//! Sums that Freeway leaves to the kernel, or fills in by itself, on a veth pair: Linux on the other end takes both.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use freeway_interop::lab::{SERVER_V4, SERVERS, at, port};
use freeway_interop::netns::Namespace;
use freeway_interop::pair::{Pair, SERVER};
use freeway_interop::peer::{tcp, udp};
use freeway_interop::server::Server;

/// Fewer frames than 16 MiB take.
const MANY: u64 = 10_000;
/// The port of the server's figures.
const METRICS: u16 = 9_100;

/// TCP and UDP to one address, both ways, with lengths odd and even.
fn answers(client: &Namespace, server: IpAddr) -> Result<()> {
    let stream = tcp::connect(client, at(server, port::ECHO))?;
    tcp::echo(&stream, 3, (16 << 20) + 1)?;
    let socket = udp::connect(client, at(server, port::ECHO))?;
    for length in [1, 2, 999, 1_400, 4_001] {
        udp::say_and_hear(&socket, &vec![0xa5; length], 3).with_context(|| format!("{length} bytes"))?;
    }
    Ok(())
}

/// How often `name` stands in what Linux counts of its protocols, in sum.
fn counted(client: &Namespace, name: &str) -> Result<u64> {
    let mut sum = 0;
    // A line of names, and one of numbers below it.
    let table = client.run("cat /proc/net/snmp")?;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    for [names, numbers] in lines.as_chunks::<2>().0 {
        for (_, number) in names.iter().zip(numbers).filter(|(other, _)| **other == name) {
            sum += number.parse::<u64>()?;
        }
    }
    // A name and a number in each line.
    for line in client.run("cat /proc/net/snmp6")?.lines() {
        if let Some((other, number)) = line.split_once(char::is_whitespace)
            && other.ends_with(name)
        {
            sum += number.trim().parse::<u64>()?;
        }
    }
    Ok(sum)
}

/// Frames that the server has sent, and those of them with a request, by its own account, which lags behind: once it says
/// `least`, or after ten seconds.
fn sent(client: &Namespace, least: u64) -> Result<(u64, u64)> {
    let over = Instant::now() + Duration::from_secs(10);
    loop {
        let figures = client.run(&format!("curl -s -m 5 http://{SERVER_V4}:{METRICS}/metrics"))?;
        let figure = |name: &str| -> Result<u64> {
            let line = figures.lines().find(|line| line.starts_with(&format!("freeway_port_{name}_total{{")));
            let (_, count) = line.and_then(|line| line.rsplit_once(' ')).with_context(|| name.to_owned())?;
            Ok(count.parse::<f64>()? as u64)
        };
        let counts = (figure("tx_frames")?, figure("tx_checksum_requests")?);
        if counts.0 > least || Instant::now() > over {
            return Ok(counts);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Serves on a pair, and tells of figures.
fn serve(pair: &Pair, device: &str) -> Result<Server> {
    pair.serve(device, &["--gateway", "198.18.0.1", "--metrics", &format!(":{METRICS}")])
}

/// Serves on a pair, asks from its other end, and sees who filled in sums.
fn check(pair: &Pair, device: &str, asks: bool) -> Result<()> {
    let server = serve(pair, device)?;
    for address in SERVERS {
        answers(&pair.client, address).with_context(|| address.to_string())?;
    }
    // Of both versions.
    let least = 2 * MANY;
    let (frames, requests) = sent(&pair.client, least)?;
    ensure!(frames > least, "{frames} frames");
    // All but ARP's, and a datagram's fragments.
    let expected = if asks { frames - 200..frames } else { 0..1 };
    ensure!(expected.contains(&requests), "{requests} requests of {frames} frames");
    ensure!(counted(&pair.client, "InCsumErrors")? == 0, "Linux found sums wrong");
    server.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn linux_takes_sums_whoever_fills_them_in() -> Result<()> {
    for (settings, asks) in [("", true), (",tx-checksum=off", false)] {
        let Some(pair) = Pair::lay("afxdp_sums", 1, 1_500)? else { return Ok(()) };
        check(&pair, &format!("afxdp:{SERVER}{settings}"), asks).with_context(|| settings.to_owned())?;
    }
    Ok(())
}

/// Behind Linux lies a wire, as good as one: nothing on it is left to a device, and its other end verifies.
#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn linux_fills_in_what_was_left_to_it_where_it_forwards() -> Result<()> {
    let Some(pair) = Pair::lay("afxdp_sums", 1, 1_500)? else { return Ok(()) };
    let far = Namespace::new("far")?;
    pair.client.join("near0", &far, "far0")?;
    pair.client.address("near0", "198.19.0.1/24")?;
    pair.client.set("net/ipv4/ip_forward", "1")?;
    far.address("far0", "198.19.0.2/24")?;
    far.ip("route add default via 198.19.0.1")?;
    let server = serve(&pair, &format!("afxdp:{SERVER}"))?;
    answers(&far, SERVER_V4)?;
    let (frames, requests) = sent(&pair.client, MANY)?;
    ensure!(frames > MANY && requests > frames / 2, "{requests} requests of {frames} frames");
    ensure!(counted(&far, "InCsumErrors")? == 0, "Linux forwarded wrong sums");
    server.stop()
}
