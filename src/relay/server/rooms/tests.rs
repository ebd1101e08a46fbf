use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::viewer::{IceCandidate, ViewerId};

const ROBOT: ConnectionId = ConnectionId(1);
const ALICE: ConnectionId = ConnectionId(2);
const BOB: ConnectionId = ConnectionId(3);

/// Rooms, and what everybody in them was told since last asked.
struct Scene {
    rooms: Rooms,
}

impl Scene {
    fn new() -> Self {
        Self {
            rooms: Rooms::new(0xabc),
        }
    }

    fn arrives(&mut self, connection: ConnectionId, role: Role) -> Vec<Action> {
        self.handle(Input::Arrived {
            connection,
            room: room("rover", None),
            role,
        })
    }

    fn robot_says(&mut self, message: ToRelay) -> Vec<Action> {
        self.handle(Input::RobotSaid {
            connection: ROBOT,
            message,
        })
    }

    fn dashboard_says(&mut self, connection: ConnectionId, message: FromRelay) -> Vec<Action> {
        self.handle(Input::DashboardSaid {
            connection,
            message,
        })
    }

    fn leaves(&mut self, connection: ConnectionId, departure: Departure) -> Vec<Action> {
        self.handle(Input::Left {
            connection,
            departure,
        })
    }

    fn handle(&mut self, input: Input) -> Vec<Action> {
        self.rooms.handle(input);
        std::iter::from_fn(|| self.rooms.poll_action()).collect()
    }

    /// A robot and Alice, whose session (the first) was answered.
    fn playing() -> Self {
        let mut scene = Self::new();
        scene.arrives(ROBOT, Role::Robot);
        scene.arrives(ALICE, Role::Dashboard);
        scene.dashboard_says(ALICE, ready());
        scene.robot_says(offer(&id(1)));
        scene.dashboard_says(ALICE, answer(&ViewerId::anonymous()));
        scene
    }
}

fn room(robot: &str, camera: Option<&str>) -> RoomName {
    RoomName {
        robot: robot.into(),
        camera: camera.map(Into::into),
    }
}

fn id(session: u64) -> ViewerId {
    ViewerId::named(format!("0000000000000abc-{session}")).unwrap()
}

fn ready() -> FromRelay {
    ready_for(&ViewerId::anonymous())
}

fn ready_for(viewer: &ViewerId) -> FromRelay {
    FromRelay::Ready {
        viewer: viewer.clone(),
    }
}

fn answer(viewer: &ViewerId) -> FromRelay {
    FromRelay::Answer {
        viewer: viewer.clone(),
        sdp: "v=0".into(),
    }
}

fn bye(viewer: &ViewerId) -> FromRelay {
    FromRelay::Bye {
        viewer: viewer.clone(),
    }
}

fn offer(viewer: &ViewerId) -> ToRelay {
    ToRelay::Offer {
        viewer: viewer.clone(),
        sdp: "v=0".into(),
    }
}

fn report(viewer: &ViewerId) -> ToRelay {
    ToRelay::Link {
        viewer: viewer.clone(),
        report: Box::default(),
    }
}

fn to_robot(message: FromRelay) -> Action {
    Action::Tell {
        connection: ROBOT,
        message: Message::FromRelay(message),
    }
}

fn to_dashboard(connection: ConnectionId, message: ToRelay) -> Action {
    Action::Tell {
        connection,
        message: Message::ToRelay(message),
    }
}

fn presence(connection: ConnectionId, online: bool) -> Action {
    Action::Tell {
        connection,
        message: Message::Presence { online },
    }
}

fn taken_over(connection: ConnectionId) -> Action {
    Action::Tell {
        connection,
        message: Message::TakenOver,
    }
}

fn codes_told_to(connection: ConnectionId, actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Tell {
                connection: told,
                message:
                    Message::FromRelay(FromRelay::Error { code, .. })
                    | Message::ToRelay(ToRelay::Error { code, .. }),
            } if *told == connection => code.clone(),
            Action::Welcome { .. } | Action::Tell { .. } | Action::Close { .. } => None,
        })
        .collect()
}

