//! A driver that does not come back: while pictures are wanted, and while the robot is told to end.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use super::common::{artefact, wait_for};
use super::devices::shell;
use super::robot::{Robot, Setup};
use super::viewer::Viewer;

/// `ROVERCAST_BLOCK` makes the next STREAMOFF of camera or encoder block in the kernel, `ROVERCAST_RELEASE` ends that.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs commands that block a driver and release it"]
async fn told_to_end_while_a_driver_blocks() {
    let socket = artefact("notify");
    let _ = std::fs::remove_file(&socket);
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_nonblocking(true).unwrap();
    let setup = Setup {
        notify_socket: Some(&socket),
        ..Setup::default()
    };
    let mut robot = Robot::start("told-to-end", &setup);
    let viewer = Viewer::join(robot.address()).await;

    shell("ROVERCAST_BLOCK");
    let asked = Instant::now();
    let after = |what: &str| println!("{what} after {:?}", asked.elapsed());
    robot.ask_to_end();

    wait_for("STOPPING=1", STOP, || {
        let mut message = [0; 256];
        let length = systemd.recv(&mut message).ok()?;
        message[..length].starts_with(b"STOPPING=1").then_some(())
    });
    after("systemd knows");
    viewer.until_bye(STOP);
    after("the viewer knows");
    wait_for("an address that is free again", STOP, || {
        TcpListener::bind(robot.address()).ok()
    });
    after("its address is free");
    // The main thread is gone (Z), and who is left sleeps where no signal reaches it (D): the kernel's, and not ours.
    let left = wait_for("the end of all that is ours", STOP, || {
        let states = robot.thread_states();
        let ours_have_ended =
            states.first() == Some(&'Z') && states[1..].iter().all(|it| "DZX".contains(*it));
        ours_have_ended.then_some(states)
    });
    after("all that is ours has ended");
    assert!(asked.elapsed() < STOP, "it took {:?}", asked.elapsed());
    assert!(left.contains(&'D'), "nothing blocks: {left:?}");

    shell("ROVERCAST_RELEASE");
    let exit = robot.exit();
    after("the process has ended");
    assert_eq!(exit.code(), Some(0));
}

/// A camera that says nothing any more, and then does again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs commands that block a camera's driver and release it"]
async fn camera_is_mute_for_a_while() {
    let robot = Robot::start("mute", &Setup::default());
    let viewer = Viewer::join(robot.address()).await;
    let left_behind = || robot.status()["calls_left_behind"].as_u64().unwrap_or(0);

    shell("ROVERCAST_BLOCK");
    // It stands still, is closed, and that does not end.
    wait_for("a call that is left behind", PATIENCE, || {
        (left_behind() > 0).then_some(())
    });
    shell("ROVERCAST_RELEASE");

    viewer.until_moving(PATIENCE);
    assert_eq!(viewer.sessions(), 1, "the peer is the same");
    wait_for("the end of that call", PATIENCE, || {
        (left_behind() == 0).then_some(())
    });
    assert!(robot.has_not_panicked());
}

/// What people wait for `systemctl stop`.
const STOP: Duration = Duration::from_secs(2);

const PATIENCE: Duration = Duration::from_secs(40);
