//! Watches the robot on the virtual board from this machine, for `tests/virtual-board/run-debian`.
#![allow(clippy::unwrap_used)] // clippy takes the helpers of this test for a library

#[path = "common/receiver.rs"]
mod receiver;

use std::env;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rovercast::viewer::IceCandidate;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use receiver::{Arrival, Receiver};

#[tokio::test]
#[ignore = "needs the virtual board: tests/virtual-board/run-debian"]
async fn robot_on_the_board_is_watched() {
    let url = env::var("ROVERCAST_BOARD_RELAY").unwrap();
    let mut relay = Relay::dial(&url).await;
    relay.say(json!({ "type": "ready" })).await;
    let offer = relay.hear("offer").await;
    let mut viewer = Receiver::open().await;
    let answer = viewer.answer(offer["sdp"].as_str().unwrap()).await;
    relay
        .say(json!({ "type": "answer", "sdp": answer, "viewer_id": offer["viewer_id"] }))
        .await;

    loop {
        let arrival = timeout(PATIENCE, viewer.arrival()).await;
        match arrival.expect("no connection") {
            Arrival::Candidate(candidate) => relay.say(as_seen_by_the_board(&candidate)).await,
            Arrival::Picture => break,
        }
    }

    let mut pictures = 0;
    while pictures < 30 {
        let packet = viewer.packets(1).await.remove(0);
        pictures += u32::from(packet.header.marker);
    }
    relay.say(json!({ "type": "bye" })).await;
}

/// A dashboard's connection.
struct Relay(WebSocketStream<TcpStream>);

impl Relay {
    async fn dial(url: &str) -> Self {
        let host = url.split('/').nth(2).unwrap();
        let stream = TcpStream::connect(host).await.unwrap();
        let url = format!("{url}?type=dashboard&robot_id=board");
        let (socket, _) = client_async(url, stream).await.unwrap();
        Self(socket)
    }

    async fn say(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await;
            let message = message.expect("the relay says nothing").unwrap().unwrap();
            let Message::Text(text) = message else {
                continue;
            };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["type"] == kind {
                return message;
            }
        }
    }
}

/// QEMU's user network: what is this machine's loopback here is 10.0.2.2 there.
fn as_seen_by_the_board(candidate: &IceCandidate) -> Value {
    json!({
        "type": "ice_candidate",
        "candidate": candidate.candidate.replace("127.0.0.1", "10.0.2.2"),
        "sdp_mid": candidate.sdp_mid,
        "sdp_mline_index": candidate.sdp_mline_index,
    })
}

/// The board is emulated, on a machine that may do much else.
const PATIENCE: Duration = Duration::from_secs(60);
