//! Why a line is refused.

use serde::Serialize;
use strum::{Display, EnumMessage, IntoStaticStr, VariantArray, VariantNames};

/// Why a line is refused. Its name, in snake case, is stable: it stands in answers, metrics, logs and
/// the file of rejected lines. The comments on the variants stand on the status page.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Display,
    EnumMessage,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// Nothing but blanks.
    EmptyLine,
    /// More than 16 KiB: carbon closes the connection.
    LineTooLong,
    /// Not UTF-8: carbon closes the connection.
    InvalidUtf8,
    /// A control character, NUL among them: whisper cannot create the file.
    ControlCharacter,
    /// A blank beyond ASCII, which carbon takes for the end of a field.
    UnicodeBlank,
    /// Not name, value and timestamp: carbon ignores the line.
    NotThreeFields,
    /// An untagged name with a dot at an end, or two in a row: carbon writes the point to the file of
    /// the series without that dot.
    EmptyNode,
    /// An untagged name with a slash: carbon writes the point to the file of the series with a dot in
    /// its place, or to one that no query finds.
    SlashInName,
    /// An untagged name below `_tagged`, where carbon has the files of tagged series.
    ReservedName,
    /// Tags without a name before them.
    EmptyName,
    /// A name that begins with `~`: Graphite takes the `~` off, and mixes the series with another
    /// or, where nothing is left, refuses the index batch.
    NameTilde,
    /// A name with `{` that ends in `"}`: Graphite takes it for the OpenMetrics form, renames the
    /// series or refuses the index batch.
    OpenMetricsName,
    /// A node of an untagged name that is too long for a file name.
    NodeTooLong,
    /// An untagged name that is too long for a path.
    NameTooLong,
    /// A tag without `=`, or a `;` with nothing behind it: graphite-web refuses the index batch.
    TagWithoutEquals,
    /// A tag without a name: graphite-web refuses the index batch.
    EmptyTagName,
    /// A tag without a value: graphite-web refuses the index batch.
    EmptyTagValue,
    /// `!` or `^` in the name of a tag: graphite-web refuses the index batch.
    TagNameCharacter,
    /// A tag's value that begins with `~`: graphite-web refuses the index batch.
    TagValueTilde,
    /// More than 191 characters in a tag's name or value, or in the name before the tags: with PostgreSQL
    /// or MySQL graphite-web refuses the index batch.
    TagTooLong,
    /// The same tag twice: carbon keeps the last one only.
    DuplicateTag,
    /// A tag called `name`, which is the series' own name to Graphite: carbon drops it.
    ReservedTag,
    /// More than 64 tags.
    TooManyTags,
    /// A value that is no decimal number.
    ValueNotANumber,
    /// A value that is NaN (dropped by carbon) or infinite (no longer JSON when read back).
    ValueNotFinite,
    /// A timestamp that is no decimal number; for NaN and infinity carbon closes the connection.
    TimestampNotANumber,
    /// Before the year 2000: no archive of whisper reaches back so far, so the point is lost.
    TimestampTooOld,
    /// Too far ahead of the clocks of relay and sender: in whisper's ring it would erase the point of
    /// one retention before.
    TimestampInFuture,
    /// Too far ahead of one of these clocks and not of the other: the line cannot be judged, so the
    /// whole post is refused, to come again when the clocks agree.
    ClocksDiffer,
    /// Beyond 32 bits, most likely milliseconds: the good points written with it would be lost.
    TimestampTooLarge,
}
