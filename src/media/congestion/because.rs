//! Why an estimate moved, in words.

use std::fmt;
use std::time::Duration;

/// Why the estimate is what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Because {
    Start,
    Growing,
    /// A burst at a higher rate arrived.
    Probed,
    /// A burst arrived slower than it was sent.
    ProbeLimit,
    /// As much as is ever wanted.
    Enough,
    Queue {
        delay: Duration,
    },
    QueueGone,
    /// 0 to 1.
    Loss {
        fraction: f64,
    },
    /// The loss stayed when less was sent: it is no reason to send less.
    RandomLoss,
    Competing,
    /// Much less is sent than was once known to arrive.
    NotProven,
    Silence,
    Resumed,
    RouteChanged,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("nothing is known of the link yet"),
            Self::Growing => f.write_str("everything arrives in time"),
            Self::Probed => f.write_str("a burst at a higher rate arrived in time"),
            Self::ProbeLimit => {
                f.write_str("a burst at a higher rate showed what the link carries")
            }
            Self::Enough => f.write_str("the link carries as much as is ever sent"),
            Self::Queue { delay } => write!(f, "packets wait {} ms on the way", delay.as_millis()),
            Self::QueueGone => f.write_str("the queue on the way is gone"),
            Self::Loss { fraction } => {
                write!(f, "{:.0} % of the packets are lost", fraction * 100.0)
            }
            Self::RandomLoss => f.write_str("packets are lost whatever is sent"),
            Self::Competing => f.write_str("somebody else fills the link"),
            Self::NotProven => {
                f.write_str("little was sent lately, so more is not known to arrive")
            }
            Self::Silence => f.write_str("the browser answers nothing"),
            Self::Resumed => f.write_str("the browser answers again"),
            Self::RouteChanged => f.write_str("the way to the browser changed"),
        }
    }
}
