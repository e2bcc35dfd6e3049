//! The command-line options of a stand-in, shared by the programs that start one.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::Builder;
use super::model::catalogue::Token;
use super::model::{Agent, Catalogue, Services, Settings, Step, Timing};

/// The options of a stand-in.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of the stand-in engine")]
pub struct Options {
    /// Services: engine (/api/v1), flow (/api/v2), both, or a prefix for each, such as /engine,/flow
    #[arg(long, value_name = "SERVICES", default_value = "both", value_parser = services)]
    services: Services,
    /// Workflows, tasks and tokens, in JSON [default: those of the recorded exchanges]
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// Also accepts any other workflow: it ends at once, or waits if POST /stand-in/waits created it
    #[arg(long)]
    any_workflow: bool,
    /// Another token that Flow takes, for all teams: bfg_ and a secret
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    token: Option<String>,
    /// Source of the random choices, which are ids, times and lost events [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Times of the engine's steps
    #[arg(long, value_enum, default_value_t = Pace::Fast)]
    timing: Pace,
    /// Runs tasks that need an agent
    #[arg(long)]
    agent: bool,
    /// Keeps the database in a file, as the engine writes it
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Aborts the process after the first write of this kind, such as RunSaved or TasksSaved=2
    #[arg(long, value_name = "STEP", value_parser = step)]
    die_at: Option<Step>,
}

/// The times of the engine's steps.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Pace {
    /// As recorded: a task waits 0.3 s after the submit, and events in the first half of that are lost
    Recorded,
    /// A tenth of that
    Fast,
    /// No time, and no lost events
    None,
}

impl Options {
    /// Configures a stand-in.
    ///
    /// # Errors
    ///
    /// If the catalogue can't be read, or isn't one.
    pub fn apply(self, builder: Builder) -> io::Result<Builder> {
        let mut catalogue = match &self.catalogue {
            None => Catalogue::recorded(),
            Some(file) => {
                let text = fs::read_to_string(file);
                let read = text.and_then(|text| Catalogue::from_json(&text).map_err(io::Error::from));
                read.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?
            }
        };
        catalogue.tokens.extend(self.token.map(|token| Token { token, team: None, permissions: Vec::new() }));
        let timing = match self.timing {
            Pace::Recorded => Timing::default(),
            Pace::Fast => Timing::fast(),
            Pace::None => Timing::quick(),
        };
        let agent = self.agent.then_some(Agent { poll_ms: 100 });
        let seed = self.seed.unwrap_or_else(super::random_seed);
        let settings = Settings { seed, timing, agent, ..Settings::default() };
        let mut builder = builder.services(self.services).catalogue(catalogue).settings(settings);
        if self.any_workflow {
            builder = builder.any_workflow();
        }
        if let Some(file) = self.state {
            builder = builder.database(file);
        }
        if let Some(step) = self.die_at {
            builder = builder.abort_at(step);
        }
        Ok(builder)
    }
}

fn services(text: &str) -> Result<Services, String> {
    match text {
        "engine" => Ok(Services::Engine),
        "flow" => Ok(Services::Flow),
        "both" => Ok(Services::Both { engine: String::new(), flow: String::new() }),
        prefixes => {
            let is_prefix = |prefix: &str| prefix.is_empty() || (prefix.starts_with('/') && !prefix.ends_with('/'));
            let prefixes = prefixes.split_once(',').filter(|(engine, flow)| is_prefix(engine) && is_prefix(flow));
            let (engine, flow) =
                prefixes.ok_or("expected engine, flow, both, or two prefixes such as /engine,/flow")?;
            Ok(Services::Both { engine: engine.to_owned(), flow: flow.to_owned() })
        }
    }
}

/// Flow takes no other tokens.
fn token(text: &str) -> Result<String, String> {
    let is_token = text.starts_with("bf") && text.get(3..4) == Some("_");
    is_token.then(|| text.to_owned()).ok_or_else(|| "expected bf, a letter, _ and the secret".to_owned())
}

fn step(text: &str) -> Result<Step, String> {
    let step = match text.split_once('=') {
        Some((name, number)) => number.parse::<usize>().ok().map(|number| serde_json::json!({ name: number })),
        None => Some(text.into()),
    };
    step.and_then(|step| serde_json::from_value(step).ok()).ok_or_else(|| {
        "expected RunSaved, TasksSaved=NUMBER, RunQueued, RunStarted, TaskReady, TaskRunning, TaskWaiting, EventSaved, \
         TaskEnded, EndSaved, RunCancelled, RunSubmitted or RunTied"
            .to_owned()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use clap::{Args, CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn options_are_parsed() {
        Program::command().debug_assert();
        let arguments = ["x", "--services", "/engine,/flow", "--token", "bfg_a", "--die-at", "TasksSaved=2"];
        let Program { options } = Program::parse_from(arguments);
        assert_eq!(options.services, Services::Both { engine: "/engine".to_owned(), flow: "/flow".to_owned() });
        assert_eq!(options.die_at, Some(Step::TasksSaved(2)));
        assert_eq!(step("RunSaved"), Ok(Step::RunSaved));
        for wrong in [["x", "--services", "engine/"], ["x", "--token", "secret"], ["x", "--die-at", "Tuesday"]] {
            let command = Options::augment_args(clap::Command::new("x"));
            let matches = command.try_get_matches_from(wrong);
            assert!(matches.and_then(|matches| Options::from_arg_matches(&matches)).is_err(), "{wrong:?}");
        }
    }
}
