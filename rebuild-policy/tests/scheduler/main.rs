//! Laws of the scheduler, and a slow oracle that says the same.

mod naive;
mod stage;

use naive::Naive;
use proptest::prelude::*;
use rebuild_policy::{
    Backoff, Command, Event, FailureClass, FailureLimit, Freeze, Frozen, Job, JobId, Limits, Outcome, Priority,
    RolloutId, Scheduler, SchedulerOptions, Work,
};
use stage::{Act, Stage, acts, options};

fn job(id: u64, namespace: &str, priority: Priority) -> Job {
    Job {
        id: JobId(id),
        namespace: namespace.to_owned(),
        work: Work::Rebuild,
        priority,
        rollout: None,
        seconds: 1,
        requests: 1,
    }
}

fn in_wave(id: u64, wave: u32) -> Job {
    Job {
        rollout: Some((RolloutId(1), wave)),
        ..job(id, "team", Priority::Low)
    }
}

fn starts(commands: &[Command]) -> Vec<u64> {
    let started = |command: &Command| match command {
        Command::Start(JobId(id)) => Some(*id),
        _ => None,
    };
    commands.iter().filter_map(started).collect()
}

fn one_at_a_time() -> Scheduler {
    Scheduler::new(SchedulerOptions {
        limits: Limits {
            builds: 1,
            ..Limits::default()
        },
        ..SchedulerOptions::default()
    })
}

fn done(id: u64) -> Event {
    Event::Finished(JobId(id), Outcome::Succeeded)
}

fn broken(id: u64, class: FailureClass) -> Event {
    Event::Finished(JobId(id), Outcome::Failed(class))
}

#[test]
fn what_a_user_waits_for_starts_before_the_background() {
    let mut scheduler = one_at_a_time();
    assert_eq!(
        starts(&scheduler.step(0, Event::Wanted(job(1, "a", Priority::Low)))),
        [1]
    );
    scheduler.step(0, Event::Wanted(job(2, "a", Priority::Low)));
    scheduler.step(0, Event::Wanted(job(3, "b", Priority::High)));
    assert_eq!(starts(&scheduler.step(1000, done(1))), [3]);
    assert_eq!(starts(&scheduler.step(2000, done(3))), [2]);
}

#[test]
fn a_namespace_with_many_jobs_waits_for_one_with_few() {
    let mut scheduler = one_at_a_time();
    for id in 1..=4 {
        scheduler.step(0, Event::Wanted(job(id, "busy", Priority::Low)));
    }
    scheduler.step(0, Event::Wanted(job(9, "quiet", Priority::Low)));
    assert_eq!(starts(&scheduler.step(1000, done(1))), [9]);
}

#[test]
fn canaries_go_first_and_the_next_wave_when_they_are_through() {
    let mut scheduler = Scheduler::new(SchedulerOptions::default());
    assert_eq!(starts(&scheduler.step(0, Event::Wanted(in_wave(1, 0)))), [1]);
    assert!(starts(&scheduler.step(0, Event::Wanted(in_wave(2, 1)))).is_empty());
    assert!(starts(&scheduler.step(0, Event::Wanted(in_wave(3, 2)))).is_empty());
    assert_eq!(starts(&scheduler.step(5, done(1))), [2]);
    assert_eq!(starts(&scheduler.step(9, done(2))), [3]);
}

#[test]
fn a_canary_that_fails_stops_the_rollout_until_it_is_resumed() {
    let mut scheduler = Scheduler::new(SchedulerOptions::default());
    scheduler.step(0, Event::Wanted(in_wave(1, 0)));
    scheduler.step(0, Event::Wanted(in_wave(2, 1)));
    let commands = scheduler.step(5, broken(1, FailureClass::Permanent));
    let stop = Command::Stop {
        rollout: RolloutId(1),
        failed: 1,
        finished: 1,
    };
    assert_eq!(commands, [stop, Command::GiveUp(JobId(1), 1)]);
    assert!(starts(&scheduler.step(99, Event::TimePassed)).is_empty());
    // What a user waits for goes on.
    assert_eq!(
        starts(&scheduler.step(99, Event::Wanted(job(7, "team", Priority::High)))),
        [7]
    );
    assert_eq!(starts(&scheduler.step(100, Event::Resumed(RolloutId(1)))), [2]);
}

#[test]
fn a_transient_failure_is_tried_again_later_and_later_and_then_given_up() {
    let mut scheduler = Scheduler::new(SchedulerOptions {
        backoff: Backoff {
            first: 100,
            longest: 150,
            attempts: 3,
        },
        ..SchedulerOptions::default()
    });
    scheduler.step(0, Event::Wanted(in_wave(1, 0)));
    assert_eq!(
        scheduler.step(10, broken(1, FailureClass::Transient)),
        [Command::WakeAt(110)]
    );
    assert!(starts(&scheduler.step(109, Event::TimePassed)).is_empty());
    assert_eq!(starts(&scheduler.step(110, Event::TimePassed)), [1]);
    assert_eq!(
        scheduler.step(120, broken(1, FailureClass::Transient)),
        [Command::WakeAt(270)]
    );
    assert_eq!(starts(&scheduler.step(270, Event::TimePassed)), [1]);
    let commands = scheduler.step(300, broken(1, FailureClass::Transient));
    assert!(commands.contains(&Command::GiveUp(JobId(1), 3)), "{commands:?}");
    assert!(scheduler.is_empty());
}

