//! Decides what is running: nothing without viewers, and never for long something that stands still.
//!
//! ```text
//!                 wanted                     first unit
//!   ┌► Asleep ─────────────► Starting ──────────────────────► Running
//!   │    ▲                    │  ▲ │                           │   │
//!   │    │ not wanted         │  │ │ start deadline,           │   │ stall limit
//!   │    │                    │  │ │ failed                    │   │ without a unit, failed
//!   │  Waiting { until } ◄────┼──┼─┴────── Stopping ◄──────────┘   │
//!   │    │                    │  │            ▲  │                 │
//!   │    └─────────────────── │ ─┘ until      └──┼─────────────────┘
//!   └───────────────── not wanted (linger) ──────┘ stopped
//! ```
//!
//! A running camera whose encoder is being put right is starting again. One that is to give pictures of another size stops, and starts
//! at once.
//!
//! Waiting and asleep are declared and healthy. Starting, running and stopping have a deadline each; past it the
//! watchdog goes hungry, and systemd ends what this process could not.

mod interface;

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

pub use interface::{Action, CameraIndex, CameraState, Report, StopReason, SupervisorSettings};

/// What is running on the robot, one state a camera.
#[derive(Debug)]
pub struct Supervisor {
    cameras: Vec<Camera>,
    watchdog: Option<Watchdog>,
    shutting_down: bool,
    actions: std::collections::VecDeque<Action>,
    last_status: String,
}

#[derive(Debug)]
struct Camera {
    state: CameraState,
    viewers: usize,
    keep_warm: bool,
    /// When the last viewer left, while the pipeline runs on for the next.
    deserted: Option<Instant>,
    /// Why it failed, until it runs again.
    failure: Option<String>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Watchdog {
    interval: Duration,
    fed: Instant,
    /// It was due for food, but something is stuck.
    starving: bool,
}

impl Supervisor {
    /// `keep_warm` has one entry a camera: true runs it without viewers too.
    pub fn new(settings: SupervisorSettings, keep_warm: &[bool], now: Instant) -> Self {
        let camera = |(index, &keep_warm): (usize, &bool)| Camera {
            state: CameraState::Asleep,
            viewers: 0,
            keep_warm,
            deserted: None,
            failure: None,
            backoff: Backoff::new(
                RESTART_FIRST,
                RESTART_MAX,
                RESTART_RESET_AFTER,
                settings.seed ^ index as u64,
            ),
        };
        let mut supervisor = Self {
            cameras: keep_warm.iter().enumerate().map(camera).collect(),
            // systemd asks for twice the pace of its limit (sd_watchdog_enabled(3)).
            watchdog: settings.watchdog.map(|limit| Watchdog {
                interval: limit / 2,
                fed: now,
                starving: false,
            }),
            shutting_down: false,
            actions: std::collections::VecDeque::new(),
            last_status: String::new(),
        };
        supervisor.settle(now);
        supervisor
    }

