//! What a core counts, as a reader sees it.

use freeway_base::{Duration, Instant};

use crate::stage::{Bursts, Stages};

freeway_base::counters! {
    /// What one core's loop does.
    pub struct TurnCounters {
        /// Turns of the loop.
        turns,
        /// Turns that found something to do.
        busy_turns,
        /// Frames taken from ports and mailboxes.
        rx_frames,
        /// Frames given to ports.
        tx_frames,
        /// Turns that left frames behind because a port was full.
        tx_blocked,
        /// Timers that came due.
        timers,
        /// Events that the application ran on.
        events,
    }
}

freeway_base::counters! {
    /// How one core rests.
    pub struct IdleCounters {
        /// Times the core went to sleep.
        sleeps,
        /// Times it was about to sleep and found work after all.
        stayed_awake,
        /// Sleeps that a port, another core or a stop ended.
        woken_by_fd,
        /// Sleeps that lasted until a deadline.
        woken_by_timer,
        /// Nanoseconds asleep.
        asleep_ns,
    }
}

freeway_base::counters! {
    /// How late a core was that slept: from the moment it was to wake, a deadline or the ring of another core's bell,
    /// to its next turn. The kernel does not say when a device became readable, so sleeps that a device ended are not
    /// among them.
    pub struct WakeCounters {
        /// Wake-ups whose moment is known.
        wakes,
        /// Nanoseconds late, all together.
        late_ns,
        /// The most that one was late, in nanoseconds.
        late_ns_max,
        /// Wake-ups no more than 8 µs late.
        late_us_8,
        /// More than that, and no more than 32 µs late; and so on.
        late_us_32,
        /// See above.
        late_us_128,
        /// See above.
        late_us_512,
        /// See above.
        late_us_2048,
        /// See above.
        late_us_8192,
        /// Later than that.
        late_us_more,
    }
}

impl WakeCounters {
    /// Counts a wake-up that came so late.
    pub(crate) fn note(&mut self, late: Duration) {
        let ns = late.as_nanos();
        self.wakes += 1;
        self.late_ns += ns;
        self.late_ns_max = self.late_ns_max.max(ns);
        *match late.as_micros() {
            0..=7 => &mut self.late_us_8,
            8..=31 => &mut self.late_us_32,
            32..=127 => &mut self.late_us_128,
            128..=511 => &mut self.late_us_512,
            512..=2_047 => &mut self.late_us_2048,
            2_048..=8_191 => &mut self.late_us_8192,
            _ => &mut self.late_us_more,
        } += 1;
    }
}

freeway_base::counters! {
    /// What passes between this core and the others.
    pub struct MailCounters {
        /// Frames handed to the core they belong to.
        handed_over,
        /// Copies of frames of interest to all cores (ARP, NDP), given to the others.
        shared,
        /// Frames taken from other cores.
        taken,
        /// Sleeping cores that were woken.
        rung,
        /// Frames dropped because the other core's mailbox was full.
        dropped_full,
        /// Frames dropped because they are longer than a mailbox's slot.
        dropped_too_long,
        /// Frames of other cores dropped because this core had no buffer left.
        dropped_no_buffer,
        /// Frames sent on through this core's ports for cores without a queue.
        relayed,
        /// Frames of other cores that were to be sent on, dropped for want of a buffer.
        relay_dropped_no_buffer,
    }
}

/// Shown one group of counters at a time: its name, then each counter's name and value.
pub(crate) type Visit<'a> = dyn FnMut(&str, &mut dyn Iterator<Item = (&'static str, u64)>) + 'a;

