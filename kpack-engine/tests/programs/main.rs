//! prepare, rebase and completion against real servers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

mod finish;
mod prepare;
mod recorded;
mod ssh;
mod step;
