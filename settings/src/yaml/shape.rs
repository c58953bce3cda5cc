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

pub(super) const ODD_KEY: &str = "a key must be one word";

/// Reads the shape of a value or of a key.
#[derive(Clone, Copy)]
pub(super) struct ShapeSeed<'c> {
    count: &'c Count,
    is_key: bool,
    /// Whether its tag has been read, and it is counted with its tag.
    is_tagged: bool,
}

impl<'c> ShapeSeed<'c> {
    /// Reads the shape of a value.
    pub fn new(count: &'c Count) -> Self {
        Self {
            count,
            is_key: false,
            is_tagged: false,
        }
    }

    /// A key must be a single value.
    fn refuse_as_key<E: Error>(&self) -> Result<(), E> {
        match self.is_key {
            true => Err(self.count.give_up(ODD_KEY)),
            false => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        if !self.is_tagged {
            self.count.next()?;
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_> {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_unit<E: Error>(self) -> Result<Shape, E> {
        self.refuse_as_key()?;
        Ok(Shape::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Shape, E> {
        self.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        self.refuse_as_key()?;
        let mut shapes = Vec::new();
        while let Some(shape) = list.next_element_seed(Self::new(self.count))? {
            shapes.push(shape);
        }
        Ok(Shape::List(shapes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        self.refuse_as_key()?;
        let value = Self::new(self.count);
        let key = Self {
            is_key: true,
            ..value
        };
        let mut shapes = Vec::new();
        while map.next_key_seed(key)?.is_some() {
            shapes.push(map.next_value_seed(value)?);
        }
        Ok(Shape::Map(shapes))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Shape, A::Error> {
        self.refuse_as_key()?;
        let (_, value) = tagged.variant_seed(PhantomData::<IgnoredAny>)?;
        let shape = value.newtype_variant_seed(Self {
            is_tagged: true,
            ..self
        })?;
        Ok(Shape::Tagged(Box::new(shape)))
    }
}
