//! Mountinfo of real and of made-up hosts.

use proptest::prelude::*;

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            "../../../../../tests/fixtures/proc/mountinfo/",
            $name
        ))
    };
}

#[test]
fn mounts_of_real_hosts() {
    type Row = (
        &'static str,
        &'static str,
        Option<(&'static str, &'static str)>,
    );
    let table: &[Row] = &[
        (
            "unified",
            fixture!("unified"),
            Some(("/sys/fs/cgroup", "/")),
        ),
        (
            "hybrid",
            fixture!("hybrid"),
            Some(("/sys/fs/cgroup/unified", "/")),
        ),
        ("pure v1", fixture!("v1"), None),
        (
            "initramfs as the root",
            fixture!("initramfs"),
            Some(("/sys/fs/cgroup", "/")),
        ),
        (
            "hybrid with cgroup2 mounted over it in a private mount namespace",
            fixture!("hybrid-private"),
            Some(("/sys/fs/cgroup", "/")),
        ),
        (
            "container with a cgroup namespace",
            fixture!("kind"),
            Some(("/sys/fs/cgroup", "/")),
        ),
        (
            "container without a cgroup namespace",
            fixture!("container-host-cgroupns"),
            Some((
                "/sys/fs/cgroup",
                "/docker/5f2a7c1e9b3d4f60a8c2e4b6d8f0a1c3e5b7d9f1a3c5e7092b4d6f8091a3c5e7",
            )),
        ),
        (
            "host's mount seen from a cgroup namespace",
            fixture!("foreign-root"),
            None,
        ),
        (
            "mount point with a space",
            fixture!("escaped"),
            Some(("/mnt/my cgroup\\2", "/")),
        ),
        ("covered by a tmpfs", fixture!("covered"), None),
    ];
    for (what, text, wanted) in table {
        let found = parse(text);
        let found = found
            .as_ref()
            .map(|mount| (mount.point.to_str().unwrap(), mount.root.as_str()));
        assert_eq!(found, *wanted, "{what}");
    }
}

#[test]
fn hybrid_hosts_have_both() {
    assert!(has_v1(fixture!("hybrid")) && has_v1(fixture!("v1")));
    assert!(!has_v1(fixture!("unified")));
}

#[test]
fn a_path_is_in_the_innermost_mount() {
    let text = fixture!("kind");
    let point = |path| holding(text, Path::new(path)).map(|mount| mount.point);
    assert_eq!(
        point("/sys/fs/cgroup/kubelet/a"),
        Some("/sys/fs/cgroup/kubelet".into())
    );
    assert_eq!(point("/sys/fs/cgroup/a"), Some("/sys/fs/cgroup".into()));
    assert_eq!(point("/sys/fs/cgroups"), None);
}

#[test]
fn a_hidden_mount_does_not_hold_a_path() {
    let held = |text| holding(text, Path::new("/sys/fs/cgroup/unified/a")).unwrap();
    assert_eq!(
        held(fixture!("hybrid")).point,
        Path::new("/sys/fs/cgroup/unified")
    );
    // There, `unified` is an ordinary cgroup.
    assert_eq!(
        held(fixture!("hybrid-private")).point,
        Path::new("/sys/fs/cgroup")
    );
}

#[test]
fn what_is_mounted_through_an_automount_shows() {
    let text = "1 1 0:2 / / rw - rootfs rootfs rw\n\
                20 1 8:1 / / rw - ext4 /dev/vda1 rw\n\
                30 20 0:30 / /mnt/cg rw - autofs systemd-1 rw\n\
                40 30 0:26 / /mnt/cg rw - cgroup2 cgroup2 rw\n";
    assert_eq!(parse(text).unwrap().point, Path::new("/mnt/cg"));
}

/// Mounts of cgroup2, by their roots and points, that do not hide each other.
fn mounts(list: &[(&str, &str)]) -> String {
    let mut id = 30;
    let mut text = String::from("20 1 8:1 / / rw - ext4 /dev/vda1 rw\n");
    for (root, point) in list {
        id += 1;
        text.push_str(&format!(
            "{id} 20 0:{id} {root} {point} rw - cgroup2 cgroup2 rw\n"
        ));
    }
    text
}

