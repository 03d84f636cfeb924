//! What happens to containers on the host's network that ask for no policy.

use std::fmt::{self, Display};
use std::str::FromStr;

use anyhow::{Error, Result, bail};

use crate::text::quote;

/// What happens to a container on the host's network that asks for no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutPolicy {
    /// It starts, and nothing is said.
    Ignore,
    /// It starts, and the log says so.
    Warn,
    /// It does not start.
    Refuse,
}

impl FromStr for WithoutPolicy {
    type Err = Error;

    /// Parses `ignore`, `warn` or `refuse`.
    fn from_str(value: &str) -> Result<Self> {
        match value.trim_ascii() {
            "ignore" => Ok(Self::Ignore),
            "warn" => Ok(Self::Warn),
            "refuse" => Ok(Self::Refuse),
            _ => bail!(
                "{} is not a setting for containers without a policy: \
                 write ignore, warn or refuse",
                quote(value)
            ),
        }
    }
}

impl Display for WithoutPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ignore => "ignore",
            Self::Warn => "warn",
            Self::Refuse => "refuse",
        })
    }
}
