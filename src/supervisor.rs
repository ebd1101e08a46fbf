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
//! Waiting and asleep are declared and healthy. Starting, running and stopping have a deadline each; past it the
//! watchdog goes hungry, and systemd ends what this process could not.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// What is running on the robot, one state a camera.
#[derive(Debug)]
pub struct Supervisor {
    cameras: Vec<Camera>,
    watchdog: Option<Watchdog>,
    shutting_down: bool,
    actions: std::collections::VecDeque<Action>,
    last_status: String,
}

/// A camera is named by its place in the configuration.
pub type CameraIndex = usize;

/// What the parts tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// So many viewers are there now, on their way in included.
    Viewers {
        camera: CameraIndex,
        count: usize,
    },
    /// Access units came out of the encoder since the last report.
    Moved {
        camera: CameraIndex,
    },
    /// The pipeline ended by itself. `lasting`: opening it again with this configuration must fail in the same way.
    Failed {
        camera: CameraIndex,
        why: String,
        lasting: bool,
    },
    /// The pipeline has ended because it was told to.
    Stopped {
        camera: CameraIndex,
    },
    /// The instant that `poll_timeout` named has come.
    Timeout,
    ShutDown,
}

/// What the app is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open camera and encoder.
    Start {
        camera: CameraIndex,
    },
    /// End the pipeline; `Report::Stopped` or `Report::Failed` must follow.
    Stop {
        camera: CameraIndex,
        why: StopReason,
    },
    FeedWatchdog,
    /// One line for `systemctl status`.
    Status(String),
    /// Everything has stopped after `ShutDown`.
    Exit,
}

/// Why a pipeline is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    NobodyWatches,
    /// It gave no access unit within its deadline.
    Stalled,
    ShuttingDown,
}

/// What a camera's pipeline is doing, for `/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraState {
    Asleep,
    Starting {
        since: Instant,
    },
    Running {
        moved: Instant,
    },
    Stopping {
        since: Instant,
        why: StopReason,
    },
    /// It failed and is tried again.
    Waiting {
        until: Instant,
    },
}

impl CameraState {
    /// The word an operator would use.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Starting { .. } => "starting",
            Self::Running { .. } => "running",
            Self::Stopping { .. } => "stopping",
            Self::Waiting { .. } => "waiting",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct SupervisorSettings {
    /// systemd's `WatchdogSec`, when it watches.
    pub watchdog: Option<Duration>,
    /// The jitter of restarts.
    pub seed: u64,
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
            Report::Failed {
                camera,
                why,
                lasting,
            } => self.failed(camera, why, lasting, now),
            Report::Stopped { camera } => self.stopped(camera, now),
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

/// A camera that is plugged in again is noticed within this even if no event tells.
const RESTART_MAX: Duration = Duration::from_secs(15);

/// A pipeline that ran this long failed for a new reason.
const RESTART_RESET_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A supervisor of one camera, and its clock.
    struct Scene {
        supervisor: Supervisor,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self::with(&[false])
        }

        #[allow(clippy::disallowed_methods)] // the origin of simulated time
        fn with(keep_warm: &[bool]) -> Self {
            let now = Instant::now();
            let settings = SupervisorSettings {
                watchdog: Some(Duration::from_secs(10)),
                seed: 7,
            };
            let mut scene = Self {
                supervisor: Supervisor::new(settings, keep_warm, now),
                now,
            };
            scene.doings();
            scene
        }

        fn tell(&mut self, report: Report) -> Vec<Action> {
            self.supervisor.handle(report, self.now);
            self.doings()
        }

        fn after(&mut self, time: Duration, report: Report) -> Vec<Action> {
            self.now += time;
            self.tell(report)
        }

        /// What it asks for, without the status line.
        fn doings(&mut self) -> Vec<Action> {
            std::iter::from_fn(|| self.supervisor.poll_action())
                .filter(|action| !matches!(action, Action::Status(_)))
                .collect()
        }

        fn running() -> Self {
            let mut scene = Self::new();
            scene.tell(Report::Viewers {
                camera: 0,
                count: 1,
            });
            scene.tell(Report::Moved { camera: 0 });
            scene
        }
    }

