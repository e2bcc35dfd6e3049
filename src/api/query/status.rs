//! The `status` of a callback, and the refusal of a query in which it is damaged.
//!
//! `status` is `Succeeded` by default, so a query that lost its `status=Failed` on the way would succeed. Mail programs,
//! templates and people damage URLs: they leave `&amp;` in a link, add a second `?`, encode the query twice, or misspell
//! a name.

use super::{Query, decode};
use crate::api::problem::{Kind, Problem};
use crate::callback::Status;
use crate::event::truncated;

/// The name of the parameter.
const NAME: &str = "status";
/// The names of the parameters that a callback has besides `status`. Their values may be `failed`.
const OTHERS: [&str; 5] = ["ref", "workflowrun", "topic", "access_token", "sender"];
/// The number of times that a value is decoded in search of a parameter that was encoded too often.
const MAX_LAYERS: usize = 3;

impl Query {
    /// Returns `status`, which is `Succeeded` by default. A query that may contain a damaged `status` is an error.
    pub fn status(&self) -> Result<Status, Problem> {
        let given = match self.one(NAME)? {
            None => None,
            Some(text) => Some(Status::parse(text).ok_or_else(|| {
                let detail = "`status` must be `Succeeded`, the default, or `Failed`";
                Problem::new(Kind::InvalidParameter, detail).field(NAME)
            })?),
        };
        let damage = self.pairs.iter().find_map(|(name, value)| damage(name, value, given));
        match damage.or_else(|| self.cut().filter(|_| given.is_none())) {
            None => Ok(given.unwrap_or(Status::Succeeded)),
            Some(problem) => Err(problem),
        }
    }

    /// Returns the problem of a query that ends within a parameter, before its value: `&`, `&amp;`, `&sta`.
    fn cut(&self) -> Option<Problem> {
        let is_cut = |(name, value): &(String, String)| {
            let letters = letters(name);
            value.is_empty() && NAME.starts_with(letters.strip_prefix("amp").unwrap_or(&letters))
        };
        (self.ends_with_ampersand || self.pairs.last().is_some_and(is_cut)).then(|| {
            let detail = "the query seems to be cut off at its end, so `status` may be lost: send the whole URL, or end it with `&status=Succeeded` or `&status=Failed`";
            Problem::new(Kind::InvalidParameter, detail).field("query")
        })
    }
}

/// Returns the problem of a parameter that may be or contain a damaged `status`. `given` is the intact one.
fn damage(name: &str, value: &str, given: Option<Status>) -> Option<Problem> {
    if name == NAME {
        return None;
    }
    let shown = truncated(name);
    let invalid = |problem: String| {
        let detail = format!("{problem}: send `status` once, as `&status=Succeeded` or `&status=Failed`");
        Some(Problem::new(Kind::InvalidParameter, detail).field(shown.as_str()))
    };
    if resembles_status(name) {
        return invalid(format!("the parameter {shown:?} resembles `status`"));
    }
    if layers(name).chain(layers(value)).any(|text| contains_status(&text)) {
        return invalid(format!("the parameter {shown:?} contains what may be a `status`"));
    }
    // Of an unknown parameter only. If the callback fails anyway, it adds nothing.
    let says_failed = || layers(name).chain(layers(value)).any(|text| letters(&text) == Status::Failed.as_str());
    if given != Some(Status::Failed) && !OTHERS.contains(&name) && says_failed() {
        return invalid(format!("the parameter {shown:?} says `failed`, but only `status` is read"));
    }
    None
}

/// Returns whether a name other than `status` resembles it: `amp;status`, `Status`, `?status`, `stat us`, `statsu`,
/// `task_status`, `state`.
fn resembles_status(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    letters(name).contains(NAME) || words.any(|word| matches!(word, "state" | "stat") || is_one_edit(word, NAME))
}

/// Returns whether a text contains `status=` or `=failed`. Only ASCII letters, digits and `=` are compared, whatever
/// their case.
fn contains_status(text: &str) -> bool {
    let text: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '=').collect();
    let text = text.to_ascii_lowercase();
    text.contains("status=") || text.contains("=failed")
}

/// Returns the ASCII letters and digits of a text, in lower case.
fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// Returns a text and what it means if it was percent-encoded once or several times too often.
fn layers(text: &str) -> impl Iterator<Item = String> {
    let next = |text: &String| decode(text).filter(|decoded| decoded != text);
    std::iter::successors(Some(text.to_owned()), next).take(MAX_LAYERS)
}

/// Returns whether one letter was inserted, left out or replaced, or two neighbours were swapped. `false` if the texts
/// are equal.
fn is_one_edit(a: &str, b: &str) -> bool {
    let mut a: Vec<char> = a.chars().collect();
    let mut b: Vec<char> = b.chars().collect();
    for _ in 0..2 {
        let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        a.drain(..common);
        b.drain(..common);
        a.reverse();
        b.reverse();
    }
    match (&*a, &*b) {
        ([_], [] | [_]) | ([], [_]) => true,
        ([first, second], other) => *other == [*second, *first],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

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
            (
                "ref=r&topic=t&utm_source=m&utm_medium=email&utm_campaign=failed-builds&utm_term=stats",
                Status::Succeeded,
            ),
            ("ref=r&topic=t&fbclid=IwAR0&gclid=x&dclid=x&msclkid=x&yclid=x&ttclid=x&s=20&t=x", Status::Succeeded),
            (
                "ref=r&topic=t&mc_cid=a&mc_eid=b&_hsenc=c&_hsmi=1&mkt_tok=d&vero_id=e&trk=f&spMailingID=1",
                Status::Succeeded,
            ),
            (
                "ref=r&topic=t&_ga=1.2&_gl=1*x&s_cid=x&elqTrackId=x&sc_src=email&stm_source=x&oly_enc_id=x",
                Status::Succeeded,
            ),
            ("ref=r&topic=t&ck_subscriber_id=1&start=1&site=a&stage=2&source=x", Status::Succeeded),
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
        ] {
            assert_eq!(status(&format!("ref=r&topic=t{damaged}")), None, "{damaged}");
        }
        for query in [
            "ref=r,topic=t,Status=Failed",
            "ref=r,topic=t,state=failed",
            "ref=r,topic=t, status=failed",
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
}
