//! A relay that says exactly what a test tells it to, in the protocol of the mecha10 family without any extension.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rovercast::viewer::IceCandidate;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::receiver::PATIENCE;

pub(crate) struct SeedRelay {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl SeedRelay {
    pub(crate) async fn open() -> Self {
        Self::open_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Where it was before, after an outage.
    pub(crate) async fn open_at(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        // A relay that does not listen is full soon.
        socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// The next robot that dials, with its WebSocket open.
    pub(crate) async fn accept(&self) -> RobotLink {
        let stream = self.connection().await;
        let request_line = peek_line(&stream).await;
        let socket = in_time("a WebSocket", accept_async(stream)).await.unwrap();
        RobotLink {
            request_line,
            socket,
        }
    }

    /// Answers the next robot that dials with `response`, in which `{request}` stands for its own request line.
    pub(crate) async fn refuse(&self, response: &str) {
        let mut stream = self.connection().await;
        let line = peek_line(&stream).await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let response = response.replace("{request}", &line);
        stream.write_all(response.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }

    async fn connection(&self) -> TcpStream {
        let (stream, _) = in_time("a robot", self.listener.accept()).await.unwrap();
        stream
    }
}

/// A robot's connection, from the relay's side.
pub(crate) struct RobotLink {
    /// The first line of its HTTP request, as it came.
    pub(crate) request_line: String,
    socket: WebSocketStream<TcpStream>,
}

impl RobotLink {
    pub(crate) async fn say(&mut self, message: Value) {
        self.say_text(&message.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn say_binary(&mut self, data: &'static [u8]) {
        self.socket.send(Message::binary(data)).await.unwrap();
    }

    pub(crate) async fn say_candidate(&mut self, candidate: IceCandidate) {
        self.say(json!({
            "type": "ice_candidate",
            "candidate": candidate.candidate,
            "sdp_mid": candidate.sdp_mid,
            "sdp_mline_index": candidate.sdp_mline_index,
        }))
        .await;
    }

    /// Closes the WebSocket, with these words, and reads on until the robot has heard them: what it says at the same time would
    /// meet a closed socket, whose reset takes the words away.
    pub(crate) async fn hang_up(mut self, reason: &str) {
        let frame = CloseFrame {
            code: CloseCode::Again,
            reason: reason.into(),
        };
        self.socket.close(Some(frame)).await.unwrap();
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// Says what a robot answers, and does not listen, until the robot waits for us to listen and takes nothing more.
    pub(crate) async fn provoke_until_stuck(&mut self) {
        let refused = Message::text(json!({ "type": "offer" }).to_string());
        while timeout(STUCK, self.socket.send(refused.clone()))
            .await
            .is_ok()
        {}
    }

    /// The robot's next message. May be dropped at any point.
    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            match self.next().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other @ (Message::Binary(_) | Message::Close(_) | Message::Frame(_)) => {
                    panic!("robot sent {other:?} when expecting a text")
                }
            }
        }
    }

    /// The robot's next message of this kind, and none that is neither of it nor a candidate.
    pub(crate) async fn hear_kind(&mut self, kind: &str) -> Value {
        loop {
            let message = self.hear().await;
            match message["type"].as_str() {
                Some(heard) if heard == kind => return message,
                Some("ice_candidate") => {}
                _ => panic!("robot sent {message} when expecting {kind:?}"),
            }
        }
    }

    /// How the robot takes its leave.
    pub(crate) async fn hear_close(&mut self) -> CloseFrame {
        loop {
            match self.next().await {
                Message::Close(frame) => return frame.unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other @ (Message::Text(_) | Message::Binary(_) | Message::Frame(_)) => {
                    panic!("robot sent {other:?} when expecting a close frame")
                }
            }
        }
    }

    /// Asks for something that a robot refuses: it answers in order, so that no offer is on its way before the refusal.
    /// Candidates may be said twice: the first saying can have died with the link before.
    pub(crate) async fn expect_no_offer_on_its_way(&mut self) {
        self.say(json!({ "type": "offer", "sdp": "v=0" })).await;
        let refusal = self.hear_kind("error").await;
        assert_eq!(refusal["code"], "unexpected_offer", "{refusal}");
    }

    async fn next(&mut self) -> Message {
        let message = in_time("a message of the robot", self.socket.next()).await;
        message.expect("the robot hung up").unwrap()
    }
}

async fn peek_line(stream: &TcpStream) -> String {
    let mut seen = vec![0; 4096];
    let line = async {
        loop {
            let count = stream.peek(&mut seen).await.unwrap();
            let text = String::from_utf8_lossy(&seen[..count]);
            if let Some((line, _)) = text.split_once("\r\n") {
                return line.to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    in_time("a request", line).await
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, work).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// The longest offer of a robot has 4 KB.
const RECEIVE_BUFFER: u32 = 16 * 1024;

/// A robot reads within milliseconds, even on a machine that does much else; one that has not by now waits itself.
const STUCK: Duration = Duration::from_millis(500);
