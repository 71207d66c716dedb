//! What the processes of a benchmark say to each other: a line of JSON each way, through pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use freeway_loadgen::{Percentiles, Reading, Work};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a part is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// A server's counters.
    Server,
    /// Have each of the first `cores` loads hold so many connections.
    Hold { cores: u32, connections: u32 },
    /// Have the first `cores` loads do this, and the others nothing.
    Work { cores: u32, work: Work },
    /// The counts of all loads.
    Read,
    /// The counts of all loads, and the latencies since the last mark.
    Mark,
    /// Bare frames at a rate, for so many seconds.
    Frames { rate: f64, seconds: f64 },
}

/// A server's counters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ServerSays {
    /// Resident memory of the process, everything counted, in bytes.
    pub(crate) resident_bytes: u64,
    /// Cycles of busy turns, by stage, all cores together.
    pub(crate) stages: Vec<(String, u64)>,
    /// Cycles of turns that found nothing.
    pub(crate) idle_cycles: u64,
    /// Frames received and sent.
    pub(crate) frames: u64,
    /// Bursts, and frames in them.
    pub(crate) bursts: (u64, u64),
    /// Segments sent again.
    pub(crate) retransmitted: u64,
    /// Everything dropped, by counter.
    pub(crate) drops: Vec<(String, u64)>,
}

impl ServerSays {
    /// What was counted since `before`; memory is as it is.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let less = |now: &[(String, u64)], before: &[(String, u64)]| {
            let of =
                |name: &str| before.iter().find(|(other, _)| other == name).map_or(0, |&(_, value)| value);
            now.iter()
                .map(|(name, value)| (name.clone(), value - of(name)))
                .filter(|&(_, value)| value > 0)
                .collect()
        };
        Self {
            resident_bytes: self.resident_bytes,
            stages: less(&self.stages, &before.stages),
            idle_cycles: self.idle_cycles - before.idle_cycles,
            frames: self.frames - before.frames,
            bursts: (self.bursts.0 - before.bursts.0, self.bursts.1 - before.bursts.1),
            retransmitted: self.retransmitted - before.retransmitted,
            drops: less(&self.drops, &before.drops),
        }
    }

    /// Cycles of busy turns in one stage, a frame.
    pub(crate) fn cycles(&self, stage: &str) -> f64 {
        let cycles = self.stages.iter().filter(|(name, _)| name == stage).map(|&(_, cycles)| cycles);
        cycles.sum::<u64>() as f64 / self.frames.max(1) as f64
    }

    /// Cycles of busy turns in all stages, a frame.
    pub(crate) fn cycles_total(&self) -> f64 {
        self.stages.iter().map(|&(_, cycles)| cycles).sum::<u64>() as f64 / self.frames.max(1) as f64
    }

    /// The part of the time in which turns found something to do.
    pub(crate) fn busy_share(&self) -> f64 {
        let busy: u64 = self.stages.iter().map(|&(_, cycles)| cycles).sum();
        busy as f64 / (busy + self.idle_cycles).max(1) as f64
    }
}

/// A client's counts.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ClientSays {
    /// Seconds since the part began.
    pub(crate) at_s: f64,
    /// The counts of all loads.
    pub(crate) reading: Reading,
    /// Latencies since the last mark, if they were asked for.
    pub(crate) latencies: Percentiles,
    /// Processor time of the process, in seconds.
    pub(crate) cpu_s: f64,
    /// Resident memory of the process, in bytes.
    pub(crate) resident_bytes: u64,
    /// Segments sent again.
    pub(crate) retransmitted: u64,
}

/// A process that a benchmark started. It does not outlive the benchmark.
pub(crate) struct Part {
    what: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Part {
    /// Starts this program again, as `what`, by way of `prefix` (another program that runs it), and waits until it says
    /// that it is ready.
    pub(crate) fn start(prefix: &[&str], what: &str, arguments: &[String]) -> Result<Self> {
        let own = std::env::current_exe().context("this program's own path")?;
        let mut command = match prefix.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(own);
                command
            }
            None => Command::new(own),
        };
        command.arg("part").arg(what).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("the {what} process"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { what: what.to_owned(), child, input, output })
    }

    /// Waits until it says that it is ready.
    pub(crate) fn ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut said = String::new();
        self.output.read_line(&mut said)?;
        if said.trim() != "ready" {
            bail!("the {} process did not start (after {:.0?})", self.what, begun.elapsed());
        }
        Ok(())
    }

    /// Asks for something and waits for the answer.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, ask: &Ask) -> Result<T> {
        self.tell(ask)?;
        self.answer()
    }

    /// Asks for something; [`Part::answer`] has the answer.
    pub(crate) fn tell(&mut self, ask: &Ask) -> Result<()> {
        let gone = || format!("the {} process is gone", self.what);
        let input = self.input.as_mut().with_context(gone)?;
        writeln!(input, "{}", serde_json::to_string(ask)?).with_context(gone)?;
        input.flush().with_context(gone)
    }

    /// The answer to the oldest question.
    pub(crate) fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut said = String::new();
        self.output.read_line(&mut said)?;
        if said.is_empty() {
            let end = self.child.wait()?;
            bail!("the {} process ended: {end}", self.what);
        }
        let answer: Result<T, String> = serde_json::from_str(&said).with_context(|| said.clone())?;
        answer.map_err(|error| anyhow::anyhow!("the {} process: {error}", self.what))
    }

    /// Resident memory and processor time are read by this.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.input.take());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It may have ended by itself in the meantime.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other end: says that this process is ready, then answers until its input ends.
pub(crate) fn answer_all<T: Serialize>(mut answer: impl FnMut(&Ask) -> Result<T>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let ask = serde_json::from_str(&line?)?;
        let answer = answer(&ask).map_err(|error| format!("{error:#}"));
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

/// Resident memory of a process in bytes, huge pages and shared memory included. Memory that two processes share is
/// counted in each.
pub(crate) fn resident_bytes(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kilobytes = |key: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    // Huge pages of hugetlbfs are not counted in VmRSS.
    (kilobytes("VmRSS:") + kilobytes("HugetlbPages:")) * 1024
}

/// Processor time of this process in seconds, all threads together.
pub(crate) fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
