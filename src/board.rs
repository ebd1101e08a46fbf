//! What is known of boards and of the drivers on them, beyond what the drivers say themselves.
//!
//! Pure: callers read the files and ask the devices. Profiles are TOML (`board/profiles/`, where every key is explained), of
//! three kinds: an encoder's driver, a camera's driver, a board. They are hints and limits: what a driver answers always wins.
//!
//! ```text
//!   built in  ◄──  /usr/share/rovercast/profile.d  ◄──  /etc/rovercast/profile.d  ◄──  /var/lib/rovercast/profile.d
//!   each lies over the one before it, key by key; what nobody says of a device is what the generic profile says
//! ```

mod capture;
mod encoder;
mod machine;
#[macro_use]
mod words;

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::document::problem::Findings;
use crate::document::reader::{Section, as_text, read_table};
use crate::document::text::name;
use crate::document::{self, DocumentError, Table, lay_over, quoted, settle};
use crate::media::Fourcc;

pub use capture::CaptureProfile;
pub use encoder::{
    CodedQueue, EncoderProfile, KeyFrameRules, Level, LevelRules, Patience, RateFloor, RateRules,
    RawQueue,
};
pub use machine::{BoardProfile, Measured, SoftwareLimits};
pub use words::{
    BitrateMethod, EncoderControl, Evidence, FrameRate, H264Profile, KeyFrameMethod, LevelRemedy,
    PicturePath, RateMode, Rung,
};

/// Every profile there is.
#[derive(Clone, Debug)]
pub struct Profiles {
    encoders: Shelf<EncoderProfile>,
    captures: Shelf<CaptureProfile>,
    boards: Shelf<BoardProfile>,
}

/// What every profile says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub id: String,
    pub title: String,
    pub evidence: Evidence,
}

impl Profiles {
    /// What comes with this version.
    pub fn built_in() -> Self {
        let mut profiles = Self {
            encoders: Shelf::new(GENERIC_ENCODER),
            captures: Shelf::new(GENERIC_CAPTURE),
            boards: Shelf::new(GENERIC_BOARD),
        };
        for (file, content) in BUILT_IN {
            profiles
                .lay_over(file, content.as_bytes())
                .expect("what is built in was read by a test");
        }
        profiles
    }

    /// Adds a profile, or lays it over the one with its id. `file` is what messages call it. Nothing of it counts when anything
    /// in it is wrong.
    pub fn lay_over(&mut self, file: &str, content: &[u8]) -> Result<(), DocumentError> {
        let mut findings = Findings::new(file, content);
        let table = document::parse(content, &mut findings);
        if !findings.is_empty() {
            return Err(findings.into_error());
        }
        let kind = header(&table, "kind", Kind::from_str, &mut findings);
        let id = header(&table, "id", name, &mut findings);
        let (Some(kind), Some(id)) = (kind, id) else {
            return Err(findings.into_error());
        };
        match kind {
            Kind::Encoder => self.encoders.lay_over(id, table, findings),
            Kind::Capture => self.captures.lay_over(id, table, findings),
            Kind::Board => self.boards.lay_over(id, table, findings),
        }
    }

    /// By what `VIDIOC_QUERYCAP` says; an unknown driver gets the generic profile.
    pub fn encoder_for(&self, driver: &str, card: &str) -> &EncoderProfile {
        self.encoders.first(|it| it.fits(driver, card))
    }

    pub fn encoder(&self, id: &str) -> Option<&EncoderProfile> {
        self.encoders.all().find(|it| it.about.id == id)
    }

    /// By what `VIDIOC_QUERYCAP` says; an unknown driver gets the generic profile.
    pub fn capture_for(&self, driver: &str) -> &CaptureProfile {
        self.captures
            .first(|it| it.drivers.iter().any(|known| known == driver))
    }

    /// By the device tree's words for the board, the most exact first; an unknown board gets the generic profile.
    pub fn board_for(&self, compatible: &[String]) -> &BoardProfile {
        let exact = compatible.iter().find_map(|word| {
            let mut boards = self.boards.all();
            boards.find(|board| board.compatible.contains(word))
        });
        exact.unwrap_or(&self.boards.generic.profile)
    }

    /// The paths to try for pictures of a camera with this driver, best first: what was measured on the board comes before what the
    /// encoder's profile prefers, and memory that only seems to work is left out.
    pub fn paths(
        &self,
        board: &BoardProfile,
        camera_driver: &str,
        encoder: &EncoderProfile,
    ) -> Vec<PicturePath> {
        let camera = self.capture_for(camera_driver);
        let measured = board.measured_path(camera_driver, &encoder.about.id);
        let mut paths = encoder.paths.clone();
        paths.retain(|path| {
            let unreachable = encoder.contiguous && !camera.exports_contiguous;
            !(unreachable && *path == PicturePath::CameraExport)
        });
        paths.sort_by_key(|path| measured != Some(*path));
        paths
    }

    pub fn board(&self, id: &str) -> Option<&BoardProfile> {
        self.boards.all().find(|it| it.about.id == id)
    }

    /// In the order of their ids, and the generic one last.
    pub fn boards(&self) -> impl Iterator<Item = &BoardProfile> {
        self.boards.all()
    }

    /// In the order of their ids, and the generic one last.
    pub fn encoders(&self) -> impl Iterator<Item = &EncoderProfile> {
        self.encoders.all()
    }
}

/// The profiles of one kind.
#[derive(Clone, Debug)]
struct Shelf<T> {
    generic: Draft<T>,
    others: BTreeMap<String, Draft<T>>,
}

/// A profile, and what was read to make it: another file may lie over it.
#[derive(Clone, Debug)]
struct Draft<T> {
    table: Table,
    profile: T,
}

