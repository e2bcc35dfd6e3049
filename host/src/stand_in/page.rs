//! The page that lists the runs, for people.

use std::fmt::{self, Display, Write};

use super::runs::{Run, Status, Wait, timestamp};
use super::state::Inner;

/// A browser needs no more at once; the JSON has all.
const SHOWN: usize = 200;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Stand-in engine</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
article { border-top: 1px solid #8888; padding: 1rem 0 }
h2 { font-size: 1rem; margin: 0 }
p { margin: .25rem 0 }
pre { background: #8882; padding: .5rem; margin: .25rem 0; overflow: auto; max-height: 20rem }
</style>
<h1>Stand-in engine</h1>
"#;

pub(super) fn runs(state: &Inner) -> String {
    let mut page = HEAD.to_owned();
    // Writing to a string can't fail.
    let _ = write_runs(&mut page, state);
    page
}

fn write_runs(page: &mut String, state: &Inner) -> fmt::Result {
    match state.runs.total {
        0 => writeln!(page, "<p>No runs yet.")?,
        total => writeln!(page, "<p>Runs so far: {total}. Newest first.")?,
    }
    for run in state.runs.iter().rev().take(SHOWN) {
        write_run(page, run)?;
    }
    Ok(())
}

fn write_run(page: &mut String, run: &Run) -> fmt::Result {
    let Run { id, workflow_ref, trigger, status, .. } = run;
    writeln!(page, "<article>")?;
    writeln!(page, "<h2>{} <code>{id}</code>: {}</h2>", Escaped(workflow_ref), word(*status))?;
    write!(page, "<p>{}, by {}", timestamp(run.creation_date), Escaped(trigger))?;
    if let Some(delivery) = run.labels.get("sluice.dev/delivery") {
        write!(page, ", delivery <code>{}</code>", Escaped(delivery))?;
    }
    writeln!(page, "</p>")?;
    for param in &run.params {
        writeln!(page, "<p>{}:</p><pre>{}</pre>", Escaped(&param.name), Escaped(param.value.get()))?;
    }
    for Wait { topic, status, early, results } in &run.waits {
        let topic = Escaped(topic);
        match status {
            Status::Waiting => writeln!(page, "<p>Waits for <b>{topic}</b>.</p>")?,
            _ => {
                let early = if *early { ", which came early" } else { "" };
                writeln!(page, "<p>Waited for <b>{topic}</b>{early}: {}.</p>", word(*status))?;
            }
        }
        for result in results {
            writeln!(page, "<p>{}:</p><pre>{}</pre>", Escaped(&result.name), Escaped(result.value.get()))?;
        }
    }
    for (topic, (status, _)) in &run.early {
        writeln!(page, "<p><b>{}</b> came: {}.</p>", Escaped(topic), word(*status))?;
    }
    writeln!(page, "</article>")
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ready => "ready",
        Status::Running => "running",
        Status::Waiting => "waiting",
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
    }
}

/// Text that is safe in HTML, in attributes too.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(char)?,
            }
        }
        Ok(())
    }
}
