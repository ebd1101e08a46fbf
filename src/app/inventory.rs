//! What this machine has to make and encode pictures, and how its parts get along: what `rovercast probe` shows.

mod refused;
mod tried;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::profiles::{self, FoundProfiles};
use crate::board::{About, BoardProfile, EncoderProfile, Evidence, Measured, Profiles};
use crate::camera::v4l2::{CameraFound, FORMATS, FormatFound};
use crate::encoder::survey::EncoderFound;
use crate::media::Size;
use crate::v4l2::{Device, Nodes, V4l2Error, heap};

pub use refused::Refused;
pub use tried::{Outcome, Tried, Works};

/// What is there, and what came of trying it.
#[derive(Debug, Serialize)]
pub struct Inventory {
    pub board: Board,
    pub cameras: Vec<Camera>,
    pub encoders: Vec<Encoder>,
    /// Nodes that nobody could look at.
    pub refused: Vec<Refused>,
    /// Every camera with every encoder; without a camera the test card stands in.
    pub tried: Vec<Tried>,
    /// What is wrong with files in the profile folders.
    pub problems: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Board {
    #[serde(flatten)]
    pub profile: Profile,
    /// As the device tree calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    pub compatible: Vec<String>,
    /// The release that runs.
    pub kernel: String,
    pub memory: Memory,
    /// Ids of encoders that the board has, and that were not found.
    pub missing_encoders: Vec<String>,
    /// What to look at then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Memory {
    /// Contiguous memory; absent when the kernel has no such area.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cma_total_mb: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cma_free_mb: Option<u32>,
    /// What one camera needs of it on this board.
    pub cma_needed_mb: u32,
    pub dma_heaps: Vec<DmaHeap>,
}

#[derive(Debug, Serialize)]
pub struct DmaHeap {
    pub name: String,
    /// This user may take memory from it.
    pub usable: bool,
}

/// Which profile counts for a device, and how sure it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    pub id: String,
    pub title: String,
    #[serde(serialize_with = "word")]
    pub evidence: Evidence,
}

#[derive(Debug, Serialize)]
pub struct Camera {
    pub path: PathBuf,
    /// Leads to the same camera after the next start, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasting_path: Option<PathBuf>,
    pub name: String,
    pub driver: String,
    pub bus: String,
    pub profile: Profile,
    pub needs_media_controller: bool,
    pub formats: Vec<Format>,
}

#[derive(Debug, Serialize)]
pub struct Format {
    pub fourcc: String,
    /// There is an encoder for it, or a conversion.
    pub usable: bool,
    pub sizes: Vec<FrameSize>,
    /// The sizes are the least and the most.
    pub is_range: bool,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct FrameSize {
    pub size: String,
    /// The highest; absent when the driver does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
}

#[derive(Debug, Serialize)]
pub struct Encoder {
    /// Absent for the software encoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    pub profile: Profile,
    pub formats: Vec<String>,
    /// V4L2 controls, by their names.
    pub controls: Vec<&'static str>,
}

/// What to ask cameras for.
#[derive(Clone, Copy, Debug)]
pub struct TrialSettings {
    pub size: Size,
    pub interval: Duration,
}

impl Inventory {
    /// Asks every device what it is and, with `trial`, tries each camera with each encoder for about a second.
    pub fn take(found: &Arc<FoundProfiles>, trial: Option<TrialSettings>) -> Self {
        let profiles = &found.profiles;
        let nodes = Nodes::of_this_machine();
        let mut inventory = Self {
            board: board(found),
            cameras: Vec::new(),
            encoders: Vec::new(),
            refused: Vec::new(),
            tried: Vec::new(),
            problems: found.problems.clone(),
        };
        for path in nodes.paths() {
            if let Err(error) = inventory.look_at(&path, &nodes, profiles) {
                // A node that went while we looked is no news.
                if !error.is_missing() {
                    inventory.refused.push(Refused::new(&path, &error));
                }
            }
        }
        inventory.encoders.extend(software(profiles));
        inventory.board.missing_encoders.retain(|id| {
            let mut encoders = inventory.encoders.iter();
            !encoders.any(|encoder| encoder.profile.id == *id)
        });
        if inventory.board.missing_encoders.is_empty() {
            inventory.board.hint = None;
        }
        if let Some(trial) = trial {
            inventory.tried = tried::try_all(&inventory, found, trial);
        }
        inventory
    }

