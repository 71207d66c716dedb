//! The processors that would serve, and who else runs on them.
//!
//! Sources: Documentation/admin-guide/kernel-parameters.txt, cgroup-v2.rst, pm/cpufreq.rst, pm/cpuidle.rst of Linux.

use super::finding::Finding;
use super::machine::{Machine, field, show};

const GROUP: &str = "processors";
const FOLDER: &str = "/sys/devices/system/cpu";

pub(super) fn check(machine: &Machine, cpus: &[usize]) -> Vec<Finding> {
    [
        Some(count(machine, cpus)),
        Some(isolation(machine, cpus)),
        ticks(machine, cpus),
        quota(machine),
        siblings(machine, cpus),
        Some(governor(machine, cpus)),
        idle_states(machine, cpus),
        Some(cycle_counter(machine)),
        stolen(machine),
        balancer(machine),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn count(machine: &Machine, cpus: &[usize]) -> Finding {
    const NAME: &str = "serving";
    let online = machine.cpus(&format!("{FOLDER}/online")).unwrap_or_default();
    let allowed = machine.field("/proc/self/status", "Cpus_allowed_list");
    let allowed = allowed.and_then(|list| super::machine::cpu_list(&list)).unwrap_or_else(|| online.clone());
    if online.len() == 1 {
        return Finding::slow(
            GROUP,
            NAME,
            "there is one processor for Freeway and Linux together",
            "under load both wait for each other",
            "a machine with two processors, or --idle sleep",
        );
    }
    if allowed.len() < online.len() {
        let says = format!("{}; this process may use {} of {}", show(cpus), show(&allowed), show(&online));
        return Finding::note(GROUP, NAME, says)
            .mend("taskset -c, cpuset.cpus, or AllowedCPUs= of systemd allow more");
    }
    Finding::good(GROUP, NAME, format!("{} of {}", show(cpus), show(&online)))
}

/// Whether Linux keeps other programs away from where Freeway polls.
fn isolation(machine: &Machine, cpus: &[usize]) -> Finding {
    const NAME: &str = "isolation";
    let boot = machine.cpus(&format!("{FOLDER}/isolated")).unwrap_or_default();
    let partition = machine.cpus("/sys/fs/cgroup/cpuset.cpus.isolated").unwrap_or_default();
    let shared: Vec<usize> =
        cpus.iter().copied().filter(|cpu| !boot.contains(cpu) && !partition.contains(cpu)).collect();
    if shared.is_empty() {
        return Finding::good(GROUP, NAME, format!("{} of Freeway alone", show(cpus)));
    }
    Finding::slow(
        GROUP,
        NAME,
        format!("Linux runs other programs on {} too", show(&shared)),
        "now and then a pause for as long as another program runs, often milliseconds",
        format!("boot with isolcpus=managed_irq,domain,{}", show(&shared)),
    )
}

fn ticks(machine: &Machine, cpus: &[usize]) -> Option<Finding> {
    const NAME: &str = "timer ticks";
    let Some(text) = machine.text(&format!("{FOLDER}/nohz_full")) else {
        return Some(Finding::note(GROUP, NAME, "this kernel cannot do without (CONFIG_NO_HZ_FULL)"));
    };
    let without = super::machine::cpu_list(&text).unwrap_or_default();
    let with: Vec<usize> = cpus.iter().copied().filter(|cpu| !without.contains(cpu)).collect();
    Some(if with.is_empty() {
        Finding::good(GROUP, NAME, format!("none on {}", show(cpus)))
    } else {
        Finding::note(GROUP, NAME, format!("on {}", show(&with)))
            .costs("a few microseconds, 100 to 1,000 times a second")
            .mend(format!("boot with nohz_full={0} rcu_nocbs={0}", show(&with)))
    })
}

/// A container's share of the processors, which is taken away in one piece when it is used up.
fn quota(machine: &Machine) -> Option<Finding> {
    const NAME: &str = "quota";
    let groups = machine.text("/proc/self/cgroup")?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    // The limit of any group above counts.
    let mut path = path.trim_end_matches('/');
    loop {
        let limit = machine.text(&format!("/sys/fs/cgroup{path}/cpu.max")).unwrap_or_default();
        let mut words = limit.split_whitespace().map(str::parse::<u64>);
        if let (Some(Ok(quota)), Some(Ok(period))) = (words.next(), words.next()) {
            return Some(Finding::slow(
                GROUP,
                NAME,
                format!("{:.2} processors (cgroup {path}/cpu.max)", quota as f64 / period.max(1) as f64),
                format!(
                    "a core that polls uses it up, and stands still for the rest of each {} ms",
                    period / 1_000
                ),
                format!("echo max > /sys/fs/cgroup{path}/cpu.max (container: no --cpus, but --cpuset-cpus)"),
            ));
        }
        let Some(end) = path.rfind('/') else { break };
        path = &path[..end];
    }
    Some(Finding::good(GROUP, NAME, "none"))
}

/// Two processors of one core have half of it each when both are busy.
fn siblings(machine: &Machine, cpus: &[usize]) -> Option<Finding> {
    const NAME: &str = "siblings";
    let of = |cpu: usize| machine.cpus(&format!("{FOLDER}/cpu{cpu}/topology/thread_siblings_list"));
    let known: Vec<Vec<usize>> = cpus.iter().filter_map(|&cpu| of(cpu)).collect();
    if known.is_empty() {
        return None;
    }
    let pairs: Vec<String> = known.iter().filter(|all| all.len() > 1).map(|all| show(all)).collect();
    Some(if pairs.is_empty() {
        Finding::good(GROUP, NAME, "each serving processor is a core of its own")
    } else {
        Finding::slow(
            GROUP,
            NAME,
            format!("one core each: {}", pairs.join("; ")),
            "up to half of the rate, whenever the other one has something to do",
            "freeway serve --cores with one of each, and keep the others idle; or echo off > \
             /sys/devices/system/cpu/smt/control",
        )
    })
}

fn governor(machine: &Machine, cpus: &[usize]) -> Finding {
    const NAME: &str = "frequency";
    let of = |cpu: &usize| machine.text(&format!("{FOLDER}/cpu{cpu}/cpufreq/scaling_governor"));
    let mut governors: Vec<String> = cpus.iter().filter_map(of).collect();
    governors.sort_unstable();
    governors.dedup();
    if governors.is_empty() {
        return Finding::note(
            GROUP,
            NAME,
            "not for this Linux to choose: the hypervisor or the firmware does",
        );
    }
    if governors.iter().all(|governor| governor == "performance") {
        return Finding::good(GROUP, NAME, "performance");
    }
    Finding::slow(
        GROUP,
        NAME,
        governors.join(", "),
        "after a pause the first requests meet a slow processor",
        "cpupower frequency-set -g performance",
    )
}

/// How long a processor takes to wake at most.
fn idle_states(machine: &Machine, cpus: &[usize]) -> Option<Finding> {
    const NAME: &str = "idle states";
    /// Deeper sleep than this, in microseconds, is seen in a latency's tail.
    const DEEP_US: u64 = 50;
    let mut deepest = (0, String::new());
    let mut any = false;
    for cpu in cpus {
        let folder = format!("{FOLDER}/cpu{cpu}/cpuidle");
        for state in machine.names(&folder) {
            let is_off = machine.number::<u32>(&format!("{folder}/{state}/disable")) == Some(1);
            let latency = machine.number::<u64>(&format!("{folder}/{state}/latency"));
            let name = machine.text(&format!("{folder}/{state}/name")).unwrap_or_default();
            if let Some(latency) = latency {
                any = true;
                if !is_off && latency > deepest.0 {
                    deepest = (latency, name);
                }
            }
        }
    }
    let (latency_us, name) = deepest;
    if !any {
        return None;
    }
    Some(if latency_us > DEEP_US {
        Finding::slow(
            GROUP,
            NAME,
            format!("down to {name}, {latency_us} µs to wake"),
            "so much for the first frame after a sleep",
            format!("cpupower idle-set -D {DEEP_US}, or freeway serve --idle spin, which never sleeps"),
        )
    } else {
        Finding::good(GROUP, NAME, format!("{latency_us} µs to wake at most"))
    })
}

fn cycle_counter(machine: &Machine) -> Finding {
    const NAME: &str = "cycle counter";
    let info = machine.text("/proc/cpuinfo").unwrap_or_default();
    let Some(flags) = field(&info, "flags") else {
        return Finding::note(GROUP, NAME, "/proc/cpuinfo does not say: not an x86 processor, or hidden");
    };
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    if has("constant_tsc") && has("nonstop_tsc") {
        Finding::good(GROUP, NAME, "counts evenly")
    } else {
        Finding::note(GROUP, NAME, "changes its rate, or stops in sleep")
            .costs("cycles per packet and stage are not to be trusted")
    }
}

/// What the hypervisor gave to others, since the start of this machine.
fn stolen(machine: &Machine) -> Option<Finding> {
    const NAME: &str = "stolen time";
    let text = machine.text("/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are part of user.
    let stolen = *ticks.get(7)?;
    let total: u64 = ticks.iter().take(8).sum();
    let percent = stolen as f64 * 100.0 / total.max(1) as f64;
    Some(if percent >= 0.1 {
        Finding::note(GROUP, NAME, format!("{percent:.1}% since the start"))
            .costs("pauses that nobody here can explain, and figures that differ from run to run")
    } else {
        Finding::good(GROUP, NAME, format!("{percent:.2}%"))
    })
}

fn balancer(machine: &Machine) -> Option<Finding> {
    let runs = machine
        .names("/proc")
        .into_iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .any(|process| machine.text(&format!("/proc/{process}/comm")).as_deref() == Some("irqbalance"));
    runs.then(|| {
        Finding::note(GROUP, "irqbalance", "runs")
            .costs("it may move a card's interrupts to and from a serving processor at any time")
            .mend("systemctl disable --now irqbalance, or IRQBALANCE_BANNED_CPULIST= in its settings")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::testing::{Fixture, found, state};

    fn fixture() -> Fixture {
        Fixture::new(&[
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("sys/devices/system/cpu/isolated", "1-3\n"),
            ("sys/devices/system/cpu/nohz_full", "1-3\n"),
            ("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
            ("sys/devices/system/cpu/cpu1/cpuidle/state0/latency", "0\n"),
            ("sys/devices/system/cpu/cpu1/cpuidle/state1/latency", "2\n"),
            ("sys/devices/system/cpu/cpu1/cpuidle/state1/name", "C1\n"),
            ("sys/devices/system/cpu/cpu1/cpuidle/state1/disable", "0\n"),
            ("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
            ("proc/self/cgroup", "0::/system.slice/freeway.service\n"),
            ("proc/self/status", "Cpus_allowed_list:\t0-3\n"),
            ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu tsc constant_tsc nonstop_tsc\n"),
            ("proc/stat", "cpu  100 0 100 9800 0 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"),
            ("proc/1/comm", "systemd\n"),
        ])
    }

    #[test]
    fn a_prepared_machine_is_well() {
        let findings = check(&fixture().machine(), &[1, 2]);
        assert!(findings.iter().all(|finding| finding.state == State::Good), "{findings:?}");
        assert_eq!(findings.len(), 9);
    }

    #[test]
    fn each_trouble_is_found() {
        for (file, text, name, expected) in [
            ("sys/devices/system/cpu/online", "0\n", "serving", State::Slow),
            ("proc/self/status", "Cpus_allowed_list:\t0-1\n", "serving", State::Note),
            ("sys/devices/system/cpu/isolated", "2-3\n", "isolation", State::Slow),
            ("sys/devices/system/cpu/nohz_full", "(null)\n", "timer ticks", State::Note),
            ("sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n", "quota", State::Slow),
            ("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "0-1\n", "siblings", State::Slow),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n", "frequency", State::Slow),
            ("sys/devices/system/cpu/cpu1/cpuidle/state1/latency", "133\n", "idle states", State::Slow),
            ("proc/cpuinfo", "flags\t: fpu tsc\n", "cycle counter", State::Note),
            ("proc/stat", "cpu  100 0 100 9600 0 0 0 200 0 0\n", "stolen time", State::Note),
            ("proc/77/comm", "irqbalance\n", "irqbalance", State::Note),
        ] {
            let fixture = fixture();
            fixture.put(file, text);
            assert_eq!(state(&check(&fixture.machine(), &[1, 2]), name), expected, "{file}: {text}");
        }
    }

    #[test]
    fn a_state_that_is_switched_off_does_not_count() {
        let fixture = fixture();
        fixture.put("sys/devices/system/cpu/cpu1/cpuidle/state2/latency", "800");
        fixture.put("sys/devices/system/cpu/cpu1/cpuidle/state2/disable", "1");
        assert_eq!(found(&check(&fixture.machine(), &[1]), "idle states").says, "2 µs to wake at most");
    }

    #[test]
    fn the_command_names_the_processors() {
        let findings = check(&fixture().machine(), &[0, 1]);
        let isolation = found(&findings, "isolation");
        assert_eq!(isolation.mend.as_deref(), Some("boot with isolcpus=managed_irq,domain,0"));
    }

    #[test]
    fn an_empty_machine_is_no_panic() {
        let findings = check(&Fixture::new(&[]).machine(), &[0]);
        assert!(findings.iter().all(|finding| finding.state != State::Missing), "{findings:?}");
    }
}
