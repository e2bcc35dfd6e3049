//! Deletes what is older than the retention, by the names of the keys alone.

use super::Gateway;
use crate::ports::{Host, StoreError};
use crate::time::Timestamp;

/// What is kept in windows.
const KEPT: [&str; 4] = ["done", "callback", "flag", "door"];

/// Most keys that one pass deletes; each is a write.
const MOST: usize = 1_000;

impl<O: Host> Gateway<'_, O> {
    /// Deletes keys of windows that no lookup reads any more. What fails is tried again by the next pass.
    pub(super) async fn sweep(&self, keys: &[String], end: Timestamp) -> Result<Option<String>, StoreError> {
        let present = self.settings.retention.window(self.now());
        for key in keys.iter().filter(|key| is_over(key, present)).take(MOST) {
            if self.now() >= end {
                break;
            }
            if let Err(error) = self.host.delete(key).await {
                return Ok(Some(format!("an old key was not deleted: {error}")));
            }
        }
        Ok(None)
    }
}

/// Is it in no window that is looked up, now or by a clock that is a little ahead? Windows far ahead are of a shorter
/// retention that was set before.
fn is_over(key: &str, present: u64) -> bool {
    let window = key.strip_prefix("sluice/").and_then(|rest| {
        let (kept, rest) = rest.split_once('/')?;
        let (window, _) = rest.split_once('/')?;
        KEPT.contains(&kept).then(|| window.parse::<u64>().ok())?
    });
    window.is_some_and(|window| window.saturating_add(1) < present || window > present.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_windows_are_over() {
        for kept in KEPT {
            for (window, over) in [(0, true), (7, true), (8, true), (9, false), (10, false), (11, false), (12, true)] {
                assert_eq!(is_over(&format!("sluice/{kept}/{window}/ABC"), 10), over, "{kept} {window}");
            }
        }
        for key in [
            "sluice/pending/01M8",
            "sluice/dead/7/x",
            "sluice/hint",
            "other/done/1/x",
            "sluice/done/x/y",
            "sluice/done/1",
        ] {
            assert!(!is_over(key, 10), "{key}");
        }
    }
}
