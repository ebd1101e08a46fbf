//! Texts that are almost right.
#![allow(clippy::unwrap_used)] // a test's helper: a panic is its way to fail
#![allow(dead_code)] // several suites share this, and none needs all of it

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rovercast::viewer::IceCandidate;

pub(crate) struct Mutation {
    random: StdRng,
    rounds: Option<usize>,
}

impl Mutation {
    /// The same texts each time, unless `ROVERCAST_FUZZ` says how many others are wanted.
    pub(crate) fn seeded() -> Self {
        let rounds = std::env::var("ROVERCAST_FUZZ").ok();
        let rounds = rounds.map(|rounds| rounds.parse().unwrap());
        let seed = rounds.map_or(7, |_| rand::random());
        Self {
            random: StdRng::seed_from_u64(seed),
            rounds,
        }
    }

    pub(crate) fn rounds(&self, usual: usize) -> usize {
        self.rounds.unwrap_or(usual)
    }

    /// `text` with one to four things wrong.
    pub(crate) fn of(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for _ in 0..self.random.random_range(1..=4) {
            text = self.once(&text);
        }
        text
    }

    pub(crate) fn candidate(&mut self, corpus: &[&str]) -> IceCandidate {
        let line = *corpus.choose(&mut self.random).unwrap();
        let candidate = if self.random.random_bool(0.2) {
            line.to_owned()
        } else {
            self.of(line)
        };
        let mids = [
            None,
            Some("0"),
            Some("0"),
            Some(""),
            Some("\u{0}"),
            Some("audio"),
        ];
        let indexes = [None, Some(0), Some(0), Some(1), Some(u16::MAX)];
        IceCandidate {
            candidate,
            sdp_mid: mids.choose(&mut self.random).unwrap().map(str::to_owned),
            sdp_mline_index: *indexes.choose(&mut self.random).unwrap(),
        }
    }

    fn once(&mut self, text: &str) -> String {
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let line = self.random.random_range(0..lines.len().max(1));
        let without = |line| {
            let kept = lines.iter().enumerate().filter(|(index, _)| *index != line);
            kept.map(|(_, line)| *line).collect::<String>()
        };
        match self.random.random_range(0..8) {
            0 => without(line),
            1 => {
                let other = self.random.random_range(0..lines.len().max(1));
                let mut lines = lines.clone();
                if let Some(copied) = lines.get(line).copied() {
                    lines.insert(other, copied);
                }
                lines.concat()
            }
            2 => text[..self.place(text)].to_owned(),
            3 => {
                let mut lines = lines.clone();
                let other = self.random.random_range(0..lines.len().max(1));
                if !lines.is_empty() {
                    lines.swap(line, other);
                }
                lines.concat()
            }
            4 => {
                let (from, to) = (self.place(text), self.place(text));
                let (from, to) = (
                    from.min(to),
                    from.max(to).min(text.ceil_char_boundary(from.min(to) + 24)),
                );
                let to = text.floor_char_boundary(to.max(from));
                format!("{}{}", &text[..from], &text[to..])
            }
            _ => self.word(text),
        }
    }

    /// One word is another.
    fn word(&mut self, text: &str) -> String {
        let is_mark = |c: char| c.is_whitespace() || ":;=/,-.\"[]{}".contains(c);
        let starts: Vec<_> = text
            .char_indices()
            .filter(|(_, c)| is_mark(*c))
            .map(|(at, c)| at + c.len_utf8())
            .chain([0])
            .collect();
        let start = *starts.choose(&mut self.random).unwrap();
        let end = text[start..]
            .find(is_mark)
            .map_or(text.len(), |end| start + end);
        let word = *WORDS.choose(&mut self.random).unwrap();
        format!("{}{word}{}", &text[..start], &text[end..])
    }

    fn place(&mut self, text: &str) -> usize {
        text.floor_char_boundary(self.random.random_range(0..=text.len()))
    }
}

/// What parsers trip over: limits of number types, other signs, other families, nothing at all.
const WORDS: [&str; 36] = [
    "",
    "0",
    "1",
    "-1",
    "00",
    "255",
    "256",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
    "1e9",
    "+5",
    " ",
    "\r\n",
    "\u{0}",
    "é",
    "🤖",
    "x",
    "ffff",
    "::",
    "::1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "a.local",
    "video",
    "application",
    "sha-256",
    "active",
    "inactive",
    "%s",
];
