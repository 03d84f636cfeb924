//! Configuration files that others than root could change or replace, and
//! what is no file at all.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::{self, Output};
use oci_bind_hook_tests::{harness, host};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{MountFlags, mount};
use tempfile::TempDir;

use crate::refusal::assert_refused;

/// Nobody, by the number that every Linux has for it.
const NOBODY: u32 = 65534;
const TEXT: &str = "[defaults]\nloopback = \"host\"\nguard = \"off\"\n";

/// A directory with a directory in it, with the configuration in that.
struct Place {
    outer: TempDir,
    inner: PathBuf,
    config: PathBuf,
}

impl Place {
    fn new() -> Result<Self> {
        let outer = TempDir::new()?;
        let inner = outer.path().join("inner");
        fs::create_dir(&inner)?;
        let config = inner.join("config.toml");
        fs::write(&config, TEXT)?;
        for (path, mode) in [(outer.path(), 0o755), (&inner, 0o755), (&config, 0o644)] {
            set_mode(path, mode)?;
        }
        Ok(Self {
            outer,
            inner,
            config,
        })
    }

    /// A link beside the directory that holds the configuration, to there.
    fn link(&self) -> Result<PathBuf> {
        let link = self.outer.path().join("link.toml");
        symlink("inner/config.toml", &link)?;
        Ok(link)
    }
}

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        accepted("of root alone", |place| Ok(place.config.clone())),
        accepted("in a sticky directory", |place| {
            set_mode(&place.inner, 0o1777)?;
            Ok(place.config.clone())
        }),
        accepted("behind a link", Place::link),
        refused("of another user", |place| {
            own(&place.config)?;
            Found::new(&place.config, &place.config, "uid 65534, its mode 0644")
        }),
        refused("that its group may write", |place| {
            set_mode(&place.config, 0o664)?;
            Found::new(&place.config, &place.config, "uid 0, its mode 0664")
        }),
        refused("that all may write", |place| {
            set_mode(&place.config, 0o646)?;
            Found::new(&place.config, &place.config, "uid 0, its mode 0646")
        }),
        refused("in a directory of another user", |place| {
            own(&place.inner)?;
            Found::new(&place.config, &place.inner, "uid 65534, its mode 0755")
        }),
        refused("in a directory that its group may write", |place| {
            set_mode(&place.inner, 0o775)?;
            Found::new(&place.config, &place.inner, "uid 0, its mode 0775")
        }),
        refused("below a directory that all may write", |place| {
            set_mode(place.outer.path(), 0o777)?;
            Found::new(&place.config, place.outer.path(), "uid 0, its mode 0777")
        }),
        refused("in a sticky directory of another user", |place| {
            own(&place.inner)?;
            set_mode(&place.inner, 0o1777)?;
            Found::new(&place.config, &place.inner, "uid 65534, its mode 1777")
        }),
        refused("behind a link, that all may write", |place| {
            set_mode(&place.config, 0o666)?;
            let link = place.link()?;
            Found::new(&link, &link, "uid 0, its mode 0666")
        }),
        refused(
            "behind a link, in a directory that all may write",
            |place| {
                set_mode(&place.inner, 0o777)?;
                Found::new(&place.link()?, &place.inner, "uid 0, its mode 0777")
            },
        ),
        refused("behind a link of another user", |place| {
            let link = place.link()?;
            lchown(&link, Some(NOBODY), Some(NOBODY))?;
            Found::new(&link, &link, "uid 65534")
        }),
        refused("behind a link in a directory that all may write", |place| {
            let link = place.inner.join("link.toml");
            symlink(place.link()?, &link)?;
            set_mode(&place.inner, 0o777)?;
            Found::new(&link, &place.inner, "uid 0, its mode 0777")
        }),
        refused("that is a FIFO", |place| {
            let config = place.inner.join("fifo");
            mknodat(CWD, &config, FileType::Fifo, Mode::RUSR, 0)?;
            Found::new(&config, &config, "not a regular file")
        }),
        refused("that is a device", |_| {
            let config = Path::new("/dev/zero");
            Found::new(config, config, "not a regular file")
        }),
        refused("that is a directory", |place| {
            Found::new(&place.inner, &place.inner, "not a regular file")
        }),
        refused("that has no end", |place| {
            fs::File::create(&place.config)?.set_len(1 << 40)?;
            Found::new(&place.config, &place.config, "longer than 1048576 bytes")
        }),
        harness::trial("configuration that somebody may have removed", || {
            Net::isolated(|_| removed())
        }),
        harness::trial("configuration of the caller, who is not root", || {
            Net::isolated(|_| of_the_caller())
        }),
    ]
}

