//! The byte stream format: NAL units behind start codes. Annex B.

use std::ops::Range;

/// The NAL units of a byte stream in order, without start codes and trailing zeros. None is empty.
///
/// What stands before the first start code belongs to no NAL unit and is left out.
pub fn nal_units(annex_b: &[u8]) -> impl Iterator<Item = &[u8]> {
    nal_ranges(annex_b).map(|range| &annex_b[range])
}

/// Where the NAL units are.
pub(super) fn nal_ranges(annex_b: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start_code = find_start_code(annex_b, 0);
    std::iter::from_fn(move || {
        loop {
            let start = start_code? + START_CODE.len();
            start_code = find_start_code(annex_b, start);
            let mut end = start_code.unwrap_or(annex_b.len());
            // trailing_zero_8bits, or the zero_byte of a four byte start code: a NAL unit itself never ends in zero (7.4.1).
            while end > start && annex_b[end - 1] == 0 {
                end -= 1;
            }
            if start < end {
                return Some(start..end);
            }
        }
    })
}

/// The index of the next `00 00 01` at or behind `from`.
///
/// Looks at every third byte: one above 1 can be no part of a start code, whichever of its three places it had.
fn find_start_code(bytes: &[u8], from: usize) -> Option<usize> {
    let mut last = from + START_CODE.len() - 1;
    loop {
        match bytes.get(last)? {
            0 => last += 1,
            1 if bytes[last - 2..last] == START_CODE[..2] => return Some(last - 2),
            _ => last += START_CODE.len(),
        }
    }
}

const START_CODE: [u8; 3] = [0, 0, 1];

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn walk(annex_b: &[u8]) -> Vec<&[u8]> {
        nal_units(annex_b).collect()
    }

    #[test]
    fn start_codes_of_three_and_four_bytes_and_trailing_zeros_are_no_part_of_a_unit() {
        let stream = [
            0, 0, 0, 1, 0x67, 0x42, 0, 0, 1, 0x68, 0xce, 0, 0, 0, 0, 0, 1, 0x65, 0, 0, 3, 0,
        ];
        assert_eq!(
            walk(&stream),
            [&[0x67, 0x42][..], &[0x68, 0xce], &[0x65, 0, 0, 3]]
        );
    }

    #[test]
    fn bytes_before_the_first_start_code_and_empty_units_are_left_out() {
        assert_eq!(walk(&[7, 7, 0, 0, 1, 0, 0, 1, 0x41, 9]), [&[0x41, 9][..]]);
        assert!(walk(&[0, 0, 1]).is_empty());
        assert!(walk(&[0, 0, 0, 14, 0x65, 0x88]).is_empty());
    }

    /// A NAL unit as an encoder makes it: emulation prevented, not ending in zero.
    fn nal_unit() -> impl Strategy<Value = Vec<u8>> {
        // Few values, so that zeros and ones meet often.
        vec(prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()], 0..40).prop_map(|payload| {
            let mut nal = vec![0x41];
            for byte in payload {
                if nal.ends_with(&[0, 0]) && byte <= 3 {
                    nal.push(3);
                }
                nal.push(byte);
            }
            nal.push(0x80);
            nal
        })
    }

    proptest! {
        #[test]
        fn walk_takes_apart_what_join_put_together(units in vec((nal_unit(), 0usize..4), 0..8)) {
            let mut stream = Vec::new();
            for (nal, zeros) in &units {
                stream.resize(stream.len() + zeros, 0);
                stream.extend_from_slice(&START_CODE);
                stream.extend_from_slice(nal);
            }
            let expected: Vec<&[u8]> = units.iter().map(|(nal, _)| &nal[..]).collect();
            prop_assert_eq!(walk(&stream), expected);
        }

        #[test]
        fn any_bytes_are_walked_as_slowly_written_code_would(
            stream in vec(prop_oneof![4 => Just(0u8), 2 => Just(1u8), 1 => any::<u8>()], 0..200)
        ) {
            let mut expected: Vec<Vec<u8>> = Vec::new();
            let mut at = 0;
            while at < stream.len() {
                if stream[at..].starts_with(&START_CODE) {
                    expected.push(Vec::new());
                    at += START_CODE.len();
                } else {
                    if let Some(nal) = expected.last_mut() {
                        nal.push(stream[at]);
                    }
                    at += 1;
                }
            }
            for nal in &mut expected {
                while nal.last() == Some(&0) {
                    nal.pop();
                }
            }
            expected.retain(|nal| !nal.is_empty());
            prop_assert_eq!(walk(&stream), expected);
        }
    }
}
