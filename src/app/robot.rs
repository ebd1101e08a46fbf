//! The loop in which everything that happens meets the state machines that decide.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, info_span, warn};

use super::seat::{Event, News, Seat};
use super::{status, with_sources};
use crate::http::{Answer, Question};
use crate::network::{self, Network};
use crate::supervisor::{Action, Report, StopReason, Supervisor};
use crate::systemd;
use crate::uevents::Uevents;

/// A robot with its cameras, running until it is told to stop.
pub(super) struct Robot {
    pub(super) id: String,
    pub(super) seats: Vec<Seat>,
    pub(super) supervisor: Supervisor,
    pub(super) started: Instant,
    /// How many viewers the supervisor knows of, a number a seat.
    counted: Vec<usize>,
    questions: mpsc::Receiver<Question>,
    /// None where the kernel does not tell: then links and viewers notice by themselves, later.
    network: Option<watch::Receiver<Network>>,
    /// None where the kernel does not tell: then cameras that come back are found by trying, later.
    uevents: Option<Uevents>,
    /// Set when shutting down: leave then at the latest.
    leave_at: Option<Instant>,
    cameras_closed: bool,
}

/// One turn's cause.
enum Cause {
    Seat(usize, Event),
    Question(Question),
    Network(Network),
    DeviceCame,
    Timeout(&'static str),
    ShutDown,
}

impl Robot {
    pub(super) fn new(
        id: String,
        seats: Vec<Seat>,
        supervisor: Supervisor,
        questions: mpsc::Receiver<Question>,
        now: Instant,
    ) -> Self {
        let counted = vec![0; seats.len()];
        Self {
            id,
            seats,
            supervisor,
            started: now,
            counted,
            questions,
            network: None,
            uevents: None,
            leave_at: None,
            cameras_closed: false,
        }
    }

    /// Runs until `shut_down` comes true and everything has been closed politely, or a second later.
    pub(super) async fn run(mut self, shut_down: impl Future<Output = ()>) {
        let mut shut_down = std::pin::pin!(shut_down);
        match network::watch().await {
            Ok(network) => self.network = Some(network),
            Err(error) => warn!(%error, "cannot watch the network for changes"),
        }
        match Uevents::listen() {
            Ok(uevents) => self.uevents = Some(uevents),
            Err(error) => warn!(%error, "cannot watch for devices that come"),
        }
        let now = self.now();
        for seat in &mut self.seats {
            let network = self
                .network
                .as_ref()
                .map(|network| network.borrow().clone());
            seat.start_sessions(network.as_ref(), now);
        }
        self.settle(now);
        systemd::ready();
        while !self.is_closed() {
            let cause = self.cause(shut_down.as_mut()).await;
            let now = self.now();
            if self.leave_at.is_some_and(|at| at <= now) {
                warn!("something did not close in time");
                return;
            }
            self.turn(cause, now);
            self.settle(now);
        }
        info!("everything is closed");
    }

    fn is_closed(&self) -> bool {
        self.cameras_closed && self.seats.iter().all(Seat::is_closed)
    }

    #[allow(clippy::disallowed_methods)] // the loop reads the clock once a turn, and passes it on
    fn now(&self) -> Instant {
        Instant::now()
    }

    async fn cause(&mut self, shut_down: std::pin::Pin<&mut impl Future<Output = ()>>) -> Cause {
        let (deadline, why) = self.deadline();
        let leaving = self.leave_at.is_some();
        let seats = &mut self.seats;
        let at_a_seat = poll_fn(|cx| {
            for (index, seat) in seats.iter_mut().enumerate() {
                if let Poll::Ready(event) = seat.poll_event(cx) {
                    return Poll::Ready(Cause::Seat(index, event));
                }
            }
            Poll::Pending
        });
        tokio::select! {
            biased;
            () = shut_down, if !leaving => Cause::ShutDown,
            Some(question) = self.questions.recv() => Cause::Question(question),
            cause = at_a_seat => cause,
            network = changed(&mut self.network) => Cause::Network(network),
            () = device_came(&mut self.uevents) => Cause::DeviceCame,
            () = tokio::time::sleep_until(deadline.into()) => Cause::Timeout(why),
        }
    }

    fn deadline(&self) -> (Instant, &'static str) {
        let sessions = self.seats.iter().flat_map(|seat| &seat.lines);
        let sessions = sessions.filter_map(|line| line.session.poll_timeout());
        let leave = self.leave_at.map(|at| (at, "shutdown deadline"));
        let steering = self
            .seats
            .iter()
            .filter_map(|seat| seat.renditions.poll_timeout());
        let first = sessions
            .chain(steering)
            .chain(self.supervisor.poll_timeout())
            .chain(leave)
            .min();
        first.unwrap_or_else(|| (self.started + A_LONG_TIME, "nothing is due"))
    }

