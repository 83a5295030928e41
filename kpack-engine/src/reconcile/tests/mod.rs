//! The recorded reconcile steps, on a store that stands still.

mod frozen;
mod recorded;
mod running;
