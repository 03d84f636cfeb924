//! What commands start and wait for.

pub mod check;
pub mod run;
