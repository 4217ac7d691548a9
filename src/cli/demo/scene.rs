//! The scene of the demo: one directory with the interface directory, two data centres, a configuration and the log.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use rucio_miniature::{Options, Pace};

/// Places below the directory.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) directory: PathBuf,
}

/// The two data centres: RSE, site, directory.
pub(super) const SITES: [(&str, &str); 2] = [("STORAGE-2", "PIC"), ("STORAGE-3", "CSCS")];

impl Scene {
    /// A directory that is new or empty: a demo must not mix with anything.
    pub(super) fn set(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        if fs::read_dir(directory)?.next().is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is not empty; name a new directory"));
        }
        let scene = Self { directory: directory.canonicalize()? };
        // ACADA's directory must be there: without it the daemon takes the mount for missing
        fs::create_dir_all(scene.interface().join("ctao/acada"))?;
        fs::create_dir(scene.state())?;
        fs::write(scene.password(), "ingestpw\n")?;
        fs::set_permissions(scene.password(), fs::Permissions::from_mode(0o600))?;
        Ok(scene)
    }

    /// Where files are delivered; the storage of the on-site RSE.
    pub(super) fn interface(&self) -> PathBuf {
        self.directory.join("onsite")
    }

    /// The storage of a data centre.
    pub(super) fn site(&self, rse: &str) -> PathBuf {
        let known = SITES.iter().find(|(name, _)| *name == rse);
        self.directory.join(known.map_or(rse, |(_, site)| site).to_lowercase())
    }

    pub(super) fn config(&self) -> PathBuf {
        self.directory.join("dl0-ingest.yaml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("dl0-ingest.log")
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    fn password(&self) -> PathBuf {
        self.directory.join("rucio-password")
    }

    /// The miniature Rucio on this scene, slow enough to be watched.
    pub(super) fn embedded(&self) -> Options {
        let mut options = Options::new(&self.directory);
        for rse in &mut options.rses {
            rse.directory = if rse.name == "STORAGE-1" { self.interface() } else { self.site(&rse.name) };
        }
        options.pace = Pace {
            judge: Duration::from_millis(200),
            conveyor: Duration::from_millis(400),
            reaper: Duration::from_millis(400),
            ..Pace::default()
        };
        options
    }

    /// Writes the configuration: the daemon's own, but for its haste and for `deletion: on`.
    pub(super) fn write_config(&self, rucio: &Url) -> io::Result<()> {
        let text = format!(
            "# Configuration of the demo. The haste is for watching; real sites keep the defaults.\n\
             data_path: {data}\n\
             state_dir: {state}\n\
             onsite_rse: STORAGE-1\n\
             offsite: {{expression: OFFSITE}}\n\
             rucio:\n  url: {rucio}\n  account: ingest\n  auth:\n    userpass:\n      password_file: {password}\n\
             replicate: {{poll: 200ms, poll_max: 1s}}\n\
             confirm: {{hold: 1s, poll: 200ms, poll_max: 1s}}\n\
             release: {{deletion: on, poll: 200ms, poll_max: 1s}}\n\
             http: {{listen: null}}\n\
             log: {{level: info}}\n",
            data = yaml(&self.interface()),
            state = yaml(&self.state()),
            password = yaml(&self.password()),
        );
        fs::write(self.config(), text)
    }
}

/// A path as a YAML string: JSON's quoting is valid YAML.
fn yaml(path: &Path) -> String {
    serde_json::Value::from(path.display().to_string()).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Config, Deletion};

    #[test]
    fn the_configuration_is_one_the_daemon_accepts() {
        let directory = tempfile::tempdir().unwrap();
        let scene = Scene::set(&directory.path().join("a 'strange': place")).unwrap();
        scene.write_config(&"http://127.0.0.1:4711/".parse().unwrap()).unwrap();
        let config = Config::load(&scene.config()).unwrap().config;
        assert_eq!(config.release.deletion, Deletion::On);
        assert_eq!(config.data_path, scene.interface());
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("precious"), "").unwrap();
        assert_eq!(Scene::set(directory.path()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
