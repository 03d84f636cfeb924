//! What the other runners of tests use too: reading what tests say.

pub mod output;
