//! The values of the application's variables, and those of a component made of them.
//!
//! A value comes from what is given (`SPIN_VARIABLE_<NAME>` in the environment), else from the
//! manifest's default. Values of secret variables do not print.

use crate::manifest::{Manifest, VariableDeclaration};
use crate::template::Template;
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// What the name of an environment variable that gives a value starts with; Spin's own prefix.
pub const ENVIRONMENT_PREFIX: &str = "SPIN_VARIABLE_";

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

/// Required variables without a value, all of them.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("no value for required variables: set {} in the environment", names(.missing))]
pub struct MissingVariables {
    /// Their names, as in the manifest.
    pub missing: Vec<String>,
}

fn names(missing: &[String]) -> String {
    let names: Vec<String> = missing.iter().map(|name| environment_name(name)).collect();
    names.join(", ")
}

/// The environment variable that gives the variable `name` its value.
pub fn environment_name(name: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", name.to_ascii_uppercase())
}

impl Variables {
    /// Gives each declared variable its value: the one in `given`, else its default.
    pub fn resolve(
        declarations: &BTreeMap<String, VariableDeclaration>,
        given: &BTreeMap<String, String>,
    ) -> Result<Self, MissingVariables> {
        let mut values = BTreeMap::new();
        let mut missing = Vec::new();
        for (name, declaration) in declarations {
            match given.get(name).or(declaration.default.as_ref()) {
                Some(text) => {
                    let value = Value {
                        text: text.clone(),
                        secret: declaration.secret,
                    };
                    values.insert(name.clone(), value);
                }
                None => missing.push(name.clone()),
            }
        }
        if missing.is_empty() {
            Ok(Self { values })
        } else {
            Err(MissingVariables { missing })
        }
    }

    /// The same variables but for `changes`; names that are not declared are left out.
    #[must_use]
    pub fn with(&self, changes: &BTreeMap<String, String>) -> Self {
        let mut changed = self.clone();
        for (name, text) in changes {
            if let Some(value) = changed.values.get_mut(name) {
                value.text.clone_from(text);
            }
        }
        changed
    }

    /// The text of `template`; the error is the name of a variable that is not declared.
    pub fn render(&self, template: &Template) -> Result<String, String> {
        template.render(|name| self.values.get(name).map(|value| value.text.as_str()))
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
/// declare; those have no effect, in Spin as here, and are mostly slips of the pen.
pub fn from_environment(
    manifest: &Manifest,
    environment: impl Iterator<Item = (String, String)>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut given = BTreeMap::new();
    let mut unknown = Vec::new();
    for (key, value) in environment {
        let Some(name) = key.strip_prefix(ENVIRONMENT_PREFIX) else {
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

#[cfg(test)]
mod tests {
    use super::{MissingVariables, Variables, from_environment};
    use crate::manifest::Manifest;
    use crate::template::Template;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn manifest() -> Manifest {
        let text = r#"
            spin_manifest_version = 2
            application.name = "test"
            trigger = {}
            [variables]
            url = { default = "http://localhost" }
            token = { required = true, secret = true }
            pin = { required = true }
            empty = { default = "", secret = true }
        "#;
        Manifest::parse(Path::new("spin.toml"), text).unwrap()
    }

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        owned.collect()
    }

    #[test]
    fn all_missing_ones_are_named_as_in_the_environment() {
        let error = Variables::resolve(&manifest().variables, &given(&[])).unwrap_err();
        assert_eq!(
            error,
            MissingVariables {
                missing: vec!["pin".into(), "token".into()]
            }
        );
        insta::assert_snapshot!(error, @"no value for required variables: set SPIN_VARIABLE_PIN, SPIN_VARIABLE_TOKEN in the environment");
    }

    #[test]
    fn given_wins_over_default_and_change_over_given() {
        let base = given(&[("url", "http://relay"), ("token", "t0p"), ("pin", "1")]);
        let variables = Variables::resolve(&manifest().variables, &base).unwrap();
        let check = |variables: &Variables, text: &str, expect: Result<&str, &str>| {
            let rendered = variables.render(&Template::parse(text).unwrap());
            assert_eq!(rendered.as_deref().map_err(String::as_str), expect);
        };
        check(&variables, "{{ url }}/v1", Ok("http://relay/v1"));
        check(&variables, "{{ nothing }}", Err("nothing"));
        let changed = variables.with(&given(&[("token", "once"), ("nothing", "x")]));
        check(&changed, "{{ token }}", Ok("once"));
        check(&changed, "{{ nothing }}", Err("nothing"));
        check(&variables, "{{ token }}", Ok("t0p"));
    }

    #[test]
    fn secrets_do_not_print() {
        let base = given(&[("token", "t0p"), ("pin", "1")]);
        let variables = Variables::resolve(&manifest().variables, &base).unwrap();
        insta::assert_debug_snapshot!(variables, @r#"
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
