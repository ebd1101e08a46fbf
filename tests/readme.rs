//! What README.md tells people to do is done by a test, and what it tells them of errors is what the program says.
#![allow(clippy::unwrap_used)] // clippy takes the helpers of these tests for a library

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_command_is_run_by_a_test_or_says_that_it_is_not() {
    let readme = read("README.md");
    let told: BTreeSet<_> = commands(&readme).collect();

    let known: BTreeSet<_> = RUN.iter().map(|(command, ..)| *command).collect();

    assert_eq!(told, known);
    for (command, file, words) in RUN {
        assert!(
            read(file).contains(words),
            "{file} has no {words:?} any more, so who runs {command:?}?"
        );
    }
}

#[test]
fn every_link_leads_to_a_file() {
    let readme = read("README.md");
    for link in readme.split("](").skip(1) {
        let target = link.split([')', '#']).next().unwrap();
        assert!(
            target.starts_with("http") || at(target).exists(),
            "{target} is not there"
        );
    }
}

#[test]
fn every_class_of_an_error_is_explained() {
    let readme = read("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    let explained: BTreeSet<_> = rows
        .flat_map(|row| row.split('`').skip(1).step_by(2))
        .collect();

    for file in ["src/camera.rs", "src/encoder.rs", "src/pipeline.rs"] {
        let source = read(file);
        let body = between(&source, "fn class(&self) -> &'static str {", "\n    }\n");
        for class in body.split('"').skip(1).step_by(2) {
            assert!(explained.contains(class), "\"{class}\" of {file}");
        }
    }
    let source = read("src/relay/session/status.rs");
    let body = between(&source, "fn fmt(", "\n    }\n");
    for class in body.split('"').skip(1).step_by(2) {
        let class = class.split('{').next().unwrap().trim_end();
        // Ended by ourselves, which is no failure.
        if class == "hung up" {
            continue;
        }
        let told = |word: &&str| class.starts_with(word.trim_end_matches('…').trim_end());
        assert!(explained.iter().any(told), "\"{class}\"");
    }
}

/// The lines of the shell's blocks, without those that say that they are not run here, and without comments.
fn commands(markdown: &str) -> impl Iterator<Item = &str> {
    let blocks = markdown.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    lines
        .filter(|line| !line.contains("# not run here: "))
        .map(|line| line.split(" #").next().unwrap().trim())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).unwrap().0
}

fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const ON_DEBIAN: &str = "tests/virtual-board/debian/checks";

/// The commands of README.md, the file that runs each, and the words there that do.
const RUN: [(&str, &str, &str); 15] = [
    (
        "cargo run --release -- demo",
        "tests/common/process.rs",
        "[\"demo\", \"--listen\"",
    ),
    ("tests/run", ".ci/run", "/../tests/run\""),
    (
        "tests/virtual-board/run",
        "tests/run",
        "step_board() { tests/virtual-board/run; }",
    ),
    (
        "tests/virtual-board/run-debian",
        "tests/run",
        "step_debian() { tests/virtual-board/run-debian",
    ),
    (
        "board/cross-build aarch64-unknown-linux-gnu",
        "tests/run",
        "board/cross-build $target ",
    ),
    (
        "board/deb target/cross/aarch64-unknown-linux-gnu/rovercast",
        "tests/virtual-board/run-debian",
        "board/deb\" ",
    ),
    (
        "apt-get install ./rovercast_0.1.0_arm64.deb",
        ON_DEBIAN,
        "    apt-get install --yes ./rovercast_0.1.0_arm64.deb",
    ),
    ("rovercast check", ON_DEBIAN, "    rovercast check\n"),
    ("rovercast probe", ON_DEBIAN, "    rovercast probe\n"),
    (
        "systemctl restart rovercast",
        ON_DEBIAN,
        "    systemctl restart rovercast\n",
    ),
    (
        "rovercast relay --listen 0.0.0.0:443 --tls-cert relay.pem --tls-key relay.key --key-file keys",
        "tests/relay_load.rs",
        "\"--tls-cert\"",
    ),
    ("rovercast status", ON_DEBIAN, "    rovercast status\n"),
    (
        "systemctl status rovercast",
        ON_DEBIAN,
        "    systemctl status rovercast",
    ),
    (
        "journalctl -u rovercast -o json",
        ON_DEBIAN,
        "    journalctl -u rovercast -o json",
    ),
    (
        "journalctl -u rovercast ROVERCAST_CLASS=unauthorized",
        ON_DEBIAN,
        "    journalctl -u rovercast ROVERCAST_CLASS=unauthorized",
    ),
];
