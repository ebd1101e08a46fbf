//! The one outbound connection: which viewers exist, and the words that bring robot and browser together.

pub mod client;
pub mod message;
pub mod server;
pub mod session;
