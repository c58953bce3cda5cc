//! Where the component may send requests: the entries of `allowed_outbound_hosts`, each a scheme, a
//! host and a port.

use crate::variables::{Template, Variables, environment_name};
use http::Uri;
use thiserror::Error;

/// The variable that holds the relay's address. Requests there go on while a run is being stopped,
/// so that lines in hand are delivered.
const RELAY: &str = "relay_url";

/// All entries of the component.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    origin: Origin,
    /// As it stands in the manifest.
    template: Template,
}

/// Scheme, host and port of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    https: bool,
    /// In lower case; IPv6 addresses in brackets.
    host: String,
    port: u16,
}

/// An entry that is no address, once its variables have their values.
#[derive(Debug, Error)]
#[error("`{template}` in `allowed_outbound_hosts` {problem}; {hint}")]
pub struct HostError {
    template: String,
    problem: String,
    hint: String,
}

impl AllowedHosts {
    /// Puts the values of variables into the entries and parses them.
    ///
    /// # Errors
    /// An entry is empty (Spin then allows nothing at all), or is not `scheme://host[:port]`.
    pub fn resolve(templates: &[Template], variables: &Variables) -> Result<Self, HostError> {
        let entry = |template: &Template| {
            let text = variables.render(template);
            let names: Vec<String> = template.variables().map(environment_name).collect();
            let error = |problem: String, hint: &str| HostError {
                template: template.to_string(),
                problem,
                hint: match names.as_slice() {
                    [] => format!("{hint} in the manifest"),
                    names => format!("{hint} in {}", names.join(" and ")),
                },
            };
            if matches!(text.trim(), "" | "http://" | "https://") {
                return Err(error("is empty".to_owned(), "write an address"));
            }
            let Some(origin) = Origin::parse(text.trim()) else {
                // Before an `@` there may be a password.
                let secret = variables.is_secret(template) || text.contains('@');
                let shown = if secret {
                    "what it holds"
                } else {
                    &format!("`{text}`")
                };
                return Err(error(
                    format!("becomes {shown}, which this runner does not support"),
                    "write `http://host:port` or `https://host:port`, or use `spin up`: it is",
                ));
            };
            Ok(Entry {
                origin,
                template: template.clone(),
            })
        };
        let entries = templates.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// Whether a request to `uri` may go out.
    pub(crate) fn allows(&self, uri: &Uri) -> bool {
        let origin = Origin::of(uri);
        self.entries
            .iter()
            .any(|entry| Some(&entry.origin) == origin.as_ref())
    }

    /// Whether `uri` is the relay's.
    pub(crate) fn is_relay(&self, uri: &Uri) -> bool {
        let origin = Origin::of(uri);
        self.entries.iter().any(|entry| {
            entry.template.variables().any(|name| name == RELAY)
                && Some(&entry.origin) == origin.as_ref()
        })
    }

    /// The entries, for a message: `https://io.catchpoint.com ({{ catchpoint_host }})`.
    pub(crate) fn describe(&self) -> String {
        let shown = |entry: &Entry| {
            let Origin { https, host, port } = &entry.origin;
            let scheme = if *https { "https" } else { "http" };
            format!("{scheme}://{host}:{port} (`{}`)", entry.template)
        };
        let entries: Vec<String> = self.entries.iter().map(shown).collect();
        entries.join(", ")
    }
}

impl Origin {
    /// Parses an entry; a slash at the end is allowed, anything else behind the port is not.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let (_, authority) = text.split_once("://")?;
        let uri: Uri = text.parse().ok()?;
        let origin = Self::of(&uri)?;
        let whole = [
            origin.host.clone(),
            format!("{}:{}", origin.host, origin.port),
        ];
        // Wildcards, ranges of ports, networks and user names are Spin's or nobody's.
        let special = origin.host.contains('*') || matches!(origin.host.as_str(), "self");
        (whole.contains(&authority.to_ascii_lowercase()) && !special).then_some(origin)
    }

    fn of(uri: &Uri) -> Option<Self> {
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self {
            https,
            host: uri.host()?.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{AllowedHosts, Origin};
    use crate::variables::{Template, Variables};

    fn check(entry: &str, allowed: &[&str], refused: &[&str]) {
        let template = Template::parse(entry).unwrap();
        let hosts = AllowedHosts::resolve(&[template], &Variables::default()).unwrap();
        for (uris, expect) in [(allowed, true), (refused, false)] {
            for uri in uris {
                let found = hosts.allows(&uri.parse().unwrap());
                assert_eq!(found, expect, "{entry} {uri}");
            }
        }
    }

    #[test]
    fn scheme_host_and_port_must_agree() {
        check(
            "https://io.catchpoint.com",
            &[
                "https://io.catchpoint.com/ui/api",
                "https://IO.catchpoint.com:443/",
            ],
            &[
                "http://io.catchpoint.com/",
                "https://catchpoint.com/",
                "https://io.catchpoint.com:8443/",
                "https://io.catchpoint.com.evil.example/",
                "/path",
            ],
        );
        check(
            "http://[::1]:2080/",
            &["http://[::1]:2080/v1/lines"],
            &["http://[::1]/", "http://127.0.0.1:2080/"],
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for entry in [
            "io.catchpoint.com",
            "*://io.catchpoint.com",
            "https://*.catchpoint.com",
            "https://*",
            "https://self",
            "http://relay:*",
            "http://relay:8000..8010",
            "http://10.0.0.0/8",
            "http://relay/path",
            "http://relay?x",
            "http://user:password@relay",
            "postgres://db",
            "http://relay:99999",
        ] {
            assert_eq!(Origin::parse(entry), None, "{entry}");
        }
    }
}
