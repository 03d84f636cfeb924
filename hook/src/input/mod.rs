//! What outsiders say, as values: the engine's state, annotations, the command line's
//! options, the configuration.

pub mod annotations;
pub mod config;
pub mod request;
pub mod state;
