//! Profiles as files: those that are built in, and those that lie over them.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::media::rate::RateMethod;
use crate::media::{Bitrate, Size};

#[test]
fn every_built_in_profile_is_fine_and_names_only_what_there_is() {
    let profiles = Profiles::built_in();

    assert_eq!(profiles.encoders().count(), 8);
    assert_eq!(profiles.boards().count(), 10);
    for board in profiles.boards() {
        for id in &board.encoders {
            assert!(profiles.encoder(id).is_some(), "{}: {id}", board.about.id);
        }
    }
}

#[test]
fn no_profile_lies_around_without_being_built_in() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("board/profiles");
    for kind in ["encoder", "capture", "board"] {
        for entry in std::fs::read_dir(folder.join(kind)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = format!("board/profiles/{kind}/{name}");
            let mut built_in =
                BUILT_IN
                    .iter()
                    .chain([&GENERIC_ENCODER, &GENERIC_CAPTURE, &GENERIC_BOARD]);
            assert!(built_in.any(|(file, _)| *file == path), "{path}");
        }
    }
}

#[test]
fn every_board_and_every_key_is_in_a_readme() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let boards = std::fs::read_to_string(root.join("board/README.md")).unwrap();
    let keys = std::fs::read_to_string(root.join("board/profiles/README.md")).unwrap();

    for board in Profiles::built_in().boards().filter(|it| !it.is_generic()) {
        assert!(
            boards.contains(&format!("`{}`", board.about.id)),
            "{}",
            board.about.id
        );
    }
    for (file, content) in BUILT_IN.iter().chain([&GENERIC_ENCODER, &GENERIC_CAPTURE]) {
        let table: toml::Table = content.parse().unwrap();
        for (key, value) in &table {
            let inner: Vec<String> = match value.as_table() {
                Some(_) if key == "controls" => vec!["controls.NAME".to_owned()],
                Some(inner) if key != "software" => {
                    inner.keys().map(|inner| format!("{key}.{inner}")).collect()
                }
                Some(_) | None => vec![key.clone()],
            };
            for key in inner {
                assert!(keys.contains(&format!("`{key}`")), "{file}: {key}");
            }
        }
    }
}

#[test]
fn a_device_gets_its_profile_by_what_it_says() {
    let profiles = Profiles::built_in();
    let encoder = |driver, card| profiles.encoder_for(driver, card).about.id.as_str();
    let capture = |driver| profiles.capture_for(driver).about.id.as_str();

    assert_eq!(
        encoder("bcm2835-codec", "bcm2835-codec-encode"),
        "bcm2835-codec"
    );
    assert_eq!(
        encoder("mtk-vcodec-enc", "MT8195 video encoder"),
        "mtk-vcodec-enc"
    );
    assert_eq!(encoder("vpu-enc", "vpu-enc"), "wave5-enc");
    assert_eq!(
        encoder("qcom-venus", "Qualcomm Venus video decoder"),
        "generic-stateful"
    );
    assert_eq!(encoder("coda", "CODA960"), "generic-stateful");
    assert_eq!(capture("uvcvideo"), "uvc");
    assert_eq!(capture("j721e-csi2rx"), "generic");
}

#[test]
fn a_board_gets_the_profile_of_its_most_exact_name() {
    let profiles = Profiles::built_in();
    let board = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        profiles.board_for(&words).about.id.clone()
    };

    assert_eq!(
        board(&["raspberrypi,4-model-b", "brcm,bcm2711"]),
        "raspberrypi-4"
    );
    assert_eq!(board(&["acme,rover", "mediatek,mt8195"]), "mt8195-demo");
    assert_eq!(board(&["acme,rover", "acme,soc"]), "generic");
    assert_eq!(board(&[]), "generic");
}

#[test]
fn what_a_profile_leaves_out_is_what_the_generic_one_says() {
    let profiles = Profiles::built_in();
    let generic = profiles.encoder("generic-stateful").unwrap();
    let amphion = profiles.encoder("amphion-vpu").unwrap();

    assert_eq!(amphion.raw.frame_rate, generic.raw.frame_rate);
    assert_eq!(amphion.controls, generic.controls);
    assert_eq!(amphion.raw.buffers, 6);
}

