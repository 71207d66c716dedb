//! `freeway pcap`: a server's frames, in a file that Wireshark opens.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Result, bail};
use freeway_control::capture::Wanted;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Whom;

/// Captures a running server's frames, both ways, into a pcapng file. Ctrl-C ends it.
///
/// FILTER is much like tcpdump's: host, net, port, portrange with src and dst, ip, ip6, arp, tcp, udp, icmp, icmp6, vlan, ether,
/// less, greater, broadcast, multicast and tcp[tcpflags], joined by and, or, not and parentheses.
///
/// Example: freeway pcap -w trouble.pcapng -c 1000 tcp port 80 and not host 198.18.0.1
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// The file; - for standard output, as in: freeway pcap -w - | tshark -r -
    #[arg(short, long, value_name = "FILE")]
    write: PathBuf,
    /// Ends after so many frames.
    #[arg(short, long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    count: u64,
    /// Bytes of each frame at most [default: all of them]
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
    snaplen: u32,
    /// Ends after so many seconds.
    #[arg(short = 'G', long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<f64>,
    /// Frames that may wait on each core to be written; what comes when there are more is dropped, and counted in the file.
    #[arg(short = 'B', long, value_name = "N", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(16..=262_144))]
    buffer: u32,
    /// Which frames [default: all]
    #[arg(trailing_var_arg = true, value_name = "FILTER")]
    filter: Vec<String>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=1e9).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds from 0.001".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    let to_stdout = args.write.as_os_str() == "-";
    if to_stdout && io::stdout().is_terminal() {
        bail!("a capture is no text for a terminal: give -w a file, or pipe it");
    }
    let wanted = Wanted {
        filter: args.filter.join(" "),
        snap_len: args.snaplen,
        count: args.count,
        millis: args.seconds.map_or(0, |seconds| (seconds * 1e3).ceil() as u64),
        slots: args.buffer,
    };
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be caught")?;
    let (begun, mut stream) = args.whom.connect()?.capture(wanted)?;
    let named = || format!("-w {}", args.write.display());
    let mut out: Box<dyn Write> = match to_stdout {
        true => Box::new(io::stdout().lock()),
        false => Box::new(File::create(&args.write).with_context(named)?),
    };
    let mut interfaces = begun.interfaces;
    interfaces.dedup();
    eprintln!("freeway: capturing on {}, {} bytes of a frame at most", interfaces.join(", "), begun.snap_len);

    // A signal ends our half; the server then writes the file's end.
    let half = stream.get_ref().try_clone()?;
    let handle = signals.handle();
    let waiter = thread::spawn(move || {
        if signals.forever().next().is_some() {
            // It may have ended by itself.
            let _ = half.shutdown(Shutdown::Write);
        }
    });
    let copied = copy(&mut stream, &mut out);
    handle.close();
    drop(waiter.join());
    match copied {
        // Whoever reads the pipe has seen enough.
        Err(error) if to_stdout && error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        copied => copied.with_context(named),
    }
}

/// Copies what comes as it comes: a reader at the other end of a pipe sees each frame at once.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return to.flush(),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
