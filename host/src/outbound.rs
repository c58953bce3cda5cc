//! Where a component may send requests: `allowed_outbound_hosts`, with Spin's rules.
//!
//! An entry is `scheme://host[:port]`. Scheme: a name or `*`. Host: a name, `*`, `*.` and a domain
//! (its subdomains, not itself), an IP address (IPv6 in brackets), a network such as `10.0.0.0/8`,
//! or `self`, which allows no absolute URL. Port: a number, `*`, a range `8000..8010` whose end is
//! out, or none for the one that the scheme is known for.
//!
//! Hosts are compared as written, but for the case and the spellings of an IP address. Spin also
//! reads forms such as `0x7f.1` as addresses; here they are names, and match no address.

use crate::manifest::HostEntry;
use crate::variables::Variables;
use http::Uri;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use thiserror::Error;

/// All entries of a component.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts {
    entries: Vec<AllowedHost>,
}

/// One entry, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    /// None for any.
    scheme: Option<String>,
    host: Host,
    /// The end is in.
    ports: (u16, u16),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    /// Nothing but requests without an authority, which this host never lets out.
    Own,
    /// With its leading dot.
    Below(String),
    Name(String),
    Network {
        address: IpAddr,
        bits: u8,
    },
}

/// An entry that is none.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{entry}` is no outbound host: {reason}; write `scheme://host[:port]`")]
pub struct HostError {
    entry: String,
    reason: String,
}

/// An entry that is none once its variables have their values.
#[derive(Debug, Error)]
#[error(
    "line {line} of the manifest: `{template}` in `allowed_outbound_hosts` becomes {becomes}; \
     write `scheme://host[:port]` into {variables}"
)]
pub struct ExpandedHostError {
    line: usize,
    template: String,
    becomes: String,
    variables: String,
}

impl AllowedHosts {
    /// Puts the values of variables into the entries and parses them. An entry that becomes empty
    /// is left out, as in Spin: so a variable can be the address of something optional.
    pub fn resolve(
        entries: &[HostEntry],
        variables: &Variables,
    ) -> Result<Self, ExpandedHostError> {
        let mut allowed = Vec::new();
        for entry in entries {
            let refused = |becomes: String| ExpandedHostError {
                line: entry.line,
                template: entry.text.clone(),
                becomes,
                variables: entry
                    .template
                    .variables()
                    .map(crate::variables::environment_name)
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            let text = variables
                .render(&entry.template)
                .map_err(|name| refused(format!("nothing: `{name}` is not declared")))?;
            if matches!(text.as_str(), "" | "http://" | "https://") {
                continue;
            }
            let parsed = AllowedHost::parse(&text).map_err(|error| {
                // The reason quotes the value as well. Before an `@` there may be a password.
                refused(
                    if variables.is_secret(&entry.template) || text.contains('@') {
                        "something else, which is secret".to_owned()
                    } else {
                        format!("`{text}`: {}", error.reason)
                    },
                )
            })?;
            allowed.push(parsed);
        }
        Ok(Self { entries: allowed })
    }

    /// Whether a request to `uri` may go out.
    pub fn allows(&self, uri: &Uri) -> bool {
        self.entries.iter().any(|entry| entry.allows(uri))
    }
}

impl AllowedHost {
    /// Parses an entry without variables.
    pub fn parse(entry: &str) -> Result<Self, HostError> {
        Self::parts(entry.trim()).map_err(|reason| HostError {
            entry: entry.to_owned(),
            reason,
        })
    }

