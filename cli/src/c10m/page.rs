//! The report as one page that needs no other file: tables, and plots as SVG within.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::report::{AtLoad, Challenge, Cores, Level, Rates, Report, number};

const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A line of a plot: what it is, and its points.
type Line = (&'static str, Vec<(f64, f64)>);

/// The page.
pub(super) fn page(report: &Report) -> Result<String> {
    let mut html = String::from(HEAD);
    board(&mut html, report)?;
    html.push_str("<h2>Plots</h2><div class=plots>");
    for plot in [flatness(report)?, latency(report)?, memory(report)?, cycles(report)?, scaling(report)?] {
        html.push_str(&plot);
    }
    html.push_str("</div>");
    rates(&mut html, report)?;
    loads(&mut html, report)?;
    writeln!(
        html,
        "<p>A bare spinning loop on the client's processor: an event at a random instant waits {:.1} µs (p99.9), {:.0} µs at \
         most.</p></body></html>",
        report.noise.stall_us_p999, report.noise.stall_us_max
    )?;
    Ok(html)
}

const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8><title>Freeway: ten million connections</title>\
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:1320px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child,td.how{text-align:left}.met{color:#0a7d28}.missed{color:#b3261e;font-weight:bold}\
.how{color:#666;font-size:13px;max-width:36em}.plots{display:flex;flex-wrap:wrap;gap:1em}\
svg{background:#fff;border:1px solid #eee;max-width:100%;height:auto}</style></head><body><h1>Ten million connections</h1>";

/// Text between tags.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn board(html: &mut String, report: &Report) -> std::fmt::Result {
    let machine = &report.machine;
    writeln!(
        html,
        "<p>{}, {} processors, {} GiB, Linux {}; server on {:?}, client on {:?}, memif between them.</p>\
         <table><tr><th><th>measured<th><th>must<th>aim<th><th class=how>how</tr>",
        escaped(&machine.processor),
        machine.processors,
        machine.memory_bytes >> 30,
        escaped(&machine.kernel),
        machine.server_cpus,
        machine.client_cpus
    )?;
    for (name, Challenge { measured, unit, target, aim, met, how }) in report.board() {
        let (class, word) = if *met { ("met", "met") } else { ("missed", "missed") };
        writeln!(
            html,
            "<tr><td>{name}<td>{}<td>{unit}<td>{}<td>{}<td class={class}>{word}<td class=how>{}</tr>",
            number(*measured),
            number(*target),
            number(*aim),
            escaped(how)
        )?;
    }
    html.push_str("</table>");
    Ok(())
}

fn rates(html: &mut String, report: &Report) -> std::fmt::Result {
    html.push_str("<h2>Steps</h2><table><tr><th><th>a second<th><th>lowest<th>highest<th>cycles a packet<th>frames a burst<th>server busy</tr>");
    for Rates {
        what, unit, per_s, per_s_min, per_s_max, cycles_total, frames_per_burst, server_busy, ..
    } in &report.rates
    {
        writeln!(
            html,
            "<tr><td>{what}<td>{}<td>{unit}<td>{}<td>{}<td>{cycles_total:.0}<td>{frames_per_burst:.1}<td>{:.0}%</tr>",
            number(*per_s),
            number(*per_s_min),
            number(*per_s_max),
            server_busy * 100.0
        )?;
    }
    html.push_str("</table>");
    Ok(())
}

fn loads(html: &mut String, report: &Report) -> std::fmt::Result {
    html.push_str("<h2>Latency, µs (bare frames at the same rate)</h2><table><tr><th>part of the peak<th>requests/s<th>connections<th>p50<th>p90<th>p99<th>p99.9<th>max</tr>");
    for AtLoad { part_of_peak, connections, requests_per_s, latency_us: own, bare_frames_us: bare, .. } in
        &report.loads
    {
        write!(
            html,
            "<tr><td>{:.0}%<td>{}<td>{}",
            part_of_peak * 100.0,
            number(*requests_per_s),
            number(f64::from(*connections))
        )?;
        for (own, bare) in [
            (own.p50, bare.p50),
            (own.p90, bare.p90),
            (own.p99, bare.p99),
            (own.p999, bare.p999),
            (own.max, bare.max),
        ] {
            write!(html, "<td>{own:.1} ({bare:.1})")?;
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
    Ok(())
}

// ---- plots ----

/// What a plot is about.
struct Frame {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    log_x: bool,
    log_y: bool,
}

fn flatness(report: &Report) -> Result<String> {
    let points = |value: fn(&Level) -> f64| -> Vec<_> {
        report.flatness.iter().map(|level| (f64::from(level.connections), value(level))).collect()
    };
    let frame = Frame {
        title: "Requests on connections drawn at random",
        x: "connections",
        y: "million requests/s",
        log_x: true,
        log_y: false,
    };
    lines(&frame, &[("requests", points(|level| level.requests_per_s / 1e6))])
}

fn latency(report: &Report) -> Result<String> {
    let few = report.loads.first().map_or(0, |load| load.connections);
    let loads = || report.loads.iter().filter(|load| load.connections == few);
    let own = |value: fn(&AtLoad) -> f64| -> Vec<_> {
        loads().map(|load| (load.part_of_peak * 100.0, value(load))).collect()
    };
    let frame = Frame { title: "Latency over load", x: "% of the peak", y: "µs", log_x: false, log_y: true };
    lines(
        &frame,
        &[
            ("TCP p50", own(|load| load.latency_us.p50)),
            ("TCP p99", own(|load| load.latency_us.p99)),
            ("TCP p99.9", own(|load| load.latency_us.p999)),
            ("bare frames p50", own(|load| load.bare_frames_us.p50)),
            ("bare frames p99", own(|load| load.bare_frames_us.p99)),
            ("bare frames p99.9", own(|load| load.bare_frames_us.p999)),
        ],
    )
}

fn memory(report: &Report) -> Result<String> {
    let samples = &report.ramp.samples;
    let own = samples.iter().map(|&(_, open, bytes)| (open as f64 / 1e6, bytes as f64 / 1e9)).collect();
    let budget = |bytes: f64| -> Vec<_> {
        samples.iter().map(|&(_, open, _)| (open as f64 / 1e6, open as f64 * bytes / 1e9)).collect()
    };
    let frame = Frame {
        title: "Server's resident memory during the ramp",
        x: "million connections",
        y: "GB",
        log_x: false,
        log_y: false,
    };
    lines(
        &frame,
        &[("server", own), ("256 bytes each", budget(256.0)), ("3,712 bytes each (Linux)", budget(3_712.0))],
    )
}

fn scaling(report: &Report) -> Result<String> {
    let points: Vec<_> = report
        .cores
        .iter()
        .map(|&Cores { cores, requests_per_s }| (f64::from(cores), requests_per_s / 1e6))
        .collect();
    let first = points.first().map_or(0.0, |&(_, rate)| rate);
    let linear = points.iter().map(|&(cores, _)| (cores, cores * first)).collect();
    let frame = Frame {
        title: "Requests over cores",
        x: "cores",
        y: "million requests/s",
        log_x: false,
        log_y: false,
    };
    lines(&frame, &[("measured", points), ("linear", linear)])
}

/// Least and greatest of the points, with some air.
fn range(values: impl Iterator<Item = f64> + Clone, log: bool) -> std::ops::Range<f64> {
    let high = values.clone().fold(f64::MIN, f64::max).max(1e-3);
    let low = values.fold(f64::MAX, f64::min);
    if log { low.clamp(1e-3, high) * 0.8..high * 1.5 } else { 0.0..high * 1.1 }
}

/// The error of a plot, which borrows the canvas, in words.
fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a plot: {error}")
}

fn lines(frame: &Frame, lines: &[Line]) -> Result<String> {
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let all = || lines.iter().flat_map(|(_, points)| points.iter().copied());
        if all().next().is_none() {
            return Ok(String::new());
        }
        let x = range(all().map(|(x, _)| x), frame.log_x);
        let y = range(all().map(|(_, y)| y), frame.log_y);
        match (frame.log_x, frame.log_y) {
            (true, _) => draw(&canvas, frame, lines, x.log_scale(), y)?,
            (false, true) => draw(&canvas, frame, lines, x, y.log_scale())?,
            (false, false) => draw(&canvas, frame, lines, x, y)?,
        }
        canvas.present().map_err(failed)?;
    }
    Ok(svg)
}

fn draw<X, Y>(canvas: &Canvas<'_>, frame: &Frame, lines: &[Line], x: X, y: Y) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(canvas)
        .caption(frame.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(x, y)
        .map_err(failed)?;
    let plain = |value: &f64| {
        if value.abs() < 10.0 && value.fract() != 0.0 {
            format!("{value:.1}")
        } else {
            number(value.round()).trim_end_matches(".0").to_owned()
        }
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(frame.x)
        .y_desc(frame.y)
        .x_label_formatter(&plain)
        .y_label_formatter(&plain)
        .draw()
        .map_err(failed)?;
    for (number, (name, points)) in lines.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        let style = color.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))
            .map_err(failed)?
            .label(*name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], style));
    }
    if lines.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .draw()
            .map_err(failed)?;
    }
    Ok(())
}

