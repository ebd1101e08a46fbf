//! Traffic control: tc(8) of iproute2, as the board has it.

use std::process::Command;

pub(crate) fn tc(arguments: &str) {
    let status = Command::new("/usr/sbin/tc")
        .args(arguments.split(' '))
        .status();
    assert!(
        status.expect("iproute2 is there").success(),
        "tc {arguments}"
    );
}
