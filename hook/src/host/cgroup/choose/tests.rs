//! Tables of what real engines do, and properties.

use proptest::prelude::*;

use super::*;

const ID: &str = "3b1e0c8f5d7a49e2b6c4d8f0a1e3b5c7d9f2a4c6e8b0d1f3a5c7e9b2d4f6a8c0";
const OTHER: &str = "9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a0";

fn decide(text: &str, id: &str) -> Result<String> {
    choose(&parse_proc(text)?, id)
}

macro_rules! fixture {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../../../tests/fixtures/proc/cgroup/", $name)),
        )
    };
}

#[test]
fn cgroups_of_real_engines() {
    let scope = |prefix: &str| format!("{prefix}{ID}.scope");
    let table = [
        (fixture!("podman-runc"), ID, scope("/machine.slice/libpod-")),
        (fixture!("podman-crun"), ID, scope("/machine.slice/libpod-")),
        (
            fixture!("podman-cgroupfs"),
            ID,
            format!("/libpod_parent/libpod-{ID}"),
        ),
        (
            fixture!("podman-pod"),
            ID,
            scope(&format!(
                "/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-"
            )),
        ),
        (
            fixture!("podman-split"),
            ID,
            format!("/system.slice/web.service/libpod-payload-{ID}"),
        ),
        (
            fixture!("podman-rootless"),
            ID,
            scope("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-"),
        ),
        (
            fixture!("crio"),
            ID,
            scope(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8c1f3e5a_7b9d_4c2e_a1f0_6d8b4e2c9a71.slice/crio-",
            ),
        ),
        (
            fixture!("containerd-systemd"),
            ID,
            scope(
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0d4b6a2e_91c3_4f57_8e2d_b7a5c9f1e360.slice/cri-containerd-",
            ),
        ),
        (
            fixture!("containerd-cgroupfs"),
            ID,
            format!("/kubepods/besteffort/pod0d4b6a2e-91c3-4f57-8e2d-b7a5c9f1e360/{ID}"),
        ),
        (fixture!("ctr"), "web", "/default/web".to_owned()),
        (
            fixture!("docker-systemd"),
            ID,
            scope("/system.slice/docker-"),
        ),
        (fixture!("docker-cgroupfs"), ID, format!("/docker/{ID}")),
        (
            fixture!("runc-systemd"),
            "1",
            "/system.slice/runc-1.scope".to_owned(),
        ),
        (fixture!("runc-hybrid"), "web", "/web".to_owned()),
        (
            fixture!("runc-custom-path"),
            "web",
            "/tenants/blue".to_owned(),
        ),
        (
            fixture!("kind"),
            ID,
            scope(&format!(
                "/system.slice/docker-{OTHER}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod2f6d8a1c_3b5e_47f9_90c2_e4a6b8d0f135.slice/cri-containerd-"
            )),
        ),
        // These three are detected by what else the cgroup holds, or when it is opened.
        (
            fixture!("deleted"),
            ID,
            scope("/machine.slice/libpod-") + " (deleted)",
        ),
        (
            fixture!("conmon"),
            ID,
            format!("/machine.slice/libpod-conmon-{ID}.scope"),
        ),
        (
            fixture!("disabled-in-session"),
            ID,
            "/user.slice/user-0.slice/session-1.scope".to_owned(),
        ),
    ];
    for ((name, text), id, wanted) in table {
        assert_eq!(decide(text, id).expect(name), wanted, "{name}");
    }
}

#[test]
fn cgroups_that_are_refused() {
    let table = [
        (fixture!("v1"), ID, "systemd.unified_cgroup_hierarchy=1"),
        (fixture!("disabled-on-bare-host"), ID, "in the root cgroup"),
        (fixture!("outside-namespace"), ID, "cgroup namespace"),
        (
            fixture!("docker-cgroupfs"),
            OTHER,
            "belongs to container 3b1e0c",
        ),
        (fixture!("docker-cgroupfs"), "web", "the state is of web"),
        (
            fixture!("podman-crun"),
            OTHER,
            "belongs to container 3b1e0c",
        ),
    ];
    for ((name, text), id, wanted) in table {
        let refused = decide(text, id).expect_err(name).to_string();
        assert!(refused.contains(wanted), "{name}: {refused}");
        assert_eq!(refused.lines().count(), 1, "{name}: {refused}");
    }
}

