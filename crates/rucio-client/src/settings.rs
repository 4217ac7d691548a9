//! How a client reaches Rucio.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::login::Login;
use crate::observer::ChangeHook;
use crate::retry::Retry;

/// How to reach Rucio. [`Settings::new`] gives what is usual, and each field can be changed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The API, such as `https://rucio.example.org`.
    pub url: Url,
    /// The account to act as.
    pub account: String,
    /// How to log in.
    pub login: Arc<dyn Login>,
    /// PEM file of the only CAs to trust; none: those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Longest time for one exchange, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// Longest time for connecting, TLS included.
    pub connect_timeout: Duration,
    /// Calls under way at once, at least 1.
    pub max_in_flight: usize,
    /// How patiently a failed call is repeated.
    pub retry: Retry,
    /// The name of the application in Rucio's log of logins (`X-Rucio-AppID`).
    pub app_id: String,
    /// `User-Agent` of each request.
    pub user_agent: String,
    /// How the application's users know these settings.
    pub names: SettingNames,
    /// Is told before and after whatever may change something in Rucio.
    pub change_hook: Option<Arc<dyn ChangeHook>>,
}

impl Settings {
    /// A minute for an exchange, ten seconds for connecting, eight calls at once, the CAs of the machine.
    pub fn new(url: Url, account: impl Into<String>, login: impl Login + 'static) -> Self {
        Self {
            url,
            account: account.into(),
            login: Arc::new(login),
            ca_file: None,
            timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(10),
            max_in_flight: 8,
            retry: Retry::default(),
            app_id: "rucio-client".to_owned(),
            user_agent: concat!("rucio-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            names: SettingNames::default(),
            change_hook: None,
        }
    }
}

/// How an application's users know the settings, so that an error names the one to look at: an application that reads
/// them from a section `rucio` of a file says `rucio.url`.
#[derive(Clone, Copy, Debug)]
pub struct SettingNames {
    /// Of [`Settings::url`].
    pub url: &'static str,
    /// Of [`Settings::account`].
    pub account: &'static str,
    /// Of [`Settings::login`].
    pub login: &'static str,
    /// Of [`Settings::ca_file`].
    pub ca_file: &'static str,
}

impl Default for SettingNames {
    fn default() -> Self {
        Self { url: "url", account: "account", login: "login", ca_file: "ca_file" }
    }
}
