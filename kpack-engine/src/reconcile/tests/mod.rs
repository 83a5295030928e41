//! The recorded reconcile steps, on a store that stands still.

mod builders;
mod frozen;
mod made;
mod path_patterns;
mod recorded;
mod registry;
mod running;
