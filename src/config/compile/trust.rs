//! `trusted_proxies`: whose word about the client counts.
//!
//! Whoever is trusted can claim any client address, so that a list which covers everybody is refused, in one
//! network or in several. Peers are compared in their canonical form: a network of IPv4 addresses written as IPv6
//! ones (`::ffff:10.0.0.0/104`) is kept as the IPv4 network that it means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::config::codes;
use crate::config::places::At;
use crate::config::report::Problem;
use crate::request::TrustedProxies;

/// Shorter is an eighth of all addresses, or more.
const SHORTEST_PREFIX: u8 = 3;
/// What an IPv4 peer on the Internet can have as its address.
const UNICAST_V4: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(1, 0, 0, 0), Ipv4Addr::new(223, 255, 255, 255));
/// 2000::/3, the same of IPv6.
const UNICAST_V6: (Ipv6Addr, Ipv6Addr) = (
    Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0),
    Ipv6Addr::new(0x3fff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff),
);

pub(super) fn compile(raw: Option<Vec<String>>, root: At<'_>, problems: &mut Vec<Problem>) -> TrustedProxies {
    let at = root.key("trusted_proxies");
    let help = "name the networks of the proxies in front: whoever is trusted can claim any client address";
    let mut trusted = TrustedProxies::default();
    for (index, text) in raw.unwrap_or_default().into_iter().enumerate() {
        let at = at.item(index);
        if text == "unix" {
            trusted.unix = true;
            continue;
        }
        let Some(network) = network(&text) else {
            problems.push(
                Problem::at(codes::BAD_NETWORK, at, "this is neither a network nor `unix`")
                    .help("write a CIDR, as in 10.0.0.0/8 or fd00::/8"),
            );
            continue;
        };
        match network.prefix_len() {
            0 => problems.push(Problem::at(codes::BAD_NETWORK, at, "this network trusts everybody").help(help)),
            1..SHORTEST_PREFIX => {
                let message = "this network is too large: a prefix has at least 3 bits";
                problems.push(Problem::at(codes::BAD_NETWORK, at, message).help(help));
            }
            _ => trusted.networks.push(network),
        }
    }
    if is_everybody(&trusted.networks) {
        let message = "together these networks trust everybody";
        problems.push(Problem::at_span(codes::BAD_NETWORK, at.source, at.key_span(), message).help(help));
    }
    trusted
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    let mapped = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    let network = match mapped {
        Some((address, prefix)) => IpNet::V4(Ipv4Net::new(address, prefix).ok()?),
        None => network,
    };
    Some(network.trunc())
}

fn is_everybody(networks: &[IpNet]) -> bool {
    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    for network in networks {
        match network {
            IpNet::V4(net) => v4.push((net.network().to_bits().into(), net.broadcast().to_bits().into())),
            IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
        }
    }
    let (first, last) = UNICAST_V4;
    let all_v4 = covers(v4, first.to_bits().into(), last.to_bits().into());
    let (first, last) = UNICAST_V6;
    all_v4 || covers(v6, first.to_bits(), last.to_bits())
}

/// Whether the ranges leave nothing out from `first` to `last`.
fn covers(mut ranges: Vec<(u128, u128)>, first: u128, last: u128) -> bool {
    ranges.sort_unstable();
    let mut next = first;
    for (start, end) in ranges {
        if start > next {
            return false;
        }
        next = next.max(end.saturating_add(1));
        if next > last {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{is_everybody, network};

    #[test]
    fn networks_are_canonical() {
        let table = [
            ("10.1.2.3", Some("10.1.2.3/32")),
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("fd00::1/8", Some("fd00::/8")),
            ("::ffff:10.1.2.3", Some("10.1.2.3/32")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("::ffff:0.0.0.0/96", Some("0.0.0.0/0")),
            ("::ffff:0.0.0.0/95", Some("::fffe:0:0/95")),
            ("proxies", None),
            ("10.0.0.0/33", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(network(text).map(|net| net.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn everybody_in_pieces() {
        let table: [(&[&str], bool); 9] = [
            (&[], false),
            (&["10.0.0.0/8", "fd00::/8"], false),
            (&["0.0.0.0/1", "128.0.0.0/1"], true),
            (&["128.0.0.0/2", "0.0.0.0/1", "192.0.0.0/3"], true),
            (&["0.0.0.0/1", "128.0.0.0/2"], false),
            (&["2000::/3"], true),
            (&["2000::/4", "3000::/4"], true),
            (&["2000::/4"], false),
            (&["::ffff:0.0.0.0/97", "::ffff:128.0.0.0/97"], true),
        ];
        for (texts, expected) in table {
            let networks: Vec<_> = texts.iter().filter_map(|text| network(text)).collect();
            assert_eq!(is_everybody(&networks), expected, "{texts:?}");
        }
    }
}
