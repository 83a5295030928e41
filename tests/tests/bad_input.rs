//! What a build does when something is wrong with what it was given.

use anyhow::Context as _;
use end_to_end::{World, condition};

#[test]
fn an_app_becomes_one_image_under_two_tags() -> anyhow::Result<()> {
    let world = World::start()?;
    world.image(|_| {})?;
    let build = world.ended_build(1)?;
    let log = world.log(1)?;
    assert_eq!(condition(&build, "Succeeded")["status"], "True", "{log}");
    let tags = world.tags()?;
    assert_eq!(tags.len(), 2, "{tags:?}");
    assert!(tags.contains(&"main".to_owned()), "{tags:?}");
    let latest = build["status"]["latestImage"].as_str().context("no latestImage")?;
    for tag in tags {
        assert!(latest.ends_with(world.pull(&tag)?.digest().as_str()), "{tag}");
    }
    Ok(())
}
