//! Values that a shell can complete.

use std::ffi::OsStr;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command, Error};

/// The parser of a type's own, whose errors name the remedy, with the words that shells
/// complete. Other values that the type accepts, such as an address, remain possible.
#[derive(Clone)]
pub struct Words<T> {
    words: &'static [&'static str],
    value: PhantomData<T>,
}

/// Parses as `T` does, and completes these words.
pub const fn words<T>(words: &'static [&'static str]) -> Words<T> {
    Words {
        words,
        value: PhantomData,
    }
}

impl<T> TypedValueParser for Words<T>
where
    T: FromStr<Err = anyhow::Error> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let parser = StringValueParser::new().try_map(|text| text.parse::<T>());
        parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.words.iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command as Subcommand};
    use crate::input::request::Loopback;
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn every_word_is_a_value() {
        let mut command = Cli::command();
        command.build();
        let run = command.find_subcommand("run").expect("a command");
        for arg in run.get_arguments() {
            let name = arg.get_id();
            for word in arg.get_possible_values() {
                let word = word.get_name();
                let option = format!("--{name}={word}");
                if arg.get_action().takes_values() {
                    let line = ["x", "run", "--ipv4=192.0.2.1", &option, "--", "true"];
                    assert!(Cli::try_parse_from(line).is_ok(), "{option}");
                }
            }
        }
    }

    #[test]
    fn another_value_is_left_to_the_type() {
        let line = "x attach --cgroup /a --ipv4 192.0.2.1 --loopback 127.0.0.9";
        let cli = Cli::try_parse_from(line.split(' ')).expect("a good command line");
        let Subcommand::Attach { policy, .. } = cli.command else {
            panic!("not attach");
        };
        let address = "127.0.0.9".parse().expect("an address");
        assert_eq!(policy.loopback, Some(Loopback::Private(Some(address))));
    }
}
