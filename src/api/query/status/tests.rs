use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::callback::{Link, LinkError};
use crate::reference::{RunRef, Topic};
use crate::secret::Secret;
use crate::time::Timestamp;
use damage::{Damage, RejectLink};

mod damage;

/// The status of a query. `None` if it is refused.
fn status(query: &str) -> Option<Status> {
    Query::parse_callback(Some(query)).and_then(|query| query.status()).ok()
}

#[test]
fn intact_status_is_read_whatever_else_a_mail_program_adds() {
    for (query, expected) in [
        ("ref=r&topic=t", Status::Succeeded),
        ("ref=r,topic=t,status=Failed", Status::Failed),
        ("ref=r&topic=t&%73tatus=FAILED", Status::Failed),
        ("ref=r&topic=t&status=Failed&", Status::Failed),
        ("ref=r&&topic=t", Status::Succeeded),
        ("ref=failed&topic=failed", Status::Succeeded),
        ("ref=r&topic=deploy-failed/status", Status::Succeeded),
        ("ref=r&topic=t&status=Failed&utm_content=failed", Status::Failed),
        ("ref=r&topic=t&utm_source=m&utm_medium=email&utm_campaign=failed-builds&utm_term=stats", Status::Succeeded),
        ("ref=r&topic=t&fbclid=IwAR0&gclid=x&dclid=x&msclkid=x&yclid=x&ttclid=x&s=20&t=x", Status::Succeeded),
        ("ref=r&topic=t&mc_cid=a&mc_eid=b&_hsenc=c&_hsmi=1&mkt_tok=d&vero_id=e&trk=f&spMailingID=1", Status::Succeeded),
        (
            "ref=r&topic=t&_ga=1.2&_gl=1*x&s_cid=x&elqTrackId=x&sc_src=email&stm_source=x&oly_enc_id=x",
            Status::Succeeded,
        ),
        ("ref=r&topic=t&ck_subscriber_id=1&start=1&site=a&stage=2&source=x", Status::Succeeded),
        ("ref=r&topic=t&fbclid=IwAR0fAiLx9_Failed9-kFAIL", Status::Succeeded),
        ("ref=r&topic=payment-status-failed&status=Succeeded", Status::Succeeded),
        ("ref=r&topic=t;status&status=Succeeded", Status::Succeeded),
        ("ref=r&topic=t&status=Succeeded&amp;utm_source=x", Status::Succeeded),
        ("ref=r&topic=t&status=Failed&amp;utm_source=x&%3E", Status::Failed),
        ("&ref=r&topic=t", Status::Succeeded),
        ("ref=r&topic=ready%3F", Status::Succeeded),
        ("ref=r&topic=Ready?", Status::Succeeded),
        ("ref=r&topic=a;b|c,d", Status::Succeeded),
        ("ref=r,topic=t", Status::Succeeded),
        ("ref=r,topic=a,b,status=Succeeded", Status::Succeeded),
    ] {
        assert_eq!(status(query), Some(expected), "{query}");
    }
}

#[test]
fn damaged_status_is_refused() {
    for damaged in [
        "&amp;status=failed",
        "&amp;amp;status=no",
        "&Status=Failed",
        "&STATUS=Succeeded",
        "&state=failed",
        "&State=x",
        "&amp;state=rejected",
        "&stat=failed",
        "&statsu=no",
        "&staus=no",
        "&sattus=no",
        "&statuss=no",
        "&ststus=no",
        "&stat+us=no",
        "&status+=failed",
        "&+status=failed",
        "&status%5B%5D=failed",
        "&%E2%80%8Bstatus=failed",
        "&sta%C2%ADtus=failed",
        "&3Dstatus=failed",
        "&task_status=failed",
        "&redirectStatus=failed",
        "&statusfailed",
        "&status%3Dfailed",
        "&status%253Dfailed",
        "&failed",
        "&=failed",
        "&result=Failed",
        "&result=%22failed%22",
        "&Outcome=failed.",
        "&result=%2566ailed",
        "?status=failed",
        "?Status=no",
        "?x=1&?status=failed",
        "?state=failed",
        ";status=failed",
        ",status=failed",
        "+status+=+failed",
        "status=failed",
        "%26status=failed",
        "%26status%3Dfailed",
        "%2526status%253Dfailed",
        "&amp%3Bstatus=failed",
        "&status=Succeeded?status=Failed",
        "&status=fail",
        "&status=",
        "&status",
        "&",
        "&amp",
        "&amp;",
        "&s",
        "&sta",
        "&amp;statu",
        "&amp;statu&utm_source=x",
        "&&utm_source=x",
        "&foo",
        "&task_s",
        "&sta=%0A",
        "&=s",
        "&amp;utm_source=x",
        "&%3E",
        "&filter%5Bx%5D=1",
        "&x=build+failed",
        "&buildfailed=1",
    ] {
        assert_eq!(status(&format!("ref=r&topic=t{damaged}")), None, "{damaged}");
    }
    for query in [
        "ref=r,topic=t,Status=Failed",
        "ref=r,topic=t,state=failed",
        "ref=r,topic=t, status=failed",
        "ref=r,topic=t,statusfailed",
        "ref=r,topic=t,",
        "ref=r,topic=t,b",
        "status=succeeded&ref=r&topic=t?status=failed",
        "ref=r?status=failed&topic=t",
        "ref=r&topic=t&access_token=a?status=failed",
        "status=succeeded&ref=r&topic=t&Status=failed",
        "status=succeeded&ref=r&topic=t&result=failed",
        "status=failed&ref=r&topic=t&Status=succeeded",
    ] {
        assert_eq!(status(query), None, "{query}");
    }
}

