//! str0m on the same links: its estimate, its pacer, its repair, and its own receiver at the other end.
//!
//! Both ends are whole `Rtc`s without I/O, so they run in simulated time like everything here. What differs from our runs: the
//! receiver reports as str0m does (transport-wide feedback every 100 ms), and packets are real ones.

mod plain;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rovercast::media::rate::{KEY_FRAME_SPACING, KeyFrameGate};
use str0m::bwe::{Bitrate, BweKind};
use str0m::format::Codec;
use str0m::media::{KeyframeRequestKind, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::encoder::{Frame, Model};
use super::link::Link;
use super::neighbour::{self, Neighbour};
use super::screen::Screen;
use super::seen::{Sample, Seen};
use super::world::Scenario;
use super::{FRAME, Fragment, PAYLOAD, ms};

enum Happening {
    Frame,
    Coded(Frame),
    Timeout(End),
    Arrives(End, Vec<u8>),
    Neighbour(u64),
    NeighbourAnswered(u64),
    Sample,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Robot,
    Browser,
}

struct Reference {
    scenario: Scenario,
    origin: Instant,
    now: Instant,
    events: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: std::collections::BTreeMap<u64, Happening>,
    count: u64,
    robot: Rtc,
    browser: Rtc,
    timeouts: [Instant; 2],
    there: Link,
    back: Link,
    encoder: Model,
    gate: KeyFrameGate,
    payload_type: Pt,
    sequence: u64,
    estimate: f64,
    screen: Screen,
    first_arrived: Option<Instant>,
    picture_lost_due: Option<Instant>,
    neighbour: Option<Neighbour>,
    samples: Vec<Sample>,
    frames: u32,
    wire_bytes: u64,
    media_bytes: u64,
}

/// Runs the first viewer of the scenario.
pub fn run(scenario: Scenario) -> Seen {
    let origin = Instant::now();
    let (robot, browser) = connected(&scenario, origin);
    // Whoever connects has used some time; the scenario begins after it.
    let start = origin + CONNECTING;
    let mut reference = Reference::new(scenario, robot, browser, start);
    reference.schedule(start, Happening::Frame);
    reference.schedule(start, Happening::Sample);
    reference.schedule(start, Happening::Timeout(End::Robot));
    reference.schedule(start, Happening::Timeout(End::Browser));
    let end = start + reference.scenario.length;
    while let Some(Reverse((at, number))) = reference.events.pop()
        && at < end
    {
        reference.now = at;
        if let Some(happening) = reference.happenings.remove(&number) {
            reference.happen(happening);
        }
    }
    reference.finish()
}

impl Reference {
    fn new(scenario: Scenario, robot: Rtc, browser: Rtc, origin: Instant) -> Self {
        let viewer = scenario.viewers[0].clone();
        let start = scenario.range.start.as_bps() as f64;
        let payload_type = robot
            .codec_config()
            .find(|it| it.spec().codec == Codec::Vp8)
            .expect("VP8 is on by default")
            .pt();
        Self {
            origin,
            now: origin,
            events: BinaryHeap::new(),
            happenings: Default::default(),
            count: 0,
            robot,
            browser,
            timeouts: [origin; 2],
            there: Link::new(viewer.there, origin, scenario.seed.wrapping_mul(31)),
            back: Link::new(viewer.back, origin, scenario.seed.wrapping_mul(31) + 1),
            encoder: Model::new(start * MEDIA_SHARE, scenario.seed),
            gate: KeyFrameGate::new(KEY_FRAME_SPACING),
            payload_type,
            sequence: 1000,
            estimate: start,
            screen: Screen::default(),
            first_arrived: None,
            picture_lost_due: None,
            neighbour: None,
            samples: Vec::new(),
            frames: 0,
            wire_bytes: 0,
            media_bytes: 0,
            scenario,
        }
    }

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.count += 1;
        self.happenings.insert(self.count, happening);
        self.events.push(Reverse((at, self.count)));
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Frame => {
                self.frame();
                self.schedule(now + FRAME, Happening::Frame);
            }
            Happening::Coded(frame) => self.send(&frame),
            Happening::Timeout(end) => {
                // One that was moved since is out of date.
                if self.timeouts[end as usize] <= now {
                    self.input(end, Input::Timeout(now));
                }
            }
            Happening::Arrives(end, datagram) => {
                let (source, destination) = match end {
                    End::Robot => (browser_address(), robot_address()),
                    End::Browser => (robot_address(), browser_address()),
                };
                let contents = datagram.as_slice().try_into().expect("str0m made it");
                let receive = Receive {
                    proto: Protocol::Udp,
                    source,
                    destination,
                    contents,
                };
                if end == End::Browser {
                    self.wire_bytes += datagram.len() as u64 + UDP_HEADERS;
                }
                self.input(end, Input::Receive(now, receive));
            }
            Happening::Neighbour(number) => {
                let answered = Happening::NeighbourAnswered(number);
                self.schedule(now + neighbour::RETURN, answered);
            }
            Happening::NeighbourAnswered(number) => {
                if let Some(neighbour) = &mut self.neighbour {
                    neighbour.acknowledged(number, now);
                }
                self.neighbour();
            }
            Happening::Sample => {
                self.sample();
                self.neighbour();
                self.schedule(now + ms(50), Happening::Sample);
            }
        }
    }

    fn frame(&mut self) {
        let now = self.now;
        let target = (self.estimate * MEDIA_SHARE).min(self.scenario.range.most.as_bps() as f64);
        self.encoder.set_bitrate(target);
        self.encoder.needs = (self.scenario.scene)((now - self.origin).as_secs_f64());
        let frame = self.encoder.picture(self.gate.take(now), now);
        self.frames += 1;
        self.schedule(now + ms(15), Happening::Coded(frame));
        self.watch_picture();
    }

    /// As the model of Chromium asks for a key frame.
    fn watch_picture(&mut self) {
        let now = self.now;
        let lost = match (self.screen.last_shown(), self.first_arrived) {
            (None, Some(first)) => now >= first + ms(200),
            (None, None) => false,
            (Some(shown), _) => now >= shown + ms(3000),
        };
        if !lost || self.picture_lost_due.is_some_and(|due| now < due) {
            return;
        }
        self.picture_lost_due = Some(now + ms(200));
        if let Some(stream) = self.browser.direct_api().stream_rx(&SSRC.into()) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
        self.input(End::Browser, Input::Timeout(now));
    }

    fn send(&mut self, frame: &Frame) {
        let count = frame.bytes.div_ceil(PAYLOAD);
        for index in 0..count {
            let fragment = Fragment {
                frame: frame.number,
                key_frame: frame.key_frame,
                captured: frame.captured,
                index: index as u16,
                count: count as u16,
                payload: frame.bytes / count,
            };
            self.sequence += 1;
            let time = frame.number.wrapping_mul(3000);
            let payload = written(&fragment, self.origin);
            let write = RtpWrite::new(
                self.payload_type,
                self.sequence.into(),
                time,
                self.now,
                payload,
            )
            .nackable(true)
            .marker(index + 1 == count);
            let mut direct = self.robot.direct_api();
            let stream = direct.stream_tx(&SSRC.into()).expect("it was declared");
            stream.write_rtp(write);
            self.input(End::Robot, Input::Timeout(self.now));
        }
    }

    fn input(&mut self, end: End, input: Input<'_>) {
        let rtc = match end {
            End::Robot => &mut self.robot,
            End::Browser => &mut self.browser,
        };
        rtc.handle_input(input).expect("str0m lives");
        loop {
            let rtc = match end {
                End::Robot => &mut self.robot,
                End::Browser => &mut self.browser,
            };
            match rtc.poll_output().expect("str0m lives") {
                Output::Timeout(at) => {
                    let at = at.max(self.now + Duration::from_micros(500));
                    self.timeouts[end as usize] = at;
                    self.schedule(at, Happening::Timeout(end));
                    return;
                }
                Output::Transmit(transmit) => {
                    let datagram = transmit.contents.to_vec();
                    let bytes = datagram.len() + UDP_HEADERS as usize;
                    let (link, other) = match end {
                        End::Robot => (&mut self.there, End::Browser),
                        End::Browser => (&mut self.back, End::Robot),
                    };
                    if let Some(arrival) = link.send(bytes, self.now) {
                        self.schedule(arrival, Happening::Arrives(other, datagram));
                    }
                }
                Output::Event(event) => self.event(event),
            }
        }
    }

    #[allow(clippy::wildcard_enum_match_arm)] // the others are of no interest here, and a later version has more
    fn event(&mut self, event: Event) {
        match event {
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                self.estimate = estimate.as_f64();
            }
            Event::KeyframeRequest(_) => self.gate.request(self.now),
            Event::RtpPacket(packet) => {
                if let Some(fragment) = read(&packet.payload, self.origin) {
                    self.first_arrived.get_or_insert(self.now);
                    self.media_bytes += fragment.payload as u64;
                    self.screen.receive(*packet.seq_no, fragment, self.now);
                }
            }
            _ => {}
        }
    }

    fn neighbour(&mut self) {
        let at = self.now - self.origin;
        let Some((from, to)) = self.scenario.viewers[0].neighbour else {
            return;
        };
        if at < from || at >= to {
            return;
        }
        let now = self.now;
        while let Some(number) = self
            .neighbour
            .get_or_insert_with(|| Neighbour::new(now))
            .poll(now)
        {
            if let Some(arrival) = self.there.send(neighbour::PACKET, now) {
                self.schedule(arrival, Happening::Neighbour(number));
            }
        }
    }

    fn sample(&mut self) {
        let at = self.now - self.origin;
        self.samples.push(Sample {
            at,
            estimate: self.estimate,
            target: (self.estimate * MEDIA_SHARE).min(self.scenario.range.most.as_bps() as f64),
            link: self.scenario.viewers[0].there.rate.at(at),
            queue: self.there.queue_delay(self.now),
            wire_bytes: self.wire_bytes,
            neighbour_bytes: self.neighbour.as_ref().map_or(0, |it| it.arrived_bytes),
        });
    }

    fn finish(self) -> Seen {
        Seen {
            origin: self.origin,
            samples: self.samples,
            screen: self.screen,
            frames: self.frames,
            wire_bytes: self.wire_bytes,
            media_bytes: self.media_bytes,
            padding_bytes: 0,
        }
    }
}

