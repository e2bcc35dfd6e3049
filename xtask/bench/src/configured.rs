//! Large configurations: 60 sources and 50 routes, and 50 routes in each dialect of filters.

use serde_json::{Value, json};

/// The token of the last source.
pub(super) const TOKEN: &str = "benchmark-0123456789abcdef";

/// 59 sources of several senders with secrets, each limited to workflows; then one with a token.
pub(super) fn sources() -> String {
    /// A seventh of the sources describe their sender themselves.
    const SENDERS: [&str; 6] = ["github", "gitlab", "stripe", "shopify", "linear", "slack"];
    let source = |n: usize| {
        let own = json!({ "algorithm": "hmac-sha256", "headers": [format!("x-partner-{n}-signature")] });
        let sender = SENDERS.get(n % 7).map_or(own, |name| Value::from(*name));
        json!({
            "name": format!("team-{n:02}"),
            "sender": sender,
            "secrets": [format!("new-{n:02}-5f2b8c1d9e3a4067b1c2d3e4"), format!("old-{n:02}-7c9d0e1f2a3b4c5d6e7f8091")],
            "workflows": [format!("build-{n:02}"), "deploy-*", "audit"],
        })
    };
    let mut sources: Vec<Value> = (0..59).map(source).collect();
    sources.push(json!({ "name": "partner", "tokens": [TOKEN], "workflows": ["w"] }));
    Value::from(sources).to_string()
}

/// Routes of webhooks and of events. Each has a filter and params.
pub(super) fn routes() -> String {
    let route = |n: usize| match n % 2 {
        0 => json!({
            "workflow": format!("build-{n:02}"),
            "from": "webhook",
            "sender": "github",
            "filter": { "all": [
                { "exact": { "type": "push", "/repository/full_name": format!("acme/service-{n:02}") } },
                { "prefix": { "/ref": "refs/heads/" } },
            ] },
            "params": { "branch": "$.ref", "commit": "$.head_commit.id", "clean": true },
        }),
        _ => json!({
            "workflow": "audit",
            "from": "event",
            "filter": { "prefix": { "type": format!("com.example.order-{n:02}.") } },
            "params": { "order": "$.data.id", "kind": "$.type" },
        }),
    };
    Value::from((0..50).map(route).collect::<Vec<_>>()).to_string()
}

/// A dialect of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `exact` and `prefix`.
    Subscriptions,
    Sql,
}

/// Routes of webhooks whose filters compare the same three values. The last one matches the webhooks of the benchmark,
/// and starts `w`.
pub(super) fn filtered_routes(dialect: Dialect) -> String {
    let route = |n: usize| {
        let (number, workflow) = if n == 49 { (4711, "w".to_owned()) } else { (n, format!("order-{n:02}")) };
        let filter = match dialect {
            Dialect::Subscriptions => json!({ "all": [
                { "exact": { "/number": number.to_string(), "/items/0/article": "A-0001" } },
                { "prefix": { "/placed": "2026-" } },
            ] }),
            Dialect::Sql => json!({ "sql": format!(
                "DATA('/number') = {number} AND DATA('/items/0/article') = 'A-0001' AND DATA('/placed') LIKE '2026-%'"
            ) }),
        };
        json!({ "workflow": workflow, "from": "webhook", "filter": filter })
    };
    Value::from((0..50).map(route).collect::<Vec<_>>()).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use sluice::routing::{Input, Table};
    use sluice::source::Sources;

    use super::*;

    #[test]
    fn sources_and_routes_have_no_error() {
        let text = sources();
        let sources = Sources::parse(&text, Vec::new()).unwrap();
        assert_eq!(sources.iter().count(), 60);
        assert!(sources.faults().is_empty(), "{:?}", sources.faults());
        assert_eq!(Table::parse(&routes()).unwrap().iter().count(), 50);
    }

    #[test]
    fn only_the_last_filtered_route_matches() {
        let body = crate::rows::Body::Webhook1.content();
        let payload = serde_json::value::RawValue::from_string(body).unwrap();
        for dialect in [Dialect::Subscriptions, Dialect::Sql] {
            let table = Table::parse(&filtered_routes(dialect)).unwrap();
            assert_eq!(table.iter().count(), 50);
            let input = Input::webhook(None, None, &payload);
            let matching: Vec<_> = table.matching(&input).map(|route| route.workflow().as_str()).collect();
            assert_eq!(matching, ["w"], "{dialect:?}");
        }
    }
}
