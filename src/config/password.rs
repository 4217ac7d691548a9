//! Where the password for Rucio comes from: a file of the operator's, or a systemd credential.

use std::path::{Path, PathBuf};

use super::types::Auth;

/// Name of the systemd credential that is read when the configuration names no file.
pub const CREDENTIAL: &str = "rucio-password";

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Neither a file nor a credential.
    #[error(
        "there is no password for Rucio: rucio.auth.userpass.password_file is not set, systemd passed no credential \
         '{CREDENTIAL}', and beside the configuration there is no file of that name; write it there (mode 0640, group of the \
         daemon's user), or set password_file"
    )]
    Nowhere,
    /// The file cannot be read.
    #[error("cannot read the password file {}: {source}; it must be readable by the user the daemon runs as", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file holds nothing.
    #[error("the password file {} is empty; write the password into its first line", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Auth {
    /// Reads the password afresh, so that a changed file needs no restart. Its final line break is not part of it.
    ///
    /// The caller wraps it at once into something that cannot be printed.
    pub fn read_password(&self) -> Result<String, PasswordError> {
        let path = self.password_source(std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).as_deref());
        let path = path.ok_or(PasswordError::Nowhere)?;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(PasswordError::Unreadable { path, source }),
        };
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() { Err(PasswordError::Empty { path }) } else { Ok(password.to_owned()) }
    }

    /// The file the password comes from, given systemd's credentials directory. Who may not read the file beside the
    /// configuration is told that, rather than that there is none.
    pub(super) fn password_source(&self, credentials: Option<&Path>) -> Option<PathBuf> {
        let Self::Userpass { password_file, beside, .. } = self;
        let of_systemd = || credentials.map(|directory| directory.join(CREDENTIAL));
        let of_a_shell = || beside.clone().filter(|file| file.symlink_metadata().is_ok());
        password_file.clone().or_else(of_systemd).or_else(of_a_shell)
    }

    /// Remembers where a configuration file lies.
    pub(super) fn look_beside(&mut self, config: &Path) {
        let Self::Userpass { beside, .. } = self;
        *beside = config.parent().map(|directory| directory.join(CREDENTIAL));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn auth(file: Option<PathBuf>) -> Auth {
        Auth::Userpass { username: "ingest".to_owned(), password_file: file, beside: None }
    }

    #[test]
    fn the_line_break_an_editor_leaves_is_not_part_of_the_password() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        for (content, expected) in [("s ecret\n", "s ecret"), ("secret", "secret"), ("a\nb\r\n", "a\nb")] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(auth(Some(file.clone())).read_password().unwrap(), expected);
        }
        std::fs::write(&file, "\n").unwrap();
        assert!(matches!(auth(Some(file)).read_password(), Err(PasswordError::Empty { .. })));
    }

    #[test]
    fn a_file_of_the_operators_wins_over_the_credential() {
        let credentials = Path::new("/run/credentials/x");
        assert_eq!(auth(None).password_source(None), None);
        assert_eq!(auth(None).password_source(Some(credentials)), Some(credentials.join(CREDENTIAL)));
        assert_eq!(auth(Some("/etc/p".into())).password_source(Some(credentials)), Some("/etc/p".into()));
    }

    #[test]
    fn a_shell_finds_the_file_that_the_unit_makes_the_credential_of() {
        let directory = tempfile::tempdir().unwrap();
        let mut auth = auth(None);
        auth.look_beside(&directory.path().join("dl0-ingest.yaml"));
        assert_eq!(auth.password_source(None), None, "there is none");
        let file = directory.path().join(CREDENTIAL);
        std::fs::write(&file, "secret\n").unwrap();
        assert_eq!(auth.password_source(None), Some(file));
        let credentials = Path::new("/run/credentials/x");
        assert_eq!(auth.password_source(Some(credentials)), Some(credentials.join(CREDENTIAL)));
    }
}
