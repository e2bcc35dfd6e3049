//! Alerts: what an operator is told by a workflow, and when.
//!
//! Passes of the drain share a [`Note`]. It has what no alert has told yet, so nothing is lost while the engine is down.
//!
//! ```text
//!         seen ─────────▶ untold ──begin──▶ sending ──told──▶ (gone)
//!                            ▲                 │
//!                            └── failed, late ─┘
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Delivery, DeliveryId};
use crate::time::Timestamp;

/// The least time between two alerts.
pub const ALERT_INTERVAL: Duration = Duration::from_secs(60);

/// How long no alert is sent after the engine has rejected one: its workflow has to be corrected first.
pub const REJECTED_PAUSE: Duration = Duration::from_secs(15 * 60);

/// Number of dead letters that an alert names; it counts all.
pub const MAX_NAMED: usize = 10;

/// Maximum length of a failure in an alert, in characters.
const MAX_FAILURE: usize = 200;

/// The type of the CloudEvent.
const EVENT_TYPE: &str = "dev.sluice.alert";

/// A delivery that has become a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The workflow of a start; the run of a callback.
    pub r#ref: String,
    /// Why.
    pub failure: Option<String>,
}

impl Death {
    /// The death of a delivery.
    pub fn of(delivery: &Delivery<'_>, failure: Option<String>) -> Self {
        let failure = failure.or_else(|| delivery.last_failure().map(str::to_owned));
        let failure = failure.map(|text| text.chars().take(MAX_FAILURE).collect());
        Self { delivery: delivery.id, r#ref: delivery.work.reference().to_owned(), failure }
    }
}

/// Deliveries that have become dead letters: their number, and the first ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deaths {
    /// The number of all.
    pub count: u64,
    /// The first ones, at most [`MAX_NAMED`].
    pub first: Vec<Death>,
}

impl Deaths {
    /// Adds a death.
    pub fn add(&mut self, death: Death) {
        self.append(Self { count: 1, first: vec![death] });
    }

    /// Adds those that came later.
    fn append(&mut self, later: Self) {
        self.count = self.count.saturating_add(later.count);
        self.first.extend(later.first);
        self.first.truncate(MAX_NAMED);
    }

    fn is_none(&self) -> bool {
        self.count == 0
    }
}

/// What a pass knows at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Number of pending deliveries.
    pub pending: u64,
    /// Number of dead letters.
    pub dead: u64,
    /// When the oldest pending delivery was received.
    pub oldest: Option<Timestamp>,
}

/// What passes share about alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Deaths that no alert has told.
    untold: Deaths,
    /// Deaths that the alert tells which is being sent.
    #[serde(default)]
    sending: Deaths,
    /// The time before which no alert is sent.
    next: Option<Timestamp>,
    /// When an alert has last told that a delivery waits too long; `None` if none does.
    waits: Option<Timestamp>,
    /// Tells this value of the note from all others.
    #[serde(default)]
    by: String,
}

/// Whether an alert is sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is, and says this.
    Tell(Alert),
    /// It is not. The time at which there may be one, if that is known.
    Wait(Option<Timestamp>),
}

/// The content of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The deliveries that have become dead letters.
    pub deaths: Deaths,
    /// When the oldest pending delivery was received, if it waits too long.
    pub oldest: Option<Timestamp>,
    /// Number of pending deliveries.
    pub pending: u64,
    /// Number of dead letters.
    pub dead: u64,
}

/// The end of an alert's attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The engine runs the workflow.
    Yes,
    /// It may not. The same is told again.
    No,
    /// The engine will not.
    Rejected,
}

impl Note {
    /// Decodes a note; `None` if it is damaged or of a later version.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Encodes the note. `by` tells it from all notes that others write.
    pub fn to_json(&self, by: &str) -> String {
        serde_json::to_string(&Self { by: by.to_owned(), ..self.clone() }).unwrap_or_default()
    }

    /// Adds what a pass has seen, and decides whether an alert is sent now. The oldest pending delivery may wait for
    /// `after`; while it waits longer, that is told again each time.
    pub fn decide(&mut self, deaths: Deaths, backlog: Backlog, after: Duration, now: Timestamp) -> Decision {
        // One further ahead was written by a clock that was wrong.
        let next = self.next.filter(|next| *next > now && *next <= now.plus(REJECTED_PAUSE));
        if next.is_none() {
            // Its instance has ended before it knew the outcome.
            self.fail();
        }
        self.untold.append(deaths);
        let late = backlog.oldest.map(|oldest| oldest.plus(after));
        let waits = late.is_some_and(|late| late <= now);
        if !waits {
            self.waits = None;
        }
        let again = self.waits.filter(|told| *told <= now).map(|told| told.plus(after));
        let tells_wait = waits && again.is_none_or(|again| again <= now);
        if self.untold.is_none() && !tells_wait {
            return Decision::Wait(again.or(late).map(|at| next.map_or(at, |next| at.max(next))));
        }
        match next {
            Some(next) => Decision::Wait(Some(next)),
            None => {
                let Backlog { pending, dead, oldest } = backlog;
                let oldest = oldest.filter(|_| waits);
                Decision::Tell(Alert { deaths: self.untold.clone(), oldest, pending, dead })
            }
        }
    }

    /// Adds deaths about which nothing is decided now.
    pub fn add(&mut self, deaths: Deaths) {
        self.untold.append(deaths);
    }

    /// Notes that an alert is about to be sent: no other one is for [`ALERT_INTERVAL`].
    pub fn begin(&mut self, now: Timestamp) {
        self.sending = std::mem::take(&mut self.untold);
        self.next = Some(now.plus(ALERT_INTERVAL));
    }

    /// Notes the end of the alert that was begun last.
    pub fn end(&mut self, alert: &Alert, told: Told, now: Timestamp) {
        match told {
            Told::Yes => {
                self.sending = Deaths::default();
                if alert.oldest.is_some() {
                    self.waits = Some(now);
                }
            }
            Told::No => self.fail(),
            Told::Rejected => {
                self.fail();
                self.next = Some(now.plus(REJECTED_PAUSE));
            }
        }
    }

    /// Leaves to the next alert what was being sent.
    fn fail(&mut self) {
        let later = std::mem::replace(&mut self.untold, std::mem::take(&mut self.sending));
        self.untold.append(later);
    }
}

impl Alert {
    /// The alert as a CloudEvent in the JSON format. `source` is the URL of this Sluice, or a path.
    pub fn to_event(&self, id: DeliveryId, source: &str, now: Timestamp) -> String {
        #[derive(Serialize)]
        struct Event<'a> {
            specversion: &'static str,
            id: String,
            source: &'a str,
            r#type: &'static str,
            time: String,
            datacontenttype: &'static str,
            data: Data<'a>,
        }
        #[derive(Serialize)]
        struct Data<'a> {
            pending: u64,
            dead: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            died: Option<&'a Deaths>,
            #[serde(skip_serializing_if = "Option::is_none")]
            oldest: Option<Oldest>,
        }
        #[derive(Serialize)]
        struct Oldest {
            received: String,
            waits_seconds: u64,
        }
        let oldest = self
            .oldest
            .map(|received| Oldest { received: received.rfc3339(), waits_seconds: now.since(received).as_secs() });
        let event = Event {
            specversion: "1.0",
            id: id.to_string(),
            source,
            r#type: EVENT_TYPE,
            time: now.rfc3339(),
            datacontenttype: "application/json",
            data: Data {
                pending: self.pending,
                dead: self.dead,
                died: Some(&self.deaths).filter(|deaths| !deaths.is_none()),
                oldest,
            },
        };
        serde_json::to_string(&event).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