/// Two ends that found each other over a way without faults.
fn connected(scenario: &Scenario, start: Instant) -> (Rtc, Rtc) {
    let provider = Arc::new(plain::provider());
    let builder = || {
        Rtc::builder()
            .set_crypto_provider(Arc::clone(&provider))
            .set_rtp_mode(true)
    };
    let first = Bitrate::bps(scenario.range.start.as_bps());
    let mut robot = builder().enable_bwe(Some(first)).build(start);
    let mut browser = builder().build(start);
    let ours = Candidate::host(robot_address(), "udp").expect("it is an address");
    let theirs = Candidate::host(browser_address(), "udp").expect("it is an address");
    robot.add_local_candidate(ours.clone());
    robot.add_remote_candidate(theirs.clone());
    browser.add_local_candidate(theirs);
    browser.add_remote_candidate(ours);
    introduce(&mut robot, &mut browser, true);
    introduce(&mut browser, &mut robot, false);
    let mid: Mid = "vid".into();
    robot.direct_api().declare_media(mid, MediaKind::Video);
    robot
        .direct_api()
        .declare_stream_tx(SSRC.into(), Some(RTX_SSRC.into()), mid, None);
    browser.direct_api().declare_media(mid, MediaKind::Video);
    browser
        .direct_api()
        .expect_stream_rx(SSRC.into(), Some(RTX_SSRC.into()), mid, None);
    browser.direct_api().enable_twcc_feedback();
    connect(&mut robot, &mut browser, start);
    // Connecting went in coarse steps: nothing that was measured meanwhile is the link's.
    robot.bwe().reset(first);
    let wanted = Bitrate::bps(scenario.range.most.as_bps());
    robot.bwe().set_bitrate(Bitrate::ZERO, wanted);
    (robot, browser)
}