#[test]
fn problem_names_the_parameter_and_the_fix() {
    let problem = |query: &str| {
        let problem = Query::parse_callback(Some(query)).unwrap().status().unwrap_err();
        let (detail, field) = problem.into_detail_and_field();
        (detail, field.unwrap())
    };
    let (detail, field) = problem("ref=r&topic=t&amp;status=failed");
    assert_eq!(field, "amp;status");
    let expected = "the parameter \"amp;status\" resembles `status`: send `status` once, as `&status=Succeeded` or `&status=Failed`";
    assert_eq!(detail, expected);
    assert_eq!(problem("ref=r&topic=t?status=s3cret").1, "topic");
    assert!(!problem("ref=r&topic=t?status=s3cret").0.contains("s3cret"));
    assert_eq!(problem("ref=r&topic=t&").1, "query");
    let long = format!("ref=r&topic=t&{}status=failed", "x".repeat(1_000));
    assert!(problem(&long).0.len() < 250 && problem(&long).1.len() < 80);
}

/// Links that reject, in the spellings and orders in which people build them.
const REJECT: [&str; 9] = [
    "ref=5f1c&topic=ship&status=Failed",
    "workflowrun=5f1c&topic=ship&status=failed",
    "ref=5f1c&status=Failed&topic=ship",
    "status=Failed&ref=5f1c&topic=ship",
    "ref=5f1c&topic=ship%2Fprod%3A1&status=FAILED",
    "ref=5f1c&topic=ship&status=Failed&access_token=t0ken",
    "ref=5f1c&topic=ship&status=Failed&utm_source=mail&fbclid=IwAR0",
    "access_token=t0ken&ref=5f1c&topic=ship&status=Failed&source=mail",
    "ref=5f1c,topic=ship,status=Failed",
];

/// A "no" never becomes a "yes": each damage, and each two of them, on each spelling.
#[test]
fn damaged_reject_link_never_succeeds() {
    let damages = damage::all();
    let mut failed = Vec::new();
    for query in REJECT {
        let link = RejectLink::of(query);
        assert_eq!((link.query().as_str(), status(query)), (query, Some(Status::Failed)));
        let mut check = |damages: &[&Damage], link: &RejectLink| {
            let damaged = link.query();
            if status(&damaged) == Some(Status::Succeeded) && parsed(&damaged) {
                failed.push(format!("{damaged}    {damages:?}"));
            }
        };
        for first in &damages {
            let once = first.apply(&link);
            check(&[first], &once);
            for second in &damages {
                check(&[first, second], &second.apply(&once));
            }
        }
    }
    assert!(failed.is_empty(), "{} succeed, such as\n{}", failed.len(), failed[..failed.len().min(40)].join("\n"));
}

/// Whether run and topic are there.
fn parsed(query: &str) -> bool {
    Query::parse_callback(Some(query)).is_ok_and(|query| query.run().is_ok() && query.topic().is_ok())
}

