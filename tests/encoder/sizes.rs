//! A camera and an encoder that are opened again for half of the picture, and for the whole.

use rovercast::camera::Camera;
use rovercast::encoder::Encoder;
use rovercast::media::h264::ProfileLevelId;

use super::pair::{Pair, coded_size};

#[test]
#[ignore = "needs a camera with 640x360 and 320x180, and an encoder"]
fn half_of_the_picture_and_the_whole_again_are_of_one_profile() {
    let mut profiles = Vec::new();
    for (turn, size) in ["640x360", "320x180", "640x360"].into_iter().enumerate() {
        let mut pair = Pair::of_size(size, "", &[]);
        assert_eq!(pair.camera.format().size.to_string(), size);
        pair.run(10);
        pair.check(&format!("size-{turn}"));
        let (width, height) = coded_size(&pair.units[0]);
        assert_eq!(format!("{width}x{height}"), size);
        assert_eq!(pair.encoder.copied_bytes(), 0);
        profiles.push(ProfileLevelId::of(&pair.units[0].data).expect("an SPS"));
    }
    println!("{profiles:?}");
    assert!(profiles[0].covers(profiles[1]), "{profiles:?}");
    assert_eq!(profiles[0], profiles[2]);
}
