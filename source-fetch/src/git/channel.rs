//! What carries the conversation: http, the `ssh` program, or a plain connection to `git daemon`.

use std::io::Read;

use super::transport::TransportError;
use crate::limits::Limits;

/// A way to a server that has said its greeting already.
pub(crate) trait Channel: Send {
    /// Sends a request and returns the answer as a stream.
    fn ask(&mut self, request: Vec<u8>, limits: &Limits) -> Result<Box<dyn Read + '_>, TransportError>;

    /// Whether each question is by itself, so that one that fails does not end the conversation.
    fn is_stateless(&self) -> bool;
}