#[test]
fn files_lie_over_what_is_built_in_key_by_key() {
    let mut profiles = Profiles::built_in();
    let before = profiles.encoder("bcm2835-codec").unwrap().clone();

    lay_over(
        &mut profiles,
        "kind = 'encoder'\nid = 'bcm2835-codec'\n[controls]\nREPEAT_SEQ_HEADER = 0\n[patience]\nunit = '3 s'",
    );
    lay_over(
        &mut profiles,
        "kind = 'encoder'\nid = 'bcm2835-codec'\nevidence = 'measured'\npaths = ['heap']\n[patience]\nunit = '2 s'",
    );

    let mut expected = before.clone();
    expected.controls.insert(EncoderControl::RepeatSeqHeader, 0);
    expected.patience.unit = Duration::from_secs(2);
    expected.paths = vec![PicturePath::Heap];
    expected.about.evidence = Evidence::Measured;
    assert_ne!(before, expected);
    assert_eq!(profiles.encoder("bcm2835-codec"), Some(&expected));
}

#[test]
fn a_new_board_is_four_lines() {
    let mut profiles = Profiles::built_in();

    lay_over(
        &mut profiles,
        "kind = 'board'\nid = 'rover'\ntitle = 'Rover'\nevidence = 'measured'\ncompatible = ['acme,rover']\nencoders = ['amphion-vpu']",
    );

    let board = profiles.board_for(&["acme,rover".to_owned()]);
    assert_eq!(board.encoders, ["amphion-vpu"]);
    assert_eq!(board.software, profiles.board("generic").unwrap().software);
}

#[test]
fn every_mistake_is_told_with_file_line_and_key() {
    let uvc = "kind = 'capture'\nid = 'uvc'\n";
    let bcm = "kind = 'encoder'\nid = 'bcm2835-codec'\n";
    for (text, told) in [
        (
            "id = 'x'".to_owned(),
            "x.toml: kind: is missing: every profile has kind and id",
        ),
        (
            "kind = 'camera'\nid = 'x'".to_owned(),
            "x.toml:1:1: kind: got \"camera\" when expecting one of encoder, capture, board",
        ),
        (
            "kind = 'board'\nid = 'a b'".to_owned(),
            "x.toml:2:1: id: got \"a b\" when expecting 1 to 64 characters out of A-Z a-z 0-9 . _ -",
        ),
        (
            "kind = 'capture'\nid = 'new'\nevidence = 'reported'".to_owned(),
            "x.toml: title: is missing when expecting what people call it",
        ),
        (
            format!("{uvc}export_contiguous = true"),
            "x.toml:3:1: export_contiguous: unknown key, did you mean exports_contiguous?",
        ),
        (
            format!("{uvc}exports_contiguous = 'yes'"),
            "x.toml:3:1: exports_contiguous: got \"yes\" when expecting true or false",
        ),
        (
            format!("{uvc}evidence = 'sure'"),
            "x.toml:3:1: evidence: got \"sure\" when expecting one of guess, reported, driver-source, measured",
        ),
        (
            format!("{bcm}ladder = ['reopen', 'reboot']"),
            "x.toml:3:21: ladder[1]: got \"reboot\" when expecting one of reset-capture, reinitialise, reopen, software",
        ),
        (
            format!("{bcm}paths = []"),
            "x.toml:3:1: paths: got an empty list when expecting one entry or more",
        ),
        (
            format!("{bcm}[controls]\nH264_MIN_QQP = 3"),
            "x.toml:4:1: controls.H264_MIN_QQP: unknown key, did you mean H264_MIN_QP?",
        ),
        (
            format!("{bcm}[raw]\nformats = ['YU12', 'NV']"),
            "x.toml:4:20: raw.formats[1]: got \"NV\" when expecting the four characters of a V4L2 pixel format",
        ),
        (
            format!("{bcm}[rate]\nleast = '30 Mbps'"),
            "x.toml:4:1: rate.least: got 30 Mbps when expecting no more than most, 20 Mbps",
        ),
        (
            format!("{bcm}[rate]\nmost = '20 kbps'"),
            "board/profiles/encoder/bcm2835-codec.toml: rate.least: got 25 kbps when expecting no more than most, 20 kbps",
        ),
        (
            format!("{bcm}[level]\nmost = '4.3'"),
            "x.toml:4:1: level.most: got \"4.3\" when expecting a level of H.264 from 1.0 to 5.2",
        ),
        (
            format!("{bcm}[coded]\nleast_bytes = 2000000"),
            "x.toml:4:1: coded.least_bytes: got 2000000 when expecting no more than most_bytes, 1572864",
        ),
        (
            format!("{bcm}[raw]\nin_flight = 5"),
            "x.toml:4:1: raw.in_flight: got 5 when expecting no more than buffers, 4",
        ),
        (
            format!("{bcm}[patience]\nunit = '1 ms'"),
            "x.toml:4:1: patience.unit: got \"1 ms\" when expecting a duration from \"10 ms\" to \"120 s\"",
        ),
        (
            "kind = 'encoder'\nid = 'wave5-enc'\n[key_frames]\nrefresh = '2 s'".to_owned(),
            "x.toml:4:1: key_frames.refresh: comes with method \"wait\": viewers would wait for a key frame for ever",
        ),
        (
            "kind = 'board'\nid = 'virtual'\nsoftware = 'fast'".to_owned(),
            "x.toml:3:1: software: got \"fast\" when expecting a table",
        ),
    ] {
        let mut profiles = Profiles::built_in();

        let error = profiles.lay_over("x.toml", text.as_bytes()).unwrap_err();

        assert_eq!(error.to_string(), told);
    }
}

