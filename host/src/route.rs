//! Which paths an HTTP trigger answers for, in Spin's notation: `/collect`, `/tests/:id`, and
//! `/…/...` for everything below.

use thiserror::Error;

/// A parsed `route`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    segments: Vec<Segment>,
    /// Whether it ends in `...`.
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Named,
    Literal(String),
}

/// A `route` that is none.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`route = \"{route}\"`: {reason}")]
pub struct RouteError {
    route: String,
    reason: &'static str,
}

impl Route {
    /// Parses a route of a manifest.
    pub fn parse(route: &str) -> Result<Self, RouteError> {
        let error = |reason| RouteError {
            route: route.to_owned(),
            reason,
        };
        let path = route
            .strip_prefix('/')
            .ok_or_else(|| error("a route starts with `/`"))?;
        let (path, open) = match path.strip_suffix("...") {
            Some(prefix) if prefix.is_empty() || prefix.ends_with('/') => (prefix, true),
            Some(_) => return Err(error("`...` stands for whole segments: write `/...`")),
            None => (path, false),
        };
        let segments = split(path)
            .map(|segment| match segment.strip_prefix(':') {
                Some("") => Err(error("`:` needs a name")),
                Some(_) => Ok(Segment::Named),
                None if segment.contains("...") => Err(error("`...` is only allowed at the end")),
                None => Ok(Segment::Literal(segment.to_owned())),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { segments, open })
    }

    /// What is left of `path` below the route (`""` or `/…`), if the route answers for it.
    pub fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let mut rest = path;
        for segment in &self.segments {
            let below = rest.strip_prefix('/')?;
            let end = below.find('/').unwrap_or(below.len());
            let (name, after) = below.split_at_checked(end)?;
            let matches = match segment {
                Segment::Named => !name.is_empty(),
                Segment::Literal(literal) => literal == name,
            };
            if !matches {
                return None;
            }
            rest = after;
        }
        (self.open || rest.is_empty() || rest == "/").then_some(rest)
    }

    /// Orders routes by how exactly they say what they answer for: the greatest one wins.
    pub fn precision(&self) -> impl Ord + '_ {
        (!self.open, &self.segments)
    }
}

/// The segments of a path without its first slash; a slash at the end adds none.
fn split(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::Route;

    fn check(route: &str, path: &str, rest: Option<&str>) {
        assert_eq!(
            Route::parse(route).unwrap().rest(path),
            rest,
            "{route} {path}"
        );
    }

    #[test]
    fn answers_for() {
        check("/...", "/", Some("/"));
        check("/...", "/a/b", Some("/a/b"));
        check("/a/...", "/a/b", Some("/b"));
        check("/a/...", "/a", Some(""));
        check("/a/...", "/ab", None);
        check("/a", "/a", Some(""));
        check("/a", "/a/", Some("/"));
        check("/a", "/a/b", None);
        check("/", "/", Some("/"));
        check("/", "/a", None);
        check("/t/:id/x", "/t/1/x", Some(""));
        check("/t/:id/x", "/t//x", None);
    }

    #[test]
    fn the_more_precise_wins() {
        let routes = [
            "/...",
            "/a/...",
            "/a/:id/...",
            "/a/b/...",
            "/:x",
            "/a",
            "/a/b",
        ]
        .map(|route| Route::parse(route).unwrap());
        assert!(routes.is_sorted_by(|a, b| a.precision() < b.precision()));
    }

    #[test]
    fn refuses() {
        for route in ["", "a", "/a...", "/.../a", "/:"] {
            assert!(Route::parse(route).is_err(), "{route}");
        }
    }
}
