//! What is wrong with a document, and where: `rovercast.toml:7:9: camera[0].fps: got "thirty" when expecting …`.

use std::collections::BTreeMap;
use std::fmt;

/// One thing that is wrong (or, as a warning, unwise), with the place to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: String,
    key: String,
    what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// Everything that is wrong with a document, in the order of the file, one problem a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(problems))]
pub struct DocumentError {
    problems: Vec<Problem>,
}

impl DocumentError {
    /// Never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(crate) fn unless_empty(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        Err(Self { problems })
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// Where a value came from. The order is the order of reporting: the file from top to bottom, then the variables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// So many bytes into the file.
    Offset(usize),
    /// Another file of this name, which is fine by itself.
    File(String),
    /// An environment variable of this name.
    Variable(String),
}

/// Collects what is wrong while a document is read, and remembers where each key stands.
#[derive(Debug)]
pub(crate) struct Findings<'s> {
    file: &'s str,
    source: &'s [u8],
    places: BTreeMap<String, Place>,
    problems: Vec<(Option<Place>, Problem)>,
    /// There was more to report.
    is_cut: bool,
}

impl<'s> Findings<'s> {
    /// `source` is the content of `file`, which need not be text.
    pub(crate) fn new(file: &'s str, source: &'s [u8]) -> Self {
        Self {
            file,
            source,
            places: BTreeMap::new(),
            problems: Vec::new(),
            is_cut: false,
        }
    }

    pub(crate) fn remember(&mut self, key: &str, place: &Place) {
        self.places.insert(key.to_owned(), place.clone());
    }

    /// Reports a problem with a key, at its place or that of the nearest table around it.
    pub(crate) fn report(&mut self, key: &str, what: impl Into<String>) {
        let place = nearest(&self.places, key).cloned();
        self.push(place, key, what.into());
    }

    pub(crate) fn report_at(&mut self, place: Place, key: &str, what: impl Into<String>) {
        self.push(Some(place), key, what.into());
    }

    pub(crate) fn file(&self) -> &'s str {
        self.file
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// In the order of the file.
    pub(crate) fn into_error(mut self) -> DocumentError {
        self.problems.sort_by(|(a, _), (b, _)| a.cmp(b));
        let rest = self.is_cut.then(|| Problem {
            place: self.file.to_owned(),
            key: String::new(),
            what: "and more".to_owned(),
        });
        let problems = self.problems.into_iter().map(|(_, problem)| problem);
        DocumentError {
            problems: problems.chain(rest).collect(),
        }
    }

    pub(crate) fn into_places(self) -> Places {
        let keys = self.places.iter();
        Places {
            keys: keys
                .map(|(key, place)| (key.clone(), self.name(place)))
                .collect(),
            file: self.file.to_owned(),
        }
    }

    fn push(&mut self, place: Option<Place>, key: &str, what: String) {
        if self.problems.len() == MOST_PROBLEMS {
            self.is_cut = true;
            return;
        }
        let problem = Problem {
            place: match &place {
                Some(place) => self.name(place),
                None => self.file.to_owned(),
            },
            key: key.to_owned(),
            what,
        };
        self.problems.push((place, problem));
    }

    fn name(&self, place: &Place) -> String {
        match place {
            Place::Offset(offset) => {
                let (line, column) = line_and_column(self.source, *offset);
                format!("{}:{line}:{column}", self.file)
            }
            Place::File(name) | Place::Variable(name) => name.clone(),
        }
    }
}

/// Where each key of a document came from, for problems that are found after reading it.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    file: String,
    keys: BTreeMap<String, String>,
}

impl Places {
    /// For a document that is in no file; `name` stands in its place.
    pub(crate) fn none(name: &str) -> Self {
        Self {
            file: name.to_owned(),
            keys: BTreeMap::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.keys.keys()
    }

    pub(crate) fn problem(&self, key: &str, what: impl Into<String>) -> Problem {
        Problem {
            place: nearest(&self.keys, key).unwrap_or(&self.file).clone(),
            key: key.to_owned(),
            what: what.into(),
        }
    }
}

/// Looks up `camera[0].bitrate.min`, else `camera[0].bitrate`, else `camera[0]`, else `camera`.
fn nearest<'p, T>(places: &'p BTreeMap<String, T>, key: &str) -> Option<&'p T> {
    let mut key = key;
    loop {
        if let Some(place) = places.get(key) {
            return Some(place);
        }
        key = &key[..key.rfind(['.', '['])?];
    }
}

/// Both count from 1; the column counts characters, as editors do.
fn line_and_column(source: &[u8], offset: usize) -> (usize, usize) {
    let before = &source[..offset.min(source.len())];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let is_first_of_character = |byte: &&u8| **byte & 0xC0 != 0x80;
    let column = 1 + before[line_start..]
        .iter()
        .filter(is_first_of_character)
        .count();
    (line, column)
}

/// A file that is no configuration at all would otherwise fill the terminal with one line per key.
const MOST_PROBLEMS: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_not_bytes() {
        let source = "a = 1\nname = \"é\" x".as_bytes();

        assert_eq!(line_and_column(source, 0), (1, 1));
        assert_eq!(line_and_column(source, source.len() - 1), (2, 12));
        assert_eq!(line_and_column(source, usize::MAX), (2, 13));
    }

    #[test]
    fn a_key_without_a_place_is_reported_at_the_table_around_it() {
        let mut findings = Findings::new("rovercast.toml", b"\n[relay]\n");
        findings.remember("relay", &Place::Offset(1));

        findings.report("relay.url", "is missing");
        findings.report("robot.id", "is missing");

        assert_eq!(
            findings.into_error().to_string(),
            "rovercast.toml: robot.id: is missing\nrovercast.toml:2:1: relay.url: is missing"
        );
    }
}
