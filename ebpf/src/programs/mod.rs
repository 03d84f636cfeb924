//! The entry points, by what they decide.

mod calls;
mod deliver;
mod dual;
mod guard;
mod names;
