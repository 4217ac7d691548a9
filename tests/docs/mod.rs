//! What the documents promise to name, they name.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use dl0_ingest::custody::HoldCode;
use dl0_ingest::fixity::findings::entries;
use fits_verify::findings::Severity;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let reasons = read("docs/dependencies.md");
    let mut inside = false;
    let mut missing = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (inside, line.split_once(" = ")) {
            let name = name.trim_end_matches(".workspace");
            if !reasons.contains(&format!("`{name}`")) {
                missing.push(name.to_owned());
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new(), "without a line in docs/dependencies.md");
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "tests/testbed/README.md"]
        .map(|it| root.join(it))
        .to_vec();
    let pages = walkdir::WalkDir::new(root.join("docs")).into_iter().map(|entry| entry.unwrap().into_path());
    documents.extend(pages.filter(|path| path.is_file()));
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for part in text.split("](").skip(1) {
            let target = part.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                let path = document.parent().unwrap().join(target);
                assert!(path.exists(), "{} links to {target}", document.display());
            }
        }
    }
}

#[test]
fn the_codes_of_the_audit_are_those_in_the_code() {
    let page = read("docs/operations.md");
    let table = page.split("| code | what was found |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| `"));
    let told: Vec<&str> = rows.map(|line| line.split('`').nth(1).unwrap()).collect();
    let codes: Vec<&str> = dl0_ingest::reconcile::Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(told, codes);
}

#[test]
fn the_reasons_to_hold_a_file_are_those_in_the_code_with_their_remedies() {
    let page = read("docs/operations.md");
    let table = page.split("| code | the file is held because | do |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| `"));
    let told: Vec<(&str, &str)> = rows
        .map(|line| (line.split('`').nth(1).unwrap(), line.trim_end_matches(" |").rsplit(" | ").next().unwrap()))
        .collect();
    let codes: Vec<(&str, &str)> = HoldCode::ALL.iter().map(|code| (code.as_str(), code.remedy())).collect();
    assert_eq!(told, codes);
}

#[test]
fn the_page_of_findings_is_the_table_in_the_code() {
    let page = read("docs/findings.md");
    let rows = |severity| {
        let entries = entries().filter(move |entry| entry.severity == severity);
        entries.map(|entry| format!("| `{}` | {} | {} |", entry.code, entry.section.unwrap_or("—"), entry.meaning))
    };
    let expected: Vec<String> = rows(Severity::Rejection).chain(rows(Severity::Warning)).collect();
    let found: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(found, expected, "docs/findings.md must hold these rows:\n{}", expected.join("\n"));
}

#[test]
fn the_standard_rule_by_rule_names_every_code_of_the_judge_and_no_other() {
    let page = read("docs/integrity.md");
    let table = page.split("| section | rule | judged by |").nth(1).unwrap();
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    let mut named = BTreeSet::new();
    for row in &rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 3, "{row}");
        let codes: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        assert!(!codes.is_empty() || cells[2].contains("not judged") || cells[2].starts_with("as "), "{row}");
        named.extend(codes);
    }
    let known: BTreeSet<&str> = fits_verify::findings::TABLE.iter().map(|entry| entry.code).collect();
    assert_eq!(named, known);
}

#[test]
fn every_code_in_use_is_in_the_table_of_findings_and_the_other_way_round() {
    let tables = "findings.rs";
    let mut sources = String::new();
    let mut directories: Vec<_> =
        ["crates/fits-verify/src", "src/fixity"].map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if !path.ends_with(tables) {
                sources.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    // the code is the first argument, perhaps on the next line
    let packed: String = sources.split_whitespace().collect();
    for call in ["Problem::new(\"", "problem(\"", ".reject(\"", ".warn(\"", "code:\""] {
        for rest in packed.split(call).skip(1) {
            let code = rest.split('"').next().unwrap();
            assert!(entries().any(|entry| entry.code == code), "{code:?} is in no {tables}");
        }
    }
    for entry in entries() {
        assert!(sources.contains(&format!("\"{}\"", entry.code)), "nothing finds {:?}", entry.code);
    }
}

/// The functions of `custody/invariants/` that production calls are called in each file that the table names.
#[test]
fn every_invariant_is_asked_where_the_table_says() {
    let page = read("docs/reliability.md");
    let table = page.split("| | invariant | the function |").nth(1).unwrap();
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let sources: Vec<_> = walkdir::WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| !path.ends_with("custody/invariants/mod.rs"))
        .collect();
    // without the tests, which come last, and without comments
    let code = |file: &str| {
        let found = sources.iter().filter(|path| path.ends_with(file)).map(|path| fs::read_to_string(path).unwrap());
        let text: String = found.map(|text| text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned()).collect();
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<String>()
    };
    let mut asked = 0;
    for row in table.lines().skip(2).take_while(|line| line.starts_with("| I")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let functions: Vec<String> = quoted(cells[2]).into_iter().filter(|name| name != "world").collect();
        let files: Vec<String> = quoted(cells[3])
            .into_iter()
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "rs"))
            .collect();
        let calls = |file: &String, function: &String| code(file).contains(&format!("{function}("));
        for file in &files {
            assert!(functions.iter().any(|function| calls(file, function)), "{file} asks none of {functions:?}");
        }
        for function in functions.iter().filter(|_| !files.is_empty()) {
            assert!(files.iter().any(|file| calls(file, function)), "none of {files:?} asks {function}");
            asked += 1;
        }
    }
    assert!(asked >= 8);
}

/// Names of tests stand between backticks and have at least three underscores.
fn names_of_tests(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_name = |name: &&str| {
        name.matches('_').count() >= 3 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    quoted.filter(is_name).filter(|name| !name.starts_with("dl0_ingest_")).collect()
}

#[test]
fn every_fault_in_the_tables_has_a_test() {
    let page = read("docs/reliability.md");
    let mut rows = 0;
    for section in page.split("\n## ").filter(|section| section.starts_with("Faults: ")) {
        let table = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        for row in table.take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
            assert_eq!(cells.len(), 5, "{row}");
            assert!(!names_of_tests(cells[4]).is_empty(), "no test in this row: {row}");
            rows += 1;
        }
    }
    assert!(rows > 0);
}

#[test]
fn every_test_that_a_document_names_exists() {
    let sources: String = ["src", "tests", "crates"]
        .into_iter()
        .flat_map(|directory| walkdir::WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)))
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for document in ["docs/threat-model.md", "docs/reliability.md"] {
        let text = read(document);
        let names = names_of_tests(&text);
        assert!(!names.is_empty(), "{document}");
        for name in names {
            assert!(sources.contains(&format!("fn {name}(")), "{document} names {name}, which is no test");
        }
    }
}
