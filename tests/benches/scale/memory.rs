//! What the kernel holds.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::{bpf, host, program};

/// How many bytes the kernel holds that it cannot take back: `SUnreclaim` and
/// `Percpu` of proc_meminfo(5). The cgroups' storages and lists of programs are
/// among them, and so is what everybody else holds.
pub fn held() -> Result<f64> {
    let path = "/proc/meminfo";
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let mut sum = 0.0;
    for name in ["SUnreclaim:", "Percpu:"] {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: f64 = kib.with_context(|| format!("find {name}"))?.parse()?;
        sum += kib * 1024.0;
    }
    Ok(sum)
}

/// How many KiB the pinned programs and maps take by the kernel's reckoning,
/// which does not count the storages of cgroups.
pub fn shared() -> Result<f64> {
    let pins = host::pins()?;
    ensure!(pins.len() == 1, "not one set of pins: {pins:?}");
    let mut bytes = 0;
    for entry in fs::read_dir(&pins[0])? {
        bytes += program::memory(bpf::open_pin(&entry?.path())?)?;
    }
    Ok(f64::from(u32::try_from(bytes)?) / 1024.0)
}
