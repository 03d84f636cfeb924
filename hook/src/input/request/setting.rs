//! The settings, by their names in annotations, options and the configuration.

use std::fmt::{self, Display};
use std::str::FromStr;

use anyhow::{Error, Result, bail};

use super::Request;
use crate::text::quote;

/// One of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `ipv4`
    Ipv4,
    /// `ipv6`
    Ipv6,
    /// `loopback`
    Loopback,
    /// `ports`
    Ports,
    /// `exempt`
    Exempt,
    /// `multicast`
    Multicast,
    /// `guard`
    Guard,
}

/// All of them.
pub const SETTINGS: [Setting; 7] = [
    Setting::Ipv4,
    Setting::Ipv6,
    Setting::Loopback,
    Setting::Ports,
    Setting::Exempt,
    Setting::Multicast,
    Setting::Guard,
];

/// The names as messages list them.
pub const NAMES: &str = "ipv4, ipv6, loopback, ports, exempt, multicast or guard";

impl Setting {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Loopback => "loopback",
            Self::Ports => "ports",
            Self::Exempt => "exempt",
            Self::Multicast => "multicast",
            Self::Guard => "guard",
        }
    }

    /// The setting of that name.
    pub fn named(name: &str) -> Option<Self> {
        SETTINGS.into_iter().find(|setting| setting.name() == name)
    }

    /// Returns the settings that a request has, in the order of the enum, each with its
    /// value as it is in an annotation.
    pub fn of(request: &Request) -> impl Iterator<Item = (Self, &dyn Display)> {
        fn given(value: &Option<impl Display>) -> Option<&dyn Display> {
            value.as_ref().map(|value| value as &dyn Display)
        }
        let Request {
            ipv4,
            ipv6,
            loopback,
            ports,
            exempt,
            multicast,
            guard,
        } = request;
        let values = [
            given(ipv4),
            given(ipv6),
            given(loopback),
            given(ports),
            given(exempt),
            given(multicast),
            given(guard),
        ];
        let settings = SETTINGS.into_iter().zip(values);
        settings.filter_map(|(setting, value)| Some((setting, value?)))
    }
}

impl FromStr for Setting {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match Self::named(name.trim_ascii()) {
            Some(setting) => Ok(setting),
            None => bail!("{} is not an annotation: use {NAMES}", quote(name)),
        }
    }
}

impl Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::request::{ExemptPorts, Guard, Loopback, MulticastPorts, PortMappings};

    #[test]
    fn those_that_a_request_has() {
        let request = Request {
            ipv6: Some("2001:db8::10".parse().unwrap()),
            exempt: Some(ExemptPorts::default()),
            ..Request::default()
        };
        let given: Vec<_> = Setting::of(&request).map(|(given, _)| given).collect();
        assert_eq!(given, [Setting::Ipv6, Setting::Exempt]);
        let all = Request {
            ipv4: Some("192.0.2.10".parse().unwrap()),
            loopback: Some(Loopback::Auto),
            ports: Some(PortMappings::default()),
            multicast: Some(MulticastPorts::default()),
            guard: Some(Guard::On),
            ..request
        };
        let names: Vec<_> = Setting::of(&all)
            .map(|(given, _)| given.to_string())
            .collect();
        assert_eq!(names.join(", "), NAMES.replace(" or", ","));
        assert!(Setting::of(&Request::default()).next().is_none());
    }
}
