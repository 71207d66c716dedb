//! `freeway doctor`: what this machine lacks, what that costs, and the command that mends it.
//!
//! It only reads: files of `/proc` and `/sys`, and what Linux tells of its interfaces. Each check is a function from
//! a [`Machine`], or an interface's [`Inspection`], to findings, so that tests hand it machines made of a few files.
//!
//! | file | checks |
//! |---|---|
//! | `rights` | capabilities, locked memory, /dev/net/tun |
//! | `kernel` | version, BPF, ports, clock |
//! | `memory` | huge pages, swap, NUMA |
//! | `processors` | isolation, quotas, siblings, clock rates, idle states |
//! | `interface` | XDP, queues, hashing, offloads, interrupts |
//! | `machine`, `finding` | what is read, what is said |

mod finding;
mod interface;
mod kernel;
mod machine;
mod memory;
mod processors;
mod rights;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use freeway_afxdp::inspect::{Inspection, inspect, interfaces};
use serde_json::json;

use finding::{Finding, State};
use machine::Machine;

/// Says what this machine lacks to serve well, what that costs, and the command that mends it. Changes nothing.
///
/// Example: freeway doctor --dev eth0 --cores 1,2
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The interface to serve on; repeatable [default: every Ethernet interface that is up]
    #[arg(long, value_name = "IFACE")]
    dev: Vec<String>,
    /// Processors that would serve, as for `serve` [default: all but the first; the only one if there is one]
    #[arg(long, value_delimiter = ',', value_name = "CPU,...")]
    cores: Vec<usize>,
    /// Print good findings too.
    #[arg(long, short)]
    all: bool,
    /// Write the findings as JSON to this file; - for standard output, instead of the text.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// `memory` is what `serve` takes by default, in bytes, for each core.
pub(crate) fn run(args: &Args, cpus: &[usize], memory: u64) -> Result<()> {
    let machine = Machine::this();
    let mut findings = examine(&machine, cpus, memory);
    for interface in looked_at(&args.dev)? {
        findings.extend(interface::check(&machine, &interface, cpus));
    }
    report(args, &findings)
}

impl Args {
    /// The processors asked for.
    pub(crate) fn cores(&self) -> &[usize] {
        &self.cores
    }
}

/// Everything but the interfaces.
fn examine(machine: &Machine, cpus: &[usize], memory: u64) -> Vec<Finding> {
    let cores = cpus.len().max(1) as u64;
    [
        rights::check(machine, memory * cores),
        kernel::check(machine),
        memory::check(machine, memory * cores),
        processors::check(machine, cpus),
    ]
    .concat()
}

/// The interfaces asked for, or all of them.
fn looked_at(names: &[String]) -> Result<Vec<Inspection>> {
    let all = if names.is_empty() {
        interfaces().context("Linux does not tell its interfaces")?
    } else {
        Vec::new()
    };
    let mut found = Vec::new();
    for name in names.iter().chain(&all) {
        match inspect(name).with_context(|| format!("Linux does not tell about {name}"))? {
            // Nobody thinks of serving on one that is down, unless he says so.
            Some(interface) if interface.is_up || !names.is_empty() => found.push(interface),
            Some(_) => {}
            None => bail!("there is no interface {name}: `ip link` shows those there are"),
        }
    }
    Ok(found)
}

fn report(args: &Args, findings: &[Finding]) -> Result<()> {
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    if !to_stdout {
        print!("{}", text(findings, args.all));
    }
    if let Some(path) = &args.json {
        let figures = figures(findings);
        if to_stdout {
            println!("{figures}");
        } else {
            fs::write(path, format!("{figures}\n"))
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    Ok(())
}

/// What a person reads: worst first within each group.
fn text(findings: &[Finding], all: bool) -> String {
    let mut text = String::new();
    let mut group = "";
    for finding in findings.iter().filter(|finding| all || finding.state != State::Good) {
        if finding.group != group {
            text.push_str(&format!("{}\n", finding.group));
            group = &finding.group;
        }
        text.push_str(&finding.to_string());
    }
    let counts: Vec<String> =
        counts(findings).into_iter().map(|(state, count)| format!("{count} {state}")).collect();
    text.push_str(&format!("{}\n", counts.join(", ")));
    text
}

/// How many findings there are in each state, the worst last.
fn counts(findings: &[Finding]) -> BTreeMap<State, usize> {
    let mut counts = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.state).or_default() += 1;
    }
    counts
}

fn figures(findings: &[Finding]) -> serde_json::Value {
    let counts: serde_json::Map<_, _> = State::ALL
        .iter()
        .map(|&state| {
            let count = findings.iter().filter(|finding| finding.state == state).count();
            (state.to_string(), count.into())
        })
        .collect();
    let findings: Vec<_> = findings.iter().map(Finding::json).collect();
    json!({ "counts": counts, "findings": findings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::good("memory", "swap", "none"),
            Finding::slow("memory", "huge pages", "none", "more TLB misses", "sysctl -w vm.nr_hugepages=64"),
            Finding::missing("eth0", "program", "another one", "no start", "ip link set dev eth0 xdp off"),
        ]
    }

    #[test]
    fn a_person_reads_what_is_wrong_and_a_program_everything() {
        let text = text(&findings(), false);
        assert!(!text.contains("swap"), "{text}");
        assert!(text.contains("  slow     huge pages"), "{text}");
        assert!(text.contains("sysctl -w vm.nr_hugepages=64"), "{text}");
        assert!(text.ends_with("1 good, 1 slow, 1 missing\n"), "{text}");
        let json = figures(&findings());
        assert_eq!(json["counts"]["missing"], 1);
        assert_eq!(json["counts"]["note"], 0);
        assert_eq!(json["findings"][1]["name"], "huge pages");
        assert_eq!(json["findings"][0]["costs"], serde_json::Value::Null);
    }

    /// On whatever machine this runs, all checks come to an end and say something.
    #[test]
    fn this_machine_can_be_examined() {
        let findings = examine(&Machine::this(), &[0], 64 << 20);
        assert!(findings.len() > 10, "{findings:?}");
    }
}