#[test]
fn a_file_with_a_mistake_changes_nothing() {
    let mut profiles = Profiles::built_in();

    let text = "kind = 'capture'\nid = 'uvc'\nexports_contiguous = true\nfast = true";
    profiles.lay_over("x.toml", text.as_bytes()).unwrap_err();

    assert!(!profiles.capture_for("uvcvideo").exports_contiguous);
}

#[test]
fn what_was_measured_is_read_back() {
    let measured = Measured {
        camera: "uvcvideo".to_owned(),
        encoder: "bcm2835-codec".to_owned(),
        path: PicturePath::EncoderExport,
        fourcc: Fourcc::YUYV,
        size: size("640x480"),
        fps: 30,
        copied_bytes_per_frame: 0,
        kernel: "6.12.25+rpt-rpi-v8".to_owned(),
    };
    for (id, describes) in [("raspberrypi-4", false), ("rover", true)] {
        let mut profiles = Profiles::built_in();
        let mut board = profiles.board("raspberrypi-4").unwrap().clone();
        board.about.id = id.to_owned();
        board.about.title = "Rover \"7\"".to_owned();
        board.compatible = vec!["acme,rover".to_owned()];
        board.measured = vec![measured.clone()];

        lay_over(&mut profiles, &board.overlay(describes));

        let read = profiles.board(id).unwrap();
        assert_eq!(read.measured, board.measured);
        assert_eq!(read.about.evidence, Evidence::Measured);
        assert_eq!(read.about.title == "Rover \"7\"", describes);
        assert_eq!(read.encoders, board.encoders);
        let path = read.measured_path("uvcvideo", "bcm2835-codec");
        assert_eq!(path, Some(PicturePath::EncoderExport));
        assert_eq!(read.measured_path("unicam", "bcm2835-codec"), None);
    }
}

