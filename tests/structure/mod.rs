//! The house stays as `docs/architecture.md` draws it: rooms know only rooms below them, and no files of a room go round in a
//! circle.

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::imports::{House, Import};

/// The rooms of the daemon, from the ground up: each may import what stands before it.
const ROOMS: [&str; 25] = [
    "printable",
    "crash",
    "kill_switch",
    "names",
    "custody",
    "clock",
    "audit_log",
    "datadir",
    "crosscheck",
    "product",
    "fixity",
    "storage",
    "telemetry",
    "config",
    "reading",
    "ledger",
    "engine",
    "rules",
    "look",
    "apart",
    "pipeline",
    "reconcile",
    "daemon",
    "cli",
    "main",
];

/// What a look may know of our rules: whose they are and how they stand.
const OF_RULES_FOR_LOOK: [&str; 6] = ["ours", "seen", "sites", "standing", "on_site", "mod"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn crates() -> Vec<(&'static str, House)> {
    [
        ("dl0-ingest", "src"),
        ("fits-verify", "crates/fits-verify/src"),
        ("rucio-client", "crates/rucio-client/src"),
        ("rucio-miniature", "crates/rucio-miniature/src"),
    ]
    .map(|(name, directory)| (name, House::read(&root().join(directory))))
    .into()
}

fn height(room: &str) -> usize {
    ROOMS.iter().position(|known| *known == room).unwrap_or_else(|| panic!("{room} has no place in ROOMS"))
}

#[test]
fn every_room_imports_only_rooms_below_it() {
    let house = House::read(&root().join("src"));
    let upwards: Vec<String> = house
        .imports()
        .filter(|import| height(import.imported_room()) > height(import.importing_room()))
        .map(Import::to_string)
        .collect();
    assert_eq!(upwards, Vec::<String>::new());
}

#[test]
fn a_look_knows_no_more_of_our_rules_than_whose_they_are_and_how_they_stand() {
    let house = House::read(&root().join("src"));
    let too_much: Vec<String> = house
        .imports()
        .filter(|import| import.importing_room() == "look" && import.imported_room() == "rules")
        .filter(|import| !OF_RULES_FOR_LOOK.contains(&import.imported_stem()))
        .map(Import::to_string)
        .collect();
    assert_eq!(too_much, Vec::<String>::new());
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for (name, house) in crates() {
        let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for import in house.imports() {
            arrows.entry(&import.from).or_default().insert(&import.to);
        }
        assert_eq!(circles(&arrows), Vec::<Vec<&str>>::new(), "in {name}");
    }
}

/// Files that reach each other, each group once.
fn circles<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let reached = |from: &'a str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(file) = next.pop() {
            for to in arrows.get(file).into_iter().flatten() {
                if seen.insert(*to) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&str, BTreeSet<&str>> = arrows.keys().map(|file| (*file, reached(file))).collect();
    let mut groups = BTreeSet::new();
    for (file, files) in &reach {
        if files.contains(file) {
            groups.insert(
                files
                    .iter()
                    .filter(|other| reach.get(*other).is_some_and(|back| back.contains(file)))
                    .copied()
                    .collect::<Vec<_>>(),
            );
        }
    }
    groups.into_iter().collect()
}

#[test]
fn a_circle_is_found_however_long() {
    let arrows = |list: &[(&'static str, &'static str)]| {
        let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (from, to) in list {
            arrows.entry(from).or_default().insert(to);
        }
        circles(&arrows)
    };
    assert!(arrows(&[("a", "b"), ("b", "c"), ("a", "c")]).is_empty());
    assert_eq!(arrows(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]), [["a", "b", "c"]]);
    assert_eq!(arrows(&[("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]), [["a", "b"], ["c", "d"]]);
}

#[test]
fn no_file_of_ours_is_longer_than_five_hundred_lines() {
    let long: Vec<String> = crates()
        .iter()
        .flat_map(|(name, house)| house.lengths().map(move |(file, lines)| (format!("{name}: {file}"), lines)))
        .filter(|(_, lines)| *lines > 500)
        .map(|(file, lines)| format!("{file}: {lines}"))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}