#[test]
fn a_freeze_holds_back_the_background_and_expires() {
    let mut scheduler = Scheduler::new(SchedulerOptions::default());
    let weekend = Freeze {
        name: "weekend".to_owned(),
        namespace: None,
        what: Frozen::Background,
        from: 0,
        until: 1000,
    };
    scheduler.step(0, Event::Frozen(weekend));
    assert_eq!(
        scheduler.step(1, Event::Wanted(job(1, "a", Priority::Low))),
        [Command::WakeAt(1000)]
    );
    assert_eq!(
        starts(&scheduler.step(2, Event::Wanted(job(2, "a", Priority::High)))),
        [2]
    );
    assert_eq!(starts(&scheduler.step(1000, Event::TimePassed)), [1]);
}

#[test]
fn a_job_with_more_requests_than_the_bucket_holds_is_not_overtaken() {
    let mut scheduler = Scheduler::new(SchedulerOptions {
        limits: Limits {
            requests_per_second: 10,
            request_burst: 20,
            ..Limits::default()
        },
        ..SchedulerOptions::default()
    });
    let large = |id, requests| Job {
        requests,
        ..job(id, "a", Priority::Low)
    };
    assert_eq!(starts(&scheduler.step(0, Event::Wanted(large(1, 15)))), [1]);
    assert_eq!(scheduler.step(0, Event::Wanted(large(2, 50))), [Command::WakeAt(1500)]);
    assert!(starts(&scheduler.step(0, Event::Wanted(large(3, 1)))).is_empty());
    assert_eq!(starts(&scheduler.step(1500, Event::TimePassed)), [2]);
    // 50 were taken of 20: the next one waits until that is paid for.
    assert!(starts(&scheduler.step(4500, Event::TimePassed)).is_empty());
    assert_eq!(starts(&scheduler.step(4600, Event::TimePassed)), [3]);
}

#[test]
fn background_work_starts_though_users_never_stop_asking() {
    let mut scheduler = Scheduler::new(SchedulerOptions {
        limits: Limits {
            builds: 1,
            ..Limits::default()
        },
        patience: 50_000,
        ..SchedulerOptions::default()
    });
    scheduler.step(0, Event::Wanted(job(1, "users", Priority::High)));
    scheduler.step(0, Event::Wanted(job(1_000_000, "background", Priority::Low)));
    let mut running = 1;
    for second in 1..200_u64 {
        let now = second * 1000;
        scheduler.step(now, Event::Wanted(job(second + 1, "users", Priority::High)));
        let next = starts(&scheduler.step(now, done(running)));
        running = *next.first().expect("there is always work");
        if running == 1_000_000 {
            assert!((50..60).contains(&second), "after {second} seconds");
            return;
        }
    }
    panic!("the background job starved");
}

#[test]
fn wanting_a_job_again_changes_it_while_it_waits_and_repeats_it_while_it_runs() {
    let mut scheduler = one_at_a_time();
    scheduler.step(0, Event::Wanted(job(1, "a", Priority::Low)));
    scheduler.step(0, Event::Wanted(job(2, "a", Priority::Low)));
    scheduler.step(0, Event::Wanted(job(3, "a", Priority::Low)));
    scheduler.step(1, Event::Wanted(job(3, "a", Priority::High)));
    scheduler.step(2, Event::Wanted(job(1, "a", Priority::Low)));
    assert_eq!(starts(&scheduler.step(1000, done(1))), [3]);
    scheduler.step(1001, Event::Unwanted(JobId(2)));
    assert_eq!(starts(&scheduler.step(2000, done(3))), [1]);
    scheduler.step(3000, done(1));
    assert!(scheduler.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn commands_agree_with_the_oracle_and_keep_the_laws(options in options(), acts in acts()) {
        let mut stage = Stage::new(options, &acts);
        let mut scheduler = Scheduler::new(options);
        let mut naive = Naive::new(options);
        while let Some((now, event)) = stage.next_event() {
            let commands = scheduler.step(now, event.clone());
            let slow = naive.step(now, &event);
            prop_assert_eq!(&commands, &slow, "at {} after {:?}", now, event);
            stage.note(now, &event, &commands)?;
        }
        stage.all_ended(&scheduler)?;
    }

    #[test]
    fn equal_events_give_equal_commands_in_whichever_order_namespaces_are_named(
        options in options(),
        acts in acts(),
    ) {
        let run = |acts: &[Act]| {
            let mut stage = Stage::new(options, acts);
            let mut scheduler = Scheduler::new(options);
            let mut all = Vec::new();
            while let Some((now, event)) = stage.next_event() {
                let commands = scheduler.step(now, event.clone());
                stage.note(now, &event, &commands).expect("the laws hold");
                all.push((now, commands));
            }
            all
        };
        prop_assert_eq!(run(&acts), run(&acts));
    }

    /// More places never make the whole take longer when all jobs are alike.
    #[test]
    fn twice_the_places_take_at_most_as_long(count in 1..30_u64, builds in 1..4_usize) {
        let makespan = |builds: usize| {
            let mut scheduler = Scheduler::new(SchedulerOptions {
                limits: Limits { builds, ..Limits::default() },
                failures: FailureLimit::default(),
                ..SchedulerOptions::default()
            });
            let mut ends = std::collections::BTreeSet::new();
            for id in 0..count {
                for start in starts(&scheduler.step(0, Event::Wanted(job(id, "a", Priority::Low)))) {
                    ends.insert((1000, start));
                }
            }
            let mut last = 0;
            while let Some((now, id)) = ends.pop_first() {
                last = now;
                for start in starts(&scheduler.step(now, done(id))) {
                    ends.insert((now + 1000, start));
                }
            }
            last
        };
        prop_assert!(makespan(builds * 2) <= makespan(builds));
    }
}
