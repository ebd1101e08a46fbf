#![allow(clippy::disallowed_methods)] // a test needs an instant to start from

use super::picture::HELD_UNITS;
use super::*;

use bytes::Bytes;
use proptest::prelude::*;

use crate::media::MediaTime;

#[test]
fn viewer_joins_and_sees_the_held_key_frame_at_once() {
    let start = Instant::now();
    let mut viewer = answered(start);
    viewer.handle(Input::Unit(key_frame(7)), start);
    viewer.handle(Input::Unit(delta(8)), start);
    assert_eq!(actions(&mut viewer), []);

    viewer.handle(Input::Connected, start);

    assert_eq!(
        actions(&mut viewer),
        [Action::Send(key_frame(7)), Action::Send(delta(8))]
    );
    assert_eq!(viewer.poll_timeout(), None);
}

#[test]
fn key_frame_is_asked_for_with_the_answer_and_every_second_until_it_comes() {
    let start = Instant::now();
    let mut viewer = Viewer::new();
    viewer.handle(Input::Offered, start);
    viewer.handle(Input::Answer("sdp".into()), start);
    assert_eq!(
        actions(&mut viewer),
        [Action::ApplyAnswer("sdp".into()), Action::AskKeyFrame]
    );

    for second in 1..=3 {
        let now = start + Duration::from_secs(second);
        assert_eq!(
            viewer.poll_timeout(),
            Some((now, "asks for a key frame again"))
        );
        viewer.handle(Input::Timeout, now);
        assert_eq!(actions(&mut viewer), [Action::AskKeyFrame]);
    }
    viewer.handle(Input::Unit(key_frame(1)), start);
    viewer.handle(Input::Connected, start);

    assert_eq!(actions(&mut viewer), [Action::Send(key_frame(1))]);
    assert_eq!(viewer.counts().asked, 4);
}

#[test]
fn late_viewer_skips_to_the_next_key_frame() {
    let start = Instant::now();
    let mut viewer = watching(start);

    viewer.handle(Input::Lagged { missed: 12 }, start);
    viewer.handle(Input::Unit(delta(13)), start);
    assert_eq!(actions(&mut viewer), [Action::AskKeyFrame]);

    viewer.handle(Input::Unit(key_frame(14)), start);
    viewer.handle(Input::Unit(delta(15)), start);
    assert_eq!(
        actions(&mut viewer),
        [Action::Send(key_frame(14)), Action::Send(delta(15))]
    );
    assert_eq!(viewer.counts().skipped, 13);
}

#[test]
fn connecting_for_longer_than_a_second_does_not_replay_old_pictures() {
    let start = Instant::now();
    let mut viewer = answered(start);
    viewer.handle(Input::Unit(key_frame(0)), start);
    for frame in 1..=HELD_UNITS as u32 {
        viewer.handle(Input::Unit(delta(frame)), start);
    }

    viewer.handle(Input::Connected, start);

    assert_eq!(actions(&mut viewer), [Action::AskKeyFrame]);
}

#[test]
fn who_watches_alone_waits_for_no_budget_when_its_queue_overflows() {
    let skips = |is_alone| {
        let start = Instant::now();
        let mut viewer = watching(start);
        viewer.handle(Input::Alone(is_alone), start);
        let mut asked = 0;
        for half_second in 1..=10 {
            let now = start + Duration::from_millis(500) * half_second;
            viewer.handle(Input::Lagged { missed: 7 }, now);
            asked += actions(&mut viewer)
                .iter()
                .filter(|action| **action == Action::AskKeyFrame)
                .count();
            viewer.handle(Input::Unit(key_frame(half_second)), now);
        }
        asked
    };
    assert_eq!(skips(true), 10);
    assert!(skips(false) <= 5, "others would pay");
}

