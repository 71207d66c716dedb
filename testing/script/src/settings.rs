//! What `set KEY VALUE…` sets: TCP's settings for listeners and opens that follow, and the host's before it begins.

use std::str::FromStr;

use anyhow::{Context as _, anyhow, bail};
use freeway_base::Duration;
use freeway_stack::{FastOpen, ListenConfig, SynCookies};
use freeway_tcp::{Config, Keepalive};

use crate::host::Setup;
use crate::words;

fn number<T: FromStr>(word: &str) -> anyhow::Result<T> {
    words::number(word).map_err(|what| anyhow!(what))
}

fn span(word: &str) -> anyhow::Result<Duration> {
    words::time_span(word).map(Duration::from).map_err(|what| anyhow!(what))
}

/// A time, or none for `off`.
fn optional(word: &str) -> anyhow::Result<Option<Duration>> {
    if word == "off" { Ok(None) } else { span(word).map(Some) }
}

fn switch(word: &str) -> anyhow::Result<bool> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => bail!("'{word}' is neither on nor off"),
    }
}

/// Sets one of TCP's settings; false if there is none of that name.
pub(crate) fn of_tcp(config: &mut Config, key: &str, values: &[String]) -> anyhow::Result<bool> {
    let value = values.first().context("a setting wants a value")?;
    match key {
        "timestamps" => config.timestamps = switch(value)?,
        "wscale" => config.window_scale = switch(value)?,
        "sack" => config.sack = switch(value)?,
        "ecn" => config.ecn = value.parse()?,
        "cc" => config.congestion = value.parse()?,
        "hystart" => config.hystart = switch(value)?,
        "pacing" => config.pacing = switch(value)?,
        "nagle" => config.nagle = switch(value)?,
        "delack" => config.delayed_ack = optional(value)?,
        "quickacks" => config.quick_acks = number(value)?,
        "window" => {
            config.receive_window = number(value)?;
            config.receive_window_max = config.receive_window;
        }
        "window-max" => config.receive_window_max = number(value)?,
        "dscp" => config.dscp = number(value)?,
        "hop-limit" => config.hop_limit = Some(number(value)?),
        "mss" => config.mss = number(value)?,
        "iw" => config.initial_window = number(value)?,
        "rto-min" => config.rto_min = span(value)?,
        "rto-max" => config.rto_max = span(value)?,
        "syn-retries" => config.syn_retries = number(value)?,
        "syn-ack-retries" => config.syn_ack_retries = number(value)?,
        "probe" => config.tail_loss_probe = switch(value)?,
        "fin-delack" => config.delayed_fin_ack = switch(value)?,
        "require-timestamps" => config.require_timestamps = switch(value)?,
        "slow-start-step" => config.slow_start_step = Some(number(value)?),
        "user-timeout" => config.user_timeout = span(value)?,
        "time-wait" => config.time_wait = span(value)?,
        "fin-wait-2" => config.fin_wait_2 = optional(value)?,
        "keepalive" => {
            let [idle, interval, probes] = values else { bail!("keepalive wants idle, interval, probes") };
            let keepalive = Keepalive {
                idle: span(idle)?,
                interval: span(interval)?,
                probes: number(probes)?,
                spread: 0,
            };
            config.keepalive = Some(keepalive);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Sets what a listener has beside TCP's settings; false if there is none of that name.
pub(crate) fn of_listener(config: &mut ListenConfig, key: &str, values: &[String]) -> anyhow::Result<bool> {
    let value = values.first().context("a setting wants a value")?;
    match key {
        "cookies" => {
            config.cookies = match value.as_str() {
                "off" => SynCookies::Off,
                "when-needed" => SynCookies::WhenNeeded,
                "always" => SynCookies::Always,
                _ => bail!("'{value}' is not when there are cookies: off, when-needed or always"),
            }
        }
        "fast-open" => config.fast_open = switch(value)?.then(FastOpen::default),
        "fast-open-pending" => config.fast_open = Some(FastOpen { max_pending: number(value)? }),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Sets one of the host's settings; false if there is none of that name.
pub(crate) fn of_host(setup: &mut Setup, key: &str, values: &[String]) -> anyhow::Result<bool> {
    let value = values.first().context("a setting wants a value")?;
    match key {
        "mtu" => setup.mtu = number(value)?,
        "ttl" => setup.stack.net.hop_limit = number(value)?,
        "connections" => setup.stack.max_connections = number(value)?,
        "half-open" => setup.stack.max_syn_received = number(value)?,
        "time-waits" => setup.stack.max_time_wait = number(value)?,
        "out-of-order" => setup.stack.max_out_of_order = number(value)?,
        "send-buffer" => {
            setup.stack.send_buffer = number(value)?;
            setup.stack.send_buffer_max = setup.stack.send_buffer;
        }
        "fast-open-key" => {
            let key = words::hex(value).map_err(|what| anyhow!(what))?;
            let key = key.try_into().ok().context("a key has 16 bytes")?;
            setup.stack.fast_open_key = Some(key);
        }
        "reply-rate" => setup.stack.replies_per_second = number(value)?,
        "reply-burst" => setup.stack.reply_burst = number(value)?,
        "challenge-rate" => setup.stack.challenges_per_second = number(value)?,
        "reassemblies" => setup.stack.net.reassemblies = number(value)?,
        _ => return Ok(false),
    }
    Ok(true)
}
