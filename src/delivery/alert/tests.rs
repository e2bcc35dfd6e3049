use serde_json::{Value, json};

use super::*;

const AFTER: Duration = Duration::from_secs(15 * 60);
const START: Timestamp = Timestamp(1_800_000_000_000);

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

fn death(n: u64) -> Death {
    let delivery = DeliveryId::new(Timestamp(n).into(), n);
    Death { delivery, r#ref: format!("w{n}"), failure: Some("the engine answered 422".to_owned()) }
}

fn deaths(numbers: impl IntoIterator<Item = u64>) -> Deaths {
    let mut deaths = Deaths::default();
    numbers.into_iter().for_each(|n| deaths.add(death(n)));
    deaths
}

fn backlog(oldest: Option<Timestamp>) -> Backlog {
    Backlog { pending: u64::from(oldest.is_some()), dead: 3, oldest }
}

/// Decides, and begins the alert if there is one.
fn pass(note: &mut Note, deaths: Deaths, oldest: Option<Timestamp>, now: Timestamp) -> Decision {
    let decision = note.decide(deaths, backlog(oldest), AFTER, now);
    if matches!(decision, Decision::Tell(_)) {
        note.begin(now);
    }
    decision
}

#[track_caller]
fn told(decision: Decision) -> Alert {
    let Decision::Tell(alert) = decision else { panic!("{decision:?}") };
    alert
}

#[test]
fn nothing_is_told_without_a_reason() {
    let mut note = Note::default();
    assert_eq!(pass(&mut note, Deaths::default(), None, at(0)), Decision::Wait(None));
    assert_eq!(note, Note::default());
    let late = at(0).plus(AFTER);
    assert_eq!(pass(&mut note, Deaths::default(), Some(at(0)), at(1)), Decision::Wait(Some(late)));
    assert_eq!(note, Note::default(), "a pass without a reason writes nothing");
}

#[test]
fn death_is_told_once_and_the_next_one_a_minute_later() {
    let mut note = Note::default();
    let first = told(pass(&mut note, deaths([1]), None, at(0)));
    assert_eq!((first.deaths.clone(), first.oldest), (deaths([1]), None));
    note.end(&first, Told::Yes, at(1));
    assert_eq!(pass(&mut note, Deaths::default(), None, at(2)), Decision::Wait(None));
    for second in [10, 59] {
        assert_eq!(pass(&mut note, deaths([second]), None, at(second)), Decision::Wait(Some(at(60))));
    }
    let second = told(pass(&mut note, Deaths::default(), None, at(60)));
    assert_eq!(second.deaths, deaths([10, 59]));
    note.end(&second, Told::Yes, at(60));
    assert_eq!(pass(&mut note, Deaths::default(), None, at(1_000)), Decision::Wait(None));
}

#[test]
fn failed_alert_is_told_again_with_what_came_since() {
    for (end, pause) in [(Told::No, ALERT_INTERVAL), (Told::Rejected, REJECTED_PAUSE)] {
        let mut note = Note::default();
        let alert = told(pass(&mut note, deaths([1, 2]), None, at(0)));
        note.end(&alert, end, at(0));
        let next = at(0).plus(pause);
        assert_eq!(pass(&mut note, deaths([3]), None, at(30)), Decision::Wait(Some(next)), "{end:?}");
        let again = told(pass(&mut note, Deaths::default(), None, next));
        assert_eq!(again.deaths, deaths([1, 2, 3]), "{end:?}");
    }
}

/// The instance ends after it has begun to send, and before it knows the outcome.
#[test]
fn alert_without_an_end_is_told_again() {
    let mut note = Note::default();
    told(pass(&mut note, deaths([1]), None, at(0)));
    assert_eq!(pass(&mut note, deaths([2]), None, at(59)), Decision::Wait(Some(at(60))));
    assert_eq!(told(pass(&mut note, Deaths::default(), None, at(60))).deaths, deaths([1, 2]));
}

/// Another pass has noted a death while the alert was being sent.
#[test]
fn death_during_an_alert_is_left_to_the_next_one() {
    let mut note = Note::default();
    let alert = told(pass(&mut note, deaths([1]), None, at(0)));
    note.add(deaths([2]));
    note.end(&alert, Told::Yes, at(3));
    assert_eq!(told(pass(&mut note, Deaths::default(), None, at(60))).deaths, deaths([2]));
}

#[test]
fn all_deaths_are_counted_and_the_first_are_named() {
    let mut note = Note::default();
    let alert = told(pass(&mut note, deaths(0..25), None, at(0)));
    assert_eq!((alert.deaths.count, alert.deaths.first.len()), (25, MAX_NAMED));
    for round in 0..100 {
        note.end(&alert, Told::No, at(round));
        pass(&mut note, deaths(0..100), None, at(round));
    }
    let again = told(note.decide(Deaths::default(), backlog(None), AFTER, at(500)));
    assert_eq!((again.deaths.count, again.deaths.first), (10_025, deaths(0..10).first));
    assert!(note.to_json("x").len() < 8_000, "the note is bounded");
}

#[test]
fn delivery_that_waits_too_long_is_told_again_as_long_as_it_does() {
    let (mut note, oldest) = (Note::default(), Some(at(0)));
    let late = at(0).plus(AFTER);
    assert_eq!(pass(&mut note, Deaths::default(), oldest, at(899)), Decision::Wait(Some(late)));
    let alert = told(pass(&mut note, Deaths::default(), oldest, at(900)));
    assert_eq!((&alert.deaths, alert.oldest), (&Deaths::default(), oldest));
    note.end(&alert, Told::Yes, at(900));
    assert_eq!(pass(&mut note, Deaths::default(), oldest, at(1_799)), Decision::Wait(Some(at(1_800))));
    let alert = told(pass(&mut note, Deaths::default(), oldest, at(1_800)));
    note.end(&alert, Told::Yes, at(1_800));
    // Delivered: the next one that waits is told at once.
    assert_eq!(pass(&mut note, Deaths::default(), None, at(1_900)), Decision::Wait(None));
    told(pass(&mut note, Deaths::default(), Some(at(1_000)), at(1_901)));
}

#[test]
fn wait_that_could_not_be_told_is_told_a_minute_later() {
    let (mut note, oldest) = (Note::default(), Some(at(0)));
    let alert = told(pass(&mut note, Deaths::default(), oldest, at(900)));
    note.end(&alert, Told::No, at(905));
    assert_eq!(pass(&mut note, Deaths::default(), oldest, at(910)), Decision::Wait(Some(at(960))));
    assert_eq!(told(pass(&mut note, Deaths::default(), oldest, at(960))).oldest, oldest);
}

#[test]
fn alert_about_a_death_says_that_a_delivery_waits() {
    let mut note = Note::default();
    let alert = told(pass(&mut note, deaths([1]), Some(at(0)), at(900)));
    assert_eq!((alert.deaths.count, alert.oldest, alert.pending, alert.dead), (1, Some(at(0)), 1, 3));
    note.end(&alert, Told::Yes, at(900));
    let after = pass(&mut note, Deaths::default(), Some(at(0)), at(960));
    assert_eq!(after, Decision::Wait(Some(at(1_800))), "it was told");
}

/// A note by a clock that was far ahead holds nothing back.
#[test]
fn time_that_is_too_far_ahead_counts_as_none() {
    let mut note = Note { next: Some(at(100_000)), waits: Some(at(100_000)), ..Note::default() };
    let alert = told(pass(&mut note, deaths([1]), Some(at(0)), at(900)));
    assert_eq!(alert.oldest, Some(at(0)));
}

/// Passes and ends in any order: at most one alert a minute, and each death is told, and counted once if nothing fails.
#[test]
fn no_death_is_lost_and_no_minute_has_two_alerts() {
    for seed in 0..500_u64 {
        let random = |n: u64, of: u64| DeliveryId::new(Timestamp(0).into(), seed ^ (n << 20)).jitter(7) % of;
        let (mut note, mut died, mut counted, mut last) = (Note::default(), 0, 0, None);
        for step in 0..200 {
            let now = at(step * 7);
            let new = if random(step, 4) == 0 { random(step + 1_000, 3) } else { 0 };
            died += new;
            let decision = pass(&mut note, deaths((0..new).map(|n| step * 10 + n)), None, now);
            if let Decision::Tell(alert) = decision {
                assert!(last.is_none_or(|last| now.since(last) >= ALERT_INTERVAL), "seed {seed}");
                last = Some(now);
                match random(step + 2_000, 4) {
                    0 => note.end(&alert, Told::No, now),
                    // Its instance has ended.
                    1 => {}
                    _ => {
                        note.end(&alert, Told::Yes, now);
                        counted += alert.deaths.count;
                    }
                }
            }
        }
        let alert = note.decide(Deaths::default(), backlog(None), AFTER, at(100_000));
        counted += if let Decision::Tell(alert) = alert { alert.deaths.count } else { 0 };
        assert_eq!(counted, died, "seed {seed}");
    }
}

#[test]
fn note_is_read_as_it_was_written() {
    let mut note = Note::default();
    told(pass(&mut note, deaths([1, 2]), Some(at(0)), at(900)));
    pass(&mut note, deaths([3]), Some(at(0)), at(901));
    let (first, second) = (note.to_json("a"), note.to_json("b"));
    assert_ne!(first, second);
    assert_eq!(Note::read(&first), Some(Note { by: "a".to_owned(), ..note }));
    assert_eq!((Note::read(""), Note::read("[]")), (None, None));
}

#[test]
fn alert_is_a_cloud_event() {
    let id = DeliveryId::new(START.into(), 1);
    let alert = Alert { deaths: deaths([1]), oldest: Some(at(0)), pending: 2, dead: 3 };
    let event: Value = serde_json::from_str(&alert.to_event(id, "/sluice", at(900))).unwrap();
    let expected = json!({
        "specversion": "1.0", "id": id.to_string(), "source": "/sluice", "type": "dev.sluice.alert",
        "time": "2027-01-15T08:15:00.000Z", "datacontenttype": "application/json",
        "data": {
            "pending": 2, "dead": 3,
            "died": { "count": 1, "first": [
                { "delivery": death(1).delivery.to_string(), "ref": "w1", "failure": "the engine answered 422" }
            ] },
            "oldest": { "received": "2027-01-15T08:00:00.000Z", "waits_seconds": 900 }
        }
    });
    assert_eq!(event, expected);
    let alert = Alert { deaths: Deaths::default(), oldest: None, pending: 0, dead: 0 };
    let event: Value = serde_json::from_str(&alert.to_event(id, "https://gate.example.com", at(0))).unwrap();
    assert_eq!(event["data"], json!({ "pending": 0, "dead": 0 }));
}
