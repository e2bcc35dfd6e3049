use super::*;

const WAITING: WaitState = WaitState::Waiting;
const AHEAD: WaitState = WaitState::Ahead;
const SUCCEEDED: WaitState = WaitState::Ended(Some(Status::Succeeded));
const SKIPPED: WaitState = WaitState::Ended(None);

/// A run with these tasks: the topic, or `$` if it is made of params, and the state. A task's id is its index.
fn view(state: RunState, tasks: &[(&str, WaitState)]) -> RunView {
    let waits = tasks.iter().enumerate().map(|(index, (topic, state))| WaitTask {
        id: index.to_string(),
        topic: (*topic != "$").then(|| (*topic).to_owned()),
        state: *state,
    });
    RunView {
        state,
        has_tasks: state != RunState::NotStarted,
        waits: waits.collect(),
        workflow: RunWorkflow::default(),
    }
}

#[test]
fn wait_is_that_of_the_first_task_that_can_still_be_resolved() {
    let task = |index: usize| index.to_string();
    let ended = |index, status| Wait::Ended { task: task(index), status };
    let succeeded = Some(Status::Succeeded);
    for (state, tasks, wait) in [
        (RunState::NotStarted, &[][..], Wait::Ahead),
        (RunState::Active, &[][..], Wait::UnknownTopic),
        (RunState::Ended, &[][..], Wait::RunEnded),
        (RunState::Cancelled, &[("t", WAITING)][..], Wait::RunEnded),
        (RunState::Active, &[("t", WAITING)][..], Wait::Waiting { task: task(0) }),
        (RunState::Active, &[("u", WAITING)][..], Wait::UnknownTopic),
        (RunState::Active, &[("u", WAITING), ("$", AHEAD)][..], Wait::Ahead),
        (RunState::Active, &[("u", AHEAD), ("$", SKIPPED)][..], Wait::UnknownTopic),
        (RunState::Active, &[("t", AHEAD)][..], Wait::Ahead),
        (RunState::Active, &[("t", AHEAD), ("t", WAITING)][..], Wait::Waiting { task: task(1) }),
        (RunState::Active, &[("t", SUCCEEDED), ("t", WAITING)][..], Wait::Waiting { task: task(1) }),
        (RunState::Active, &[("t", SUCCEEDED), ("t", AHEAD)][..], Wait::Ahead),
        (RunState::Active, &[("t", SUCCEEDED), ("$", AHEAD)][..], ended(0, succeeded)),
        (RunState::Active, &[("t", SUCCEEDED), ("t", SKIPPED)][..], ended(1, None)),
        (RunState::Ended, &[("t", SUCCEEDED)][..], ended(0, succeeded)),
        (RunState::Ended, &[("t", AHEAD), ("$", AHEAD)][..], Wait::RunEnded),
    ] {
        assert_eq!(view(state, tasks).wait(&Topic::parse("t").unwrap()), wait, "{state:?} {tasks:?}");
    }
}