#[test]
fn everybody_is_welcomed_and_welcomed_again_when_logins_get_old() {
    let mut scene = Scene::new();
    let welcome = |connection| Action::Welcome {
        connection,
        robot: "rover".into(),
    };
    assert_eq!(scene.arrives(ROBOT, Role::Robot), [welcome(ROBOT)]);
    assert_eq!(scene.arrives(ALICE, Role::Dashboard)[0], welcome(ALICE));
    assert_eq!(
        scene.handle(Input::Renewed),
        [welcome(ROBOT), welcome(ALICE)]
    );
}

#[test]
fn dashboard_that_came_first_is_announced_when_the_robot_comes() {
    let mut scene = Scene::new();
    scene.arrives(ALICE, Role::Dashboard);
    assert_eq!(scene.dashboard_says(ALICE, ready()), []);
    let told = scene.arrives(ROBOT, Role::Robot);
    assert_eq!(
        told[1..],
        [presence(ALICE, true), to_robot(ready_for(&id(1)))]
    );
}

#[test]
fn robot_that_comes_back_is_not_asked_again_for_a_picture_that_runs() {
    let mut scene = Scene::playing();
    assert_eq!(
        scene.leaves(ROBOT, Departure::Lost),
        [presence(ALICE, false)]
    );
    let told = scene.arrives(ROBOT, Role::Robot);
    assert_eq!(told[1..], [presence(ALICE, true)]);
}

#[test]
fn question_about_a_link_goes_to_the_robot_and_the_answer_to_who_asked() {
    let mut scene = Scene::playing();
    scene.arrives(BOB, Role::Dashboard);
    scene.dashboard_says(BOB, ready());
    scene.robot_says(offer(&id(2)));

    // Whoever she says she is.
    let told = scene.dashboard_says(ALICE, FromRelay::Link { viewer: id(2) });
    assert_eq!(told, [to_robot(FromRelay::Link { viewer: id(1) })]);
    let told = scene.robot_says(report(&id(1)));
    assert_eq!(told, [to_dashboard(ALICE, report(&id(1)))]);
    assert_eq!(scene.robot_says(report(&id(7))), [], "nobody");
}

#[test]
fn robot_that_knows_no_viewer_id_is_not_asked_about_links() {
    let mut scene = Scene::playing();
    scene.robot_says(offer(&ViewerId::anonymous()));
    let viewer = ViewerId::anonymous();
    let told = scene.dashboard_says(ALICE, FromRelay::Link { viewer });
    assert_eq!(told, []);
}

#[test]
fn browser_whose_picture_died_gets_a_new_session_in_place_of_the_old() {
    let mut scene = Scene::playing();
    let told = scene.dashboard_says(ALICE, ready());
    assert_eq!(told, [to_robot(bye(&id(1))), to_robot(ready_for(&id(2)))]);
    assert_eq!(scene.robot_says(offer(&id(1))), [], "the old session");
    assert_eq!(
        scene.robot_says(offer(&id(2))),
        [to_dashboard(ALICE, offer(&id(2)))]
    );
}

#[test]
fn robot_that_left_before_the_answer_is_asked_again() {
    let mut scene = Scene::new();
    scene.arrives(ROBOT, Role::Robot);
    scene.arrives(ALICE, Role::Dashboard);
    scene.dashboard_says(ALICE, ready());
    scene.leaves(ROBOT, Departure::Lost);
    let told = scene.arrives(ROBOT, Role::Robot);
    assert_eq!(
        told[1..],
        [
            presence(ALICE, true),
            to_robot(bye(&id(1))),
            to_robot(ready_for(&id(2))),
        ]
    );
}

