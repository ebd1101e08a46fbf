//! A narrow, long or broken link between a browser and a robot on this machine.
//!
//! The browser is told of the shaper's port in place of the robot's, and the robot of no address at all: it answers where packets
//! come from. Chromium takes part by [`Shaper::script`], which stands before the page's own.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::neighbour::{self, Neighbour};

/// One direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// In bit/s; `None`: as wide as it gets.
    pub(crate) rate: Option<f64>,
    /// What waits longer than this for its turn is thrown away.
    pub(crate) queue: Duration,
    pub(crate) delay: Duration,
    /// More delay, up to this, for each packet; they stay in order.
    pub(crate) jitter: Duration,
    /// 0 to 1.
    pub(crate) loss: f64,
    pub(crate) is_up: bool,
}

impl Link {
    pub(crate) fn wide(delay: Duration) -> Self {
        Self {
            rate: None,
            queue: Duration::from_millis(300),
            delay,
            jitter: Duration::ZERO,
            loss: 0.0,
            is_up: true,
        }
    }
}

/// Both directions. It ends with this value.
#[derive(Debug)]
pub(crate) struct Shaper {
    /// Where the browser comes to.
    port: u16,
    pub(crate) there: Direction,
    pub(crate) back: Direction,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Robot to browser, or browser to robot.
#[derive(Clone, Debug)]
pub(crate) struct Direction {
    link: Arc<Mutex<Link>>,
    /// What came through with its headers, but for a download.
    bytes: Arc<AtomicU64>,
    /// When the bottleneck is free, in microseconds since `origin`.
    free: Arc<AtomicU64>,
    origin: Instant,
    download: Arc<Mutex<Option<Neighbour>>>,
}

impl Direction {
    fn new(link: Link) -> Self {
        Self {
            link: Arc::new(Mutex::new(link)),
            bytes: Arc::default(),
            free: Arc::default(),
            origin: Instant::now(),
            download: Arc::default(),
        }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Link)) {
        change(&mut self.link.lock().expect("nobody panics with it"));
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How long a packet that came now would wait at the bottleneck.
    pub(crate) fn queue_delay(&self) -> Duration {
        let free = Duration::from_micros(self.free.load(Ordering::Relaxed));
        free.saturating_sub(self.origin.elapsed())
    }

    /// Somebody else begins to download through the same bottleneck.
    pub(crate) fn begin_download(&self) {
        let neighbour = Neighbour::new(Instant::now());
        *self.download.lock().expect("nobody panics with it") = Some(neighbour);
    }

    /// Ends it; returns how many bytes came through.
    pub(crate) fn end_download(&self) -> u64 {
        let download = self.download.lock().expect("nobody panics with it").take();
        download.map_or(0, |it| it.arrived_bytes)
    }
}

impl Shaper {
    /// Before the robot at UDP port `robot` of loopback; `link` both ways.
    pub(crate) fn before(robot: u16, link: Link, seed: u64) -> Self {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let (front, rear) = (Arc::new(bind()), Arc::new(bind()));
        rear.connect((Ipv4Addr::LOCALHOST, robot))
            .expect("it is an address");
        let browser: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let ended = Arc::new(AtomicBool::new(false));
        let (there, back) = (Direction::new(link), Direction::new(link));
        let carry = |name: &str, way: Way| {
            let (browser, ended) = (Arc::clone(&browser), Arc::clone(&ended));
            thread::Builder::new()
                .name(name.into())
                .spawn(move || way.run(&browser, &ended))
                .expect("one more thread")
        };
        let threads = vec![
            carry(
                "shaper-there",
                Way {
                    from: Arc::clone(&rear),
                    to: Arc::clone(&front),
                    to_browser: true,
                    direction: there.clone(),
                    random: StdRng::seed_from_u64(seed),
                    latest: Instant::now(),
                },
            ),
            carry(
                "shaper-back",
                Way {
                    from: Arc::clone(&front),
                    to: rear,
                    to_browser: false,
                    direction: back.clone(),
                    random: StdRng::seed_from_u64(seed + 1),
                    latest: Instant::now(),
                },
            ),
        ];
        let port = front.local_addr().expect("it is bound").port();
        Self {
            port,
            there,
            back,
            ended,
            threads,
        }
    }

    /// Makes a page meet the robot here only.
    pub(crate) fn script(&self) -> String {
        format!(
            "{{ const port = {};\n{} }}",
            self.port,
            include_str!("shaper.js")
        )
    }

