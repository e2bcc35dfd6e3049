use proptest::prelude::*;

use super::*;

/// A number beyond 64 bits, unusual white space and a duplicate name: a parser that rebuilds JSON would change it.
const ODD: &str = r#"{"n":12345678901234567890, "f":1.417566161e9,"n":1}"#;

fn raw(json: &str) -> Cow<'_, RawValue> {
    Cow::Borrowed(serde_json::from_str(json).unwrap())
}

fn sample(work: Work<'_>, keyed: bool, n: u64) -> Delivery<'_> {
    let mut trace = HeaderMap::new();
    trace.append("traceparent", HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    Delivery {
        id: DeliveryId::new(Timestamp(n).into(), 7),
        work,
        claim: keyed.then(|| KeyClaim { key: Key::event("/s", "1", "w"), window: n, contended: n.is_multiple_of(2) }),
        trace,
        received: Timestamp(n),
        since: Timestamp(n / 2),
        attempts: 3,
        engine_attempts: 2,
        history: vec![FailedAttempt { at: Timestamp(n), failure: "the connection was \"refused\"".to_owned() }],
        next_attempt: Timestamp(n / 3),
        sent: n.is_multiple_of(3).then_some(Timestamp(n)),
        concluded: n.is_multiple_of(5),
        orphans: vec![
            Orphan {
                run: "run \"1\"".to_owned(),
                at: Timestamp(n),
                cancels: 2,
                cancelled: n.is_multiple_of(2).then_some(Timestamp(n)),
                replaced: n.is_multiple_of(7),
            };
            usize::try_from(n % 3).unwrap()
        ],
        wait: n.is_multiple_of(11).then(|| TaskWait { still: Some(Timestamp(n)), ..TaskWait::new("task".to_owned()) }),
        early_window: n.is_multiple_of(13).then_some(n),
        unseen: n.is_multiple_of(17),
        early_since: n.is_multiple_of(19).then_some(Timestamp(n)),
        requeued: n.is_multiple_of(23).then_some(Timestamp(n)),
        hold: Hold { is_stored: true, ..Hold::default() },
    }
}

proptest! {
    #[test]
    fn stored_delivery_is_read_unchanged(kind in 0..6, keyed in any::<bool>(), n in 0..1_u64 << 48) {
        let event = format!(r#"{{"specversion":"1.0","id":"1","x":1e5,"data":{ODD}}}"#);
        let workflow = WorkflowRef::parse("wörk flow").unwrap();
        let (run, topic) = (RunRef::parse("r").unwrap(), Topic::parse("a/b \"c\"").unwrap());
        let params = vec![("é\"".to_owned(), raw("12345678901234567890")), ("b".to_owned(), raw(ODD))];
        let resolve = |payload| {
            Work::Resolve(Callback { run: run.clone(), topic: topic.clone(), status: Status::Failed, payload })
        };
        let work = match kind {
            0 => Work::Start(Start::new(workflow, Payload::Webhook(raw(ODD)))),
            1 => {
                let payload = Payload::Event { whole: raw(&event), data: Some(raw(ODD)) };
                Work::Start(Start::new(workflow, payload))
            }
            2 => {
                let payload = Payload::Event { whole: raw("{}"), data: None };
                Work::Start(Start { params, ..Start::new(workflow, payload) })
            }
            3 => {
                let start = Start::new(workflow, Payload::Webhook(raw(ODD)));
                let queue = n.is_multiple_of(2).then(|| "wörk \"flow\"".to_owned());
                let replay_of = n.is_multiple_of(3).then(|| DeliveryId::parse("01M85MNVRRNF3YKJSMZYXYD1X7").unwrap());
                Work::Start(Start { trigger: Trigger::Github, params, queue, replay_of, ..start })
            }
            4 => resolve(Some(raw(ODD))),
            _ => resolve(None),
        };
        let delivery = sample(work, keyed, n);
        let read = Delivery::from_bytes(&delivery.to_bytes().unwrap()).unwrap();
        // `Debug` shows raw JSON as it is, so this compares all bytes.
        prop_assert_eq!(format!("{:?}", read), format!("{:?}", delivery));
    }

    #[test]
    fn arbitrary_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Delivery::from_bytes(&bytes).is_err());
    }
}

#[test]
fn trace_value_that_is_not_ascii_is_dropped() {
    let stored = r#"{"v":1,"id":"01M85MNVRRNF3YKJSMZYXYD1X7","kind":"resolve","run":"r","topic":"t","status":"failed",
        "trace":[["tracestate","é"],["tracestate","a=b"],["x","y"]],
        "received":1,"since":1,"attempts":0,"heard":0,"history":[],"next":1,"sent":null}"#;
    let read = Delivery::from_bytes(stored.as_bytes()).unwrap();
    assert_eq!((read.trace.len(), &read.trace["tracestate"]), (1, &HeaderValue::from_static("a=b")));
    let again = Delivery::from_bytes(&read.to_bytes().unwrap()).unwrap();
    assert_eq!(again.trace, read.trace);
}