#[test]
fn two_hundred_loss_reports_a_second_are_one_request_in_two() {
    let start = Instant::now();
    let mut viewer = watching(start);

    for report in 0..2000 {
        viewer.handle(Input::LossReport, start + Duration::from_millis(5) * report);
    }

    let requests = actions(&mut viewer).len();
    assert!((5..=7).contains(&requests), "{requests} in ten seconds");
    let end = start + Duration::from_secs(10);
    viewer.handle(Input::Unit(delta(2)), end);
    assert_eq!(actions(&mut viewer), [Action::Send(delta(2))]);
}

#[test]
fn request_that_came_too_soon_is_made_later_unless_a_key_frame_came_anyway() {
    let start = Instant::now();
    for came in [false, true] {
        let mut viewer = watching(start);
        for _ in 0..10 {
            viewer.handle(Input::LossReport, start);
        }
        actions(&mut viewer);
        if came {
            viewer.handle(Input::Unit(key_frame(2)), start);
            assert_eq!(viewer.poll_timeout(), None);
            continue;
        }
        let (at, _) = viewer.poll_timeout().unwrap();
        viewer.handle(Input::Timeout, at);
        assert_eq!(actions(&mut viewer), [Action::AskKeyFrame]);
    }
}

#[test]
fn viewer_recovers_after_three_seconds_without_an_answer() {
    let start = Instant::now();
    let mut viewer = watching(start);
    viewer.handle(Input::Silent, start);

    for second in 1..4 {
        let now = start + Duration::from_secs(second);
        viewer.handle(Input::Unit(key_frame(second as u32 + 1)), now);
        viewer.handle(Input::LossReport, now);
        viewer.handle(Input::Lagged { missed: 1 }, now);
        assert_eq!(actions(&mut viewer), []);
        assert_eq!(viewer.poll_timeout(), None);
    }

    let back = start + Duration::from_secs(4);
    viewer.handle(Input::Answers, back);
    assert_eq!(actions(&mut viewer), [Action::AskKeyFrame]);
    viewer.handle(Input::Unit(delta(9)), back);
    viewer.handle(Input::Unit(key_frame(10)), back);
    assert_eq!(actions(&mut viewer), [Action::Send(key_frame(10))]);
}

#[test]
fn candidates_wait_for_the_answer_in_order() {
    let start = Instant::now();
    let mut viewer = Viewer::new();
    viewer.handle(Input::RemoteCandidate(candidate(0)), start);
    viewer.handle(Input::Offered, start);
    viewer.handle(Input::RemoteCandidate(candidate(1)), start);
    assert_eq!(actions(&mut viewer), []);

    viewer.handle(Input::Answer("sdp".into()), start);
    viewer.handle(Input::RemoteCandidate(candidate(2)), start);

    assert_eq!(
        actions(&mut viewer),
        [
            Action::ApplyAnswer("sdp".into()),
            Action::AddCandidate(candidate(0)),
            Action::AddCandidate(candidate(1)),
            Action::AskKeyFrame,
            Action::AddCandidate(candidate(2)),
        ]
    );
}

#[test]
fn flood_of_candidates_keeps_the_newest() {
    let start = Instant::now();
    let mut viewer = Viewer::new();
    viewer.handle(Input::Offered, start);
    for number in 0..HELD_CANDIDATES + 3 {
        viewer.handle(Input::RemoteCandidate(candidate(number)), start);
    }

    viewer.handle(Input::Answer("sdp".into()), start);

    let actions = actions(&mut viewer);
    assert_eq!(actions[1], Action::AddCandidate(candidate(3)));
    assert_eq!(actions.len(), HELD_CANDIDATES + 2);
}

#[test]
fn second_answer_is_refused() {
    let start = Instant::now();
    let mut viewer = watching(start);

    viewer.handle(Input::Answer("another".into()), start);

    assert_eq!(actions(&mut viewer), []);
}

#[test]
fn garbage_answer_ends_the_viewer_with_its_reason() {
    let start = Instant::now();
    let mut viewer = answered(start);

    viewer.handle(Input::AnswerRefused("no media line".into()), start);

    let [Action::End(reason)] = &actions(&mut viewer)[..] else {
        panic!("the viewer goes on");
    };
    assert_eq!(
        reason.to_string(),
        "cannot use the browser's answer: no media line"
    );
}