trait Profile: Sized {
    /// The id of the profile for what nobody knows.
    const GENERIC: &'static str;

    /// `None` when something was reported.
    fn read(about: Option<About>, section: &mut Section<'_, '_>) -> Option<Self>;
}

impl<T: Profile> Shelf<T> {
    fn new(generic: (&str, &str)) -> Self {
        let (file, content) = generic;
        let mut findings = Findings::new(file, content.as_bytes());
        let table = document::parse(content.as_bytes(), &mut findings);
        let generic = Draft::read(table, findings).expect("what is built in was read by a test");
        Self {
            generic,
            others: BTreeMap::new(),
        }
    }

    fn lay_over(
        &mut self,
        id: String,
        table: Table,
        findings: Findings<'_>,
    ) -> Result<(), DocumentError> {
        if id == T::GENERIC {
            self.generic = Draft::read(lay_over(&self.generic.table, table), findings)?;
            return Ok(());
        }
        let merged = match self.others.get(&id) {
            Some(below) => lay_over(&below.table, table),
            None => {
                let mut below = self.generic.table.clone();
                below.retain(|key, _| !OWN_KEYS.contains(&key.as_str()));
                lay_over(&below, table)
            }
        };
        self.others.insert(id, Draft::read(merged, findings)?);
        Ok(())
    }

    fn first(&self, is_it: impl Fn(&T) -> bool) -> &T {
        let found = self.others.values().find(|draft| is_it(&draft.profile));
        &found.unwrap_or(&self.generic).profile
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        let drafts = self.others.values().chain([&self.generic]);
        drafts.map(|draft| &draft.profile)
    }
}

impl<T: Profile> Draft<T> {
    fn read(mut table: Table, mut findings: Findings<'_>) -> Result<Self, DocumentError> {
        let profile = read_table(String::new(), table.clone(), &mut findings, |section| {
            let about = About::read(section);
            T::read(about, section)
        });
        match profile {
            Some(profile) if findings.is_empty() => {
                settle(&mut table, findings.file());
                Ok(Self { table, profile })
            }
            Some(_) | None => Err(findings.into_error()),
        }
    }
}

impl About {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        section.has("kind");
        let id = section.required("id", name, "the name of this profile");
        let title = section.required("title", word, "what people call it");
        let evidence = section.required("evidence", Evidence::from_str, "how sure it is");
        // It was read already, and decided that this is the right place.
        section.required("kind", Kind::from_str, "the kind of this profile");
        Some(Self {
            id: id?,
            title: title?,
            evidence: evidence?,
        })
    }
}

/// Reads one key before it is known what the others are.
fn header<T>(
    table: &Table,
    key: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
    findings: &mut Findings<'_>,
) -> Option<T> {
    let Some(node) = table.get(key) else {
        findings.report(key, "is missing: every profile has kind and id");
        return None;
    };
    match as_text(node).and_then(parse) {
        Ok(value) => Some(value),
        Err(what) => {
            findings.report_at(node.place.clone(), key, what);
            None
        }
    }
}

/// Text that is not empty.
fn word(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(format!("got {} when expecting text", quoted(text)));
    }
    Ok(text.to_owned())
}

fn fourcc(text: &str) -> Result<Fourcc, String> {
    match <[u8; 4]>::try_from(text.as_bytes()) {
        Ok(code) if text.is_ascii() => Ok(Fourcc(code)),
        Ok(_) | Err(_) => Err(format!(
            "got {} when expecting the four characters of a V4L2 pixel format",
            quoted(text)
        )),
    }
}

/// Whether `text` is what `pattern` says; `*` stands for anything, and nothing.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(start) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(end)
}

words! {
    /// What a profile is about.
    Kind {
        Encoder = "encoder",
        Capture = "capture",
        Board = "board",
    }
}

/// What one profile says is not true of another that lies over it.
const OWN_KEYS: [&str; 9] = [
    "kind",
    "id",
    "title",
    "evidence",
    "drivers",
    "cards",
    "compatible",
    "hint",
    "measured",
];

macro_rules! built_in {
    ($file:literal) => {
        (
            concat!("board/profiles/", $file),
            include_str!(concat!("../board/profiles/", $file)),
        )
    };
}

const GENERIC_ENCODER: (&str, &str) = built_in!("encoder/generic-stateful.toml");
const GENERIC_CAPTURE: (&str, &str) = built_in!("capture/generic.toml");
const GENERIC_BOARD: (&str, &str) = built_in!("board/generic.toml");

/// File and content.
const BUILT_IN: [(&str, &str); 20] = [
    built_in!("encoder/amphion-vpu.toml"),
    built_in!("encoder/bcm2835-codec.toml"),
    built_in!("encoder/mtk-vcodec-enc.toml"),
    built_in!("encoder/qcom-venus.toml"),
    built_in!("encoder/software.toml"),
    built_in!("encoder/virtual.toml"),
    built_in!("encoder/wave5-enc.toml"),
    built_in!("capture/rp1-cfe.toml"),
    built_in!("capture/unicam.toml"),
    built_in!("capture/uvc.toml"),
    built_in!("capture/vivid.toml"),
    built_in!("board/imx8qm-mek.toml"),
    built_in!("board/imx8qxp-mek.toml"),
    built_in!("board/mt8195-demo.toml"),
    built_in!("board/qcs6490-rb3gen2.toml"),
    built_in!("board/raspberrypi-3.toml"),
    built_in!("board/raspberrypi-4.toml"),
    built_in!("board/raspberrypi-5.toml"),
    built_in!("board/am62a-sk.toml"),
    built_in!("board/virtual.toml"),
];

#[cfg(test)]
mod tests;
