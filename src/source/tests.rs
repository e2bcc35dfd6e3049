//! Errors with their places, confinement, finding, and the scope of each way in.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::reference::WorkflowRef;

const GITHUB: &str = r#"{"name":"acme-github","sender":"github","secrets":["gh-1"],"workflows":["build","deploy-*"]}"#;
const PARTNER: &str = r#"{"name":"partner","tokens":["p-token"],"workflows":["intake"]}"#;
const BILLING: &str = r#"{"name":"billing","sender":{"algorithm":"hmac-sha256","headers":["X-Sig"]},
    "secrets":["b-1"],"callbacks":true}"#;

fn sources(elements: &[&str]) -> String {
    format!("[{}]", elements.join(","))
}

fn parse(text: &str) -> Sources<'_> {
    Sources::parse(text, Vec::new()).unwrap()
}

/// The errors of the sources that are stopped, as texts.
fn errors(text: &str) -> Vec<String> {
    parse(text).stopped().iter().map(|stopped| stopped.error.to_string()).collect()
}

fn headers(names: &[&str]) -> HeaderMap {
    let value = HeaderValue::from_static("x");
    names.iter().map(|name| (HeaderName::try_from(*name).unwrap(), value.clone())).collect()
}

/// The candidates of a request, such as `acme-github signs`, and what was tried in vain.
fn found(
    sources: &Sources<'_>,
    source: Option<&str>,
    names: &[&str],
    tokens: &[&str],
) -> Result<(Vec<String>, Vec<Miss>), UnknownSource> {
    let headers = headers(names);
    let found = sources.find(Clues { source, headers: &headers, tokens })?;
    let candidates = found.candidates.iter().map(|candidate| {
        let who = match candidate.authority {
            Authority::Open => "anyone",
            Authority::AccessToken => "access token",
            Authority::Source(source, _) => source.name(),
        };
        match candidate.proof {
            Proof::Complete => who.to_owned(),
            Proof::Signature(_) => format!("{who} signs"),
        }
    });
    Ok((candidates.collect(), found.misses.clone()))
}

