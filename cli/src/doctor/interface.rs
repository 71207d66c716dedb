//! What an interface offers AF_XDP, and what Linux does with it that Freeway has to know.
//!
//! Sources: Documentation/networking/af_xdp.rst, scaling.rst and Documentation/core-api/irq/irq-affinity.rst of Linux.

use freeway_afxdp::inspect::{Attached, Inspection, XdpFeatures};

use super::finding::Finding;
use super::machine::{Machine, show};

/// The longest MTU whose frames fit into one page beside what the kernel keeps there.
const SINGLE_BUFFER_MTU_MAX: u32 = 3_498;

/// One interface; `cpus` are those that would serve.
pub(super) fn check(machine: &Machine, interface: &Inspection, cpus: &[usize]) -> Vec<Finding> {
    let group = interface.name.as_str();
    if !interface.is_ethernet {
        let costs = "neither AF_XDP nor an address of Freeway's own here";
        return vec![Finding::missing(group, "link", "no Ethernet", costs, "another interface")];
    }
    let is_native = interface.xdp.is_none_or(|xdp| xdp.native);
    let mut findings = vec![link(machine, interface), program(interface), mode(interface)];
    findings.extend(interface.xdp.map(|xdp| copies(group, xdp, interface.is_veth)));
    findings.extend(length(interface));
    findings.push(queues(interface, cpus.len()));
    findings.extend(spread(interface));
    findings.extend(received(interface, is_native));
    findings.extend(sums(interface));
    findings.extend(peer(interface, is_native));
    findings.extend(node(machine, group, cpus));
    findings.extend(interrupts(machine, group, cpus));
    findings.extend(steering(machine, group));
    findings
}

fn link(machine: &Machine, interface: &Inspection) -> Finding {
    let group = interface.name.as_str();
    let driver = machine.link(&format!("/sys/class/net/{group}/device/driver"));
    let driver = driver
        .unwrap_or_else(|| if interface.is_veth { "veth".into() } else { "a driver without a name".into() });
    if !interface.is_up {
        let mend = format!("ip link set dev {group} up");
        return Finding::missing(group, "link", format!("{driver}, down"), "no frame passes", mend);
    }
    match machine.link(&format!("/sys/class/net/{group}/master")) {
        Some(master) => Finding::note(group, "link", format!("{driver}, a part of {master}"))
            .costs(format!("what Freeway takes here does not reach {master}")),
        None => Finding::good(group, "link", format!("{driver}, up, MTU {}", interface.mtu)),
    }
}

fn program(interface: &Inspection) -> Finding {
    let group = interface.name.as_str();
    let how = match interface.attached {
        Attached::None => return Finding::good(group, "XDP program", "none yet"),
        Attached::Native => "another one, in the driver",
        Attached::Generic => "another one, generic",
    };
    let costs = "Freeway cannot start here, unless it is Freeway's own and running";
    Finding::missing(group, "XDP program", how, costs, format!("ip link set dev {group} xdp off"))
}

fn mode(interface: &Inspection) -> Finding {
    let group = interface.name.as_str();
    match interface.xdp {
        Some(XdpFeatures { native: true, redirect: true, .. }) => Finding::good(group, "XDP mode", "native"),
        Some(_) => Finding::note(group, "XDP mode", "generic: the driver runs no program")
            .costs("each frame becomes a socket buffer first"),
        None => {
            Finding::unknown(group, "XDP mode", "Linux tells from 6.3 on; Freeway tries native mode first")
        }
    }
}

fn copies(group: &str, xdp: XdpFeatures, is_veth: bool) -> Finding {
    if xdp.zero_copy {
        return Finding::good(group, "zero copy", "the card reads and writes packet buffers itself");
    }
    let why = if is_veth { "a veth has no memory of its own" } else { "not by this driver" };
    Finding::note(group, "zero copy", why).costs("a copy of each frame in the kernel")
}

fn length(interface: &Inspection) -> Option<Finding> {
    const NAME: &str = "frame length";
    let Inspection { name, mtu, xdp, .. } = interface;
    if *mtu <= SINGLE_BUFFER_MTU_MAX {
        return None;
    }
    Some(if xdp.is_some_and(|xdp| !xdp.multi_buffer) {
        Finding::missing(
            name,
            NAME,
            format!("MTU {mtu}, and the driver gives programs one buffer a frame"),
            "only generic mode works",
            format!("ip link set dev {name} mtu {SINGLE_BUFFER_MTU_MAX}"),
        )
    } else {
        Finding::note(name, NAME, format!("MTU {mtu}: several buffers a frame"))
            .costs("frames are copied together, and Linux must be 6.6 or newer")
    })
}

