//! Viewers who come and go all day.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustix::process::Pid;
use tokio_tungstenite::tungstenite::Message;

use super::common::browser::Browser;
use super::common::http::Metrics;
use super::common::process::Rovercast;
use super::common::wait_for;
use super::{TEST_CARD, until_live};

#[test]
fn thousand_joins_leave_descriptors_threads_and_memory_where_they_were() {
    let browser = Browser::open("joins");
    let mut robot = Rovercast::demo("joins", &TEST_CARD);
    let address = robot.address();
    let page = browser.page(&format!("http://{address}/"));
    let join = |times| {
        for _ in 0..times {
            page.run("location.reload()");
            until_live(&page, Duration::from_secs(10));
        }
    };
    // Allocators, caches and threads have their final size after some.
    until_live(&page, Duration::from_secs(10));
    join(20);
    look_in(address, 200);
    let before = Held::by(robot.id(), address, 1.0);

    join(100);
    look_in(address, 900);
    let after = Held::by(robot.id(), address, 1.0);

    println!("{before:?}, {after:?}");
    assert!(
        after.descriptors <= before.descriptors,
        "{before:?} {after:?}"
    );
    assert!(after.threads <= before.threads, "{before:?} {after:?}");
    let grown = after.resident_mb - before.resident_mb;
    assert!(grown < 3.0, "{grown} MB more: {before:?} {after:?}");
}

/// Viewers who leave when they have their offer: ten on each of some dashboards' connections.
fn look_in(address: SocketAddr, times: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("threads are not even asked for");
    runtime.block_on(async {
        for _ in 0..times.div_ceil(10) {
            let url = format!("ws://{address}/webrtc-relay?type=dashboard&robot_id=demo");
            let (mut socket, _) = tokio_tungstenite::client_async(
                url,
                tokio::net::TcpStream::connect(address)
                    .await
                    .expect("it listens"),
            )
            .await
            .expect("it is a relay");
            for _ in 0..10 {
                let ready = Message::text(r#"{"type":"ready"}"#);
                socket.send(ready).await.expect("the relay is here");
                loop {
                    let message = socket.next().await.expect("the relay stays");
                    let message = message.expect("the relay stays").into_text();
                    if message.expect("JSON").contains(r#""type":"offer""#) {
                        break;
                    }
                }
                let bye = Message::text(r#"{"type":"bye"}"#);
                socket.send(bye).await.expect("the relay is here");
            }
            let _ = socket.close(None).await;
        }
    });
}

#[derive(Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    resident_mb: f64,
}

impl Held {
    /// What a process has when so many viewers are left.
    fn by(process: Pid, address: SocketAddr, viewers: f64) -> Self {
        wait_for("the others to be gone", Duration::from_secs(10), || {
            (Metrics::read(address).value("rovercast_viewers") == viewers).then_some(())
        });
        // Connections to the closed pages' relay and asked endpoints end a moment later.
        std::thread::sleep(Duration::from_secs(2));
        let of = |what: &str| format!("/proc/{}/{what}", process.as_raw_pid());
        let count = |what: &str| fs::read_dir(of(what)).expect("it runs").count();
        let status = fs::read_to_string(of("status")).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        let kib: f64 = kib.expect("Linux says so").parse().expect("a number");
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            resident_mb: kib * 1024.0 / 1e6,
        }
    }
}
