//! What came of a keyed start, kept for whoever brings the same again.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{DeliveryId, StoredError};
use crate::json;
use crate::time::Timestamp;

/// The largest answer that is kept whole. A value may have 1 MB, and a WorkflowRun carries its params.
pub const MAX_BODY: usize = 256 * 1024;

/// The members of a larger WorkflowRun that are kept have at most so many bytes.
const MAX_MEMBER: usize = 1_024;

/// The outcome of a keyed start.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    v: u32,
    /// The first delivery of the key.
    pub id: String,
    /// What its sender was told last: 200 delivered, 202 pending.
    pub status: u16,
    /// The WorkflowRun, once there is one.
    pub body: Option<Box<RawValue>>,
    /// The key's digest.
    pub digest: String,
    /// When that was.
    pub at: Timestamp,
}

impl Done {
    const VERSION: u32 = 1;

    /// It is stored, and on its way.
    pub fn pending(id: DeliveryId, digest: &str, at: Timestamp) -> Self {
        Self { v: Self::VERSION, id: id.to_string(), status: 202, body: None, digest: digest.to_owned(), at }
    }

    /// The engine has it, and answered by this WorkflowRun.
    pub fn delivered(id: DeliveryId, digest: &str, run: &[u8], at: Timestamp) -> Self {
        Self { status: 200, body: bounded(run), ..Self::pending(id, digest, at) }
    }

    /// The stored form: JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoredError> {
        serde_json::to_vec(self).map_err(|_| StoredError)
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoredError> {
        json::read(bytes).ok().filter(|done: &Self| done.v == Self::VERSION).ok_or(StoredError)
    }
}

/// The WorkflowRun; of a large one its small members, the id among them.
fn bounded(run: &[u8]) -> Option<Box<RawValue>> {
    let whole = json::object(run).ok()?;
    if whole.get().len() <= MAX_BODY {
        return Some(whole.to_owned());
    }
    let small =
        |(name, value): &(&RawValue, &RawValue)| name.get().len().saturating_add(value.get().len()) <= MAX_MEMBER;
    let members: Vec<String> = json::members(whole)?
        .iter()
        .filter(|member| small(member))
        .take(MAX_BODY.checked_div(MAX_MEMBER).unwrap_or_default())
        .map(|(name, value)| format!("{name}:{value}"))
        .collect();
    RawValue::from_string(format!("{{{}}}", members.join(","))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(run: &str) -> String {
        let id = DeliveryId::new(Timestamp(1).into(), 7);
        let done = Done::delivered(id, "d", run.as_bytes(), Timestamp(9));
        let read = Done::from_bytes(&done.to_bytes().unwrap()).unwrap();
        assert_eq!((read.id, read.status, read.at), (id.to_string(), 200, Timestamp(9)));
        read.body.unwrap().get().to_owned()
    }

    #[test]
    fn a_run_is_kept_to_the_byte() {
        let run = r#"{ "id":"5f1c", "n":1E400,"params":[ ] }"#;
        assert_eq!(kept(run), run);
    }

    #[test]
    fn of_a_large_run_the_small_members_are_kept() {
        let run = format!(r#"{{"id":"5f1c","params":["{}"],"status":"ready"}}"#, "a".repeat(MAX_BODY));
        assert_eq!(kept(&run), r#"{"id":"5f1c","status":"ready"}"#);
        let many = (0..100_000).map(|n| format!(r#""m{n}":{n}"#)).collect::<Vec<_>>().join(",");
        assert!(kept(&format!(r#"{{"id":"5f1c",{many}}}"#)).starts_with(r#"{"id":"5f1c","m0":0,"#));
    }

    #[test]
    fn what_is_not_ours_is_an_error() {
        for bytes in [&b"{}"[..], b"", br#"{"v":2,"id":"","status":200,"body":null,"digest":"","at":1}"#] {
            assert!(Done::from_bytes(bytes).is_err());
        }
    }
}
