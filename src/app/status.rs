//! The present in words and numbers, for `/status` and `/metrics`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::line::{Line, Viewer};
use super::robot::Robot;
use super::seat::Seat;
use super::steering::Place;
use crate::config::Renditions;
use crate::http::{CameraStatus, RelayStatus, SmallStatus, Status, ViewerLinkStatus, ViewerStatus};
use crate::media::rate::renditions::Rendition;
use crate::media::rate::{Halving, PictureScale};
use crate::media::{Bitrate, Size};
use crate::metrics::{CameraGauges, SmallGauges, ViewerGauges, exposition};
use crate::relay::session::{LinkState, LinkStatus};
use crate::supervisor::{CameraState, Supervisor};
use crate::v4l2::left_behind;
use crate::viewer::ViewerId;
use crate::viewer::webrtc::{LinkStatistics, PeerStatistics};

pub(super) fn status(robot: &Robot, now: Instant) -> Status {
    let cameras: Vec<_> = (robot.seats.iter().enumerate())
        .map(|(index, seat)| camera(seat, index, &robot.supervisor, now))
        .collect();
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        robot: robot.id.clone(),
        uptime_s: seconds(robot.started, now),
        healthy: robot.supervisor.is_healthy(now),
        ready: cameras.iter().all(|camera| {
            camera.failure.is_none() && camera.relays.iter().all(|relay| relay.state == "connected")
        }),
        calls_left_behind: left_behind(),
        cameras,
    }
}

pub(super) fn metrics(robot: &Robot) -> String {
    let cameras: Vec<_> = robot
        .seats
        .iter()
        .map(|seat| {
            let large = seat.renditions.of(Rendition::Large);
            let gauges = CameraGauges {
                running: seat.is_running(),
                viewers: seat.viewers(),
                relay_connected: seat
                    .lines
                    .iter()
                    .all(|line| is_connected(&line.session.status())),
                path: seat
                    .encoding()
                    .and_then(|it| Some(it.handover.as_ref()?.path)),
                target: seat.follows.then(|| large.target()),
                each: viewer_gauges(seat),
                small: small_gauges(seat),
            };
            (seat.config.name(), &*seat.metrics, gauges)
        })
        .collect();
    exposition(&cameras)
}

fn camera(seat: &Seat, index: usize, supervisor: &Supervisor, now: Instant) -> CameraStatus {
    let state = supervisor.state(index);
    let next_try_in_s = match state {
        CameraState::Waiting { until } => Some(seconds(now, *until)),
        CameraState::Asleep
        | CameraState::Starting { .. }
        | CameraState::Running { .. }
        | CameraState::Stopping { .. } => None,
    };
    let handover = seat.encoding().and_then(|it| it.handover.as_ref());
    let large = seat.renditions.of(Rendition::Large);
    CameraStatus {
        id: seat.config.name().into(),
        source: seat.config.source.to_string(),
        state: state.word().into(),
        failure: supervisor.failure(index).map(str::to_owned),
        next_try_in_s,
        encoder: seat.encoding().map(|it| it.encoder.clone()),
        picture_path: handover.map(|it| it.path.to_string()),
        dma_heap: handover.and_then(|it| it.heap.clone()),
        refused_paths: handover.map_or(Vec::new(), |it| it.refused.clone()),
        copied_bytes_per_frame: seat.copied_bytes_per_frame(),
        profile_level_id: seat.profile.map(|profile| profile.to_string()),
        damaged_frames: seat.metrics.frames_damaged.value(),
        relays: seat.lines.iter().map(|line| relay(line, now)).collect(),
        target_kbps: seat.follows.then(|| kbps(large.target())),
        target_because: match seat.follows {
            true => large.why().to_string(),
            false => "the camera has an encoder of its own, which decides".into(),
        },
        picture: match seat.follows {
            true => large.scale(),
            false => PictureScale::FULL,
        }
        .to_string(),
        picture_size: picture_size(seat).map(|size| size.to_string()),
        smaller_picture: seat.halving().map(|halving| halving.to_string()),
        small: small(seat),
        viewers: (0..seat.lines.len())
            .flat_map(|line| viewers(seat, line))
            .collect(),
    }
}

fn picture_size(seat: &Seat) -> Option<Size> {
    let opened = seat.encoding()?.size;
    Some(match seat.halving()? {
        Halving::ByEncoder => seat.renditions.of(Rendition::Large).scale().size(opened),
        Halving::ByReopening | Halving::Never => opened,
    })
}

/// `None` where the configuration wants one rendition.
fn small(seat: &Seat) -> Option<SmallStatus> {
    if seat.config.renditions == Renditions::One {
        return None;
    }
    let steering = seat.renditions.of(Rendition::Small);
    let metrics = &seat.small.metrics;
    let copied = metrics.copied_bytes.value();
    let state = match (seat.encoding(), seat.second()) {
        (Some(encoding), None) => format!("refused: {} allows no second", encoding.encoder),
        (Some(_), Some(_)) | (None, _) => seat.renditions.small().to_string(),
    };
    Some(SmallStatus {
        state,
        encoder: seat.small.encoding.as_ref().map(|it| it.encoder.clone()),
        target_kbps: kbps(steering.target()),
        target_because: steering.why().to_string(),
        picture: steering.scale().to_string(),
        viewers: on_small(seat),
        copied_bytes_per_frame: copied.checked_div(metrics.units.value()),
    })
}

