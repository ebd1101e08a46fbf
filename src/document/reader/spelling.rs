//! Which key was meant.

/// The known key that a wrong one was probably meant to be: two slips of the finger away, or cut short.
pub(super) fn closest<'k>(wrong: &str, known: &[&'k str]) -> Option<&'k str> {
    let wrong = wrong.to_ascii_lowercase();
    let cut_short = |key: &&&str| wrong.len() >= 3 && key.to_ascii_lowercase().starts_with(&wrong);
    if let Some(key) = known.iter().find(cut_short) {
        return Some(key);
    }
    known
        .iter()
        .map(|key| (distance(&wrong, &key.to_ascii_lowercase()), *key))
        .filter(|(distance, key)| *distance <= 2 && *distance < key.len())
        .min()
        .map(|(_, key)| key)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped {
                    best.min(rows[i - 2][j - 2] + 1)
                } else {
                    best
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_find_their_key() {
        let known = ["id", "source", "size", "fps", "encoder", "api_key_file"];

        assert_eq!(closest("fsp", &known), Some("fps"));
        assert_eq!(closest("Source", &known), Some("source"));
        assert_eq!(closest("sise", &known), Some("size"));
        assert_eq!(closest("api_key", &known), Some("api_key_file"));
        assert_eq!(closest("zz", &known), None);
        assert_eq!(closest("resolution", &known), None);
    }
}
