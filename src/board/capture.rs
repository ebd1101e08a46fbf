//! What is known of a camera's driver.

use super::{About, Profile};
use crate::document::reader::Section;

/// How the memory of a driver's pictures behaves. Formats, sizes and rates are the driver's to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureProfile {
    pub about: About,
    /// `VIDIOC_QUERYCAP`'s driver. Empty: chosen by its id alone.
    pub drivers: Vec<String>,
    /// What it exports may be offered to a device without an IOMMU: it is contiguous, or refused. Where this is false it may seem
    /// to work, by luck or through a bounce buffer, and show green pictures.
    pub exports_contiguous: bool,
}

impl Profile for CaptureProfile {
    const GENERIC: &'static str = "generic";

    fn read(about: Option<About>, section: &mut Section<'_, '_>) -> Option<Self> {
        let drivers = section.each_parsed("drivers", super::word);
        let exports_contiguous = section.required_flag("exports_contiguous");
        Some(Self {
            about: about?,
            drivers: drivers.unwrap_or_default(),
            exports_contiguous: exports_contiguous?,
        })
    }
}