    #[test]
    fn nobody_watching_nothing_running() {
        let mut scene = Scene::new();
        assert_eq!(scene.supervisor.state(0), &CameraState::Asleep);

        let started = scene.tell(Report::Viewers {
            camera: 0,
            count: 1,
        });
        assert_eq!(started, [Action::Start { camera: 0 }]);
        scene.tell(Report::Moved { camera: 0 });

        let left = scene.tell(Report::Viewers {
            camera: 0,
            count: 0,
        });
        assert_eq!(left, [], "a page that reloads finds the pipeline running");
        let stopped = scene.after(LINGER, Report::Timeout);
        assert_eq!(
            stopped,
            [Action::Stop {
                camera: 0,
                why: StopReason::NobodyWatches
            }]
        );
        scene.tell(Report::Stopped { camera: 0 });
        assert_eq!(scene.supervisor.state(0), &CameraState::Asleep);
    }

    #[test]
    fn viewer_who_comes_back_while_it_stops_gets_a_new_start() {
        let mut scene = Scene::running();
        scene.tell(Report::Viewers {
            camera: 0,
            count: 0,
        });
        scene.after(LINGER, Report::Timeout);

        assert_eq!(
            scene.tell(Report::Viewers {
                camera: 0,
                count: 1
            }),
            []
        );
        assert_eq!(
            scene.tell(Report::Stopped { camera: 0 }),
            [Action::Start { camera: 0 }]
        );
    }

    #[test]
    fn camera_kept_warm_runs_without_viewers() {
        #[allow(clippy::disallowed_methods)] // the origin of simulated time
        let now = Instant::now();
        let settings = SupervisorSettings {
            watchdog: None,
            seed: 7,
        };
        let mut supervisor = Supervisor::new(settings, &[true], now);
        assert_eq!(supervisor.poll_action(), Some(Action::Start { camera: 0 }));
    }

    #[test]
    fn pipeline_that_stands_still_is_restarted() {
        let mut scene = Scene::running();

        let stopped = scene.after(STALL_LIMIT, Report::Timeout);
        assert_eq!(
            stopped,
            [Action::Stop {
                camera: 0,
                why: StopReason::Stalled
            }]
        );
        scene.tell(Report::Stopped { camera: 0 });
        let CameraState::Waiting { until } = *scene.supervisor.state(0) else {
            panic!("it waits before it starts again");
        };
        scene.now = until;
        assert_eq!(scene.tell(Report::Timeout), [Action::Start { camera: 0 }]);
    }

    #[test]
    fn failure_that_will_not_pass_is_tried_at_the_slowest_pace() {
        let mut scene = Scene::new();
        scene.tell(Report::Viewers {
            camera: 0,
            count: 1,
        });
        scene.tell(Report::Failed {
            camera: 0,
            why: "not a video".into(),
            lasting: true,
        });
        assert_eq!(
            scene.supervisor.state(0),
            &CameraState::Waiting {
                until: scene.now + RESTART_MAX
            }
        );
        assert_eq!(scene.supervisor.failure(0), Some("not a video"));
    }

    #[test]
    fn failure_is_remembered_until_the_camera_runs_again() {
        let mut scene = Scene::new();
        scene.tell(Report::Viewers {
            camera: 0,
            count: 1,
        });
        scene.tell(Report::Failed {
            camera: 0,
            why: "unplugged".into(),
            lasting: false,
        });
        scene.tell(Report::Viewers {
            camera: 0,
            count: 0,
        });
        assert_eq!(scene.supervisor.state(0), &CameraState::Asleep);
        assert_eq!(scene.supervisor.failure(0), Some("unplugged"));

        scene.tell(Report::Viewers {
            camera: 0,
            count: 1,
        });
        scene.tell(Report::Moved { camera: 0 });
        assert_eq!(scene.supervisor.failure(0), None);
    }

