//! Every connection is made in one place, so that one policy holds for all.

use std::{fs, path::Path};

#[test]
fn only_one_file_makes_agents() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut making = Vec::new();
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let file = entry.expect("it can be read").path();
        let text = fs::read_to_string(&file).expect("it is text");
        if ["Agent::", "ureq::get", "ureq::post", "ureq::agent", "TcpStream"]
            .iter()
            .any(|call| text.contains(call))
        {
            making.push(file.file_name().and_then(|name| name.to_str()).map(str::to_owned));
        }
    }
    assert_eq!(making, [Some("agent.rs".to_owned())]);
}