/// Cycles by stage: a bar for each step at full speed.
fn cycles(report: &Report) -> Result<String> {
    let steps: Vec<&Rates> = report.rates.iter().filter(|rates| rates.cycles_total > 0.0).collect();
    if steps.is_empty() {
        return Ok(String::new());
    }
    let most = steps.iter().map(|rates| rates.cycles_total).fold(0.0, f64::max) * 1.3;
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&canvas)
            .caption("Server cycles a packet, by stage", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(220)
            .build_cartesian_2d(0.0..most, 0.0..steps.len() as f64)
            .map_err(failed)?;
        let name = |place: &f64| {
            let step = steps.len().checked_sub(1 + (place - 0.5).round().max(0.0) as usize);
            step.and_then(|step| steps.get(step)).map_or(String::new(), |rates| rates.what.to_owned())
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(WHITE)
            .x_desc("cycles")
            .y_labels(steps.len())
            .y_label_formatter(&|_| String::new())
            .draw()
            .map_err(failed)?;
        let stages: Vec<&str> = steps
            .first()
            .map_or(Vec::new(), |rates| rates.cycles.iter().map(|(stage, _)| stage.as_str()).collect());
        for (number, stage) in stages.iter().enumerate() {
            let color = Palette99::pick(number).to_rgba();
            let bars = steps.iter().rev().enumerate().map(|(row, rates)| {
                let before: f64 = rates.cycles.iter().take(number).map(|(_, cycles)| cycles).sum();
                let own = rates.cycles.get(number).map_or(0.0, |(_, cycles)| *cycles);
                let row = row as f64;
                Rectangle::new([(before, row + 0.2), (before + own, row + 0.8)], color.filled())
            });
            chart
                .draw_series(bars)
                .map_err(failed)?
                .label(*stage)
                .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], color.filled()));
        }
        for row in 0..steps.len() {
            let place = row as f64 + 0.5;
            let (x, y) = chart.backend_coord(&(0.0, place));
            canvas
                .draw(&Text::new(name(&place), (x - 214, y - 6), ("sans-serif", 12).into_font()))
                .map_err(failed)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .draw()
            .map_err(failed)?;
        canvas.present().map_err(failed)?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::super::report::{AtLoad, Cores, Level, Ramp};
    use super::*;

    #[test]
    fn a_page_holds_every_plot_and_needs_no_other_file() {
        let loads = [0.1, 0.5].map(|part_of_peak| {
            let mut load = AtLoad { part_of_peak, ..AtLoad::default() };
            (load.latency_us.p50, load.latency_us.p99, load.latency_us.p999) = (2.0, 9.0, 70.0);
            (load.bare_frames_us.p50, load.bare_frames_us.p99, load.bare_frames_us.p999) = (1.0, 2.0, 30.0);
            load
        });
        let report = Report {
            flatness: [1_000, 1_000_000]
                .map(|connections| Level { connections, requests_per_s: 2e6, ..Level::default() })
                .into(),
            loads: loads.into(),
            ramp: Ramp { samples: vec![(0.1, 5, 100), (0.2, 10, 100)], ..Ramp::default() },
            cores: vec![Cores { cores: 1, requests_per_s: 1e6 }],
            rates: vec![Rates {
                what: "echo",
                cycles: vec![("rx".into(), 20.0)],
                cycles_total: 20.0,
                ..Rates::default()
            }],
            ..Report::default()
        };
        let page = page(&report).expect("a page");
        assert_eq!(page.matches("<svg").count(), 5);
        assert_eq!(page.matches("</svg>").count(), 5);
        for word in ["http:", "https:", "<script", "<link"] {
            let outside = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!outside.contains(word), "{word}");
        }
    }
}
