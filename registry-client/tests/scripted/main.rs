//! The client against servers that answer from a script: what is sent to whom, and what is made of odd answers.

mod access;
mod advisories;
mod anything;
mod places;
mod presence;
mod script;
mod uploads;