    /// What was seen, as a profile that lies over the board's; `None` when nothing worked.
    pub fn measured(&self, found: &FoundProfiles) -> Option<BoardProfile> {
        let mut board = found.board().clone();
        let mut encoders = Vec::new();
        board.measured = Vec::new();
        for tried in &self.tried {
            let Some(measured) = tried.measured(&self.board.kernel) else {
                continue;
            };
            if !encoders.contains(&measured.encoder) {
                encoders.push(measured.encoder.clone());
            }
            board.measured.push(measured);
        }
        if board.measured.is_empty() {
            return None;
        }
        board.measured.truncate(Measured::AT_MOST);
        if let (true, Some(word)) = (board.is_generic(), self.board.compatible.first()) {
            board.about = About {
                id: id_of(word),
                title: self.board.model.clone().unwrap_or_else(|| word.clone()),
                evidence: Evidence::Measured,
            };
            board.compatible = vec![word.clone()];
            board.encoders = encoders;
        }
        Some(board)
    }

    fn look_at(
        &mut self,
        path: &Path,
        nodes: &Nodes,
        profiles: &Profiles,
    ) -> Result<(), V4l2Error> {
        let device = Device::open(path)?;
        if let Some(camera) = CameraFound::ask(&device)? {
            let lasting_path = nodes.lasting_name(path);
            self.cameras
                .push(Camera::new(camera, lasting_path, profiles));
        } else if let Some(encoder) = EncoderFound::ask(&device)? {
            self.encoders.push(Encoder::new(encoder, profiles));
        }
        Ok(())
    }
}

impl Camera {
    fn new(found: CameraFound, lasting_path: Option<PathBuf>, profiles: &Profiles) -> Self {
        Self {
            lasting_path,
            profile: Profile::of(&profiles.capture_for(&found.identity.driver).about),
            path: found.identity.path,
            name: found.identity.card,
            driver: found.identity.driver,
            bus: found.identity.bus,
            needs_media_controller: found.needs_media_controller,
            formats: found.formats.iter().map(Format::new).collect(),
        }
    }
}

impl Format {
    fn new(found: &FormatFound) -> Self {
        let fps = |interval: Duration| (1.0 / interval.as_secs_f64() * 100.0).round() / 100.0;
        let sizes = found.sizes.iter().map(|it| FrameSize {
            size: it.size.to_string(),
            fps: it.interval.map(fps),
        });
        Self {
            fourcc: found.fourcc.to_string(),
            usable: FORMATS.contains(&found.fourcc),
            sizes: sizes.collect(),
            is_range: found.is_range,
        }
    }
}

impl Encoder {
    fn new(found: EncoderFound, profiles: &Profiles) -> Self {
        let EncoderFound {
            identity,
            formats,
            controls,
        } = found;
        Self {
            profile: Profile::of(&profiles.encoder_for(&identity.driver, &identity.card).about),
            path: Some(identity.path),
            name: identity.card,
            driver: Some(identity.driver),
            formats: formats.iter().map(ToString::to_string).collect(),
            controls,
        }
    }
}

impl Profile {
    fn of(about: &About) -> Self {
        Self {
            id: about.id.clone(),
            title: about.title.clone(),
            evidence: about.evidence,
        }
    }
}

/// `None` where it was left out of the program.
fn software(profiles: &Profiles) -> Option<Encoder> {
    if !cfg!(feature = "software-encoder") {
        return None;
    }
    let EncoderProfile { about, raw, .. } = profiles.encoder("software")?;
    Some(Encoder {
        path: None,
        name: "OpenH264".to_owned(),
        driver: None,
        profile: Profile::of(about),
        formats: raw.formats.iter().map(ToString::to_string).collect(),
        controls: Vec::new(),
    })
}

fn board(found: &FoundProfiles) -> Board {
    let profile = found.board();
    let memory = meminfo();
    Board {
        profile: Profile::of(&profile.about),
        model: profiles::model(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
            .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
        memory: Memory {
            cma_total_mb: memory.get("CmaTotal").copied().filter(|mb| *mb > 0),
            cma_free_mb: memory.get("CmaFree").copied(),
            cma_needed_mb: profile.cma_mb,
            dma_heaps: heap::names()
                .into_iter()
                .map(|(name, usable)| DmaHeap { name, usable })
                .collect(),
        },
        missing_encoders: profile.encoders.clone(),
        hint: profile.hint.clone(),
        compatible: found.compatible.clone(),
    }
}

/// Lines of `/proc/meminfo` in MB.
fn meminfo() -> BTreeMap<String, u32> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let kb: u64 = rest.split_whitespace().next()?.parse().ok()?;
        Some((name.to_owned(), u32::try_from(kb / 1024).ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// `"acme,rover-board"` → `"rover-board"`, in letters that ids have.
fn id_of(compatible: &str) -> String {
    let name = compatible.rsplit(',').next().unwrap_or(compatible);
    let fine = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let id: String = name.chars().take(64).map(fine).collect();
    if id.is_empty() {
        "board".to_owned()
    } else {
        id
    }
}

fn some_word<T: ToString, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => word(value, serializer),
        None => serializer.serialize_none(),
    }
}

fn word<T: ToString, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}
