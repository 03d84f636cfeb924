//! Recognises the cgroups of systemd's units by their names: pure.

/// The kinds of units that have cgroups (systemd.resource-control(5)).
const KINDS: [&str; 6] = ["service", "scope", "slice", "socket", "mount", "swap"];

/// Returns the name of the unit whose cgroup is at a path, judging by its name. systemd
/// puts an underscore before the name of a unit that could be a file of the kernel's, such
/// as `cpu.service` (`cg_escape`).
pub fn unit(path: &str) -> Option<&str> {
    let name = super::choose::last(path);
    let name = name.strip_prefix('_').unwrap_or(name);
    let (_, kind) = name.rsplit_once('.')?;
    KINDS.contains(&kind).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_known_by_its_kind() {
        assert_eq!(unit("/system.slice/web.service"), Some("web.service"));
        assert_eq!(unit("/system.slice/_cpu.service"), Some("cpu.service"));
        assert_eq!(unit("/system.slice"), Some("system.slice"));
        assert_eq!(unit("/system.slice/web.service/below"), None);
        assert_eq!(unit("/web"), None);
    }
}
