//! How long a container's start may wait for something.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Unexpected, Visitor};

/// The longest wait, in seconds: engines end the hook after ten (`timeout` in the hooks.d
/// file), and it has to attach the policy afterwards.
const LONGEST: u64 = 8;

/// A whole number of seconds.
pub(super) struct Seconds(pub(super) Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Parses within the deserializer, so that its errors have a position.
        struct Parse;

        impl Visitor<'_> for Parse {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number of seconds from 0 to {LONGEST}")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Seconds, E> {
                match u64::try_from(seconds) {
                    Ok(seconds) if seconds <= LONGEST => Ok(Seconds(Duration::from_secs(seconds))),
                    _ => Err(E::invalid_value(Unexpected::Signed(seconds), &self)),
                }
            }
        }

        deserializer.deserialize_i64(Parse)
    }
}
