//! Requests, drawn from a seed: popularity by Zipf's law, scans, loops, a hot set that moves, sizes of all kinds.

use freeway_base::{Rng, Seed};

/// A request for a key, whose value has `size` bytes; or a new value of it.
#[derive(Clone, Copy)]
pub struct Request {
    pub key: u64,
    pub size: u32,
    pub write: bool,
}

/// What requests are like.
#[derive(Clone, Copy)]
pub struct Trace {
    pub name: &'static str,
    pub requests: u64,
    keys: u32,
    /// Zipf's exponent.
    alpha: f64,
    /// Every so many requests a scan of as many keys that never come back.
    scan: Option<(u64, u64)>,
    /// In a hundred, requests that go round a loop of so many keys.
    round: Option<(u32, u64)>,
    /// After so many requests the popular keys are others.
    drift: Option<u64>,
    sizes: Sizes,
    /// In a hundred, requests that bring a new value.
    writes: u32,
}

#[derive(Clone, Copy)]
enum Sizes {
    Same(u32),
    /// Between these, evenly in their logarithm.
    Spread(u32, u32),
}

const PLAIN: Trace = Trace {
    name: "",
    requests: 3_000_000,
    keys: 1_000_000,
    alpha: 1.0,
    scan: None,
    round: None,
    drift: None,
    sizes: Sizes::Same(100),
    writes: 0,
};

/// The traces of the table.
pub const TRACES: [Trace; 9] = [
    Trace { name: "Zipf 0.8", alpha: 0.8, ..PLAIN },
    Trace { name: "Zipf 1.0", ..PLAIN },
    Trace { name: "Zipf 1.2", alpha: 1.2, ..PLAIN },
    Trace { name: "Zipf 1.0, a third is scans", scan: Some((200_000, 100_000)), ..PLAIN },
    Trace { name: "Zipf 1.0, a third goes round 150,000 keys", round: Some((33, 150_000)), ..PLAIN },
    Trace { name: "Zipf 1.0, other keys every 300,000", drift: Some(300_000), ..PLAIN },
    Trace { name: "Zipf 1.0, 30% writes", writes: 30, ..PLAIN },
    Trace { name: "Zipf 1.0, 20 B to 2 KB", sizes: Sizes::Spread(20, 2_000), ..PLAIN },
    Trace {
        name: "Zipf 1.0, 20 B to 2 KB, 30% writes",
        sizes: Sizes::Spread(20, 2_000),
        writes: 30,
        ..PLAIN
    },
];

impl Trace {
    /// Traces of many keys, for a store of a gibibyte.
    pub fn large() -> [Self; 2] {
        let large = Self { requests: 12_000_000, keys: 8_000_000, sizes: Sizes::Spread(20, 2_000), ..PLAIN };
        [
            Self { name: "Zipf 1.0, 8,000,000 keys, 20 B to 2 KB", ..large },
            Self { name: "the same, a third is scans", scan: Some((800_000, 400_000)), ..large },
        ]
    }

    /// The requests, the same ones each time.
    pub fn requests(&self) -> impl Iterator<Item = Request> + use<> {
        let trace = *self;
        let zipf = Zipf::new(trace.keys, trace.alpha);
        let mut rng = Rng::new(Seed(42));
        let (mut fresh, mut round, mut scanning) = (1 << 40, 0, 0);
        (0..trace.requests).map(move |number| {
            if let Some((every, len)) = trace.scan
                && number % every == every - 1
            {
                scanning = len;
            }
            let key = if scanning > 0 {
                scanning -= 1;
                fresh += 1;
                fresh
            } else if let Some((percent, keys)) = trace.round
                && rng.below(100) < percent
            {
                round = (round + 1) % keys;
                (1 << 50) + round
            } else {
                let shift = trace.drift.map_or(0, |drift| number / drift * 777_777);
                (u64::from(zipf.draw(&mut rng)) + shift) % u64::from(trace.keys)
            };
            let size = match trace.sizes {
                Sizes::Same(size) => size,
                Sizes::Spread(least, most) => {
                    let share = Rng::new(Seed(key)).unit();
                    (f64::from(least) * (f64::from(most) / f64::from(least)).powf(share)) as u32
                }
            };
            Request { key, size, write: rng.below(100) < trace.writes }
        })
    }
}

/// Draws ranks by Zipf's law, by rejection (Hörmann and Derflinger, 1996).
struct Zipf {
    keys: f64,
    alpha: f64,
    first: f64,
    last: f64,
    squeeze: f64,
}

impl Zipf {
    fn new(keys: u32, alpha: f64) -> Self {
        let mut zipf = Self { keys: f64::from(keys), alpha, first: 0.0, last: 0.0, squeeze: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(zipf.keys + 0.5);
        zipf.squeeze = 2.0 - zipf.inverse(zipf.integral(2.5) - 2_f64.powf(-alpha));
        zipf
    }

    fn integral(&self, x: f64) -> f64 {
        let power = 1.0 - self.alpha;
        if power.abs() < 1e-9 { x.ln() } else { (x.powf(power) - 1.0) / power }
    }

    fn inverse(&self, y: f64) -> f64 {
        let power = 1.0 - self.alpha;
        if power.abs() < 1e-9 { y.exp() } else { (1.0 + y * power).max(0.0).powf(1.0 / power) }
    }

    fn draw(&self, rng: &mut Rng) -> u32 {
        loop {
            let y = self.last + rng.unit() * (self.first - self.last);
            let x = self.inverse(y);
            let rank = x.round().clamp(1.0, self.keys);
            if rank - x <= self.squeeze || y >= self.integral(rank + 0.5) - rank.powf(-self.alpha) {
                return rank as u32 - 1;
            }
        }
    }
}