#[test]
fn the_whole_hierarchy_is_used_at_its_usual_place() {
    let (usual, one, other) = ("/sys/fs/cgroup", "/mnt/one", "/mnt/other");
    for (list, wanted) in [
        ([("/", usual), ("/", one)], usual),
        ([("/", one), ("/", usual)], usual),
        ([("/", one), ("/", other)], other),
        ([("/", one), ("/a", usual)], one),
        ([("/a", usual), ("/", one)], one),
        ([("/a", usual), ("/b", one)], usual),
    ] {
        let found = parse(&mounts(&list)).unwrap();
        assert_eq!(found.point, Path::new(wanted), "{list:?}");
    }
}

/// Whether /mnt/a/b is visible when a file system is mounted at a point of a parent.
#[test]
fn a_mount_is_hidden_by_what_covers_it_or_what_it_is_in() {
    let text = "20 1 8:1 / / rw - ext4 /dev/vda1 rw\n\
                30 20 8:2 / /mnt/a rw - ext4 /dev/vda2 rw\n\
                40 30 0:26 / /mnt/a/b rw - cgroup2 cgroup2 rw\n";
    for (parent, point, shows) in [
        // On top of it, and on top of what it is in.
        (40, "/mnt/a/b", false),
        (30, "/mnt/a", false),
        // On a directory above it, in the same file system.
        (20, "/mnt", false),
        (40, "/mnt/a/b/c", true),
        (30, "/mnt/a/bb", true),
        (30, "/mnt/a/b2/c", true),
        (20, "/mnt/aa", true),
        (20, "/srv", true),
        // Itself below a later mount (/mnt/a), so not on its path.
        (20, "/mnt/a/b/c", true),
    ] {
        let hider = format!("50 {parent} 0:50 / {point} rw - tmpfs tmpfs rw\n");
        for text in [format!("{text}{hider}"), format!("{hider}{text}")] {
            let found = parse(&text).map(|mount| mount.point);
            let wanted = shows.then(|| PathBuf::from("/mnt/a/b"));
            assert_eq!(found, wanted, "{point} on {parent}");
        }
    }
}

#[test]
fn paths_that_the_kernel_does_not_write_are_left_out() {
    for (root, point) in [
        ("a", "/mnt"),
        ("/", "mnt"),
        ("/..", "/mnt"),
        ("/a/..", "/mnt"),
        ("/\\056\\056", "/mnt"),
        ("/", "/mnt/.."),
    ] {
        let text = format!("30 20 0:30 {root} {point} rw - cgroup2 cgroup2 rw\n");
        assert_eq!(parse(&text), None, "{text}");
    }
}

/// Escapes a path as the kernel does.
fn mangle(path: &str) -> String {
    let mut mangled = String::new();
    for c in path.chars() {
        match c {
            ' ' | '\t' | '\n' | '\\' | '#' => mangled.push_str(&format!("\\{:03o}", c as u32)),
            other => mangled.push(other),
        }
    }
    mangled
}

proptest! {
    #[test]
    fn unescape_undoes_mangle(path in "[a-z/ \t\n\\\\#é]{0,40}") {
        prop_assert_eq!(unescape(&mangle(&path)), OsString::from(path));
    }

    #[test]
    fn a_mount_is_what_the_kernel_wrote(
        root in "/[a-z \t\n\r\\\\#é-]{0,10}", point in "(/[a-z \t\n\r\\\\#é-]{1,10}){1,3}"
    ) {
        let text = format!(
            "30 20 0:30 {} {} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n",
            mangle(&root),
            mangle(&point)
        );
        prop_assert_eq!(parse(&text), Some(Mount { point: point.into(), root }));
    }

    #[test]
    fn any_text_is_survived(text in "(.{0,30} - cgroup2|[1-3] [1-3] 0:1 / /[ab/]{0,3} rw - cgroup2 a b|/|\\\\| |\n|.){0,30}") {
        let _ = parse(&text);
    }
}
