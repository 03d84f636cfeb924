//! Reads what others wrote: up to a limit, and without waiting.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::text::one_line;

/// The longest file that is read, in bytes: configuration files are far shorter.
const LONGEST: u64 = 1 << 20;
/// How many files one directory may have: engines read all of them at each start.
const MOST: usize = 200;

/// A file and its contents, or the reason why they cannot be read.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Its path.
    pub path: PathBuf,
    /// All of it, or the error as text.
    pub bytes: Result<Vec<u8>, String>,
}

/// Reads a whole file, but does not wait for a pipe of that name.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut open = File::options();
    let file = open.read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LONGEST {
        return Err(io::Error::other("longer than 1 MiB"));
    }
    Ok(bytes)
}

/// Reads a file, if there is one.
pub fn contents(path: &Path) -> Option<Contents> {
    let bytes = match read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        read => read.map_err(|error| error.to_string()),
    };
    Some(Contents {
        path: path.to_owned(),
        bytes,
    })
}

/// Reads the files of a directory whose names end in one of the suffixes, in the order of
/// their names; none if there is no such directory. A dangling link does not count.
pub fn listed(directory: &Path, suffixes: &[&str]) -> io::Result<Vec<Contents>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if suffixes.iter().any(|suffix| name.ends_with(suffix)) {
            paths.push(path);
        }
        if paths.len() > MOST {
            return Err(io::Error::other(format!("more than {MOST} files")));
        }
    }
    paths.sort();
    Ok(paths.iter().filter_map(|path| contents(path)).collect())
}

/// Parses a TOML file, as far as `T` has room for it.
///
/// # Errors
///
/// Which file is not understood, and why.
pub fn toml<T: DeserializeOwned>(file: &Contents) -> Result<T, String> {
    parsed(file, |bytes| {
        toml::from_slice(bytes).map_err(|error| error.message().to_owned())
    })
}

/// Parses a JSON file, as far as `T` has room for it.
///
/// # Errors
///
/// As for [`toml`].
pub fn json<T: DeserializeOwned>(file: &Contents) -> Result<T, String> {
    parsed(file, |bytes| {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    })
}

fn parsed<T>(file: &Contents, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<T, String> {
    let parsed = file.bytes.as_deref().map_err(Clone::clone).and_then(parse);
    parsed.map_err(|why| format!("{}: {}", file.path.display(), one_line(&why)))
}

#[cfg(test)]
pub mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// Makes files with these texts.
    pub fn of(texts: &[&str]) -> Vec<Contents> {
        let file = |text: &&str| Contents {
            path: "/etc/a.conf".into(),
            bytes: Ok(text.as_bytes().to_vec()),
        };
        texts.iter().map(file).collect()
    }

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        fs::write(path("long.json"), vec![b' '; (1 << 20) + 1]).unwrap();
        fs::write(path("short.json"), "{}").unwrap();
        fs::write(path("other.txt"), "").unwrap();
        fs::create_dir(path("directory.json")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("link.json")).unwrap();
        mknodat(CWD, path("pipe.json"), FileType::Fifo, Mode::RWXU, 0).unwrap();

        let found = listed(directory.path(), &[".json"]).unwrap();
        let found: Vec<_> = found
            .into_iter()
            .map(|file| {
                let name = file.path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, file.bytes.map_err(|_| ()))
            })
            .collect();
        let bad = |name: &str| (name.to_owned(), Err(()));
        assert_eq!(
            found,
            [
                bad("directory.json"),
                bad("long.json"),
                bad("pipe.json"),
                ("short.json".to_owned(), Ok(b"{}".to_vec())),
            ]
        );
    }
}
