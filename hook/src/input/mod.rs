//! Parsed input: the engine's state, annotations, command-line options, configuration.

pub mod annotations;
pub mod config;
pub mod request;
pub mod state;
