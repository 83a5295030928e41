//! A day in a large system: 10,000 images of 200 namespaces, tags that move, builds that fail, users that push commits,
//! and a registry that takes 10 requests a second. Prints what came of it.

#[path = "../fleet/mod.rs"]
mod fleet;
mod world;

use std::io::Write as _;

use rebuild_policy::{Limits, SchedulerOptions};
use world::{Story, Tally, World};

const IMAGES: usize = 10_000;
const NAMESPACES: usize = 200;

fn options() -> SchedulerOptions {
    SchedulerOptions {
        limits: Limits {
            builds: 8,
            rebases: 16,
            builds_per_namespace: 2,
            requests_per_second: 10,
            request_burst: 100,
        },
        ..SchedulerOptions::default()
    }
}

fn simulate(story: Story) -> Tally {
    let mut world = World::new(IMAGES, NAMESPACES, options(), story);
    world.run();
    world.tally()
}

/// Seconds as hours and minutes.
fn clock(seconds: u64) -> String {
    format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60)
}

fn row(name: &str, tally: &Tally) -> String {
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} s | {} |",
        tally.waves,
        tally.rebases + tally.rebuilds,
        tally.failed,
        tally.wasted,
        tally.behind,
        clock(tally.makespan),
        // Where nearly nothing is done, there are no shares to compare.
        if tally.failed == 0 {
            format!("{}.{:02}", tally.fairness / 100, tally.fairness % 100)
        } else {
            "-".to_owned()
        },
        tally.user_wait,
        tally.peak_requests,
    )
}

#[test]
fn ten_thousand_images_follow_a_tag_that_moves_and_a_broken_one_stops_at_the_canary() {
    let moving = Story {
        moves: vec![0, 1_800, 1_900],
        broken: false,
        waves: true,
    };
    let moves = simulate(moving.clone());
    let at_once = simulate(Story { waves: false, ..moving });
    let broken = Story {
        moves: vec![0],
        broken: true,
        waves: true,
    };
    let stopped = simulate(broken.clone());
    let unstopped = simulate(Story { waves: false, ..broken });

    // Whatever moved: in the end every image has the newest run image.
    assert_eq!((moves.behind, at_once.behind), (0, 0));
    // What had begun when the tag moved is all that is wasted.
    assert!(moves.wasted < IMAGES / 5, "{moves:?}");
    // Nothing is rebuilt for a run image that it has already.
    assert!(
        moves.rebases <= IMAGES + moves.overtaken + moves.wasted + moves.retried,
        "{moves:?}"
    );
    assert!(moves.peak_requests <= 10 * 10 + 100, "{moves:?}");
    // Users hardly notice, and no namespace waits for all others.
    assert!(moves.user_wait < 600 && moves.fairness > 90, "{moves:?}");
    // A broken run image costs one canary with waves, and every image without.
    assert_eq!(stopped.failed, 1);
    assert!(unstopped.failed > IMAGES * 9 / 10, "{unstopped:?}");

    let table = [
        "| story | waves | builds | failed | wasted | left behind | makespan | fairness | user waits | requests in 10 s |".to_owned(),
        "|---|---|---|---|---|---|---|---|---|---|".to_owned(),
        row("run image moves 3 times, waves", &moves),
        row("the same, all at once", &at_once),
        row("broken run image, waves", &stopped),
        row("the same, all at once", &unstopped),
    ];
    writeln!(std::io::stdout(), "{}", table.join("\n")).expect("standard output");
    let readme = include_str!("../../README.md");
    for line in &table {
        assert!(readme.contains(line.as_str()), "the README lacks {line}");
    }
}
