//! `project.toml`: what a source says about its own build.

mod descriptor;
mod go_regex;
mod pattern;

pub use descriptor::{ProjectDescriptor, ProjectError, ProjectReport, process_project_descriptor};
