//! `rovercast probe`: what this machine has to make and encode pictures.

use std::fs;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::{Failure, answer};

#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ProbeArgs) -> Result<(), Failure> {
    let found = Found {
        devices: video_devices(Path::new("/sys/class/video4linux")),
        sources: ["test-card", "file"],
        encoders: SOFTWARE_ENCODERS,
    };
    if args.json {
        let json = serde_json::to_string_pretty(&found)
            .map_err(|error| Failure::Work(format!("cannot write JSON: {error}")))?;
        return answer(&format!("{json}\n"));
    }
    answer(&table(&found))
}

#[derive(Debug, Serialize)]
struct Found {
    /// What the kernel calls video: cameras, encoders, and whatever else.
    devices: Vec<VideoDevice>,
    sources: [&'static str; 2],
    encoders: &'static [&'static str],
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct VideoDevice {
    path: String,
    /// As the driver says it.
    name: String,
}

/// The kernel's list, in the order of the numbers. A machine without video has no such folder.
fn video_devices(class: &Path) -> Vec<VideoDevice> {
    let Ok(entries) = fs::read_dir(class) else {
        return Vec::new();
    };
    let mut devices: Vec<(u32, VideoDevice)> = entries
        .flatten()
        .filter_map(|entry| {
            let node = entry.file_name().into_string().ok()?;
            let number = node.strip_prefix("video")?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            let device = VideoDevice {
                path: format!("/dev/{node}"),
                name: name.trim().to_owned(),
            };
            Some((number, device))
        })
        .collect();
    devices.sort_by_key(|(number, _)| *number);
    devices.into_iter().map(|(_, device)| device).collect()
}

fn table(found: &Found) -> String {
    let mut text = String::from("Video devices:\n");
    if found.devices.is_empty() {
        text.push_str("  none\n");
    }
    for device in &found.devices {
        text.push_str(&format!("  {:<14}{}\n", device.path, device.name));
    }
    text.push_str(
        "\nBuilt in:\n  test-card     a moving test card\n  file:PATH     replays a .y4m, .mjpeg or .h264 file\n",
    );
    for encoder in found.encoders {
        text.push_str(&format!("  {encoder:<14}H.264 encoder on the CPU\n"));
    }
    text
}

#[cfg(feature = "software-encoder")]
const SOFTWARE_ENCODERS: &[&str] = &["software"];
#[cfg(not(feature = "software-encoder"))]
const SOFTWARE_ENCODERS: &[&str] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_come_in_the_order_of_their_numbers() {
        let class = std::env::temp_dir().join(format!("rovercast-probe-{}", std::process::id()));
        for (node, name) in [
            ("video10", "encoder\n"),
            ("video2", "camera\n"),
            ("v4l-subdev0", "sensor\n"),
        ] {
            fs::create_dir_all(class.join(node)).unwrap();
            fs::write(class.join(node).join("name"), name).unwrap();
        }

        let devices = video_devices(&class);
        fs::remove_dir_all(&class).unwrap();

        let shown: Vec<String> = devices
            .iter()
            .map(|device| format!("{} {}", device.path, device.name))
            .collect();
        assert_eq!(shown, ["/dev/video2 camera", "/dev/video10 encoder"]);
    }

    #[test]
    fn a_machine_without_video_says_so() {
        let found = Found {
            devices: video_devices(Path::new("/nonexistent")),
            sources: ["test-card", "file"],
            encoders: SOFTWARE_ENCODERS,
        };

        assert!(table(&found).starts_with("Video devices:\n  none\n"));
    }
}
