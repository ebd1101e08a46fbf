//! Counters that the parts add to and `/metrics` reads, in Prometheus' text exposition format.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::board::PicturePath;
use crate::media::Bitrate;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        // Counters order nothing: each is read alone.
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a duration fell into which bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS_US.len()],
    beyond: Counter,
    sum_us: Counter,
}

impl Histogram {
    pub fn observe(&self, duration: Duration) {
        let us = duration.as_micros().min(u128::from(u64::MAX)) as u64;
        match BUCKETS_US.iter().position(|&limit| us <= limit) {
            Some(bucket) => self.buckets[bucket].add(1),
            None => self.beyond.add(1),
        }
        self.sum_us.add(us);
    }
}

/// What one camera's parts count.
#[derive(Debug, Default)]
pub struct CameraMetrics {
    /// Pictures that the camera made, taken or not.
    pub frames: Counter,
    /// Pictures that were not encoded because a newer one was there first.
    pub frames_dropped: Counter,
    /// Pictures that came damaged or short, and were dropped.
    pub frames_damaged: Counter,
    /// Pictures that were not encoded because the viewers' links are too narrow for all.
    pub frames_left_out: Counter,
    /// Access units that the encoder gave: one encode for all viewers.
    pub units: Counter,
    pub key_frames: Counter,
    pub unit_bytes: Counter,
    /// Raw picture bytes copied or converted between camera and encoder.
    pub copied_bytes: Counter,
    /// Frames that the encoder could not code.
    pub encoder_errors: Counter,
    /// Steps taken to make an encoder go on that stood still or failed.
    pub encoder_recoveries: Counter,
    pub pipeline_starts: Counter,
    /// Requests by viewers (PLI, FIR), before they are merged.
    pub key_frame_requests: Counter,
    pub viewers_opened: Counter,
    /// Access units that viewers skipped up to the next key frame.
    pub units_skipped: Counter,
    pub dials: Counter,
    /// From submitting a frame to its access unit.
    pub encode: Histogram,
    /// From capture until the unit was handed to a viewer's transport, less the encoder's own time.
    pub capture_to_wire: Histogram,
}

/// The present, which is no counter.
#[derive(Clone, Debug, Default)]
pub struct CameraGauges {
    pub running: bool,
    pub viewers: usize,
    pub relay_connected: bool,
    /// How pictures get to the encoder; `None` while nothing encodes, and when it reads them where they are.
    pub path: Option<PicturePath>,
    /// What the encoder is asked for; `None` when it decides itself.
    pub target: Option<Bitrate>,
    pub each: Vec<ViewerGauges>,
    /// Where the configuration wants a second rendition.
    pub small: Option<SmallGauges>,
}

/// The second rendition: what it counts, and its present.
#[derive(Clone, Debug, Default)]
pub struct SmallGauges {
    pub metrics: Arc<CameraMetrics>,
    pub running: bool,
    /// They are among the camera's viewers, too.
    pub viewers: usize,
    pub target: Bitrate,
}

/// One viewer's present. `None` where its browser reports nothing about packets.
#[derive(Clone, Debug, Default)]
pub struct ViewerGauges {
    pub viewer: String,
    pub estimate: Option<Bitrate>,
    pub acknowledged: Option<Bitrate>,
    pub queue_delay: Option<Duration>,
    pub sent: Bitrate,
    pub repaired_packets: u64,
}

