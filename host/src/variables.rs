//! The values of the application's variables, and texts made of them.
//!
//! A value comes from `SPIN_VARIABLE_<NAME>` in the environment, else from the manifest's default.
//! Values of secret variables do not print.

use crate::error::unsupported;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// What the name of an environment variable that gives a value starts with; Spin's own prefix.
const PREFIX: &str = "SPIN_VARIABLE_";

/// `[variables]` by name, with their values. Not `Debug`: a value may be a secret.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Variables(BTreeMap<String, Variable>);

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "{ default = … }")]
struct Variable {
    #[serde(rename = "default")]
    value: String,
    #[serde(default)]
    secret: bool,
    #[serde(default, rename = "description")]
    _description: String,
}

/// The environment variable that gives the variable `name` its value.
pub(crate) fn environment_name(name: &str) -> String {
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
    /// The names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Gives `name` another value; false if it is not declared.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        let variable = self.0.get_mut(name);
        variable.is_some_and(|variable| {
            value.clone_into(&mut variable.value);
            true
        })
    }

    /// Takes values from environment variables, and returns the names of those that are meant for
    /// a variable and none declares; they have no effect, in Spin as here, and are mostly typing
    /// errors.
    pub fn set_from(&mut self, environment: impl Iterator<Item = (String, String)>) -> Vec<String> {
        let is_unknown = |(key, value): (String, String)| {
            let name = key.strip_prefix(PREFIX)?.to_ascii_lowercase();
            (!self.set(&name, &value)).then_some(key)
        };
        environment.filter_map(is_unknown).collect()
    }

    /// The value of a variable; empty if it is not declared.
    pub fn value(&self, name: &str) -> &str {
        let variable = self.0.get(name);
        variable.map_or("", |variable| variable.value.as_str())
    }

    /// The text that `template` stands for.
    pub(crate) fn render<'a>(&'a self, template: &'a Template) -> &'a str {
        match template {
            Template::Literal(text) => text,
            Template::Variable(name) => self.value(name),
        }
    }

    /// Whether the value of `name` is a secret.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|variable| variable.secret)
    }

    /// `name = value` for the log, secrets masked; an empty secret is shown as empty, because that
    /// is what one looks for when a credential is missing.
    pub fn describe(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, variable)| {
            let shown = match (variable.secret, variable.value.as_str()) {
                (_, "") => "(empty)",
                (true, _) => "***",
                (false, text) => text,
            };
            format!("{name} = {shown}")
        })
    }
}

/// A value in the manifest: a text, or `{{ name }}`, which stands for the value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Template {
    /// A text.
    Literal(String),
    /// The name of a variable.
    Variable(String),
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let inner = text.strip_prefix("{{");
        let name = inner
            .and_then(|rest| rest.strip_suffix("}}"))
            .map(str::trim);
        match name {
            Some(name) if is_name(name) => Ok(Self::Variable(name.to_owned())),
            None if !text.contains("{{") => Ok(Self::Literal(text)),
            _ => Err(unsupported(
                "a value that has `{{` and is not exactly one `{{ name }}`",
            )),
        }
    }
}

impl Template {
    /// The name of the variable, if it is one.
    pub(crate) fn variable(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Variable(name) => Some(name),
        }
    }
}

/// As a message shows it: the text as it is, or the name of the variable.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => write!(f, "`{text}`"),
            Self::Variable(name) => write!(f, "`{{{{ {name} }}}}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Template, Variables};

    fn variables() -> Variables {
        let text = r#"
            url = { default = "http://localhost" }
            token = { default = "t0p", secret = true }
            pin = { default = "1" }
            empty = { default = "", secret = true }
        "#;
        toml::from_str(text).unwrap()
    }

    #[test]
    fn renders() {
        for (text, expect) in [
            ("", Some("")),
            ("plain", Some("plain")),
            ("{{url}}", Some("http://localhost")),
            ("{{ pin }}", Some("1")),
            ("{{ empty }}", Some("")),
            ("a }} b", Some("a }} b")),
            ("{{ pin", None),
            ("https://{{ pin }}", None),
            ("{{ pin }}{{ pin }}", None),
            ("{{ Pin }}", None),
        ] {
            let variables = variables();
            let template = Template::try_from(text.to_owned()).ok();
            let rendered = template.as_ref().map(|template| variables.render(template));
            assert_eq!(rendered, expect, "{text}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let variables = variables();
        let lines: Vec<String> = variables.describe().collect();
        let expect = [
            "empty = (empty)",
            "pin = 1",
            "token = ***",
            "url = http://localhost",
        ];
        assert_eq!(lines, expect);
    }

    #[test]
    fn the_environment_gives_values() {
        let environment = [
            ("SPIN_VARIABLE_PIN", "7"),
            ("SPIN_VARIABLE_PINN", "8"),
            ("PATH", "/bin"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut variables = variables();
        let unknown = variables.set_from(environment.into_iter());
        assert_eq!(unknown, ["SPIN_VARIABLE_PINN"]);
        assert_eq!(variables.value("pin"), "7");
    }
}
