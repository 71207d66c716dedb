//! The impairing bridge between two Linux namespaces: what it does is what was asked for.

use anyhow::{Context, Result, ensure};
use freeway_base::{Duration, Seed};
use freeway_interop::impair::{Both, Bridge, Impairment, Link, Report};
use freeway_interop::netns::Namespace;
use freeway_interop::privilege;

const LEFT: &str = "198.18.0.1";
const RIGHT: &str = "198.18.0.2";

/// `left ── path ── right`, with the path's ends in a namespace of their own.
struct Path {
    left: Namespace,
    _right: Namespace,
    middle: Namespace,
}

impl Path {
    fn new() -> Result<Self> {
        let [left, middle, right] = ["left", "middle", "right"].map(Namespace::new);
        let (left, middle, right) = (left?, middle?, right?);
        // No IPv6: multicast listener reports would be frames that no ping sent, and the middle is to be a mere wire.
        for namespace in [&left, &middle, &right] {
            namespace.set("net/ipv6/conf/default/disable_ipv6", "1")?;
        }
        left.join("left0", &middle, "left1")?;
        right.join("right0", &middle, "right1")?;
        left.address("left0", &format!("{LEFT}/24"))?;
        right.address("right0", &format!("{RIGHT}/24"))?;
        // Known neighbours, so that every loss is a loss of an echo and none of an ARP packet.
        let (left_mac, right_mac) = (mac(&left, "left0")?, mac(&right, "right0")?);
        left.ip(&format!("neighbour add {RIGHT} lladdr {right_mac} dev left0"))?;
        right.ip(&format!("neighbour add {LEFT} lladdr {left_mac} dev right0"))?;
        Ok(Self { left, _right: right, middle })
    }

    /// Pings through the path and returns what ping and what the bridge saw.
    fn ping(&self, impairment: Both<Impairment>, line: &str) -> Result<(Pings, Report)> {
        let open = || Ok::<_, anyhow::Error>((Link::open("left1")?, Link::open("right1")?));
        let (left, right) = self.middle.enter(open)??;
        let bridge = Bridge::new(left, right, impairment, Seed(7)).start();
        // Ping fails when no answer comes, which is a result too.
        let printed =
            self.left.run(&format!("ping {line} {RIGHT}")).unwrap_or_else(|error| error.to_string());
        Ok((Pings::parse(&printed).with_context(|| printed.clone())?, bridge.stop()?))
    }
}

fn mac(namespace: &Namespace, interface: &str) -> Result<String> {
    let shown = namespace.ip(&format!("-oneline link show {interface}"))?;
    let (_, rest) = shown.split_once("link/ether ").context("no Ethernet address")?;
    Ok(rest.split_whitespace().next().context("no Ethernet address")?.to_string())
}

/// What ping's summary says.
struct Pings {
    sent: u64,
    answered: u64,
    duplicates: u64,
    rtt_ms_min: f64,
}

impl Pings {
    /// Reads `N packets transmitted, N received, [+N duplicates,] ...` and `rtt min/avg/max/mdev = N/...`.
    fn parse(printed: &str) -> Option<Self> {
        let summary = printed.lines().find(|line| line.contains("packets transmitted"))?;
        let before = |word: &str| {
            let part = summary.split(", ").find(|part| part.contains(word))?;
            part.split_whitespace().next()?.trim_start_matches('+').parse().ok()
        };
        let times = printed.lines().find(|line| line.starts_with("rtt "))?.split(" = ").nth(1)?;
        Some(Self {
            sent: before("transmitted")?,
            answered: before("received")?,
            duplicates: before("duplicates").unwrap_or(0),
            rtt_ms_min: times.split('/').next()?.parse().ok()?,
        })
    }
}

fn both_ways(impairment: Impairment) -> Both<Impairment> {
    Both { forward: impairment.clone(), backward: impairment }
}

#[test]
fn a_clean_path_loses_nothing() -> Result<()> {
    if !privilege::granted("a_clean_path_loses_nothing") {
        return Ok(());
    }
    let (pings, report) =
        Path::new()?.ping(both_ways(Impairment::default()), "-q -c 100 -i 0.005 -W 1 -s 1400")?;
    ensure!(pings.answered == 100 && pings.duplicates == 0, "{} of 100 answered\n{report}", pings.answered);
    ensure!(report.path.forward.received == 100 && report.path.backward.received == 100, "{report}");
    ensure!(report.refused.forward == report.refused.backward, "{report}");
    Ok(())
}

#[test]
fn half_the_echoes_come_back_when_half_are_lost() -> Result<()> {
    if !privilege::granted("half_the_echoes_come_back_when_half_are_lost") {
        return Ok(());
    }
    let lossy = Impairment { loss: 0.5, ..Impairment::default() };
    let one_way = Both { forward: lossy, backward: Impairment::default() };
    let (pings, report) = Path::new()?.ping(one_way, "-q -c 300 -i 0.005 -W 1")?;
    ensure!((110..=190).contains(&pings.answered), "{} of {} answered\n{report}", pings.answered, pings.sent);
    ensure!(
        pings.sent - pings.answered == report.path.forward.lost,
        "{} lost\n{report}",
        pings.sent - pings.answered
    );
    Ok(())
}

#[test]
fn a_delay_of_20_ms_each_way_makes_40_ms_there_and_back() -> Result<()> {
    if !privilege::granted("a_delay_of_20_ms_each_way_makes_40_ms_there_and_back") {
        return Ok(());
    }
    let slow = Impairment { delay: Duration::from_millis(20), ..Impairment::default() };
    let (pings, report) = Path::new()?.ping(both_ways(slow), "-q -c 20 -i 0.01 -W 2")?;
    ensure!(pings.answered == 20, "{} of 20 answered\n{report}", pings.answered);
    ensure!((40.0..60.0).contains(&pings.rtt_ms_min), "at least {} ms", pings.rtt_ms_min);
    Ok(())
}

#[test]
fn every_echo_is_answered_twice_when_every_frame_is_doubled() -> Result<()> {
    if !privilege::granted("every_echo_is_answered_twice_when_every_frame_is_doubled") {
        return Ok(());
    }
    let doubling = Impairment { duplicate: 1.0, ..Impairment::default() };
    let one_way = Both { forward: doubling, backward: Impairment::default() };
    let (pings, report) = Path::new()?.ping(one_way, "-q -c 50 -i 0.01 -W 1")?;
    // Ping stops listening at the 50th answer, before the last one's double.
    ensure!(pings.answered == 50 && pings.duplicates >= 49, "{} doubles of 50\n{report}", pings.duplicates);
    Ok(())
}
