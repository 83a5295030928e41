//! All phases of a build in one process.

use crate::env::Env;
use crate::failure::{Failure, code};
use crate::inputs::Inputs;
use crate::logger::Logger;

/// Runs the creator with its inputs.
pub(crate) fn run(_inputs: Inputs, _env: &Env, _log: &Logger) -> Result<(), Failure> {
    Err(Failure::new(code::FAILED, "the creator is in the making"))
}
