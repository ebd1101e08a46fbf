//! Which node is the camera, also after it was pulled out and came back under another number.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::{debug, info};

use super::{CameraSettings, Negotiated, refused};
use crate::camera::CameraError;
use crate::v4l2::{Device, Identity, Nodes};

/// Where a camera is looked for, and who was found there. Keep it as long as the same camera is wanted.
///
/// A path below `/dev/v4l` is taken at its word. `/dev/video0` means the camera that was there the first time, and no path means
/// the first camera that could be used: from then on that one is found by where it is plugged in, and waited for.
#[derive(Debug)]
pub struct Whereabouts {
    wanted: Option<PathBuf>,
    known: Mutex<Option<Known>>,
    nodes: Nodes,
}

/// What tells one camera from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    driver: String,
    card: String,
    bus: String,
    /// Which of the nodes that its device has.
    function: Option<u32>,
    /// Vendor, product and serial number, as udev names it.
    by_id: Option<String>,
}

impl Whereabouts {
    pub fn any() -> Self {
        Self::new(None)
    }

    pub fn at(path: &Path) -> Self {
        Self::new(Some(path.to_owned()))
    }

    fn new(wanted: Option<PathBuf>) -> Self {
        Self {
            wanted,
            known: Mutex::new(None),
            nodes: Nodes::of_this_machine(),
        }
    }

    /// Opens the camera and agrees on a format. `None` when any would do and there is none.
    pub fn negotiate(
        &self,
        settings: &CameraSettings<'_>,
    ) -> Result<Option<Negotiated>, CameraError> {
        let known = self.known().clone();
        match (&self.wanted, known) {
            (Some(path), None) => self.negotiate_at(path, settings).map(Some),
            (Some(path), Some(known)) if self.nodes.is_lasting(path) => {
                if path.exists() {
                    self.negotiate_at(path, settings).map(Some)
                } else {
                    Err(known.is_gone())
                }
            }
            (_, Some(known)) => self.negotiate_again(&known, settings).map(Some),
            (_, None) => self.negotiate_with_first(settings),
        }
    }

    /// Whether a camera was found at all.
    pub fn is_known(&self) -> bool {
        self.known().is_some()
    }

    fn negotiate_at(
        &self,
        path: &Path,
        settings: &CameraSettings<'_>,
    ) -> Result<Negotiated, CameraError> {
        let device = open(path)?;
        let found = self.known_by(device.identity());
        let negotiated = Negotiated::with(device, settings)?;
        *self.known() = Some(found);
        Ok(negotiated)
    }

    fn negotiate_again(
        &self,
        known: &Known,
        settings: &CameraSettings<'_>,
    ) -> Result<Negotiated, CameraError> {
        let nodes = self.nodes.paths();
        let seen = nodes.iter().filter_map(|node| {
            let device = Device::open(node).ok()?;
            device.capabilities().camera()?;
            let likeness = known.likeness(&self.known_by(device.identity()))?;
            Some((likeness, device))
        });
        // The last of equals would be the higher number.
        let best = seen.reduce(|best, next| if next.0 > best.0 { next } else { best });
        let Some((likeness, device)) = best else {
            return Err(known.is_gone());
        };
        debug!(node = %device.identity().path.display(), ?likeness, "found the camera again");
        Negotiated::with(device, settings)
    }

