//! `freeway top`: a running server, live.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use freeway_control::rates::STAGES;
use freeway_control::{CoreSnapshot, Rates, Snapshot};
use ratatui::Frame;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table};

use super::Whom;
use super::screen::short;

/// Shows a running server: each core's traffic, load, cycles by stage, drops and pools. Keys: q ends, p pauses.
///
/// Example: freeway top --interval 2
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = super::screen::interval)]
    interval: f64,
    /// Prints one screen, as text, and ends: for scripts and bug reports.
    #[arg(long)]
    once: bool,
}

/// Columns and rows of the text that `--once` prints.
const PAGE: (u16, u16) = (132, 40);

/// Sizes of bursts that are shown together, in frames.
const BURSTS: [(u32, u32); 7] = [(1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 64)];

/// Counters of wake-ups by how late they came.
const LATE: [(&str, &str); 7] = [
    ("late_us_8", "8 µs"),
    ("late_us_32", "32 µs"),
    ("late_us_128", "128 µs"),
    ("late_us_512", "512 µs"),
    ("late_us_2048", "2 ms"),
    ("late_us_8192", "8 ms"),
    ("late_us_more", "more"),
];

pub(super) fn run(args: &Args) -> Result<()> {
    let mut client = args.whom.connect()?;
    let wait = Duration::from_secs_f64(args.interval);
    let mut view = View::new(client.stats()?);
    if args.once {
        std::thread::sleep(wait);
        view.take(client.stats()?);
        print!("{}", page(&view)?);
        return Ok(());
    }
    if !io::stdout().is_terminal() {
        bail!("top draws on a terminal: print one screen by --once, or take `freeway stats --json -`");
    }
    let mut terminal = ratatui::try_init()?;
    let ended = (|| -> Result<()> {
        let mut next = Instant::now() + wait;
        loop {
            terminal.draw(|frame| view.draw(frame))?;
            if event::poll(next.saturating_duration_since(Instant::now()))? {
                match event::read()? {
                    Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                        KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                        KeyCode::Char('p') => view.paused = !view.paused,
                        _ => {}
                    },
                    _ => {}
                }
                continue;
            }
            next = Instant::now() + wait;
            if !view.paused {
                view.take(client.stats()?);
            }
        }
    })();
    ratatui::restore();
    ended
}

/// One screen as text.
fn page(view: &View) -> Result<String> {
    let (width, height) = PAGE;
    let mut terminal = ratatui::Terminal::new(TestBackend::new(width, height))?;
    let drawn = terminal.draw(|frame| view.draw(frame))?;
    Ok(text_of(drawn.buffer))
}

/// A buffer's lines without the blanks behind them, and without the empty ones at its end.
fn text_of(buffer: &Buffer) -> String {
    let area = buffer.area;
    let line = |y| {
        let cells: String = (area.left()..area.right()).map(|x| buffer[(x, y)].symbol()).collect();
        cells.trim_end().to_owned() + "\n"
    };
    let all: String = (area.top()..area.bottom()).map(line).collect();
    all.trim_end().to_owned() + "\n"
}

/// What is shown: the last two snapshots.
struct View {
    before: Snapshot,
    now: Snapshot,
    paused: bool,
}

impl View {
    fn new(now: Snapshot) -> Self {
        Self { before: now.clone(), now, paused: false }
    }

    fn take(&mut self, now: Snapshot) {
        self.before = std::mem::replace(&mut self.now, now);
    }

