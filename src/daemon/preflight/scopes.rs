//! Scopes that the directories of the tree ask for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::config::Config;
use rucio_client::{Client, Error};

/// Those that Rucio does not know. A tree that cannot be read, or is empty yet, asks for none.
pub(super) async fn missing(rucio: &Client, config: &Config) -> Result<Vec<String>, Error> {
    let wanted = wanted(&config.data_path.join(&config.vo));
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let known = rucio.scopes().await?;
    let account = &config.rucio.account;
    let words = |scope: &String| {
        format!(
            "the scope '{scope}' does not exist in Rucio: files below /{}/{} are verified and then wait; add it \
             (rucio scope add {scope} --account {account})",
            config.vo,
            scope.replace('.', "/")
        )
    };
    Ok(wanted.difference(&known).map(words).collect())
}

/// `/<vo>/<scope>/…`, and `/<vo>/user/<name>/…` with the scope `user.<name>`.
fn wanted(top: &Path) -> BTreeSet<String> {
    let directories = |path: &Path| -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let mut scopes = BTreeSet::new();
    for name in directories(top) {
        if name == "user" {
            scopes.extend(directories(&top.join(name)).into_iter().map(|user| format!("user.{user}")));
        } else {
            scopes.insert(name);
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directories_are_scopes_and_those_of_users_have_a_prefix() {
        let root = tempfile::tempdir().unwrap();
        for path in ["acada/DL0", "user/jane/x", "empty"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        fs::write(root.path().join("a file"), "").unwrap();
        assert_eq!(wanted(root.path()).into_iter().collect::<Vec<_>>(), ["acada", "empty", "user.jane"]);
        assert!(wanted(&root.path().join("nowhere")).is_empty());
    }
}
