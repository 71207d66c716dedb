//! `freeway ss`: a server's sockets, as ss shows Linux's.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use freeway_control::sockets::{Details, Filter, Netid, Socket, States, Summary, Wanted};

use super::Whom;
use super::screen::short;

/// Shows a running server's sockets: one a line, with the core that it lives on.
///
/// FILTER is ss's: states first (state established, exclude listening), then src and dst with addresses, networks and ports,
/// sport and dport, core, joined by and, or, not and parentheses.
///
/// Example: freeway ss -i state established dst 198.18.0.0/24 and sport = :80
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Listening sockets, too, and those about to open or gone but for TIME-WAIT.
    #[arg(short, long)]
    all: bool,
    /// Listening sockets only.
    #[arg(short, long)]
    listening: bool,
    /// TCP's sockets [default: TCP's and UDP's]
    #[arg(short, long)]
    tcp: bool,
    /// UDP's sockets.
    #[arg(short, long)]
    udp: bool,
    /// IPv4 only.
    #[arg(short = '4', long)]
    ipv4: bool,
    /// IPv6 only.
    #[arg(short = '6', long)]
    ipv6: bool,
    /// What TCP knows of each connection, in a second line.
    #[arg(short, long)]
    info: bool,
    /// How many there are, by state.
    #[arg(short, long)]
    summary: bool,
    /// No line with the columns' names.
    #[arg(short = 'H', long)]
    no_header: bool,
    /// Addresses and ports are always numbers; this is here for the habit.
    #[arg(short, long)]
    numeric: bool,
    /// Writes one JSON object to FILE (- for standard output) instead of lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Which sockets.
    #[arg(trailing_var_arg = true, value_name = "FILTER")]
    filter: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let wanted = wanted(args)?;
    // A mistake is found before anybody is asked.
    wanted.filter.parse::<Filter>()?;
    let client = args.whom.connect()?;
    let ended = match &args.json {
        Some(path) if path.as_os_str() == "-" => json(client, wanted, io::stdout().lock()),
        Some(path) => {
            let file = File::create(path).with_context(|| format!("--json {}", path.display()))?;
            json(client, wanted, file)
        }
        None => lines(client, wanted, !args.no_header, io::stdout().lock()),
    };
    // Whoever reads only the beginning, such as head, ends the list and is no failure.
    match ended {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        ended => ended,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn wanted(args: &Args) -> Result<Wanted> {
    if args.all && args.listening {
        bail!("--all shows listening sockets, too: give one of --all and --listening");
    }
    let states = match (args.all, args.listening) {
        (true, _) => States::all(),
        (_, true) => States::WAITING,
        _ if args.summary => States::all(),
        _ => States::USUAL,
    };
    let (every_kind, every_family) = (args.tcp == args.udp, args.ipv4 == args.ipv6);
    Ok(Wanted {
        filter: args.filter.join(" "),
        states: states.bits(),
        tcp: args.tcp || every_kind,
        udp: args.udp || every_kind,
        ipv4: args.ipv4 || every_family,
        ipv6: args.ipv6 || every_family,
        details: args.info,
        summary: args.summary,
    })
}

/// One object: its sockets as they come, then how many there were.
fn json(mut client: freeway_control::Client, wanted: Wanted, out: impl Write) -> Result<()> {
    let mut out = BufWriter::new(out);
    out.write_all(b"{\"sockets\":[")?;
    let mut between = "\n";
    let summary = client.sockets(wanted, |socket| -> Result<()> {
        out.write_all(between.as_bytes())?;
        between = ",\n";
        Ok(serde_json::to_writer(&mut out, &socket)?)
    })?;
    out.write_all(b"\n],\"summary\":")?;
    serde_json::to_writer(&mut out, &summary)?;
    out.write_all(b"}\n")?;
    Ok(out.flush()?)
}

fn lines(mut client: freeway_control::Client, wanted: Wanted, header: bool, out: impl Write) -> Result<()> {
    let mut out = BufWriter::new(out);
    let summary_only = wanted.summary;
    if header && !summary_only {
        let names = ["Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port", "Core"];
        row(&mut out, names)?;
    }
    let summary = client.sockets(wanted, |socket| show(&mut out, &socket))?;
    if summary_only {
        sums(&mut out, &summary)?;
    }
    Ok(out.flush()?)
}

fn row(out: &mut impl Write, cells: [&str; 7]) -> Result<()> {
    let [netid, state, recv, send, local, peer, core] = cells;
    Ok(writeln!(out, "{netid:<6}{state:<11}{recv:<7}{send:<7}{local:>27} {peer:>27}  {core}")?)
}

fn show(out: &mut impl Write, socket: &Socket) -> Result<()> {
    let netid = if socket.netid == Netid::Udp { "udp" } else { "tcp" };
    let (recv, send) = (socket.recv_q.to_string(), socket.send_q.to_string());
    let (local, peer) = (place(socket.local, Some(socket.local_port)), place(socket.peer, socket.peer_port));
    row(out, [netid, &socket.state, &recv, &send, &local, &peer, &socket.core.to_string()])?;
    if let Some(details) = &socket.tcp {
        writeln!(out, "\t {}", told(details))?;
    }
    Ok(())
}

/// An address and a port as ss writes them.
fn place(addr: Option<std::net::IpAddr>, port: Option<u16>) -> String {
    let port = port.map_or_else(|| "*".to_owned(), |port| port.to_string());
    match addr {
        None => format!("*:{port}"),
        Some(std::net::IpAddr::V4(addr)) => format!("{addr}:{port}"),
        Some(std::net::IpAddr::V6(addr)) => format!("[{addr}]:{port}"),
    }
}

/// What TCP knows of a connection, by ss's words. Windows are in segments there, and so they are here.
fn told(tcp: &Details) -> String {
    let ms = |us: u64| {
        let text = format!("{:.3}", us as f64 / 1e3);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let mss = u32::from(tcp.mss_bytes.max(1));
    let rate = |bytes: u64| short(bytes as f64 * 8.0).replace(' ', "") + "bps";
    let mut words: Vec<String> = Vec::new();
    let mut say = |word: String| words.push(word);
    for (there, name) in [(tcp.timestamps, "ts"), (tcp.sack, "sack"), (tcp.ecn, "ecn")] {
        if there {
            say(name.to_owned());
        }
    }
    if let Some(congestion) = &tcp.congestion {
        say(congestion.clone());
    }
    say(format!("wscale:{},{}", tcp.window_scale_peer, tcp.window_scale));
    say(format!("rto:{}", ms(tcp.rto_us)));
    if tcp.backoff > 0 {
        say(format!("backoff:{}", tcp.backoff));
    }
    if let Some(rtt) = tcp.rtt_us {
        say(format!("rtt:{}/{}", ms(rtt), ms(tcp.rttvar_us)));
    }
    if let Some(ato) = tcp.ack_timeout_us {
        say(format!("ato:{}", ms(ato)));
    }
    say(format!("mss:{}", tcp.mss_bytes));
    if let Some(mtu) = tcp.path_mtu_bytes {
        say(format!("pmtu:{mtu}"));
    }
    say(format!("rcvmss:{}", tcp.mss_received_bytes));
    say(format!("advmss:{}", tcp.mss_advertised_bytes));
    say(format!("cwnd:{}", tcp.cwnd_bytes.div_ceil(mss)));
    if let Some(ssthresh) = tcp.ssthresh_bytes {
        say(format!("ssthresh:{}", ssthresh / mss));
    }
    if let Some(rtt) = tcp.rtt_us.filter(|rtt| *rtt > 0) {
        say(format!("send {}", rate(u64::from(tcp.cwnd_bytes) * 1_000_000 / rtt)));
    }
    if let Some(since) = tcp.since_sent_ms {
        say(format!("lastsnd:{since}"));
    }
    say(format!("lastrcv:{}", tcp.since_received_ms));
    if let Some(since) = tcp.since_acked_ms {
        say(format!("lastack:{since}"));
    }
    if let Some(pacing) = tcp.pacing_rate_bytes_per_s {
        say(format!("pacing_rate {}", rate(pacing)));
    }
    if let Some(delivery) = tcp.delivery_rate_bytes_per_s {
        say(format!("delivery_rate {}", rate(delivery)));
    }
    if tcp.in_flight_bytes > 0 {
        say(format!("unacked:{}", tcp.in_flight_bytes.div_ceil(mss)));
    }
    if tcp.retransmitted_segments > 0 || tcp.retries > 0 {
        say(format!("retrans:{}/{}", tcp.retries, tcp.retransmitted_segments));
    }
    for (bytes, name) in [(tcp.lost_bytes, "lost"), (tcp.sacked_bytes, "sacked")] {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
            say(format!("{name}:{}", bytes.div_ceil(mss)));
        }
    }
    if tcp.recovery != "open" {
        say(format!("recovery:{}", tcp.recovery));
    }
    if let Some(rtt) = tcp.receiver_rtt_us {
        say(format!("rcv_rtt:{}", ms(rtt)));
    }
    say(format!("rcv_space:{}", tcp.receive_space_bytes));
    say(format!("rcv_wnd:{}", tcp.receive_window_bytes));
    say(format!("snd_wnd:{}", tcp.send_window_bytes));
    if tcp.not_sent_bytes > 0 {
        say(format!("notsent:{}", tcp.not_sent_bytes));
    }
    if let Some(min) = tcp.min_rtt_us {
        say(format!("minrtt:{}", ms(min)));
    }
    for (there, name) in [
        (tcp.out_of_order, "rcv_ooopack"),
        (tcp.window_limited, "rwnd_limited"),
        (tcp.congestion_limited, "cwnd_limited"),
    ] {
        if there {
            say(name.to_owned());
        }
    }
    words.join(" ")
}

fn sums(out: &mut impl Write, summary: &Summary) -> Result<()> {
    writeln!(out, "Total: {}", summary.sockets)?;
    let tcp: u64 = summary.tcp.values().sum();
    let states: Vec<String> =
        summary.tcp.iter().map(|(state, count)| format!("{} {count}", state.to_lowercase())).collect();
    writeln!(out, "TCP:   {tcp} ({})", states.join(", "))?;
    Ok(writeln!(out, "UDP:   {}", summary.udp)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_told_by_sss_words() -> Result<()> {
        let details = Details {
            congestion: Some("cubic".to_owned()),
            timestamps: true,
            sack: true,
            window_scale_peer: 7,
            window_scale: 9,
            rtt_us: Some(1_500),
            rttvar_us: 250,
            rto_us: 201_500,
            mss_bytes: 1_448,
            path_mtu_bytes: Some(1_500),
            cwnd_bytes: 14_480,
            in_flight_bytes: 1_449,
            retransmitted_segments: 3,
            recovery: "recovery".to_owned(),
            delivery_rate_bytes_per_s: Some(1_250_000),
            ..Details::default()
        };
        let socket = Socket {
            netid: Netid::Tcp,
            state: "ESTAB".to_owned(),
            recv_q: 0,
            send_q: 1_449,
            local: Some("198.18.0.2".parse()?),
            local_port: 80,
            peer: Some("2001:db8::7".parse()?),
            peer_port: Some(40_000),
            core: 1,
            service: 3,
            open: None,
            remaining_ms: None,
            tcp: Some(Box::new(details)),
        };
        let mut out = Vec::new();
        show(&mut out, &socket)?;
        let text = String::from_utf8(out)?;
        let (first, second) = text.split_once('\n').context("two lines")?;
        let cells: Vec<&str> = first.split_whitespace().collect();
        assert_eq!(cells, ["tcp", "ESTAB", "0", "1449", "198.18.0.2:80", "[2001:db8::7]:40000", "1"]);
        for word in [
            "ts sack cubic wscale:7,9 rto:201.5 rtt:1.5/0.25",
            "pmtu:1500",
            "cwnd:10",
            "send 77.2Mbps",
            "delivery_rate 10.0Mbps",
            "unacked:2",
            "retrans:0/3",
            "recovery:recovery",
        ] {
            assert!(second.contains(word), "no {word} in {second}");
        }
        assert!(!second.contains("ssthresh") && !second.contains("lost"), "{second}");
        Ok(())
    }

    #[test]
    fn without_a_word_all_kinds_are_shown_and_with_one_only_these() -> Result<()> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let parse = |line: &str| -> Result<Wanted> {
            let args = <Line as clap::Parser>::try_parse_from(line.split(' '))?;
            wanted(&args.args)
        };
        let plain = parse("ss")?;
        assert_eq!((plain.tcp, plain.udp, plain.ipv4, plain.ipv6), (true, true, true, true));
        assert_eq!(plain.states, States::USUAL.bits());
        let some = parse("ss -tl6 -i state established sport = :80")?;
        assert_eq!((some.tcp, some.udp, some.ipv4, some.ipv6), (true, false, false, true));
        assert_eq!((some.filter.as_str(), some.details), ("state established sport = :80", true));
        assert_eq!(some.states, States::WAITING.bits());
        assert!(parse("ss -a -l").is_err());
        assert_eq!(parse("ss -s")?.states, States::all().bits());
        Ok(())
    }
}
