//! TOML and environment as one tree of values that know where they came from.

use std::collections::BTreeMap;
use std::ffi::OsString;

use toml::de::{DeInteger, DeTable, DeValue};

use super::problem::{Findings, Place};

/// A value and where to mend it.
#[derive(Debug)]
pub(super) struct Node {
    /// Where its key stands, or the value itself in a list.
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Text in quotes.
    Text(String),
    /// The text of an environment variable: the key that it is for decides whether it is a number, a flag or text.
    Variable(String),
    Whole(i64),
    Flag(bool),
    List(Vec<Node>),
    Table(Table),
    /// A value of a kind that no key takes (fraction, date), as it is written.
    Other(String),
    /// Made on the way to a variable's key, and filled before anyone reads it.
    Nothing,
}

pub(super) type Table = BTreeMap<String, Node>;

impl Node {
    /// What to show after `got`. Text is cut: a message must stay one line.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            Value::Text(text) | Value::Variable(text) => quoted(text),
            Value::Whole(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Other(written) => written.clone(),
            Value::Nothing => "nothing".to_owned(),
        }
    }
}

/// Reads the file. Every mistake in its syntax goes to `findings`.
pub(super) fn parse(source: &[u8], findings: &mut Findings<'_>) -> Table {
    let text = match std::str::from_utf8(source) {
        Ok(text) => text,
        Err(error) => {
            let place = Place::Offset(error.valid_up_to());
            findings.report_at(place, "", "got bytes that are not text in UTF-8");
            return Table::new();
        }
    };
    match DeTable::parse(text) {
        Ok(table) => from_table(table.into_inner(), &|offset| Place::Offset(offset)),
        Err(error) => {
            let place = Place::Offset(error.span().map_or(0, |span| span.start));
            findings.report_at(place, "", one_line(error.message()));
            Table::new()
        }
    }
}

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
    match DeValue::parse(&text) {
        Ok(value) => Ok(from_value(value.into_inner(), &|_| place.clone())),
        Err(error) => Err(format!(
            "got a list or table that is not TOML: {}",
            one_line(error.message())
        )),
    }
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

fn from_table(table: DeTable<'_>, place: &dyn Fn(usize) -> Place) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let node = Node {
                place: place(key.span().start),
                value: from_value(value.into_inner(), place),
            };
            (key.into_inner().into_owned(), node)
        })
        .collect()
}

/// The depth is bounded by the TOML parser's own limit on nesting.
fn from_value(value: DeValue<'_>, place: &dyn Fn(usize) -> Place) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => whole(&number),
        DeValue::Float(number) => Value::Other(number.to_string()),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(date) => Value::Other(date.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .into_iter()
                .map(|item| Node {
                    place: place(item.span().start),
                    value: from_value(item.into_inner(), place),
                })
                .collect(),
        ),
        DeValue::Table(entries) => Value::Table(from_table(entries, place)),
    }
}

fn whole(number: &DeInteger<'_>) -> Value {
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) => Value::Whole(number),
        Err(_) => Value::Other("a number that is too big".to_owned()),
    }
}

fn one_line(message: &str) -> String {
    message.trim().replace('\n', ", ")
}

/// Text as TOML would write it on one line, cut where nobody would read on.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(MOST_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("\"{}\"", shown.escape_debug())
}

/// What every variable of ours starts with. After it, `__` goes one level down.
const PREFIX: &str = "ROVERCAST_";

/// Variables of ours that are no configuration keys.
const NOT_KEYS: [&str; 1] = ["LOG"];

/// A path or an address in full, and not a whole certificate pasted in the wrong place.
const MOST_SHOWN: usize = 120;
