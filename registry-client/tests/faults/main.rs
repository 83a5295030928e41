//! Faults on real connections: a proxy before a real registry delays, cuts, falsifies or swallows what passes through.

mod connections;
mod operation;
mod place;
mod table;
