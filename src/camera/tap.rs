//! One camera's pictures for two encoders: a picture is lent twice, and goes home when both are done with it.
//!
//! The camera's first encoder comes first. The second gets the newest picture while it holds no other: of the camera's few
//! slots it never has more than one that the first has not. While nobody takes the pictures, nothing is done to them; sharing one
//! costs two allocations of some bytes and no copy.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Camera, CameraError, SharedBuffer};
use crate::media::{Frame, PictureFormat, Share};
use crate::v4l2::aside::Bell;

/// A camera that somebody may take pictures from on the way.
pub struct Tapped {
    camera: Box<dyn Camera>,
    pipe: Arc<Pipe>,
    /// What the second encoder has, or had.
    lent: Option<Share>,
}

/// Where the same pictures can be had once more.
#[derive(Clone, Debug)]
pub struct Tap(Arc<Pipe>);

/// The same camera, for the second encoder. One at a time gets the pictures: who opened last.
#[derive(Debug)]
pub struct TapCamera {
    pipe: Arc<Pipe>,
    taker: Arc<Taker>,
}

#[derive(Debug)]
struct Pipe {
    format: PictureFormat,
    /// There is a taker: looked at for every picture, most of which nobody takes.
    is_open: AtomicBool,
    taker: Mutex<Option<Arc<Taker>>>,
}

/// One opening of the tap.
#[derive(Debug)]
struct Taker {
    bell: Bell,
    /// At most one: a newer one takes its place.
    offered: Mutex<Option<Frame>>,
}

impl Tapped {
    pub fn new(camera: Box<dyn Camera>) -> (Self, Tap) {
        let pipe = Arc::new(Pipe {
            format: camera.format(),
            is_open: AtomicBool::new(false),
            taker: Mutex::new(None),
        });
        let tapped = Self {
            camera,
            pipe: Arc::clone(&pipe),
            lent: None,
        };
        (tapped, Tap(pipe))
    }

    /// Hands the picture to the second encoder, too, when that has room.
    fn share(&mut self, frame: Frame) -> Frame {
        let is_wanted = self.pipe.is_open.load(Ordering::Acquire);
        if !is_wanted || self.lent.as_ref().is_some_and(Share::is_lent) {
            return frame;
        }
        let (first, second, share) = frame.share();
        self.lent = Some(share);
        self.pipe.offer(second);
        first
    }
}

impl Camera for Tapped {
    fn format(&self) -> PictureFormat {
        self.camera.format()
    }

    fn try_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        let frame = self.camera.try_frame()?;
        Ok(frame.map(|frame| self.share(frame)))
    }

    fn damaged_frames(&self) -> u64 {
        self.camera.damaged_frames()
    }

    fn shared_buffers(&self) -> &[SharedBuffer] {
        self.camera.shared_buffers()
    }
}

impl AsFd for Tapped {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.camera.as_fd()
    }
}

impl fmt::Debug for Tapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tapped")
            .field("pipe", &self.pipe)
            .field("lent", &self.lent)
            .finish_non_exhaustive()
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        self.pipe.give_to(None);
    }
}

impl Tap {
    /// From here on pictures come. Dropping it, they come no more; and none come when the camera is closed.
    pub fn open(&self) -> Result<TapCamera, CameraError> {
        let bell = Bell::new().map_err(|errno| CameraError::Device {
            camera: "of the first encoder".into(),
            what: "share the pictures",
            source: errno.into(),
        })?;
        let taker = Arc::new(Taker {
            bell,
            offered: Mutex::new(None),
        });
        self.0.give_to(Some(Arc::clone(&taker)));
        let pipe = Arc::clone(&self.0);
        Ok(TapCamera { pipe, taker })
    }
}

impl Camera for TapCamera {
    fn format(&self) -> PictureFormat {
        self.pipe.format
    }

    fn try_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        self.taker.bell.hush();
        Ok(self.taker.offered().take())
    }
}

impl AsFd for TapCamera {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.taker.bell.as_fd()
    }
}

impl Drop for TapCamera {
    fn drop(&mut self) {
        self.pipe.give_up(&self.taker);
    }
}

impl Pipe {
    fn offer(&self, frame: Frame) {
        // Whoever goes says so under the lock: a picture that came later would never go home.
        if let Some(taker) = &*self.taker() {
            *taker.offered() = Some(frame);
            taker.bell.ring();
        }
    }

    /// What waits for the one before goes home.
    fn give_to(&self, next: Option<Arc<Taker>>) {
        let mut taker = self.taker();
        self.is_open.store(next.is_some(), Ordering::Release);
        if let Some(before) = std::mem::replace(&mut *taker, next) {
            drop(before.offered().take());
        }
    }

