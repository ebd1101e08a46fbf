//! Choices that a profile makes, by the words that it makes them with.

/// An enum whose variants are words of a profile: `FromStr` refuses with all of them, `Display` writes what `FromStr` reads.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$meaning])* $variant,)+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!(
                        "got {} when expecting one of {}",
                        crate::document::quoted(text),
                        [$($word),+].join(", ")
                    )),
                }
            }
        }
    };
}

words! {
    /// How sure we are of what a profile says.
    Evidence {
        /// Nobody looked: what is safe with any driver.
        Guess = "guess",
        /// Told by people who run the board.
        Reported = "reported",
        /// Read in the driver's source.
        DriverSource = "driver-source",
        /// Seen by `rovercast probe` on the board itself.
        Measured = "measured",
    }
}

words! {
    /// How a picture gets from a camera to an encoder.
    PicturePath {
        /// The camera fills buffers of the encoder.
        EncoderExport = "encoder-export",
        /// The encoder reads buffers of the camera.
        CameraExport = "camera-export",
        /// Both use memory of a dma-heap.
        Heap = "heap",
        /// The processor copies or converts.
        Copy = "copy",
    }
}

words! {
    /// What the driver is told of the frame rate (`S_PARM` on OUTPUT).
    FrameRate {
        AsItIs = "as-it-is",
        /// 30, or 60 above 30: firmware whose timing suffers from any other number.
        Class30Or60 = "30-or-60",
    }
}

words! {
    /// `V4L2_CID_MPEG_VIDEO_BITRATE_MODE`
    RateMode {
        Vbr = "vbr",
        Cbr = "cbr",
    }
}

words! {
    /// How a bitrate changes while frames are encoded.
    BitrateMethod {
        /// Set the control: it counts at once.
        Live = "live",
        /// Set the control: it counts from the next submitted frame on.
        NextFrame = "next-frame",
        /// Open the encoder again: the control is taken and ignored.
        Reopen = "reopen",
    }
}

words! {
    /// How a key frame comes about.
    KeyFrameMethod {
        /// `V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME`
        Force = "force",
        /// STREAMOFF and STREAMON of CAPTURE.
        ResetCapture = "reset-capture",
        /// Open the encoder again.
        Reopen = "reopen",
        /// Not on request: the next one of the group of pictures.
        Wait = "wait",
    }
}

words! {
    /// What H.264 profile to ask for. `V4L2_CID_MPEG_VIDEO_H264_PROFILE`
    H264Profile {
        ConstrainedBaseline = "constrained-baseline",
        Baseline = "baseline",
        Main = "main",
        High = "high",
    }
}

words! {
    /// What to do when the firmware refuses the level at STREAMON (`ESRCH`).
    LevelRemedy {
        RaiseLevel = "raise-level",
        LowerBitrate = "lower-bitrate",
    }
}

words! {
    /// One step of the ladder that is climbed when an encoder gives nothing any more.
    Rung {
        /// STREAMOFF and STREAMON of CAPTURE.
        ResetCapture = "reset-capture",
        /// STREAMOFF and REQBUFS(0) of both queues, and everything from the formats on again.
        Reinitialise = "reinitialise",
        Reopen = "reopen",
        /// The software encoder, for as long as the pipeline runs.
        Software = "software",
    }
}

words! {
    /// Encoder controls that profiles set, by their V4L2 names without `V4L2_CID_MPEG_VIDEO_`.
    EncoderControl {
        AuDelimiter = "AU_DELIMITER",
        BFrames = "B_FRAMES",
        FrameRcEnable = "FRAME_RC_ENABLE",
        GopSize = "GOP_SIZE",
        H264Transform8x8 = "H264_8X8_TRANSFORM",
        H264IPeriod = "H264_I_PERIOD",
        H264MaxQp = "H264_MAX_QP",
        H264MinQp = "H264_MIN_QP",
        HeaderMode = "HEADER_MODE",
        PrependSpsPpsToIdr = "PREPEND_SPSPPS_TO_IDR",
        RepeatSeqHeader = "REPEAT_SEQ_HEADER",
        VbvSize = "VBV_SIZE",
    }
}
