use super::*;

#[test]
fn every_built_in_profile_is_fine() {
    let profiles = Profiles::built_in();
    assert_eq!(profiles.encoders().count(), 8);
}
