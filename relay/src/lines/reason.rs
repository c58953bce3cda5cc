//! Why a line is refused.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a line is refused. The name is stable: it stands in answers, metrics, logs and the
        /// file of rejected lines.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the variants.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name, in snake case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// Nothing but blanks.
    EmptyLine = "empty_line",
    /// More than [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES): carbon closes the connection.
    LineTooLong = "line_too_long",
    /// Not UTF-8: carbon closes the connection.
    InvalidUtf8 = "invalid_utf8",
    /// A control character, NUL among them: whisper cannot create the file.
    ControlCharacter = "control_character",
    /// A blank beyond ASCII, which carbon takes for the end of a field.
    UnicodeBlank = "unicode_blank",
    /// Not name, value and timestamp: carbon ignores the line.
    NotThreeFields = "not_three_fields",
    /// Tags without a name before them.
    EmptyName = "empty_name",
    /// A name that begins with `~`: Graphite takes the `~` off, and mixes the series with another
    /// or, where nothing is left, refuses the index batch.
    NameTilde = "name_tilde",
    /// A name with `{` that ends in `"}`: Graphite takes it for the OpenMetrics form, renames the
    /// series or refuses the index batch.
    OpenMetricsName = "open_metrics_name",
    /// A node of an untagged name that is too long for a file name.
    NodeTooLong = "node_too_long",
    /// An untagged name that is too long for a path.
    NameTooLong = "name_too_long",
    /// A tag without `=`, or a `;` with nothing behind it: graphite-web refuses the index batch.
    TagWithoutEquals = "tag_without_equals",
    /// A tag without a name: graphite-web refuses the index batch.
    EmptyTagName = "empty_tag_name",
    /// A tag without a value: graphite-web refuses the index batch.
    EmptyTagValue = "empty_tag_value",
    /// `!` or `^` in the name of a tag: graphite-web refuses the index batch.
    TagNameCharacter = "tag_name_character",
    /// A tag's value that begins with `~`: graphite-web refuses the index batch.
    TagValueTilde = "tag_value_tilde",
    /// More than [`MAX_TAG_CHARS`](super::series::MAX_TAG_CHARS) in a tag's name or value, or in the
    /// name before the tags: with PostgreSQL or MySQL graphite-web refuses the index batch.
    TagTooLong = "tag_too_long",
    /// The same tag twice: carbon keeps the last one only.
    DuplicateTag = "duplicate_tag",
    /// A tag called `name`, which is the series' own name to Graphite: carbon drops it.
    ReservedTag = "reserved_tag",
    /// More than [`MAX_TAGS`](super::series::MAX_TAGS) tags.
    TooManyTags = "too_many_tags",
    /// A value that is no decimal number.
    ValueNotANumber = "value_not_a_number",
    /// A value that is NaN (dropped by carbon) or infinite (no longer JSON when read back).
    ValueNotFinite = "value_not_finite",
    /// A timestamp that is no decimal number; for NaN and infinity carbon closes the connection.
    TimestampNotANumber = "timestamp_not_a_number",
    /// Before the year 2000: no archive of whisper reaches back so far, so the point is lost.
    TimestampTooOld = "timestamp_too_old",
    /// More than [`MAX_AHEAD`](super::number::MAX_AHEAD) ahead of a clock that can be right: whisper
    /// stores no point.
    TimestampInFuture = "timestamp_in_future",
    /// Beyond 32 bits, most likely milliseconds: the good points written with it would be lost.
    TimestampTooLarge = "timestamp_too_large",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
