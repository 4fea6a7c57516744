//! The known name that a wrong one was probably meant to be.

/// The nearest of these, if it is near enough to be meant: a third of its letters may differ, two of five, and one of three.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_ascii_lowercase();
    let far = |known: &'a str| (strsim::damerau_levenshtein(&lower, &known.to_ascii_lowercase()), known);
    let letters = wrong.chars().count();
    let limit = (letters / 3).max(2).min(letters.saturating_sub(1) / 2);
    known.into_iter().map(far).min().filter(|(distance, _)| *distance <= limit).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_has_a_nearest_name_and_another_word_has_none() {
        let known = ["interfaces", "attach", "map_memory_mib", "pin"];
        for (wrong, right) in [
            ("interfase", Some("interfaces")),
            ("interfacse", Some("interfaces")),
            ("atach", Some("attach")),
            ("map_memry_mib", Some("map_memory_mib")),
            ("Pin", Some("pin")),
            ("database", None),
            ("fin", Some("pin")),
            ("foo", None),
            ("p", None),
        ] {
            assert_eq!(nearest(wrong, known), right, "{wrong}");
        }
    }
}