    /// Each core and the total: its name, what it did, and how it stands.
    fn rows(&self) -> Vec<(String, Rates, &CoreSnapshot)> {
        let cores = self.before.cores.iter().zip(&self.now.cores);
        let mut rows: Vec<_> = cores
            .map(|(before, now)| (now.core.unwrap_or_default().to_string(), Rates::between(before, now), now))
            .collect();
        rows.push(("all".to_owned(), Rates::between(&self.before.total, &self.now.total), &self.now.total));
        rows
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let rows = self.rows();
        let height = rows.len() as u16 + 3;
        let [head, traffic, cycles, histograms, rest] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(height),
            Constraint::Length(height),
            Constraint::Length(BURSTS.len() as u16 + 2),
            Constraint::Min(3),
        ])
        .areas(frame.area());
        let [bursts, wake] = Layout::horizontal([Constraint::Percentage(50); 2]).areas(histograms);
        let [levels, drops] = Layout::horizontal([Constraint::Percentage(50); 2]).areas(rest);
        frame.render_widget(self.head(), head);
        frame.render_widget(traffic_table(&rows), traffic);
        frame.render_widget(cycles_table(&rows), cycles);
        let width = bursts.width.saturating_sub(2);
        frame.render_widget(histogram("frames a burst", &self.bursts(), width), bursts);
        frame.render_widget(histogram("wake-ups by how late", &self.wake_ups(), width), wake);
        frame.render_widget(self.levels(), levels);
        frame.render_widget(self.drops(), drops);
    }

    fn head(&self) -> Paragraph<'_> {
        let Snapshot { program, pid, uptime_s, ready, .. } = &self.now;
        let (hours, minutes, seconds) = (uptime_s / 3_600, uptime_s / 60 % 60, uptime_s % 60);
        let paused = if self.paused { "   paused" } else { "" };
        let first =
            format!("freeway {program}   process {pid}   up {hours}:{minutes:02}:{seconds:02}{paused}");
        Paragraph::new(vec![Line::from(first).style(Modifier::BOLD), Line::from(ready.as_str())])
    }

    /// Bursts between the two looks, by size.
    fn bursts(&self) -> Vec<(String, u64)> {
        let of = |snapshot: &Snapshot, low: u32, high: u32| -> u64 {
            snapshot.total.bursts.range(low..=high).map(|(_, count)| count).sum()
        };
        let row = |&(low, high): &(u32, u32)| {
            let label = if low == high { low.to_string() } else { format!("{low} to {high}") };
            (label, of(&self.now, low, high).saturating_sub(of(&self.before, low, high)))
        };
        BURSTS.iter().map(row).collect()
    }

    /// Wake-ups between the two looks, by how late the core was.
    fn wake_ups(&self) -> Vec<(String, u64)> {
        let row = |&(name, label): &(&str, &str)| {
            let of = |snapshot: &Snapshot| snapshot.total.get("wake", name);
            (label.to_owned(), of(&self.now).saturating_sub(of(&self.before)))
        };
        LATE.iter().map(row).collect()
    }

    /// How full pools and tables are: places in use, places there are, and how few were ever free.
    fn levels(&self) -> Table<'_> {
        let tables = self.now.total.groups.get("tables");
        let level = |name: String| {
            let value = tables.and_then(|tables| tables.get(&name));
            value.map_or_else(String::new, |value| short(*value as f64))
        };
        let names = tables.into_iter().flatten().map(|(name, _)| name);
        let rows =
            names.filter(|name| !name.ends_with("_max") && !name.ends_with("_free_least")).map(|name| {
                let cells = [name.clone(), format!("{name}_max"), format!("{name}_free_least")].map(level);
                Row::new([name.replace('_', " ")].into_iter().chain(cells))
            });
        let widths = [Constraint::Min(16)].into_iter().chain([Constraint::Length(11); 3]);
        Table::new(rows, widths)
            .header(Row::new(["", "used", "of", "least free"]).style(Modifier::BOLD))
            .block(Block::bordered().title("tables"))
    }

    /// What was dropped: since the start, and by the second.
    fn drops(&self) -> Table<'_> {
        let seconds = Rates::between(&self.before.total, &self.now.total).seconds;
        let rows = self.now.total.drops().map(|(group, name, value)| {
            let grown = value.saturating_sub(self.before.total.get(group, name)) as f64;
            let rate = if seconds > 0.0 { grown / seconds } else { 0.0 };
            let style = if rate > 0.0 { Style::new().fg(Color::Red) } else { Style::new() };
            let cells =
                [format!("{group}: {}", name.replace('_', " ")), short(value as f64), short(rate) + "/s"];
            Row::new(cells).style(style)
        });
        let widths = [Constraint::Min(24), Constraint::Length(10), Constraint::Length(10)];
        Table::new(rows, widths).block(Block::bordered().title("drops"))
    }
}