#[test]
fn the_innermost_cgroup_with_the_id_is_chosen() {
    for (path, id, wanted) in [
        // `ctr run IMAGE default`
        ("/default/default", "default", "/default/default"),
        ("/default/default/below", "default", "/default/default"),
        ("/web/docker-web.scope", "web", "/web/docker-web.scope"),
        ("/runc-web.scope/a/web", "web", "/runc-web.scope/a/web"),
        // crun's sub-cgroup of a container with that name.
        (
            "/system.slice/crun-container.scope/container",
            "container",
            "/system.slice/crun-container.scope",
        ),
        (
            "/system.slice/crun-web.scope/crun-web",
            "web",
            "/system.slice/crun-web.scope",
        ),
        ("/container/container", "container", "/container/container"),
    ] {
        assert_eq!(choose(path, id).unwrap(), wanted);
    }
    // podman generate systemd, with --cgroups=split
    let unit = format!("/system.slice/container-{ID}.service");
    let payload = format!("{unit}/libpod-payload-{ID}");
    assert_eq!(
        choose(&format!("{payload}/container"), ID).unwrap(),
        payload
    );
}

#[test]
fn the_innermost_container_is_known_by_its_name() {
    let pod = format!("/machine.slice/machine-libpod_pod_{OTHER}.slice");
    for name in [
        format!("{pod}/libpod-{ID}.scope"),
        format!("/kubepods/besteffort/pod1/{ID}"),
        format!("/a/nerdctl-{ID}.scope"),
        format!("/system.slice/docker-{OTHER}.scope/kubelet/cri-containerd-{ID}.scope"),
        "/system.slice/runc-1.scope".to_owned(),
        format!("/system.slice/container-{ID}.service/libpod-payload-{ID}"),
    ] {
        for below in ["", "/container", "/init.scope", "/a.slice/b.service"] {
            let path = format!("{name}{below}");
            assert_eq!(innermost_container(&path), Some(name.as_str()), "{path}");
        }
    }
    for path in [
        "/",
        "/default/web",
        "/user.slice/user-0.slice/session-1.scope",
        "/system.slice/docker.service",
        "/system.slice/docker-.scope",
        "/machine.slice/libpod-conmon-web.scope",
        &format!("/machine.slice/libpod-conmon-{ID}.scope"),
        &format!("/system.slice/container-{ID}.service/supervisor"),
        &format!("{pod}/web.service"),
    ] {
        assert_eq!(innermost_container(path), None, "{path}");
    }
}

#[test]
fn short_ids_match_whole_names_only() {
    for (component, id) in [
        ("session-1.scope", "1"),
        ("user.slice", "user"),
        ("kubepods.slice", "kubepods"),
        ("user-1000.slice", "1000"),
        ("libpod-conmon-web.scope", "web"),
        ("libpod-web.service", "web"),
        ("libpod-webs.scope", "web"),
        ("web.scope", "web"),
        ("x-web", "web"),
        ("machine.slice", ""),
    ] {
        assert!(!carries(component, id), "{id} in {component}");
    }
    for component in [
        "a",
        "libpod-a",
        "libpod-a.scope",
        "libpod-payload-a",
        "youki-a.scope",
    ] {
        assert!(carries(component, "a"), "{component}");
    }
}

#[test]
fn long_ids_match_between_other_characters() {
    for component in [
        ID.to_owned(),
        format!("nerdctl-{ID}.scope"),
        format!("x_{ID}"),
    ] {
        assert!(carries(&component, ID), "{component}");
    }
    for component in [
        format!("a{ID}"),
        format!("{ID}0"),
        format!("libpod-conmon-{ID}.scope"),
        format!("crio-conmon-{ID}.scope"),
    ] {
        assert!(!carries(&component, ID), "{component}");
    }
}

/// A short hexadecimal id may be a word in some other name.
#[test]
fn an_id_is_long_from_32_digits_on() {
    let component = |id: &str| format!("nerdctl-{id}.scope");
    let (short, long) = (&ID[..31], &ID[..32]);
    assert!(carries(&component(long), long));
    assert!(!carries(&component(short), short));
    // Just as long, but not hexadecimal.
    let name = "z".repeat(32);
    assert!(!carries(&component(&name), &name));
    assert!(carries(&name, &name));
}

#[test]
fn only_full_ids_are_those_of_another_container() {
    for path in [
        "/cafe".to_owned(),
        "/tenants/beef-1".to_owned(),
        format!("/{}", &ID[..63]),
        format!("/{}", "z".repeat(64)),
    ] {
        assert_eq!(choose(&path, "web").unwrap(), path);
    }
}

