//! The shell completions, in a real shell.

use std::process::Command;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../packaging/completions/oci-bind-hook.bash"
);

/// Completes the last of these words as bash does, which calls the function that the script
/// has registered.
fn completed(words: &[&str]) -> Vec<String> {
    const COMPLETE: &str = r#"
        source "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _oci__bind__hook "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash")
        .args(["-c", COMPLETE, "bash", SCRIPT, "oci-bind-hook"])
        .args(words)
        .output()
        .expect("run bash");
    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("words in UTF-8");
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_their_options() {
    for (words, expected) in [
        (&["st"][..], &["status"][..]),
        (&["create-"], &["create-runtime"]),
        (&["status", "--w"], &["--watch"]),
        (&["attach", "--c"], &["--cgroup", "--config"]),
        (&["create-runtime", "--d"], &["--dry-run"]),
        (&["run", "--multi"], &["--multicast"]),
        (&["unload", "--ipv4"], &[]),
    ] {
        assert_eq!(completed(words), expected, "{words:?}");
    }
}
