//! What a person sees of a running server, beside what Linux's own tools see: ss, tcpdump, tshark, curl, a browser.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use freeway_filter::Program;
use freeway_interop::lab::{SERVER_V4, SERVER_V6, SERVERS, at, port};
use freeway_interop::netns::Namespace;
use freeway_interop::peer::{tcp, udp};
use freeway_interop::privilege;
use freeway_interop::server::{Server, binary};
use freeway_interop::shell::output;
use pcap_file::pcapng::{Block, PcapNgReader};
use tempfile::TempDir;

/// Where the server's figures are.
const METRICS: &str = "http://198.18.0.2:9100";

/// A server behind a TAP device, with an admin socket and its figures on port 9100.
struct Seen {
    server: Server,
    host: Namespace,
    folder: TempDir,
}

impl Seen {
    /// None when `test` is to be skipped.
    fn new(test: &str, programs: &[&str]) -> Result<Option<Self>> {
        if !privilege::granted_with(test, programs) {
            return Ok(None);
        }
        let (host, folder) = (Namespace::new("host")?, tempfile::tempdir()?);
        let admin = folder.path().join("admin.sock").display().to_string();
        let server = Server::start(
            &host,
            &["--dev", "tap:fw0", "--addr", "198.18.0.2/24", "--addr", "fdc1::2/64", "--cores", "0"]
                .into_iter()
                .chain(["--admin", &admin, "--metrics", ":9100"])
                .collect::<Vec<_>>(),
        )?;
        Ok(Some(Self { server, host, folder }))
    }

    /// A command that asks the server.
    fn ask(&self, line: &str) -> Result<Command> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(binary()?);
        command.args(words.next()).arg("--admin").arg(self.folder.path().join("admin.sock")).args(words);
        Ok(command)
    }

    /// What it answers.
    fn answer(&self, line: &str) -> Result<String> {
        output(&mut self.ask(line)?)
    }

    /// Begins a capture, and waits until it runs.
    fn capture(&self, file: &str, arguments: &str) -> Result<(Child, PathBuf)> {
        let path = self.folder.path().join(file);
        let mut command = self.ask(&format!("pcap -w {} {arguments}", path.display()))?;
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let begun = Instant::now();
        // The file's head is written when the cores have their orders; they take them in their next turn.
        while fs::metadata(&path).map_or(0, |found| found.len()) == 0 {
            ensure!(begun.elapsed() < Duration::from_secs(10), "the capture does not begin");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(50));
        Ok((child, path))
    }

    fn stop(self) -> Result<()> {
        self.server.stop()
    }
}

/// Ends a capture as a person does, by Ctrl-C.
fn interrupt(mut capture: Child) -> Result<()> {
    output(Command::new("kill").args(["-INT", &capture.id().to_string()]))?;
    let ended = capture.wait()?;
    ensure!(ended.success(), "the capture ended with {ended}");
    Ok(())
}

/// A little of everything: ping, HTTP, echo by TCP and UDP, over both versions.
fn traffic(seen: &Seen) -> Result<()> {
    for server in SERVERS {
        seen.host.run(&format!("ping -q -c 2 -i 0.1 -W 2 {server}"))?;
        let mut stream = tcp::connect(&seen.host, at(server, port::ECHO))?;
        tcp::say_and_hear(&mut stream, &vec![7; 5_000])?;
        let socket = udp::connect(&seen.host, at(server, port::ECHO))?;
        udp::say_and_hear(&socket, b"a datagram", 3)?;
    }
    seen.host.run("curl -sS -o /dev/null http://198.18.0.2/")?;
    Ok(())
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn ss_shows_each_connection_that_linux_has() -> Result<()> {
    let Some(seen) = Seen::new("ss", &[])? else { return Ok(()) };
    let open = |server| -> Result<Vec<TcpStream>> {
        (0..20).map(|_| tcp::connect(&seen.host, at(server, port::ECHO))).collect()
    };
    let (v4, v6) = (open(SERVER_V4)?, open(SERVER_V6)?);
    for mut stream in v4.iter().chain(&v6) {
        stream.write_all(b"x")?;
    }
    // Linux's end of each: its own place, as the server's peer.
    let of_linux: BTreeSet<String> = seen
        .host
        .run("ss -Htn state established dport = :7")?
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2).map(str::to_owned))
        .collect();
    let shown = |filter: &str| -> Result<BTreeSet<String>> {
        let text = seen.answer(&format!("ss -Ht {filter}"))?;
        Ok(text.lines().filter_map(|line| line.split_whitespace().nth(5).map(str::to_owned)).collect())
    };
    ensure!(of_linux.len() == 40, "{of_linux:?}");
    ensure!(shown("state established sport = :7")? == of_linux);
    ensure!(shown("-4")?.len() == 20 && shown("-6")?.len() == 20 && shown("dst fdc1::/64")?.len() == 20);
    ensure!(shown("not dst 198.18.0.0/24 and not dst fdc1::1")?.is_empty());
    let mine = v4[0].local_addr()?;
    ensure!(shown(&format!("dst {mine}"))? == BTreeSet::from([mine.to_string()]));

    let details = seen.answer(&format!("ss -Hti dst {mine}"))?;
    ensure!(
        ["cubic", "rtt:", "cwnd:10", "sack", "ts"].iter().all(|word| details.contains(word)),
        "{details}"
    );
    let sums = seen.answer("ss -s")?;
    ensure!(sums.contains("estab 40"), "{sums}");
    let waiting = seen.answer("ss -Hl")?;
    ensure!(waiting.lines().filter(|line| line.starts_with("udp")).count() == 3, "{waiting}");
    drop((v4, v6));
    seen.stop()
}

