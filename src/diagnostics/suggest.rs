//! The word that was probably meant.

/// The candidate nearest to a word, when one is near enough to be a slip of the keyboard.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the word may be wrong; a longer text is no slip.
    let length = word.chars().count();
    if length == 0 || length > 100 {
        return None;
    }
    let most = (length / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= 4 * most)
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_slips_and_nothing_else() {
        let names = ["key_names", "hide_credentials", "port"];
        assert_eq!(nearest("key_name", names), Some("key_names"));
        assert_eq!(nearest("prot", names), Some("port"));
        assert_eq!(nearest("anonymous", names), None);
        assert_eq!(nearest("", names), None);
    }
}
