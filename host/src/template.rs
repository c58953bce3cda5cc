//! Spin's string templates: literal text with `{{ name }}` expressions that name variables.

use thiserror::Error;

/// A parsed template, such as `{{ relay_url }}/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
}

/// An expression was opened with `{{` and never closed.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{{{{` without `}}}}` in a template; a variable is written `{{{{ name }}}}`")]
pub struct UnclosedExpression;

impl Template {
    /// Parses `text`; a lone `}}` is literal, as it is in Spin.
    pub fn parse(text: &str) -> Result<Self, UnclosedExpression> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once("{{") {
            let (name, tail) = after.split_once("}}").ok_or(UnclosedExpression)?;
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(Part::Variable(name.trim().to_owned()));
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The names of the variables, in order of appearance.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// Puts the value of each variable in its place; the error is the first name that `value_of`
    /// does not know.
    pub fn render<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable(name) => {
                    text.push_str(value_of(name).ok_or_else(|| name.clone())?);
                }
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Template, UnclosedExpression};

    fn check(text: &str, expect: Result<&str, &str>) {
        let rendered = Template::parse(text).unwrap().render(|name| match name {
            "host" => Some("example.com"),
            "empty" => Some(""),
            _ => None,
        });
        assert_eq!(rendered.as_deref().map_err(String::as_str), expect);
    }

    #[test]
    fn renders() {
        check("", Ok(""));
        check("plain", Ok("plain"));
        check("{{ host }}", Ok("example.com"));
        check("https://{{host}}:{{ empty }}1", Ok("https://example.com:1"));
        check("a }} b", Ok("a }} b"));
        check("{{ host }}{{ nothing }}", Err("nothing"));
        check("{{ {{ host }}", Err("{{ host"));
    }

    #[test]
    fn an_open_expression_is_refused() {
        assert_eq!(Template::parse("{{ a }} {{ b"), Err(UnclosedExpression));
    }
}
