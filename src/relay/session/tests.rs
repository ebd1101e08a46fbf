#![allow(clippy::disallowed_methods)] // a test's simulated time starts somewhere

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::last_words::LAST_WORDS_LIMIT;
use super::link::DIAL_DOUBT_LIMIT;
use super::pulse::SILENCE_LIMIT;
use super::troubles::SUMMARY_INTERVAL;
use super::*;
use crate::viewer::IceCandidate;

const PING_INTERVAL: Duration = Duration::from_secs(20);
const STABLE: Duration = Duration::from_secs(60);
const MAX_VIEWERS: usize = 3;

/// A session in simulated time, and everything it wanted done.
struct Robot {
    session: Session,
    now: Instant,
}

impl Robot {
    fn new() -> Self {
        let settings = SessionSettings {
            max_viewers: MAX_VIEWERS,
            ..SessionSettings::default()
        };
        Self {
            session: Session::new(&settings, 7),
            now: Instant::now(),
        }
    }

    fn connected() -> Self {
        let mut robot = Self::new();
        robot.tell(Input::Start);
        robot.tell(Input::LinkOpened { from: None });
        robot
    }

    fn tell(&mut self, input: Input) -> Vec<Action> {
        self.session.handle(input, self.now);
        self.actions()
    }

    fn hear(&mut self, text: &str) -> Vec<Action> {
        self.tell(Input::LinkMessage(FromRelay::parse(text).unwrap()))
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.session.poll_action()).collect()
    }

    /// Lets time pass, with every timeout on time.
    fn wait(&mut self, duration: Duration) -> Vec<Action> {
        let end = self.now + duration;
        let mut actions = Vec::new();
        while let Some((at, _)) = self.session.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = at;
            actions.extend(self.tell(Input::Timeout));
        }
        self.now = end;
        actions
    }

    fn redial(&mut self) -> Vec<Action> {
        let (at, why) = self.session.poll_timeout().unwrap();
        assert_eq!(why, "dial the relay again");
        self.now = at;
        let dialed = self.tell(Input::Timeout);
        assert_eq!(dialed, [Action::Dial]);
        self.tell(Input::LinkOpened { from: None })
    }

    fn delay(&self) -> Duration {
        let LinkState::Waiting { until } = self.session.status().state else {
            panic!("{:?} is not waiting", self.session.status());
        };
        until - self.now
    }
}

fn named(name: &str) -> ViewerId {
    ViewerId::named(name).unwrap()
}

fn ended(class: LinkFailure) -> Input {
    Input::LinkEnded(LinkEnd {
        class,
        message: "as told".into(),
        retry_after: None,
    })
}

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// The robot's own address is still there, or not.
fn network_changed(at_home: bool) -> Input {
    Input::NetworkChanged {
        addresses: Arc::new(at_home.then_some(HOME).into_iter().collect()),
    }
}

fn offer(viewer: &ViewerId, sdp: &str) -> Input {
    Input::ViewerOffer {
        viewer: viewer.clone(),
        sdp: sdp.into(),
    }
}

fn candidate(text: &str) -> IceCandidate {
    IceCandidate {
        candidate: text.into(),
        ..IceCandidate::default()
    }
}

fn open(viewer: &ViewerId) -> Action {
    Action::OpenViewer {
        viewer: viewer.clone(),
        ice_servers: vec![],
    }
}

fn close(viewer: &ViewerId, reason: CloseReason) -> Action {
    Action::CloseViewer {
        viewer: viewer.clone(),
        reason,
    }
}

fn send_error(viewer: &ViewerId, message: &str, code: &str) -> Action {
    Action::Send(ToRelay::Error {
        viewer: viewer.clone(),
        message: message.into(),
        code: Some(code.into()),
    })
}

fn send_bye(viewer: &ViewerId, reason: &str) -> Action {
    Action::Send(ToRelay::Bye {
        viewer: viewer.clone(),
        reason: Some(reason.into()),
    })
}

fn reports(actions: &[Action]) -> usize {
    actions
        .iter()
        .filter(|action| matches!(action, Action::Report(_)))
        .count()
}

