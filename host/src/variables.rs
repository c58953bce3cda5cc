//! The values of the application's variables, and texts made of them.
//!
//! A value comes from what is given (`SPIN_VARIABLE_<NAME>` in the environment), else from the
//! manifest's default. Values of secret variables do not print.

use crate::manifest::{Manifest, Variable};
use std::collections::BTreeMap;
use std::fmt;

/// What the name of an environment variable that gives a value starts with; Spin's own prefix.
const PREFIX: &str = "SPIN_VARIABLE_";

/// The values of all variables of an application.
#[derive(Clone, Default)]
pub struct Variables {
    values: BTreeMap<String, Value>,
}

#[derive(Clone)]
struct Value {
    text: String,
    secret: bool,
}

/// The environment variable that gives the variable `name` its value.
pub fn environment_name(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

/// Whether `name` is lower-case ASCII words, each starting with a letter, joined with `_`: Spin's
/// rule.
pub(crate) fn is_name(name: &str) -> bool {
    name.split('_').all(|word| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}

impl Variables {
    /// Gives each declared variable its value: the one in `given`, else its default.
    pub fn new(declared: &BTreeMap<String, Variable>, given: &BTreeMap<String, String>) -> Self {
        let value = |(name, variable): (&String, &Variable)| {
            let text = given.get(name).unwrap_or(&variable.default).clone();
            let secret = variable.secret;
            (name.clone(), Value { text, secret })
        };
        Self {
            values: declared.iter().map(value).collect(),
        }
    }

    /// The same variables with another value for `name`, if it is declared.
    #[must_use]
    pub fn with(&self, name: &str, text: &str) -> Self {
        let mut changed = self.clone();
        if let Some(value) = changed.values.get_mut(name) {
            text.clone_into(&mut value.text);
        }
        changed
    }

    /// Whether the variable `name` has a value that is not empty.
    pub fn is_set(&self, name: &str) -> bool {
        let value = self.values.get(name);
        value.is_some_and(|value| !value.text.is_empty())
    }

    /// The text of `template`. A valid manifest declares all its variables; one that is not counts
    /// as empty.
    pub fn render(&self, template: &Template) -> String {
        template
            .parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.as_str(),
                Part::Variable(name) => self
                    .values
                    .get(name)
                    .map_or("", |value| value.text.as_str()),
            })
            .collect()
    }

    /// Whether the text of `template` has a secret in it.
    pub fn is_secret(&self, template: &Template) -> bool {
        template
            .variables()
            .any(|name| self.values.get(name).is_some_and(|value| value.secret))
    }

    /// `name = value` for the log, secrets masked; an empty secret is shown as empty, because that
    /// is what one looks for when a credential is missing.
    pub fn describe(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|(name, value)| {
            let shown = match (value.secret, value.text.as_str()) {
                (_, "") => "(empty)",
                (true, _) => "***",
                (false, text) => text,
            };
            format!("{name} = {shown}")
        })
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.describe()).finish()
    }
}

/// Sorts environment variables into values by variable name, and names that `manifest` does not
/// declare; those have no effect, in Spin as here, and are mostly typing errors.
pub fn from_environment(
    manifest: &Manifest,
    environment: impl Iterator<Item = (String, String)>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut given = BTreeMap::new();
    let mut unknown = Vec::new();
    for (key, value) in environment {
        let Some(name) = key.strip_prefix(PREFIX) else {
            continue;
        };
        let name = name.to_ascii_lowercase();
        if manifest.variables.contains_key(&name) {
            given.insert(name, value);
        } else {
            unknown.push(key);
        }
    }
    (given, unknown)
}

/// A text with `{{ name }}` expressions that name variables, such as `{{ relay_url }}/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
}

impl Template {
    /// Parses `text`; a lone `}}` is literal, as it is in Spin. None if `{{` has no `}}`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once("{{") {
            let (name, tail) = after.split_once("}}")?;
            parts.push(Part::Literal(literal.to_owned()));
            parts.push(Part::Variable(name.trim().to_owned()));
            rest = tail;
        }
        parts.push(Part::Literal(rest.to_owned()));
        Some(Self { parts })
    }

    /// The names of the variables, in order of appearance.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Variable(name) => write!(f, "{{{{ {name} }}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Template, Variables, from_environment};
    use crate::manifest::Manifest;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn manifest() -> Manifest {
        let text = r#"
            spin_manifest_version = 2
            application.name = "test"
            component.c.source = "c.wasm"
            [variables]
            url = { default = "http://localhost" }
            token = { default = "", secret = true }
            pin = { default = "1" }
            empty = { default = "", secret = true }
        "#;
        Manifest::parse(Path::new("spin.toml"), text).unwrap()
    }

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn variables() -> Variables {
        Variables::new(&manifest().variables, &given(&[("token", "t0p")]))
    }

    #[test]
    fn renders() {
        let check = |text: &str, expect: Option<&str>| {
            let template = Template::parse(text);
            let rendered = template.map(|template| variables().render(&template));
            assert_eq!(rendered.as_deref(), expect, "{text}");
        };
        check("", Some(""));
        check("plain", Some("plain"));
        check("{{url}}:{{ pin }}/v1", Some("http://localhost:1/v1"));
        check("{{ empty }}", Some(""));
        check("a }} b", Some("a }} b"));
        check("{{ pin }} {{ url", None);
        let changed = variables().with("token", "once").with("nothing", "x");
        let template = Template::parse("{{ token }}").unwrap();
        assert_eq!(changed.render(&template), "once");
        assert_eq!(variables().render(&template), "t0p");
        assert_eq!(template.to_string(), "{{ token }}");
    }

    #[test]
    fn secrets_do_not_print() {
        insta::assert_debug_snapshot!(variables(), @r#"
        {
            "empty = (empty)",
            "pin = 1",
            "token = ***",
            "url = http://localhost",
        }
        "#);
    }

    #[test]
    fn the_environment_is_sorted() {
        let environment = given(&[
            ("SPIN_VARIABLE_PIN", "7"),
            ("SPIN_VARIABLE_PINN", "8"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(
            from_environment(&manifest(), environment.into_iter()),
            (
                given(&[("pin", "7")]),
                vec!["SPIN_VARIABLE_PINN".to_owned()]
            )
        );
    }
}
