//! What one viewer is told of its link, in a driver's words and without the others' names.

use std::time::Duration;

use super::line::Viewer;
use super::seat::Seat;
use super::steering::Place;
use crate::media::Bitrate;
use crate::media::rate::renditions::Rendition;
use crate::media::rate::{PictureScale, Why};
use crate::relay::message::{ANOTHER, LinkReport, OWN};

/// `None` while the viewer waits for its offer, or is gone.
pub(super) fn link_report(seat: &Seat, place: &Place) -> Option<LinkReport> {
    let viewer = seat.lines.get(place.line)?.viewers.get(&place.viewer)?;
    let statistics = match viewer {
        Viewer::Seated(seated) => seated.statistics,
        Viewer::Expected(_) => return None,
    };
    let rendition = seat.renditions.rendition(place);
    let steering = seat.renditions.of(rendition);
    let is_behind = steering.is_behind(place);
    let scale = match seat.follows {
        true => steering.scale(),
        false => PictureScale::FULL,
    };
    let why = Limit {
        why: steering.why(),
        place,
        is_alone: seat.viewers() == 1,
    };
    let is_own = is_behind || rendition == Rendition::Small;
    let limited_by = if is_own { Some(OWN) } else { why.limited_by() };
    let link = statistics.link;
    Some(LinkReport {
        estimate_kbps: link.map(|link| kbps(link.estimate)),
        because: link.map(|link| link.because.to_string()),
        acknowledged_kbps: link.and_then(|link| link.acknowledged).map(kbps),
        queue_delay_ms: link.map(|link| milliseconds(link.queue_delay)),
        is_behind,
        sent_kbps: kbps(statistics.sent),
        waits_ms: milliseconds(statistics.waits),
        repaired_packets: statistics.repaired_packets,
        skipped_units: statistics.skipped_units,
        rendition: rendition.to_string(),
        target_kbps: seat.follows.then(|| kbps(steering.target())),
        target_because: match seat.follows {
            true => why.words(),
            false => OWN_ENCODER.to_owned(),
        },
        limited_by: limited_by.filter(|_| seat.follows).map(str::to_owned),
        picture: scale.to_string(),
        picture_every: scale.every,
        picture_divisor: scale.divisor,
        whole_size: seat.whole_size().map(|size| size.to_string()),
    })
}

/// Why a target is what it is, as one of those says who watch it.
struct Limit<'a> {
    why: &'a Why<Place>,
    place: &'a Place,
    is_alone: bool,
}

impl Limit<'_> {
    fn limited_by(&self) -> Option<&'static str> {
        match self.why {
            Why::Slowest { viewer, .. } if viewer == self.place => Some(OWN),
            // It is gone, and the target has not moved since.
            Why::Slowest { .. } if self.is_alone => None,
            Why::Slowest { .. } => Some(ANOTHER),
            Why::Least => Some(OWN),
            Why::Start | Why::Most => None,
        }
    }

    fn words(&self) -> String {
        match self.why {
            Why::Slowest { viewer, .. } if viewer == self.place && self.is_alone => {
                "it follows your link".to_owned()
            }
            Why::Slowest { viewer, .. } if viewer == self.place => {
                "your link is the slowest".to_owned()
            }
            Why::Slowest { .. } if self.is_alone => {
                "a viewer who left had the slowest link".to_owned()
            }
            Why::Slowest { .. } => "another viewer has the slowest link".to_owned(),
            why @ (Why::Start | Why::Most | Why::Least) => why.to_string(),
        }
    }
}

fn kbps(rate: Bitrate) -> u64 {
    (rate.as_bps() + 500) / 1000
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const OWN_ENCODER: &str = "the camera has an encoder of its own, which decides";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewer::ViewerId;

    fn place(viewer: &str) -> Place {
        Place {
            line: 0,
            viewer: ViewerId::named(viewer).unwrap(),
        }
    }

    fn said(why: &Why<Place>, is_alone: bool) -> (String, Option<&'static str>) {
        let place = &place("me");
        let limit = Limit {
            why,
            place,
            is_alone,
        };
        (limit.words(), limit.limited_by())
    }

    #[test]
    fn viewer_is_told_whose_link_it_is_and_no_name() {
        let slowest = |viewer| Why::Slowest {
            viewer: place(viewer),
            behind: 1,
        };
        let mine = said(&slowest("me"), false);
        assert_eq!(mine, ("your link is the slowest".into(), Some(OWN)));
        let mine = said(&slowest("me"), true);
        assert_eq!(mine, ("it follows your link".into(), Some(OWN)));
        let (words, limited_by) = said(&slowest("somebody-else"), false);
        assert!(!words.contains("somebody"), "{words}");
        assert_eq!(limited_by, Some(ANOTHER));
        assert_eq!(said(&slowest("somebody-else"), true).1, None);
        assert_eq!(said(&Why::Most, false).1, None);
        assert_eq!(said(&Why::Start, true).1, None);
        assert_eq!(said(&Why::Least, true).1, Some(OWN));
    }
}
