//! Tells openh264 how large the next picture may become, by the only thing that can be told while it runs: the time.
//!
//! In timestamp mode openh264 keeps a leaky bucket (`WelsRcFrameDelayJudgeTimeStamp` in its `ratectl.cpp`). The bits of each picture go
//! in, `bitrate × time since the picture before` leaks out, and the next picture is aimed at half of the room that is left
//! (`RcDecideTargetBitsTimestamp`), at no more than the bitrate's mean picture. With the times of the camera the bucket is nearly empty, and
//! a bitrate that falls is not felt before it is full: pictures as large as before for half a second. So the times are ours. Before each
//! picture as much leaks out as leaves the room for it, and the bucket stays full to just there.
//!
//! ```text
//!   held ├──────────────────────────────────┤   room   ├ capacity
//!        ◄─ leaks ─┤                        │◄─ 2 × the next picture
//! ```

use std::time::Duration;

/// openh264's bucket, counted here as it is counted there, in bits.
#[derive(Debug)]
pub(super) struct Bucket {
    /// What openh264 believes its bitrate to be, in a second.
    bitrate: f64,
    held: f64,
    is_unused: bool,
}

/// What the next picture is, and how many bits it is to have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wanted {
    KeyFrame(f64),
    Other(f64),
}

impl Bucket {
    pub(super) fn new(bitrate: f64) -> Self {
        Self {
            bitrate,
            held: 0.0,
            is_unused: true,
        }
    }

    /// How much later than the picture before openh264 is to believe that this one is: whole milliseconds, 1 to 1000.
    pub(super) fn leak_for(&mut self, wanted: Wanted) -> Duration {
        let room = match wanted {
            Wanted::KeyFrame(bits) => bits / OF_ROOM_FOR_KEY_FRAME,
            Wanted::Other(bits) => bits / OF_ROOM,
        };
        let surplus = self.held + room - self.bitrate * CAPACITY;
        let ms = (surplus / self.bitrate * 1e3).round();
        let ms = ms.clamp(SHORTEST_MS, LONGEST_MS);
        let left = self.held - (self.bitrate * ms / 1e3).round();
        self.held = left.max(-self.bitrate * CREDIT);
        Duration::from_millis(ms as u64)
    }

    /// What became of the picture; nothing when openh264 left it out.
    pub(super) fn add(&mut self, bits: usize) {
        if std::mem::take(&mut self.is_unused) {
            // The first picture finds it empty, whatever leaked before.
            self.held = 0.0;
        }
        self.held += bits as f64;
        if bits == 0 {
            // Only a full one makes it do so.
            self.held = self.held.max(self.bitrate * CAPACITY);
        }
    }
}

/// Of the room, what one picture is aimed at.
const OF_ROOM: f64 = 0.5;
const OF_ROOM_FOR_KEY_FRAME: f64 = 0.75;

/// Half a second of the bitrate (`SKIP_RATIO`).
const CAPACITY: f64 = 0.5;
/// So much more leaks out of an empty one, in seconds of the bitrate.
const CREDIT: f64 = 0.25;

/// A clock that stands or leaps is taken for broken, and one frame time for what passed (`GetTimestampForRc`).
const SHORTEST_MS: f64 = 1.0;
const LONGEST_MS: f64 = 1000.0;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const BITRATE: f64 = 400_000.0;

    #[test]
    fn picture_of_half_the_size_has_its_room_at_once() {
        let mut bucket = Bucket::new(BITRATE);
        bucket.leak_for(Wanted::KeyFrame(100_000.0));
        bucket.add(120_000);
        for wanted in [40_000, 40_000, 20_000, 10_000, 5000, 40_000] {
            bucket.leak_for(Wanted::Other(f64::from(wanted)));
            let room = BITRATE * CAPACITY - bucket.held;
            // A millisecond is 400 bits, and one passes with each picture.
            let is_met = (room - 2.0 * f64::from(wanted)).abs() <= 2000.0;
            assert!(is_met, "{room} for {wanted}");
            bucket.add(wanted as usize);
        }
    }

    #[test]
    fn picture_that_was_left_out_shows_that_the_bucket_is_full() {
        let mut bucket = Bucket::new(BITRATE);
        bucket.add(1000);
        bucket.add(0);
        assert_eq!(bucket.held, BITRATE * CAPACITY);
        // A mean picture at eight pictures a second, twice.
        assert_eq!(bucket.leak_for(Wanted::Other(50_000.0)).as_millis(), 250);
    }

    proptest! {
        #[test]
        fn any_pictures_find_the_room_they_are_to_have_or_all_there_is(
            pictures in vec((100.0f64..60_000.0, 0usize..200_000, any::<bool>()), 1..100),
        ) {
            let mut bucket = Bucket::new(BITRATE);
            for (wanted, became, key_frame) in pictures {
                let (wanted, room) = match key_frame {
                    true => (Wanted::KeyFrame(wanted), wanted / OF_ROOM_FOR_KEY_FRAME),
                    false => (Wanted::Other(wanted), wanted / OF_ROOM),
                };
                let before = bucket.held;
                let time = bucket.leak_for(wanted);
                prop_assert!((1..=1000).contains(&time.as_millis()));
                let found = BITRATE * CAPACITY - bucket.held;
                let is_least = time.as_millis() == 1;
                let is_most = time.as_millis() == 1000;
                // A millisecond is 400 bits, and one passes with each picture.
                prop_assert!((found - room).abs() <= 401.0 || is_least && found > room || is_most && found < room);
                prop_assert!(bucket.held <= before);
                bucket.add(became);
            }
        }
    }
}