#[test]
fn a_path_that_was_measured_comes_first_and_one_that_only_seems_to_work_not_at_all() {
    use PicturePath::{CameraExport, Copy, EncoderExport, Heap};
    let profiles = Profiles::built_in();
    let mut board = profiles.board("raspberrypi-4").unwrap().clone();
    let encoder = profiles.encoder("bcm2835-codec").unwrap();
    let paths = |board: &BoardProfile, camera| profiles.paths(board, camera, encoder);

    assert_eq!(
        paths(&board, "unicam"),
        [CameraExport, EncoderExport, Heap, Copy]
    );
    assert_eq!(paths(&board, "uvcvideo"), [EncoderExport, Heap, Copy]);
    board.measured = vec![Measured {
        camera: "unicam".to_owned(),
        encoder: "bcm2835-codec".to_owned(),
        path: Heap,
        fourcc: Fourcc::YU12,
        size: size("1280x720"),
        fps: 30,
        copied_bytes_per_frame: 0,
        kernel: "6.12".to_owned(),
    }];
    assert_eq!(
        paths(&board, "unicam"),
        [Heap, CameraExport, EncoderExport, Copy]
    );
    assert_eq!(paths(&board, "uvcvideo"), [EncoderExport, Heap, Copy]);
}

#[test]
fn a_raspberry_pi_gets_rates_that_its_firmware_stands() {
    let profiles = Profiles::built_in();
    let rate = &profiles.encoder("bcm2835-codec").unwrap().rate;
    let fit = |kbps, picture| rate.fit(Bitrate::kbps(kbps), size(picture));

    assert_eq!(fit(1510, "1280x720"), Bitrate::kbps(1500));
    assert_eq!(fit(100, "640x480"), Bitrate::kbps(300));
    assert_eq!(fit(100, "1280x720"), Bitrate::kbps(600));
    assert_eq!(fit(100, "1920x1920"), Bitrate::kbps(1000));
    assert_eq!(fit(99_000, "1280x720"), Bitrate::kbps(20_000));

    let limits = rate.limits(size("1280x720"));
    assert_eq!(
        (limits.least, limits.most, limits.step),
        (Bitrate::kbps(600), Bitrate::kbps(20_000), Bitrate::kbps(25))
    );
    assert_eq!(limits.method, RateMethod::Control);
}

#[test]
fn an_encoder_that_reads_its_bitrate_once_says_what_a_change_takes() {
    let profiles = Profiles::built_in();
    let wave5 = &profiles.encoder("wave5-enc").unwrap().rate;
    let limits = wave5.limits(size("1280x720"));
    assert_eq!(limits.method, RateMethod::Reopen);
    assert_eq!(limits.interval, Duration::from_secs(5));
    assert_eq!(limits.least_change_percent, 30);
}

#[test]
fn a_coded_buffer_is_as_long_as_the_picture_needs() {
    let profiles = Profiles::built_in();
    let coded = profiles.encoder("bcm2835-codec").unwrap().coded;

    assert_eq!(coded.buffer_bytes(size("640x480")), 1_048_576);
    assert_eq!(coded.buffer_bytes(size("1920x1080")), 1_555_200);
    assert_eq!(coded.buffer_bytes(size("8192x8192")), 1_572_864);
}

#[test]
fn patterns_match_as_in_a_shell() {
    for (pattern, text, fits) in [
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("MT*video encoder", "MT8195 video encoder", true),
        ("MT*video encoder", "MT8195 video decoder", false),
        ("*cma*", "my_cma", true),
        ("*a*b*", "xxbxax", false),
        ("a*a", "a", false),
        ("*", "", true),
    ] {
        assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Profiles::built_in().lay_over("x.toml", &bytes);
    }

    #[test]
    fn a_rate_always_stays_within_its_limits(bps: u64, width in 16_u32..8192, height in 16_u32..8192) {
        for encoder in Profiles::built_in().encoders() {
            let rate = encoder.rate.fit(Bitrate::bps(bps), Size { width, height });
            prop_assert!((encoder.rate.least..=encoder.rate.most).contains(&rate));
        }
    }
}

fn lay_over(profiles: &mut Profiles, text: &str) {
    if let Err(error) = profiles.lay_over("x.toml", text.as_bytes()) {
        panic!("{error}\n{text}");
    }
}

fn size(text: &str) -> Size {
    text.parse().unwrap()
}