/// Writes all cameras' numbers. One `# TYPE` line a name, as the format demands.
pub fn exposition(cameras: &[(&str, &CameraMetrics, CameraGauges)]) -> String {
    type Read = fn(&CameraMetrics) -> &Counter;
    let counters: [(&str, &str, Read); 15] = [
        ("camera_frames", "Pictures the camera made.", |m| &m.frames),
        (
            "camera_frames_dropped",
            "Pictures given back because a newer one was there.",
            |m| &m.frames_dropped,
        ),
        (
            "camera_frames_damaged",
            "Pictures that came damaged or short.",
            |m| &m.frames_damaged,
        ),
        (
            "camera_frames_left_out",
            "Pictures left out because links are too narrow for all.",
            |m| &m.frames_left_out,
        ),
        ("encoder_frames", "Access units the encoder gave.", |m| {
            &m.units
        }),
        ("encoder_key_frames", "Key frames among them.", |m| {
            &m.key_frames
        }),
        ("encoder_bytes", "Bytes of access units.", |m| &m.unit_bytes),
        ("encoder_errors", "Frames that could not be encoded.", |m| {
            &m.encoder_errors
        }),
        (
            "encoder_recoveries",
            "Steps taken to make an encoder go on that stood still or failed.",
            |m| &m.encoder_recoveries,
        ),
        (
            "copied_bytes",
            "Raw picture bytes copied or converted between camera and encoder.",
            |m| &m.copied_bytes,
        ),
        (
            "pipeline_starts",
            "How often camera and encoder were opened.",
            |m| &m.pipeline_starts,
        ),
        (
            "key_frame_requests",
            "Requests of viewers for a key frame.",
            |m| &m.key_frame_requests,
        ),
        ("viewers_opened", "Viewers that came.", |m| {
            &m.viewers_opened
        }),
        (
            "viewer_units_skipped",
            "Access units that viewers skipped up to a key frame.",
            |m| &m.units_skipped,
        ),
        ("relay_dials", "Attempts to reach the relay.", |m| &m.dials),
    ];
    type Gauge = fn(&CameraGauges) -> u64;
    let gauges: [(&str, &str, Gauge); 4] = [
        (
            "pipeline_running",
            "1 while camera and encoder are open.",
            |g| u64::from(g.running),
        ),
        ("viewers", "Viewers now.", |g| g.viewers as u64),
        ("relay_connected", "1 while the relay is reached.", |g| {
            u64::from(g.relay_connected)
        }),
        (
            "target_bits_per_second",
            "What the encoder is asked for; 0 when it decides itself.",
            |g| g.target.unwrap_or_default().as_bps(),
        ),
    ];
    type SmallGauge = fn(&SmallGauges) -> u64;
    let of_small: [(&str, &str, SmallGauge); 3] = [
        (
            "small_rendition_running",
            "1 while the second encoder is open.",
            |s| u64::from(s.running),
        ),
        (
            "small_rendition_viewers",
            "Viewers of the smaller rendition now.",
            |s| s.viewers as u64,
        ),
        (
            "small_rendition_target_bits_per_second",
            "What the second encoder is asked for.",
            |s| s.target.as_bps(),
        ),
    ];
    type ViewerGauge = fn(&ViewerGauges) -> Option<f64>;
    let of_viewers: [(&str, &str, &str, ViewerGauge); 5] = [
        (
            "viewer_estimate_bits_per_second",
            "gauge",
            "What the viewer's link is found to carry, headers included.",
            |v| Some(v.estimate?.as_bps() as f64),
        ),
        (
            "viewer_acknowledged_bits_per_second",
            "gauge",
            "What arrives, headers included.",
            |v| Some(v.acknowledged?.as_bps() as f64),
        ),
        (
            "viewer_sent_bits_per_second",
            "gauge",
            "What is sent, headers included.",
            |v| Some(v.sent.as_bps() as f64),
        ),
        (
            "viewer_queue_delay_seconds",
            "gauge",
            "What every packet waits on the way at least.",
            |v| Some(v.queue_delay?.as_secs_f64()),
        ),
        (
            "viewer_repaired_packets_total",
            "counter",
            "Packets sent again.",
            |v| Some(v.repaired_packets as f64),
        ),
    ];
    type Timing = fn(&CameraMetrics) -> &Histogram;
    let timings: [(&str, &str, Timing); 2] = [
        (
            "encode_seconds",
            "From submitting a frame to its access unit.",
            |m| &m.encode,
        ),
        (
            "capture_to_wire_seconds",
            "From capture to the viewer's transport, less the encoder's own time.",
            |m| &m.capture_to_wire,
        ),
    ];

    let mut text = Text(String::new());
    for (name, help, read) in counters {
        text.head(&format!("{name}_total"), "counter", help);
        for (camera, metrics, gauges) in cameras {
            text.line(&format!("{name}_total"), camera, "", read(metrics).value());
            if let Some(small) = gauges.small.as_ref().filter(|_| is_of_encoder(name)) {
                let value = read(&small.metrics).value();
                text.line(&format!("{name}_total"), camera, SMALL, value);
            }
        }
    }
    for (name, help, read) in gauges {
        text.head(name, "gauge", help);
        for (camera, _, gauges) in cameras {
            text.line(name, camera, "", read(gauges));
        }
    }
    text.head(
        "picture_path",
        "gauge",
        "1 for the path that pictures take from camera to encoder.",
    );
    for (camera, _, gauges) in cameras {
        if let Some(path) = gauges.path {
            text.line("picture_path", camera, &format!(",path=\"{path}\""), 1);
        }
    }
    for (name, help, read) in of_small {
        text.head(name, "gauge", help);
        for (camera, _, gauges) in cameras {
            if let Some(small) = &gauges.small {
                text.line(name, camera, "", read(small));
            }
        }
    }
    for (name, kind, help, read) in of_viewers {
        text.head(name, kind, help);
        for (camera, _, gauges) in cameras {
            for viewer in &gauges.each {
                if let Some(value) = read(viewer) {
                    let label = format!(",viewer=\"{}\"", escaped(&viewer.viewer));
                    text.line(name, camera, &label, value);
                }
            }
        }
    }
    for (name, help, read) in timings {
        text.head(name, "histogram", help);
        for (camera, metrics, _) in cameras {
            text.histogram(name, camera, read(metrics));
        }
    }
    text.0
}