#[test]
fn viewer_that_never_answers_ends_after_thirty_seconds() {
    let start = Instant::now();
    let mut viewer = Viewer::new();
    viewer.handle(Input::Offered, start);

    viewer.handle(
        Input::Timeout,
        start + ANSWER_DEADLINE - Duration::from_nanos(1),
    );
    assert_eq!(actions(&mut viewer), []);
    viewer.handle(Input::Timeout, start + ANSWER_DEADLINE);

    assert_eq!(actions(&mut viewer), [Action::End(PeerEnd::NoAnswer)]);
}

#[test]
fn viewer_recovers_after_ten_seconds_without_network() {
    let start = Instant::now();
    let mut viewer = watching(start);
    viewer.handle(Input::Disconnected, start);
    viewer.handle(Input::Unit(delta(2)), start);
    viewer.handle(Input::Timeout, start + Duration::from_millis(4999));
    assert_eq!(actions(&mut viewer), [], "the old way may come back");
    viewer.handle(Input::Timeout, start + Duration::from_secs(5));
    assert_eq!(actions(&mut viewer), [Action::RestartIce]);

    viewer.handle(Input::Connected, start + Duration::from_secs(10));
    viewer.handle(Input::Unit(delta(3)), start + Duration::from_secs(10));
    viewer.handle(Input::Unit(key_frame(4)), start + Duration::from_secs(10));

    assert_eq!(
        actions(&mut viewer),
        [Action::AskKeyFrame, Action::Send(key_frame(4))]
    );
}

#[test]
fn viewer_out_of_reach_for_fifteen_seconds_is_lost() {
    let start = Instant::now();
    let mut viewer = watching(start);
    viewer.handle(Input::Disconnected, start);
    viewer.handle(Input::Timeout, start + RESTART_AFTER);
    assert_eq!(
        viewer.poll_timeout(),
        Some((start + AWAY_GRACE, "gives up"))
    );

    viewer.handle(Input::Timeout, start + AWAY_GRACE);

    assert_eq!(
        actions(&mut viewer),
        [Action::RestartIce, Action::End(PeerEnd::Lost)]
    );
}

#[test]
fn way_that_failed_is_looked_for_once_more_and_then_given_up() {
    let start = Instant::now();
    let mut viewer = watching(start);
    viewer.handle(Input::Failed, start);
    assert_eq!(actions(&mut viewer), [Action::RestartIce]);

    viewer.handle(Input::Connected, start + Duration::from_secs(1));
    viewer.handle(Input::Failed, start + Duration::from_secs(100));
    assert_eq!(
        actions(&mut viewer),
        [Action::AskKeyFrame, Action::RestartIce],
        "it was found in between"
    );

    viewer.handle(Input::Failed, start + Duration::from_secs(110));
    assert_eq!(actions(&mut viewer), [Action::End(PeerEnd::Failed)]);
}

#[test]
fn viewer_follows_the_robot_to_another_network_and_sees_on() {
    let start = Instant::now();
    let mut viewer = watching(start);

    viewer.handle(Input::Network(NetworkChange::Moved), start);
    viewer.handle(Input::RemoteCandidate(candidate(1)), start);
    viewer.handle(Input::Unit(delta(2)), start);
    viewer.handle(Input::Answer("another".into()), start);
    viewer.handle(Input::RemoteCandidate(candidate(2)), start);

    assert_eq!(
        actions(&mut viewer),
        [
            Action::RestartIce,
            Action::Send(delta(2)),
            Action::ApplyAnswer("another".into()),
            Action::AddCandidate(candidate(1)),
            Action::AddCandidate(candidate(2)),
        ]
    );
}