#[test]
fn servers_of_a_kind_that_we_cannot_speak_to_are_left_to_the_browsers() {
    let server = |urls: &[&str], login: bool| IceServer {
        urls: urls.iter().map(ToString::to_string).collect(),
        username: login.then(|| "rover".into()),
        credential: login.then(|| "secret".into()),
    };
    let told = vec![
        server(&["turns:turn.example.com", "turn:turn.example.com"], true),
        server(&["turn:turn.example.com:3478"], false),
        server(&["stun:stun.example.com"], false),
        server(&["https://turn.example.com", ""], true),
    ];
    assert_eq!(
        usable(told),
        [
            server(&["turn:turn.example.com"], true),
            server(&["stun:stun.example.com"], false),
        ]
    );
}

#[test]
fn seed_relay_gets_one_anonymous_viewer_that_the_next_ready_replaces() {
    let mut robot = Robot::connected();
    let viewer = ViewerId::anonymous();

    assert_eq!(robot.hear(r#"{"type":"welcome"}"#), []);
    assert_eq!(robot.hear(r#"{"type":"ready"}"#), [open(&viewer)]);
    let sent = robot.tell(offer(&viewer, "v=0"));
    assert_eq!(
        sent,
        [Action::Send(ToRelay::Offer {
            viewer: viewer.clone(),
            sdp: "v=0".into()
        })]
    );
    let answered = robot.hear(r#"{"type":"answer","sdp":"v=0"}"#);
    assert_eq!(
        answered,
        [Action::Answer {
            viewer: viewer.clone(),
            sdp: "v=0".into()
        }]
    );
    assert_eq!(
        robot.hear(r#"{"type":"dashboard_ready"}"#),
        [close(&viewer, CloseReason::Replaced), open(&viewer)]
    );
}

#[test]
fn fourth_viewer_of_three_is_told_that_it_is_full() {
    let mut robot = Robot::connected();
    for name in ["a", "b", "c"] {
        let opened = robot.hear(&format!(r#"{{"type":"ready","viewer_id":"{name}"}}"#));
        assert_eq!(opened, [open(&named(name))]);
    }

    let refused = robot.hear(r#"{"type":"ready","viewer_id":"d"}"#);
    assert_eq!(
        refused,
        [send_error(
            &named("d"),
            "cannot take \"ready\": as many viewers as this robot serves are watching already",
            "max_viewers"
        )]
    );

    assert_eq!(
        robot.hear(r#"{"type":"bye","viewer_id":"a"}"#),
        [close(&named("a"), CloseReason::Left)]
    );
    let opened = robot.hear(r#"{"type":"ready","viewer_id":"d"}"#);
    assert_eq!(opened, [open(&named("d"))]);
}

#[test]
fn messages_that_make_no_sense_are_refused_by_name() {
    let mut robot = Robot::connected();
    let nobody = named("x");
    let unknown = |kind| {
        let message =
            format!("cannot take \"{kind}\": this viewer is not known here; say \"ready\" first");
        send_error(&nobody, &message, "unknown_viewer")
    };
    assert_eq!(
        robot.hear(r#"{"type":"answer","viewer_id":"x","sdp":"v=0"}"#),
        [unknown("answer")]
    );
    assert_eq!(
        robot.hear(r#"{"type":"ice_candidate","viewer_id":"x","candidate":"c"}"#),
        [unknown("ice_candidate")]
    );
    assert_eq!(
        robot.hear(r#"{"type":"offer","sdp":"v=0"}"#),
        [send_error(
            &ViewerId::anonymous(),
            "cannot take \"offer\": the robot makes the offers; say \"ready\" to get one",
            "unexpected_offer"
        )]
    );
    robot.hear(r#"{"type":"ready","viewer_id":"x"}"#);
    assert_eq!(
        robot.hear(r#"{"type":"answer","viewer_id":"x","sdp":"v=0"}"#),
        [send_error(
            &nobody,
            "cannot take \"answer\": there is no offer that waits for an answer",
            "unexpected_answer"
        )]
    );
    assert_eq!(robot.hear(r#"{"type":"teleport"}"#), []);
}

#[test]
fn viewer_hears_of_its_link_when_it_asks_and_no_more_than_four_times_a_second() {
    let mut robot = Robot::connected();
    let question = r#"{"type":"link","viewer_id":"a"}"#;
    assert_eq!(robot.hear(question), [], "a stranger, who is told nothing");
    robot.hear(r#"{"type":"ready","viewer_id":"a"}"#);

    let mut answers = 0;
    for _ in 0..1000 {
        let told = robot.hear(question);
        answers += told.len();
        let report = Action::ReportLink { viewer: named("a") };
        assert!(told.iter().all(|action| *action == report), "{told:?}");
        robot.wait(Duration::from_millis(1));
    }
    assert_eq!(answers, 4);
}

#[test]
fn viewer_keeps_its_picture_through_an_outage_and_speaks_when_it_is_over() {
    let mut robot = Robot::connected();
    let viewer = named("a");
    robot.hear(r#"{"type":"ready","viewer_id":"a"}"#);
    robot.tell(offer(&viewer, "first"));
    robot.hear(r#"{"type":"answer","viewer_id":"a","sdp":"v=0"}"#);

    let lost = robot.tell(ended(LinkFailure::Unreachable));
    assert_eq!(reports(&lost), lost.len(), "an outage closes nobody");
    let old = Input::ViewerCandidate {
        viewer: viewer.clone(),
        candidate: candidate("of the first offer"),
    };
    let new = Input::ViewerCandidate {
        viewer: viewer.clone(),
        candidate: candidate("of the restart"),
    };
    assert_eq!(robot.tell(old), []);
    assert_eq!(robot.tell(offer(&viewer, "restart")), []);
    assert_eq!(robot.tell(new), []);

    let sent: Vec<_> = robot
        .redial()
        .into_iter()
        .filter(|action| matches!(action, Action::Send(_)))
        .collect();
    assert_eq!(
        sent,
        [
            Action::Send(ToRelay::Offer {
                viewer: viewer.clone(),
                sdp: "restart".into()
            }),
            Action::Send(ToRelay::IceCandidate {
                viewer: viewer.clone(),
                candidate: candidate("of the restart")
            }),
        ]
    );
    assert_eq!(robot.hear(r#"{"type":"welcome"}"#), []);
    let later = robot.wait(ANSWER_LIMIT * 2);
    assert!(
        !later.contains(&close(&viewer, CloseReason::NoAnswer)),
        "a viewer with a picture keeps it: {later:?}"
    );
}

#[test]
fn words_into_a_link_that_was_dead_already_are_said_again() {
    let mut robot = Robot::connected();
    let (answered, waiting) = (named("answered"), named("waiting"));
    let candidate_of = |viewer: &ViewerId, text| Input::ViewerCandidate {
        viewer: viewer.clone(),
        candidate: candidate(text),
    };
    for viewer in [&answered, &waiting] {
        let ready = format!(r#"{{"type":"ready","viewer_id":"{viewer}"}}"#);
        robot.hear(&ready);
        robot.tell(offer(viewer, "v=0"));
    }
    robot.tell(candidate_of(&answered, "that arrived"));
    robot.wait(Duration::from_secs(5));
    robot.hear(r#"{"type":"answer","viewer_id":"answered","sdp":"v=0"}"#);

    robot.tell(candidate_of(&answered, "into the void"));
    robot.tell(candidate_of(&waiting, "into the void"));
    robot.tell(ended(LinkFailure::Silent));
    let said_again: Vec<_> = robot
        .redial()
        .into_iter()
        .filter(|action| matches!(action, Action::Send(_)))
        .collect();

    let again = |viewer: &ViewerId| {
        Action::Send(ToRelay::IceCandidate {
            viewer: viewer.clone(),
            candidate: candidate("into the void"),
        })
    };
    assert_eq!(
        said_again,
        [
            again(&answered),
            Action::Send(ToRelay::Offer {
                viewer: waiting.clone(),
                sdp: "v=0".into()
            }),
            again(&waiting),
        ]
    );
}

#[test]
fn offer_that_was_answered_is_not_said_again_when_the_link_ends_at_once() {
    let mut robot = Robot::connected();
    let viewer = named("a");
    robot.hear(r#"{"type":"ready","viewer_id":"a"}"#);
    robot.tell(offer(&viewer, "v=0"));
    robot.hear(r#"{"type":"answer","viewer_id":"a","sdp":"v=0"}"#);

    robot.tell(ended(LinkFailure::Unreachable));
    let after = robot.redial();

    assert!(
        !after.iter().any(|action| matches!(action, Action::Send(_))),
        "{after:?}"
    );
}

#[test]
fn viewer_that_left_during_an_outage_is_told_so_afterwards() {
    let mut robot = Robot::connected();
    let viewer = named("a");
    robot.hear(r#"{"type":"ready","viewer_id":"a"}"#);
    robot.tell(ended(LinkFailure::Unreachable));
    robot.tell(offer(&viewer, "never sent"));
    robot.tell(Input::ViewerEnded {
        viewer: viewer.clone(),
        reason: "connection failed".into(),
    });

    let sent: Vec<_> = robot
        .redial()
        .into_iter()
        .filter(|action| matches!(action, Action::Send(_)))
        .collect();
    assert_eq!(sent, [send_bye(&viewer, "connection failed")]);
}

#[test]
fn flood_of_candidates_during_an_outage_is_bounded() {
    let mut robot = Robot::connected();
    let viewer = named("a");
    robot.hear(r#"{"type":"ready","viewer_id":"a"}"#);
    robot.tell(ended(LinkFailure::Unreachable));
    robot.tell(offer(&viewer, "v=0"));
    for number in 0..1000 {
        robot.tell(Input::ViewerCandidate {
            viewer: viewer.clone(),
            candidate: candidate(&number.to_string()),
        });
    }
    let sent: Vec<_> = robot
        .redial()
        .into_iter()
        .filter(|action| matches!(action, Action::Send(_)))
        .collect();
    assert_eq!(sent.len(), 64);
    assert!(matches!(
        &sent[0],
        Action::Send(ToRelay::Offer { sdp, .. }) if sdp == "v=0"
    ));
}

#[test]
fn offer_without_an_answer_ends_the_viewer_after_twenty_seconds() {
    let mut robot = Robot::connected();
    let viewer = named("a");
    robot.hear(r#"{"type":"ready","viewer_id":"a"}"#);
    robot.tell(offer(&viewer, "v=0"));
    assert_eq!(robot.wait(Duration::from_millis(19_999)), []);
    let ended = robot.wait(Duration::from_millis(1));
    assert!(ended.contains(&close(&viewer, CloseReason::NoAnswer)));
    assert!(ended.contains(&send_bye(&viewer, "no answer to the offer")));
    assert_eq!(robot.tell(offer(&viewer, "too late")), []);
}

#[test]
fn silent_relay_is_given_up_within_thirty_seconds_of_its_last_word() {
    let mut robot = Robot::connected();
    robot.tell(Input::LinkHeard);
    assert_eq!(robot.wait(Duration::from_millis(29_499)), [Action::Ping]);
    assert_eq!(
        robot.wait(Duration::from_millis(1)),
        [Action::HangUp {
            reason: "no answer to ping"
        }]
    );
    assert_eq!(robot.wait(Duration::from_secs(60)), [], "no second dial");

    let ended = robot.tell(ended(LinkFailure::HungUp));
    let [Action::Report(status)] = ended.as_slice() else {
        panic!("{ended:?} is not one report");
    };
    let trouble = status.trouble.as_ref().unwrap();
    assert_eq!(trouble.class, LinkFailure::Silent);
    assert_eq!(trouble.message, "relay answered no ping for 9.5s");
}

#[test]
fn relay_that_answers_pings_is_kept_for_a_month() {
    let mut robot = Robot::connected();
    for _ in 0..30 * 24 * 3600 / PING_INTERVAL.as_secs() {
        assert_eq!(robot.wait(PING_INTERVAL), [Action::Ping]);
        robot.tell(Input::LinkHeard);
    }
}

#[test]
fn link_whose_address_is_gone_is_dialed_anew_at_once() {
    let mut robot = Robot::new();
    robot.tell(Input::Start);
    robot.tell(Input::LinkOpened { from: Some(HOME) });
    robot.wait(Duration::from_secs(3));

    assert_eq!(
        robot.tell(network_changed(false)),
        [Action::HangUp {
            reason: "the network changed"
        }]
    );
    robot.tell(ended(LinkFailure::HungUp));

    let trouble = robot.session.status().trouble.unwrap();
    assert_eq!(trouble.class, LinkFailure::Unreachable);
    assert_eq!(trouble.message, "the link's own address 192.0.2.7 is gone");
    assert!(robot.delay() <= Duration::from_millis(250));
}

#[test]
fn link_that_keeps_its_address_is_asked_and_kept_when_it_answers() {
    let mut robot = Robot::new();
    robot.tell(Input::Start);
    robot.tell(Input::LinkOpened { from: Some(HOME) });
    assert_eq!(robot.tell(network_changed(true)), [Action::Ping]);
    robot.wait(Duration::from_millis(2900));
    robot.tell(Input::LinkHeard);
    assert_eq!(robot.wait(Duration::from_secs(17)), []);

    assert_eq!(robot.tell(network_changed(true)), [Action::Ping]);
    assert_eq!(
        robot.wait(Duration::from_secs(3)),
        [Action::HangUp {
            reason: "no answer to ping"
        }]
    );
    robot.tell(ended(LinkFailure::HungUp));
    let trouble = robot.session.status().trouble.unwrap();
    assert_eq!(trouble.message, "relay answered no ping for 3s");
}

#[test]
fn network_that_returns_ends_a_minutes_wait_but_not_one_that_the_relay_asked_for() {
    let mut robot = Robot::new();
    robot.tell(Input::Start);
    for _ in 0..20 {
        robot.tell(ended(LinkFailure::Unreachable));
        robot.wait(robot.delay());
    }
    robot.wait(Duration::from_secs(5));
    robot.tell(ended(LinkFailure::Unreachable));
    robot.tell(network_changed(true));
    assert!(robot.delay() <= Duration::from_millis(250));

    robot.wait(robot.delay());
    robot.tell(Input::LinkEnded(LinkEnd {
        class: LinkFailure::Http { status: 429 },
        message: "too many".into(),
        retry_after: Some(Duration::from_secs(70)),
    }));
    robot.tell(network_changed(true));
    assert!(robot.delay() >= Duration::from_secs(70));
}

#[test]
fn interface_that_flaps_for_a_minute_costs_about_a_dial_a_second() {
    let mut robot = Robot::new();
    robot.tell(Input::Start);
    robot.tell(ended(LinkFailure::Unreachable));
    let mut dials = 0;
    for _ in 0..600 {
        for action in robot.wait(Duration::from_millis(100)) {
            assert_eq!(action, Action::Dial);
            dials += 1;
            robot.tell(ended(LinkFailure::Unreachable));
        }
        robot.tell(network_changed(true));
    }
    assert!((30..=80).contains(&dials), "{dials} dials");
}

#[test]
fn dial_from_an_address_that_went_away_does_not_wait_for_its_deadline() {
    let mut robot = Robot::new();
    robot.tell(Input::Start);
    assert_eq!(robot.tell(network_changed(false)), []);
    assert_eq!(
        robot.wait(DIAL_DOUBT_LIMIT),
        [Action::HangUp {
            reason: "the network changed"
        }]
    );
    robot.tell(ended(LinkFailure::HungUp));
    assert!(robot.delay() <= Duration::from_millis(250));
}

#[test]
fn cameras_of_one_robot_dial_one_after_the_other() {
    let settings = SessionSettings {
        start_after: Duration::from_millis(300),
        ..SessionSettings::default()
    };
    let mut robot = Robot::new();
    robot.session = Session::new(&settings, 7);
    assert_eq!(robot.tell(Input::Start), []);
    assert_eq!(robot.wait(Duration::from_millis(299)), []);
    assert_eq!(robot.wait(Duration::from_millis(1)), [Action::Dial]);
}

#[test]
fn wrong_key_is_tried_again_at_the_longest_delay_only() {
    let mut robot = Robot::new();
    robot.tell(Input::Start);
    robot.tell(ended(LinkFailure::Unauthorized));
    assert!(robot.delay() >= Duration::from_secs(54));

    let mut told = Robot::connected();
    told.hear(r#"{"type":"error","message":"bad key","code":"unauthorized"}"#);
    told.tell(ended(LinkFailure::ClosedByRelay {
        code: Some(1008),
        reason: String::new(),
    }));
    assert!(told.delay() >= Duration::from_secs(54));
    let trouble = told.session.status().trouble.unwrap();
    assert_eq!(trouble.class, LinkFailure::Unauthorized);
    assert_eq!(trouble.message, "as told; the relay said \"bad key\"");
}

#[test]
fn relay_that_says_when_to_come_back_is_obeyed() {
    let mut robot = Robot::new();
    robot.tell(Input::Start);
    robot.tell(Input::LinkEnded(LinkEnd {
        class: LinkFailure::Http { status: 429 },
        message: "too many".into(),
        retry_after: Some(Duration::from_secs(7)),
    }));
    let delay = robot.delay().as_secs_f64();
    assert!((7.0..=7.7).contains(&delay), "{delay}");

    let mut restarted = Robot::connected();
    restarted.hear(r#"{"type":"error","message":"restarting","retry_after_s":30}"#);
    restarted.tell(ended(LinkFailure::HungUp));
    let delay = restarted.delay().as_secs_f64();
    assert!((30.0..=33.0).contains(&delay), "{delay}");
}

#[test]
fn error_of_last_week_does_not_explain_todays_end() {
    let mut robot = Robot::connected();
    robot.hear(r#"{"type":"error","message":"old","retry_after_s":3000}"#);
    robot.wait(Duration::from_secs(11));
    robot.tell(ended(LinkFailure::Unreachable));
    assert!(robot.delay() < Duration::from_secs(1));
    assert_eq!(robot.session.status().trouble.unwrap().message, "as told");
}

#[test]
fn same_failure_is_said_once_and_then_every_five_minutes() {
    let mut robot = Robot::new();
    robot.tell(Input::Start);
    let begin = robot.now;
    let mut said = Vec::new();
    while robot.now < begin + Duration::from_secs(3600) {
        let actions = robot.tell(ended(LinkFailure::Refused));
        if reports(&actions) > 0 {
            said.push(robot.now - begin);
        }
        robot.wait(robot.delay());
    }
    assert_eq!(said[0], Duration::ZERO);
    assert!(said.len() <= 12, "{said:?}");
    for pair in said.windows(2) {
        assert!(pair[1] - pair[0] >= SUMMARY_INTERVAL, "{said:?}");
    }

    let changed = robot.tell(ended(LinkFailure::Tls));
    assert_eq!(reports(&changed), 1);
}

#[test]
fn two_failures_by_turns_fill_the_log_no_faster_than_one() {
    let mut robot = Robot::new();
    robot.tell(Input::Start);
    let begin = robot.now;
    let mut said = 0;
    for class in [LinkFailure::Refused, LinkFailure::TimedOut]
        .into_iter()
        .cycle()
    {
        if robot.now >= begin + Duration::from_secs(3600) {
            break;
        }
        said += reports(&robot.tell(ended(class)));
        robot.wait(robot.delay());
    }
    assert!((2..=24).contains(&said), "{said} reports in an hour");
}

#[test]
fn link_that_comes_and_goes_is_not_announced_each_time() {
    let mut robot = Robot::connected();
    let mut said = 0;
    for _ in 0..20 {
        said += reports(&robot.tell(ended(LinkFailure::Unreachable)));
        said += reports(&robot.redial());
        robot.wait(Duration::from_secs(1));
    }
    assert!(said <= 4, "{said} reports");

    robot.wait(Duration::from_secs(19));
    robot.tell(Input::LinkHeard);
    robot.wait(Duration::from_secs(20));
    robot.tell(Input::LinkHeard);
    robot.wait(Duration::from_secs(25));
    assert_eq!(robot.session.status().trouble, None, "stable again");
}

#[test]
fn shut_down_takes_leave_of_everyone_and_never_dials_again() {
    let mut robot = Robot::connected();
    let viewer = named("a");
    robot.hear(r#"{"type":"ready","viewer_id":"a"}"#);
    assert_eq!(
        robot.tell(Input::ShutDown),
        [
            send_bye(&viewer, "robot is shutting down"),
            close(&viewer, CloseReason::ShutDown),
            Action::HangUp {
                reason: "robot is shutting down"
            },
        ]
    );
    assert_eq!(robot.tell(ended(LinkFailure::HungUp)), []);
    assert_eq!(robot.tell(Input::Start), []);
    assert_eq!(robot.session.poll_timeout(), None);
}

#[test]
fn turn_credentials_of_the_newest_welcome_go_to_the_next_viewer() {
    let mut robot = Robot::connected();
    robot.hear(r#"{"type":"welcome","ice_servers":[{"urls":"turn:old.example.com","username":"u","credential":"c"}]}"#);
    robot.hear(r#"{"type":"welcome","ice_servers":[{"urls":"turn:new.example.com","username":"u","credential":"c"}]}"#);
    let opened = robot.hear(r#"{"type":"ready"}"#);
    let [Action::OpenViewer { ice_servers, .. }] = opened.as_slice() else {
        panic!("{opened:?} opens no viewer");
    };
    assert_eq!(ice_servers[0].urls, ["turn:new.example.com"]);
}

/// What may happen to a robot, in any order, sensible or not.
#[derive(Clone, Debug)]
enum Event {
    Wait(Duration),
    Tell(Input),
}

fn viewer_name() -> impl Strategy<Value = ViewerId> {
    prop_oneof![
        Just(ViewerId::anonymous()),
        "[a-e]".prop_map(|name| named(&name)),
    ]
}

fn message() -> impl Strategy<Value = FromRelay> {
    prop_oneof![
        Just(FromRelay::Welcome {
            ice_servers: vec![],
            features: vec![]
        }),
        any::<Option<u16>>().prop_map(|seconds| FromRelay::Error {
            message: "x".into(),
            code: None,
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds.into())),
        }),
        viewer_name().prop_map(|viewer| FromRelay::Ready { viewer }),
        viewer_name().prop_map(|viewer| FromRelay::Answer {
            viewer,
            sdp: String::new()
        }),
        viewer_name().prop_map(|viewer| FromRelay::IceCandidate {
            viewer,
            candidate: IceCandidate::default()
        }),
        viewer_name().prop_map(|viewer| FromRelay::Offer { viewer }),
        viewer_name().prop_map(|viewer| FromRelay::Bye { viewer }),
        viewer_name().prop_map(|viewer| FromRelay::Link { viewer }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let class = prop_oneof![
        Just(LinkFailure::Refused),
        Just(LinkFailure::Unauthorized),
        Just(LinkFailure::Http { status: 503 }),
        Just(LinkFailure::HungUp),
    ];
    let end = (class, any::<Option<u16>>()).prop_map(|(class, seconds)| LinkEnd {
        class,
        message: String::new(),
        retry_after: seconds.map(|seconds| Duration::from_secs(seconds.into())),
    });
    let input = prop_oneof![
        4 => Just(Input::Start),
        4 => Just(Input::Timeout),
        10 => Just(Input::LinkOpened { from: Some(HOME) }),
        10 => Just(Input::LinkHeard),
        20 => message().prop_map(Input::LinkMessage),
        8 => end.prop_map(Input::LinkEnded),
        10 => viewer_name().prop_map(|viewer| offer(&viewer, "v=0")),
        10 => viewer_name().prop_map(|viewer| Input::ViewerCandidate {
            viewer,
            candidate: IceCandidate::default()
        }),
        4 => viewer_name().prop_map(|viewer| Input::ViewerEnded {
            viewer,
            reason: String::new()
        }),
        6 => any::<bool>().prop_map(network_changed),
        1 => Just(Input::ShutDown),
    ];
    prop_oneof![
        3 => input.prop_map(Event::Tell),
        1 => (0_u64..100_000).prop_map(|ms| Event::Wait(Duration::from_millis(ms))),
    ]
}

/// What the world outside sees, and what it may expect of a session.
struct Witness {
    dialed: bool,
    opened: Option<Instant>,
    heard: Instant,
    hung_up: bool,
    shut_down: bool,
    /// At most so many since the last stable time.
    attempts: u32,
    changed: Option<Instant>,
    viewers: std::collections::BTreeSet<ViewerId>,
    said: Option<(Instant, Option<Duration>)>,
}

impl Witness {
    fn before(&mut self, input: &Input, now: Instant) -> Option<LinkEnd> {
        match input {
            Input::LinkOpened { .. } if self.dialed && self.opened.is_none() && !self.hung_up => {
                self.opened = Some(now);
                self.heard = now;
                self.said = None;
            }
            Input::LinkHeard => self.heard = now,
            Input::LinkMessage(message) => {
                self.heard = now;
                if let FromRelay::Error { retry_after, .. } = message
                    && self.opened.is_some()
                    && !self.hung_up
                {
                    self.said = Some((now, *retry_after));
                }
            }
            Input::LinkEnded(end) if self.dialed => {
                self.dialed = false;
                self.hung_up = false;
                if self.opened.take().is_some_and(|at| now - at >= STABLE) {
                    self.attempts = 0;
                }
                let mut end = end.clone();
                if let Some((at, hint)) = self.said.take()
                    && now - at <= LAST_WORDS_LIMIT
                {
                    end.retry_after = end.retry_after.or(hint);
                }
                return Some(end).filter(|_| !self.shut_down);
            }
            Input::ShutDown => self.shut_down = true,
            Input::NetworkChanged { .. } => {
                if self
                    .changed
                    .is_none_or(|at| now - at >= Duration::from_secs(10))
                {
                    self.attempts = 0;
                }
                self.changed = Some(now);
                self.attempts += 1;
            }
            Input::Start
            | Input::Timeout
            | Input::LinkOpened { .. }
            | Input::LinkEnded(_)
            | Input::ViewerOffer { .. }
            | Input::ViewerCandidate { .. }
            | Input::ViewerEnded { .. } => {}
        }
        None
    }

    fn after(&mut self, action: &Action) -> Result<(), TestCaseError> {
        match action {
            Action::Dial => {
                prop_assert!(!self.dialed, "two dials at once");
                prop_assert!(!self.shut_down, "a dial after the end");
                self.dialed = true;
            }
            Action::Ping | Action::Send(_) => {
                prop_assert!(
                    self.opened.is_some() && !self.hung_up,
                    "spoke into the void"
                );
            }
            Action::HangUp { .. } => {
                prop_assert!(self.dialed && !self.hung_up, "hung up nothing");
                self.hung_up = true;
            }
            Action::OpenViewer { viewer, .. } => {
                prop_assert!(self.viewers.insert(viewer.clone()), "opened twice");
                prop_assert!(self.viewers.len() <= MAX_VIEWERS, "too many viewers");
            }
            Action::Answer { viewer, .. }
            | Action::Candidate { viewer, .. }
            | Action::ReportLink { viewer } => {
                prop_assert!(self.viewers.contains(viewer), "told a viewer that is not");
            }
            Action::CloseViewer { viewer, .. } => {
                prop_assert!(self.viewers.remove(viewer), "closed twice");
            }
            Action::Report(_) => {}
        }
        Ok(())
    }
}

fn check_delay(delay: Duration, end: &LinkEnd, attempts: u32) -> Result<(), TestCaseError> {
    let (first, max) = (Duration::from_millis(250), Duration::from_secs(60));
    let bounds = match end.retry_after {
        Some(hint) => {
            let hint = hint.clamp(first, Duration::from_secs(3600));
            hint..=hint * 11 / 10
        }
        None if end.class == LinkFailure::Unauthorized => max * 9 / 10..=max,
        None => Duration::from_millis(20)..=(first * 2_u32.pow(attempts.min(10))).min(max),
    };
    prop_assert!(
        bounds.contains(&delay),
        "{delay:?} is not within {bounds:?}"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_inputs_in_any_order_keep_the_policy(
        events in proptest::collection::vec(event(), 1..200),
    ) {
        let mut robot = Robot::new();
        let mut witness = Witness {
            dialed: false,
            opened: None,
            heard: robot.now,
            hung_up: false,
            shut_down: false,
            attempts: 0,
            changed: None,
            viewers: std::collections::BTreeSet::new(),
            said: None,
        };
        let mut started = false;
        for event in events {
            let (until, mut input) = match event {
                Event::Wait(duration) => (robot.now + duration, None),
                Event::Tell(input) => (robot.now, Some(input)),
            };
            loop {
                let due = robot.session.poll_timeout().filter(|(at, _)| *at <= until);
                let input = match (due, input.take()) {
                    (_, Some(input)) => input,
                    (Some((at, _)), None) => {
                        robot.now = at;
                        Input::Timeout
                    }
                    (None, None) => break,
                };
                started |= matches!(input, Input::Start);
                if let Input::ViewerEnded { viewer, .. } = &input {
                    witness.viewers.remove(viewer);
                }
                let ended = witness.before(&input, robot.now);
                let timeout = matches!(input, Input::Timeout);
                for action in robot.tell(input) {
                    witness.after(&action)?;
                }
                if let Some(end) = ended {
                    check_delay(robot.delay(), &end, witness.attempts)?;
                    witness.attempts += 1;
                }
                if timeout && let Some((at, why)) = robot.session.poll_timeout() {
                    prop_assert!(at > robot.now, "busy loop to {why}");
                }
            }
            robot.now = until;
            if witness.opened.is_some() && !witness.hung_up {
                let silence = robot.now - witness.heard;
                prop_assert!(silence < PING_INTERVAL + SILENCE_LIMIT, "{silence:?} of silence");
            }
            let goes_on = witness.dialed || robot.session.poll_timeout().is_some();
            prop_assert!(goes_on || !started || witness.shut_down, "it gave up");
        }
    }
}