#[test]
fn dashboard_cannot_speak_for_another() {
    let mut scene = Scene::playing();
    scene.arrives(BOB, Role::Dashboard);
    scene.dashboard_says(BOB, ready());
    let told = scene.dashboard_says(BOB, answer(&id(1)));
    assert_eq!(told, [to_robot(answer(&id(2)))]);
}

#[test]
fn tab_that_is_closed_ends_its_session_and_a_lost_one_does_not() {
    let mut scene = Scene::playing();
    assert_eq!(
        scene.leaves(ALICE, Departure::Closed),
        [to_robot(bye(&id(1)))]
    );
    let mut scene = Scene::playing();
    assert_eq!(scene.leaves(ALICE, Departure::Lost), []);
}

#[test]
fn robot_without_viewer_ids_serves_the_latest_and_the_other_is_told() {
    let anonymous = ViewerId::anonymous();
    let mut scene = Scene::new();
    scene.arrives(ROBOT, Role::Robot);
    scene.arrives(ALICE, Role::Dashboard);
    scene.dashboard_says(ALICE, ready());
    assert_eq!(
        scene.robot_says(offer(&anonymous)),
        [to_dashboard(ALICE, offer(&anonymous))]
    );
    scene.dashboard_says(ALICE, answer(&anonymous));
    scene.arrives(BOB, Role::Dashboard);

    let told = scene.dashboard_says(BOB, ready());

    assert!(told.contains(&taken_over(ALICE)));
    assert_eq!(
        scene.robot_says(offer(&anonymous)),
        [to_dashboard(BOB, offer(&anonymous))]
    );
    assert_eq!(scene.dashboard_says(ALICE, answer(&anonymous)), []);
    assert_eq!(
        scene.dashboard_says(BOB, answer(&anonymous)),
        [to_robot(answer(&id(2)))]
    );
    assert_eq!(scene.leaves(BOB, Departure::Closed), [], "knows no bye");
}

#[test]
fn two_dashboards_wait_for_a_robot_without_viewer_ids_and_one_gets_it() {
    let anonymous = ViewerId::anonymous();
    let mut scene = Scene::new();
    for dashboard in [ALICE, BOB] {
        scene.arrives(dashboard, Role::Dashboard);
        scene.dashboard_says(dashboard, ready());
    }
    scene.arrives(ROBOT, Role::Robot);
    let told = scene.robot_says(offer(&anonymous));
    assert_eq!(told[0], to_dashboard(BOB, offer(&anonymous)));
    assert!(told.contains(&taken_over(ALICE)));
}

#[test]
fn newest_robot_wins_and_the_old_one_is_told_why() {
    let mut scene = Scene::playing();
    let newer = ConnectionId(9);
    let told = scene.arrives(newer, Role::Robot);
    assert_eq!(codes_told_to(ROBOT, &told), ["replaced"]);
    assert!(told.contains(&Action::Close {
        connection: ROBOT,
        code: 4000,
        reason: "replaced"
    }));
    assert_eq!(scene.robot_says(offer(&id(1))), [], "from the old robot");
    assert_eq!(scene.leaves(ROBOT, Departure::Closed), []);
    assert_eq!(scene.rooms.robots(), 1);
}

#[test]
fn cameras_of_one_robot_are_rooms_of_their_own() {
    let mut scene = Scene::new();
    scene.arrives(ROBOT, Role::Robot);
    scene.handle(Input::Arrived {
        connection: ALICE,
        room: room("rover", Some("front")),
        role: Role::Dashboard,
    });
    assert_eq!(scene.dashboard_says(ALICE, ready()), []);
}