/// Counted for each rendition; the large one's lines have no label for it.
fn is_of_encoder(counter: &str) -> bool {
    counter.starts_with("encoder_") || counter == "copied_bytes"
}

const SMALL: &str = ",rendition=\"small\"";

/// A label's value. Viewers name themselves, in printable ASCII.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The text as it grows. Writing to a `String` cannot fail.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(
            self.0,
            "# HELP rovercast_{name} {help}\n# TYPE rovercast_{name} {kind}"
        );
    }

    /// `camera` needs no escapes: a camera id has letters, digits, dots, dashes and underscores only.
    fn line(&mut self, name: &str, camera: &str, label: &str, value: impl std::fmt::Display) {
        let _ = writeln!(
            self.0,
            "rovercast_{name}{{camera=\"{camera}\"{label}}} {value}"
        );
    }

    fn histogram(&mut self, name: &str, camera: &str, histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (limit, hits) in BUCKETS_US.iter().zip(&histogram.buckets) {
            count += hits.value();
            self.line(
                &bucket,
                camera,
                &format!(",le=\"{}\"", *limit as f64 / 1e6),
                count,
            );
        }
        count += histogram.beyond.value();
        self.line(&bucket, camera, ",le=\"+Inf\"", count);
        self.line(
            &format!("{name}_sum"),
            camera,
            "",
            histogram.sum_us.value() as f64 / 1e6,
        );
        self.line(&format!("{name}_count"), camera, "", count);
    }
}

/// Microseconds. Fine where the promise lies (1 ms and 4 ms), coarse where only the fault matters.
const BUCKETS_US: [u64; 17] = [
    50, 100, 150, 200, 300, 400, 500, 700, 1_000, 1_500, 2_000, 4_000, 8_000, 16_000, 33_000,
    100_000, 1_000_000,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_has_its_type_and_its_camera() {
        let metrics = CameraMetrics::default();
        metrics.units.add(3);
        metrics.encode.observe(Duration::from_micros(180));
        metrics.encode.observe(Duration::from_secs(2));

        let text = exposition(&[(
            "front",
            &metrics,
            CameraGauges {
                running: true,
                each: vec![ViewerGauges {
                    viewer: "a\"b".into(),
                    sent: Bitrate::kbps(250),
                    ..Default::default()
                }],
                small: Some(SmallGauges {
                    viewers: 2,
                    ..Default::default()
                }),
                ..Default::default()
            },
        )]);

        assert!(text.contains("# TYPE rovercast_encoder_frames_total counter"));
        assert!(text.contains("rovercast_encoder_frames_total{camera=\"front\"} 3"));
        assert!(
            text.contains("rovercast_encoder_frames_total{camera=\"front\",rendition=\"small\"} 0")
        );
        assert!(text.contains("rovercast_small_rendition_viewers{camera=\"front\"} 2"));
        assert!(text.contains("rovercast_pipeline_running{camera=\"front\"} 1"));
        assert!(text.contains(
            "rovercast_viewer_sent_bits_per_second{camera=\"front\",viewer=\"a\\\"b\"} 250000"
        ));
        assert!(!text.contains("rovercast_viewer_estimate_bits_per_second{"));
        assert!(
            text.contains("rovercast_encode_seconds_bucket{camera=\"front\",le=\"0.00015\"} 0")
        );
        assert!(text.contains("rovercast_encode_seconds_bucket{camera=\"front\",le=\"0.0002\"} 1"));
        assert!(text.contains("rovercast_encode_seconds_bucket{camera=\"front\",le=\"+Inf\"} 2"));
        assert!(text.contains("rovercast_encode_seconds_count{camera=\"front\"} 2"));
    }
}