    pub fn handle(&mut self, report: Report, now: Instant) {
        match report {
            Report::Viewers { camera, count } => {
                let camera = &mut self.cameras[camera];
                if count > 0 {
                    camera.deserted = None;
                } else if camera.viewers > 0 {
                    camera.deserted = Some(now);
                }
                camera.viewers = count;
            }
            Report::Moved { camera } => {
                let camera = &mut self.cameras[camera];
                match camera.state {
                    CameraState::Starting { .. } => {
                        camera.backoff.connected(now);
                        camera.failure = None;
                        camera.state = CameraState::Running { moved: now };
                    }
                    CameraState::Running { .. } => {
                        camera.state = CameraState::Running { moved: now };
                    }
                    // A unit that was on its way when the decision fell.
                    CameraState::Asleep
                    | CameraState::Stopping { .. }
                    | CameraState::Waiting { .. } => {}
                }
            }
            Report::Recovering { camera } => {
                let camera = &mut self.cameras[camera];
                if let CameraState::Running { .. } | CameraState::Starting { .. } = camera.state {
                    camera.state = CameraState::Starting { since: now };
                }
            }
            Report::OtherSize { camera } => {
                if let Some(action) = self.cameras[camera].open_again(camera, now) {
                    self.actions.push_back(action);
                }
            }
            Report::Failed {
                camera,
                why,
                lasting,
            } => self.failed(camera, why, lasting, now),
            Report::Stopped { camera } => self.stopped(camera, now),
            Report::DeviceCame => {
                for camera in &mut self.cameras {
                    camera.try_soon(now);
                }
            }
            Report::Timeout => {}
            Report::ShutDown => self.shutting_down = true,
        }
        self.settle(now);
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to come back with `Report::Timeout`, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let cameras = self.cameras.iter().filter_map(|camera| match camera.state {
            CameraState::Starting { since } => {
                Some((since + START_DEADLINE, "camera start deadline"))
            }
            CameraState::Running { moved } => {
                let stall = (moved + STALL_LIMIT, "camera stall limit");
                match camera.deserted {
                    Some(since) if camera.is_idle() => {
                        Some(stall.min((since + LINGER, "nobody watches")))
                    }
                    Some(_) | None => Some(stall),
                }
            }
            CameraState::Waiting { until } => Some((until, "camera restart")),
            CameraState::Asleep | CameraState::Stopping { .. } => None,
        });
        // While something is stuck only its end can bring food.
        let hungry = self.watchdog.as_ref().filter(|dog| !dog.starving);
        let hungry = hungry.map(|dog| (dog.fed + dog.interval, "watchdog"));
        cameras.chain(hungry).min_by_key(|(at, _)| *at)
    }

    pub fn state(&self, camera: CameraIndex) -> &CameraState {
        &self.cameras[camera].state
    }

    /// Why the camera failed last; `None` once it has run again.
    pub fn failure(&self, camera: CameraIndex) -> Option<&str> {
        self.cameras[camera].failure.as_deref()
    }

    /// False when something is neither moving nor declared to be resting.
    pub fn is_healthy(&self, now: Instant) -> bool {
        self.cameras.iter().all(|camera| camera.is_healthy(now))
    }

    fn failed(&mut self, index: CameraIndex, why: String, lasting: bool, now: Instant) {
        let camera = &mut self.cameras[index];
        camera.failure = Some(why);
        if self.shutting_down {
            camera.state = CameraState::Asleep;
            return;
        }
        camera.backoff.disconnected(now);
        let mut delay = camera.backoff.next_delay(now, None);
        if lasting {
            delay = RESTART_MAX;
        }
        camera.state = CameraState::Waiting { until: now + delay };
    }

    fn stopped(&mut self, index: CameraIndex, now: Instant) {
        let camera = &mut self.cameras[index];
        match camera.state {
            CameraState::Stopping {
                why: StopReason::Stalled,
                ..
            } if !self.shutting_down => {
                camera.backoff.disconnected(now);
                camera.failure = Some("it stood still".into());
                camera.state = CameraState::Waiting {
                    until: now + camera.backoff.next_delay(now, None),
                };
            }
            CameraState::Stopping { .. }
            | CameraState::Starting { .. }
            | CameraState::Running { .. } => camera.state = CameraState::Asleep,
            CameraState::Asleep | CameraState::Waiting { .. } => {}
        }
    }

    /// Brings every camera to where it should be, feeds the dog if all is well, and tells the state when it changed.
    fn settle(&mut self, now: Instant) {
        for (index, camera) in self.cameras.iter_mut().enumerate() {
            if let Some(action) = camera.settle(index, self.shutting_down, now) {
                self.actions.push_back(action);
            }
        }
        let healthy = self.is_healthy(now);
        if let Some(dog) = &mut self.watchdog
            && now >= dog.fed + dog.interval
        {
            dog.starving = !healthy;
            if healthy {
                dog.fed = now;
                self.actions.push_back(Action::FeedWatchdog);
            }
        }
        let status = self.status();
        if status != self.last_status {
            self.last_status.clone_from(&status);
            self.actions.push_back(Action::Status(status));
        }
        let all_ended = self
            .cameras
            .iter()
            .all(|camera| camera.state == CameraState::Asleep);
        if self.shutting_down && all_ended {
            self.actions.push_back(Action::Exit);
        }
    }

