//! What is done to the board's devices from outside.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

pub(crate) fn node(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("set {variable} to a node"))
        .into()
}

pub(crate) fn camera() -> PathBuf {
    node("ROVERCAST_CAMERA")
}

/// Where a camera is now: one that was bound again may have another number.
pub(crate) fn found_camera() -> PathBuf {
    let output = Command::new("rig").args(["find", "camera"]).output();
    let output = output.expect("the rig is there");
    assert!(output.status.success(), "no camera");
    String::from_utf8_lossy(&output.stdout).trim().into()
}

/// Sets a control of a camera, by its own name.
pub(crate) fn control(camera: &PathBuf, assignment: &str) {
    let done = Command::new("v4l2-ctl")
        .arg("-d")
        .arg(camera)
        .args(["-c", assignment])
        .status();
    assert!(done.expect("v4l2-ctl is there").success(), "{assignment}");
}

/// Sets a parameter of the virtual encoder.
pub(crate) fn quirk(name: &str, value: &str) {
    let path = PathBuf::from("/sys/module/vh264enc/parameters").join(name);
    std::fs::write(&path, value).expect("the virtual encoder is loaded");
}

/// Has a node open, and does nothing with it.
pub(crate) fn hold(node: PathBuf) -> File {
    let mut options = File::options();
    options.read(true).write(true);
    options.open(node).expect("it can be opened")
}

/// Runs the command that a variable holds.
pub(crate) fn shell(variable: &str) {
    let command = std::env::var(variable).unwrap_or_else(|_| panic!("set {variable}"));
    let done = Command::new("sh").arg("-c").arg(&command).status();
    assert!(done.expect("there is a shell").success(), "{command}");
}

/// The plain loop from camera to encoder.
pub(crate) struct PlainLoop {
    pub(crate) frames_per_second: f64,
    pub(crate) processor_ms_a_frame: f64,
}

pub(crate) fn plain_loop(size: &str) -> PlainLoop {
    let output = Command::new("rig")
        .arg("encode")
        .arg(node("ROVERCAST_ENCODER"))
        .arg("--camera")
        .arg(camera())
        .args([
            "--size", size, "--format", "NV12", "--fps", "60", "--frames", "300",
        ])
        .output()
        .expect("the rig is there");
    let text = String::from_utf8_lossy(&output.stdout);
    let value = |key: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key} in {text}"))
            .parse()
            .unwrap()
    };
    PlainLoop {
        frames_per_second: value("units=") * 1000.0 / value("took_ms="),
        processor_ms_a_frame: value("cpu_us_per_unit=") / 1000.0,
    }
}
