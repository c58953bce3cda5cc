//! The rules for the name of a series and its tags, as carbon's `TaggedSeries.parse_carbon` and
//! graphite-web's tag index have them.

use memchr::{memchr, memchr2};

use super::Reason;

/// Most tags of one series. Graphite knows no such limit; ours keeps the look for duplicates
/// short whatever comes.
pub const MAX_TAGS: usize = 64;

/// Longest file name of the usual file systems.
const MAX_NODE_BYTES: usize = 255;
/// The last node gets `.wsp` appended.
const MAX_LEAF_BYTES: usize = MAX_NODE_BYTES - ".wsp".len();
/// Longest untagged name: it becomes a path of at most 4096 bytes, and the data folder comes first.
const MAX_NAME_BYTES: usize = 3840;

/// Checks a name, tagged or not. It holds no blanks and is not empty.
pub(super) fn check(name: &[u8]) -> Result<(), Reason> {
    match memchr(b';', name) {
        None => plain(name),
        Some(0) => Err(Reason::EmptyName),
        Some(at) => tags(name.get(at + 1..).unwrap_or_default()),
    }
}

/// An untagged name becomes a path, each node a folder or file. The path of a tagged series is a
/// hash, so its length does not matter.
fn plain(name: &[u8]) -> Result<(), Reason> {
    if name.len() <= MAX_LEAF_BYTES {
        return Ok(());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(Reason::NameTooLong);
    }
    let mut nodes = name.rsplit(|byte| *byte == b'.');
    let leaf_fits = nodes.next().is_none_or(|leaf| leaf.len() <= MAX_LEAF_BYTES);
    if leaf_fits && nodes.all(|node| node.len() <= MAX_NODE_BYTES) {
        Ok(())
    } else {
        Err(Reason::NodeTooLong)
    }
}

fn tags(tags: &[u8]) -> Result<(), Reason> {
    let mut seen: [&[u8]; MAX_TAGS] = [&[]; MAX_TAGS];
    for (count, tag) in tags.split(|byte| *byte == b';').enumerate() {
        let at = memchr(b'=', tag).ok_or(Reason::TagWithoutEquals)?;
        let (key, value) = tag.split_at_checked(at).unwrap_or((tag, &[]));
        // The value still begins with its `=`.
        match (key, value.get(1)) {
            ([], _) => return Err(Reason::EmptyTagName),
            (_, None) => return Err(Reason::EmptyTagValue),
            (_, Some(b'~')) => return Err(Reason::TagValueTilde),
            (b"name", _) => return Err(Reason::ReservedTag),
            _ => {}
        }
        if memchr2(b'!', b'^', key).is_some() {
            return Err(Reason::TagNameCharacter);
        }
        if seen.iter().take(count).any(|other| *other == key) {
            return Err(Reason::DuplicateTag);
        }
        *seen.get_mut(count).ok_or(Reason::TooManyTags)? = key;
    }
    Ok(())
}
