//! A robot with several cameras: a pipeline and a session for each.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::common::browser::Browser;
use super::common::process::{Rovercast, configuration, free_address};
use super::common::sampler::Samples;
use super::common::{http, wait_for};
use super::{until_live, watch};

#[test]
fn page_goes_from_one_camera_to_the_other_and_the_first_one_sleeps() {
    let browser = Browser::open("cameras");
    let at = free_address();
    let config = configuration("cameras", "test-card", at, at);
    let text = fs::read_to_string(&config).expect("it was just written");
    let rear = "[[camera]]\nid = \"rear\"\nsource = \"test-card\"\nsize = \"320x240\"\nfps = 30\n\n[relay]\n";
    fs::write(&config, text.replace("[relay]\n", rear)).expect("target is writable");
    let _robot = Rovercast::start("cameras.robot", &["run", "--config", &config]);
    wait_for("both links", Duration::from_secs(10), || {
        let states = of_cameras(at, |camera| camera["relays"][0]["state"].clone())?;
        (states == ["connected", "connected"]).then_some(())
    });
    let page = watch(&browser, &format!("http://{at}/"));
    page.run("document.querySelectorAll('#cameras button')[1].click()");
    until_live(&page, Duration::from_secs(10));
    let sizes = wait_for("the other camera", Duration::from_secs(10), || {
        let sizes = Samples::take(&page).sizes();
        sizes.contains(&(320, 240)).then_some(sizes)
    });

    assert!(sizes.len() <= 2, "{sizes:?}");
    let states = wait_for("the first camera to sleep", Duration::from_secs(15), || {
        let states = of_cameras(at, |camera| camera["state"].clone())?;
        (states[0] == "asleep").then_some(states)
    });
    assert_eq!(states, ["asleep", "running"]);
}

/// One thing of each camera, as `/status` says it.
fn of_cameras(at: std::net::SocketAddr, of: impl Fn(&Value) -> Value) -> Option<Vec<Value>> {
    let status = http::get(at, "/status").ok()?;
    let status: Value = serde_json::from_str(&status.body).ok()?;
    Some(status["cameras"].as_array()?.iter().map(of).collect())
}
