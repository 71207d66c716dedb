//! Commands for those who run a server: stats, slabs, lru, lru_crawler, watch, shutdown.

use bitflags::bitflags;

use crate::error::Refusal;
use crate::number::{signed_32, unsigned_32};
use crate::token::Tokens;

/// What `stats` is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stats {
    /// The general table.
    General,
    /// Counters go back to zero; `RESET`.
    Reset,
    /// What the server was started with.
    Settings,
    /// Items by class.
    Items,
    /// Memory by class.
    Slabs,
    /// Items by size.
    Sizes,
    /// Counting items by size begins.
    SizesEnable,
    /// Counting items by size ends.
    SizesDisable,
    /// Connections and listeners.
    Conns,
    /// Counting by the keys' prefix begins; `OK`.
    DetailOn,
    /// Counting by the keys' prefix ends; `OK`.
    DetailOff,
    /// What was counted by prefix.
    DetailDump,
    /// Keys of a class.
    Cachedump {
        /// The class, under 64.
        class: u32,
        /// Items at most; 0 for no limit.
        limit: u32,
    },
}

/// What `lru_crawler` is asked for. Without a crawler thread, memory of expired items is free at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crawler<'a> {
    /// `OK`
    Enable,
    /// `OK`
    Disable,
    /// Microseconds between items; `OK`.
    Sleep(u32),
    /// Items of a class a run; `OK`.
    Tocrawl(u32),
    /// Look for expired items in these classes: numbers with commas, or `all`.
    Crawl(&'a [u8]),
    /// A line for each item of these classes.
    Metadump(&'a [u8]),
    /// A `mg` line for each item of these classes.
    Mgdump(&'a [u8]),
}

/// What `lru` is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum LruTune {
    /// Shares of the memory in percent, and ages as a factor of the oldest one's.
    Tune {
        /// Of the hot part.
        hot_percent: u32,
        /// Of the warm part.
        warm_percent: u32,
        /// Of the hot part.
        hot_factor: f64,
        /// Of the warm part.
        warm_factor: f64,
    },
    /// Segmented, or one list.
    Mode {
        /// In parts.
        segmented: bool,
    },
    /// Items that live shorter than this (in seconds) are kept apart; negative for no such part.
    TempTtl(i32),
}

/// What `slabs` is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Slabs {
    /// Move a page between classes.
    Reassign {
        /// From which; -1 for any.
        from: i32,
        /// To which.
        to: i32,
    },
    /// How pages are moved; `OK`.
    Automove(Automove),
}

/// How pages are moved without being asked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Automove {
    /// 0 for never, 1, 2 at each eviction.
    Level(u32),
    /// At which ratio of ages.
    Ratio(f64),
    /// At which share of free memory.
    FreeRatio(f64),
    /// Over how many looks.
    Window(u32),
}

bitflags! {
    /// What a watcher sees.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Watch: u16 {
        /// Each item that is looked for.
        const FETCHERS = 1;
        /// Each item that is stored, or not.
        const MUTATIONS = 1 << 1;
        /// Each item that gives way to another.
        const EVICTIONS = 1 << 2;
        /// Connections that open and close.
        const CONNEVENTS = 1 << 3;
        /// Each item that is deleted.
        const DELETIONS = 1 << 4;
        /// What happens to the server itself.
        const SYSEVENTS = 1 << 5;
        /// Commands as they came (never logged, as in memcached).
        const RAWCMDS = 1 << 6;
        /// Of its proxy, which is not here (never logged).
        const PROXY = 1 << 7;
    }
}

/// Slab classes that memcached can have.
const CLASSES_MAX: u32 = 64;

pub(super) fn stats(rest: &[u8]) -> Result<Stats, Refusal> {
    let mut tokens = Tokens::new(rest);
    Ok(match tokens.next() {
        None => Stats::General,
        Some(b"reset") => Stats::Reset,
        Some(b"settings") => Stats::Settings,
        Some(b"items") => Stats::Items,
        Some(b"slabs") => Stats::Slabs,
        Some(b"sizes") => Stats::Sizes,
        Some(b"sizes_enable") => Stats::SizesEnable,
        Some(b"sizes_disable") => Stats::SizesDisable,
        Some(b"conns") => Stats::Conns,
        Some(b"detail") => match tokens.next() {
            Some(b"on") => Stats::DetailOn,
            Some(b"off") => Stats::DetailOff,
            Some(b"dump") => Stats::DetailDump,
            _ => return Err(Refusal::DetailUsage),
        },
        Some(b"cachedump") => {
            let class = tokens.next().ok_or(Refusal::BadLine)?;
            let limit = tokens.next().ok_or(Refusal::BadLine)?;
            let class = unsigned_32(class).ok_or(Refusal::BadFormat)?;
            let limit = unsigned_32(limit).ok_or(Refusal::BadFormat)?;
            if class >= CLASSES_MAX {
                return Err(Refusal::IllegalSlab);
            }
            Stats::Cachedump { class, limit }
        }
        Some(_) => return Err(Refusal::Unknown),
    })
}

