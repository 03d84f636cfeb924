//! `cdi`: the specification of a device that adds the hook.

use anyhow::{Context as _, Result};
use std::env;

use super::print;
use crate::cdi::specification;

/// Prints the specification for the running binary.
pub(super) fn cdi() -> Result<()> {
    let path = env::current_exe().context("find the path of this program in /proc/self/exe")?;
    print(&format!("{:#}", specification(&path)?))
}
