//! (in the making)

use crate::env::Env;
use crate::failure::{Failure, code};
use crate::inputs::Inputs;
use crate::logger::Logger;

/// Runs the builder with its inputs.
pub(crate) fn run(_inputs: Inputs, _env: &Env, _log: &Logger) -> Result<(), Failure> {
    Err(Failure::new(code::FAILED, "the builder is in the making"))
}
