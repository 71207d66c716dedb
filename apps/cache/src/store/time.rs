//! The store's clock: whole seconds since it was made, and classes of time to live.

/// An expiry that never comes.
pub const NEVER: u32 = u32::MAX;

/// The class of what expires in `ttl` seconds: 0 for what never does, else four for each power of two, so that what
/// shares a segment expires within a fifth of its life.
#[inline]
pub(crate) const fn class_of(expiry: u32, now: u32) -> u8 {
    if expiry == NEVER {
        return 0;
    }
    let ttl = expiry.saturating_sub(now);
    let ttl = if ttl == 0 { 1 } else { ttl };
    let octave = 31 - ttl.leading_zeros();
    let quarter = if octave >= 2 { ttl >> (octave - 2) & 3 } else { ttl << (2 - octave) & 3 };
    (1 + octave * 4 + quarter) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::segment::CLASSES;

    #[test]
    fn classes_rise_with_the_time_to_live_and_are_narrow() {
        assert_eq!(class_of(NEVER, 5), 0);
        assert_eq!(class_of(3, 5), class_of(6, 5));
        let mut first_of_class = 1_u32;
        for ttl in (1..100_000).chain((100_000..u32::MAX - 100).step_by(9_999_991)) {
            let (class, before) = (class_of(100 + ttl, 100), class_of(100 + ttl - 1, 100));
            assert!(class >= 1 && usize::from(class) < CLASSES);
            assert!(ttl > 100_000 || class >= before || ttl == 1);
            if ttl < 100_000 {
                if class != before {
                    first_of_class = ttl;
                }
                assert!(
                    f64::from(ttl) <= f64::from(first_of_class) * 1.25 + 1.0,
                    "{ttl} with {first_of_class}"
                );
            }
        }
    }
}
