//! What to change in a rejected command line, where clap does not say it.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Adds what is missing if the command that is to be run has no `--` before it.
pub fn add(mut error: Error) -> Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    if error.kind() == ErrorKind::UnknownArgument && !word.starts_with('-') && takes_command(&error)
    {
        let tip = format!("to run '{word}', write '--' before it: '-- {word}'");
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// Whether it is an error of `run`, the only command whose usage has `--`.
fn takes_command(error: &Error) -> bool {
    let usage = error.get(ContextKind::Usage);
    usage.is_some_and(|usage| usage.to_string().contains(" -- "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    fn message(line: &str) -> String {
        let error = Cli::try_parse_from(line.split(' ')).expect_err("a bad command line");
        add(error).to_string()
    }

    #[test]
    fn a_command_without_dashes_is_told_of_them() {
        let text = message("x run --ipv4 192.0.2.10 python3 -m http.server");
        assert!(
            text.contains("write '--' before it: '-- python3'"),
            "{text}"
        );
    }

    #[test]
    fn other_errors_are_left_alone() {
        for line in ["x load eth0", "x run --force -- true", "x status a b"] {
            let text = message(line);
            assert!(!text.contains("write '--'"), "{line}: {text}");
        }
    }
}
