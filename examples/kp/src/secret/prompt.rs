//! Asking for a password.

use std::{
    env,
    io::{self, IsTerminal as _},
    thread,
};

use anyhow::{Context as _, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::{Handle, Signals},
    low_level::emulate_default_handler,
};

use crate::print::out;

/// Returns the variable's value, else what the user types, which is not shown.
pub(super) fn password(variable: &str, question: &str) -> anyhow::Result<String> {
    if let Some(password) = env::var(variable).ok().filter(|password| !password.is_empty()) {
        return Ok(password);
    }
    let terminal = io::stdin();
    if !terminal.is_terminal() {
        bail!("no password: set {variable}, or run this in a terminal");
    }
    out(question);
    let shown = tcgetattr(&terminal).context("cannot read the settings of the terminal")?;
    let signals = show_again_on_signals(shown.clone()).context("cannot wait for signals")?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &hidden).context("cannot hide what is typed")?;
    let mut line = String::new();
    let read = terminal.read_line(&mut line);
    let _ = tcsetattr(&terminal, OptionalActions::Flush, &shown);
    signals.close();
    out("\n");
    read.context("cannot read the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whoever presses Ctrl-C at the question gets the terminal back as it was.
fn show_again_on_signals(shown: Termios) -> io::Result<Handle> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let handle = signals.handle();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &shown);
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(handle)
}