/// What a refusal names.
struct Found {
    config: PathBuf,
    names: [String; 2],
}

impl Found {
    /// `culprit` is at fault, on the way to `config`.
    fn new(config: &Path, culprit: &Path, what: &str) -> Result<Self> {
        let culprit = culprit.to_str().context("a path that is not UTF-8")?;
        Ok(Self {
            config: config.to_owned(),
            names: [culprit.to_owned(), what.to_owned()],
        })
    }
}

fn accepted(name: &str, make: impl FnOnce(&Place) -> Result<PathBuf> + Send + 'static) -> Trial {
    harness::trial(format!("configuration {name}"), move || {
        Net::isolated(move |_| {
            let place = Place::new()?;
            let container = Container::new()?;
            let output = create(&make(&place)?, &container)?;
            ensure!(output.status.success(), "{output:?}");
            container.cgroup.assert_attached(V4)
        })
    })
}

fn refused(name: &str, make: impl FnOnce(&Place) -> Result<Found> + Send + 'static) -> Trial {
    harness::trial(format!("configuration {name}"), move || {
        Net::isolated(move |_| {
            let place = Place::new()?;
            let found = make(&place)?;
            let container = Container::new()?;
            let output = create(&found.config, &container)?;
            assert_refused(&output, &found.names.each_ref().map(String::as_str))?;
            if found.names[1].starts_with("uid") {
                assert_remedy(&output, &found.names[0])?;
            }
            container.cgroup.assert_bare()
        })
    })
}

/// It ends with a command for the one file that is at fault.
fn assert_remedy(output: &Output, culprit: &str) -> Result<()> {
    let remedies = [
        format!(": chown root {culprit}; chmod go-w {culprit}\n"),
        format!(": chown -h root {culprit}\n"),
    ];
    ensure!(
        remedies
            .iter()
            .any(|remedy| output.stderr.ends_with(remedy)),
        "no remedy for {culprit}: {output:?}"
    );
    Ok(())
}

/// The usual file is not there, and whoever can write to /etc could have
/// removed it, with its lists.
fn removed() -> Result<()> {
    host::private_bpffs()?;
    mount(
        "etc",
        "/etc",
        "tmpfs",
        MountFlags::empty(),
        Some(c"mode=0777"),
    )
    .context("mount a tmpfs at /etc")?;
    let container = Container::new()?;
    let mut command = Command::new(Hook::new()?.binary());
    let state = container.state_with(V4).to_string();
    let output = process::run(command.arg("create-runtime"), state.as_bytes())?;
    assert_refused(&output, &["/etc/oci-bind-hook/config.toml", "mode 0777"])?;
    container.cgroup.assert_bare()?;

    set_mode(Path::new("/etc"), 0o755)?;
    let output = process::run(&mut command, state.as_bytes())?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// What another user writes is theirs to try, and nobody else's to change.
fn of_the_caller() -> Result<()> {
    let place = Place::new()?;
    let binary = place.outer.path().join("oci-bind-hook");
    fs::copy(Hook::new()?.binary(), &binary)?;
    // Root's network namespace is closed to others.
    fs::write(&place.config, "require-local-address = false\n")?;
    own(&place.config)?;
    let container = Container::new()?;
    let dry_run = |uid| {
        let mut command = Command::new(&binary);
        command.arg("--config").arg(&place.config);
        command.args(["create-runtime", "--dry-run"]);
        let state = container.state_with(V4).to_string();
        process::run(command.uid(uid).gid(uid), state.as_bytes())
    };
    let output = dry_run(NOBODY)?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(output.stdout.contains("192.0.2.10"), "{output:?}");
    assert_refused(&dry_run(NOBODY - 1)?, &["uid 65534"])
}

fn create(config: &Path, container: &Container) -> Result<Output> {
    let mut command = Command::new(Hook::new()?.binary());
    command.arg("--config").arg(config).arg("create-runtime");
    process::run(
        &mut command,
        container.state_with(V4).to_string().as_bytes(),
    )
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("change the mode of {}", path.display()))
}

fn own(path: &Path) -> Result<()> {
    chown(path, Some(NOBODY), Some(NOBODY))
        .with_context(|| format!("change the owner of {}", path.display()))
}