#[test]
fn damaged_or_later_record_is_an_error() {
    let delivery =
        sample(Work::Start(Start::new(WorkflowRef::parse("w").unwrap(), Payload::Webhook(raw(ODD)))), true, 6);
    let text = String::from_utf8(delivery.to_bytes().unwrap()).unwrap();
    for (good, bad) in [
        (r#""v":1"#, r#""v":4"#),
        (r#""workflow":"w""#, r#""workflow":"../w""#),
        (r#""kind":"webhook""#, r#""kind":"other""#),
        (r#","payload":"#, r#","other":"#),
        (r#""id":"0"#, r#""id":"o"#),
    ] {
        assert!(text.contains(good), "{text}");
        assert!(Delivery::from_bytes(text.replacen(good, bad, 1).as_bytes()).is_err(), "{bad}");
    }
}

/// A record as it was written before routes existed.
#[test]
fn record_of_the_first_version_is_read_and_written_unchanged() {
    let first = format!(
        r#"{{"v":1,"id":"01M85MNVRRNF3YKJSMZYXYD1X7","kind":"event","workflow":"w","received":1,"since":1,"attempts":0,"heard":0,"history":[],"next":1,"sent":null,"payload":{{"data":{ODD}}}}}"#
    );
    let read = Delivery::from_bytes(first.as_bytes()).unwrap();
    let Work::Start(start) = &read.work else { panic!("{read:?}") };
    assert_eq!((start.trigger, start.params.len()), (Trigger::Event, 0));
    assert_eq!(String::from_utf8(read.to_bytes().unwrap()).unwrap(), first);
}

#[test]
fn webhook_of_any_json_value_is_read_unchanged() {
    for json in ["null", "true", "-1E400", r#""a\u0000""#, "[ ]", r#"[{"a":1,"a":2}, null]"#, "{}"] {
        let start = Start::new(WorkflowRef::parse("w").unwrap(), Payload::Webhook(raw(json)));
        let stored = sample(Work::Start(start), true, 6).to_bytes().unwrap();
        let read = Delivery::from_bytes(&stored).unwrap();
        let Work::Start(Start { payload: Payload::Webhook(payload), .. }) = &read.work else { panic!("{read:?}") };
        assert_eq!(payload.get(), json);
        assert_eq!(read.to_bytes().unwrap(), stored, "{json}");
    }
}

#[test]
fn what_an_earlier_version_would_drop_has_its_own_version() {
    let start = Start::new(WorkflowRef::parse("w").unwrap(), Payload::Webhook(raw("{}")));
    let github = Start { trigger: Trigger::Github, ..start.clone() };
    let with_param = Start { params: vec![("n".to_owned(), raw("1e2"))], ..start.clone() };
    let ordered = Start { queue: Some("w".to_owned()), ..start.clone() };
    for (start, version) in [(start, 1), (github, 2), (with_param, 2), (ordered, 3)] {
        let text = String::from_utf8(sample(Work::Start(start), false, 6).to_bytes().unwrap()).unwrap();
        assert!(text.starts_with(&format!(r#"{{"v":{version},"#)), "{text}");
    }
}