/// Something whose counters can be published. Groups and counters come in the same order each time.
pub(crate) trait Tally {
    fn stages(&self) -> Stages;
    fn bursts(&self) -> Bursts;
    fn visit(&self, visit: &mut Visit<'_>);
}

/// All counters of one core at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreStats {
    /// Which core.
    pub core: u32,
    /// When the counters had these values, by the runtime's clock.
    pub at: Instant,
    /// Cycles by stage.
    pub stages: Stages,
    /// Sizes of the bursts received.
    pub bursts: Bursts,
    /// Everything else by group: the loop's (`turns`, `idle`, `wake`, `mail`), the stack's, and one group a port.
    pub groups: Vec<Group>,
}

/// Counters that belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// What they are about, such as `turns` or `port eth0`.
    pub name: String,
    /// Names and values, in the order of their declaration.
    pub counters: Vec<(&'static str, u64)>,
}

impl CoreStats {
    /// The counter `name` of `group`, if there is one.
    pub fn get(&self, group: &str, name: &str) -> Option<u64> {
        let group = self.groups.iter().find(|candidate| candidate.name == group)?;
        group.counters.iter().find(|(candidate, _)| *candidate == name).map(|&(_, value)| value)
    }

    /// Every counter that has drops in its name and is not zero: group, name, value.
    pub fn drops(&self) -> impl Iterator<Item = (&str, &'static str, u64)> {
        self.groups
            .iter()
            .flat_map(|group| group.counters.iter().map(|&(name, value)| (group.name.as_str(), name, value)))
            .filter(|(_, name, value)| name.contains("drop") && *value > 0)
    }

    /// The present values of `tally`.
    pub(crate) fn collect(core: u32, at: Instant, tally: &impl Tally) -> Self {
        let mut groups = Vec::new();
        tally.visit(&mut |name, counters| {
            groups.push(Group { name: name.to_owned(), counters: counters.collect() });
        });
        Self { core, at, stages: tally.stages(), bursts: tally.bursts(), groups }
    }

    /// Every number in the order of a board's words, straight from the source.
    pub(crate) fn for_each_value(at: Instant, tally: &impl Tally, mut put: impl FnMut(u64)) {
        put(at.as_nanos());
        let Stages { busy, idle } = tally.stages();
        busy.into_iter().for_each(&mut put);
        put(idle);
        tally.bursts().counts.into_iter().for_each(&mut put);
        tally.visit(&mut |_, counters| counters.for_each(|(_, value)| put(value)));
    }

    /// Every number of this copy, in the same order.
    pub(crate) fn for_each_word(&self, mut put: impl FnMut(u64)) {
        let mut copy = self.clone();
        copy.walk(|word| put(*word));
    }

    /// Overwrites every number, in the same order.
    pub(crate) fn fill(&mut self, mut next: impl FnMut() -> u64) {
        self.walk(|word| *word = next());
    }

    fn walk(&mut self, mut visit: impl FnMut(&mut u64)) {
        let mut at = self.at.as_nanos();
        visit(&mut at);
        self.at = Instant::from_nanos(at);
        self.stages.busy.iter_mut().for_each(&mut visit);
        visit(&mut self.stages.idle);
        self.bursts.counts.iter_mut().for_each(&mut visit);
        let counters = self.groups.iter_mut().flat_map(|group| &mut group.counters);
        counters.for_each(|(_, value)| visit(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_ups_are_counted_by_how_late_they_came() {
        let mut wake = WakeCounters::default();
        for us in [0, 7, 8, 100, 300, 2_000, 8_191, 8_192, 1_000_000] {
            wake.note(Duration::from_micros(us));
        }
        let WakeCounters {
            wakes,
            late_ns,
            late_ns_max,
            late_us_8,
            late_us_32,
            late_us_128,
            late_us_512,
            late_us_2048,
            late_us_8192,
            late_us_more,
        } = wake;
        assert_eq!((wakes, late_ns, late_ns_max), (9, 1_018_798_000, 1_000_000_000));
        let buckets =
            [late_us_8, late_us_32, late_us_128, late_us_512, late_us_2048, late_us_8192, late_us_more];
        assert_eq!(buckets, [2, 1, 1, 1, 1, 1, 2]);
    }
}