/// The frames of a capture.
fn frames(path: &Path) -> Result<Vec<Vec<u8>>> {
    let file = fs::read(path)?;
    let mut reader = PcapNgReader::new(&file[..])?;
    let mut frames = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block? {
            frames.push(packet.data.to_vec());
        }
    }
    Ok(frames)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn tshark_reads_a_capture_and_finds_what_passed() -> Result<()> {
    let Some(seen) = Seen::new("pcap", &["tshark", "capinfos"])? else { return Ok(()) };
    let (all, path) = seen.capture("all.pcapng", "")?;
    let (some, http) = seen.capture("http.pcapng", "-s 96 tcp port 80 and dst 198.18.0.2")?;
    traffic(&seen)?;
    interrupt(all)?;
    interrupt(some)?;

    let read = |path: &Path, filter: &str| -> Result<Vec<String>> {
        let file = path.display().to_string();
        let text =
            output(Command::new("tshark").args(["-n", "-r", &file, "-Y", filter, "-T", "fields"]).args([
                "-e",
                "frame.interface_name",
                "-e",
                "frame.packet_flags_direction",
                "-e",
                "frame.cap_len",
            ]))?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    for (filter, least) in [
        ("icmp", 4),
        ("icmpv6.type == 128", 2),
        ("icmpv6.type == 129", 2),
        ("udp.port == 7", 4),
        ("http", 2),
        ("tcp.port == 7", 10),
    ] {
        let found = read(&path, filter)?;
        ensure!(found.len() >= least, "{filter}: {found:?}");
        ensure!(found.iter().all(|line| line.starts_with("fw0\t")), "{filter}: {found:?}");
    }
    // Requests came in, their answers went out; sums and lengths are as they should be.
    let ways = |filter: &str| -> Result<BTreeSet<String>> {
        Ok(read(&path, filter)?
            .iter()
            .filter_map(|line| line.split('\t').nth(1).map(str::to_owned))
            .collect())
    };
    let inbound = ways("icmp.type == 8")?;
    ensure!(inbound.len() == 1 && ways("icmp.type == 0")?.is_disjoint(&inbound), "{inbound:?}");
    ensure!(read(&path, "ip.src == 198.18.0.2 && (ip.bogus_header_length || _ws.malformed)")?.is_empty());

    let found = read(&http, "tcp.dstport == 80")?;
    ensure!(found.len() >= 4 && found.len() == read(&http, "frame")?.len(), "{found:?}");
    ensure!(found.iter().all(|line| {
        line.split('\t').nth(2).and_then(|len| len.parse().ok()).is_some_and(|len: u32| len <= 96)
    }));
    let about = output(Command::new("capinfos").arg(&path))?;
    ensure!(about.contains("Name = fw0") && about.contains("Number of stat entries = 1"), "{about}");
    seen.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn filters_take_what_tcpdump_takes() -> Result<()> {
    let Some(seen) = Seen::new("filters", &["tcpdump"])? else { return Ok(()) };
    let (all, path) = seen.capture("all.pcapng", "")?;
    traffic(&seen)?;
    interrupt(all)?;
    // Tcpdump does not look behind extension headers, which Linux's reports of groups have.
    let is_plain = |frame: &Vec<u8>| frame.get(12..14) != Some(&[0x86, 0xdd]) || frame.get(20) != Some(&0);
    let captured: Vec<_> = frames(&path)?.into_iter().filter(is_plain).collect();
    let (mut taken_some, mut left_some) = (0, 0);
    for filter in [
        "ip",
        "ip6",
        "arp",
        "tcp",
        "udp",
        "icmp",
        "icmp6",
        "host 198.18.0.1",
        "src host 198.18.0.1",
        "dst host fdc1::2",
        "net 198.18.0.0/15",
        "src net fdc1::/64",
        "port 7",
        "src port 7",
        "dst port 7",
        "tcp port 7",
        "udp dst port 7",
        "portrange 1-79",
        "tcp src portrange 7-80",
        "port 80 or 7",
        "host 198.18.0.1 or fdc1::1",
        "less 80",
        "greater 80",
        "broadcast",
        "multicast",
        "ether multicast",
        "vlan",
        "not tcp",
        "! udp and ! tcp",
        "arp host 198.18.0.2",
        "ip host 198.18.0.2",
        "ip6 host fdc1::1",
        "src or dst host 198.18.0.2",
        "src and dst net 198.18.0.0/24",
        "tcp or udp and port 80",
        "tcp or (udp and port 80)",
        "not tcp or udp",
        // Behind IPv6 tcpdump does not find them.
        "ip and tcp[tcpflags] & tcp-syn != 0",
        "ip and tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)",
        "ip and tcp[13] & 4 == 0",
        "tcp && !port 7 || icmp",
        "dst 198.18.0.1 and (icmp or tcp port 80)",
        "src port 80 and dst host 198.18.0.1 and not tcp[tcpflags] & tcp-fin != 0",
    ] {
        let out = path.with_extension("tcpdump");
        let (from, to) = (path.display().to_string(), out.display().to_string());
        let plain = format!("({filter}) and not (ip6 and ip6[6] == 0)");
        output(Command::new("tcpdump").args(["-n", "-r", &from, "-w", &to, &plain]))?;
        let count = output(Command::new("tcpdump").args(["-n", "-r", &to]))?.lines().count();
        let program: Program = filter.parse()?;
        let taken = captured.iter().filter(|frame| program.takes(frame)).count();
        ensure!(taken == count, "`{filter}` takes {taken} frames of {}, tcpdump {count}", captured.len());
        taken_some += usize::from(taken > 0);
        left_some += usize::from(taken < captured.len());
    }
    ensure!(
        taken_some > 30 && left_some > 40,
        "{taken_some} filters took something, {left_some} left something"
    );
    seen.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn figures_are_served_over_http() -> Result<()> {
    let Some(seen) = Seen::new("metrics", &[])? else { return Ok(()) };
    traffic(&seen)?;
    // Figures are a second old at most.
    std::thread::sleep(Duration::from_millis(1_500));
    let head = seen.host.run(&format!("curl -sS -i {METRICS}/metrics"))?;
    let (head, text) = head.split_once("\r\n\r\n").context("a head and a body")?;
    ensure!(head.contains("200 OK") && head.contains("text/plain; version=0.0.4"), "{head}");
    let values: BTreeMap<&str, f64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' ').and_then(|(name, value)| Some((name, value.parse().ok()?))))
        .collect();
    let value = |name: &str| values.get(name).copied().with_context(|| format!("{name} is missing"));
    ensure!(value("freeway_http_requests_total{core=\"0\"}")? == 1.0);
    ensure!(value("freeway_tcp_accepted_total{core=\"0\"}")? >= 3.0);
    ensure!(value("freeway_port_rx_frames_total{core=\"0\",port=\"fw0\"}")? > 20.0);
    ensure!(value("freeway_table_places{core=\"0\",table=\"connections\"}")? == 65_536.0);
    ensure!(value("freeway_burst_frames_count{core=\"0\"}")? > 10.0);

    let page = seen.host.run(&format!("curl -sS {METRICS}/"))?;
    ensure!(page.contains("/stats.json") && page.contains("</html>"), "{page}");
    let stats = seen.host.run(&format!("curl -sS {METRICS}/stats.json"))?;
    ensure!(
        stats.starts_with('{') && stats.contains("\"rates\":[") && stats.contains("rx_frames_per_s"),
        "{stats}"
    );
    // The port that everybody reaches tells nothing of this.
    let elsewhere = seen.host.run("curl -sS -o /dev/null -w %{http_code} http://198.18.0.2/metrics")?;
    ensure!(elsewhere == "404", "{elsewhere}");
    seen.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_browser_shows_the_live_page() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let browser = std::env::split_paths(&path)
        .flat_map(|folder| ["chromium", "google-chrome"].map(|name| folder.join(name)))
        .find(|program| program.is_file());
    let Some(browser) = browser else {
        // It is hundreds of megabytes, so the tests' packages do not have it.
        let _ = writeln!(
            std::io::stderr(),
            "*** SKIPPED browser: there is no chromium; `apt-get install chromium` ***"
        );
        return Ok(());
    };
    let Some(seen) = Seen::new("browser", &[])? else { return Ok(()) };
    traffic(&seen)?;
    let profile = seen.folder.path().join("profile");
    let document = output(
        seen.host
            .command(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"])
            .args(["--virtual-time-budget=4000", &format!("--user-data-dir={}", profile.display())])
            .arg(format!("{METRICS}/")),
    )?;
    for part in ["ready dev=tap:fw0", "process ", "<td>all</td>", "<td>connections</td>", "up to 32 µs"] {
        ensure!(document.contains(part), "no {part:?} in the page:\n{document}");
    }
    ensure!(document.contains("<p id=\"state\" class=\"\">"), "the page lost its server:\n{document}");
    seen.stop()
}
