use super::*;
use crate::callback::{Callback, Status};
use crate::delivery::FailedAttempt;
use crate::delivery::fixtures::{callback, start};
use crate::reference::{RunRef, Topic, WorkflowRef};

const AT: Timestamp = Timestamp(1_795_509_000_000);

/// A start of a workflow by a source, with its last failure.
fn stored(workflow: &str, source: Option<&str>, failure: Option<&str>) -> Delivery<'static> {
    let mut delivery = start(7, AT);
    if let Work::Start(start) = &mut delivery.work {
        start.workflow = WorkflowRef::parse(workflow).unwrap();
        start.source = source.map(str::to_owned);
    }
    let failures = ["first", failure.unwrap_or_default()];
    let history = failures.into_iter().map(|failure| FailedAttempt { at: AT, failure: failure.to_owned() });
    delivery.history = if failure.is_some() { history.collect() } else { Vec::new() };
    delivery
}

fn workflow(pattern: &str) -> Filter {
    Filter { workflow: Some(Pattern::parse(pattern).unwrap()), ..Filter::default() }
}

#[test]
fn workflow_is_exact_or_a_prefix() {
    for (pattern, matching, other) in [
        ("deploy", &["deploy"][..], &["deploy-2", "Deploy", "team/deploy", "deplo"][..]),
        ("deploy*", &["deploy", "deploy-2"], &["Deploy", "team/deploy", "deploy-team/a", "deplo"]),
        ("team/deploy", &["team/deploy"], &["deploy", "other/deploy", "team/deploy-2"]),
        ("team/d*", &["team/deploy", "team/d"], &["deploy", "other/deploy", "team/build"]),
        ("team/*", &["team/deploy", "team/build"], &["deploy", "team-2/deploy"]),
        ("*", &["deploy", "build"], &["team/deploy"]),
    ] {
        for name in matching {
            assert!(workflow(pattern).matches(&stored(name, None, None)), "{pattern} {name}");
        }
        for name in other {
            assert!(!workflow(pattern).matches(&stored(name, None, None)), "{pattern} {name}");
        }
    }
}

#[test]
fn callback_has_no_workflow_and_no_source() {
    let delivery = callback(7, AT);
    // The run of the fixture is `r`.
    assert!(!workflow("r").matches(&delivery) && !workflow("*").matches(&delivery));
    assert!(!Filter { source: Some(String::new()), ..Filter::default() }.matches(&delivery));
    assert!(Filter::default().matches(&delivery));
}

#[test]
fn source_is_exact() {
    let by = |source: &str| Filter { source: Some(source.to_owned()), ..Filter::default() };
    assert!(by("shop").matches(&stored("w", Some("shop"), None)));
    for other in [None, Some("Shop"), Some("shop-2"), Some("sho")] {
        assert!(!by("shop").matches(&stored("w", other, None)), "{other:?}");
    }
}

#[test]
fn time_begins_with_from_and_ends_before_to() {
    let (before, after) = (Timestamp(AT.0 - 1), Timestamp(AT.0 + 1));
    for (from, to, matches) in [
        (None, None, true),
        (Some(AT), None, true),
        (Some(before), None, true),
        (Some(after), None, false),
        (None, Some(AT), false),
        (None, Some(after), true),
        (None, Some(before), false),
        (Some(AT), Some(after), true),
        (Some(AT), Some(AT), false),
        (Some(after), Some(before), false),
    ] {
        let filter = Filter { received_from: from, received_to: to, ..Filter::default() };
        let delivery = stored("w", None, None);
        assert_eq!(filter.matches(&delivery), matches, "{from:?} {to:?}");
        assert_eq!(filter.has_time_of(delivery.id), matches, "{from:?} {to:?}");
        let (first, end) = filter.ids();
        let is_between = first.is_none_or(|first| first <= delivery.id) && end.is_none_or(|end| delivery.id < end);
        assert_eq!(is_between, matches, "{from:?} {to:?}");
        assert!(!filter.reads_records());
    }
}

#[test]
fn failure_is_a_part_of_the_last_one() {
    let failed = |part: &str| Filter { failure: Some(part.to_owned()), ..Filter::default() };
    let delivery = stored("w", None, Some("the engine answered 404, WORKFLOW_NOT_FOUND"));
    for part in ["404", "workflow_not_found", "The Engine answered 404", ""] {
        assert!(failed(part).matches(&delivery), "{part}");
    }
    // The first failure doesn't count, and a delivery that has never failed has none.
    assert!(!failed("first").matches(&delivery) && !failed("405").matches(&delivery));
    assert!(!failed("").matches(&stored("w", None, None)));
}

#[test]
fn text_is_a_part_of_workflow_run_or_topic() {
    let of_start = stored("team/Deploy", Some("shop"), Some("nothing"));
    for (text, matches) in [("deploy", true), ("TEAM/d", true), ("", true), ("shop", false), ("nothing", false)] {
        assert_eq!(Filter::of_text(text).matches(&of_start), matches, "{text}");
    }
    let mut of_callback = callback(7, AT);
    let (run, topic) = (RunRef::parse("Run-1").unwrap(), Topic::parse("Approve it").unwrap());
    of_callback.work = Work::Resolve(Callback { run, topic, status: Status::Succeeded, payload: None });
    for (text, matches) in [("run-1", true), ("approve", true), ("run-2", false), ("1 a", false)] {
        assert_eq!(Filter::of_text(text).matches(&of_callback), matches, "{text}");
    }
}

/// Every subset of conditions, each of which holds or not: only a filter whose conditions all hold matches.
#[test]
fn all_conditions_have_to_hold() {
    let delivery = stored("deploy", Some("shop"), Some("the engine answered 404"));
    let choose = |digit: u32, holds: &str, fails: &str| match digit {
        1 => Some(holds.to_owned()),
        2 => Some(fails.to_owned()),
        _ => None,
    };
    for number in 0..3_u32.pow(6) {
        let digits: [u32; 6] = std::array::from_fn(|at| number / 3_u32.pow(u32::try_from(at).unwrap()) % 3);
        let at = |digit: u32, holds: u64, fails: u64| match digit {
            1 => Some(Timestamp(holds)),
            2 => Some(Timestamp(fails)),
            _ => None,
        };
        let filter = Filter {
            workflow: choose(digits[0], "deploy", "build").map(|pattern| Pattern::parse(&pattern).unwrap()),
            source: choose(digits[1], "shop", "bank"),
            received_from: at(digits[2], AT.0, AT.0 + 1),
            received_to: at(digits[3], AT.0 + 1, AT.0),
            failure: choose(digits[4], "404", "500"),
            text: choose(digits[5], "DEP", "build"),
        };
        assert_eq!(filter.matches(&delivery), !digits.contains(&2), "{filter:?}");
        assert_eq!(filter.is_empty(), digits == [0; 6], "{filter:?}");
        let records = [digits[0], digits[1], digits[4], digits[5]];
        assert_eq!(filter.reads_records(), records != [0; 4], "{filter:?}");
    }
}