#[test]
fn viewer_is_not_looked_for_while_the_robot_has_no_network_and_not_given_up() {
    let start = Instant::now();
    let mut viewer = watching(start);
    let at = |seconds| start + Duration::from_secs(seconds);
    viewer.handle(Input::Network(NetworkChange::Lost), start);
    viewer.handle(Input::Disconnected, at(5));
    viewer.handle(Input::Failed, at(30));
    assert_eq!(
        viewer.poll_timeout(),
        Some((at(5) + DOWN_GRACE, "gives up"))
    );
    assert_eq!(actions(&mut viewer), []);

    viewer.handle(Input::Network(NetworkChange::Returned), at(40));

    assert_eq!(actions(&mut viewer), [Action::RestartIce]);
    assert_eq!(
        viewer.poll_timeout(),
        Some((at(40) + AWAY_GRACE, "gives up"))
    );
    viewer.handle(Input::Connected, at(41));
    assert_eq!(actions(&mut viewer), [Action::AskKeyFrame]);
}

#[test]
fn short_outage_of_the_network_gives_up_no_way_that_works_again() {
    let start = Instant::now();
    let mut viewer = watching(start);
    viewer.handle(Input::Network(NetworkChange::Lost), start);
    viewer.handle(Input::Network(NetworkChange::Returned), start);
    viewer.handle(Input::Unit(delta(2)), start);
    assert_eq!(actions(&mut viewer), [Action::Send(delta(2))]);
}

#[test]
fn viewer_is_given_up_when_the_network_stays_away() {
    let start = Instant::now();
    let mut viewer = watching(start);
    viewer.handle(Input::Disconnected, start);
    viewer.handle(Input::Network(NetworkChange::Lost), start);
    viewer.handle(Input::Timeout, start + AWAY_GRACE);
    assert_eq!(actions(&mut viewer), []);

    viewer.handle(Input::Timeout, start + DOWN_GRACE);

    assert_eq!(actions(&mut viewer), [Action::End(PeerEnd::Lost)]);
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Offered,
    Answer,
    AnswerRefused,
    Candidate,
    Connected,
    Disconnected,
    Failed,
    Network(NetworkChange),
    Broken,
    Left,
    Unit { key_frame: bool },
    Lagged,
    LossReport,
    Silent,
    Answers,
    Close,
    Timeout,
    TimePasses(u16),
}

fn happening() -> impl Strategy<Value = Happening> {
    // The ends are rare, or no sequence would get anywhere.
    prop_oneof![
        3 => Just(Happening::Offered),
        3 => Just(Happening::Answer),
        1 => prop_oneof![
            Just(Happening::AnswerRefused),
            Just(Happening::Broken),
            Just(Happening::Failed),
            Just(Happening::Left),
            Just(Happening::Close)
        ],
        6 => Just(Happening::Candidate),
        6 => Just(Happening::Connected),
        4 => Just(Happening::Disconnected),
        3 => prop_oneof![
            Just(NetworkChange::Lost),
            Just(NetworkChange::Returned),
            Just(NetworkChange::Moved)
        ]
        .prop_map(Happening::Network),
        40 => prop::bool::weighted(0.2).prop_map(|key_frame| Happening::Unit { key_frame }),
        4 => Just(Happening::Lagged),
        4 => Just(Happening::LossReport),
        1 => Just(Happening::Silent),
        2 => Just(Happening::Answers),
        6 => Just(Happening::Timeout),
        6 => (0..3000_u16).prop_map(Happening::TimePasses),
    ]
}