#[test]
fn sixty_fifth_dashboard_and_robot_too_many_are_sent_away() {
    let mut scene = Scene::new();
    for dashboard in 100..164 {
        scene.arrives(ConnectionId(dashboard), Role::Dashboard);
    }
    let told = scene.arrives(ALICE, Role::Dashboard);
    assert_eq!(codes_told_to(ALICE, &told), ["full"]);
    assert_eq!(scene.rooms.dashboards(), 64);

    for robot in 0..MOST_ROBOTS as u64 {
        scene.handle(Input::Arrived {
            connection: ConnectionId(1000 + robot),
            room: room(&format!("r{robot}"), None),
            role: Role::Robot,
        });
    }
    let told = scene.arrives(ROBOT, Role::Robot);
    assert_eq!(codes_told_to(ROBOT, &told), ["full"]);
    assert_eq!(scene.rooms.robots(), MOST_ROBOTS);
}

#[test]
fn nobody_left_means_nothing_kept() {
    let mut scene = Scene::playing();
    scene.leaves(ALICE, Departure::Lost);
    scene.leaves(ROBOT, Departure::Lost);
    assert!(scene.rooms.rooms.is_empty() && scene.rooms.places.is_empty());
}

/// Something that happens, with the connection as a number that the test maps to those who are there.
#[derive(Clone, Debug)]
enum Step {
    Arrive {
        room: usize,
        robot: bool,
    },
    Leave {
        who: usize,
        closed: bool,
    },
    DashboardSays {
        who: usize,
        what: usize,
        viewer: u64,
    },
    RobotSays {
        who: usize,
        what: usize,
        viewer: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2usize, any::<bool>()).prop_map(|(room, robot)| Step::Arrive { room, robot }),
        (0..12usize, any::<bool>()).prop_map(|(who, closed)| Step::Leave { who, closed }),
        (0..12usize, 0..6usize, 0..6u64).prop_map(|(who, what, viewer)| Step::DashboardSays {
            who,
            what,
            viewer
        }),
        (0..12usize, 0..6usize, 0..6u64).prop_map(|(who, what, viewer)| Step::RobotSays {
            who,
            what,
            viewer
        }),
    ]
}

/// Session 0 is the anonymous viewer.
fn viewer(session: u64) -> ViewerId {
    match session {
        0 => ViewerId::anonymous(),
        session => id(session),
    }
}

fn dashboards_words(what: usize, viewer: &ViewerId) -> FromRelay {
    match what {
        0 | 1 => ready_for(viewer),
        2 => answer(viewer),
        3 => FromRelay::IceCandidate {
            viewer: viewer.clone(),
            candidate: IceCandidate::default(),
        },
        4 => FromRelay::Link {
            viewer: viewer.clone(),
        },
        _ => bye(viewer),
    }
}

fn robots_words(what: usize, viewer: &ViewerId) -> ToRelay {
    match what {
        0 | 1 => offer(viewer),
        2 => ToRelay::IceCandidate {
            viewer: viewer.clone(),
            candidate: IceCandidate::default(),
        },
        3 => ToRelay::Error {
            viewer: viewer.clone(),
            message: "no".into(),
            code: None,
        },
        4 => report(viewer),
        _ => ToRelay::Bye {
            viewer: viewer.clone(),
            reason: None,
        },
    }
}

fn viewer_of(message: &FromRelay) -> Option<&ViewerId> {
    match message {
        FromRelay::Ready { viewer }
        | FromRelay::Answer { viewer, .. }
        | FromRelay::IceCandidate { viewer, .. }
        | FromRelay::Offer { viewer }
        | FromRelay::Bye { viewer }
        | FromRelay::Link { viewer } => Some(viewer),
        FromRelay::Welcome { .. } | FromRelay::Error { .. } | FromRelay::Unknown { .. } => None,
    }
}

