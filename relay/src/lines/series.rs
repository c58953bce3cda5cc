//! The rules for the name of a series and its tags, as carbon's `TaggedSeries.parse_carbon` and
//! graphite-web's tag index have them.

use memchr::memchr;

use super::Reason;

/// Most tags of one series. Graphite knows no such limit; ours keeps the look for duplicates
/// short whatever comes.
pub const MAX_TAGS: usize = 64;

/// Most characters of a tag's name and of its value: the columns of graphite-web's tag index have no
/// more room. The name before the tags is the value of a tag there, too.
pub const MAX_TAG_CHARS: usize = 191;

/// Longest file name of the usual file systems.
const MAX_NODE_BYTES: usize = 255;
/// The last node gets `.wsp` appended.
const MAX_LEAF_BYTES: usize = MAX_NODE_BYTES - ".wsp".len();
/// Longest untagged name: it becomes a path of at most 4096 bytes, and the data folder comes first.
const MAX_NAME_BYTES: usize = 3840;

/// Checks a name, tagged or not. It holds no blanks and is not empty.
pub(super) fn check(name: &[u8]) -> Result<(), Reason> {
    if name.first() == Some(&b'~') {
        return Err(Reason::NameTilde);
    }
    // Some of these are sound, but what they become would have to be checked in turn.
    if name.ends_with(br#""}"#) && memchr(b'{', name).is_some() {
        return Err(Reason::OpenMetricsName);
    }
    match memchr(b';', name) {
        None => plain(name),
        Some(0) => Err(Reason::EmptyName),
        Some(at) => {
            fits(name.get(..at).unwrap_or_default())?;
            tags(name.get(at + 1..).unwrap_or_default())
        }
    }
}

/// Whether it has room in the tag index.
fn fits(text: &[u8]) -> Result<(), Reason> {
    let begins_char = |byte: &&u8| **byte & 0xc0 != 0x80;
    if text.len() > MAX_TAG_CHARS && text.iter().filter(begins_char).count() > MAX_TAG_CHARS {
        return Err(Reason::TagTooLong);
    }
    Ok(())
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

/// Checks `key=value;key=value…`, which is shorter than a line may be. One pass by hand: most of
/// the time for a line is spent here, and the parts are too short for a search in each.
fn tags(tags: &[u8]) -> Result<(), Reason> {
    let mut seen = Seen::default();
    let mut start = 0;
    let mut equals = None;
    for (at, byte) in tags.iter().enumerate() {
        match byte {
            b';' => {
                seen.add(tags, start, equals.take(), at)?;
                start = at + 1;
            }
            b'=' if equals.is_none() => equals = Some(at),
            b'!' | b'^' if equals.is_none() => return Err(Reason::TagNameCharacter),
            _ => {}
        }
    }
    seen.add(tags, start, equals, tags.len())
}

/// Where the tags seen so far begin.
struct Seen {
    starts: [u16; MAX_TAGS],
    count: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            starts: [0; MAX_TAGS],
            count: 0,
        }
    }
}

impl Seen {
    /// Checks the tag from `start` to `end`, whose first `=` is at `equals`.
    fn add(
        &mut self,
        tags: &[u8],
        start: usize,
        equals: Option<usize>,
        end: usize,
    ) -> Result<(), Reason> {
        let equals = equals.ok_or(Reason::TagWithoutEquals)?;
        let key = tags.get(start..equals).unwrap_or_default();
        let value = tags.get(equals + 1..end).unwrap_or_default();
        match (key, value.first()) {
            ([], _) => return Err(Reason::EmptyTagName),
            (_, None) => return Err(Reason::EmptyTagValue),
            (_, Some(b'~')) => return Err(Reason::TagValueTilde),
            (b"name", _) => return Err(Reason::ReservedTag),
            _ => {}
        }
        fits(key)?;
        fits(value)?;
        let is_same = |other: &u16| {
            let other = tags.get(usize::from(*other)..).unwrap_or_default();
            other.get(key.len()) == Some(&b'=') && other.starts_with(key)
        };
        if self.starts.iter().take(self.count).any(is_same) {
            return Err(Reason::DuplicateTag);
        }
        let next = self.starts.get_mut(self.count).ok_or(Reason::TooManyTags)?;
        // Within the line, and so below MAX_LINE_BYTES.
        *next = u16::try_from(start).unwrap_or(u16::MAX);
        self.count += 1;
        Ok(())
    }
}
