//! The id of a delivery.

use std::borrow::Cow;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::{ArrivalTime, Timestamp};

/// Number of random bits in an id. The other 20 of a ULID's 80 random bits are the nanoseconds.
const RANDOM_BITS: u32 = 60;

/// The id of a delivery: a ULID, so ids sort by time of arrival.
///
/// The first 20 of the 80 random bits are the nanoseconds within the millisecond, as in RFC 9562, section 6.2, method
/// 3. The ids of successive deliveries of one sender are therefore in order, even within a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeliveryId(ulid::Ulid);

impl DeliveryId {
    /// An id for an arrival at `now`. The low 60 bits of `random` tell simultaneous arrivals apart.
    pub fn new(now: ArrivalTime, random: u64) -> Self {
        let random = (u128::from(now.nanoseconds) << RANDOM_BITS) | u128::from(random & ((1 << RANDOM_BITS) - 1));
        Self(ulid::Ulid::from_parts(now.at.0, random))
    }

    /// Parses an id in its canonical form, 26 characters; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        // The crate accepts lower case too, which would be another key in the store.
        text.parse().ok().map(Self).filter(|id| id.to_string() == text)
    }

    /// The time of arrival.
    pub fn at(self) -> Timestamp {
        Timestamp(self.0.timestamp_ms())
    }

    /// The place of the arrival within its millisecond, in steps of 32 ns: 15 bits.
    pub fn within_millisecond(self) -> u16 {
        u16::try_from((self.0.random() >> (RANDOM_BITS + 5)) & 0x7fff).unwrap_or_default()
    }

    /// Bits for jitter that differ between ids and between attempts: SplitMix64 over the random part of the id.
    pub fn jitter(self, attempt: u32) -> u64 {
        let mut bits = (u64::from(attempt).wrapping_add(1))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(u64::try_from(self.0.random() & u128::from(u64::MAX)).unwrap_or_default());
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Whether the id belongs to a sample of 1 in 16, after whose delivery Sluice runs a short drain.
    pub fn is_sampled(self) -> bool {
        self.0.random().trailing_zeros() >= 4
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for DeliveryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeliveryId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not the id of a delivery"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_of_arrival() {
        let at = |ms, nanoseconds| ArrivalTime { at: Timestamp(ms), nanoseconds };
        let instants = [at(0, 0), at(0, 1), at(0, 999_999), at(1, 0), at(1, 1), at((1 << 48) - 1, 999_999)];
        for pair in instants.windows(2) {
            let (earlier, later) = (DeliveryId::new(pair[0], u64::MAX), DeliveryId::new(pair[1], 0));
            assert!(earlier < later && earlier.to_string() < later.to_string(), "{pair:?}");
            assert_eq!((earlier.at(), earlier.to_string().len()), (pair[0].at, 26));
        }
    }

    #[test]
    fn only_canonical_text_is_an_id() {
        let id = DeliveryId::new(Timestamp(1_795_509_000_000).into(), 7);
        assert_eq!(DeliveryId::parse(&id.to_string()), Some(id));
        for text in ["", "drain", &id.to_string().to_lowercase(), &format!("{id}0"), "8ZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
            assert_eq!(DeliveryId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn id_serializes_as_its_text() {
        let id = DeliveryId::new(Timestamp(1_795_509_000_000).into(), 7);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<DeliveryId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<DeliveryId>(&json.to_lowercase()).is_err());
    }

    #[test]
    fn one_of_sixteen_is_sampled() {
        let sampled = (0..1_600).filter(|n| DeliveryId::new(Timestamp(0).into(), *n).is_sampled());
        assert_eq!(sampled.count(), 100);
    }
}
