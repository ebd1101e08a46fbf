//! What people write in TOML, read key by key: a tree of values that know where they came from.
//!
//! Nothing is guessed and nothing is skipped. A key that nobody asks for is unknown, and every mistake is told with file, line, key,
//! what was found and what was expected.

pub(crate) mod problem;
pub(crate) mod reader;
pub(crate) mod text;

use std::collections::BTreeMap;

use toml::de::{DeInteger, DeTable, DeValue};

pub use problem::{DocumentError, Problem};

use problem::{Findings, Place};

/// A value and where to mend it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where its key stands, or the value itself in a list.
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
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

pub(crate) type Table = BTreeMap<String, Node>;

impl Node {
    /// What to show after `got`. Text is cut: a message must stay one line.
    pub(crate) fn shown(&self) -> String {
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

/// Lays one document over another, key by key; a list is one value. What is below is told by its file's name from then on.
pub(crate) fn lay_over(below: &Table, over: Table) -> Table {
    let mut merged = below.clone();
    for (key, node) in over {
        let node = match (merged.remove(&key), node) {
            (
                Some(Node {
                    value: Value::Table(below),
                    ..
                }),
                Node {
                    place,
                    value: Value::Table(over),
                },
            ) => Node {
                place,
                value: Value::Table(lay_over(&below, over)),
            },
            (_, node) => node,
        };
        merged.insert(key, node);
    }
    merged
}

/// Forgets where in `file` everything stands: the file was read, and is fine.
pub(crate) fn settle(table: &mut Table, file: &str) {
    table.values_mut().for_each(|node| settle_node(node, file));
}

fn settle_node(node: &mut Node, file: &str) {
    if let Place::Offset(_) = node.place {
        node.place = Place::File(file.to_owned());
    }
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| settle_node(item, file)),
        Value::Table(entries) => settle(entries, file),
        Value::Text(_)
        | Value::Variable(_)
        | Value::Whole(_)
        | Value::Flag(_)
        | Value::Other(_)
        | Value::Nothing => {}
    }
}

/// Reads the file. Every mistake in its syntax goes to `findings`.
pub(crate) fn parse(source: &[u8], findings: &mut Findings<'_>) -> Table {
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

/// Reads one value as it would stand behind a key. `place` is that of everything in it.
pub(crate) fn parse_value(text: &str, place: &Place) -> Result<Value, String> {
    match DeValue::parse(text) {
        Ok(value) => Ok(from_value(value.into_inner(), &|_| place.clone())),
        Err(error) => Err(one_line(error.message())),
    }
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
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(MOST_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("\"{}\"", shown.escape_debug())
}

/// A path or an address in full, and not a whole certificate pasted in the wrong place.
const MOST_SHOWN: usize = 120;
