//! The memory that packets and connections would lie in.
//!
//! Sources: Documentation/admin-guide/mm and sysctl/vm.rst of Linux, proc(5).

use super::finding::Finding;
use super::kernel::numbers;
use super::machine::{Machine, chosen};

const GROUP: &str = "memory";
const HUGE: u64 = 2 << 20;

/// `wanted` is what all cores' packets and tables take, in bytes.
pub(super) fn check(machine: &Machine, wanted: u64) -> Vec<Finding> {
    [
        Some(available(machine, wanted)),
        Some(huge_pages(machine, wanted)),
        Some(swap(machine)),
        overcommit(machine),
    ]
    .into_iter()
    .flatten()
    .chain(nodes(machine))
    .collect()
}

fn available(machine: &Machine, wanted: u64) -> Finding {
    const NAME: &str = "available";
    let kilobytes = machine.field("/proc/meminfo", "MemAvailable");
    let kilobytes: Option<u64> =
        kilobytes.and_then(|text| text.split_whitespace().next().and_then(|number| number.parse().ok()));
    match kilobytes.map(|kilobytes| kilobytes << 10) {
        Some(available) if available < wanted => Finding::missing(
            GROUP,
            NAME,
            format!("{} MiB; {} MiB are wanted by default", available >> 20, wanted >> 20),
            "`freeway serve` refuses to start",
            "freeway serve --max-connections N --buffers N, both lower",
        ),
        Some(available) => Finding::good(
            GROUP,
            NAME,
            format!("{} MiB, {} MiB wanted by default", available >> 20, wanted >> 20),
        ),
        None => Finding::unknown(GROUP, NAME, "/proc/meminfo does not say"),
    }
}

/// Pages set aside come first; else small ones are joined.
fn huge_pages(machine: &Machine, wanted: u64) -> Finding {
    const NAME: &str = "huge pages";
    let pages = wanted.div_ceil(HUGE);
    let folder = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    let count = |file: &str| machine.number::<u64>(&format!("{folder}/{file}"));
    let (set_aside, free) = (count("nr_hugepages").unwrap_or(0), count("free_hugepages").unwrap_or(0));
    // What others have reserved and not touched yet counts as free.
    let free = free.saturating_sub(count("resv_hugepages").unwrap_or(0));
    let says = format!("{free} of {set_aside} of 2 MiB free, {pages} wanted by default");
    if free >= pages {
        return Finding::good(GROUP, NAME, says);
    }
    let mend = format!("sysctl -w vm.nr_hugepages={}", set_aside - free.min(set_aside) + pages);
    match joining(machine) {
        Joining::Works(how) => Finding::note(GROUP, NAME, format!("{says}; small ones are joined ({how})"))
            .costs("where memory is in pieces, some are not joined, and each record there is a miss of the TLB too")
            .mend(mend),
        Joining::Fails(why) => Finding::slow(
            GROUP,
            NAME,
            format!("{says}; small ones are not joined ({why})"),
            "records of connections at random take two to three times as long to load: each is a miss of the TLB too",
            mend,
        ),
    }
}

enum Joining {
    Works(String),
    Fails(String),
}

/// Whether small pages of a memfd can be made huge ones: `MADV_COLLAPSE` (Linux 6.1) asks no setting but `deny`.
fn joining(machine: &Machine) -> Joining {
    let folder = "/sys/kernel/mm/transparent_hugepage";
    let Some(setting) = machine.text(&format!("{folder}/shmem_enabled")) else {
        return Joining::Fails("this kernel has no transparent huge pages".into());
    };
    let setting = chosen(&setting).unwrap_or_default().to_owned();
    let release = machine.text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let collapses = numbers(&release).is_some_and(|numbers| numbers >= (6, 1));
    match setting.as_str() {
        "deny" => Joining::Fails("shmem_enabled is deny".into()),
        "always" | "within_size" | "advise" | "force" => {
            Joining::Works(format!("shmem_enabled is {setting}"))
        }
        _ if collapses => Joining::Works("on request".into()),
        _ => Joining::Fails(format!("shmem_enabled is {setting}, and Linux is older than 6.1")),
    }
}

fn swap(machine: &Machine) -> Finding {
    const NAME: &str = "swap";
    let Some(swaps) = machine.text("/proc/swaps") else {
        return Finding::good(GROUP, NAME, "this kernel has none");
    };
    // The first line is a heading.
    let areas: Vec<&str> = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    if areas.is_empty() {
        Finding::good(GROUP, NAME, "none")
    } else {
        Finding::slow(
            GROUP,
            NAME,
            areas.join(", "),
            "records of idle connections may be swapped out: a core then waits milliseconds for one of them",
            "swapoff -a, or huge pages, which are never swapped",
        )
    }
}