proptest! {
    #[test]
    fn any_inputs_in_any_order_keep_the_policy(steps in proptest::collection::vec(step(), 1..120)) {
        let mut rooms = Rooms::new(0xabc);
        // What the test knows by itself: where each connection belongs, and which robot is the newest of each room.
        let mut members: Vec<(ConnectionId, usize, Role)> = Vec::new();
        let mut newest: BTreeMap<usize, ConnectionId> = BTreeMap::new();
        let mut owners: BTreeMap<ViewerId, ConnectionId> = BTreeMap::new();
        for (index, step) in steps.into_iter().enumerate() {
            let at = |who: usize| members.get(who % members.len().max(1)).copied();
            let (speaker, place, input) = match step {
                Step::Arrive { room: place, robot } => {
                    let connection = ConnectionId(index as u64);
                    let role = if robot { Role::Robot } else { Role::Dashboard };
                    members.push((connection, place, role));
                    if robot {
                        newest.insert(place, connection);
                    }
                    let room = room(&format!("r{place}"), None);
                    (connection, place, Input::Arrived { connection, room, role })
                }
                Step::Leave { who, closed } => {
                    let Some((connection, place, _)) = at(who) else { continue };
                    members.retain(|member| member.0 != connection);
                    if newest.get(&place) == Some(&connection) {
                        newest.remove(&place);
                    }
                    let departure = if closed { Departure::Closed } else { Departure::Lost };
                    (connection, place, Input::Left { connection, departure })
                }
                Step::DashboardSays { who, what, viewer: named } => {
                    let Some((connection, place, _)) = at(who) else { continue };
                    let message = dashboards_words(what, &viewer(named));
                    (connection, place, Input::DashboardSaid { connection, message })
                }
                Step::RobotSays { who, what, viewer: named } => {
                    let Some((connection, place, _)) = at(who) else { continue };
                    let message = robots_words(what, &viewer(named));
                    (connection, place, Input::RobotSaid { connection, message })
                }
            };
            let dashboard_spoke = matches!(input, Input::DashboardSaid { .. });
            rooms.handle(input);
            let mut announced = BTreeSet::new();
            while let Some(action) = rooms.poll_action() {
                let (to, message) = match action {
                    Action::Close { connection, .. } => {
                        prop_assert_ne!(newest.get(&place), Some(&connection), "closed the newest robot");
                        continue;
                    }
                    Action::Welcome { connection, robot } => {
                        let known = members.iter().find(|member| member.0 == connection);
                        prop_assert!(known.is_some_and(|member| format!("r{}", member.1) == robot), "welcomed as another");
                        continue;
                    }
                    Action::Tell { connection, message } => (connection, message),
                };
                let known = members.iter().find(|member| member.0 == to);
                prop_assert!(known.is_some_and(|member| member.1 == place), "told somebody outside of the room");
                if known.is_some_and(|member| member.2 == Role::Dashboard) {
                    if let Message::ToRelay(ToRelay::Offer { viewer, .. }) = &message
                        && !viewer.is_anonymous()
                    {
                        prop_assert_eq!(owners.get(viewer), Some(&to), "offer reached another dashboard");
                    }
                    continue;
                }
                let Message::FromRelay(message) = message else {
                    return Err(TestCaseError::fail("a robot heard robot's words"));
                };
                if !matches!(message, FromRelay::Error { .. }) {
                    prop_assert_eq!(newest.get(&place), Some(&to), "an old robot is still spoken to");
                }
                let Some(named) = viewer_of(&message) else { continue };
                prop_assert!(!named.is_anonymous());
                if matches!(message, FromRelay::Ready { .. }) {
                    prop_assert!(!owners.contains_key(named), "viewer id was given twice");
                    announced.insert(named.clone());
                    if dashboard_spoke {
                        owners.insert(named.clone(), speaker);
                    }
                } else if dashboard_spoke {
                    prop_assert_eq!(owners.get(named), Some(&speaker), "spoke for another");
                }
            }
            // Those that waited for the robot: the rooms know whose they are.
            for (connection, dashboard) in rooms.rooms.values().flat_map(Room::viewers) {
                if announced.contains(dashboard) {
                    owners.entry(dashboard.clone()).or_insert(connection);
                }
            }
            prop_assert_eq!(rooms.robots(), newest.len());
        }
    }
}
