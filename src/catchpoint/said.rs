//! What an answer complains of beside its data, under whatever name and in whatever case.

use serde::de::MapAccess;

use super::row::Text;

/// Whether a key of the outermost object holds a complaint: `error`, `Message` and `message` were
/// all seen.
pub fn is_complaint(key: &str) -> bool {
    ["error", "message"]
        .iter()
        .any(|word| key.eq_ignore_ascii_case(word))
}

/// Reads a complaint; the first one that says something stays.
pub fn read_complaint<'de, A: MapAccess<'de>>(
    map: &mut A,
    complaint: &mut Option<String>,
) -> Result<(), A::Error> {
    let text = map
        .next_value::<Text>()?
        .0
        .filter(|text| !text.trim().is_empty());
    *complaint = complaint.take().or(text);
    Ok(())
}
