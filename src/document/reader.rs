//! Takes keys out of a table one by one; what nobody took is unknown, and every mistake is reported, not only the first.

mod spelling;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use spelling::closest;

use super::problem::Findings;
use super::{Node, Table, Value, quoted, text};

/// One table of a document while it is read.
///
/// A key that is absent or wrong comes back as `None`. A wrong one was reported, so a default in its place is never used.
#[derive(Debug)]
pub(crate) struct Section<'f, 's> {
    path: String,
    entries: Table,
    known: Vec<&'static str>,
    findings: &'f mut Findings<'s>,
}

/// Reads one table with `read`, then reports the keys that `read` did not ask for.
pub(crate) fn read_table<'s, T>(
    path: String,
    entries: Table,
    findings: &mut Findings<'s>,
    read: impl FnOnce(&mut Section<'_, 's>) -> T,
) -> T {
    let mut section = Section {
        path,
        entries,
        known: Vec::new(),
        findings,
    };
    let result = read(&mut section);
    section.refuse_the_rest();
    result
}

impl<'s> Section<'_, 's> {
    /// Whether the key is there. To ask for a key is to know it.
    pub(crate) fn has(&mut self, key: &'static str) -> bool {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.contains_key(key)
    }

    /// Text that `parse` turns into what it stands for; `parse` says what it got and what it expected.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.take(key)?;
        let outcome = as_text(&node).and_then(parse);
        self.accept(key, outcome)
    }

    /// Like `parsed`, and reports a key that is absent: `purpose` says what it is for.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        purpose: &str,
    ) -> Option<T> {
        self.require(key, purpose)?;
        self.parsed(key, parse)
    }

    /// Like `whole`, and reports a key that is absent.
    pub(crate) fn required_whole(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        self.require(key, "a whole number")?;
        self.whole(key, range)
    }

    /// Like `flag`, and reports a key that is absent.
    pub(crate) fn required_flag(&mut self, key: &'static str) -> Option<bool> {
        self.require(key, "true or false")?;
        self.flag(key)
    }

    /// Like `duration`, and reports a key that is absent.
    pub(crate) fn required_duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        self.require(key, "a duration such as \"250 ms\"")?;
        self.duration(key, range)
    }

    /// Like `each_parsed`, and reports a list that is absent or empty.
    pub(crate) fn some_parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        self.require(key, "a list of texts")?;
        let parsed = self.each_parsed(key, parse)?;
        if parsed.is_empty() {
            self.report(key, "got an empty list when expecting one entry or more");
            return None;
        }
        Some(parsed)
    }

    /// The path of a file.
    pub(crate) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.parsed(key, text::path)
    }

    /// The path of a file with a secret in it.
    pub(crate) fn secret_path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.parsed(key, text::secret_path)
    }

    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        self.parsed(key, |written| text::duration(written, range))
    }

    pub(crate) fn whole(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let node = self.take(key)?;
        let number = match &node.value {
            Value::Whole(number) => u32::try_from(*number).ok(),
            Value::Variable(written) => written.trim().parse().ok(),
            Value::Text(_)
            | Value::Flag(_)
            | Value::List(_)
            | Value::Table(_)
            | Value::Other(_)
            | Value::Nothing => None,
        };
        let outcome = number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (got, least, most) = (node.shown(), range.start(), range.end());
                format!("got {got} when expecting a whole number from {least} to {most}")
            });
        self.accept(key, outcome)
    }

    pub(crate) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let node = self.take(key)?;
        let flag = match &node.value {
            Value::Flag(flag) => Some(*flag),
            Value::Variable(written) => written.trim().parse().ok(),
            Value::Text(_)
            | Value::Whole(_)
            | Value::List(_)
            | Value::Table(_)
            | Value::Other(_)
            | Value::Nothing => None,
        };
        let outcome =
            flag.ok_or_else(|| format!("got {} when expecting true or false", node.shown()));
        self.accept(key, outcome)
    }

    /// Text that no message repeats.
    pub(crate) fn secret(&mut self, key: &'static str) -> Option<SecretString> {
        let node = self.take(key)?;
        let outcome = match node.value {
            Value::Text(secret) | Value::Variable(secret) => Ok(SecretString::from(secret)),
            Value::Whole(_)
            | Value::Flag(_)
            | Value::List(_)
            | Value::Table(_)
            | Value::Other(_)
            | Value::Nothing => Err("got no text when expecting text in quotes".to_owned()),
        };
        self.accept(key, outcome)
    }

    /// A list of texts; `None` when one of them is wrong.
    pub(crate) fn each_parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let mut parsed = Vec::new();
        let mut is_fine = true;
        for (path, item) in self.list(key, "a list of texts")? {
            match as_text(&item).and_then(&parse) {
                Ok(item) => parsed.push(item),
                Err(what) => {
                    self.findings.report(&path, what);
                    is_fine = false;
                }
            }
        }
        is_fine.then_some(parsed)
    }

    /// A table inside this one. When it is absent, `read` sees an empty one and its defaults come about.
    pub(crate) fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_, 's>) -> T,
    ) -> T {
        let path = self.key_path(key);
        match self.take(key) {
            Some(Node {
                value: Value::Table(entries),
                ..
            }) => read_table(path, entries, self.findings, read),
            Some(node) => {
                let what = format!("got {} when expecting a table", node.shown());
                self.report(key, what);
                // What such a table lacks is not worth another message.
                read_table(path, Table::new(), &mut Findings::new("", b""), read)
            }
            None => read_table(path, Table::new(), self.findings, read),
        }
    }

    /// A list of tables.
    pub(crate) fn each_table<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_, 's>) -> T,
    ) -> Vec<T> {
        let expected = format!("[[{}]], one block for each", self.key_path(key));
        let Some(items) = self.list(key, &expected) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (path, item) in items {
            let Value::Table(entries) = item.value else {
                let what = format!("got {} when expecting a table", item.shown());
                self.findings.report(&path, what);
                continue;
            };
            tables.push(read_table(path, entries, self.findings, &mut read));
        }
        tables
    }

    /// Reports a problem with a key of this table.
    pub(crate) fn report(&mut self, key: &str, what: impl Into<String>) {
        let path = self.key_path(key);
        self.findings.report(&path, what);
    }

    /// Items of a list with their paths, bounded: a file with more is a mistake, not a robot.
    fn list(&mut self, key: &'static str, expected: &str) -> Option<Vec<(String, Node)>> {
        let node = self.take(key)?;
        let outcome = match node.value {
            Value::List(items) if items.len() > LONGEST_LIST => {
                let length = items.len();
                Err(format!(
                    "got {length} entries when expecting at most {LONGEST_LIST}"
                ))
            }
            Value::List(items) => Ok(items),
            Value::Text(_)
            | Value::Variable(_)
            | Value::Whole(_)
            | Value::Flag(_)
            | Value::Table(_)
            | Value::Other(_)
            | Value::Nothing => Err(format!("got {} when expecting {expected}", node.shown())),
        };
        let items = self.accept(key, outcome)?;
        let path = self.key_path(key);
        let mut named = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.findings.remember(&path, &item.place);
            named.push((path, item));
        }
        Some(named)
    }

    fn require(&mut self, key: &'static str, purpose: &str) -> Option<()> {
        if self.has(key) {
            return Some(());
        }
        self.report(key, format!("is missing when expecting {purpose}"));
        None
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        if !self.has(key) {
            return None;
        }
        let node = self.entries.remove(key)?;
        let path = self.key_path(key);
        self.findings.remember(&path, &node.place);
        Some(node)
    }

    fn accept<T>(&mut self, key: &str, outcome: Result<T, String>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(what) => {
                self.report(key, what);
                None
            }
        }
    }

    fn refuse_the_rest(self) {
        for (key, node) in &self.entries {
            let what = match closest(key, &self.known) {
                Some(known) => format!("unknown key, did you mean {known}?"),
                None => format!(
                    "unknown key when expecting one of {}",
                    self.known.join(", ")
                ),
            };
            // The value is not shown: what sits under a wrong name may well be a secret.
            let path = join(&self.path, quoted(key).trim_matches('"'));
            self.findings.report_at(node.place.clone(), &path, what);
        }
    }

    fn key_path(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

pub(crate) fn as_text(node: &Node) -> Result<&str, String> {
    match &node.value {
        Value::Text(text) | Value::Variable(text) => Ok(text),
        Value::Whole(_)
        | Value::Flag(_)
        | Value::List(_)
        | Value::Table(_)
        | Value::Other(_)
        | Value::Nothing => Err(format!(
            "got {} when expecting text in quotes",
            node.shown()
        )),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// More cameras than any board encodes, and more ICE servers than any browser likes to ask (Chromium warns from five on).
pub(crate) const LONGEST_LIST: usize = 16;
