//! One camera's second, smaller rendition: the pipeline of an encoder that shares the first one's pictures.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::media::Bitrate;
use crate::media::rate::PictureScale;
use crate::metrics::CameraMetrics;
use crate::pipeline::feed::Outlet;
use crate::pipeline::second::Second;
use crate::pipeline::{Encoding, Outlets, Pipeline, Report};

/// The second rendition, running or not.
pub(super) struct Small {
    pub(super) pipeline: Option<Pipeline>,
    pub(super) encoding: Option<Encoding>,
    pub(super) metrics: Arc<CameraMetrics>,
    outlets: Outlets,
    reports: mpsc::UnboundedReceiver<Report>,
}

impl Small {
    pub(super) fn new() -> Self {
        let (report, reports) = mpsc::unbounded_channel();
        let metrics = Arc::new(CameraMetrics::default());
        Self {
            pipeline: None,
            encoding: None,
            outlets: Outlets {
                units: Outlet::new(),
                reports: report,
                metrics: Arc::clone(&metrics),
            },
            metrics,
            reports,
        }
    }

    /// `second` is how; `None`: the camera has been closed meanwhile.
    pub(super) fn start(
        &mut self,
        camera: &str,
        second: Option<Second>,
        bitrate: Bitrate,
        scale: PictureScale,
    ) {
        let started = second.map(|second| {
            Pipeline::start(camera, self.outlets.clone(), move || second.open(bitrate))
        });
        let ended = match started {
            Some(Ok(pipeline)) => {
                // Before its first picture, for that one is to be small already.
                pipeline.set_scale(scale);
                self.pipeline = Some(pipeline);
                return;
            }
            Some(Err(error)) => Err(error.into()),
            None => Ok(()),
        };
        let _ = self.outlets.reports.send(Report::Ended(ended));
    }

    pub(super) fn stop(&self) {
        if let Some(pipeline) = &self.pipeline {
            pipeline.stop();
        }
    }

    pub(super) fn ended(&mut self) {
        self.pipeline = None;
        self.encoding = None;
    }

    pub(super) fn units(&self) -> &Outlet {
        &self.outlets.units
    }

    pub(super) fn poll_report(&mut self, cx: &mut Context<'_>) -> Poll<Option<Report>> {
        self.reports.poll_recv(cx)
    }
}
