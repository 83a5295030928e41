//! The log store as its users see it.

use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;

fn name(container: &str) -> LogName {
    LogName::new("demo", "shop-build-1-build-pod", "5d0c", container).unwrap()
}

fn clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_607_200)
}

fn store(limit: u64) -> (tempfile::TempDir, LogStore) {
    let dir = tempfile::tempdir().unwrap();
    let logs = LogStore::open_with(dir.path(), limit, clock).unwrap();
    (dir, logs)
}

fn read(logs: &LogStore, options: ReadOptions) -> String {
    let mut text = String::new();
    logs.reader(&name("build"), &options)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn write(logs: &LogStore, pieces: &[&str]) {
    let mut writer = logs.writer(&name("build")).unwrap();
    for piece in pieces {
        writer.write_all(piece.as_bytes()).unwrap();
    }
}

#[test]
fn a_follower_gets_everything_and_ends_when_the_log_is_closed() {
    let (_dir, logs) = store(1 << 20);
    let mut writer = logs.writer(&name("build")).unwrap();
    writer.write_all(b"first\n").unwrap();
    let mut reader = logs
        .reader(
            &name("build"),
            &ReadOptions {
                follow: true,
                ..ReadOptions::default()
            },
        )
        .unwrap();
    let follower = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    for number in 0..1000 {
        writeln!(writer, "line {number}").unwrap();
    }
    write!(writer, "no line break").unwrap();
    drop(writer);
    let text = follower.join().unwrap().unwrap();
    assert!(text.starts_with("first\nline 0\n"));
    assert!(text.ends_with("line 999\nno line break"));
    assert_eq!(text.lines().count(), 1002);
}

#[test]
fn a_follower_with_patience_can_ask_again() {
    let (_dir, logs) = store(1 << 20);
    let mut writer = logs.writer(&name("build")).unwrap();
    let options = ReadOptions {
        follow: true,
        patience: Some(Duration::from_millis(1)),
        ..ReadOptions::default()
    };
    let mut reader = logs.reader(&name("build"), &options).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(reader.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::TimedOut);
    writer.write_all(b"hello\n").unwrap();
    assert_eq!(reader.read(&mut buffer).unwrap(), 6);
    drop(writer);
    assert_eq!(reader.read(&mut buffer).unwrap(), 0);
}

#[test]
fn following_a_log_that_a_killed_process_left_open_ends() {
    let (dir, logs) = store(1 << 20);
    let writer = logs.writer(&name("build")).unwrap();
    let again = LogStore::open(dir.path()).unwrap();
    let follow = ReadOptions {
        follow: true,
        ..ReadOptions::default()
    };
    assert_eq!(read(&again, follow), "");
    drop(writer);
}

#[test]
fn a_container_that_has_not_begun_has_no_log() {
    let (_dir, logs) = store(1 << 20);
    let error = logs.reader(&name("build"), &ReadOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no log of container build in pod demo/shop-build-1-build-pod"
    );
}

#[test]
fn a_new_run_of_a_container_begins_a_new_log() {
    let (_dir, logs) = store(1 << 20);
    write(&logs, &["old\n"]);
    let old = logs.reader(&name("build"), &ReadOptions::default()).unwrap();
    write(&logs, &["new\n"]);
    assert_eq!(read(&logs, ReadOptions::default()), "new\n");
    assert_eq!(io::read_to_string(old).unwrap(), "old\n");
}

#[test]
fn timestamps_tail_since_and_limit_choose_a_part() {
    let (_dir, logs) = store(1 << 20);
    write(&logs, &["one\ntw", "o\nthree\n"]);
    let with = |change: &dyn Fn(&mut ReadOptions)| {
        let mut options = ReadOptions::default();
        change(&mut options);
        read(&logs, options)
    };
    assert_eq!(with(&|options| options.tail_lines = Some(2)), "two\nthree\n");
    assert_eq!(with(&|options| options.tail_lines = Some(0)), "");
    assert_eq!(with(&|options| options.tail_lines = Some(9)), "one\ntwo\nthree\n");
    assert_eq!(with(&|options| options.limit_bytes = Some(5)), "one\nt");
    assert_eq!(
        with(&|options| options.since = Some(clock() + Duration::from_secs(1))),
        ""
    );
    assert_eq!(with(&|options| options.since = Some(clock())), "one\ntwo\nthree\n");
    let text = with(&|options| (options.timestamps, options.tail_lines) = (true, Some(1)));
    assert_eq!(text, "2026-01-05T10:00:00.000000000Z three\n");
}

#[test]
fn a_flood_is_cut_and_its_end_is_still_known() {
    let (dir, logs) = store(1000);
    let mut writer = logs.writer(&name("build")).unwrap();
    for number in 0..100_000 {
        writeln!(writer, "flood {number}").unwrap();
    }
    assert!(writer.tail().ends_with("flood 99998\nflood 99999\n"));
    assert_eq!(writer.tail().lines().count(), 80);
    drop(writer);
    let text = read(&logs, ReadOptions::default());
    assert!(text.len() < 1200, "{}", text.len());
    let last = text.lines().last().unwrap();
    assert!(last.contains("printed more than 1000 bytes"), "{last}");
    let file = dir.path().join("demo_shop-build-1-build-pod_5d0c/build.log");
    assert!(std::fs::metadata(file).unwrap().len() < 8000);
}

#[test]
fn only_logs_of_the_pods_that_exist_are_retained() {
    let (_dir, logs) = store(1000);
    write(&logs, &["a\n"]);
    let other = LogName::new("demo", "other", "77", "build").unwrap();
    drop(logs.writer(&other).unwrap());
    assert_eq!(logs.retain(&["77".to_owned()].into()).unwrap(), 1);
    assert!(logs.reader(&other, &ReadOptions::default()).is_ok());
    assert!(logs.reader(&name("build"), &ReadOptions::default()).is_err());
    logs.remove("demo", "other", "77").unwrap();
    assert!(logs.reader(&other, &ReadOptions::default()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_read_is_what_was_written(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..8), long in 0..40_000_usize) {
        let (_dir, logs) = store(1 << 20);
        let mut writer = logs.writer(&name("build")).unwrap();
        let mut written = Vec::new();
        for piece in pieces.iter().chain([&vec![b'x'; long]]) {
            writer.write_all(piece).unwrap();
            written.extend_from_slice(piece);
        }
        drop(writer);
        let mut text = Vec::new();
        logs.reader(&name("build"), &ReadOptions::default()).unwrap().read_to_end(&mut text).unwrap();
        prop_assert_eq!(text, written);
    }
}
