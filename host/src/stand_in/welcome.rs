//! What `cargo xtask up` shows when all is up.

use super::StandIn;

/// Makes a run that waits, and tells how to see Sluice at work: three lines to paste at the repository's root.
///
/// `sluice` is the base URL of Sluice.
pub async fn welcome(stand_in: &StandIn, sluice: &str) -> String {
    let sluice = sluice.trim_end_matches('/');
    let engine = stand_in.url();
    let run = stand_in.wait("release", "approval");
    // The event's id is new at each start, as an event's id is.
    format!(
        r#"Sluice: {sluice}
Stand-in engine, with the runs: {engine}/

A push from GitHub starts a run of the workflow "build":
curl -i -H 'content-type: application/json' --data-binary @tests/vectors/github-push.json '{sluice}/api/v2/webhook?ref=build'

A callback resumes the run of "release" that waits for "approval":
curl -i -H 'content-type: application/json' -d '{{"approved":true}}' '{sluice}/api/v2/callback?ref={run}&topic=approval&status=Succeeded'

A CloudEvent starts a run of "nightly":
curl -i -H 'content-type: application/cloudevents+json' -d '{{"specversion":"1.0","id":"tick-{run}","source":"/clock","type":"dev.sluice.tick","subject":"/nightly/tick","data":{{"shift":"night"}}}}' '{sluice}/api/v2/event'
"#
    )
}
