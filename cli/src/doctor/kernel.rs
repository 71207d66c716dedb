//! Which kernel this is, and how it is set.
//!
//! Sources: Documentation/admin-guide/sysctl and networking/af_xdp.rst of Linux.

use super::finding::Finding;
use super::machine::Machine;
use crate::open::SHARED_PORTS;

const GROUP: &str = "kernel";

pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let mut findings =
        vec![version(machine), compiler(machine), statistics(machine), clock(machine), ports(machine)];
    findings.extend(asynchronous(machine));
    findings
}

/// Major and minor number of `6.18.44-vendor`.
pub(super) fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn version(machine: &Machine) -> Finding {
    const NAME: &str = "version";
    let Some(release) = machine.text("/proc/sys/kernel/osrelease") else {
        return Finding::unknown(GROUP, NAME, "/proc/sys/kernel/osrelease does not say");
    };
    let Some(numbers) = numbers(&release) else {
        return Finding::unknown(GROUP, NAME, release);
    };
    if numbers < (5, 10) {
        let costs = "no AF_XDP: --dev tap:NAME and memif:SOCKET work";
        return Finding::missing(GROUP, NAME, format!("{release}, older than 5.10"), costs, "a newer kernel");
    }
    let lacks = [
        ((6, 1), "huge pages that nobody set aside (MADV_COLLAPSE)"),
        ((6, 6), "jumbo frames over AF_XDP"),
        ((6, 18), "whole bursts in one transmit call"),
    ];
    let lacks: Vec<&str> = lacks.iter().filter(|(from, _)| numbers < *from).map(|&(_, what)| what).collect();
    if lacks.is_empty() {
        Finding::good(GROUP, NAME, release)
    } else {
        Finding::note(GROUP, NAME, release).costs(format!("without {}", lacks.join(", ")))
    }
}

