//! Exports, restores and rebases of large layers: time, memory, bytes and requests.
//!
//! `cargo bench -p cnb-layers --bench phases` prints a table. Each measurement is a process of its own, so that its
//! peak memory is its own; beside it, in turn with it, runs the straight way to do the same on one thread
//! (`straight.rs`). The least time of several rounds counts.
//!
//! `cargo bench -p cnb-layers --bench phases -- [--rounds N] [--shrink N] [--dir DIR] [WORD]…` measures only the rows
//! whose name contains one of the words, and makes the data sets smaller.
#![allow(clippy::print_stdout, reason = "the table is the point")]

#[path = "../../tests/support/build.rs"]
mod build;
mod counted;
mod data;
#[path = "../../tests/support/discard.rs"]
mod discard;
mod measure;
mod rows;
mod straight;
mod table;
mod work;
mod world;

use std::env;
use std::path::PathBuf;

fn main() {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.peek().map(String::as_str) == Some("--measure") {
        let arguments: Vec<String> = arguments.skip(1).collect();
        return measure::child(&arguments);
    }
    let mut options = rows::Options::default();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("an option has a value");
        match argument.as_str() {
            "--bench" => {}
            "--rounds" => options.rounds = value().parse().expect("a number of rounds"),
            "--shrink" => options.shrink = value().parse().expect("a number"),
            "--dir" => options.dir = PathBuf::from(value()),
            word => options.words.push(word.to_owned()),
        }
    }
    rows::run(&options);
}
