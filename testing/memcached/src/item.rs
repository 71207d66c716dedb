//! An item of the model.

/// An item with all that memcached knows of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Item {
    /// Its bytes.
    pub value: Vec<u8>,
    /// Its client's flags.
    pub flags: u32,
    /// Its CAS unique.
    pub cas: u64,
    /// The second it is gone at; `None` for never.
    pub deadline: Option<u64>,
    /// The second of its last access.
    pub accessed: u64,
    /// It has been fetched.
    pub fetched: bool,
    /// It was marked as stale.
    pub stale: bool,
    /// A client has won it.
    pub won: bool,
    /// Its key came in base64.
    pub base64_key: bool,
}

impl Item {
    /// Seconds left to live.
    pub fn ttl(&self, now: u64) -> Option<u32> {
        self.deadline.map(|deadline| u32::try_from(deadline.saturating_sub(now)).unwrap_or(u32::MAX))
    }
}
