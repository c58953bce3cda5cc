//! Reading a JSON stream object by object, so that an answer never stands in memory as a whole.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Something that takes a JSON object key by key.
pub trait Object<'de> {
    /// Takes the value of one key from the map; what it does not care for it leaves to [`skip`].
    fn key<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;

    /// The object has ended; the text of an error stops the reading.
    fn end(&mut self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// Reads one JSON object, or null, into an [`Object`].
pub struct Into<'a, O>(pub &'a mut O);

/// Reads a JSON list, or null, handing each element to a function.
pub struct Each<T, F>(F, PhantomData<T>);

impl<T, F> Each<T, F> {
    /// Elements of type `T` go to `take`, which may stop the reading with an error's text.
    pub fn new(take: F) -> Self {
        Self(take, PhantomData)
    }
}

/// Reads a JSON list, or null, of objects into one [`Object`], which sees the keys of all.
pub struct IntoEach<'a, O>(pub &'a mut O);

/// Passes over the value of a key.
pub fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

impl<'de, O: Object<'de>> DeserializeSeed<'de> for Into<'_, O> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, O: Object<'de>> Visitor<'de> for Into<'_, O> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            self.0.key(&key, &mut map)?;
        }
        self.0.end().map_err(A::Error::custom)
    }
}

impl<'de, T, F> DeserializeSeed<'de> for Each<T, F>
where
    T: serde::Deserialize<'de>,
    F: FnMut(T) -> Result<(), &'static str>,
{
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T, F> Visitor<'de> for Each<T, F>
where
    T: serde::Deserialize<'de>,
    F: FnMut(T) -> Result<(), &'static str>,
{
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element()? {
            (self.0)(element).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

impl<'de, O: Object<'de>> DeserializeSeed<'de> for IntoEach<'_, O> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, O: Object<'de>> Visitor<'de> for IntoEach<'_, O> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Into(&mut *self.0))?.is_some() {}
        Ok(())
    }
}
