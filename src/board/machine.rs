//! What is known of a board.

use std::fmt::{self, Write};
use std::str::FromStr;

use super::{About, Evidence, PicturePath, Profile, fourcc};
use crate::document::reader::{LONGEST_LIST, Section};
use crate::document::text::name;
use crate::media::{Fourcc, Size};

/// Which devices a board has and what to set for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardProfile {
    pub about: About,
    /// The device tree's words for it (`/proc/device-tree/compatible`); one of them is enough. Empty: chosen by its id alone.
    pub compatible: Vec<String>,
    /// Ids of the profiles of its encoders, best first.
    pub encoders: Vec<String>,
    /// Contiguous memory that one camera needs, in MB; 0: none.
    pub cma_mb: u32,
    /// What its processor can be expected to encode.
    pub software: SoftwareLimits,
    /// What to look at when none of its encoders is found.
    pub hint: Option<String>,
    /// What `rovercast probe` saw on it.
    pub measured: Vec<Measured>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftwareLimits {
    pub size: Size,
    pub fps: u32,
}

/// One camera with one encoder, as they ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The camera's driver.
    pub camera: String,
    /// The id of the encoder's profile.
    pub encoder: String,
    pub path: PicturePath,
    pub fourcc: Fourcc,
    pub size: Size,
    pub fps: u32,
    pub copied_bytes_per_frame: u32,
    /// The release of the kernel.
    pub kernel: String,
}

impl Measured {
    /// The longest list that a profile may have.
    pub const AT_MOST: usize = LONGEST_LIST;
}

impl BoardProfile {
    /// Nobody described the board yet.
    pub fn is_generic(&self) -> bool {
        self.about.id == Self::GENERIC
    }

    /// What is measured, as a file that lies over the board's profile. With `describes` it also says what the board is, for boards
    /// that this version does not know.
    pub fn overlay(&self, describes: bool) -> String {
        let mut out = String::new();
        self.write_overlay(&mut out, describes)
            .expect("writing to a String cannot fail");
        out
    }

    fn write_overlay(&self, out: &mut String, describes: bool) -> fmt::Result {
        writeln!(out, "kind = \"board\"\nid = {}", in_quotes(&self.about.id))?;
        if describes {
            writeln!(out, "title = {}", in_quotes(&self.about.title))?;
        }
        writeln!(out, "evidence = \"{}\"", Evidence::Measured)?;
        if describes {
            writeln!(out, "compatible = {}", list(&self.compatible))?;
            writeln!(out, "encoders = {}", list(&self.encoders))?;
        }
        for measured in &self.measured {
            writeln!(out, "\n[[measured]]")?;
            writeln!(out, "camera = {}", in_quotes(&measured.camera))?;
            writeln!(out, "encoder = {}", in_quotes(&measured.encoder))?;
            writeln!(out, "path = \"{}\"", measured.path)?;
            writeln!(out, "fourcc = {}", in_quotes(&measured.fourcc.to_string()))?;
            writeln!(out, "size = \"{}\"", measured.size)?;
            writeln!(out, "fps = {}", measured.fps)?;
            let copied = measured.copied_bytes_per_frame;
            writeln!(out, "copied_bytes_per_frame = {copied}")?;
            writeln!(out, "kernel = {}", in_quotes(&measured.kernel))?;
        }
        Ok(())
    }

    /// What worked on this board when it was measured.
    pub fn measured_path(&self, camera_driver: &str, encoder: &str) -> Option<PicturePath> {
        let mut pairs = self.measured.iter();
        let pair = pairs.find(|it| it.camera == camera_driver && it.encoder == encoder)?;
        Some(pair.path)
    }
}

impl Profile for BoardProfile {
    const GENERIC: &'static str = "generic";

    fn read(about: Option<About>, section: &mut Section<'_, '_>) -> Option<Self> {
        let compatible = section.each_parsed("compatible", super::word);
        let encoders = section.each_parsed("encoders", name);
        let cma_mb = section.required_whole("cma_mb", 0..=4096);
        let software = section.table("software", SoftwareLimits::read);
        let hint = section.parsed("hint", super::word);
        let measured = section.each_table("measured", Measured::read);
        Some(Self {
            about: about?,
            compatible: compatible.unwrap_or_default(),
            encoders: encoders?,
            cma_mb: cma_mb?,
            software: software?,
            hint,
            measured: measured.into_iter().collect::<Option<_>>()?,
        })
    }
}

impl SoftwareLimits {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let size = section.required("size", Size::from_str, "a size such as \"640x480\"");
        let fps = section.required_whole("fps", 1..=240);
        Some(Self {
            size: size?,
            fps: fps?,
        })
    }
}

impl Measured {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let camera = section.required("camera", super::word, "the camera's driver");
        let encoder = section.required("encoder", name, "the id of the encoder's profile");
        let path = section.required("path", PicturePath::from_str, "how pictures got there");
        let fourcc = section.required("fourcc", fourcc, "a V4L2 pixel format");
        let size = section.required("size", Size::from_str, "a size such as \"640x480\"");
        let fps = section.required_whole("fps", 0..=1000);
        let copied = section.required_whole("copied_bytes_per_frame", 0..=u32::MAX);
        let kernel = section.required("kernel", super::word, "the release of the kernel");
        Some(Self {
            camera: camera?,
            encoder: encoder?,
            path: path?,
            fourcc: fourcc?,
            size: size?,
            fps: fps?,
            copied_bytes_per_frame: copied?,
            kernel: kernel?,
        })
    }
}

fn in_quotes(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| in_quotes(item)).collect();
    format!("[{}]", items.join(", "))
}