    #[test]
    fn watchdog_is_fed_by_frames_that_move_and_starves_when_the_end_hangs() {
        let mut scene = Scene::running();
        for _ in 0..40 {
            scene.after(Duration::from_millis(250), Report::Moved { camera: 0 });
        }
        let fed = scene.after(Duration::from_secs(1), Report::Moved { camera: 0 });
        assert_eq!(fed.len(), 0, "fed a moment ago");

        scene.after(STALL_LIMIT, Report::Timeout);
        let mut hungry = Vec::new();
        for _ in 0..30 {
            hungry.extend(scene.after(Duration::from_secs(1), Report::Timeout));
        }
        let meals = hungry
            .iter()
            .filter(|action| **action == Action::FeedWatchdog)
            .count();
        assert!(meals <= 1, "the thread never ended, got {meals} meals");
        assert!(!scene.supervisor.is_healthy(scene.now));
    }

    #[test]
    fn sleeping_robot_feeds_its_watchdog() {
        let mut scene = Scene::new();
        let meals: Vec<_> = (0..20)
            .flat_map(|_| scene.after(Duration::from_secs(1), Report::Timeout))
            .collect();
        assert_eq!(meals, vec![Action::FeedWatchdog; 4]);
    }

    #[test]
    fn shut_down_waits_for_the_pipelines_and_then_exits() {
        let mut scene = Scene::running();
        let stopping = scene.tell(Report::ShutDown);
        assert_eq!(
            stopping,
            [Action::Stop {
                camera: 0,
                why: StopReason::ShuttingDown
            }]
        );
        assert_eq!(scene.tell(Report::Stopped { camera: 0 }), [Action::Exit]);
    }

    fn any_report() -> impl Strategy<Value = Report> {
        let camera = 0..2usize;
        prop_oneof![
            (camera.clone(), 0..3usize)
                .prop_map(|(camera, count)| Report::Viewers { camera, count }),
            camera.clone().prop_map(|camera| Report::Moved { camera }),
            (camera.clone(), any::<bool>()).prop_map(|(camera, lasting)| Report::Failed {
                camera,
                why: "x".into(),
                lasting
            }),
            camera.prop_map(|camera| Report::Stopped { camera }),
            Just(Report::Timeout),
        ]
    }

    proptest! {
        /// A pipeline is never started twice, never stopped when it does not run, and never runs without a deadline.
        #[test]
        fn any_reports_in_any_order_keep_the_policy(
            reports in prop::collection::vec((any_report(), 0..4000u64), 1..200)
        ) {
            let mut scene = Scene::with(&[false, false]);
            let mut open = [false; 2];
            for (report, elapsed_ms) in reports {
                if let Report::Failed { camera, .. } | Report::Stopped { camera } = &report {
                    // A pipeline ends once, and only one that was opened.
                    if !std::mem::take(&mut open[*camera]) {
                        continue;
                    }
                }
                scene.now += Duration::from_millis(elapsed_ms);
                for action in scene.tell(report) {
                    match action {
                        Action::Start { camera } => {
                            prop_assert!(!open[camera], "started twice");
                            open[camera] = true;
                        }
                        Action::Stop { camera, .. } => prop_assert!(open[camera], "stopped what does not run"),
                        Action::FeedWatchdog | Action::Status(_) | Action::Exit => {}
                    }
                }
                for (camera, open) in open.iter().enumerate() {
                    let runs = matches!(
                        scene.supervisor.state(camera),
                        CameraState::Starting { .. } | CameraState::Running { .. } | CameraState::Stopping { .. }
                    );
                    prop_assert_eq!(runs, *open);
                }
                if let Some((at, why)) = scene.supervisor.poll_timeout() {
                    prop_assert!(at > scene.now, "{} is due since {:?}", why, scene.now - at);
                }
            }
        }
    }
}
