//! From text to steps.

use std::time::Duration;

use freeway_wire::tcp::Flags;
use thiserror::Error;

/// A scenario: its steps with the lines they stand on.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub(crate) steps: Vec<(usize, Step)>,
}

/// One line of a scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A setting of the host or the peer.
    Set(String, String),
    /// The host listens.
    Listen(u16),
    /// The host opens a connection to this port of the peer.
    Connect(u16),
    /// The peer sends.
    Inject(Segment),
    /// The host must send.
    Expect(Segment),
    /// The host must have nothing to send.
    Quiet,
    /// Time passes.
    Wait(Duration),
    /// The application writes that many bytes.
    Write(usize),
    /// The application reads that many bytes, which must be there.
    Read(usize),
    /// The application finishes sending.
    Shutdown,
    /// The application closes.
    Close,
    /// The application aborts.
    Abort,
    /// The application must have heard this next.
    Event(String),
    /// The connection must be in this state.
    State(String),
}

/// A segment as a scenario writes it: `None` where nothing is said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// The control bits.
    pub flags: Option<Flags>,
    /// First sequence number, relative to the sender's initial one.
    pub seq: Option<u32>,
    /// Bytes of payload.
    pub len: u32,
    /// Acknowledgment number, relative to the receiver's initial one.
    pub ack: Option<u32>,
    /// The window field as it stands in the header.
    pub window: Option<u16>,
    /// The MSS option.
    pub mss: Option<u16>,
    /// The window scale option.
    pub wscale: Option<u8>,
    /// The SACK-permitted option.
    pub sack_permitted: bool,
    /// The timestamps option.
    pub timestamps: Option<(u32, u32)>,
    /// The timestamps option must be there, whatever its values.
    pub any_timestamps: bool,
    /// The checksum is made wrong.
    pub bad_checksum: bool,
}

/// A line that is none.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// The first line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut steps = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split('#').next().unwrap_or("").split_whitespace().collect();
            if let Some((verb, words)) = words.split_first() {
                let step = step(verb, words).map_err(|what| ParseError { line: index + 1, what })?;
                steps.push((index + 1, step));
            }
        }
        Ok(Self { steps })
    }
}

fn step(verb: &str, words: &[&str]) -> Result<Step, String> {
    Ok(match (verb, words) {
        ("set", [key, value]) => Step::Set((*key).to_owned(), (*value).to_owned()),
        ("listen", [port]) => Step::Listen(number(port)?),
        ("connect", [port]) => Step::Connect(number(port)?),
        (">", words) => Step::Inject(segment(words)?),
        ("<", words) => Step::Expect(segment(words)?),
        ("quiet", []) => Step::Quiet,
        ("wait", [time]) => Step::Wait(time_span(time)?),
        ("write", [count]) => Step::Write(number(count)?),
        ("read", [count]) => Step::Read(number(count)?),
        ("shutdown", []) => Step::Shutdown,
        ("close", []) => Step::Close,
        ("abort", []) => Step::Abort,
        ("event", words) if !words.is_empty() => Step::Event(words.join(" ")),
        ("state", [name]) => Step::State((*name).to_owned()),
        _ => return Err(format!("'{verb} {}' is no step", words.join(" "))),
    })
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("'{word}' is no number that fits here"))
}

fn time_span(word: &str) -> Result<Duration, String> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = number(digits)?;
    match &word[digits.len()..] {
        "us" => Ok(Duration::from_micros(count)),
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        unit => Err(format!("'{unit}' is no unit of time: us, ms or s")),
    }
}

fn segment(words: &[&str]) -> Result<Segment, String> {
    let mut words = words.iter().copied().peekable();
    let mut segment = Segment { flags: words.next().map(flags).transpose()?, ..Segment::default() };
    if let Some(seq) = words.next_if(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
        let (first, end) = seq.split_once(':').unwrap_or((seq, seq));
        let (first, end): (u32, u32) = (number(first)?, number(end)?);
        segment.seq = Some(first);
        segment.len = end.checked_sub(first).ok_or_else(|| format!("'{seq}' ends before it begins"))?;
    }
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or_else(|| format!("'{word}' wants a value"));
        match word {
            "ack" => segment.ack = Some(number(next()?)?),
            "win" => segment.window = Some(number(next()?)?),
            "mss" => segment.mss = Some(number(next()?)?),
            "wscale" => segment.wscale = Some(number(next()?)?),
            "sackok" => segment.sack_permitted = true,
            "ts" => segment.timestamps = Some((number(next()?)?, number(next()?)?)),
            "anyts" => segment.any_timestamps = true,
            "badsum" => segment.bad_checksum = true,
            _ => return Err(format!("'{word}' is nothing a segment has")),
        }
    }
    Ok(segment)
}

fn flags(word: &str) -> Result<Flags, String> {
    let mut flags = Flags::empty();
    for letter in word.chars() {
        flags |= match letter {
            'S' => Flags::SYN,
            'F' => Flags::FIN,
            'R' => Flags::RST,
            'P' => Flags::PSH,
            'A' => Flags::ACK,
            'U' => Flags::URG,
            'E' => Flags::ECE,
            'C' => Flags::CWR,
            '-' => Flags::empty(),
            _ => return Err(format!("'{letter}' is no flag: S F R P A U E C, or - for none")),
        };
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn steps_are_read() {
        let text = "listen 80 # a comment\n\n> SA 1:3 ack 5 win 7 mss 9 sackok ts 1 2\nwait 40ms\nevent closed Finished";
        let steps = Scenario::parse(text).unwrap().steps;
        assert_eq!(steps[0], (1, Step::Listen(80)));
        let expected = Segment {
            flags: Some(Flags::SYN | Flags::ACK),
            seq: Some(1),
            len: 2,
            ack: Some(5),
            window: Some(7),
            mss: Some(9),
            sack_permitted: true,
            timestamps: Some((1, 2)),
            ..Segment::default()
        };
        assert_eq!(steps[1], (3, Step::Inject(expected)));
        assert_eq!(steps[2], (4, Step::Wait(Duration::from_millis(40))));
        assert_eq!(steps[3], (5, Step::Event("closed Finished".into())));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for text in ["\nfly 1", "\n> X 0", "\n> A 3:1", "\nwait 4h", "\nlisten 70000", "\n> A 1 ack"] {
            assert_eq!(Scenario::parse(text).unwrap_err().line, 2, "{text}");
        }
    }
}
