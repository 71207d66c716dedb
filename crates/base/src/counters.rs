//! Counters that their core alone writes.
//!
//! [`counters!`](crate::counters!) declares a struct of `u64` fields whose documentation, names and order are
//! written once: a report walks them by [`iter`](crate::counters!), a new counter appears everywhere by itself.

/// Declares a group of counters.
///
/// ```
/// freeway_base::counters! {
///     /// What a door keeper counts.
///     pub struct Door {
///         /// People who came in.
///         entered,
///         /// People turned away because the house was full.
///         refused_full,
///     }
/// }
/// let mut door = Door::default();
/// door.entered += 2;
/// assert_eq!(door.iter().collect::<Vec<_>>(), [("entered", 2), ("refused_full", 0)]);
/// assert_eq!(Door::HELP[0], ("entered", " People who came in."));
/// ```
#[macro_export]
macro_rules! counters {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[doc = $help:literal])* $field:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis struct $name {
            $($(#[doc = $help])* pub $field: u64,)*
        }

        impl $name {
            /// Every counter's name and documentation, in the order of declaration.
            #[allow(dead_code, reason = "not every group is shown to people")]
            pub const HELP: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), concat!($($help),*))),*];

            /// Every counter's name and value, in the order of declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field)),*].into_iter()
            }

            /// Counters with these values, in the order of declaration; zeros where there are too few.
            pub fn from_values(values: &mut impl Iterator<Item = u64>) -> Self {
                Self { $($field: values.next().unwrap_or(0),)* }
            }

            /// Adds another core's counters to these.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

#[cfg(test)]
mod tests {
    crate::counters! {
        struct Pair {
            left,
            right,
        }
    }

    #[test]
    fn groups_add_field_by_field() {
        let mut sum = Pair { left: 1, right: 2 };
        sum.add(&Pair { left: 10, right: 20 });
        assert_eq!(sum.iter().collect::<std::vec::Vec<_>>(), [("left", 11), ("right", 22)]);
        assert_eq!(Pair::from_values(&mut sum.iter().map(|(_, value)| value)), sum);
    }

    extern crate std;
}
