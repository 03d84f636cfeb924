//! The eBPF programs: one for each hook, loaded once and shared by all cgroups.
//!
//! Each reads the call from its context, asks the library's pure function, and
//! carries out the verdict.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod kernel;
mod programs;
