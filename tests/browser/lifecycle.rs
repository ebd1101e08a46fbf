//! Asleep when nobody watches, awake when someone does, gone when told to.

use std::net::SocketAddr;
use std::time::Duration;

use super::common::browser::Browser;
use super::common::http::{self, Metrics};
use super::common::process::Rovercast;
use super::common::wait_for;
use super::{TEST_CARD, watch};

#[test]
fn camera_and_encoder_sleep_until_somebody_watches() {
    let browser = Browser::open("asleep");
    let mut robot = Rovercast::demo("asleep", &TEST_CARD);
    let address = robot.address();
    assert_eq!(
        Metrics::read(address).value("rovercast_pipeline_running"),
        0.0
    );
    assert_eq!(
        Metrics::read(address).value("rovercast_encoder_frames_total"),
        0.0
    );

    let url = format!("http://{address}/");
    let page = watch(&browser, &url);
    let _other = browser.page("about:blank");
    assert_eq!(
        Metrics::read(address).value("rovercast_pipeline_running"),
        1.0
    );

    page.close();
    until_asleep(address);
    watch(&browser, &url).close();
    until_asleep(address);
}

#[test]
fn terminated_robot_says_goodbye_within_a_second() {
    let browser = Browser::open("terminated");
    let mut robot = Rovercast::demo("terminated", &TEST_CARD);
    let page = watch(&browser, &format!("http://{}/", robot.address()));

    let took = robot.terminate();

    assert!(took < Duration::from_secs(1), "it took {took:?} to exit");
    page.wait_until(
        "document.documentElement.dataset.state !== 'live'",
        Duration::from_secs(2),
    );
}

#[test]
fn health_status_and_metrics_answer_while_somebody_watches() {
    let browser = Browser::open("endpoints");
    let mut robot = Rovercast::demo("endpoints", &TEST_CARD);
    let (address, ready_after) = robot.address_after();
    assert!(
        ready_after < Duration::from_secs(1),
        "it was ready after {ready_after:?}"
    );
    let _page = watch(&browser, &format!("http://{address}/"));

    assert_eq!(
        http::get(address, "/healthz").expect("it listens").status,
        200
    );
    assert_eq!(
        http::get(address, "/readyz").expect("it listens").status,
        200
    );
    let status = http::get(address, "/status").expect("it listens");
    assert_eq!(status.status, 200);
    let status: serde_json::Value = serde_json::from_str(&status.body).expect("/status is JSON");
    assert!(status.is_object(), "{status}");
    let metrics = Metrics::read(address);
    assert_eq!(metrics.value("rovercast_viewers"), 1.0);
    assert_eq!(metrics.value("rovercast_relay_connected"), 1.0);
    assert!(metrics.value("rovercast_encoder_key_frames_total") >= 1.0);
    assert_eq!(
        http::get(address, "/no-such-page")
            .expect("it listens")
            .status,
        404
    );
}

fn until_asleep(address: SocketAddr) {
    wait_for(
        "camera and encoder to sleep",
        Duration::from_secs(15),
        || (Metrics::read(address).value("rovercast_pipeline_running") == 0.0).then_some(()),
    );
}
