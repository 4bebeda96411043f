//! Whom a caller's address stands for.

use std::{fmt, net::IpAddr};

/// Who is counted as one: an IPv4 address, or an IPv6 network of 64 bits, which is the least that
/// one customer is given, so every address in it is his.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// An address.
    V4(u32),
    /// The first 64 bits of one.
    V6(u64),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        // An IPv4 caller on a socket for both looks like ::ffff:192.0.2.1.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4(bits) => std::net::Ipv4Addr::from_bits(bits).fmt(f),
            Self::V6(bits) => {
                write!(f, "{}/64", std::net::Ipv6Addr::from_bits(u128::from(bits) << 64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customer_is_one_source() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(source("2001:db8:1:2::3"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::3"), source("2001:db8:1:3::3"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(source("2001:db8:1:2::3").to_string(), "2001:db8:1:2::/64");
    }
}
