//! The loop of a pipeline's thread: waits for camera, encoder or an order, then takes one turn that never blocks.
#![allow(clippy::disallowed_methods)] // a driver: reads the clock once a turn

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{debug, info, trace, warn};

use super::{Orders, Outlets, Parts, PipelineError, Report};
use crate::camera::Camera;
use crate::encoder::{Encoder, EncoderError, Submitted};
use crate::media::h264::ProfileLevelId;
use crate::media::rate::{KEY_FRAME_SPACING, KeyFrameGate};
use crate::media::{AccessUnit, Bitrate, Frame};
use crate::viewer::packetizer::pack;

/// The loop's state.
pub(super) struct Turner {
    /// The newest picture that the encoder had no room for yet. It goes before its camera, which is then closed with all that it has.
    pending: Option<Frame>,
    camera: Box<dyn Camera>,
    encoder: Box<dyn Encoder>,
    outlets: Outlets,
    orders: Arc<Orders>,
    gate: KeyFrameGate,
    /// Frames since the last one that was to be coded.
    left_out: u32,
    is_halved: bool,
    in_encoder: InEncoder,
    next_sequence: Option<u32>,
    profile: Option<ProfileLevelId>,
    told_moved: Option<Instant>,
    copied_bytes: u64,
    damaged_frames: u64,
}

impl Turner {
    pub(super) fn new(parts: Parts, outlets: Outlets, orders: Arc<Orders>) -> Self {
        let Parts {
            camera, encoder, ..
        } = parts;
        let format = camera.format();
        info!(size = %format.size, fourcc = %format.fourcc, interval = ?format.interval, "camera and encoder are open");
        Self {
            pending: None,
            camera,
            encoder,
            outlets,
            orders,
            gate: KeyFrameGate::new(KEY_FRAME_SPACING),
            left_out: 0,
            is_halved: false,
            in_encoder: InEncoder::default(),
            next_sequence: None,
            profile: None,
            told_moved: None,
            copied_bytes: 0,
            damaged_frames: 0,
        }
    }

    pub(super) fn run(mut self) -> Result<(), PipelineError> {
        loop {
            self.wait()?;
            let now = Instant::now();
            if self.orders.stop.load(Ordering::Acquire) {
                info!("camera and encoder are closed");
                return Ok(());
            }
            self.turn(now)?;
        }
    }

    fn wait(&self) -> Result<(), PipelineError> {
        let mut descriptors = [
            PollFd::from_borrowed_fd(self.camera.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.encoder.as_fd(), PollFlags::IN),
            PollFd::new(&self.orders.wake, PollFlags::IN),
        ];
        match poll(&mut descriptors, Some(&WAIT_AT_MOST)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(PipelineError::Poll(errno.into())),
        }
    }

    /// Everything that can be done now. Never blocks.
    fn turn(&mut self, now: Instant) -> Result<(), PipelineError> {
        self.orders.sleep_again();
        self.take_orders(now)?;
        while let Some(unit) = self.passing(|it| it.encoder.try_access_unit())?.flatten() {
            self.deliver(&unit, now);
        }
        let frame = self.camera.try_frame();
        self.count_damaged();
        if let Some(frame) = frame? {
            self.count(&frame);
            if self.is_left_out() {
                self.outlets.metrics.frames_left_out.add(1);
            } else if self.pending.replace(frame).is_some() {
                self.outlets.metrics.frames_dropped.add(1);
            }
        }
        self.submit(now)
    }

    /// Fewer frames than the camera makes are coded when the viewers' links are too narrow for all.
    /// Of a stream that comes coded none can be: the next refer to it.
    fn is_left_out(&mut self) -> bool {
        if self.encoder.limits().is_none() {
            return false;
        }
        let every = self.orders.every.load(Ordering::Relaxed);
        self.left_out += 1;
        let is_left_out = self.left_out < every;
        if !is_left_out {
            self.left_out = 0;
        }
        is_left_out
    }

    fn take_orders(&mut self, now: Instant) -> Result<(), PipelineError> {
        if self.orders.key_frame.swap(false, Ordering::AcqRel) {
            self.gate.request(now);
        }
        let target = self.orders.bitrate.swap(0, Ordering::AcqRel);
        // A camera with its own encoder decides by itself.
        if target > 0 && self.encoder.limits().is_some() {
            let target = Bitrate::bps(target);
            if let Some(took) = self.passing(|it| it.encoder.set_bitrate(target))? {
                debug!(%target, %took, "encoder took a bitrate");
            }
        }
        let is_halved = self.orders.is_halved.load(Ordering::Relaxed);
        if is_halved != self.is_halved && self.encoder.halve(is_halved) {
            self.is_halved = is_halved;
        }
        Ok(())
    }

