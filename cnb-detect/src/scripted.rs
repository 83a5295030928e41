//! A runner without processes.

use std::sync::{Mutex, PoisonError};

use crate::{Command, Exit, Output, RunError, Runner};

type Script<'a> = dyn Fn(&Command, &mut dyn Output) -> Result<Exit, RunError> + Sync + 'a;

/// Answers for programs instead of running them, and remembers what it was asked.
///
/// The script sees the whole [`Command`] and may do what the program would do, such as write the build plan that the
/// variable `CNB_BUILD_PLAN_PATH` names.
pub struct ScriptedRunner<'a> {
    script: Box<Script<'a>>,
    commands: Mutex<Vec<Command>>,
}

impl<'a> ScriptedRunner<'a> {
    /// Makes a runner that answers with `script`.
    pub fn new(script: impl Fn(&Command, &mut dyn Output) -> Result<Exit, RunError> + Sync + 'a) -> Self {
        Self {
            script: Box::new(script),
            commands: Mutex::default(),
        }
    }

    /// Returns the commands run so far, in the order of their start.
    pub fn commands(&self) -> Vec<Command> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for ScriptedRunner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedRunner")
            .field("commands", &self.commands)
            .finish_non_exhaustive()
    }
}

impl Runner for ScriptedRunner<'_> {
    fn run(&self, command: &Command, output: &mut dyn Output) -> Result<Exit, RunError> {
        self.commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(command.clone());
        (self.script)(command, output)
    }
}
