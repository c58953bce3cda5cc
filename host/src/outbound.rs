//! Where the component may send requests: the entries of `allowed_outbound_hosts`, each a scheme, a
//! host and a port.

use crate::error::{Error, Result};
use crate::origin::Origin;
use crate::variables::{Template, Variables, environment_name};

/// The variable that holds the relay's address. Requests there go on while a run is being stopped,
/// so that lines in hand are delivered.
const RELAY: &str = "relay_url";

/// What an entry must be.
const FORM: &str = "`http://host:port` or `https://host:port`. Other forms are not supported by this \
                    runner; use `spin up`";

/// All entries of the component: the address, and how it stands in the manifest.
#[derive(Debug, Clone, Default)]
pub(crate) struct AllowedHosts(Vec<(Origin, Template)>);

impl AllowedHosts {
    /// Puts the values of variables into the entries and parses them.
    ///
    /// # Errors
    /// An entry is empty (Spin then allows nothing at all), or is not `scheme://host[:port]`.
    pub fn resolve(templates: &[Template], variables: &Variables) -> Result<Self> {
        let entry = |template: &Template| {
            let text = variables.render(template).trim();
            if let Some(origin) = parse(text) {
                return Ok((origin, template.clone()));
            }
            let name = template.variable().unwrap_or("");
            let set = match template {
                Template::Literal(_) => "write".to_owned(),
                Template::Variable(name) => format!("set {} to", environment_name(name)),
            };
            Err(Error::Usage(match text {
                "" | "http://" | "https://" => format!(
                    "allowed_outbound_hosts: {template} is empty; {set} an address, or unset it for \
                     its default"
                ),
                // Before an `@` there may be a password.
                _ if variables.is_secret(name) || text.contains('@') => {
                    format!("allowed_outbound_hosts: {template} is not an address; {set} {FORM}")
                }
                _ => format!("allowed_outbound_hosts: {template} is `{text}`; {set} {FORM}"),
            }))
        };
        Ok(Self(templates.iter().map(entry).collect::<Result<_>>()?))
    }

    /// Whether a request there may go out.
    pub fn allows(&self, origin: &Origin) -> bool {
        self.0.iter().any(|(allowed, _)| allowed == origin)
    }

    /// Whether it is the relay's.
    pub fn is_relay(&self, origin: &Origin) -> bool {
        let relay = |template: &Template| template.variable() == Some(RELAY);
        let mut entries = self.0.iter();
        entries.any(|(allowed, template)| allowed == origin && relay(template))
    }

    /// The entries, for a message: `https://io.catchpoint.com (SPIN_VARIABLE_CATCHPOINT_HOST)`.
    pub fn describe(&self) -> String {
        let shown = |(origin, template): &(Origin, Template)| match template.variable() {
            Some(name) => format!("{origin} ({})", environment_name(name)),
            None => origin.to_string(),
        };
        let entries: Vec<String> = self.0.iter().map(shown).collect();
        entries.join(", ")
    }
}

/// Parses an entry; a slash at the end is allowed, anything else behind the port is not. Wildcards,
/// ranges of ports, networks and user names are Spin's or nobody's.
fn parse(text: &str) -> Option<Origin> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (_, authority) = text.split_once("://")?;
    let origin = Origin::of(&text.parse().ok()?)?;
    let is_whole = [&origin.host, &origin.address()].contains(&&authority.to_ascii_lowercase());
    (is_whole && !origin.host.contains('*') && origin.host != "self").then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::{AllowedHosts, Origin, parse};
    use crate::variables::{Template, Variables};

    #[test]
    fn scheme_host_and_port_must_agree() {
        let entries = ["https://io.catchpoint.com", "http://[::1]:2080/"];
        let entries = entries.map(|entry| Template::Literal(entry.to_owned()));
        let hosts = AllowedHosts::resolve(&entries, &Variables::default()).unwrap();
        for (uri, expect) in [
            ("https://io.catchpoint.com/ui/api", true),
            ("https://IO.catchpoint.com:443/", true),
            ("http://[::1]:2080/v1/lines", true),
            ("http://io.catchpoint.com/", false),
            ("https://catchpoint.com/", false),
            ("https://io.catchpoint.com:8443/", false),
            ("https://io.catchpoint.com.evil.example/", false),
            ("http://[::1]/", false),
            ("http://127.0.0.1:2080/", false),
            ("/path", false),
        ] {
            let origin = Origin::of(&uri.parse().unwrap());
            let found = origin.is_some_and(|origin| hosts.allows(&origin));
            assert_eq!(found, expect, "{uri}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for entry in [
            "io.catchpoint.com",
            "*://io.catchpoint.com",
            "https://*.catchpoint.com",
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
            assert_eq!(parse(entry), None, "{entry}");
        }
    }
}
