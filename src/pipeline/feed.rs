//! The pipeline's access units, to each viewer at its own pace.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::viewer::packetizer::PackedUnit;

/// Where a pipeline's units go. It outlives pipelines: viewers stay while a camera is opened again.
#[derive(Clone, Debug)]
pub struct Outlet {
    live: broadcast::Sender<Arc<PackedUnit>>,
    kept: Arc<Mutex<Kept>>,
}

/// The units since the last key frame, for viewers of a source that makes key frames when it likes: with these they need not
/// wait for the next one, which may be ten seconds away.
#[derive(Debug, Default)]
struct Kept {
    units: Vec<Arc<PackedUnit>>,
    bytes: usize,
}

/// One viewer's reading of an [`Outlet`].
#[derive(Debug)]
pub struct Feed {
    outlet: Outlet,
    live: broadcast::Receiver<Arc<PackedUnit>>,
    replay: VecDeque<Arc<PackedUnit>>,
    /// What takes its place at its next key frame.
    next: Option<Box<Feed>>,
}

impl Outlet {
    pub fn new() -> Self {
        let (live, _) = broadcast::channel(UNITS_BEHIND);
        Self {
            live,
            kept: Arc::default(),
        }
    }

    /// Hands `unit` to all viewers. `keep` is for sources that make no key frames on request.
    pub fn publish(&self, unit: Arc<PackedUnit>, keep: bool) {
        let mut kept = self.kept();
        if keep {
            kept.take(&unit);
        } else {
            kept.clear();
        }
        // Under the lock, so that a rewinding viewer misses none and sees none twice. No viewer is no fault: the pipeline
        // then stops soon, or is kept warm.
        let _ = self.live.send(unit);
    }

    pub fn subscribe(&self) -> Feed {
        Feed {
            outlet: self.clone(),
            live: self.live.subscribe(),
            replay: VecDeque::new(),
            next: None,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every change of it is complete before anything can panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Outlet {
    fn default() -> Self {
        Self::new()
    }
}

impl Kept {
    fn take(&mut self, unit: &Arc<PackedUnit>) {
        if unit.key_frame {
            self.clear();
        } else if self.units.is_empty() {
            return;
        }
        self.bytes += unit.bytes;
        if self.bytes > MOST_KEPT {
            self.clear();
            return;
        }
        self.units.push(Arc::clone(unit));
    }

    fn clear(&mut self) {
        self.units.clear();
        self.bytes = 0;
    }
}

impl Feed {
    /// The next unit. `Lagged` says how many were missed by being slow.
    pub async fn next(&mut self) -> Result<Arc<PackedUnit>, RecvError> {
        if let Some(unit) = self.replay.pop_front() {
            return Ok(unit);
        }
        while let Some(next) = &mut self.next {
            tokio::select! {
                biased;
                unit = next.live.recv() => match unit {
                    Ok(unit) if unit.key_frame => {
                        if let Some(next) = self.next.take() {
                            *self = *next;
                        }
                        return Ok(unit);
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => self.next = None,
                },
                unit = self.live.recv() => return unit,
            }
        }
        self.live.recv().await
    }

    /// Goes on with this one from its next key frame on; until then as before.
    pub fn change_to(&mut self, next: Self) {
        self.next = Some(Box::new(next));
    }

    /// Goes back to the last key frame, when its units are kept. False when the source has to make a new one.
    pub fn rewind(&mut self) -> bool {
        let kept = self.outlet.kept();
        if kept.units.is_empty() {
            return false;
        }
        self.live = self.outlet.live.subscribe();
        self.replay = kept.units.iter().cloned().collect();
        true
    }
}

/// A second at 30 fps. Who is further behind sees an older picture than the robot's next second: skipping to a key frame is
/// kinder.
const UNITS_BEHIND: usize = 32;

/// Sixteen seconds at 2 Mbit/s. Beyond it viewers wait for the next key frame, which a source so rich can well afford.
const MOST_KEPT: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::MediaTime;

    fn unit(sequence: u32, key_frame: bool, bytes: usize) -> Arc<PackedUnit> {
        Arc::new(PackedUnit {
            key_frame,
            captured: MediaTime::from_monotonic(Duration::ZERO),
            encoding: Duration::ZERO,
            sequence,
            payloads: Vec::new(),
            bytes,
        })
    }

    async fn sequences(feed: &mut Feed, count: usize) -> Vec<u32> {
        let mut sequences = Vec::new();
        for _ in 0..count {
            sequences.push(feed.next().await.unwrap().sequence);
        }
        sequences
    }

    #[tokio::test]
    async fn late_viewer_of_a_camera_with_its_own_encoder_starts_at_the_last_key_frame() {
        let outlet = Outlet::new();
        for sequence in 0..100 {
            outlet.publish(unit(sequence, sequence % 40 == 0, 1000), true);
        }
        let mut feed = outlet.subscribe();

        assert!(feed.rewind());
        outlet.publish(unit(100, false, 1000), true);

        let expected: Vec<u32> = (80..=100).collect();
        assert_eq!(sequences(&mut feed, 21).await, expected);
    }

    #[tokio::test]
    async fn viewer_that_rewinds_sees_nothing_twice_and_misses_nothing() {
        let outlet = Outlet::new();
        let mut feed = outlet.subscribe();
        outlet.publish(unit(0, true, 1000), true);
        outlet.publish(unit(1, false, 1000), true);

        assert!(feed.rewind());

        assert_eq!(sequences(&mut feed, 2).await, [0, 1]);
        outlet.publish(unit(2, false, 1000), true);
        assert_eq!(sequences(&mut feed, 1).await, [2]);
    }

    #[test]
    fn encoder_that_makes_key_frames_on_request_needs_no_memory() {
        let outlet = Outlet::new();
        outlet.publish(unit(0, true, 1000), true);
        outlet.publish(unit(1, false, 1000), false);

        assert!(!outlet.subscribe().rewind());
    }

    #[tokio::test]
    async fn viewer_changes_to_another_rendition_at_its_key_frame_and_sees_no_gap_before() {
        let (large, small) = (Outlet::new(), Outlet::new());
        let mut feed = large.subscribe();
        feed.change_to(small.subscribe());
        large.publish(unit(1, true, 1000), false);
        small.publish(unit(1, false, 100), false);
        large.publish(unit(2, false, 1000), false);
        assert_eq!(sequences(&mut feed, 2).await, [1, 2]);

        small.publish(unit(3, true, 100), false);
        large.publish(unit(3, false, 1000), false);
        small.publish(unit(4, false, 100), false);
        assert_eq!(feed.next().await.unwrap().bytes, 100);
        assert_eq!(sequences(&mut feed, 1).await, [4]);
    }

    #[tokio::test]
    async fn viewer_who_is_called_back_before_the_change_stays_where_it_is() {
        let (large, small) = (Outlet::new(), Outlet::new());
        let mut feed = large.subscribe();
        feed.change_to(small.subscribe());
        feed.change_to(large.subscribe());
        small.publish(unit(1, true, 100), false);
        large.publish(unit(1, false, 1000), false);
        assert_eq!(sequences(&mut feed, 1).await, [1]);
        large.publish(unit(2, true, 1000), false);
        large.publish(unit(3, false, 1000), false);
        assert_eq!(sequences(&mut feed, 2).await, [2, 3]);
    }

    #[test]
    fn group_without_end_is_given_up() {
        let outlet = Outlet::new();
        outlet.publish(unit(0, true, 1000), true);
        for sequence in 1..5 {
            outlet.publish(unit(sequence, false, MOST_KEPT / 3), true);
        }

        assert!(!outlet.subscribe().rewind());
    }
}