fn queues(interface: &Inspection, cores: usize) -> Finding {
    let group = interface.name.as_str();
    let queues = interface.rx_queues as usize;
    if queues >= cores {
        return Finding::good(group, "queues", format!("{queues} for {cores} cores"));
    }
    let finding = Finding::slow(
        group,
        "queues",
        format!("{queues} for {cores} cores"),
        "cores without a queue get their frames, and send, through others: a copy of each",
        format!("ethtool -L {group} combined {cores}"),
    );
    if interface.is_veth && (interface.rx_queues_max as usize) < cores {
        finding.mend(format!("ip link add {group} numrxqueues {cores} numtxqueues {cores} type veth …"))
    } else {
        finding
    }
}

fn spread(interface: &Inspection) -> Vec<Finding> {
    let group = interface.name.as_str();
    let mut findings = Vec::new();
    if interface.rx_queues < 2 {
        return findings;
    }
    if let Some(used) = &interface.spread {
        let used: Vec<usize> = used.iter().map(|&queue| queue as usize).collect();
        if used.len() < interface.rx_queues as usize {
            findings.push(Finding::slow(
                group,
                "spreading",
                format!("flows go to queues {} of {}", show(&used), interface.rx_queues),
                "cores whose queues get nothing work for the others only",
                format!("ethtool -X {group} equal {}", interface.rx_queues),
            ));
        } else {
            findings.push(Finding::good(group, "spreading", format!("over queues {}", show(&used))));
        }
    }
    match interface.hashes_ports {
        Some(true) => findings.push(Finding::good(group, "hash", "addresses and ports")),
        Some(false) => findings.push(Finding::slow(
            group,
            "hash",
            "addresses alone",
            "all connections between two hosts meet in one queue",
            format!("ethtool -N {group} rx-flow-hash tcp4 sdfn; ethtool -N {group} rx-flow-hash tcp6 sdfn"),
        )),
        None => findings.push(
            Finding::note(group, "hash", "the driver does not say how it spreads flows")
                .costs("frames of other cores' flows are handed over: a copy of each"),
        ),
    }
    findings
}

/// What puts received packets together before a program sees them.
fn received(interface: &Inspection, is_native: bool) -> Vec<Finding> {
    let group = interface.name.as_str();
    let mut findings = Vec::new();
    match interface.offloads.lro {
        Some(true) => findings.push(Finding::missing(
            group,
            "receive offload",
            "LRO is on: the card puts segments together",
            "native mode is refused, and generic mode loses what is longer than a buffer",
            format!("ethtool -K {group} lro off"),
        )),
        Some(false) => findings.push(Finding::good(group, "receive offload", "no LRO")),
        None => {}
    }
    if !is_native && interface.offloads.gro == Some(true) {
        findings.push(Finding::slow(
            group,
            "GRO",
            "on, and programs run after it",
            "segments that were put together are longer than a buffer, and lost",
            format!("ethtool -K {group} gro off"),
        ));
    }
    findings
}

fn sums(interface: &Inspection) -> Option<Finding> {
    let group = interface.name.as_str();
    interface.xdp?;
    // AF_XDP tells of no sums received.
    Some(match interface.sums_in_software {
        None => Finding::good(
            group,
            "checksums",
            "those sent are left to the kernel or the card (tx-checksum=auto), those received verified in software",
        ),
        Some(why) => Finding::note(group, "checksums", format!("in software, of what is sent too: {why}"))
            .costs("15 to 65 ns for a full frame, each way"),
    })
}

/// The other end of a veth is Linux, which leaves to a device what a veth never does.
fn peer(interface: &Inspection, is_native: bool) -> Vec<Finding> {
    if !interface.is_veth {
        return Vec::new();
    }
    let group = interface.name.as_str();
    let Some((peer, offloads)) = &interface.peer else {
        return vec![Finding::unknown(
            group,
            "other end",
            "in another namespace: look there with `freeway doctor` too",
        )];
    };
    let mut findings = vec![Finding::good(
        group,
        "other end",
        format!("{peer}; sums that Linux leaves unfilled are known by their look"),
    )];
    // Segments longer than the MTU are passed on as they are. A program in the driver switches that off by itself.
    if !is_native && (offloads.tso == Some(true) || offloads.gso == Some(true)) {
        findings.push(Finding::slow(
            group,
            "long segments",
            format!("{peer} hands over TCP segments longer than the MTU"),
            "in generic mode they are longer than a buffer, and lost: bulk uploads crawl",
            format!("ethtool -K {peer} tso off gso off"),
        ));
    }
    findings
}

