//! Keys that were probably meant to be the hook's, but are not: pure.

use strsim::osa_distance;

use super::PREFIX;

/// How the keys might begin instead: Kubernetes's own begin with a domain and a slash.
const BEGINNINGS: [&str; 2] = [PREFIX, "oci-bind-hook.io/"];

/// How many letters may differ: without `io.`, three are missing.
const DISTANCE: usize = 3;

/// Returns a key that is not the hook's but begins nearly like one, if there is any.
pub fn similar<'a>(mut keys: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    keys.find(|key| !key.starts_with(PREFIX) && is_similar(key))
}

/// Whether a key is one of the hook's, or begins nearly like one: its first letters, however
/// many, differ little from how one begins.
pub fn is_similar(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    BEGINNINGS.iter().any(|beginning| {
        let mut lengths = beginning.len() - DISTANCE..=beginning.len() + DISTANCE;
        lengths.any(|length| {
            let start: String = key.chars().take(length).collect();
            osa_distance(&start, beginning) <= DISTANCE
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_to_be_ours() {
        for key in [
            "io.oci-bind-hok.ipv4",
            "io.oci-bind-hok.ipv4/container.web",
            "oci-bind-hook.ipv4",
            "oci-bind-hook.io/ipv4",
            "io.oci-bind-hook/ipv4",
            "io.oci_bind_hook.ipv4",
            "io.oci-bindhook.ipv4",
            "io.oic-bind-hook.ipv4",
            "com.oci-bind-hook.ipv4",
            "IO.OCI-BIND-HOOK.ipv4",
            "io.oci-bind-hook",
        ] {
            assert_eq!(similar([key].into_iter()), Some(key));
        }
    }

    #[test]
    fn what_is_ours_or_somebody_elses() {
        for key in [
            "io.oci-bind-hook.ipv4",
            "io.oci-bind-hook.ipv9",
            "",
            "io.",
            "ipv4",
            "cdi.k8s.io/oci-bind-hook_annotations",
            "io.containers.trace-syscall",
            "io.container.manager",
            "io.kubernetes.cri.sandbox-id",
            "io.kubernetes.cri-o.ContainerType",
            "io.podman.annotations.init",
            "org.opencontainers.image.base.digest",
            "run.oci.hooks.stderr",
            "com.docker.network.bind-host",
        ] {
            assert_eq!(similar([key].into_iter()), None);
        }
    }
}