    fn parts(entry: &str) -> Result<Self, String> {
        let (scheme, rest) = entry
            .split_once("://")
            .ok_or("it has no scheme, such as `https://`")?;
        let letters = scheme.chars().all(|c| c.is_ascii_alphabetic());
        if scheme != "*" && (scheme.is_empty() || !letters) {
            return Err(format!("`{scheme}` is no scheme"));
        }
        // A network or an IPv6 address may stand alone; in them `/` and `:` mean something else.
        if let Some(host) = Host::network(rest) {
            let ports = default_ports(scheme)?;
            return Ok(Self::new(scheme, host, ports));
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Some((_, path)) = authority.split_once('/')
            && Host::network(authority.rsplit_once(':').map_or("", |(host, _)| host)).is_none()
        {
            return Err(format!("it has a path, `/{path}`"));
        }
        let colon = authority.rfind(':').filter(|_| !authority.ends_with(']'));
        let (host, port) = match colon.and_then(|at| authority.split_at_checked(at)) {
            Some((host, port)) => (host, port.trim_start_matches(':')),
            None => (authority, ""),
        };
        let ports = match port {
            "" => default_ports(scheme)?,
            "*" => (0, u16::MAX),
            port => parse_ports(port)?,
        };
        Ok(Self::new(scheme, Host::parse(host)?, ports))
    }

    fn new(scheme: &str, host: Host, ports: (u16, u16)) -> Self {
        Self {
            scheme: (scheme != "*").then(|| scheme.to_owned()),
            host,
            ports,
        }
    }

    fn allows(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return false;
        };
        let Some(port) = uri.port_u16().or_else(|| known_port(scheme)) else {
            return false;
        };
        self.scheme.as_deref().is_none_or(|own| own == scheme)
            && self.host.allows(host)
            && (self.ports.0..=self.ports.1).contains(&port)
    }
}

impl Host {
    fn parse(host: &str) -> Result<Self, String> {
        if let Some(network) = Self::network(host) {
            return Ok(network);
        }
        match host {
            "*" => return Ok(Self::Any),
            "self" | "self.alt" => return Ok(Self::Own),
            _ => {}
        }
        let (below, name) = match host.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, host),
        };
        if name.contains('*') {
            return Err("`*` stands alone or in front, as in `*.example.com`".into());
        }
        let legal = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(legal) {
            return Err(format!("`{host}` is no host name"));
        }
        let name = name.to_ascii_lowercase();
        Ok(if below {
            Self::Below(format!(".{name}"))
        } else {
            Self::Name(name)
        })
    }

    /// An address or a network; bits of the address below the mask do not matter.
    fn network(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            // As in Spin, a network is written without brackets.
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse().ok()?)),
            None => (parse_address(text)?, None),
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self::Network { address, bits })
    }

    fn allows(&self, host: &str) -> bool {
        let address = parse_address(host);
        match self {
            Self::Any => true,
            Self::Own => false,
            Self::Below(suffix) => address.is_none() && host.to_ascii_lowercase().ends_with(suffix),
            Self::Name(name) => host.eq_ignore_ascii_case(name),
            Self::Network { address: net, bits } => {
                address.is_some_and(|address| same_network(address, *net, *bits))
            }
        }
    }
}

/// An IPv4 address, or an IPv6 one with or without its brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

fn same_network(a: IpAddr, b: IpAddr, bits: u8) -> bool {
    let (a, b, width) = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let below = u32::from(width - bits);
    // A shift by the full width overflows: a network of no bits holds everything.
    (a ^ b).checked_shr(below).unwrap_or(0) == 0
}

fn parse_ports(port: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| format!("`{port}` is no port (0 to 65535, `*`, or `8000..8010`)"))
    };
    let Some((from, to)) = port.split_once("..") else {
        let port = number(port)?;
        return Ok((port, port));
    };
    let Range { start, end } = number(from)?..number(to)?;
    match end.checked_sub(1) {
        Some(last) if start <= last => Ok((start, last)),
        _ => Err(format!("the range `{port}` is empty; its end is out")),
    }
}

fn default_ports(scheme: &str) -> Result<(u16, u16), String> {
    let port = known_port(scheme)
        .ok_or_else(|| format!("the scheme `{scheme}` has no port of its own; add one, or `:*`"))?;
    Ok((port, port))
}

fn known_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "postgres" => Some(5432),
        "mysql" => Some(3306),
        "redis" => Some(6379),
        "mqtt" => Some(1883),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