    fn turn(&mut self, cause: Cause, now: Instant) {
        match cause {
            Cause::Seat(index, event) => {
                let seat = &mut self.seats[index];
                let _entered = info_span!("camera", camera = seat.config.name()).entered();
                if let Some(news) = seat.handle(event, now) {
                    self.report(index, news, now);
                }
            }
            Cause::Question(question) => {
                let answer = Answer {
                    status: status::status(self, now),
                    metrics: status::metrics(self),
                };
                // Who asked may have gone.
                let _ = question.send(answer);
            }
            Cause::Network(network) => {
                debug!("network changed, checking links and viewers");
                for seat in &mut self.seats {
                    let _entered = info_span!("camera", camera = seat.config.name()).entered();
                    seat.network_changed(&network, now);
                }
            }
            Cause::DeviceCame => self.supervisor.handle(Report::DeviceCame, now),
            Cause::Timeout(why) => {
                tracing::trace!(why, "timeout");
                for line in self.seats.iter_mut().flat_map(|seat| &mut seat.lines) {
                    if line.session.poll_timeout().is_some_and(|(at, _)| at <= now) {
                        line.session
                            .handle(crate::relay::session::Input::Timeout, now);
                    }
                }
                for seat in &mut self.seats {
                    let _entered = info_span!("camera", camera = seat.config.name()).entered();
                    seat.steering_timeout(now);
                }
                self.supervisor.handle(Report::Timeout, now);
            }
            Cause::ShutDown => {
                info!("shutting down");
                systemd::stopping();
                self.leave_at = Some(now + SHUTDOWN_DEADLINE);
                for seat in &mut self.seats {
                    seat.shut_down(now);
                }
                self.supervisor.handle(Report::ShutDown, now);
            }
        }
    }

    fn report(&mut self, camera: usize, news: News, now: Instant) {
        let report = match news {
            News::Moved => Report::Moved { camera },
            News::Recovering => Report::Recovering { camera },
            News::Ended(Ok(())) => Report::Stopped { camera },
            News::Ended(Err(error)) => {
                let why = with_sources(&error);
                let name = self.seats[camera].config.name();
                let class = error.class();
                warn!(camera = name, class, why, "camera or encoder failed");
                Report::Failed {
                    camera,
                    why,
                    lasting: !error.is_worth_retrying(),
                }
            }
        };
        self.supervisor.handle(report, now);
    }

    /// Carries out what the state machines decided, until none has anything left to say.
    fn settle(&mut self, now: Instant) {
        loop {
            let mut acted = false;
            for (index, seat) in self.seats.iter_mut().enumerate() {
                let _entered = info_span!("camera", camera = seat.config.name()).entered();
                acted |= seat.act(now);
                if seat.has_wrong_size() {
                    // It is deaf to it when that is under way.
                    let report = Report::OtherSize { camera: index };
                    self.supervisor.handle(report, now);
                }
                let count = seat.viewers();
                if std::mem::replace(&mut self.counted[index], count) != count {
                    self.supervisor.handle(
                        Report::Viewers {
                            camera: index,
                            count,
                        },
                        now,
                    );
                }
            }
            while let Some(action) = self.supervisor.poll_action() {
                self.perform(action, now);
                acted = true;
            }
            if !acted {
                return;
            }
        }
    }

    fn perform(&mut self, action: Action, now: Instant) {
        match action {
            Action::Start { camera } => self.seats[camera].start_pipeline(),
            Action::Stop { camera, why } => {
                let name = self.seats[camera].config.name();
                match why {
                    StopReason::Stalled => warn!(
                        camera = name,
                        class = "stalled",
                        "no picture for too long, opening camera and encoder again"
                    ),
                    StopReason::OtherSize => info!(
                        camera = name,
                        "closing camera and encoder, pictures of another size are wanted"
                    ),
                    StopReason::NobodyWatches | StopReason::ShuttingDown => {}
                }
                self.seats[camera].stop_pipeline(now);
            }
            Action::FeedWatchdog => systemd::watchdog(),
            Action::Status(line) => systemd::status(&line),
            Action::Exit => self.cameras_closed = true,
        }
    }
}

/// The network after its next change.
async fn changed(network: &mut Option<watch::Receiver<Network>>) -> Network {
    let Some(receiver) = network else {
        return std::future::pending().await;
    };
    if receiver.changed().await.is_err() {
        // The watch ended, and said why.
        *network = None;
        return std::future::pending().await;
    }
    receiver.borrow_and_update().clone()
}

/// Waits until a camera or an encoder comes.
async fn device_came(uevents: &mut Option<Uevents>) {
    let Some(listener) = uevents else {
        return std::future::pending().await;
    };
    if let Err(error) = listener.video_device_came().await {
        warn!(%error, "cannot watch for devices that come any more");
        *uevents = None;
        std::future::pending::<()>().await;
    }
}

/// systemd and people wait for this; what has not closed by then is closed by the kernel.
const SHUTDOWN_DEADLINE: Duration = Duration::from_millis(800);

/// Nothing is due: any time that is far away and still fits an `Instant`.
const A_LONG_TIME: Duration = Duration::from_secs(365 * 24 * 3600);