    fn submit(&mut self, now: Instant) -> Result<(), PipelineError> {
        let Some(frame) = self.pending.take() else {
            return Ok(());
        };
        let key_frame = self.gate.take(now);
        let sequence = frame.sequence;
        match self.passing(|it| it.encoder.submit(frame, key_frame))? {
            Some(Submitted::Taken) => self.in_encoder.enter(sequence, now),
            Some(Submitted::Full(frame)) => {
                if key_frame {
                    self.gate.give_back();
                }
                self.pending = Some(frame);
            }
            None if key_frame => self.gate.give_back(),
            None => {}
        }
        Ok(())
    }

    fn deliver(&mut self, unit: &AccessUnit, now: Instant) {
        let metrics = &self.outlets.metrics;
        let copied_before = std::mem::replace(&mut self.copied_bytes, self.encoder.copied_bytes());
        metrics.copied_bytes.add(self.copied_bytes - copied_before);
        metrics.units.add(1);
        metrics.unit_bytes.add(unit.data.len() as u64);
        let encoding = self.in_encoder.leave(unit.sequence, now);
        metrics.encode.observe(encoding);
        if unit.key_frame {
            metrics.key_frames.add(1);
            self.gate.key_frame_made(now);
            self.tell_profile(unit);
        }
        trace!(
            sequence = unit.sequence,
            bytes = unit.data.len(),
            key_frame = unit.key_frame,
            "unit"
        );
        let mut packed = pack(unit, RTP_PAYLOAD_MAX);
        packed.encoding = encoding;
        let keep = !self.encoder.makes_key_frames_on_request();
        self.outlets.units.publish(Arc::new(packed), keep);
        if self
            .told_moved
            .is_none_or(|told| now >= told + TELL_MOVED_EVERY)
        {
            self.told_moved = Some(now);
            let _ = self.outlets.reports.send(Report::Moved);
        }
    }

    fn tell_profile(&mut self, key_frame: &AccessUnit) {
        let Some(profile) = ProfileLevelId::of(&key_frame.data) else {
            return;
        };
        // Offers are for the whole picture: half of it may have a lower level, and is of no interest to them.
        if self.is_halved && self.profile.is_some() {
            return;
        }
        if self.profile.replace(profile) != Some(profile) {
            let _ = self.outlets.reports.send(Report::Profile(profile));
        }
    }

    /// A gap in the sequence is pictures that the camera dropped because all its slots were lent.
    fn count(&mut self, frame: &Frame) {
        let expected = self.next_sequence.unwrap_or(frame.sequence);
        let missed = u64::from(frame.sequence.wrapping_sub(expected));
        self.next_sequence = Some(frame.sequence.wrapping_add(1));
        self.outlets.metrics.frames.add(1 + missed);
        self.outlets.metrics.frames_dropped.add(missed);
    }

    fn count_damaged(&mut self) {
        let before = std::mem::replace(&mut self.damaged_frames, self.camera.damaged_frames());
        let metrics = &self.outlets.metrics;
        metrics.frames_damaged.add(self.damaged_frames - before);
    }

    /// Turns an error that passes into a log line and `None`.
    fn passing<T>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<T, EncoderError>,
    ) -> Result<Option<T>, PipelineError> {
        match act(self) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_passing() => {
                self.outlets.metrics.encoder_errors.add(1);
                warn!(class = error.class(), %error, "the encoder goes on");
                if error.is_recovery() {
                    self.outlets.metrics.encoder_recoveries.add(1);
                    let _ = self.outlets.reports.send(Report::Recovering);
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// When the frames that are in the encoder went in.
#[derive(Debug, Default)]
struct InEncoder([Option<(u32, Instant)>; 8]);

impl InEncoder {
    fn enter(&mut self, sequence: u32, now: Instant) {
        self.0[sequence as usize % 8] = Some((sequence, now));
    }

    fn leave(&mut self, sequence: u32, now: Instant) -> Duration {
        match self.0[sequence as usize % 8].take() {
            Some((same, entered)) if same == sequence => now.saturating_duration_since(entered),
            Some(_) | None => Duration::ZERO,
        }
    }
}

/// What fits one datagram on any path with an MTU of 1280 (IPv6's least, and what LTE and VPNs leave): less 40 IPv6, 8 UDP, 12 RTP,
/// 24 of header extensions, 2 of RTX and 16 of the SRTP tag, rounded down.
const RTP_PAYLOAD_MAX: usize = 1160;

/// The supervisor's stall limit is eight times this.
const TELL_MOVED_EVERY: Duration = Duration::from_millis(250);

/// A camera that went silent without telling poll(2) is looked at this often.
const WAIT_AT_MOST: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
