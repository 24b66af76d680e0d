//! Binds a TCP port, for every edge that listens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

/// Binds a port. `[::]` means every address of the machine, as in Go: on a kernel without IPv6 every address of IPv4 is bound
/// instead.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) => match without_ipv6(address, &error) {
            Some(instead) => {
                tracing::info!("There is no IPv6 on this machine: listening on {instead} instead of {address}");
                TcpListener::bind(instead).await
            }
            None => Err(error),
        },
        bound => bound,
    }
}

/// The address to bind instead if the error means that there is no IPv6: `EAFNOSUPPORT` when the kernel was built or started
/// without it (`ipv6.disable=1`), `EADDRNOTAVAIL` when a container's network has none.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let every = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let absent = error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    (every && absent).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_one_of_ipv4_where_there_is_no_ipv6_and_no_other_address_or_error_is_touched() {
        let absent = io::Error::from_raw_os_error(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
        let unavailable = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let in_use = io::Error::from(io::ErrorKind::AddrInUse);
        for (address, error, expected) in [
            ("[::]:5000", &absent, Some("0.0.0.0:5000")),
            ("[::]:9001", &unavailable, Some("0.0.0.0:9001")),
            ("[::]:5000", &in_use, None),
            ("[::1]:5000", &absent, None),
            ("[fd00::1]:5000", &unavailable, None),
            ("10.0.0.1:5000", &unavailable, None),
            ("0.0.0.0:5000", &absent, None),
        ] {
            let instead = without_ipv6(address.parse().unwrap(), error).map(|address| address.to_string());
            assert_eq!(instead.as_deref(), expected, "{address}: {error}");
        }
    }

    #[tokio::test]
    async fn a_port_that_is_in_use_stays_an_error() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = bind(first.local_addr().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
