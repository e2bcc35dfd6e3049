//! Alerts: a workflow that the drain starts when deliveries die, or wait too long. [`alert`](crate::delivery::alert)
//! decides what is told, and when.
//!
//! An alert is sent once, by the pass that has noted that it sends it, after its attempts. It is never stored as a
//! delivery, so it never becomes a dead letter, and none is sent about it.

use std::borrow::Cow;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::HeaderMap;
use serde_json::value::RawValue;

use super::Gateway;
use crate::config::Alerts;
use crate::delivery::alert::{ALERT_INTERVAL, Alert, Backlog, Death, Deaths, Decision, Note, Told};
use crate::delivery::{Delivery, DeliveryId, Outcome, Payload, Start, Verdict, Work};
use crate::event;
use crate::ports::{Host, StoreError};
use crate::store::Outbox as _;
use crate::time::Timestamp;

/// The time that a pass has for an alert, after its attempts.
const ALERT_TIME: Duration = Duration::from_secs(5);

/// How often the note is read and written again that other passes change at the same moment.
const MAX_WRITES: usize = 5;

/// The `source` of the CloudEvent without `public_url`.
const DEFAULT_SOURCE: &str = "/sluice";

/// What became of a pass's alert.
#[derive(Debug, Default)]
pub(super) struct Alerted {
    /// Why none was sent, or noted.
    pub(super) warnings: Vec<String>,
    /// The time at which there may be the next one.
    pub(super) due: Option<Timestamp>,
}

impl<H: Host> Gateway<'_, H> {
    /// How much longer a pass may take because of an alert.
    pub(super) fn alert_time(&self) -> Duration {
        self.settings.alerts.as_ref().map(|_| ALERT_TIME).unwrap_or_default()
    }

    /// Sends an alert at the end of a pass, if there is a reason and the last one is long enough ago. While the engine
    /// can't be reached, what there is to tell is only noted.
    pub(super) async fn alert(&self, deaths: Deaths, backlog: Backlog, is_reachable: bool) -> Alerted {
        let Some(alerts) = &self.settings.alerts else { return Alerted::default() };
        self.alert_about(alerts, deaths, backlog, is_reachable).await.unwrap_or_else(|error| Alerted {
            warnings: vec![format!("the alert was not noted: {error}")],
            due: Some(self.now().plus(ALERT_INTERVAL)),
        })
    }

    async fn alert_about(
        &self,
        alerts: &Alerts,
        deaths: Deaths,
        backlog: Backlog,
        is_reachable: bool,
    ) -> Result<Alerted, StoreError> {
        let (mut note, decision) = self
            .change_note(|note, now| {
                let decision = note.decide(deaths.clone(), backlog, alerts.after, now);
                if matches!(decision, Decision::Tell(_)) && is_reachable {
                    note.begin(now);
                }
                decision
            })
            .await?;
        let alert = match decision {
            Decision::Wait(due) => return Ok(Alerted { warnings: Vec::new(), due }),
            Decision::Tell(_) if !is_reachable => {
                return Ok(Alerted { warnings: Vec::new(), due: Some(self.now().plus(ALERT_INTERVAL)) });
            }
            Decision::Tell(alert) => alert,
        };
        let verdict = self.send_alert(alerts, &alert).await;
        let told = match &verdict {
            Verdict::Accepted { .. } | Verdict::Existing { .. } => Told::Yes,
            Verdict::Rejected { .. } => Told::Rejected,
            _ => Told::No,
        };
        let mut warnings = Vec::new();
        if told != Told::Yes {
            let workflow = alerts.workflow.as_str();
            warnings.push(format!("the alert was not sent to `{workflow}`, and is told later: {verdict}"));
        }
        match self.change_note(|note, now| note.end(&alert, told, now)).await {
            Ok((ended, ())) => note = ended,
            Err(error) => warnings.push(format!("the outcome of the alert was not noted: {error}")),
        }
        let due = match note.decide(Deaths::default(), backlog, alerts.after, self.now()) {
            Decision::Wait(due) => due,
            Decision::Tell(_) => None,
        };
        Ok(Alerted { warnings, due })
    }

    /// Leaves a death to the next alert of a pass, because its sender had a 2xx before. Returns a warning if that fails.
    pub(super) async fn note_death(&self, delivery: &Delivery<'_>, outcome: &Outcome) -> Option<String> {
        if self.settings.alerts.is_none() || !outcome.is_death() {
            return None;
        }
        let mut deaths = Deaths::default();
        deaths.add(death(delivery, outcome));
        let noted = self.leave_deaths(deaths).await;
        let notified = self.store().notify().await;
        noted.and(notified).err().map(|error| format!("the alert was not noted: {error}"))
    }

    /// Leaves deaths to the alert of a later pass.
    pub(super) async fn leave_deaths(&self, deaths: Deaths) -> Result<(), StoreError> {
        if self.settings.alerts.is_none() || deaths.count == 0 {
            return Ok(());
        }
        self.change_note(|note, _| note.add(deaths.clone())).await.map(drop)
    }

    /// Changes the note about alerts. Returns it as it is then. A change may be made again to what another pass has
    /// written meanwhile.
    async fn change_note<T>(&self, mut change: impl FnMut(&mut Note, Timestamp) -> T) -> Result<(Note, T), StoreError> {
        for _ in 0..MAX_WRITES {
            let text = self.store().alert_note().await?;
            let before = text.as_deref().and_then(Note::read).unwrap_or_default();
            let mut note = before.clone();
            let result = change(&mut note, self.now());
            if note == before {
                return Ok((note, result));
            }
            let by = DeliveryId::new(self.host.arrival_time(), self.host.random()).to_string();
            if self.store().replace_alert_note(text.as_deref(), &note.to_json(&by)).await? {
                return Ok((note, result));
            }
        }
        Err(StoreError("other passes write the note about alerts".to_owned()))
    }

    /// Starts the workflow, and returns what the engine says.
    async fn send_alert(&self, alerts: &Alerts, alert: &Alert) -> Verdict {
        let arrival = self.host.arrival_time();
        let id = DeliveryId::new(arrival, self.host.random());
        let source = alerts.public_url.as_deref().unwrap_or(DEFAULT_SOURCE);
        let Ok(whole) = RawValue::from_string(alert.to_event(id, source, arrival.at)) else {
            return Verdict::Unreachable { reason: "the alert can't be encoded".to_owned() };
        };
        let data = event::data(&whole).map(|data| Cow::Owned(data.to_owned()));
        let payload = Payload::Event { whole: Cow::Owned(whole), data };
        let work = Work::Start(Start::new(alerts.workflow.clone(), payload));
        let sending = self.send(&Delivery::new(id, work, HeaderMap::new(), arrival.at));
        match select(sending, pin!(self.host.sleep(ALERT_TIME))).await {
            Either::Left((sent, _)) => sent.verdict,
            Either::Right(_) => Verdict::Unclear {
                reason: format!("the engine did not answer within {} s", ALERT_TIME.as_secs()),
                after: None,
                concluded: false,
            },
        }
    }
}

/// The death of a delivery with this outcome.
pub(super) fn death(delivery: &Delivery<'_>, outcome: &Outcome) -> Death {
    Death::of(delivery, outcome.failure().map(ToString::to_string))
}