pub(super) fn crawler(rest: &[u8]) -> Result<Crawler<'_>, Refusal> {
    let mut tokens = Tokens::new(rest);
    let (name, value, end) = (tokens.next(), tokens.next(), tokens.next());
    if end.is_some() {
        return Err(Refusal::Unknown);
    }
    Ok(match (name, value) {
        (Some(b"enable"), None) => Crawler::Enable,
        (Some(b"disable"), None) => Crawler::Disable,
        (Some(b"crawl"), Some(classes)) => Crawler::Crawl(classes),
        (Some(b"metadump"), Some(classes)) => Crawler::Metadump(classes),
        (Some(b"mgdump"), Some(classes)) => Crawler::Mgdump(classes),
        (Some(b"tocrawl"), Some(items)) => Crawler::Tocrawl(unsigned_32(items).ok_or(Refusal::BadFormat)?),
        (Some(b"sleep"), Some(us)) => match unsigned_32(us).ok_or(Refusal::BadFormat)? {
            us @ 0..=1_000_000 => Crawler::Sleep(us),
            _ => return Err(Refusal::CrawlerSleep),
        },
        _ => return Err(Refusal::Unknown),
    })
}

pub(super) fn lru(rest: &[u8]) -> Result<LruTune, Refusal> {
    let mut tokens = Tokens::new(rest);
    let name = tokens.next();
    let mut next = || tokens.next().ok_or(Refusal::Unknown);
    Ok(match name {
        Some(b"tune") => {
            let (hot, warm, hot_factor, warm_factor) = (next()?, next()?, next()?, next()?);
            let hot_percent = unsigned_32(hot).ok_or(Refusal::Unknown)?;
            let warm_percent = unsigned_32(warm).ok_or(Refusal::Unknown)?;
            let (hot_factor, warm_factor) = (real(hot_factor)?, real(warm_factor)?);
            if hot_percent.saturating_add(warm_percent) > 80 {
                return Err(Refusal::LruShares);
            }
            if hot_factor <= 0.0 || warm_factor <= 0.0 {
                return Err(Refusal::LruFactors);
            }
            LruTune::Tune { hot_percent, warm_percent, hot_factor, warm_factor }
        }
        Some(b"mode") => match next()? {
            b"flat" => LruTune::Mode { segmented: false },
            b"segmented" => LruTune::Mode { segmented: true },
            _ => return Err(Refusal::Unknown),
        },
        Some(b"temp_ttl") => LruTune::TempTtl(signed_32(next()?).ok_or(Refusal::Unknown)?),
        _ => return Err(Refusal::Unknown),
    })
}

pub(super) fn slabs(rest: &[u8]) -> Result<Slabs, Refusal> {
    let mut tokens = Tokens::new(rest);
    let (name, first, second, end) = (tokens.next(), tokens.next(), tokens.next(), tokens.next());
    match (name, first, second) {
        (Some(b"reassign"), Some(from), Some(to)) if end.is_none() => {
            let from = signed_32(from).ok_or(Refusal::BadFormat)?;
            Ok(Slabs::Reassign { from, to: signed_32(to).ok_or(Refusal::BadFormat)? })
        }
        (Some(b"automove"), Some(what), value) => Ok(Slabs::Automove(match what {
            b"ratio" => Automove::Ratio(real(value.ok_or(Refusal::Unknown)?)?),
            b"freeratio" => Automove::FreeRatio(real(value.ok_or(Refusal::Unknown)?)?),
            b"window" => Automove::Window(value.and_then(unsigned_32).ok_or(Refusal::BadFormat)?),
            level => match unsigned_32(level).ok_or(Refusal::BadFormat)? {
                level @ 0..=2 => Automove::Level(level),
                _ => return Err(Refusal::Unknown),
            },
        })),
        _ => Err(Refusal::Unknown),
    }
}

pub(super) fn watch(rest: &[u8]) -> Result<Watch, Refusal> {
    let watch = Tokens::new(rest).try_fold(Watch::empty(), |watch, name| {
        Ok(watch
            | match name {
                b"fetchers" => Watch::FETCHERS,
                b"mutations" => Watch::MUTATIONS,
                b"evictions" => Watch::EVICTIONS,
                b"connevents" => Watch::CONNEVENTS,
                b"deletions" => Watch::DELETIONS,
                b"sysevents" => Watch::SYSEVENTS,
                b"rawcmds" => Watch::RAWCMDS,
                b"proxyreqs" | b"proxyevents" | b"proxyuser" => Watch::PROXY,
                _ => return Err(Refusal::Unknown),
            })
    })?;
    Ok(if watch.is_empty() { Watch::FETCHERS } else { watch })
}

pub(super) fn shutdown(rest: &[u8]) -> Result<bool, Refusal> {
    let mut tokens = Tokens::new(rest);
    match (tokens.next(), tokens.next()) {
        (None, _) => Ok(false),
        (Some(b"graceful"), None) => Ok(true),
        _ => Err(Refusal::ShutdownMode),
    }
}

/// A number with a point; no more than 31 bytes of it.
fn real(token: &[u8]) -> Result<f64, Refusal> {
    let text = Some(token).filter(|token| token.len() < 32).and_then(|token| str::from_utf8(token).ok());
    let number = text.and_then(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite());
    number.ok_or(Refusal::Unknown)
}
