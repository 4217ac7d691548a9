//! What a running daemon says of itself, at its HTTP endpoint.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::config::Config;
use crate::telemetry::http::Status;

/// A daemon that works answers at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// How a daemon stands, by its own words.
pub(super) enum Said {
    /// It answers.
    Status(Box<Status>),
    /// It does not listen anywhere.
    NotAsked,
    /// It does not answer, and why.
    Silent(String),
}

/// Asks the daemon that this configuration is for.
pub(super) async fn ask(config: &Config) -> Said {
    let Some(listens) = config.http.listen else { return Said::NotAsked };
    let address = reachable(listens);
    match get(address).await {
        Ok(status) => Said::Status(Box::new(status)),
        Err(error) => Said::Silent(format!("http://{address}/status does not answer: {error}")),
    }
}

/// Where somebody on this machine reaches a daemon that listens everywhere.
fn reachable(listens: SocketAddr) -> SocketAddr {
    let here = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(here, listens.port())
}

async fn get(address: SocketAddr) -> Result<Status, String> {
    use rucio_client::trust::{config_without_trust, root_cause};
    let trust = config_without_trust().map_err(|error| error.to_string())?;
    let http = reqwest::Client::builder().tls_backend_preconfigured(trust).no_proxy().timeout(PATIENCE).build();
    let answer = async { http?.get(format!("http://{address}/status")).send().await?.error_for_status()?.json().await };
    answer.await.map_err(|error| root_cause(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_listens_everywhere_is_asked_here() {
        for (listens, asked) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("192.0.2.7:80", "192.0.2.7:80"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
