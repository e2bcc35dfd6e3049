//! Whether there is a way through a run's graph, `DAGUtility` in the engine.

use crate::catalogue::{Condition, Dependency, TaskType};
use crate::run::{Phase, Status, TaskRun};

/// Whether the run can end: whether a way leads from its start to its end. A run that has nothing between isn't valid.
pub(crate) fn is_valid(tasks: &[TaskRun]) -> bool {
    let end = tasks.iter().find(|task| task.kind == TaskType::End);
    tasks.len() != 2 && end.is_some_and(|end| is_reachable(tasks, end))
}

/// Whether a task whose dependencies have ended is to run: all of them ended as it asks, and a way leads to it.
pub(crate) fn can_run(tasks: &[TaskRun], task: &TaskRun) -> bool {
    task.dependencies.iter().all(|dependency| is_open(tasks, dependency)) && is_reachable(tasks, task)
}

/// The tasks that depend on a task.
pub(crate) fn dependants<'t>(tasks: &'t [TaskRun], task: &str) -> impl Iterator<Item = &'t TaskRun> {
    tasks.iter().filter(move |next| next.dependencies.iter().any(|dependency| dependency.task_ref == task))
}

/// Whether all tasks before one have ended.
pub(crate) fn is_due(tasks: &[TaskRun], task: &TaskRun) -> bool {
    task.dependencies
        .iter()
        .all(|dependency| before(tasks, dependency).is_none_or(|task| task.phase == Phase::Completed))
}

/// A name among the dependencies that no task has.
pub(crate) fn unknown_dependency(tasks: &[TaskRun]) -> Option<&str> {
    let mut dependencies = tasks.iter().flat_map(|task| &task.dependencies);
    dependencies.find(|dependency| before(tasks, dependency).is_none()).map(|dependency| dependency.task_ref.as_str())
}

/// Walks back from a task until it comes to the start.
fn is_reachable(tasks: &[TaskRun], task: &TaskRun) -> bool {
    let mut to_visit = vec![task];
    let mut visited = Vec::new();
    while let Some(task) = to_visit.pop() {
        if task.kind == TaskType::Start {
            return true;
        }
        if visited.contains(&task.name.as_str()) {
            continue;
        }
        visited.push(&task.name);
        let open = task.dependencies.iter().filter(|dependency| is_open(tasks, dependency));
        to_visit.extend(open.filter_map(|dependency| before(tasks, dependency)));
    }
    false
}

/// An edge is there until the task before has ended otherwise than it asks.
fn is_open(tasks: &[TaskRun], dependency: &Dependency) -> bool {
    before(tasks, dependency).is_some_and(|before| {
        before.kind.is_marker()
            || before.phase != Phase::Completed
            || match dependency.execution_condition {
                Condition::Always => true,
                Condition::Success => before.status == Status::Succeeded,
                Condition::Failure => before.status == Status::Failed,
            }
    })
}

fn before<'t>(tasks: &'t [TaskRun], dependency: &Dependency) -> Option<&'t TaskRun> {
    tasks.iter().find(|task| task.name == dependency.task_ref)
}
