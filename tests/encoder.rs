//! The hardware encoder against a kernel, with a camera before it. `ROVERCAST_ENCODER` and `ROVERCAST_CAMERA` name the nodes.
//!
//! Some need an encoder that misbehaves in a certain way: the virtual board's `encoder` scenario sets its quirks and picks the tests.
#![allow(clippy::disallowed_methods)] // devices need real time, and a deadline
#![allow(clippy::print_stdout)] // what a failed scenario leaves to read

#[path = "encoder/handover.rs"]
mod handover;
#[path = "encoder/pair.rs"]
mod pair;
#[path = "encoder/quirks.rs"]
mod quirks;
#[path = "encoder/recovery.rs"]
mod recovery;
#[path = "encoder/second.rs"]
mod second;
#[path = "encoder/sizes.rs"]
mod sizes;