fn introduce(rtc: &mut Rtc, other: &mut Rtc, active: bool) {
    let fingerprint = other.direct_api().local_dtls_fingerprint().clone();
    let credentials = other.direct_api().local_ice_credentials();
    let mut direct = rtc.direct_api();
    direct.set_remote_fingerprint(fingerprint);
    direct.set_remote_ice_credentials(credentials);
    direct.set_ice_controlling(active);
    direct.start_dtls(active).expect("the plain DTLS starts");
}

fn connect(robot: &mut Rtc, browser: &mut Rtc, start: Instant) {
    let mut now = start;
    let (mut to_robot, mut to_browser) = (Vec::new(), Vec::new());
    while now < start + CONNECTING {
        let inbox = std::mem::take(&mut to_robot);
        to_browser.extend(turn(
            robot,
            inbox,
            (browser_address(), robot_address()),
            now,
        ));
        let inbox = std::mem::take(&mut to_browser);
        to_robot.extend(turn(
            browser,
            inbox,
            (robot_address(), browser_address()),
            now,
        ));
        now += ms(5);
    }
    assert!(robot.is_connected() && browser.is_connected());
}

/// Hands over what arrived from the first address at the second; returns what is sent then.
fn turn(
    rtc: &mut Rtc,
    inbox: Vec<Vec<u8>>,
    (source, destination): (SocketAddr, SocketAddr),
    now: Instant,
) -> Vec<Vec<u8>> {
    let mut outbox = Vec::new();
    rtc.handle_input(Input::Timeout(now)).expect("str0m lives");
    drain(rtc, &mut outbox);
    for datagram in inbox {
        let receive = Receive {
            proto: Protocol::Udp,
            source,
            destination,
            contents: datagram.as_slice().try_into().expect("str0m made it"),
        };
        let input = Input::Receive(now, receive);
        rtc.handle_input(input).expect("str0m lives");
        drain(rtc, &mut outbox);
    }
    outbox
}