fn node(machine: &Machine, group: &str, cpus: &[usize]) -> Option<Finding> {
    let nodes = machine.cpus("/sys/devices/system/node/online").unwrap_or_default();
    let node: i64 = machine.number(&format!("/sys/class/net/{group}/device/numa_node"))?;
    if nodes.len() < 2 || node < 0 {
        return None;
    }
    let near = machine.cpus(&format!("/sys/devices/system/node/node{node}/cpulist"))?;
    let far: Vec<usize> = cpus.iter().copied().filter(|cpu| !near.contains(cpu)).collect();
    Some(if far.is_empty() {
        Finding::good(group, "NUMA", format!("node {node}, where Freeway would be"))
    } else {
        Finding::slow(
            group,
            "NUMA",
            format!("on node {node}, and processors {} are not", show(&far)),
            "each frame crosses between the nodes: some hundred nanoseconds",
            format!("freeway serve --cores with processors of {}", show(&near)),
        )
    })
}

/// Where the card's interrupts are handled.
fn interrupts(machine: &Machine, group: &str, cpus: &[usize]) -> Option<Finding> {
    const NAME: &str = "interrupts";
    // A virtio device's are its bus device's.
    let folders = [
        format!("/sys/class/net/{group}/device/msi_irqs"),
        format!("/sys/class/net/{group}/device/../msi_irqs"),
    ];
    let numbers = folders.iter().map(|folder| machine.names(folder)).find(|names| !names.is_empty())?;
    let mut places = Vec::new();
    for number in &numbers {
        let of =
            |file: &str| machine.cpus(&format!("/proc/irq/{number}/{file}")).filter(|cpus| !cpus.is_empty());
        places.extend(of("effective_affinity_list").or_else(|| of("smp_affinity_list")).unwrap_or_default());
    }
    places.sort_unstable();
    places.dedup();
    if places.is_empty() {
        return Some(Finding::unknown(group, NAME, "/proc/irq does not say where"));
    }
    let says = format!("{} of them, on {}", numbers.len(), show(&places));
    Some(if places.len() == 1 && cpus.len() > 1 && numbers.len() > 1 {
        Finding::slow(
            group,
            NAME,
            says,
            "one processor takes all frames out of the card",
            "for each queue's number N in /proc/interrupts: echo CPU > /proc/irq/N/smp_affinity_list",
        )
    } else {
        Finding::good(group, NAME, says)
    })
}

/// Steering by software, before generic mode's program runs.
fn steering(machine: &Machine, group: &str) -> Option<Finding> {
    let folder = format!("/sys/class/net/{group}/queues");
    let steered: Vec<String> = machine
        .names(&folder)
        .into_iter()
        .filter(|queue| {
            let mask = machine.text(&format!("{folder}/{queue}/rps_cpus")).unwrap_or_default();
            mask.chars().any(|digit| digit.is_ascii_hexdigit() && digit != '0')
        })
        .collect();
    (!steered.is_empty()).then(|| {
        Finding::note(group, "RPS", format!("on for {}", steered.join(", ")))
            .costs("in generic mode each frame wakes another processor first")
            .mend(format!("for each queue: echo 0 > {folder}/rx-N/rps_cpus"))
    })
}

#[cfg(test)]
mod tests {
    use freeway_afxdp::inspect::Offloads;

    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::testing::{Fixture, found, state};

    fn card() -> Inspection {
        Inspection {
            name: "eth0".into(),
            is_up: true,
            is_ethernet: true,
            mtu: 1_500,
            rx_queues: 2,
            rx_queues_max: 8,
            xdp: Some(XdpFeatures {
                native: true,
                redirect: true,
                zero_copy: true,
                ..XdpFeatures::default()
            }),
            offloads: Offloads { lro: Some(false), gro: Some(true), ..Offloads::default() },
            spread: Some(vec![0, 1]),
            hashes_ports: Some(true),
            ..Inspection::default()
        }
    }

    fn findings(interface: &Inspection) -> Vec<Finding> {
        check(&Fixture::new(&[]).machine(), interface, &[1, 2])
    }

