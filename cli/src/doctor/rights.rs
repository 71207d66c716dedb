//! What this process may do.
//!
//! Sources: capabilities(7), getrlimit(2), proc(5).

use super::finding::Finding;
use super::machine::Machine;

const GROUP: &str = "rights";

/// Capabilities by number.
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const IPC_LOCK: u32 = 14;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// `memory` is what all cores' packets and tables take, in bytes.
pub(super) fn check(machine: &Machine, memory: u64) -> Vec<Finding> {
    let status = machine.text("/proc/self/status").unwrap_or_default();
    let effective = super::machine::field(&status, "CapEff");
    let Some(effective) = effective.and_then(|digits| u64::from_str_radix(&digits, 16).ok()) else {
        return vec![Finding::unknown(GROUP, "capabilities", "/proc/self/status does not say")];
    };
    let has = |capability: u32| effective & (1 << capability) != 0;
    let is_stuck = super::machine::field(&status, "NoNewPrivs").as_deref() == Some("1");
    vec![capabilities(has, is_stuck), locked_memory(machine, has(IPC_LOCK), memory), tun(machine)]
}

fn capabilities(has: impl Fn(u32) -> bool, is_stuck: bool) -> Finding {
    // Before Linux 5.8, and still, CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON.
    let needed = [
        ("CAP_NET_ADMIN", has(NET_ADMIN)),
        ("CAP_NET_RAW", has(NET_RAW)),
        ("CAP_BPF", has(BPF) || has(SYS_ADMIN)),
        // The XDP program computes with packets' addresses.
        ("CAP_PERFMON", has(PERFMON) || has(SYS_ADMIN)),
    ];
    let missing: Vec<&str> = needed.iter().filter(|(_, has)| !has).map(|&(name, _)| name).collect();
    if missing.is_empty() {
        let all = "CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON are there";
        return Finding::good(GROUP, "capabilities", all);
    }
    let without = if has(NET_ADMIN) {
        "no AF_XDP: --dev tap:NAME and memif:SOCKET work"
    } else {
        "no AF_XDP and no TAP of one's own: --dev memif:SOCKET and `freeway demo` work"
    };
    let mend = if is_stuck {
        "start the process without no_new_privs (systemd: NoNewPrivileges=no, AmbientCapabilities=…), then: sudo \
         setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep $(command -v freeway)"
    } else {
        "sudo setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep $(command -v freeway)"
    };
    Finding::missing(GROUP, "capabilities", format!("{} missing", missing.join(", ")), without, mend)
}

/// The packet pool is the sockets' memory, which the kernel holds in place.
fn locked_memory(machine: &Machine, may_lock: bool, memory: u64) -> Finding {
    const NAME: &str = "locked memory";
    if may_lock {
        return Finding::good(GROUP, NAME, "CAP_IPC_LOCK: no limit");
    }
    let limits = machine.text("/proc/self/limits").unwrap_or_default();
    let soft =
        limits.lines().find_map(|line| line.strip_prefix("Max locked memory")?.split_whitespace().next());
    match soft {
        Some("unlimited") => Finding::good(GROUP, NAME, "no limit"),
        Some(limit) => match limit.parse::<u64>() {
            Ok(limit) if limit >= memory => {
                Finding::good(GROUP, NAME, format!("{} MiB, enough for the default buffers", limit >> 20))
            }
            Ok(limit) => Finding::missing(
                GROUP,
                NAME,
                format!("{} KiB; up to {} MiB are wanted", limit >> 10, memory >> 20),
                "AF_XDP sockets are refused with ENOBUFS",
                "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity), or give cap_ipc_lock",
            ),
            Err(_) => Finding::unknown(GROUP, NAME, format!("a limit of '{limit}'")),
        },
        None => Finding::unknown(GROUP, NAME, "/proc/self/limits does not say"),
    }
}

fn tun(machine: &Machine) -> Finding {
    if machine.has("/dev/net/tun") {
        Finding::good(GROUP, "TAP devices", "/dev/net/tun is there")
    } else {
        Finding::missing(
            GROUP,
            "TAP devices",
            "there is no /dev/net/tun",
            "--dev tap:NAME does not work, and auto has nothing to fall back to",
            "modprobe tun (container: --device /dev/net/tun)",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::testing::{Fixture, found, state};

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units\n\
                          Max locked memory         8388608              8388608              bytes\n";

    #[test]
    fn root_has_all_it_needs() {
        let fixture = Fixture::new(&[
            ("proc/self/status", "NoNewPrivs:\t0\nCapEff:\t000001ffffffffff\n"),
            ("dev/net/tun", ""),
        ]);
        let findings = check(&fixture.machine(), 1 << 30);
        assert!(findings.iter().all(|finding| finding.state == State::Good), "{findings:?}");
    }

    #[test]
    fn a_plain_user_is_told_what_is_missing_and_what_works() {
        let fixture = Fixture::new(&[
            ("proc/self/status", "CapEff:\t0000000000000000\nNoNewPrivs:\t1\n"),
            ("proc/self/limits", LIMITS),
        ]);
        let findings = check(&fixture.machine(), 64 << 20);
        let rights = found(&findings, "capabilities");
        assert_eq!(rights.state, State::Missing);
        assert!(rights.says.contains("CAP_BPF") && rights.says.contains("CAP_NET_ADMIN"), "{rights:?}");
        assert!(rights.mend.as_ref().is_some_and(|mend| mend.contains("no_new_privs")), "{rights:?}");
        assert_eq!(state(&findings, "locked memory"), State::Missing);
        assert_eq!(state(&findings, "TAP devices"), State::Missing);
        assert_eq!(state(&check(&fixture.machine(), 8 << 20), "locked memory"), State::Good);
    }

    #[test]
    fn some_rights_are_not_all() {
        // CAP_NET_ADMIN and CAP_SYS_ADMIN, which stands for CAP_BPF and CAP_PERFMON.
        let fixture = Fixture::new(&[("proc/self/status", "CapEff:\t0000000000201000\n")]);
        let findings = check(&fixture.machine(), 0);
        assert_eq!(found(&findings, "capabilities").says, "CAP_NET_RAW missing");
        assert_eq!(state(&findings, "locked memory"), State::Unknown);
        assert_eq!(check(&Fixture::new(&[]).machine(), 0)[0].state, State::Unknown);
    }
}