/// No error repeats a value, here `hunter2`.
#[test]
fn error_names_its_place_and_what_may_be_there() {
    let github = |rest: &str| format!(r#"{{"name":"a","sender":"github","secrets":["s"]{rest}}}"#);
    for (source, expected) in [
        ("1".to_owned(), "`/1` must be an object, but is a number"),
        ("{}".to_owned(), "`/1` must have a `name`"),
        (r#"{"name":7}"#.to_owned(), "`/1/name` must be a string, but is a number"),
        (
            r#"{"name":"-hunter2"}"#.to_owned(),
            "`/1/name` must be 1 to 63 letters, digits, `.`, `_` and `-`, with a letter or digit at both ends",
        ),
        (
            r#"{"name":"a","sender":"githbu","secrets":["s"]}"#.to_owned(),
            "`/1/sender` is an unknown sender `githbu`: did you mean `github`?",
        ),
        (
            r#"{"name":"a","sender":"hunter2","secrets":["s"]}"#.to_owned(),
            "`/1/sender` must be a sender that docs/senders.md lists, or a descriptor",
        ),
        (
            r#"{"name":"a","sender":[],"secrets":["s"]}"#.to_owned(),
            "`/1/sender` must be the name of a sender, or a descriptor, but is an array",
        ),
        (r#"{"name":"a","sender":"github"}"#.to_owned(), "`/1` must have `secrets`, `tokens` or `keys`"),
        (r#"{"name":"a"}"#.to_owned(), "`/1` must have `tokens`, or a `sender` with `secrets` or `keys`"),
        (
            r#"{"name":"a","secrets":["hunter2"]}"#.to_owned(),
            "`/1` must have a `sender`, which says how its `secrets` are used",
        ),
        (
            r#"{"name":"a","audience":"hunter2"}"#.to_owned(),
            "`/1` must have a `sender`, which says how its `keys` are used",
        ),
        (
            r#"{"name":"a","sender":"docker-hub","secrets":["hunter2"]}"#.to_owned(),
            "`/1/secrets` must not be set: this sender signs nothing, so use `tokens`",
        ),
        (
            r#"{"name":"a","sender":"github","secret":["hunter2"]}"#.to_owned(),
            "`/1` has an unknown name `secret`: did you mean `secrets`?",
        ),
        (
            github(r#","hunter2":1"#),
            "`/1` has an unknown name (member 4): known are `name`, `sender`, `secrets`, `tokens`, `workflows`, \
             `callbacks`, `ordered`, `repeat`, `audience`, `issuer`, `keys`",
        ),
        (github(r#","name":"b""#), "`/1` has a duplicate name (member 4)"),
        (github(r#","callbacks":"hunter2""#), "`/1/callbacks` must be a boolean, but is a string"),
        (github(r#","ordered":null"#), "`/1/ordered` must be a boolean, but is null"),
        (github(r#","repeat":"hunter2""#), "`/1/repeat` must be `body`"),
        (github(r#","workflows":[]"#), "`/1/workflows` must have 1 to 256 workflows: leave it out to allow all"),
        (github(r#","workflows":"hunter2""#), "`/1/workflows` must be an array, but is a string"),
        (github(r#","workflows":["a",""]"#), "`/1/workflows/1` must not be empty"),
        (github(r#","workflows":["a*b"]"#), "`/1/workflows/0` must have `*` only at its end, and once"),
        (github(r#","workflows":["a**"]"#), "`/1/workflows/0` must have `*` only at its end, and once"),
        (github(r#","workflows":["a*/b"]"#), "`/1/workflows/0` must have `*` only at its end, and once"),
        (github(r#","workflows":["a/b/c"]"#), "`/1/workflows/0` must not contain '/'"),
        (github(r#","tokens":[]"#), "`/1/tokens` must not be empty: leave it out if there is none"),
        (github(r#","tokens":["a","hunter 2"]"#), "`/1/tokens/1` must be visible ASCII without blanks"),
        (
            r#"{"name":"a","sender":"github","secrets":["hunter2\n"]}"#.to_owned(),
            "`/1/secrets/0` must not begin or end with white space, such as a line break",
        ),
        (
            r#"{"name":"a","sender":"github","secrets":["hunter2é"]}"#.to_owned(),
            "`/1/secrets/0` must be ASCII without control characters",
        ),
        (
            r#"{"name":"a","sender":"github","secrets":"hunter2"}"#.to_owned(),
            "`/1/secrets` must be an array, but is a string",
        ),
        (r#"{"name":"acme-github","tokens":["t"]}"#.to_owned(), ""),
    ] {
        let text = sources(&[GITHUB, &source, PARTNER]);
        let errors = errors(&text);
        assert!(errors.iter().all(|error| !error.contains("hunter2")), "{errors:?}");
        match expected {
            "" => assert_eq!(errors.len(), 2, "{source}"),
            expected => assert_eq!(errors, [expected], "{source}"),
        }
    }
}

#[test]
fn text_that_is_no_array_is_an_error() {
    let error = |text: &str| Sources::parse(text, Vec::new()).unwrap_err().to_string();
    assert_eq!(error("{}"), "is no array of sources: it must be an array, but is an object");
    assert_eq!(
        error("[1"),
        "is no array of sources: it is not valid JSON: EOF while parsing a list at line 1 column 2"
    );
    assert_eq!(error(&" 1".repeat(MAX_TEXT)), "is longer than 262144 bytes");
    let many = vec!["1"; MAX_SOURCES + 1].join(",");
    assert_eq!(error(&format!("[{many}]")), "is no array of sources: it must have at most 256 sources");
    assert!(parse(" \n").is_open() && parse("[]").is_open());
}

#[test]
fn sources_that_cannot_be_told_apart_stop_each_other_and_no_other() {
    let other_scheme = BILLING.replace("billing", "other").replace("X-Sig", "x-other");
    let same_scheme = BILLING.replace("billing", "other").replace(r#""hmac-sha256","#, r#""hmac-sha256" ,"#);
    for (second, expected) in [
        (
            r#"{"name":"acme-github","tokens":["t"]}"#,
            vec![
                "`/0/name` is also the name of `/3`: each source needs its own",
                "`/3/name` is also the name of `/0`: each source needs its own",
            ],
        ),
        (
            r#"{"name":"b","sender":"github","secrets":["gh-0","gh-1"]}"#,
            vec![
                "`/0/secrets/0` is also a secret of `b`, which has this sender: its requests could be either's",
                "`/3/secrets/1` is also a secret of `acme-github`, which has this sender: its requests could be either's",
            ],
        ),
        (
            r#"{"name":"b","tokens":["p-token"]}"#,
            vec![
                "`/1/tokens/0` is also a token of `b`: its requests could be either's",
                "`/3/tokens/0` is also a token of `partner`: its requests could be either's",
            ],
        ),
        (
            &same_scheme,
            vec![
                "`/2/secrets/0` is also a secret of `other`, which has this sender: its requests could be either's",
                "`/3/secrets/0` is also a secret of `billing`, which has this sender: its requests could be either's",
            ],
        ),
        (
            r#"{"name":"b","tokens":["unlimited"]}"#,
            vec!["`/3/tokens/0` is also in `access_tokens`: its requests could be either's"],
        ),
        // Two senders may have one secret, and one organisation may have several sources of one sender.
        (&other_scheme, vec![]),
        (r#"{"name":"b","sender":"gitea","secrets":["gh-1"]}"#, vec![]),
        (r#"{"name":"b","sender":"github","secrets":["gh-2"]}"#, vec![]),
    ] {
        let text = sources(&[GITHUB, PARTNER, BILLING, second]);
        let sources = Sources::parse(&text, vec![Secret::new("unlimited")]).unwrap();
        let errors: Vec<_> = sources.stopped().iter().map(|stopped| stopped.error.to_string()).collect();
        assert_eq!(errors, expected, "{second}");
    }
}

#[test]
fn source_is_found_by_name_headers_or_token() {
    let gitea = r#"{"name":"forge","sender":"gitea","secrets":["ge-1"]}"#;
    let other = r#"{"name":"other-github","sender":"github","secrets":["gh-2"],"tokens":["o-token"]}"#;
    let text = sources(&[GITHUB, PARTNER, BILLING, other]);
    let with_gitea = sources(&[GITHUB, PARTNER, BILLING, other, gitea]);
    let (sources, with_gitea) = (parse(&text), parse(&with_gitea));
    let push = ["x-github-event", "x-hub-signature-256"];
    let gitea_push = ["x-gitea-event", "x-gitea-signature", "x-github-event", "x-hub-signature-256"];
    let both = ["acme-github signs", "other-github signs"];
    let (no_headers, no_tokens): ([&str; 0], [&str; 0]) = ([], []);
    for (named, names, tokens, candidates, misses) in [
        (None, &push[..], &no_tokens[..], &both[..], vec![]),
        (Some("github"), &push[..], &[], &both[..], vec![]),
        (Some("acme-github"), &push[..], &[], &["acme-github signs"][..], vec![]),
        // The headers are missing: verification says which.
        (Some("acme-github"), &no_headers[..], &[], &["acme-github signs"][..], vec![]),
        (None, &["x-sig"][..], &[], &["billing signs"][..], vec![]),
        // The descriptor names its header: no preset is in its way.
        (
            None,
            &["x-sig", "webhook-id", "x-vercel-signature"][..],
            &[],
            &["billing signs"][..],
            vec![Miss::NotSetUp("vercel")],
        ),
        // Gitea is not set up, so it is not in GitHub's way.
        (None, &gitea_push[..], &[], &both[..], vec![Miss::NotSetUp("gitea")]),
        (None, &["paddle-signature"][..], &[], &[][..], vec![Miss::NotSetUp("paddle")]),
        (Some("paddle"), &push[..], &[], &[][..], vec![Miss::NotSetUp("paddle")]),
        (None, &[][..], &["p-token"], &["partner"][..], vec![]),
        (None, &[][..], &["x", "o-token"], &["other-github"][..], vec![]),
        (Some("partner"), &[][..], &["p-token"], &["partner"][..], vec![]),
        (Some("other-github"), &[][..], &["p-token"], &["other-github signs"][..], vec![Miss::UnknownToken]),
        (Some("docker-hub"), &[][..], &["p-token"], &["partner"][..], vec![Miss::NotSetUp("docker-hub")]),
        (None, &push[..], &["p-token"], &["acme-github signs", "other-github signs", "partner"][..], vec![]),
        (None, &[][..], &["x"], &[][..], vec![Miss::UnknownToken]),
        (None, &[][..], &[], &[][..], vec![Miss::NoClue]),
    ] {
        let expected = (candidates.iter().map(|text| (*text).to_owned()).collect(), misses);
        assert_eq!(found(&sources, named, names, tokens), Ok(expected), "{named:?} {names:?} {tokens:?}");
    }
    assert_eq!(found(&sources, Some("unknown"), &push, &[]), Err(UnknownSource));
    // Gitea's own headers come before those that it shares with GitHub.
    let (candidates, _) = found(&with_gitea, None, &gitea_push, &[]).unwrap();
    assert_eq!(candidates, ["forge signs", "acme-github signs", "other-github signs"]);
}

/// The name of a source stays its own when a sender of this name is added. A URL with the sender's name still means all
/// sources of this sender.
#[test]
fn source_may_have_the_name_of_another_sender() {
    let text = sources(&[
        r#"{"name":"gitlab","sender":"github","secrets":["a"]}"#,
        r#"{"name":"lab","sender":"gitlab","secrets":["b"]}"#,
        r#"{"name":"github","tokens":["t"]}"#,
    ]);
    let sources = parse(&text);
    assert_eq!(sources.stopped(), []);
    for (source, expected) in [
        // A token of a source without a sender may be used for any sender.
        ("gitlab", &["github", "gitlab signs", "lab signs"][..]),
        ("lab", &["lab signs"]),
        ("github", &["gitlab signs", "github"]),
    ] {
        let (mut candidates, _) = found(&sources, Some(source), &[], &["t"]).unwrap();
        candidates.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(candidates, expected, "{source}");
    }
}

#[test]
fn access_token_has_no_limits_and_nothing_set_up_is_open() {
    let text = sources(&[GITHUB]);
    let sources = Sources::parse(&text, vec![Secret::new("unlimited")]).unwrap();
    let candidates =
        |sources: &Sources<'_>, names: &[&str], tokens: &[&str]| found(sources, None, names, tokens).unwrap().0;
    assert_eq!(candidates(&sources, &[], &["unlimited"]), ["access token"]);
    assert_eq!(candidates(&sources, &["x-github-event"], &["unlimited"]), ["acme-github signs", "access token"]);
    assert_eq!(candidates(&parse(""), &["x-github-event"], &[]), ["anyone"]);
    let only_tokens = Sources::parse("", vec![Secret::new("unlimited")]).unwrap();
    assert!(!only_tokens.is_open() && candidates(&only_tokens, &[], &[]).is_empty());
    // A source that is stopped doesn't open the gateway.
    assert!(!parse("[1]").is_open() && candidates(&parse("[1]"), &[], &[]).is_empty());
}

#[test]
fn token_comes_before_a_signature_in_the_header_of_tokens() {
    let text = sources(&[
        r#"{"name":"basic","sender":{"algorithm":"token","headers":["Authorization"]},"secrets":["s"]}"#,
        PARTNER,
    ]);
    let sources = parse(&text);
    assert_eq!(found(&sources, None, &["authorization"], &["p-token"]).unwrap().0, ["partner", "basic signs"]);
    assert_eq!(found(&sources, None, &["authorization"], &["x"]).unwrap().0, ["basic signs"]);
}

#[test]
fn request_that_may_come_from_a_stopped_source_is_told_so() {
    let github = r#"{"name":"acme-github","sender":"github","secrets":["gh-1"],"workflows":[1]}"#;
    let stopped = |source: &str, named: Option<&str>, names: &[&str], tokens: &[&str]| {
        let text = sources(&[source, PARTNER]);
        let (candidates, misses) = found(&parse(&text), named, names, tokens).unwrap();
        assert!(candidates.iter().all(|candidate| candidate == "partner"), "{candidates:?}");
        misses.contains(&Miss::Stopped(Some("acme-github".to_owned()))) || misses.contains(&Miss::Stopped(None))
    };
    let unreadable = r#"{"name":"acme-github","sender":"githbu","secrets":["gh-1"]}"#;
    let token = r#"{"name":"acme-github","token":["t"]}"#;
    for (source, named, names, tokens, expected) in [
        (github, None, &["x-github-event"][..], &[][..], true),
        (github, Some("github"), &[], &[], true),
        (github, Some("acme-github"), &[], &[], true),
        (github, None, &["x-gitlab-event"], &[], false),
        (github, Some("partner"), &["x-github-event"], &["x"], false),
        (github, None, &[], &["p-token"], false),
        (unreadable, None, &["x-github-event"], &[], true),
        (unreadable, Some("github"), &[], &[], true),
        (unreadable, Some("partner"), &[], &[], false),
        (token, None, &[], &["t"], true),
        (token, None, &[], &["p-token"], false),
        (token, None, &["x-github-event"], &[], false),
        ("[]", None, &["x-github-event"], &[], true),
        ("[]", Some("anything"), &[], &[], true),
    ] {
        assert_eq!(stopped(source, named, names, tokens), expected, "{source} {named:?} {names:?} {tokens:?}");
    }
}

#[test]
fn source_that_cannot_be_told_from_another_is_never_a_candidate() {
    let candidates = |other: &str, names: &[&str], tokens: &[&str]| {
        let text = sources(&[GITHUB, PARTNER, BILLING, other]);
        found(&parse(&text), None, names, tokens).unwrap()
    };
    let stopped =
        |names: &[&str]| -> Vec<_> { names.iter().map(|name| Miss::Stopped(Some((*name).to_owned()))).collect() };
    for (other, names, tokens, misses) in [
        (
            r#"{"name":"b","sender":"github","secrets":["gh-1"]}"#,
            &["x-github-event"][..],
            &[][..],
            stopped(&["acme-github", "b"]),
        ),
        (r#"{"name":"b","tokens":["p-token"]}"#, &[], &["p-token"], stopped(&["partner", "b"])),
        (r#"{"name":"billing","tokens":["t"]}"#, &["x-sig"], &[], stopped(&["billing"])),
    ] {
        assert_eq!(candidates(other, names, tokens), (vec![], misses), "{other}");
    }
}

#[test]
fn response_follows_the_preset_of_the_first_source() {
    let text = sources(&[GITHUB, BILLING]);
    let sources = parse(&text);
    let preset = |source, names: &[&str]| {
        let headers = headers(names);
        sources.find(Clues { source, headers: &headers, tokens: &[] }).unwrap().preset.map(|preset| preset.name)
    };
    assert_eq!(preset(None, &["x-gitea-event", "x-github-event"]), Some("github"));
    assert_eq!(preset(Some("acme-github"), &[]), Some("github"));
    assert_eq!(preset(Some("billing"), &["x-github-event"]), None);
    assert_eq!(preset(None, &["x-sig", "x-vercel-signature"]), None);
    assert_eq!(preset(None, &["x-slack-signature"]), Some("slack"));
    assert_eq!(preset(Some("docker-hub"), &[]), Some("docker-hub"));
}

const HEX: &str = "5f43a1b2c3d4e5f6a7b8c9d0";

fn is_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Each kind of authority, by the text of a source; `None` is a token of `access_tokens`.
fn with_authority<T>(source: Option<&str>, check: impl FnOnce(Authority<'_, '_>) -> T) -> T {
    let Some(source) = source else { return check(Authority::AccessToken) };
    let text = sources(&[source]);
    let sources = parse(&text);
    let found = sources.find(Clues { source: None, headers: &HeaderMap::new(), tokens: &["t"] }).unwrap();
    check(found.candidates[0].authority)
}

/// Each way in, for each kind of source and of workflow.
#[test]
fn scope_is_decided_for_each_way_in() {
    let source = |rest: &str| format!(r#"{{"name":"s","tokens":["t"]{rest}}}"#);
    let unlimited = source("");
    let all = source(r#","callbacks":true"#);
    let starts = source(r#","workflows":["build","deploy-*","acme/intake","acme/team-*"]"#);
    let limited = source(r#","workflows":["build","deploy-*","acme/intake","acme/team-*"],"callbacks":true"#);
    let by_id = source(&format!(r#","workflows":["{HEX}"],"callbacks":true"#));
    let hex_glob = source(r#","workflows":["5*"],"callbacks":true"#);
    let star = source(r#","workflows":["*"],"callbacks":true"#);
    let star_of_team = source(r#","workflows":["acme/*"],"callbacks":true"#);
    let kinds: [Option<&str>; 9] = [
        None,
        Some(&unlimited),
        Some(&all),
        Some(&starts),
        Some(&limited),
        Some(&by_id),
        Some(&hex_glob),
        Some(&star),
        Some(&star_of_team),
    ];
    let other_id = "5f00000000000000000000aa";
    // For each workflow: whether each kind may start it, and whether it may resolve a callback of its runs.
    for (workflow, starts, callbacks) in [
        ("build", "xxxxx..x.", "x.x.x..x."),
        ("builds", "xxx....x.", "x.x....x."),
        ("Build", "xxx....x.", "x.x....x."),
        ("deploy-", "xxxxx..x.", "x.x.x..x."),
        ("deploy-api", "xxxxx..x.", "x.x.x..x."),
        ("5-a-name", "xxx...xx.", "x.x...xx."),
        ("intake", "xxx....x.", "x.x....x."),
        ("acme/intake", "xxxxx...x", "x.x.x...x"),
        ("acme/team-a", "xxxxx...x", "x.x.x...x"),
        ("acme/build", "xxx.....x", "x.x.....x"),
        ("other/build", "xxx......", "x.x......"),
        (HEX, "xxx..x.x.", "x.x..x.x."),
        (other_id, "xxx....x.", "x.x....x."),
    ] {
        let reference = WorkflowRef::parse(workflow).unwrap();
        let workflow = Workflow::of_reference(&reference, is_id);
        let decide = |action: &Action<'_>| -> String {
            let granted = kinds.iter().map(|kind| with_authority(*kind, |it| it.decide(action, None).is_ok()));
            granted.map(|is_granted| if is_granted { 'x' } else { '.' }).collect()
        };
        for via in [Via::Event, Via::Webhook, Via::BatchElement(3), Via::Route("r#1")] {
            assert_eq!(decide(&Action::Start(via, workflow)), starts, "{workflow:?} via {via:?}");
        }
        for run in [RunWorkflow::Seen(workflow), RunWorkflow::Recorded(workflow)] {
            assert_eq!(decide(&Action::Resolve(run)), callbacks, "{run:?}");
        }
        assert_eq!(decide(&Action::Resolve(RunWorkflow::Unknown)), "x.x......");
        assert_eq!(decide(&Action::Resolve(RunWorkflow::Seen(Workflow::default()))), "x.x......");
    }
    // A look shows id and name: one of them is enough.
    for (id, name, expected) in [
        (HEX, "x", "x.x..x.x."),
        (other_id, "build", "x.x.x..x."),
        (other_id, "5x", "x.x...xx."),
        (HEX, "build", "x.x.xx.x."),
    ] {
        let seen = Action::Resolve(RunWorkflow::Seen(Workflow { id: Some(id), name: Some(name), team: None }));
        let granted = kinds.iter().map(|kind| with_authority(*kind, |it| it.decide(&seen, None).is_ok()));
        let granted: String = granted.map(|is_granted| if is_granted { 'x' } else { '.' }).collect();
        assert_eq!(granted, expected, "{id} {name}");
    }
}

#[test]
fn pattern_without_a_team_means_the_default_team() {
    let matches = |pattern: &str, workflow: &str, default_team| {
        let source = format!(r#"{{"name":"s","tokens":["t"],"workflows":["{pattern}"]}}"#);
        let reference = WorkflowRef::parse(workflow).unwrap();
        let start = Action::Start(Via::Event, Workflow::of_reference(&reference, is_id));
        with_authority(Some(&source), |authority| authority.decide(&start, default_team).is_ok())
    };
    for (pattern, workflow, with_default, without) in [
        ("build", "build", true, true),
        ("build", "acme/build", true, false),
        ("acme/build", "build", true, false),
        ("acme/build", "acme/build", true, true),
        ("build", "other/build", false, false),
        ("other/build", "build", false, false),
        ("*", "acme/build", true, false),
        ("*", "other/build", false, false),
        ("acme/*", "build", true, false),
    ] {
        assert_eq!(matches(pattern, workflow, Some("acme")), with_default, "{pattern} {workflow}");
        assert_eq!(matches(pattern, workflow, None), without, "{pattern} {workflow}");
    }
}

#[test]
fn grant_and_refusal_give_their_reasons() {
    let source = r#"{"name":"s","tokens":["t"],"workflows":["a","b-*"],"callbacks":true}"#;
    let starts_only = r#"{"name":"s","tokens":["t"]}"#;
    let workflow = |name| Workflow { name: Some(name), ..Workflow::default() };
    let by_id = Workflow { id: Some(HEX), ..Workflow::default() };
    let decide = |source, action| with_authority(source, |authority| authority.decide(&action, None));
    assert_eq!(decide(None, Action::Resolve(RunWorkflow::Unknown)), Ok(Grant::Unlimited));
    assert_eq!(decide(Some(starts_only), Action::Start(Via::Event, by_id)), Ok(Grant::AllWorkflows));
    assert_eq!(decide(Some(source), Action::Start(Via::Webhook, workflow("b-1"))), Ok(Grant::Pattern(1)));
    for (source, action, message) in [
        (source, Action::Start(Via::Event, workflow("c")), "start this workflow"),
        (
            source,
            Action::Start(Via::Webhook, by_id),
            "start this workflow by its id: name it as `workflows` of the source lists it",
        ),
        (source, Action::Start(Via::BatchElement(2), workflow("c")), "start the workflow of event 2 in the batch"),
        (source, Action::Start(Via::Route("c#1"), workflow("c")), "start the workflow of the route `c#1`"),
        (starts_only, Action::Resolve(RunWorkflow::Seen(workflow("a"))), "resolve callbacks"),
        (source, Action::Resolve(RunWorkflow::Seen(workflow("c"))), "resolve callbacks of this run's workflow"),
        (source, Action::Resolve(RunWorkflow::Unknown), "resolve callbacks of a run whose workflow is not known"),
    ] {
        let refusal = decide(Some(source), action).unwrap_err().to_string();
        assert_eq!(refusal, format!("the source `s` may not {message}"));
    }
}

#[test]
fn one_target_out_of_scope_refuses_all() {
    let source = r#"{"name":"s","tokens":["t"],"workflows":["a","b"]}"#;
    let route = |name| Action::Start(Via::Route(name), Workflow { name: Some(name), ..Workflow::default() });
    with_authority(Some(source), |authority| {
        let decide_all =
            |actions: &[Action<'_>]| actions.iter().try_for_each(|action| authority.decide(action, None).map(drop));
        assert_eq!(decide_all(&[route("a"), route("b")]), Ok(()));
        let refusal = decide_all(&[route("a"), route("c"), route("b")]).unwrap_err();
        assert_eq!(refusal.reason, Reason::Route("c".to_owned()));
    });
}

#[test]
fn run_is_looked_at_only_if_the_decision_needs_it() {
    for (rest, expected) in [
        ("", false),
        (r#","callbacks":true"#, false),
        (r#","workflows":["a"]"#, false),
        (r#","workflows":["a"],"callbacks":true"#, true),
    ] {
        let source = format!(r#"{{"name":"s","tokens":["t"]{rest}}}"#);
        let needs =
            with_authority(Some(&source), |it| matches!(it, Authority::Source(_, scope) if scope.needs_run_workflow()));
        assert_eq!(needs, expected, "{source}");
    }
}

#[test]
fn debug_is_redacted() {
    let text = sources(&[
        r#"{"name":"a","sender":{"headers":["x"],"x":"hunter2"},"secrets":["hunter2"],"keys":"hunter2"}"#,
        r#"{"name":"b","tokens":["hunter2"]}"#,
        r#"{"name":"c","secret":"hunter2"}"#,
    ]);
    let sources = Sources::parse(&text, vec![Secret::new("hunter2")]).unwrap();
    let headers = headers(&["x"]);
    let found = sources.find(Clues { source: None, headers: &headers, tokens: &["hunter2"] }).unwrap();
    let debug =
        format!("{sources:?} {found:?} {:?} {:?}", sources.stopped(), sources.iter().next().unwrap().token_demands);
    assert!(debug.contains("Descriptor(…)") && debug.contains("Secret(…)"), "{debug}");
    assert!(!debug.contains("hunter2"), "{debug}");
}

/// Any JSON, with the members of sources.
fn any_source() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i8>().prop_map(Into::into),
        "[a-c*/ ]{0,3}".prop_map(Into::into),
        Just("github".into()),
        Just("body".into()),
        Just(serde_json::json!({"headers": ["x-a"]})),
    ];
    let value = prop_oneof![
        3 => leaf.clone(),
        1 => prop::collection::vec(leaf, 0..3).prop_map(serde_json::Value::Array),
    ];
    let member = prop_oneof![9 => prop::sample::select(MEMBERS.to_vec()).prop_map(str::to_owned), 1 => "[a-z]{1,8}"];
    let object = prop::collection::btree_map(member, value.clone(), 0..6)
        .prop_map(|members| serde_json::Value::Object(members.into_iter().collect()));
    prop_oneof![9 => object, 1 => value]
}

/// Sources that are mostly valid by themselves, and often share a name, a secret or a token.
fn alike_source() -> impl Strategy<Value = serde_json::Value> {
    let sender = prop_oneof![
        2 => Just(serde_json::json!("github")),
        1 => Just(serde_json::json!({"headers": ["x-a"]})),
    ];
    let signed =
        ("[a-d]", sender, "[s-v]", prop::option::of("[s-v]")).prop_map(|(name, sender, secret, token)| match token {
            Some(token) => serde_json::json!({"name": name, "sender": sender, "secrets": [secret], "tokens": [token]}),
            None => serde_json::json!({"name": name, "sender": sender, "secrets": [secret]}),
        });
    let by_token = ("[a-d]", "[s-v]").prop_map(|(name, token)| serde_json::json!({"name": name, "tokens": [token]}));
    prop_oneof![4 => signed, 2 => by_token, 1 => any_source()]
}

/// A valid source with this number.
fn valid_source(n: usize, kind: u8) -> String {
    match kind % 3 {
        0 => format!(r#"{{"name":"n{n}","sender":"github","secrets":["s{n}"],"workflows":["w{n}"]}}"#),
        1 => format!(r#"{{"name":"n{n}","tokens":["t{n}"]}}"#),
        _ => format!(r#"{{"name":"n{n}","sender":{{"headers":["x-{n}"]}},"secrets":["s{n}"],"tokens":["t{n}"]}}"#),
    }
}

proptest! {
    #[test]
    fn arbitrary_sources_are_valid_or_stopped_at_their_place(elements in prop::collection::vec(any_source(), 0..5)) {
        let json = serde_json::Value::Array(elements);
        let text = json.to_string();
        let sources = parse(&text);
        for stopped in sources.stopped() {
            let InvalidValue { pointer, rule } = stopped.error;
            prop_assert!(!rule.is_empty());
            let prefix = format!("/{}", stopped.at);
            prop_assert!(pointer == prefix || pointer.starts_with(&format!("{prefix}/")), "{pointer}");
            prop_assert!(json.pointer(&pointer).is_some(), "{pointer} is not in {json}");
        }
    }

    /// The search agrees with the list of stopped sources.
    #[test]
    fn stopped_source_is_never_a_candidate(
        elements in prop::collection::vec(alike_source(), 0..5),
        named in prop::option::of("[a-d]|github"),
        tokens in prop::collection::vec("[s-v]", 0..2),
    ) {
        let text = serde_json::Value::Array(elements).to_string();
        let stopped: Vec<_> = parse(&text).stopped().into_iter().filter_map(|stopped| stopped.name).collect();
        let tokens: Vec<_> = tokens.iter().map(String::as_str).collect();
        let sources = parse(&text);
        if let Ok((candidates, misses)) = found(&sources, named.as_deref(), &["x-a", "x-github-event"], &tokens) {
            for candidate in &candidates {
                let name = candidate.trim_end_matches(" signs");
                prop_assert!(name == "anyone" || !stopped.iter().any(|stopped| stopped == name), "{candidate}");
            }
            prop_assert!(!candidates.is_empty() || !misses.is_empty());
        }
    }

    /// A text that is read in one pass means the same as if each element is parsed by itself.
    #[test]
    fn both_ways_of_parsing_agree(
        elements in prop::collection::vec(alike_source(), 0..5),
        damage in prop::option::of((any::<prop::sample::Index>(), prop::sample::select(&b"[]{},:\"\\ ax1"[..]))),
        token in "[s-v]",
    ) {
        let mut text = serde_json::Value::Array(elements).to_string();
        if let Some((at, byte)) = damage {
            let at = at.index(text.len());
            text.replace_range(at..=at, char::from(byte).encode_utf8(&mut [0]));
        }
        let Ok(raw) = json::value(text.as_bytes()) else { return Ok(()) };
        if let Some(entries) = json::records(raw, &MEMBERS, Entry::new) {
            let regular = Sources { entries, access_tokens: Vec::new() };
            let each = Sources { entries: Sources::parse_each(raw).unwrap(), access_tokens: Vec::new() };
            prop_assert_eq!(regular.stopped(), each.stopped(), "{}", text);
            for named in [None, Some("a"), Some("github")] {
                let of = |sources: &Sources<'_>| found(sources, named, &["x-a", "x-github-event"], &[&token]);
                prop_assert_eq!(of(&regular), of(&each), "{}", text);
            }
        }
    }

    #[test]
    fn broken_source_leaves_the_others_as_they_were(
        kinds in prop::collection::vec(any::<u8>(), 1..6),
        broken in any::<prop::sample::Index>(),
        with in prop_oneof![Just("1".to_owned()), any_source().prop_map(|source| source.to_string())],
    ) {
        let elements: Vec<_> = kinds.iter().enumerate().map(|(n, kind)| valid_source(n, *kind)).collect();
        let at = broken.index(elements.len());
        let mut changed = elements.clone();
        changed[at] = with;
        let (before, after) = (format!("[{}]", elements.join(",")), format!("[{}]", changed.join(",")));
        let (before, after) = (parse(&before), parse(&after));
        prop_assert!(before.stopped().is_empty());
        for n in (0..elements.len()).filter(|n| *n != at) {
            let (name, token, header) = (format!("n{n}"), format!("t{n}"), format!("x-{n}"));
            let names = ["x-github-event", header.as_str()];
            let own = |sources: &Sources<'_>| {
                let (candidates, _) = found(sources, Some(&name), &names, &[&token]).unwrap();
                candidates
            };
            prop_assert_eq!(own(&before), own(&after));
        }
    }

    #[test]
    fn pattern_matches_as_its_definition_says(
        pattern in "([ab]/)?[a-c]{0,2}\\*?",
        name in "[a-c]{1,3}",
        team in prop::option::of("[ab]"),
    ) {
        let Ok(parsed) = Pattern::parse(&pattern) else { return Ok(()) };
        let workflow = Workflow { id: None, name: Some(&name), team: team.as_deref() };
        let (of_team, plain) = pattern.split_once('/').map_or((None, &*pattern), |(team, name)| (Some(team), name));
        let is_name = match plain.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == plain,
        };
        prop_assert_eq!(parsed.matches(&workflow, None), is_name && of_team == team.as_deref());
    }
}

#[test]
fn descriptor_like_a_preset_has_its_marks_and_keys() {
    let text = r#"[{"name":"pay","sender":{"like":"paypal","constants":{"webhook_id":"1"}}},
        {"name":"sns","sender":"aws-sns"},
        {"name":"own","sender":{"like":"stripe","marks":["x-own"]},"secrets":["s3cret"]},
        {"name":"two","sender":{"schemes":[{"algorithm":"token","headers":["x-two"]}]},"secrets":["s3cret"]}]"#;
    let sources = Sources::parse(text, Vec::new()).unwrap();
    assert_eq!(sources.stopped(), []);
    for (header, expected) in [
        ("paypal-transmission-sig", Some("pay")),
        ("x-amz-sns-message-type", Some("sns")),
        ("x-own", Some("own")),
        ("x-two", Some("two")),
        ("stripe-signature", None),
    ] {
        let headers =
            [(http::HeaderName::from_static(header), http::HeaderValue::from_static("x"))].into_iter().collect();
        let found = sources.find(Clues { source: None, headers: &headers, tokens: &[] }).unwrap();
        let first = found.candidates.first().and_then(|candidate| candidate.authority.source());
        assert_eq!(first.map(Source::name), expected, "{header}");
    }
}
