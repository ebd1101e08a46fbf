//! Messages that are not followed, and what their sender is told.

use crate::relay::message::code;

/// Why a message of the relay is not followed; the sender is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: &'static str,
}

pub(super) const UNKNOWN_VIEWER: Refusal = Refusal {
    code: code::UNKNOWN_VIEWER,
    message: "this viewer is not known here; say \"ready\" first",
};

pub(super) const UNEXPECTED_OFFER: Refusal = Refusal {
    code: code::UNEXPECTED_OFFER,
    message: "the robot makes the offers; say \"ready\" to get one",
};

pub(super) const UNEXPECTED_ANSWER: Refusal = Refusal {
    code: code::UNEXPECTED_ANSWER,
    message: "there is no offer that waits for an answer",
};

pub(super) const TOO_MANY_VIEWERS: Refusal = Refusal {
    code: code::MAX_VIEWERS,
    message: "as many viewers as this robot serves are watching already",
};