/// A line for each row: its label, its share of all as a number and as a bar.
fn histogram<'a>(title: &'a str, rows: &[(String, u64)], width: u16) -> Paragraph<'a> {
    let all: u64 = rows.iter().map(|(_, count)| count).sum();
    let room = f64::from(width.saturating_sub(28));
    let line = |(label, count): &(String, u64)| {
        let share = if all > 0 { *count as f64 / all as f64 } else { 0.0 };
        let bar = "█".repeat((share * room).ceil() as usize);
        Line::from(format!("{label:>9} {:>8} {:>5.1}%  {bar}", short(*count as f64), share * 100.0))
    };
    Paragraph::new(rows.iter().map(line).collect::<Vec<_>>()).block(Block::bordered().title(title))
}

fn traffic_table(rows: &[(String, Rates, &CoreSnapshot)]) -> Table<'static> {
    let head = [
        "core",
        "busy",
        "rx/s",
        "tx/s",
        "Mbit/s in",
        "Mbit/s out",
        "accepted/s",
        "events/s",
        "resent/s",
        "drops/s",
        "burst",
        "connections",
    ];
    let body = rows.iter().map(|(name, rates, core)| {
        Row::new([
            name.clone(),
            format!("{:.0}%", rates.busy * 100.0),
            short(rates.rx_frames),
            short(rates.tx_frames),
            format!("{:.1}", rates.bits_in / 1e6),
            format!("{:.1}", rates.bits_out / 1e6),
            short(rates.accepted),
            short(rates.events),
            short(rates.retransmitted),
            short(rates.drops),
            format!("{:.1}", rates.burst),
            short(core.get("tables", "connections") as f64),
        ])
    });
    let widths =
        [Constraint::Length(5), Constraint::Length(6)].into_iter().chain([Constraint::Length(11); 10]);
    Table::new(body, widths)
        .header(Row::new(head).style(Modifier::BOLD))
        .block(Block::bordered().title("cores"))
}

fn cycles_table(rows: &[(String, Rates, &CoreSnapshot)]) -> Table<'static> {
    let head = ["core"].into_iter().chain(STAGES).chain(["total"]);
    let body = rows.iter().map(|(name, rates, _)| {
        let stages = rates.cycles_per_frame.map(|cycles| format!("{cycles:.0}"));
        let total = format!("{:.0}", rates.total_cycles_per_frame());
        Row::new([name.clone()].into_iter().chain(stages).chain([total]))
    });
    let widths = [Constraint::Length(5)].into_iter().chain([Constraint::Length(10); 7]);
    Table::new(body, widths)
        .header(Row::new(head).style(Modifier::BOLD))
        .block(Block::bordered().title("cycles a frame (budget: 200, and 1400 for the application)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(at_s: u64, frames: u64) -> CoreSnapshot {
        let group = |name: &str, counters: &[(&str, u64)]| {
            let counters = counters.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
            (name.to_owned(), counters)
        };
        CoreSnapshot {
            core: Some(0),
            cores: 1,
            at_ns: at_s * 1_000_000_000,
            cycles: STAGES.iter().map(|&stage| (stage.to_owned(), frames * 20)).collect(),
            bursts: [(1, frames / 8), (40, frames / 8 * 3)].into(),
            groups: [
                group("wake", &[("late_us_32", frames / 1_000)]),
                group("turns", &[("rx_frames", frames), ("tx_frames", frames)]),
                group("tcp", &[("dropped_checksum", frames / 100)]),
                group("tables", &[("connections", 1_500_000)]),
            ]
            .into(),
            ..CoreSnapshot::default()
        }
    }

    #[test]
    fn a_screen_shows_what_happened_between_two_looks() -> Result<()> {
        let snapshot = |at_s, frames| Snapshot {
            cores: vec![core(at_s, frames)],
            total: core(at_s, frames),
            ..Snapshot::take(&[], "ready dev=veth addr=198.18.0.2", 3_725)
        };
        let mut view = View::new(snapshot(1, 0));
        view.take(snapshot(3, 4_000_000));
        let text = page(&view)?;
        for part in [
            "up 1:02:05",
            "ready dev=veth",
            "2.00 M",
            "1.50 M",
            "tcp: dropped checksum",
            "40.0 k",
            "20.0 k/s",
            "1    500 k  25.0%  ███",
            "32 to 63   1.50 M  75.0%  ███",
            "32 µs     4000 100.0%  ███",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(PAGE.0)));
        Ok(())
    }
}
