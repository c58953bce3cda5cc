//! Names for the variants of an enum.

/// Gives an enum `name()`, the stable name of a variant, which stands in metrics, and `NAMES`, all of
/// them in this order. The patterns must cover the enum, as those of a `match`.
macro_rules! names {
    ($enum:ident { $($pattern:pat => $name:literal,)+ }) => {
        impl $enum {
            /// All names.
            pub const NAMES: [&'static str; [$($name),+].len()] = [$($name),+];

            /// The stable name, for metrics.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $($pattern => $name,)+
                }
            }
        }
    };
}

pub(crate) use names;
