//! Files that are read, and files that are not trusted; as root.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

/// Any user but root.
const ALICE: u32 = 1000;

/// A directory with a trusted file in it.
struct Scratch {
    directory: TempDir,
    file: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        fs::write(&file, "allow = []\n").unwrap();
        Self { directory, file }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn refusal(path: &Path) -> String {
    format!("{:#}", read(path, false).unwrap_err())
}

/// Asserts that `config` is not trusted because of `what`.
fn assert_distrusts(config: &Path, what: &str) {
    let message = refusal(config);
    let start = format!("configuration {}", shown(config));
    assert!(message.starts_with(&start), "{message}");
    assert!(message.contains(what), "{message}");
    assert!(message.contains("can be changed by others"), "{message}");
}

#[test]
fn a_file_is_read() {
    let scratch = Scratch::new();
    let found = read(&scratch.file, false).unwrap();
    assert_eq!(found.as_deref(), Some(b"allow = []\n".as_slice()));
    assert_eq!(read(&scratch.file, true).unwrap(), found);
}

#[test]
fn the_limit_is_exact() {
    let scratch = Scratch::new();
    let limit = usize::try_from(LIMIT).unwrap();
    fs::write(&scratch.file, vec![b'\n'; limit]).unwrap();
    let found = read(&scratch.file, false).unwrap().unwrap();
    assert_eq!(found.len(), limit);
    fs::write(&scratch.file, vec![b'\n'; limit + 1]).unwrap();
    let message = refusal(&scratch.file);
    assert!(message.contains("longer than 1048576 bytes"), "{message}");
}

#[test]
fn a_missing_file_is_none_unless_required() {
    let scratch = Scratch::new();
    for name in ["missing", "no/such/directory"] {
        assert_eq!(read(&scratch.at(name), false).unwrap(), None, "{name}");
        let error = format!("{:#}", read(&scratch.at(name), true).unwrap_err());
        assert!(error.contains("No such file"), "{error}");
    }
    symlink("missing", scratch.at("link")).unwrap();
    let error = refusal(&scratch.at("link"));
    assert!(error.contains("No such file"), "{error}");
    // A file that cannot be looked at is not a missing one.
    let error = refusal(&scratch.at("config.toml/below"));
    assert!(error.contains("Not a directory"), "{error}");
}

/// Somebody may have removed it.
#[test]
fn the_way_to_a_missing_file_is_judged() {
    let scratch = Scratch::new();
    allow(scratch.directory.path(), 0o777);
    let what = format!("directory {} ", shown(scratch.directory.path()));
    assert_distrusts(&scratch.at("missing"), &what);
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let scratch = Scratch::new();
    let fifo = scratch.at("fifo");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, mode, 0).unwrap();
    let (sender, receiver) = mpsc::channel();
    let path = fifo.clone();
    thread::spawn(move || sender.send(refusal(&path)));
    // Nobody writes to it, so an open that waits would wait forever.
    let message = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    let fifo = shown(&fifo);
    assert_eq!(
        message,
        format!("configuration {fifo} is not a regular file")
    );
    let message = refusal(scratch.directory.path());
    assert!(message.contains("is not a regular file"), "{message}");
}

#[test]
fn a_file_that_others_can_change_is_refused() {
    let scratch = Scratch::new();
    let name = shown(&scratch.file);
    allow(&scratch.file, 0o666);
    let remedy = format!("chown root {name}; chmod go-w {name}");
    assert_distrusts(&scratch.file, &remedy);
    allow(&scratch.file, 0o644);
    read(&scratch.file, false).unwrap();
    chown(&scratch.file, Some(ALICE), None).unwrap();
    assert_distrusts(&scratch.file, &remedy);
}

#[test]
fn a_directory_that_others_can_change_is_refused() {
    let scratch = Scratch::new();
    let deep = scratch.at("outer/inner");
    fs::create_dir_all(&deep).unwrap();
    let file = deep.join("config.toml");
    fs::write(&file, "").unwrap();
    read(&file, false).unwrap();
    let outer = scratch.at("outer");
    allow(&outer, 0o777);
    let name = shown(&outer);
    let what = format!("directory {name} ");
    assert_distrusts(&file, &what);
    assert_distrusts(&file, &format!("chown root {name}; chmod go-w {name}"));
}

#[test]
fn links_on_the_way_are_followed_and_judged() {
    let scratch = Scratch::new();
    let elsewhere = scratch.at("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("config.toml"), "debug = true\n").unwrap();
    symlink("elsewhere", scratch.at("link")).unwrap();
    let file = scratch.at("link/config.toml");
    assert!(read(&file, false).unwrap().is_some());

    // The directory that a link leads to.
    allow(&elsewhere, 0o777);
    assert_distrusts(&file, &format!("directory {} ", shown(&elsewhere)));
    allow(&elsewhere, 0o755);

    let link = scratch.at("link");
    lchown(&link, Some(ALICE), None).unwrap();
    let name = shown(&link);
    assert_distrusts(&file, &format!("link {name} "));
    assert_distrusts(&file, &format!("chown -h root {name}"));
}