/// A link that is cut off anywhere in its `status`, and then perhaps prolonged or damaged, does not succeed for its
/// topic. If it is cut off exactly before the separator, it is an intact link of another meaning.
#[test]
fn cut_reject_link_never_succeeds_for_its_topic() {
    for query in REJECT {
        let link = RejectLink::of(query);
        for damage in std::iter::once(None).chain(damage::all().into_iter().map(Some)) {
            let damaged = damage.map_or_else(|| link.clone(), |damage| damage.apply(&link)).query();
            let Some(topic) = damaged.find("topic=ship") else { continue };
            let end = topic + "topic=ship".len();
            for at in (end + 1..damaged.len()).filter(|at| damaged.is_char_boundary(*at)) {
                for rest in ["", "&utm_source=x", "&fbclid=x"] {
                    let cut = format!("{}{rest}", damaged.split_at(at).0);
                    let same = Query::parse_callback(Some(&cut)).and_then(|query| query.topic());
                    let same = same.is_ok_and(|topic| topic.as_str().starts_with("ship") && topic.as_str().len() == 4);
                    if same && damaged.split_at(end).1.starts_with('&') {
                        assert_ne!(status(&cut), Some(Status::Succeeded), "{cut} {damage:?}");
                    }
                }
            }
        }
    }
}

/// A signed link that is damaged is refused, or is still the same link.
#[test]
fn damaged_signed_link_is_forged() {
    let secrets = [Secret::new("s3cret")];
    let link = |status| Link {
        run: RunRef::parse("5f1c").unwrap(),
        topic: Topic::parse("ship").unwrap(),
        status,
        question: "Ship?".to_owned(),
        button: String::new(),
        expires: Timestamp(2_000_000),
    };
    let reject = link(Status::Failed);
    let query = reject.to_query(&secrets[0]);
    let parts = RejectLink::of(&query);
    let damages = damage::all();
    let mut forged = 0;
    for first in &damages {
        let once = first.apply(&parts);
        for second in &damages {
            let damaged = second.apply(&once).query();
            match Link::open(&damaged, &secrets, Timestamp(1_000_000)) {
                Err(LinkError::Forged) => forged += 1,
                opened => assert_eq!(opened, Ok(reject.clone()), "{damaged}"),
            }
        }
    }
    assert!(forged > damages.len() * damages.len() / 2, "{forged}");
    let approve = link(Status::Succeeded).to_query(&secrets[0]);
    assert_ne!(approve, query);
}

/// A name that is no longer `status` after one of the usual accidents.
fn damaged_name() -> impl Strategy<Value = String> {
    prop_oneof![
        (any::<Index>(), "[a-z]").prop_map(|(at, letter)| {
            let mut name = NAME.to_owned();
            name.insert_str(at.index(7), &letter);
            name
        }),
        any::<Index>().prop_map(|at| {
            let mut name = NAME.to_owned();
            name.remove(at.index(NAME.len()));
            name
        }),
        select(vec!["tsatus", "sattus", "sttaus", "stauts", "statsu"]).prop_map(str::to_owned),
        prop::collection::vec(any::<bool>(), 6).prop_map(|upper| {
            let case = |(c, upper): (char, bool)| if upper { c.to_ascii_uppercase() } else { c };
            NAME.chars().zip(upper).map(case).collect()
        }),
        "(amp;|#38;|[?&;,./ +_\\-\\[]|%20|%26|%3F|x_|3D){0,3}status([ +_\\]]|%20|\\[\\]|%00){0,2}",
        "[a-z]{0,12}",
        "[ -~&&[^#=&]]{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// Only a topic or a run, and nothing after a `=` in them, may be called so.
    #[test]
    fn failed_in_the_place_of_a_status_never_succeeds(
        separator in select(vec![
            "&", "&amp;", "&amp;amp;", "?", ";", ",", " ", "%26", "%2526", "&&", "", "%3F", "\u{a0}", "&?", "&#38;",
        ]),
        name in damaged_name(),
        equals in select(vec!["=", "%3D", "%253D", "==", " = ", "+=+", "=%22"]),
        value in select(vec!["failed", "Failed", "FAILED", "%46ailed", "failed%22", "failed.", "+failed"]),
        given in select(vec!["", "&status=Succeeded", "&utm_source=x"]),
        before in any::<bool>(),
        rest in select(vec!["", "&utm_source=x", "&fbclid=x", "&"]),
    ) {
        let damaged = format!("{separator}{name}{equals}{value}");
        // A fragment is not sent.
        let damaged = damaged.split('#').next().unwrap().to_owned();
        prop_assume!(damaged.to_ascii_lowercase().contains("ailed"));
        let queries = match before {
            true => format!("status=Succeeded&ref=r&topic=t{damaged}{rest}"),
            false => format!("ref=r&topic=t{damaged}{given}{rest}"),
        };
        prop_assert_ne!(status(&queries), Some(Status::Succeeded), "{}", queries);
    }
}