    #[test]
    fn a_good_card_is_well() {
        let findings = findings(&card());
        let bad: Vec<_> = findings.iter().filter(|finding| finding.state > State::Note).collect();
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(state(&findings, "zero copy"), State::Good);
    }

    #[test]
    fn each_trouble_of_an_interface_is_found() {
        let xdp = card().xdp;
        let generic = xdp.map(|xdp| XdpFeatures { native: false, ..xdp });
        let lro = Offloads { lro: Some(true), ..Offloads::default() };
        let gro = Offloads { gro: Some(true), ..Offloads::default() };
        for (interface, name, expected) in [
            (Inspection { is_ethernet: false, ..card() }, "link", State::Missing),
            (Inspection { is_up: false, ..card() }, "link", State::Missing),
            (Inspection { attached: Attached::Generic, ..card() }, "XDP program", State::Missing),
            (Inspection { xdp: generic, ..card() }, "XDP mode", State::Note),
            (Inspection { xdp: None, ..card() }, "XDP mode", State::Unknown),
            (Inspection { mtu: 9_000, ..card() }, "frame length", State::Missing),
            (Inspection { mtu: 9_000, xdp: None, ..card() }, "frame length", State::Note),
            (Inspection { rx_queues: 1, ..card() }, "queues", State::Slow),
            (Inspection { spread: Some(vec![0]), ..card() }, "spreading", State::Slow),
            (Inspection { hashes_ports: Some(false), ..card() }, "hash", State::Slow),
            (Inspection { hashes_ports: None, ..card() }, "hash", State::Note),
            (Inspection { offloads: lro, ..card() }, "receive offload", State::Missing),
            (Inspection { offloads: gro, xdp: generic, ..card() }, "GRO", State::Slow),
            (Inspection { is_veth: true, ..card() }, "other end", State::Unknown),
            (card(), "checksums", State::Good),
            (Inspection { sums_in_software: Some("it is old"), ..card() }, "checksums", State::Note),
        ] {
            assert_eq!(state(&findings(&interface), name), expected, "{name}: {interface:?}");
        }
        let tso = Offloads { tso: Some(true), ..Offloads::default() };
        let veth = Inspection { is_veth: true, peer: Some(("c0".into(), tso)), xdp: generic, ..card() };
        assert_eq!(state(&findings(&veth), "long segments"), State::Slow);
        let native = findings(&Inspection { xdp, ..veth });
        assert!(native.iter().all(|finding| finding.name != "long segments"), "{native:?}");
    }

    #[test]
    fn a_veth_with_too_few_queues_is_made_anew() {
        let veth = Inspection { is_veth: true, rx_queues: 1, rx_queues_max: 1, ..card() };
        let findings = findings(&veth);
        let mend = found(&findings, "queues").mend.clone();
        assert!(mend.is_some_and(|mend| mend.contains("numrxqueues 2")), "{findings:?}");
    }

    #[test]
    fn nodes_and_interrupts_are_looked_up() {
        let fixture = Fixture::new(&[
            ("sys/devices/system/node/online", "0-1"),
            ("sys/devices/system/node/node1/cpulist", "8-15"),
            ("sys/class/net/eth0/device/numa_node", "1"),
            ("sys/class/net/eth0/device/msi_irqs/40", ""),
            ("sys/class/net/eth0/device/msi_irqs/41", ""),
            ("proc/irq/40/smp_affinity_list", "0-15"),
            ("proc/irq/40/effective_affinity_list", "3"),
            ("proc/irq/41/smp_affinity_list", "3"),
            ("sys/class/net/eth0/queues/rx-0/rps_cpus", "00000000,00000000"),
            ("sys/class/net/eth0/queues/rx-1/rps_cpus", "00000000,0000000c"),
        ]);
        let findings = check(&fixture.machine(), &card(), &[1, 8]);
        assert_eq!(found(&findings, "NUMA").says, "on node 1, and processors 1 are not");
        assert_eq!(found(&findings, "interrupts").says, "2 of them, on 3");
        assert_eq!(state(&findings, "interrupts"), State::Slow);
        assert_eq!(found(&findings, "RPS").says, "on for rx-1");
        fixture.put("proc/irq/41/smp_affinity_list", "8");
        assert_eq!(state(&check(&fixture.machine(), &card(), &[8, 9]), "interrupts"), State::Good);
        assert_eq!(state(&check(&fixture.machine(), &card(), &[8, 9]), "NUMA"), State::Good);
    }
}
