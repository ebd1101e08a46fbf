//! The encoders that there are, and what each can be given.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::debug;

use super::agreement::queues;
use crate::board::{EncoderProfile, PicturePath, Profiles};
use crate::encoder::EncoderError;
use crate::media::Fourcc;
use crate::v4l2::{Device, Nodes};

/// An encoder that was looked at.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(super) node: PathBuf,
    pub(super) name: String,
    pub(super) profile: Arc<EncoderProfile>,
    /// What it reads and we know, best first.
    pub(super) raw: Vec<Fourcc>,
}

/// Every encoder of H.264 there is, by the numbers of their nodes.
pub fn candidates(profiles: &Profiles) -> Vec<Candidate> {
    let nodes = Nodes::of_this_machine().paths();
    nodes
        .iter()
        .filter_map(|node| Candidate::at(node, profiles).ok())
        .collect()
}

impl Candidate {
    /// Looks at one node. The error says why it is no encoder for us.
    pub fn at(node: &Path, profiles: &Profiles) -> Result<Self, EncoderError> {
        let refused = |refusal| EncoderError::Refused {
            encoder: node.display().to_string(),
            refusal,
        };
        let device = Device::open(node).map_err(refused)?;
        let identity = device.identity();
        let name = format!("{} ({})", identity.driver, node.display());
        let (raw, _) = queues(&device).map_err(refused)?;
        let offered = device.formats(raw).map_err(refused)?;
        let profile = profiles.encoder_for(&identity.driver, &identity.card);
        let raw = readable(&offered, profile);
        if raw.is_empty() {
            return Err(EncoderError::Start {
                encoder: "the hardware encoder",
                found: format!("{name} reads {offered:?} when expecting one of {KNOWN:?}"),
            });
        }
        debug!(
            encoder = name,
            profile = profile.about.id,
            ?raw,
            "found an encoder"
        );
        Ok(Self {
            node: node.to_owned(),
            name,
            profile: Arc::new(profile.clone()),
            raw,
        })
    }

    pub fn node(&self) -> &Path {
        &self.node
    }

    /// For people: `vh264enc (/dev/video2)`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn profile(&self) -> &EncoderProfile {
        &self.profile
    }

    /// Tries these paths instead of all that the profile has.
    pub fn over(mut self, paths: Vec<PicturePath>) -> Self {
        Arc::make_mut(&mut self.profile).paths = paths;
        self
    }

    /// What to ask a camera for, cheapest first: what the encoder reads, then what can be converted, and the camera's own
    /// H.264 when there is nothing else.
    pub fn camera_formats(&self) -> Vec<Fourcc> {
        let read = self.raw.iter().filter(|it| it.memory_planes() == 1);
        let mut formats: Vec<Fourcc> = read.copied().collect();
        for fourcc in KNOWN.iter().chain([&Fourcc::MJPG]) {
            let is_of_cameras = fourcc.memory_planes() == 1 && !formats.contains(fourcc);
            if is_of_cameras && self.conversion_of(*fourcc).is_some() {
                formats.push(*fourcc);
            }
        }
        formats.push(Fourcc::H264);
        formats
    }

    /// What the encoder can be given of such pictures.
    pub(super) fn conversion_of(&self, fourcc: Fourcc) -> Option<Fourcc> {
        if self.raw.contains(&fourcc) {
            return Some(fourcc);
        }
        let planar = |it: &&Fourcc| matches!(it.in_one_buffer(), Fourcc::NV12 | Fourcc::YU12);
        self.raw.iter().find(planar).copied()
    }
}

/// The profile's order, then the driver's.
fn readable(offered: &[Fourcc], profile: &EncoderProfile) -> Vec<Fourcc> {
    let mut raw: Vec<Fourcc> = Vec::new();
    for fourcc in profile.raw.formats.iter().chain(offered) {
        if offered.contains(fourcc) && KNOWN.contains(fourcc) && !raw.contains(fourcc) {
            raw.push(*fourcc);
        }
    }
    raw
}

/// What pictures can be handed over as they are, and converted to; those in several memory planes only converted to, for cameras
/// fill one.
const KNOWN: [Fourcc; 6] = [
    Fourcc::NV12,
    Fourcc::YU12,
    Fourcc::YUYV,
    Fourcc::UYVY,
    Fourcc::NM12,
    Fourcc::YM12,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(driver: &str, offered: &[Fourcc]) -> Candidate {
        let profile = Profiles::built_in().encoder_for(driver, "").clone();
        Candidate {
            node: "/dev/video11".into(),
            name: driver.into(),
            raw: readable(offered, &profile),
            profile: Arc::new(profile),
        }
    }

    #[test]
    fn a_camera_is_asked_for_what_needs_no_conversion_first() {
        let amphion = candidate("amphion-vpu", &[Fourcc::NM12, Fourcc::NV12]);
        let formats = amphion.camera_formats();
        assert_eq!(formats[0], Fourcc::NV12);
        assert!(formats.contains(&Fourcc::MJPG));
        assert_eq!(formats.last(), Some(&Fourcc::H264), "the last resort");
        assert_eq!(amphion.conversion_of(Fourcc::MJPG), Some(Fourcc::NV12));
    }

    #[test]
    fn no_camera_is_asked_for_several_memory_planes() {
        let mediatek = candidate("mtk-vcodec-enc", &[Fourcc::NM12, Fourcc::YM12]);
        let formats = mediatek.camera_formats();
        assert_eq!(formats[0], Fourcc::NV12);
        assert!(formats.iter().all(|it| it.memory_planes() == 1));
        for camera in [Fourcc::NV12, Fourcc::YUYV, Fourcc::MJPG] {
            assert_eq!(mediatek.conversion_of(camera), Some(Fourcc::NM12));
        }
    }

    #[test]
    fn what_nobody_can_make_is_not_asked_for() {
        let packed = candidate("strange", &[Fourcc::YUYV]);
        assert_eq!(packed.camera_formats(), [Fourcc::YUYV, Fourcc::H264]);
        assert_eq!(packed.conversion_of(Fourcc::NV12), None);
    }

    #[test]
    fn the_driver_decides_what_there_is_and_the_profile_what_comes_first() {
        let firmware = candidate("vh264enc", &[Fourcc::YUYV, Fourcc::YU12, Fourcc(*b"RGB3")]);
        assert_eq!(firmware.raw, [Fourcc::YU12, Fourcc::YUYV]);
    }
}
