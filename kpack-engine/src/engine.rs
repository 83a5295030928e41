//! [`Engine`]: store, server, reconcilers and pod runner as one.

/// The running engine.
#[derive(Debug)]
pub struct Engine {}