fn small_gauges(seat: &Seat) -> Option<SmallGauges> {
    (seat.config.renditions == Renditions::Two).then(|| SmallGauges {
        metrics: Arc::clone(&seat.small.metrics),
        running: seat.small.pipeline.is_some(),
        viewers: on_small(seat),
        target: seat.renditions.of(Rendition::Small).target(),
    })
}

fn on_small(seat: &Seat) -> usize {
    let places = seat.lines.iter().enumerate().flat_map(|(line, at)| {
        at.viewers.keys().map(move |viewer| Place {
            line,
            viewer: viewer.clone(),
        })
    });
    places
        .filter(|place| seat.renditions.rendition(place) == Rendition::Small)
        .count()
}

fn relay(line: &Line, now: Instant) -> RelayStatus {
    let LinkStatus { state, trouble } = line.session.status();
    let (word, since, next_try) = match state {
        LinkState::Idle => ("idle", None, None),
        LinkState::Dialing => ("dialing", None, None),
        LinkState::Connected { since } => ("connected", Some(since), None),
        LinkState::HangingUp => ("hanging up", None, None),
        LinkState::Waiting { until } => ("waiting", None, Some(until)),
        LinkState::Closed => ("closed", None, None),
    };
    // A link that stands tells its own age; one that does not tells the age of what keeps it down.
    let trouble = trouble.filter(|_| !matches!(state, LinkState::Connected { .. }));
    let since = since.or(trouble.as_ref().map(|trouble| trouble.since));
    RelayStatus {
        url: line.url.clone(),
        state: word.into(),
        since_s: since.map(|since| seconds(since, now)),
        next_try_in_s: next_try.map(|until| seconds(now, until)),
        failure: trouble.as_ref().map(|trouble| trouble.class.to_string()),
        why: trouble.map(|trouble| trouble.message),
    }
}

fn viewers(seat: &Seat, index: usize) -> impl Iterator<Item = ViewerStatus> {
    statistics(&seat.lines[index]).map(move |(id, connected, statistics)| {
        let place = Place {
            line: index,
            viewer: id.clone(),
        };
        let rendition = seat.renditions.rendition(&place);
        let is_behind = seat.renditions.of(rendition).is_behind(&place);
        ViewerStatus {
            id: id.to_string(),
            connected,
            rendition: rendition.to_string(),
            packets: statistics.packets,
            bytes: statistics.bytes,
            nacked_packets: statistics.nacked_packets,
            picture_losses: statistics.picture_losses,
            lost_packets: statistics.lost_packets,
            loss_percent: f64::from(statistics.fraction_lost) * 100.0,
            jitter_ms: milliseconds(statistics.jitter),
            round_trip_ms: statistics.round_trip.map(milliseconds),
            skipped_units: statistics.skipped_units,
            repaired_packets: statistics.repaired_packets,
            sent_kbps: kbps(statistics.sent),
            waits_ms: milliseconds(statistics.waits),
            link: statistics.link.map(|link| viewer_link(&link, is_behind)),
        }
    })
}

fn viewer_link(link: &LinkStatistics, is_behind: bool) -> ViewerLinkStatus {
    ViewerLinkStatus {
        estimate_kbps: kbps(link.estimate),
        because: link.because.to_string(),
        acknowledged_kbps: link.acknowledged.map(kbps),
        queue_delay_ms: milliseconds(link.queue_delay),
        is_behind,
    }
}

fn statistics(line: &Line) -> impl Iterator<Item = (&ViewerId, bool, PeerStatistics)> {
    line.viewers.iter().map(|(id, viewer)| match viewer {
        Viewer::Expected(_) => (id, false, PeerStatistics::default()),
        Viewer::Seated(seated) => (id, seated.connected, seated.statistics),
    })
}

fn viewer_gauges(seat: &Seat) -> Vec<ViewerGauges> {
    let viewers = seat.lines.iter().flat_map(statistics);
    viewers
        .map(|(id, _, statistics)| ViewerGauges {
            viewer: id.to_string(),
            estimate: statistics.link.map(|link| link.estimate),
            acknowledged: statistics.link.and_then(|link| link.acknowledged),
            queue_delay: statistics.link.map(|link| link.queue_delay),
            sent: statistics.sent,
            repaired_packets: statistics.repaired_packets,
        })
        .collect()
}

fn kbps(rate: Bitrate) -> f64 {
    (rate.as_bps() as f64 / 1e3).round()
}

fn is_connected(status: &LinkStatus) -> bool {
    matches!(status.state, LinkState::Connected { .. })
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}