    /// Unless somebody else has the pictures by now.
    fn give_up(&self, mine: &Arc<Taker>) {
        let mut taker = self.taker();
        if taker.as_ref().is_some_and(|it| Arc::ptr_eq(it, mine)) {
            self.is_open.store(false, Ordering::Release);
            *taker = None;
        }
        drop(mine.offered().take());
    }

    fn taker(&self) -> MutexGuard<'_, Option<Arc<Taker>>> {
        self.taker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taker {
    fn offered(&self) -> MutexGuard<'_, Option<Frame>> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;
    use crate::media::{Fourcc, MediaTime, Size, SlotPool};

    const FORMAT: PictureFormat = PictureFormat {
        fourcc: Fourcc::YU12,
        size: Size {
            width: 16,
            height: 16,
        },
        stride: 16,
        interval: Duration::from_millis(33),
    };

    /// A camera of two slots that has a picture whenever it is asked.
    struct TwoSlots {
        pool: SlotPool,
        sequence: u32,
        bell: OwnedFd,
    }

    impl Camera for TwoSlots {
        fn format(&self) -> PictureFormat {
            FORMAT
        }

        fn try_frame(&mut self) -> Result<Option<Frame>, CameraError> {
            self.sequence += 1;
            let lease = self.pool.lend(|memory| memory.resize(384, 7));
            let captured = MediaTime::from_monotonic(Duration::from_secs(1));
            Ok(lease.map(|lease| Frame::new(FORMAT, captured, self.sequence, lease)))
        }
    }

    impl AsFd for TwoSlots {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.bell.as_fd()
        }
    }

    fn tapped() -> (Tapped, Tap) {
        let camera = TwoSlots {
            pool: SlotPool::new(2, 384),
            sequence: 0,
            bell: eventfd(0, EventfdFlags::CLOEXEC).unwrap(),
        };
        Tapped::new(Box::new(camera))
    }

    #[test]
    fn both_encoders_see_the_same_memory_and_it_goes_home_when_both_are_done() {
        let (mut camera, tap) = tapped();
        let mut second = tap.open().unwrap();
        let first = camera.try_frame().unwrap().unwrap();
        let other = second.try_frame().unwrap().unwrap();
        assert_eq!(first.bytes().as_ptr(), other.bytes().as_ptr());
        assert_eq!((first.sequence, other.sequence), (1, 1));

        drop(first);
        let next = camera.try_frame().unwrap();
        assert!(next.is_some(), "the other slot");
        assert!(camera.try_frame().unwrap().is_none(), "both are lent");
        drop(other);
        assert!(camera.try_frame().unwrap().is_some());
    }

    #[test]
    fn second_encoder_that_is_slow_holds_one_picture_and_no_more() {
        let (mut camera, tap) = tapped();
        let mut second = tap.open().unwrap();
        drop(camera.try_frame().unwrap());
        let held = second.try_frame().unwrap().unwrap();
        for _ in 0..10 {
            assert!(camera.try_frame().unwrap().is_some());
            assert!(second.try_frame().unwrap().is_none());
        }
        drop(held);
        drop(camera.try_frame().unwrap());
        assert_eq!(second.try_frame().unwrap().unwrap().sequence, 12);
    }

    #[test]
    fn nothing_is_shared_while_nobody_wants_it() {
        let (mut camera, tap) = tapped();
        drop(camera.try_frame().unwrap());
        assert!(camera.lent.is_none());
        drop(tap.open().unwrap());
        drop(camera.try_frame().unwrap());
        assert!(camera.lent.is_none());
    }

    #[test]
    fn picture_that_comes_after_the_second_encoder_has_gone_is_not_kept() {
        let (mut camera, tap) = tapped();
        let second = tap.open().unwrap();
        let frame = camera.try_frame().unwrap().unwrap();
        let taker = Arc::clone(&second.taker);
        drop(second);
        tap.0.offer(frame);
        assert!(taker.offered().is_none());
    }

    #[test]
    fn who_goes_late_leaves_the_next_its_pictures() {
        let (mut camera, tap) = tapped();
        let late = tap.open().unwrap();
        drop(camera.try_frame().unwrap());
        let mut next = tap.open().unwrap();
        drop(camera.try_frame().unwrap());
        drop(late);
        drop(camera.try_frame().unwrap());
        assert_eq!(next.try_frame().unwrap().unwrap().sequence, 2);
        drop(camera.try_frame().unwrap());
        assert_eq!(next.try_frame().unwrap().unwrap().sequence, 4);
    }

    #[test]
    fn picture_that_nobody_fetched_goes_home_with_the_camera() {
        let (mut camera, tap) = tapped();
        let mut second = tap.open().unwrap();
        drop(camera.try_frame().unwrap());
        drop(camera);
        assert!(second.try_frame().unwrap().is_none());
    }
}
