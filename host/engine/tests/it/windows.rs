//! Events that come while a task is being handed over, against the counts of `early-events.json`.

use sluice_engine_model::{Json, Settings, Timing};

use crate::support::{NAPLIT, Site, WAITS};

const EVENT: &str = r#"{"topic":"approval","results":[{"name":"data","value":1}],"status":"succeeded"}"#;

fn site(seed: u64) -> Site {
    Site::new(Settings { seed, ..Settings::default() })
}

/// Starts a run, sends an event so many milliseconds later, and returns what became of the task, and the run.
fn race(site: &mut Site, delay: u64) -> (&'static str, String) {
    let run = site.submit(WAITS, true);
    site.pass(delay);
    assert_eq!(site.event(&run, EVENT).status(), 200);
    site.pass(6_000);
    (site.approval(&run), run)
}

/// The delays of the lost events among 60 that are sent 0 to 500 ms after the start.
fn lost(seed: u64) -> Vec<u64> {
    let mut site = site(seed);
    (0..60).map(|number| number * 500 / 59).filter(|delay| race(&mut site, *delay).0 != "succeeded").collect()
}

#[test]
fn losses_are_as_recorded() {
    let counts = Json::parse(include_bytes!("../../vectors/early-events.json")).unwrap();
    let delays = |name: &str| {
        let delays = counts.get(name).unwrap().get("delays_ms_of_those").unwrap().as_array().unwrap().to_vec();
        delays.into_iter().map(|delay| delay.to_java().parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    let recorded = [delays("race_busy"), delays("race_quiet")];
    for (name, lost) in (0..30).map(lost).enumerate().chain(recorded.into_iter().enumerate()) {
        assert!((12..=24).contains(&lost.len()), "{name}: {} of 60 lost", lost.len());
        assert!(lost.iter().all(|delay| *delay <= 145), "{name}: {lost:?}");
    }
}

/// Recorded: 34 of 40 lost events left the task waiting, and the same event ended it. 6 left it `notstarted` for good.
#[test]
fn same_event_again_ends_a_task_that_waits() {
    let mut site = site(3);
    let mut waiting = 0;
    let mut reset = 0;
    for number in 0..400 {
        let (status, run) = race(&mut site, 60 + number % 60);
        for _ in 0..3 {
            site.event(&run, EVENT);
            site.pass(2_500);
        }
        match status {
            "waiting" => {
                waiting += 1;
                assert_eq!(site.state(&run), "succeeded completed start:succeeded approve:succeeded end:succeeded");
            }
            "notstarted" | "ready" => {
                reset += 1;
                assert_eq!(
                    site.state(&run),
                    format!("running running start:succeeded approve:{status} end:notstarted")
                );
                assert_eq!(site.model.run(&run).unwrap().task("approve").unwrap().results.len(), 4);
            }
            other => assert_eq!(other, "succeeded"),
        }
    }
    let share = reset * 40 / (waiting + reset);
    assert!(waiting + reset > 350 && (3..=9).contains(&share), "{reset} of {}", waiting + reset);
}

#[test]
fn look_first_and_nothing_is_lost() {
    let mut site = site(4);
    for _ in 0..60 {
        let run = site.submit(WAITS, true);
        let mut waited = 0;
        while site.approval(&run) != "waiting" {
            site.pass(10);
            waited += 10;
        }
        assert!((260..=300).contains(&waited), "{waited}");
        site.event(&run, EVENT);
        site.pass(100);
        assert_eq!(site.state(&run), "succeeded completed start:succeeded approve:succeeded end:succeeded");
    }
}

#[test]
fn end_of_the_task_before_opens_a_window() {
    let mut site = site(5);
    let run = site.submit(NAPLIT, true);
    while site.model.run(&run).unwrap().task("nap").unwrap().status.name() != "succeeded" {
        site.pass(1);
    }
    // Between the end of the task and the hand-over, an event still counts. In the window it doesn't.
    let mut early = Site { model: site.model.clone(), now: site.now };
    early.event(&run, EVENT);
    early.pass(1_000);
    assert_eq!(early.approval(&run), "succeeded");
    site.pass(31);
    site.event(&run, EVENT);
    site.pass(1_000);
    assert_ne!(site.approval(&run), "succeeded");
}

#[test]
fn two_events_at_once_both_end_the_task() {
    for (first, second) in [("succeeded", "failed"), ("failed", "succeeded")] {
        let mut site = site(6);
        let run = site.submit(WAITS, true);
        site.pass(1_000);
        for status in [first, second] {
            let body =
                format!(r#"{{"topic":"approval","results":[{{"name":"{status}","value":1}}],"status":"{status}"}}"#);
            assert_eq!(site.event(&run, &body).status(), 200);
        }
        site.pass(1_000);
        assert_eq!(site.state(&run), format!("succeeded completed start:succeeded approve:{second} end:succeeded"));
        assert_eq!(site.model.run(&run).unwrap().task("approve").unwrap().results.len(), 1);
    }
}

#[test]
fn quick_timing_loses_nothing() {
    let mut site = Site::new(Settings { timing: Timing::quick(), ..Settings::default() });
    for delay in 0..20 {
        let (status, run) = race(&mut site, delay);
        assert_eq!(status, "succeeded", "{delay}");
        assert_eq!(site.state(&run), "succeeded completed start:succeeded approve:succeeded end:succeeded");
    }
}

#[test]
fn share_of_losses_is_a_setting() {
    let lost = |lost_percent| {
        let timing = Timing { lost_percent, ..Timing::default() };
        let mut site = Site::new(Settings { timing, ..Settings::default() });
        (0..300).filter(|number| race(&mut site, number % 140).0 != "succeeded").count()
    };
    assert_eq!(lost(0), 0);
    let third = lost(33);
    assert!((60..=120).contains(&third), "{third} of 300");
}