fn overcommit(machine: &Machine) -> Option<Finding> {
    const NAME: &str = "overcommit";
    let mode: u32 = machine.number("/proc/sys/vm/overcommit_memory")?;
    Some(if mode == 2 {
        Finding::note(GROUP, NAME, "strict")
            .costs("a large arena may be refused though memory is free")
            .mend("sysctl -w vm.overcommit_memory=0")
    } else {
        Finding::good(GROUP, NAME, format!("mode {mode}"))
    })
}

fn nodes(machine: &Machine) -> Vec<Finding> {
    let Some(nodes) = machine.cpus("/sys/devices/system/node/online") else {
        return vec![Finding::good(GROUP, "NUMA", "one node")];
    };
    if nodes.len() < 2 {
        return vec![Finding::good(GROUP, "NUMA", "one node")];
    }
    let mut findings = vec![
        Finding::note(GROUP, "NUMA", format!("{} nodes", nodes.len()))
            .costs("memory of another node is slower; each core takes its own node's")
            .mend("freeway serve --cores with processors of the card's node"),
    ];
    if machine.number::<u32>("/proc/sys/kernel/numa_balancing").is_some_and(|mode| mode != 0) {
        findings.push(Finding::slow(
            GROUP,
            "NUMA balancing",
            "on",
            "the kernel takes pages away now and then to see who uses them: pauses of microseconds",
            "sysctl -w kernel.numa_balancing=0",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::testing::{Fixture, found, state};

    const FOLDER: &str = "sys/kernel/mm/hugepages/hugepages-2048kB";

    fn fixture() -> Fixture {
        let fixture = Fixture::new(&[
            ("proc/meminfo", "MemTotal:       24000000 kB\nMemAvailable:   20000000 kB\n"),
            ("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
            ("proc/sys/vm/overcommit_memory", "0\n"),
            ("proc/sys/kernel/osrelease", "6.18.44\n"),
            ("sys/devices/system/node/online", "0\n"),
            (
                "sys/kernel/mm/transparent_hugepage/shmem_enabled",
                "always within_size advise [never] deny force\n",
            ),
        ]);
        fixture.put(&format!("{FOLDER}/nr_hugepages"), "64\n");
        fixture.put(&format!("{FOLDER}/free_hugepages"), "64\n");
        fixture.put(&format!("{FOLDER}/resv_hugepages"), "0\n");
        fixture
    }

    #[test]
    fn a_prepared_machine_is_well() {
        let findings = check(&fixture().machine(), 100 << 20);
        assert!(findings.iter().all(|finding| finding.state == State::Good), "{findings:?}");
    }

    #[test]
    fn huge_pages_are_counted_and_the_command_names_enough() {
        let fixture = fixture();
        fixture.put(&format!("{FOLDER}/free_hugepages"), "40");
        fixture.put(&format!("{FOLDER}/resv_hugepages"), "10");
        let findings = check(&fixture.machine(), 100 << 20);
        let huge = found(&findings, "huge pages");
        assert_eq!(huge.state, State::Note);
        // 34 are in use or reserved, 50 are wanted.
        assert_eq!(huge.mend.as_deref(), Some("sysctl -w vm.nr_hugepages=84"));
        for (setting, release, expected) in [
            ("always within_size advise never [deny] force", "6.18.0", State::Slow),
            ("always within_size advise [never] deny force", "5.15.0", State::Slow),
            ("always within_size [advise] never deny force", "5.15.0", State::Note),
        ] {
            fixture.put("sys/kernel/mm/transparent_hugepage/shmem_enabled", setting);
            fixture.put("proc/sys/kernel/osrelease", release);
            assert_eq!(
                state(&check(&fixture.machine(), 100 << 20), "huge pages"),
                expected,
                "{setting} {release}"
            );
        }
    }

    #[test]
    fn swap_and_nodes_are_seen() {
        let fixture = fixture();
        fixture.put("proc/swaps", "Filename Type Size Used Priority\n/dev/dm-1 partition 8388604 0 -2\n");
        fixture.put("sys/devices/system/node/online", "0-1\n");
        fixture.put("proc/sys/kernel/numa_balancing", "1\n");
        fixture.put("proc/sys/vm/overcommit_memory", "2\n");
        let findings = check(&fixture.machine(), 64 << 30);
        assert_eq!(found(&findings, "swap").says, "/dev/dm-1");
        assert_eq!(state(&findings, "NUMA"), State::Note);
        assert_eq!(state(&findings, "NUMA balancing"), State::Slow);
        assert_eq!(state(&findings, "overcommit"), State::Note);
        assert_eq!(state(&findings, "available"), State::Missing);
    }
}
