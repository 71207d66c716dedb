//! Small damage to an input: what a bad link, a bad peer or a fuzzer would do to it.

use freeway_base::Rng;

/// Bytes that formats treat specially: ends, signs, lengths that are too small or too large.
const TELLING: [u8; 8] = [0x00, 0x01, 0x02, 0x05, 0x7f, 0x80, 0xfe, 0xff];

/// Inputs do not grow beyond this.
const LEN_MAX: usize = 2048;

/// Changes `input` in one to four places. `other` is another input, a piece of which may be put in.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        match rng.below(7) {
            0 => flip_bit(input, rng),
            1 => set(input, rng, |rng| rng.next_u32() as u8),
            2 => set(input, rng, |rng| TELLING[index(TELLING.len(), rng)]),
            3 => input.truncate(index(input.len() + 1, rng)),
            4 => remove(input, rng),
            5 => insert(input, &[rng.next_u32() as u8], rng),
            _ => insert(input, piece(other, rng), rng),
        }
    }
    input.truncate(LEN_MAX);
}

/// A number in `0..len`, or 0 if there is none.
fn index(len: usize, rng: &mut Rng) -> usize {
    rng.below(u32::try_from(len).unwrap_or(u32::MAX)) as usize
}

fn flip_bit(input: &mut [u8], rng: &mut Rng) {
    let at = index(input.len(), rng);
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << rng.below(8);
    }
}

fn set(input: &mut [u8], rng: &mut Rng, value: impl FnOnce(&mut Rng) -> u8) {
    let at = index(input.len(), rng);
    if let Some(byte) = input.get_mut(at) {
        *byte = value(rng);
    }
}

fn remove(input: &mut Vec<u8>, rng: &mut Rng) {
    let from = index(input.len() + 1, rng);
    let to = from + index(input.len() - from + 1, rng).min(8);
    input.drain(from..to);
}

fn insert(input: &mut Vec<u8>, what: &[u8], rng: &mut Rng) {
    let at = index(input.len() + 1, rng);
    input.splice(at..at, what.iter().copied());
}

fn piece<'a>(other: &'a [u8], rng: &mut Rng) -> &'a [u8] {
    let from = index(other.len() + 1, rng);
    let to = from + index(other.len() - from + 1, rng);
    &other[from..to]
}

#[cfg(test)]
mod tests {
    use super::*;
    use freeway_base::Seed;

    #[test]
    fn a_seed_repeats_and_nothing_grows_without_bound() {
        let run = |seed| {
            let mut rng = Rng::new(Seed(seed));
            let mut input = vec![1, 2, 3, 4];
            for _ in 0..10_000 {
                let other = input.clone();
                mutate(&mut input, &other, &mut rng);
                assert!(input.len() <= LEN_MAX);
            }
            input
        };
        assert_eq!(run(7), run(7));
    }
}
