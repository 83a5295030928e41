//! Threads at work (in the making).