    fn negotiate_with_first(
        &self,
        settings: &CameraSettings<'_>,
    ) -> Result<Option<Negotiated>, CameraError> {
        let mut failure = None;
        for node in self.nodes.paths() {
            let device = match open(&node) {
                Ok(device) => device,
                Err(error) => {
                    failure = failure.or(Some(error));
                    continue;
                }
            };
            if !is_camera(&device) || device.capabilities().needs_media_controller() {
                continue;
            }
            let found = self.known_by(device.identity());
            match Negotiated::with(device, settings) {
                Ok(negotiated) => {
                    info!(node = %node.display(), card = found.card, bus = found.bus, "chose a camera");
                    *self.known() = Some(found);
                    return Ok(Some(negotiated));
                }
                Err(CameraError::Unsupported { .. }) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            None => Ok(None),
            // It went while we looked.
            Some(error) if error.is_unplugged() => Ok(None),
            // There is a camera, and somebody should know why it is not seen.
            Some(error) => Err(error),
        }
    }

    fn known_by(&self, identity: &Identity) -> Known {
        Known {
            driver: identity.driver.clone(),
            card: identity.card.clone(),
            bus: identity.bus.clone(),
            function: self.nodes.function(&identity.path),
            by_id: self.nodes.by_id(&identity.path),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_gone(&self) -> CameraError {
        CameraError::Unplugged {
            camera: format!("{} at {}", self.card, self.bus),
        }
    }

    /// `None`: another camera. The port comes before the serial number, which cheap cameras share.
    fn likeness(&self, seen: &Self) -> Option<Likeness> {
        let same_place = self.bus == seen.bus && self.function == seen.function;
        if same_place && self.card == seen.card && self.driver == seen.driver {
            Some(Likeness::Same)
        } else if self.by_id.is_some() && self.by_id == seen.by_id {
            Some(Likeness::Moved)
        } else if same_place {
            Some(Likeness::Replaced)
        } else {
            None
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// Another camera in the same port.
    Replaced,
    /// The same camera in another port.
    Moved,
    Same,
}

/// A node that gives pictures by itself.
pub(super) fn is_camera(device: &Device) -> bool {
    let driver = device.identity().driver.as_str();
    device.capabilities().camera().is_some() && !NO_CAMERAS.contains(&driver)
}

fn open(path: &Path) -> Result<Device, CameraError> {
    Device::open(path).map_err(|error| match error.errno() {
        Some(errno) if error.is_missing() || error.is_forbidden() => CameraError::Unreadable {
            path: path.to_owned(),
            source: errno.into(),
        },
        _ => refused(&path.display().to_string(), error),
    })
}

/// Image processors of the Raspberry Pi: their capture nodes look like cameras, and give pictures only to who feeds them.
const NO_CAMERAS: [&str; 2] = ["bcm2835-isp", "pispbe"];

#[cfg(test)]
mod tests {
    use super::*;

    fn known(card: &str, bus: &str, function: u32, by_id: Option<&str>) -> Known {
        Known {
            driver: "uvcvideo".into(),
            card: card.into(),
            bus: bus.into(),
            function: Some(function),
            by_id: by_id.map(Into::into),
        }
    }

    #[test]
    fn a_camera_that_was_pulled_out_and_put_back_is_the_same() {
        let front = known(
            "HD Webcam",
            "usb-0000:00:14.0-1",
            0,
            Some("usb-Acme_HD_1-index0"),
        );
        assert_eq!(front.likeness(&front.clone()), Some(Likeness::Same));
    }

    #[test]
    fn the_twin_in_the_next_port_is_another_camera() {
        // Twins without serial numbers: udev's link leads to whichever came last.
        let front = known("HD Webcam", "usb-0000:00:14.0-1", 0, None);
        let rear = known(
            "HD Webcam",
            "usb-0000:00:14.0-2",
            0,
            Some("usb-Acme_HD-index0"),
        );
        assert_eq!(front.likeness(&rear), None);
        assert_eq!(rear.likeness(&front), None);
    }

    #[test]
    fn the_same_camera_in_another_port_comes_before_a_stranger_in_the_old_one() {
        let before = known(
            "HD Webcam",
            "usb-0000:00:14.0-1",
            0,
            Some("usb-Acme_HD_1-index0"),
        );
        let moved = known(
            "HD Webcam",
            "usb-0000:00:14.0-2",
            0,
            Some("usb-Acme_HD_1-index0"),
        );
        let stranger = known("Other", "usb-0000:00:14.0-1", 0, Some("usb-Other_2-index0"));
        assert!(before.likeness(&moved) > before.likeness(&stranger));
        assert_eq!(before.likeness(&stranger), Some(Likeness::Replaced));
    }

    #[test]
    fn the_second_node_of_a_camera_is_not_the_first() {
        let colour = known("RealSense", "usb-0000:00:14.0-1", 0, None);
        let depth = known("RealSense", "usb-0000:00:14.0-1", 2, None);
        assert_eq!(colour.likeness(&depth), None);
    }

    #[test]
    fn a_machine_without_cameras_has_none_and_a_missing_node_is_missing_until_it_was_seen() {
        let nowhere = Path::new("/dev/no-such-folder");
        let settings = CameraSettings {
            size: "640x480".parse().unwrap(),
            interval: std::time::Duration::from_millis(33),
            formats: super::super::FORMATS,
        };
        let mut any = Whereabouts::any();
        any.nodes = Nodes::below(nowhere);
        assert!(any.negotiate(&settings).unwrap().is_none());

        let mut one = Whereabouts::at(&nowhere.join("video7"));
        one.nodes = Nodes::below(nowhere);
        let error = one.negotiate(&settings).unwrap_err();
        assert!(error.is_worth_retrying());
        assert_eq!(error.to_string(), "cannot read /dev/no-such-folder/video7");

        *one.known() = Some(known("HD Webcam", "usb-0000:00:14.0-1", 0, None));
        let error = one.negotiate(&settings).unwrap_err();
        assert!(error.is_unplugged() && error.is_worth_retrying());
        assert_eq!(
            error.to_string(),
            "camera HD Webcam at usb-0000:00:14.0-1 is unplugged"
        );
    }
}
