//! Whether every text in the sources has been seen.
//!
//! Every string literal with a blank in it counts as one that a person may
//! read, except in attributes and tests. It has been seen if some message or
//! example has its constant parts, in order, with anything where a value is
//! filled in. In the place of a message (`bail!`, `context` and the like) it has
//! to begin and end where a part of the message does. The same text in two
//! places of the sources is one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use oci_bind_hook_tests::harness;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use regex::Regex;

use crate::never::{NEVER, NOT_SAID};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../hook/src");
/// Macros and methods that take the text of a message.
const SAYING: [&str; 5] = ["bail", "ensure", "anyhow", "context", "with_context"];

/// A text in the sources.
#[derive(Debug)]
struct Text {
    file: PathBuf,
    text: String,
    is_message: bool,
}

/// Fails if a text has neither been seen nor is one of those that cannot be, or
/// if one of those has been seen or is gone.
pub fn assert_complete(seen: &[String]) -> Result<()> {
    let root = Path::new(SOURCES);
    if !root.exists() {
        return Err(harness::skip(format!("no sources in {SOURCES}")));
    }
    let mut texts = Vec::new();
    let mut known = Constants::new();
    for file in files(root)? {
        let source = fs::read_to_string(&file)?;
        constants(&source, &mut known)?;
        let tokens: TokenStream = source
            .parse()
            .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
        let file = file.strip_prefix(root)?;
        collect(tokens, false, &mut |text, is_message| {
            texts.push(Text {
                file: file.to_owned(),
                text,
                is_message,
            });
        })?;
    }
    ensure!(texts.len() > 100, "these are not all sources: {texts:?}");
    let unseen: Vec<_> = NEVER.iter().chain(NOT_SAID).collect();
    let mut wrong = Vec::new();
    for text in &texts {
        let excuse = unseen
            .iter()
            .find(|unseen| unseen.is_about(&text.file, &text.text));
        match (is_seen(text, &known, seen)?, excuse) {
            (false, None) => wrong.push(format!("nobody has seen {text:?}")),
            // That of a whole file is for those of its texts that need one.
            (true, Some(excuse)) if !excuse.text.is_empty() => {
                wrong.push(format!("seen all the same: {text:?}"));
            }
            _ => {}
        }
    }
    for unseen in unseen {
        if !texts
            .iter()
            .any(|text| unseen.is_about(&text.file, &text.text))
        {
            wrong.push(format!("gone: {unseen:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The Rust files below a directory, without those of tests.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default();
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Finds the texts among tokens; `is_message` for what is inside of a macro or
/// method that takes a message.
fn collect(
    tokens: TokenStream,
    is_message: bool,
    found: &mut dyn FnMut(String, bool),
) -> Result<()> {
    let mut tokens = tokens.into_iter().peekable();
    let mut is_said = false;
    while let Some(token) = tokens.next() {
        match token {
            // An attribute. What follows one for tests is left out to its end.
            TokenTree::Punct(sign) if sign.as_char() == '#' => {
                // An inner one has a sign more.
                tokens.next_if(|token| token.to_string() == "!");
                let attribute = tokens.next().map(|token| token.to_string());
                if attribute.is_some_and(|attribute| attribute.contains("cfg (test)")) {
                    tokens.find(|token| match token {
                        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                        TokenTree::Punct(sign) => sign.as_char() == ';',
                        _ => false,
                    });
                }
            }
            TokenTree::Ident(name) => is_said = SAYING.contains(&name.to_string().as_str()),
            TokenTree::Punct(sign) if sign.as_char() == '!' => {}
            TokenTree::Group(group) => {
                collect(group.stream(), is_message || is_said, found)?;
                is_said = false;
            }
            TokenTree::Literal(literal) => {
                if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                    && text.value().trim().contains(' ')
                {
                    found(text.value(), is_message);
                }
            }
            TokenTree::Punct(_) => is_said = false,
        }
    }
    Ok(())
}

/// The texts that constants of a name have, in any file.
type Constants = BTreeMap<String, Vec<String>>;

/// Finds the constants that are a text.
fn constants(source: &str, found: &mut Constants) -> Result<()> {
    let constant = Regex::new(r#"const ([A-Z_]+): &str =\s*("(?:[^"\\]|\\[\s\S])*");"#)?;
    for captures in constant.captures_iter(source) {
        let text = syn::parse_str::<syn::LitStr>(&captures[2])?.value();
        found.entry(captures[1].to_owned()).or_default().push(text);
    }
    Ok(())
}

fn is_seen(text: &Text, constants: &Constants, seen: &[String]) -> Result<bool> {
    let Some(pattern) = pattern(text, constants)? else {
        return Ok(true);
    };
    Ok(seen.iter().any(|seen| pattern.is_match(seen)))
}

/// What a text looks like when it is said; none if it has no words of its own.
fn pattern(text: &Text, constants: &Constants) -> Result<Option<Regex>> {
    let filled = Regex::new(r"\{([^{}]*)\}")?;
    let trimmed = text.text.trim();
    let plain = filled.replace_all(trimmed, " ");
    if !plain.contains(char::is_alphabetic) {
        return Ok(None);
    }
    // "open {}" says little: then what is filled in has to be one word too.
    let is_short = plain.split_whitespace().count() == 1 && trimmed.ends_with("{}");
    let mut body = String::new();
    let mut at = 0;
    for captures in filled.captures_iter(trimmed) {
        let place = captures.get(0).context("a match")?;
        body.push_str(&regex::escape(&trimmed[at..place.start()]));
        body.push_str(&match constants.get(&captures[1]) {
            Some(texts) => {
                let texts: Vec<_> = texts.iter().map(|text| regex::escape(text)).collect();
                format!("(?:{})", texts.join("|"))
            }
            None if is_short => r"\S+?".to_owned(),
            None => ".+?".to_owned(),
        });
        at = place.end();
    }
    body.push_str(&regex::escape(&trimmed[at..]));
    if text.is_message {
        body = format!("(?:^|: ){body}(?:$|: )");
    }
    Ok(Some(Regex::new(&body)?))
}
