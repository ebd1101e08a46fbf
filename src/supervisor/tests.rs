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
fn camera_that_is_to_give_another_size_stops_and_starts_at_once() {
    let mut scene = Scene::running();
    let why = StopReason::OtherSize;
    let stop = [Action::Stop { camera: 0, why }];
    assert_eq!(scene.tell(Report::OtherSize { camera: 0 }), stop);
    assert_eq!(scene.tell(Report::OtherSize { camera: 0 }), [], "once");
    // It closes slowly.
    assert_eq!(scene.after(STALL_LIMIT * 2, Report::Timeout), []);

    let start = [Action::Start { camera: 0 }];
    assert_eq!(scene.tell(Report::Stopped { camera: 0 }), start);
    assert_eq!(scene.supervisor.failure(0), None);
}

#[test]
fn camera_that_nobody_watches_any_more_is_not_opened_again_for_another_size() {
    let mut scene = Scene::running();
    scene.tell(Report::Viewers {
        camera: 0,
        count: 0,
    });
    scene.tell(Report::OtherSize { camera: 0 });
    assert_eq!(scene.tell(Report::Stopped { camera: 0 }), []);
    assert_eq!(scene.supervisor.state(0), &CameraState::Asleep);
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
fn encoder_that_is_put_right_has_the_time_of_one_that_starts() {
    let mut scene = Scene::running();

    scene.tell(Report::Recovering { camera: 0 });
    assert_eq!(scene.after(STALL_LIMIT * 2, Report::Timeout), []);
    scene.tell(Report::Moved { camera: 0 });
    assert!(matches!(
        scene.supervisor.state(0),
        CameraState::Running { .. }
    ));

    scene.tell(Report::Recovering { camera: 0 });
    let done = scene.after(START_DEADLINE, Report::Timeout);
    let why = StopReason::Stalled;
    assert!(done.contains(&Action::Stop { camera: 0, why }));
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
fn a_camera_that_is_plugged_in_again_is_opened_at_once_however_long_it_was_away() {
    let mut scene = Scene::running();
    for _ in 0..20 {
        scene.tell(Report::Failed {
            camera: 0,
            why: "it is unplugged".into(),
            lasting: false,
        });
        scene.after(RESTART_MAX, Report::Timeout);
    }
    scene.tell(Report::Failed {
        camera: 0,
        why: "it is unplugged".into(),
        lasting: true,
    });

    assert_eq!(scene.tell(Report::DeviceCame), []);
    let soon = scene.after(DEVICE_SETTLES, Report::Timeout);
    assert_eq!(soon, [Action::Start { camera: 0 }]);

    // udev was slower: the next tries are quick, too.
    scene.tell(Report::Failed {
        camera: 0,
        why: "permission denied".into(),
        lasting: false,
    });
    let again = scene.after(RESTART_FIRST, Report::Timeout);
    assert_eq!(again, [Action::Start { camera: 0 }]);
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
        (camera.clone(), 0..3usize).prop_map(|(camera, count)| Report::Viewers { camera, count }),
        camera.clone().prop_map(|camera| Report::Moved { camera }),
        camera
            .clone()
            .prop_map(|camera| Report::Recovering { camera }),
        camera
            .clone()
            .prop_map(|camera| Report::OtherSize { camera }),
        (camera.clone(), any::<bool>()).prop_map(|(camera, lasting)| Report::Failed {
            camera,
            why: "x".into(),
            lasting
        }),
        camera.prop_map(|camera| Report::Stopped { camera }),
        Just(Report::Timeout),
        Just(Report::DeviceCame),
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
