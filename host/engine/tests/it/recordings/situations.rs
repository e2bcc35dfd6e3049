//! The state of the run that a request names, before the request.

use sluice_engine_model::{Json, Step};

use super::super::support::{NAPLIT, SHELL, WAITS};
use super::replay::Replay;

const LATE: &str = "6b08ce3d2bb126dc8dc5a8ae";

/// The history of a run before a request.
#[derive(Clone, Copy, Debug)]
pub enum Situation {
    /// The run waits for its event.
    Waits,
    /// The run sleeps for four seconds before it waits.
    Sleeps,
    /// The same, with a topic made of params.
    SleepsLate,
    /// The run is ready, and no agent starts it.
    NotStarted,
    /// The run was submitted at Flow, and waits.
    OfTeam,
    /// The run was just submitted at Flow.
    OfTeamJustNow,
    /// The engine was killed when it had saved the run.
    Orphan,
    /// A task without an image left the run behind.
    Imageless,
}

impl Situation {
    /// The situation of an entry, and the label of its run if others look for it.
    pub fn of(file: &str, name: &str) -> (Situation, &'static str) {
        match (file, name) {
            ("event.json", name) if name.starts_with("early, literal topic") => (Situation::Sleeps, "early"),
            ("event.json", "early, topic made of params") => (Situation::SleepsLate, "late"),
            ("event.json", "run not started yet") => (Situation::NotStarted, "e8"),
            ("event.json", name) if name.starts_with("waits, ") => (Situation::Waits, "waits"),
            ("orphan.json", "cancel, imageless") => (Situation::Imageless, "orphan"),
            ("orphan.json", _) => (Situation::Orphan, "orphan"),
            ("flow-api.json", "callback POST") => (Situation::OfTeam, "t1"),
            ("flow-api.json", "callback POST, run of the engine" | "run of the engine only") => (Situation::Waits, "e"),
            ("flow-api.json", "run of the team") => (Situation::OfTeamJustNow, "t6"),
            ("flow-api.json", _) => (Situation::OfTeam, "t"),
            _ => panic!("{file}: {name} names a run of which nothing is known"),
        }
    }

    /// Brings a new run into the situation, and returns its id.
    pub fn arrange(self, replay: &mut Replay, label: &str, entry: &Json) -> String {
        let label = recorded_label(entry).unwrap_or(label).to_owned();
        let data = recorded_data(entry).unwrap_or_else(|| Json::parse(br#"{"ref":"A-1","amount":12}"#).unwrap());
        let order = if matches!(self, Situation::SleepsLate) { r#",{"name":"order","value":77}"# } else { "" };
        let name = if matches!(self, Situation::Orphan) { "sluice.dev/delivery" } else { "sluice/delivery" };
        let params = format!(r#"[{{"name":"data","value":{data}}}{order}]"#);
        let body = format!(r#"{{"trigger":"webhook","params":{params},"labels":{{"{name}":"{label}"}}}}"#);
        let submit = |id: &str, start| format!("/api/v1/workflow/{id}/submit?start={start}");
        let (uri, ms) = match self {
            Situation::Waits => (submit(WAITS, true), 2_000),
            Situation::Sleeps => (submit(NAPLIT, true), 1_000),
            Situation::SleepsLate => (submit(LATE, true), 1_000),
            Situation::NotStarted => (submit(WAITS, false), 0),
            Situation::OfTeam => ("/api/v2/team/acme/workflow/waits/submit?start=true".to_owned(), 2_000),
            Situation::OfTeamJustNow => ("/api/v2/team/acme/workflow/waits/submit?start=true".to_owned(), 0),
            Situation::Orphan => {
                replay.site.model.die_at(Step::RunSaved);
                (submit(WAITS, true), 0)
            }
            Situation::Imageless => (submit(SHELL, false), 0),
        };
        let answer = replay.site.try_send(super::super::support::request("POST", &uri, Some(&body)));
        let is_ok = answer.is_ok_and(|answer| answer.status() == 200);
        assert_eq!(is_ok, !matches!(self, Situation::Orphan | Situation::Imageless), "{self:?}");
        replay.site.model.restart();
        replay.site.pass(ms);
        replay.site.model.runs().next_back().unwrap().run.id.clone()
    }
}

/// The label of a run that the response shows.
fn recorded_label(entry: &Json) -> Option<&str> {
    let labels = entry.get("response")?.get("body")?.get("labels")?;
    labels.get("sluice.dev/delivery").or(labels.get("sluice/delivery"))?.as_text()
}

/// The payload of an orphan, which is as it came.
fn recorded_data(entry: &Json) -> Option<Json> {
    let then = entry.get("then")?;
    let params = then.get("old").unwrap_or(then).get("params")?.as_array()?;
    params.first()?.get("value").filter(|value| value.as_object().is_some()).cloned()
}
