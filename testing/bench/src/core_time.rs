//! What a processor did meanwhile, by the kernel's account.

use std::fs;

use anyhow::{Context as _, Result};

/// Seconds that one processor spent, since the start of the machine. Source: proc(5), `/proc/stat`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct CoreTime {
    /// Programs, but those that run niced, which a benchmark leaves to others.
    pub user: f64,
    /// Niced programs.
    pub nice: f64,
    /// The kernel on behalf of programs.
    pub system: f64,
    /// Interrupts, soft ones included.
    pub interrupts: f64,
    /// Nothing.
    pub idle: f64,
    /// What the hypervisor gave to others.
    pub stolen: f64,
}

impl CoreTime {
    /// Up to now, of processor `cpu`.
    ///
    /// # Errors
    ///
    /// There is no such processor.
    pub fn of(cpu: usize) -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        Self::parse(&text, cpu).with_context(|| format!("/proc/stat says nothing of processor {cpu}"))
    }

    fn parse(text: &str, cpu: usize) -> Option<Self> {
        /// `USER_HZ`, which is the same on every Linux that this runs on.
        const TICKS: f64 = 100.0;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu{cpu} ")))?;
        let ticks: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
        Some(Self {
            user: user / TICKS,
            nice: nice / TICKS,
            system: system / TICKS,
            interrupts: (irq + softirq) / TICKS,
            idle: (idle + iowait) / TICKS,
            stolen: steal / TICKS,
        })
    }

    /// From `earlier` to now.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            nice: self.nice - earlier.nice,
            system: self.system - earlier.system,
            interrupts: self.interrupts - earlier.interrupts,
            idle: self.idle - earlier.idle,
            stolen: self.stolen - earlier.stolen,
        }
    }

    /// What was spent on the work at hand.
    pub fn busy(self) -> f64 {
        self.user + self.system + self.interrupts
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_line_is_read_in_the_kernels_order() {
        let text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 1 1 1 1 1 1 1 0 0\ncpu1 100 200 300 400 50 6 4 70 0 0\n";
        let time = CoreTime::parse(text, 1).unwrap();
        let expected =
            CoreTime { user: 1.0, nice: 2.0, system: 3.0, interrupts: 0.1, idle: 4.5, stolen: 0.7 };
        assert_eq!(time, expected);
        assert!((time.busy() - 4.1).abs() < 1e-9);
        assert!(CoreTime::parse(text, 2).is_none() && CoreTime::parse("cpu1 1 2", 1).is_none());
    }
}
