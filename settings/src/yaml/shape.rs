//! The shape of a value: everything but its text.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess as _, Visitor,
};

/// Most keys and values of a file, with those that aliases repeat: aliases of aliases can stand for
/// more than fits into memory.
const MAX_VALUES: usize = 20_000;

pub(super) const TOO_MANY: &str = "the file holds too many values";

/// How many keys and values were met by a reading, and why it gave up.
#[derive(Default)]
pub(super) struct Count {
    met: Cell<usize>,
    /// Why the reading was given up, if it was not the crate that gave up.
    pub reason: Cell<Option<&'static str>>,
}

impl Count {
    /// The number of the next key or value.
    pub fn next<E: Error>(&self) -> Result<usize, E> {
        let id = self.met.get();
        self.met.set(id + 1);
        if id >= MAX_VALUES {
            return Err(self.give_up(TOO_MANY));
        }
        Ok(id)
    }

    /// Begins anew.
    pub fn reset(&self) {
        self.met.set(0);
    }

    fn give_up<E: Error>(&self, reason: &'static str) -> E {
        self.reason.set(Some(reason));
        E::custom(reason)
    }
}

/// What a value is, without its text.
pub(super) enum Shape {
    Null,
    Scalar,
    List(Vec<Shape>),
    /// The shapes of its values; a key is always a single value.
    Map(Vec<Shape>),
    Tagged(Box<Shape>),
}

/// Reads the shape of a value.
#[derive(Clone, Copy)]
pub(super) struct ShapeSeed<'c>(pub &'c Count);

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        self.0.next()?;
        deserializer.deserialize_any(self)
    }
}

/// The methods of a visitor for single values, all with the same result.
macro_rules! visit_scalars {
    ($value:ty, $result:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<$value, E> {
            $result
        }
        fn visit_i64<E>(self, _: i64) -> Result<$value, E> {
            $result
        }
        fn visit_i128<E>(self, _: i128) -> Result<$value, E> {
            $result
        }
        fn visit_u64<E>(self, _: u64) -> Result<$value, E> {
            $result
        }
        fn visit_u128<E>(self, _: u128) -> Result<$value, E> {
            $result
        }
        fn visit_f64<E>(self, _: f64) -> Result<$value, E> {
            $result
        }
        fn visit_str<E>(self, _: &str) -> Result<$value, E> {
            $result
        }
    };
}

impl<'de> Visitor<'de> for ShapeSeed<'_> {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    visit_scalars!(Shape, Ok(Shape::Scalar));

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut shapes = Vec::new();
        while let Some(shape) = list.next_element_seed(self)? {
            shapes.push(shape);
        }
        Ok(Shape::List(shapes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut shapes = Vec::new();
        while map.next_key_seed(KeyShapeSeed(self.0))?.is_some() {
            shapes.push(map.next_value_seed(self)?);
        }
        Ok(Shape::Map(shapes))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Shape, A::Error> {
        let (_, value) = tagged.variant_seed(PhantomData::<IgnoredAny>)?;
        let shape = value.newtype_variant_seed(Untagged(self))?;
        Ok(Shape::Tagged(Box::new(shape)))
    }
}

/// The value behind a tag, which is counted with its tag.
struct Untagged<'c>(ShapeSeed<'c>);

impl<'de> DeserializeSeed<'de> for Untagged<'_> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(self.0)
    }
}

/// Checks that a key is a single value.
struct KeyShapeSeed<'c>(&'c Count);

pub(super) const ODD_KEY: &str = "a key must be one word";

impl<'de> DeserializeSeed<'de> for KeyShapeSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.next()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeyShapeSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ODD_KEY)
    }

    visit_scalars!((), Ok(()));

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Err(self.0.give_up(ODD_KEY))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.0.give_up(ODD_KEY))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.0.give_up(ODD_KEY))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.0.give_up(ODD_KEY))
    }
}