    fn status(&self) -> String {
        let viewers: usize = self.cameras.iter().map(|camera| camera.viewers).sum();
        let words: Vec<_> = self
            .cameras
            .iter()
            .map(|camera| camera.state.word())
            .collect();
        format!("{viewers} watching; cameras: {}", words.join(", "))
    }
}

impl Camera {
    fn is_idle(&self) -> bool {
        self.viewers == 0 && !self.keep_warm
    }

    /// What failed before says nothing about a device that came since.
    fn try_soon(&mut self, now: Instant) {
        self.backoff.start_over();
        if let CameraState::Waiting { until } = &mut self.state {
            *until = (*until).min(now + DEVICE_SETTLES);
        }
    }

    /// What is closed or closing opens with the other size in any case.
    fn open_again(&mut self, index: CameraIndex, now: Instant) -> Option<Action> {
        match self.state {
            CameraState::Starting { .. } | CameraState::Running { .. } => {
                let why = StopReason::OtherSize;
                self.state = CameraState::Stopping { since: now, why };
                Some(Action::Stop { camera: index, why })
            }
            CameraState::Asleep | CameraState::Stopping { .. } | CameraState::Waiting { .. } => {
                None
            }
        }
    }

    fn settle(&mut self, index: CameraIndex, shutting_down: bool, now: Instant) -> Option<Action> {
        let idle = self.is_idle();
        let stop = |why| {
            Some((
                CameraState::Stopping { since: now, why },
                Action::Stop { camera: index, why },
            ))
        };
        let start = || {
            Some((
                CameraState::Starting { since: now },
                Action::Start { camera: index },
            ))
        };
        let step = match &self.state {
            CameraState::Starting { .. } | CameraState::Running { .. } if shutting_down => {
                stop(StopReason::ShuttingDown)
            }
            CameraState::Waiting { .. } if shutting_down || idle => {
                self.state = CameraState::Asleep;
                None
            }
            CameraState::Asleep if !idle && !shutting_down => start(),
            CameraState::Waiting { until, .. } if now >= *until => start(),
            CameraState::Starting { since } if now >= *since + START_DEADLINE => {
                stop(StopReason::Stalled)
            }
            CameraState::Running { .. }
                if idle && self.deserted.is_some_and(|since| now >= since + LINGER) =>
            {
                stop(StopReason::NobodyWatches)
            }
            CameraState::Running { moved } if now >= *moved + STALL_LIMIT => {
                stop(StopReason::Stalled)
            }
            CameraState::Asleep
            | CameraState::Starting { .. }
            | CameraState::Running { .. }
            | CameraState::Stopping { .. }
            | CameraState::Waiting { .. } => None,
        };
        let (state, action) = step?;
        self.state = state;
        Some(action)
    }

    fn is_healthy(&self, now: Instant) -> bool {
        match self.state {
            CameraState::Asleep | CameraState::Waiting { .. } => true,
            CameraState::Starting { since } => now < since + START_DEADLINE,
            CameraState::Running { moved } => now < moved + STALL_LIMIT,
            CameraState::Stopping { since, .. } => now < since + STOP_DEADLINE,
        }
    }
}

/// A USB camera needs up to two seconds from open to its first picture, and an encoder's firmware some more. Longer, and a
/// person waits for a robot that will not come.
const START_DEADLINE: Duration = Duration::from_secs(8);

/// Ten frames of the slowest rate in use (5 fps). Shorter would restart cameras that lengthen exposure in the dark.
const STALL_LIMIT: Duration = Duration::from_secs(2);

/// bcm2835-codec waits up to two seconds in STREAMOFF for its buffers; past this the thread is stuck in the kernel, and only
/// the end of the process can help.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// A page that reloads is back within this: it then finds a running pipeline. The price is an encoder that runs this much longer.
const LINGER: Duration = Duration::from_secs(2);

/// Quick enough for a picture that returns while somebody looks; firmware that was closed wants a moment.
const RESTART_FIRST: Duration = Duration::from_millis(250);

/// udev sets names and rights of a device that came. Where it takes longer the next tries follow quickly.
const DEVICE_SETTLES: Duration = Duration::from_millis(100);

/// A camera that is plugged in again is noticed within this even if no event tells.
const RESTART_MAX: Duration = Duration::from_secs(15);

/// A pipeline that ran this long failed for a new reason.
const RESTART_RESET_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