    pub(crate) fn both(&self, change: impl Fn(&mut Link)) {
        self.there.change(&change);
        self.back.change(&change);
    }
}

impl Drop for Shaper {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// What is under way.
enum Cargo {
    Datagram(Vec<u8>),
    /// A packet of the download; it exists as its number only.
    Download(u64),
}

/// A direction at work.
struct Way {
    from: Arc<UdpSocket>,
    to: Arc<UdpSocket>,
    to_browser: bool,
    direction: Direction,
    random: StdRng,
    /// When the newest comes out.
    latest: Instant,
}

impl Way {
    fn run(mut self, browser: &Mutex<Option<SocketAddr>>, ended: &AtomicBool) {
        self.from.set_nonblocking(true).expect("it is a socket");
        let mut under_way: VecDeque<(Instant, Cargo)> = VecDeque::new();
        let mut answers: VecDeque<(Instant, u64)> = VecDeque::new();
        let mut free = Instant::now();
        let mut datagram = [0; 2048];
        while !ended.load(Ordering::Relaxed) {
            let now = Instant::now();
            while under_way.front().is_some_and(|(due, _)| *due <= now) {
                let (_, cargo) = under_way.pop_front().expect("it was just looked at");
                let datagram = match cargo {
                    Cargo::Datagram(datagram) => datagram,
                    Cargo::Download(number) => {
                        answers.push_back((now + neighbour::RETURN, number));
                        continue;
                    }
                };
                self.direction
                    .bytes
                    .fetch_add((datagram.len() + UDP_HEADERS) as u64, Ordering::Relaxed);
                // Nobody there is what a real link does not tell either.
                let _ = match (self.to_browser, *browser.lock().expect("nobody panics")) {
                    (true, Some(browser)) => self.to.send_to(&datagram, browser),
                    (true, None) => Ok(0),
                    (false, _) => self.to.send(&datagram),
                };
            }
            self.download(&mut answers, &mut under_way, &mut free);
            let next = [
                under_way.front().map(|(due, _)| *due),
                answers.front().map(|(due, _)| *due),
            ];
            let patience = next.into_iter().flatten().min().map_or(LOOK_AGAIN, |due| {
                due.saturating_duration_since(now).min(LOOK_AGAIN)
            });
            let patience = Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(patience.subsec_nanos()),
            };
            let mut waits = [PollFd::new(&*self.from, PollFlags::IN)];
            let _ = poll(&mut waits, Some(&patience));
            while let Ok((bytes, from)) = self.from.recv_from(&mut datagram) {
                if !self.to_browser {
                    *browser.lock().expect("nobody panics") = Some(from);
                }
                if let Some(due) = self.admit(bytes, &mut free) {
                    under_way.push_back((due, Cargo::Datagram(datagram[..bytes].to_vec())));
                }
            }
        }
    }

    /// What the download sends now.
    fn download(
        &mut self,
        answers: &mut VecDeque<(Instant, u64)>,
        under_way: &mut VecDeque<(Instant, Cargo)>,
        free: &mut Instant,
    ) {
        let direction = self.direction.clone();
        let mut download = direction.download.lock().expect("nobody panics with it");
        let Some(neighbour) = &mut *download else {
            answers.clear();
            return;
        };
        let now = Instant::now();
        while answers.front().is_some_and(|(due, _)| *due <= now) {
            let (_, number) = answers.pop_front().expect("it was just looked at");
            neighbour.acknowledged(number, now);
        }
        while let Some(number) = neighbour.poll(now) {
            if let Some(due) = self.admit(neighbour::PACKET - UDP_HEADERS, free) {
                under_way.push_back((due, Cargo::Download(number)));
            }
        }
    }

    /// When a datagram comes out at the other end, if it does.
    fn admit(&mut self, bytes: usize, free: &mut Instant) -> Option<Instant> {
        let now = Instant::now();
        let link = *self.direction.link.lock().expect("nobody panics with it");
        if !link.is_up || self.random.random::<f64>() < link.loss {
            return None;
        }
        *free = (*free).max(now);
        if let Some(rate) = link.rate {
            if *free - now > link.queue {
                return None;
            }
            *free += Duration::from_secs_f64((bytes + UDP_HEADERS) as f64 * 8.0 / rate);
            let since = free.saturating_duration_since(self.direction.origin);
            let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
            self.direction.free.store(micros, Ordering::Relaxed);
        }
        let due = *free + link.delay + link.jitter.mul_f64(self.random.random());
        self.latest = self.latest.max(due);
        Some(self.latest)
    }
}

/// IPv4 and UDP.
const UDP_HEADERS: usize = 28;

const LOOK_AGAIN: Duration = Duration::from_millis(50);
