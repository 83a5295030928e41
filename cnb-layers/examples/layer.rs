//! Makes a layer blob of a directory: `layer DIRECTORY [OUTPUT [PATH-IN-IMAGE]]`.
//!
//! Prints the diff id, the digest and both sizes. Without OUTPUT nothing is written.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use cnb_layers::phase::with_causes;
use cnb_layers::{Compression, LayerBuilder, LayerContent, Tree, compress_layer};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("layer: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .filter(|directory| !directory.starts_with('-'))
        .ok_or("usage: layer DIRECTORY [OUTPUT [PATH-IN-IMAGE]]")?;
    let mut output: Box<dyn Write + Send> = match arguments.next() {
        Some(path) => Box::new(File::create(path)?),
        None => Box::new(io::sink()),
    };
    let content: Box<dyn LayerContent> = match arguments.next() {
        Some(name) => Box::new(LayerBuilder::new().tree(Tree::new(&directory, name, 0, 0))),
        None => Box::new(LayerBuilder::new().tree(Tree::root_filesystem(&directory))),
    };
    let started = Instant::now();
    let made = compress_layer(content.as_ref(), Compression::default(), &mut output)?;
    let seconds = started.elapsed().as_secs_f64();
    println!("diff id  {}", made.diff_id);
    println!("digest   {}", made.digest);
    println!("size     {} bytes, {} compressed", made.tar_size, made.size);
    let megabytes = u32::try_from(made.tar_size / 1_000_000).map_or(0.0, f64::from);
    println!("time     {seconds:.2} s, {:.0} MB/s", megabytes / seconds);
    Ok(())
}
