//! The entry points, by what they decide.

mod calls;
mod dual;
mod guard;
mod names;
