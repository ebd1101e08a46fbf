//! The hardware encoder against a kernel, with a camera before it. `ROVERCAST_ENCODER` and `ROVERCAST_CAMERA` name the nodes.
//!
//! Some need an encoder that misbehaves in a certain way: the virtual board's `encoder` scenario sets its quirks and picks the tests.

#[path = "encoder/handover.rs"]
mod handover;
#[path = "encoder/pair.rs"]
mod pair;
#[path = "encoder/quirks.rs"]
mod quirks;
#[path = "encoder/recovery.rs"]
mod recovery;
