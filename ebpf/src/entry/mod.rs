//! The entry points, by what they decide.

mod calls;
mod guard;
mod names;