proptest! {
    #[test]
    fn any_inputs_in_any_order_keep_the_policy(
        happenings in prop::collection::vec(happening(), 0..300),
    ) {
        let mut now = Instant::now();
        let mut viewer = Viewer::new();
        let mut frame = 0;
        let mut candidates = 0;
        let mut last_sent = None;
        let mut last_candidate = None;
        let mut offers = 1;
        let mut answers = 0;
        let mut ended = false;
        for happening in happenings {
            let input = match happening {
                Happening::Offered => Input::Offered,
                Happening::Answer => Input::Answer("sdp".into()),
                Happening::AnswerRefused => Input::AnswerRefused("garbage".into()),
                Happening::Candidate => {
                    candidates += 1;
                    Input::RemoteCandidate(candidate(candidates))
                }
                Happening::Connected => Input::Connected,
                Happening::Disconnected => Input::Disconnected,
                Happening::Failed => Input::Failed,
                Happening::Network(change) => Input::Network(change),
                Happening::Broken => Input::Broken("no socket".into()),
                Happening::Left => Input::Left,
                Happening::Unit { key_frame: is_key_frame } => {
                    frame += 1;
                    Input::Unit(if is_key_frame { key_frame(frame) } else { delta(frame) })
                }
                Happening::Lagged => {
                    frame += 5;
                    Input::Lagged { missed: 5 }
                }
                Happening::LossReport => Input::LossReport,
                Happening::Silent => Input::Silent,
                Happening::Answers => Input::Answers,
                Happening::Close => Input::Close,
                Happening::Timeout => Input::Timeout,
                Happening::TimePasses(milliseconds) => {
                    now += Duration::from_millis(milliseconds.into());
                    continue;
                }
            };
            viewer.handle(input, now);
            while let Some(action) = viewer.poll_action() {
                prop_assert!(!ended, "{action:?} after the end");
                match action {
                    Action::Send(unit) => {
                        prop_assert!(
                            unit.key_frame || last_sent == Some(unit.sequence - 1),
                            "delta frame {} after {last_sent:?}", unit.sequence
                        );
                        last_sent = Some(unit.sequence);
                    }
                    Action::AddCandidate(candidate) => {
                        prop_assert!(offers == 0 && answers > 0, "a candidate before the answer");
                        let number: usize = candidate.candidate.parse().unwrap();
                        prop_assert!(Some(number) > last_candidate);
                        last_candidate = Some(number);
                    }
                    Action::ApplyAnswer(_) => {
                        prop_assert_eq!(offers, 1, "an answer to nothing");
                        offers = 0;
                        answers += 1;
                    }
                    Action::RestartIce => offers = 1,
                    Action::AskKeyFrame => {}
                    Action::End(_) => ended = true,
                }
            }
            prop_assert!(viewer.run.len() <= HELD_UNITS && viewer.candidates.len() <= HELD_CANDIDATES);
            prop_assert!(!(ended && viewer.poll_timeout().is_some()));
        }
        let counts = viewer.counts();
        prop_assert!(counts.sent + counts.skipped <= u64::from(frame));
    }
}

fn answered(now: Instant) -> Viewer {
    let mut viewer = Viewer::new();
    viewer.handle(Input::Offered, now);
    viewer.handle(Input::Answer("sdp".into()), now);
    actions(&mut viewer);
    viewer
}

fn watching(now: Instant) -> Viewer {
    let mut viewer = answered(now);
    viewer.handle(Input::Connected, now);
    viewer.handle(Input::Unit(key_frame(1)), now);
    actions(&mut viewer);
    viewer
}

fn actions(viewer: &mut Viewer) -> Vec<Action> {
    std::iter::from_fn(|| viewer.poll_action()).collect()
}

fn candidate(number: usize) -> IceCandidate {
    IceCandidate {
        candidate: number.to_string(),
        sdp_mid: Some("0".into()),
        sdp_mline_index: Some(0),
    }
}

fn key_frame(sequence: u32) -> Arc<PackedUnit> {
    unit(sequence, true)
}

fn delta(sequence: u32) -> Arc<PackedUnit> {
    unit(sequence, false)
}

fn unit(sequence: u32, key_frame: bool) -> Arc<PackedUnit> {
    Arc::new(PackedUnit {
        key_frame,
        captured: MediaTime::from_monotonic(Duration::from_millis(33 * u64::from(sequence))),
        encoding: Duration::ZERO,
        sequence,
        payloads: vec![Bytes::from_static(&[0x65])],
        bytes: 1,
    })
}
