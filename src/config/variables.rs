//! The environment laid over the file.

use std::ffi::OsString;

use crate::document::problem::{Findings, Place};
use crate::document::{Node, Table, Value, parse_value};

/// Lays `ROVERCAST_RELAY__URL` and its like over the file. Returns the names of variables that look like ours and are not.
pub(super) fn apply_variables(
    table: &mut Table,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    findings: &mut Findings<'_>,
) -> Vec<String> {
    let mut overrides = Vec::new();
    let mut strange = Vec::new();
    for (name, text) in variables {
        let Some(name) = name.to_str() else { continue };
        let Some(path) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if text.is_empty() || NOT_KEYS.contains(&path) {
            continue;
        }
        let path: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
        if path.len() < 2 {
            strange.push(name.to_owned());
            continue;
        }
        overrides.push((path, name.to_owned(), text));
    }
    // Entries of a list come in their order, and a whole list before its entries.
    overrides.sort_by_cached_key(|(path, ..)| {
        path.iter()
            .map(|part| (part.parse().unwrap_or(usize::MAX), part.clone()))
            .collect::<Vec<(usize, String)>>()
    });
    let mut root = Node {
        place: Place::Offset(0),
        value: Value::Table(std::mem::take(table)),
    };
    for (path, name, text) in overrides {
        let place = Place::Variable(name);
        let key = key_path(&path);
        let outcome = variable_value(text, &place).and_then(|value| {
            let slot = slot(&mut root, &path, &place)?;
            *slot = Node {
                place: place.clone(),
                value,
            };
            Ok(())
        });
        if let Err(what) = outcome {
            findings.report_at(place, &key, what);
        }
    }
    if let Value::Table(entries) = root.value {
        *table = entries;
    }
    strange
}

/// Lists and inline tables are written as in the file; everything else is taken as it stands.
fn variable_value(text: OsString, place: &Place) -> Result<Value, String> {
    let text = text
        .into_string()
        .map_err(|_| "got bytes that are not text in UTF-8".to_owned())?;
    if !text.starts_with(['[', '{']) {
        return Ok(Value::Variable(text));
    }
    parse_value(&text, place)
        .map_err(|what| format!("got a list or table that is not TOML: {what}"))
}

/// Finds the node at `path`, making what is missing on the way.
fn slot<'t>(root: &'t mut Node, path: &[String], place: &Place) -> Result<&'t mut Node, String> {
    let mut node = root;
    for (depth, part) in path.iter().enumerate() {
        let index = part.parse::<usize>().ok();
        if let Value::Nothing = node.value {
            node.value = match index {
                Some(_) => Value::List(Vec::new()),
                None => Value::Table(Table::new()),
            };
        }
        let new = || Node {
            place: place.clone(),
            value: Value::Nothing,
        };
        node = match &mut node.value {
            Value::Table(entries) => entries.entry(part.clone()).or_insert_with(new),
            Value::List(items) => {
                let length = items.len();
                if index == Some(length) {
                    items.push(new());
                }
                index
                    .and_then(|index| items.get_mut(index))
                    .ok_or_else(|| {
                        format!("got \"{part}\" when expecting an index from 0 to {length}")
                    })?
            }
            Value::Text(_)
            | Value::Variable(_)
            | Value::Whole(_)
            | Value::Flag(_)
            | Value::Other(_)
            | Value::Nothing => {
                let around = key_path(&path[..depth]);
                return Err(format!("cannot be set because {around} is not a table"));
            }
        };
    }
    Ok(node)
}

/// `["camera", "0", "fps"]` as people write it: `camera[0].fps`.
fn key_path(parts: &[String]) -> String {
    let mut key = String::new();
    for part in parts {
        if part.parse::<usize>().is_ok() {
            key.push_str(&format!("[{part}]"));
        } else {
            if !key.is_empty() {
                key.push('.');
            }
            key.push_str(part);
        }
    }
    key
}

/// What every variable of ours starts with. After it, `__` goes one level down.
const PREFIX: &str = "ROVERCAST_";

/// Variables of ours that are no configuration keys.
const NOT_KEYS: [&str; 1] = ["LOG"];
