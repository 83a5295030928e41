//! kpackd dies without a warning in the middle of a build: the build is made all the same, once, and nothing is torn.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use end_to_end::{World, condition};

/// Every file of the store must be whole JSON.
fn check_store(dir: &Path) -> anyhow::Result<usize> {
    let mut seen = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            seen += check_store(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read(&path)?;
            serde_json::from_slice::<serde_json::Value>(&text)
                .with_context(|| format!("{} is torn", path.display()))?;
            seen += 1;
        }
    }
    Ok(seen)
}

#[test]
fn a_build_outlives_kill_9_of_kpackd_at_five_random_moments() -> anyhow::Result<()> {
    let mut world = World::start()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    // A run is repeated with the seed that it printed.
    let given = std::env::var("CRASH_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(now.as_secs() << 20 ^ u64::from(now.subsec_nanos()));
    println!("CRASH_SEED={seed}");
    let mut state = seed | 1;
    for round in 1..=5_u32 {
        // A source that differs makes the next build; the first comes with the Image.
        if round == 1 {
            world.image(|_| {})?;
        } else {
            world
                .sample
                .commit(&[("hello.txt", &format!("round {round}\n"))], "another round")?;
        }
        world.wait("the build is there", || {
            Ok((world.builds()?.len() == round as usize).then_some(()))
        })?;
        // xorshift: any moment of the next two seconds.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let moment = Duration::from_millis(state % 2000);
        println!("round {round}: killed after {moment:?}");
        thread::sleep(moment);
        world.kill_kpackd();
        ensure!(
            check_store(&world.data().join("store"))? > 10,
            "the store is where it was"
        );
        world.start_kpackd()?;
        let build = world.ended_build(round)?;
        assert_eq!(
            condition(&build, "Succeeded")["status"],
            "True",
            "round {round}: {}",
            world.log(round)?
        );
        let number = format!("main-b{round}.");
        let tags = world.tags()?;
        assert_eq!(
            tags.iter().filter(|tag| tag.starts_with(&number)).count(),
            1,
            "{tags:?}"
        );
        let latest = build["status"]["latestImage"]
            .as_str()
            .context("no latestImage")?
            .to_owned();
        assert!(
            latest.ends_with(world.pull("main")?.digest().as_str()),
            "main is not {latest}"
        );
        assert_eq!(world.builds()?.len(), round as usize, "one build a commit");
    }
    Ok(())
}