fn drain(rtc: &mut Rtc, outbox: &mut Vec<Vec<u8>>) {
    loop {
        match rtc.poll_output().expect("str0m lives") {
            Output::Timeout(_) => return,
            Output::Transmit(transmit) => outbox.push(transmit.contents.to_vec()),
            Output::Event(_) => {}
        }
    }
}

fn written(fragment: &Fragment, origin: Instant) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(fragment.payload.max(HEADER));
    bytes.extend(fragment.frame.to_be_bytes());
    bytes.push(u8::from(fragment.key_frame));
    bytes.extend(fragment.index.to_be_bytes());
    bytes.extend(fragment.count.to_be_bytes());
    let captured = (fragment.captured - origin).as_micros() as u64;
    bytes.extend(captured.to_be_bytes());
    bytes.resize(fragment.payload.max(HEADER), 0);
    bytes
}

fn read(payload: &[u8], origin: Instant) -> Option<Fragment> {
    let header: &[u8; HEADER] = payload.first_chunk()?;
    let number = |from: usize, to: usize| {
        header[from..to]
            .iter()
            .fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    Some(Fragment {
        frame: number(0, 4) as u32,
        key_frame: header[4] == 1,
        index: number(5, 7) as u16,
        count: number(7, 9) as u16,
        captured: origin + Duration::from_micros(number(9, 17)),
        payload: payload.len(),
    })
}

fn robot_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 1000))
}

fn browser_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], 2000))
}

const HEADER: usize = 17;
const SSRC: u32 = 42;
const RTX_SSRC: u32 = 44;
const UDP_HEADERS: u64 = 28;

/// What an application would leave for headers.
const MEDIA_SHARE: f64 = 0.93;

/// More than its ICE needs.
const CONNECTING: Duration = Duration::from_secs(1);
