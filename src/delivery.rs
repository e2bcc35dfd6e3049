//! A delivery: one thing to be brought to the engine, a start or a resolve.

use std::fmt;

use crate::time::Timestamp;

/// The id of a delivery: a ULID, so that ids sort by time of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeliveryId(ulid::Ulid);

impl DeliveryId {
    /// An id for what arrives `now`; `entropy` tells apart what arrives in the same millisecond.
    pub fn new(now: Timestamp, entropy: u128) -> Self {
        Self(ulid::Ulid::from_parts(now.0, entropy))
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_of_arrival() {
        let (earlier, later) = (DeliveryId::new(Timestamp(1), u128::MAX), DeliveryId::new(Timestamp(2), 0));
        assert!(earlier < later && earlier.to_string() < later.to_string());
        assert_eq!(earlier.to_string().len(), 26);
    }
}
