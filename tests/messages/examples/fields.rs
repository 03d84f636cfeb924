//! The table of the fields of `status --json`, against a real one.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::block;

/// Fails unless the document's table has each field of its example, and no
/// other one.
pub fn assert_explained(document: &str) -> Result<()> {
    let example = block(document, "status --json")?;
    let json = &example[example.find('{').context("no JSON")?..];
    let mut fields = BTreeSet::new();
    collect(&serde_json::from_str(json)?, "", &mut fields);
    let explained: BTreeSet<_> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(field, _)| field.to_owned())
        .collect();
    let missing: Vec<_> = fields.difference(&explained).collect();
    ensure!(missing.is_empty(), "not explained: {missing:?}");
    let surplus: Vec<_> = explained.difference(&fields).collect();
    ensure!(surplus.is_empty(), "explained, but not there: {surplus:?}");
    Ok(())
}

/// The paths of a value's fields. What is counted for each program has the same
/// fields.
fn collect(value: &Value, path: &str, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let key = if path.ends_with(".calls") {
                    "PROGRAM"
                } else {
                    key
                };
                let dot = if path.is_empty() { "" } else { "." };
                collect(value, &format!("{path}{dot}{key}"), fields);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                collect(item, &format!("{path}[]"), fields);
            }
        }
        _ => {
            fields.insert(path.to_owned());
        }
    }
}