#[test]
fn a_cgroup_has_its_engines_name() {
    let web = |prefix: &str| format!("/system.slice/{prefix}{ID}.scope");
    for (path, engine) in [
        (web("libpod-"), Some("podman")),
        (web("crio-"), Some("cri-o")),
        (web("cri-containerd-"), Some("containerd")),
        (web("docker-"), Some("docker")),
        (web("buildah-"), Some("buildah")),
        (web("nerdctl-"), None),
        (format!("/docker/{ID}"), Some("docker")),
        (format!("/docker/x/{ID}"), None),
        (format!("/pod/{ID}"), None),
        (
            format!("/docker-{OTHER}.scope/libpod-{ID}/container"),
            Some("podman"),
        ),
    ] {
        assert_eq!(container(&path), Some((engine, ID)), "{path}");
    }
    for path in ["/", "/web", "/docker/cafe"] {
        assert_eq!(container(path), None, "{path}");
    }
}

#[test]
fn the_last_component_names_the_container() {
    assert!(names(&format!("/a/libpod-{ID}.scope"), ID));
    assert!(names("/tenants/web", "web"));
    assert!(!names(&format!("/a/libpod-{ID}.scope/container"), ID));
    assert!(!names("/web/tenants", "web"));
}

#[test]
fn only_the_root_is_the_root() {
    for path in ["/", "", "//"] {
        assert!(is_root(path) && refuse_root(path).is_err(), "{path:?}");
    }
    for path in ["/a", "/a/", "a"] {
        assert!(!is_root(path) && refuse_root(path).is_ok(), "{path:?}");
    }
}

#[test]
fn containment_goes_by_components() {
    assert!(contains("/a", "/a"));
    assert!(contains("/a", "/a/b"));
    assert!(contains("/", "/a"));
    assert!(!contains("/a", "/ab"));
    assert!(!contains("/a/b", "/a"));
}

#[test]
fn paths_that_the_kernel_does_not_write_are_refused() {
    // Two spellings of one cgroup would not compare equal.
    for path in ["", "a", "//", "/a/", "/a//b", "/.", "/./a", "/a/."] {
        let error = parse_proc(&format!("0::{path}\n")).unwrap_err();
        assert!(
            error.to_string().contains("is not absolute and normalised"),
            "{error}"
        );
    }
    for path in ["/..", "/../a", "/a/..", "/a/../b"] {
        let error = parse_proc(&format!("0::{path}\n")).unwrap_err();
        assert!(error.to_string().contains("cgroup namespace"), "{error}");
    }
}

#[test]
fn a_name_may_end_in_a_carriage_return() {
    assert_eq!(parse_proc("0::/a\r\n").unwrap(), "/a\r");
}

proptest! {
    #[test]
    fn a_path_is_what_the_kernel_wrote(
        path in "(/[^/\n]{0,11}[^/\n.]){0,4}", before in "([1-9]:[a-z]{1,5}:/[a-z]{0,5}\n){0,3}"
    ) {
        let path = if path.is_empty() { "/" } else { &path };
        prop_assert_eq!(parse_proc(&format!("{before}0::{path}\n")).unwrap(), path);
    }

    #[test]
    fn the_choice_is_on_the_path_and_never_the_root(
        path in "(/[a-z0-9.-]{1,12}){0,6}",
        id in "[a-z0-9]{1,4}",
    ) {
        let path = if path.is_empty() { "/".to_owned() } else { path };
        match choose(&path, &id) {
            Ok(chosen) => {
                prop_assert!(contains(&chosen, &path));
                prop_assert!(chosen.len() > 1);
                let leaf = chosen.rsplit('/').next().unwrap_or_default();
                prop_assert!(chosen == path || carries(leaf, &id));
            }
            Err(_) => prop_assert_eq!(path, "/"),
        }
    }

    #[test]
    fn the_innermost_match_wins(above in "(/[a-z]{1,8}\\.slice){0,3}", below in "(/[a-z]{1,8}){0,3}") {
        let wanted = format!("{above}/docker-{ID}.scope/libpod-{ID}.scope");
        let path = format!("{wanted}{below}");
        prop_assert_eq!(choose(&path, ID).unwrap(), wanted);
    }

    #[test]
    fn any_text_is_survived(text in "\\PC{0,80}", id in "\\PC{0,70}") {
        if let Ok(path) = parse_proc(&text) {
            let _ = choose(&path, &id);
        }
        let _ = choose(&text, &id);
    }
}
