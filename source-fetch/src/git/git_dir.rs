//! Git's own directory of a checkout: just what git needs to say what is checked out.
//!
//! Written by hand: libgit2 reads the configuration of the user, and refuses work trees that belong to another user, as
//! the volume of a build does.

use std::{fs, io, path::Path};

use git2::{Index, Tree};

/// Makes the directory of a repository that has nothing yet. One that exists is an error.
pub(crate) fn init(git_dir: &Path, url: &str) -> io::Result<()> {
    fs::create_dir(git_dir)?;
    for name in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
        fs::create_dir_all(git_dir.join(name))?;
    }
    fs::write(git_dir.join("HEAD"), "ref: refs/heads/master\n")?;
    let url = config_value(url);
    let config = format!(
        "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = {url}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
    );
    fs::write(git_dir.join("config"), config)
}

/// Says that a submodule is checked out, too.
pub(crate) fn add_submodule(git_dir: &Path, name: &str, url: &str) -> io::Result<()> {
    let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
    let section = format!("[submodule \"{escaped}\"]\n\turl = {}\n", config_value(url));
    let mut config = fs::OpenOptions::new().append(true).open(git_dir.join("config"))?;
    io::Write::write_all(&mut config, section.as_bytes())
}

/// A value that stays one, whatever it holds.
fn config_value(text: &str) -> String {
    let odd = |c: char| c.is_control() || matches!(c, '"' | '\\' | '#' | ';');
    if !text.contains(odd) && text.trim() == text {
        return text.to_owned();
    }
    let escaped: String = text
        .chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]))
        .collect();
    format!("\"{escaped}\"")
}

/// Tells git where history was cut off, or it would look for the parents.
pub(crate) fn mark_shallow(git_dir: &Path, commits: &[String]) -> io::Result<()> {
    if commits.is_empty() {
        return Ok(());
    }
    fs::write(git_dir.join("shallow"), commits.join("\n") + "\n")
}

/// Says that `commit` is checked out, by no branch; `id` is what was asked for.
pub(crate) fn set_head(git_dir: &Path, id: &str, commit: &str) -> io::Result<()> {
    fs::write(git_dir.join("refs/heads").join(id), format!("{id}\n"))?;
    fs::write(git_dir.join("HEAD"), format!("{commit}\n"))
}

/// Writes the index, so that `git status` in the checkout compares with what was checked out.
pub(crate) fn write_index(git_dir: &Path, tree: &Tree<'_>) -> Result<(), git2::Error> {
    let mut index = Index::open(&git_dir.join("index"))?;
    index.read_tree(tree)?;
    index.write()
}
