//! Whether a storage that says that it has no such file is to be believed.
//!
//! One whose disk is not mounted says so of every file. So it is asked for something that it is known to have, before and after
//! the file is asked for once more: another file, or else the directory in which the file lies.

use crate::engine::Context;

/// Whether the storage has what it is known to have, and not this file.
pub(super) async fn is_true(context: &Context, rse: &str, pfn: &str) -> bool {
    let known = context.memory.denials.known(rse);
    let directory = directory_of(pfn);
    for witness in known.iter().chain(&directory).filter(|witness| *witness != pfn) {
        if is_there(context, witness).await == Some(true)
            && is_there(context, pfn).await == Some(false)
            && is_there(context, witness).await == Some(true)
        {
            context.memory.denials.is_mounted(rse);
            return true;
        }
    }
    context.memory.denials.denies(rse);
    false
}

/// `None`: it was not said.
async fn is_there(context: &Context, pfn: &str) -> Option<bool> {
    context.storage.is_there(pfn).await.ok()
}

/// The directory of a physical name, if it has one below the root.
fn directory_of(pfn: &str) -> Option<String> {
    let (scheme, rest) = pfn.split_once("://")?;
    let path = rest.split(['?', '#']).next()?;
    let (directory, _) = path.rsplit_once('/')?;
    directory.trim_end_matches('/').contains('/').then(|| format!("{scheme}://{}/", directory.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lies_in_a_directory_unless_it_lies_at_the_root() {
        for (pfn, directory) in [
            ("davs://a.example:1094//dl0/x/a.fits", Some("davs://a.example:1094//dl0/x/")),
            ("davs://a.example/dl0/a.fits?signature=x/y", Some("davs://a.example/dl0/")),
            ("davs://a.example/a.fits", None),
            ("davs://a.example//a.fits", None),
        ] {
            assert_eq!(directory_of(pfn).as_deref(), directory, "{pfn}");
        }
    }
}
