//! Levels of H.264 (ITU-T H.264, annex A.3), and which of them an encoder is asked for.

use std::fmt;
use std::str::FromStr;

use crate::board::LevelRemedy;
use crate::document::quoted;
use crate::document::reader::Section;

/// The level is computed from size, rate and bitrate, and kept between these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelRules {
    pub least: Level,
    pub most: Level,
    /// Tried in this order.
    pub when_refused: Vec<LevelRemedy>,
}

/// `level_idc`: ten times the level's number. ITU-T H.264, table A-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(pub u8);

impl LevelRules {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let least = section.required("least", Level::from_str, "a level such as \"3.1\"");
        let most = section.required("most", Level::from_str, "a level such as \"4.2\"");
        let when_refused = section.each_parsed("when_refused", LevelRemedy::from_str);
        if let (Some(least), Some(most)) = (least, most)
            && least > most
        {
            let what = format!("got {least} when expecting no more than most, {most}");
            section.report("least", what);
        }
        Some(Self {
            least: least?,
            most: most?,
            when_refused: when_refused.unwrap_or_default(),
        })
    }
}

impl Level {
    /// Level 1b is not among them: nothing asks for it.
    pub const ALL: [Self; 16] = [
        Self(10),
        Self(11),
        Self(12),
        Self(13),
        Self(20),
        Self(21),
        Self(22),
        Self(30),
        Self(31),
        Self(32),
        Self(40),
        Self(41),
        Self(42),
        Self(50),
        Self(51),
        Self(52),
    ];
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

/// Reads `"4.0"`.
impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL
            .into_iter()
            .find(|level| level.to_string() == text);
        known.ok_or_else(|| {
            format!(
                "got {} when expecting a level of H.264 from 1.0 to 5.2",
                quoted(text)
            )
        })
    }
}