fn compiler(machine: &Machine) -> Finding {
    const NAME: &str = "BPF compiler";
    match machine.number::<u32>("/proc/sys/net/core/bpf_jit_enable") {
        Some(0) => Finding::slow(
            GROUP,
            NAME,
            "off: the XDP program is interpreted",
            "some hundred nanoseconds for each frame that arrives",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Some(_) if machine.number("/proc/sys/net/core/bpf_jit_harden") == Some(2_u32) => Finding::slow(
            GROUP,
            NAME,
            "hardened for privileged programs too",
            "a longer program for each frame that arrives",
            "sysctl -w net.core.bpf_jit_harden=1",
        ),
        Some(_) => Finding::good(GROUP, NAME, "on"),
        // Built in so that it cannot be switched.
        None => Finding::unknown(GROUP, NAME, "/proc/sys/net/core/bpf_jit_enable cannot be read"),
    }
}

fn statistics(machine: &Machine) -> Finding {
    const NAME: &str = "BPF statistics";
    match machine.number::<u32>("/proc/sys/kernel/bpf_stats_enabled") {
        Some(0) => Finding::good(GROUP, NAME, "off"),
        Some(_) => Finding::slow(
            GROUP,
            NAME,
            "on: every run of a program is timed",
            "two looks at the clock for each frame that arrives",
            "sysctl -w kernel.bpf_stats_enabled=0",
        ),
        None => Finding::unknown(GROUP, NAME, "/proc/sys/kernel/bpf_stats_enabled cannot be read"),
    }
}

fn clock(machine: &Machine) -> Finding {
    const NAME: &str = "clock";
    let folder = "/sys/devices/system/clocksource/clocksource0";
    match machine.text(&format!("{folder}/current_clocksource")).as_deref() {
        // Read without a system call.
        Some(source @ ("tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter")) => {
            Finding::good(GROUP, NAME, source)
        }
        Some(source) => Finding::slow(
            GROUP,
            NAME,
            source,
            "a system call, and often a slow device, for each turn of the loop",
            format!("echo tsc > {folder}/current_clocksource, if it is in available_clocksource"),
        ),
        None => Finding::unknown(GROUP, NAME, "the kernel does not say where its time comes from"),
    }
}

/// Ports from which both sides would open connections, on a shared address.
fn ports(machine: &Machine) -> Finding {
    const NAME: &str = "shared ports";
    let range = machine.text("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut range = range.split_whitespace().map(|port| port.parse::<u16>().ok());
    match (range.next().flatten(), range.next().flatten()) {
        (Some(first), Some(last)) if first <= *SHARED_PORTS.end() && last >= *SHARED_PORTS.start() => {
            Finding::missing(
                GROUP,
                NAME,
                format!("Linux opens connections from ports {first} to {last}, which meets Freeway's"),
                "--shared-address is refused: both would use the same ports",
                format!("sysctl -w net.ipv4.ip_local_port_range=\"32768 {}\"", SHARED_PORTS.start() - 1),
            )
        }
        (Some(first), Some(last)) => Finding::good(GROUP, NAME, format!("Linux's are {first} to {last}")),
        _ => Finding::unknown(GROUP, NAME, "/proc/sys/net/ipv4/ip_local_port_range cannot be read"),
    }
}

/// A memif peer is woken by asynchronous I/O, of which there is a bounded number.
fn asynchronous(machine: &Machine) -> Option<Finding> {
    const NAME: &str = "asynchronous I/O";
    let used: u64 = machine.number("/proc/sys/fs/aio-nr")?;
    let most: u64 = machine.number("/proc/sys/fs/aio-max-nr")?;
    Some(if most.saturating_sub(used) < 1_024 {
        Finding::slow(
            GROUP,
            NAME,
            format!("{used} of {most} in use"),
            "a memif peer may make the core that wakes it wait",
            "sysctl -w fs.aio-max-nr=1048576",
        )
    } else {
        Finding::good(GROUP, NAME, format!("{used} of {most} in use"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::testing::{Fixture, found, state};

    #[test]
    fn a_modern_kernel_is_well() {
        let fixture = Fixture::new(&[
            ("proc/sys/kernel/osrelease", "6.18.44-vendor\n"),
            ("proc/sys/net/core/bpf_jit_enable", "1\n"),
            ("proc/sys/net/core/bpf_jit_harden", "0\n"),
            ("proc/sys/kernel/bpf_stats_enabled", "0\n"),
            ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ("proc/sys/fs/aio-nr", "0\n"),
            ("proc/sys/fs/aio-max-nr", "65536\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
        ]);
        let findings = check(&fixture.machine());
        assert!(findings.iter().all(|finding| finding.state == State::Good), "{findings:?}");
        for (file, text, name, expected) in [
            ("proc/sys/kernel/osrelease", "5.4.0-42", "version", State::Missing),
            ("proc/sys/kernel/osrelease", "6.1.0", "version", State::Note),
            ("proc/sys/kernel/osrelease", "strange", "version", State::Unknown),
            ("proc/sys/net/core/bpf_jit_enable", "0", "BPF compiler", State::Slow),
            ("proc/sys/kernel/bpf_stats_enabled", "1", "BPF statistics", State::Slow),
            ("proc/sys/net/ipv4/ip_local_port_range", "1024 65000", "shared ports", State::Missing),
            ("proc/sys/net/ipv4/ip_local_port_range", "60000 61000", "shared ports", State::Missing),
            ("proc/sys/fs/aio-nr", "65000", "asynchronous I/O", State::Slow),
        ] {
            fixture.put(file, text);
            assert_eq!(state(&check(&fixture.machine()), name), expected, "{file} {text}");
        }
        fixture.put("proc/sys/net/core/bpf_jit_enable", "1");
        fixture.put("proc/sys/net/core/bpf_jit_harden", "2");
        assert_eq!(state(&check(&fixture.machine()), "BPF compiler"), State::Slow);
        fixture.put("sys/devices/system/clocksource/clocksource0/current_clocksource", "acpi_pm");
        assert_eq!(state(&check(&fixture.machine()), "clock"), State::Slow);
    }

    #[test]
    fn a_kernel_between_lacks_what_came_later() {
        let fixture = Fixture::new(&[("proc/sys/kernel/osrelease", "6.8.0-31-generic")]);
        let findings = check(&fixture.machine());
        assert_eq!(
            found(&findings, "version").costs.as_deref(),
            Some("without whole bursts in one transmit call")
        );
        assert_eq!(numbers("5.10.0-8"), Some((5, 10)));
        assert_eq!(numbers("6"), None);
    }
}
