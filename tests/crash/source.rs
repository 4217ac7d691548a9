//! What the source can do to Rucio, to the ledger and to the disk: read from its text, so that nobody has to keep a list.
//!
//! Not a parser. It knows functions, calls and literals, follows a name through the parameters that it is handed on by, and
//! gives up loudly where it does not understand how a point gets its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Where the source lies, and the room that it is: the daemon's own rooms, and the client of Rucio.
const ROOTS: &[(&str, &str)] = &[("src", ""), ("crates/rucio-client/src", "rucio")];
/// What is no part of the daemon, below `src/`: the points themselves, and the demo.
const ELSEWHERE: &[&str] = &["crash/", "crash.rs", "cli/demo"];
/// What a call to the system or to the library looks like that changes something on disk.
const DISK_CHANGES: &[&str] = &[
    "unlinkat(",
    "renameat_with(",
    "linkat(",
    "symlinkat(",
    "mkdirat(",
    "remove_file(",
    "fs::rename(",
    "fs::write(",
    "create_dir(",
    "create_dir_all(",
    "File::create(",
    "options.create(",
    "create(true)",
    "create_new(true)",
    "OFlags::CREATE",
    ".set_len(",
    "ftruncate(",
];

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// `room.effect.before` or `room.effect.after`, and the files that name it.
    pub(crate) points: BTreeMap<String, BTreeSet<String>>,
    /// `file: function` of what changes the disk or the ledger and passes no point.
    pub(crate) unseen: BTreeSet<String>,
    /// Places where a point gets its name in a way that is not understood.
    pub(crate) unclear: Vec<String>,
}

/// One file, without its tests.
struct File {
    /// Below `src/`, or below `rucio/` in the client of Rucio.
    name: String,
    text: String,
    /// The text with nothing in its comments and literals, at the same places.
    bare: String,
    functions: Vec<Function>,
}

struct Function {
    name: String,
    /// Without `self`.
    parameters: Vec<String>,
    body: Range<usize>,
}

/// A function that is handed the name of an effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Carrier {
    function: String,
    /// Which of its arguments is the name, or the state that is the name.
    argument: usize,
    room: &'static str,
    of_state: bool,
}

const BOTH: &[&str] = &["before", "after"];

impl Source {
    /// All that the daemon is built from and that can change something.
    pub(crate) fn read() -> Self {
        let mut files = Vec::new();
        for (root, room) in ROOTS {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
            for entry in walkdir::WalkDir::new(&root).sort_by_file_name() {
                let path = entry.unwrap().into_path();
                let name = Path::new(room).join(path.strip_prefix(&root).unwrap()).display().to_string();
                let is_test = name.ends_with("tests.rs") || name.contains("tests/");
                let is_rust = path.extension().is_some_and(|extension| extension == "rs");
                if is_rust && !is_test && !ELSEWHERE.iter().any(|other| name.starts_with(other)) {
                    files.push(File::new(name, &fs::read_to_string(&path).unwrap()));
                }
            }
        }
        Self::of(&files)
    }

    fn of(files: &[File]) -> Self {
        let mut found = Self::default();
        let mut carriers = BTreeSet::new();
        for file in files {
            found.direct_points(file, &mut carriers);
            found.requests(file, files, &mut carriers);
            found.written_events(file);
            found.unseen_changes(file);
        }
        // whoever hands a name on is called with one
        let mut open: Vec<Carrier> = carriers.iter().cloned().collect();
        while let Some(carrier) = open.pop() {
            for file in files {
                for call in file.calls_of(&carrier) {
                    if let Some(next) = found.named(file, &call, &carrier, BOTH)
                        && carriers.insert(next.clone())
                    {
                        open.push(next);
                    }
                }
            }
        }
        found
    }

    /// Calls of the points themselves.
    fn direct_points(&mut self, file: &File, carriers: &mut BTreeSet<Carrier>) {
        for (point, sides) in [("before", &["before"][..]), ("after", &["after"]), ("around", BOTH), ("note", BOTH)] {
            for call in file.calls(&format!("crash::{point}")) {
                // what is noted is written in the ledger
                let (room, argument) = if point == "note" { ("ledger", 0) } else { (file.room(&call), 1) };
                let carrier = Carrier { function: point.to_owned(), argument, room, of_state: false };
                carriers.extend(self.named(file, &call, &carrier, sides));
            }
        }
    }

    /// Requests to Rucio that are no questions.
    fn requests(&mut self, file: &File, files: &[File], carriers: &mut BTreeSet<Carrier>) {
        for call in file.calls("Request::new").into_iter().filter(|call| call.arguments.len() == 4) {
            if call.arguments[2] == "Method::GET" {
                continue;
            }
            let carrier = Carrier { function: "new".to_owned(), argument: 0, room: "rucio", of_state: false };
            if !call.arguments[2].starts_with("Method::") {
                self.unclear.push(format!("{}: the method of {:?}", file.name, call.arguments));
            } else if !questions(files).contains(&call.arguments[0]) {
                carriers.extend(self.named(file, &call, &carrier, BOTH));
            }
        }
    }

    /// Events that are written by a statement of their own.
    fn written_events(&mut self, file: &File) {
        for (at, _) in file.text.match_indices("INSERT INTO events") {
            let statement = file.text[at..].split('"').next().unwrap();
            if let Some(kind) = statement.split('\'').nth(1) {
                self.point("ledger", kind, BOTH, &file.name);
            }
        }
    }

    /// Changes that no point stands beside.
    fn unseen_changes(&mut self, file: &File) {
        let in_ledger = file.name.starts_with("ledger/");
        for function in &file.functions {
            let body = &file.bare[function.body.clone()];
            let called = |change: &str| body.match_indices(change).any(|(at, _)| !body[..at].ends_with(is_word));
            let changes = DISK_CHANGES.iter().any(|change| called(change))
                || (in_ledger && body.contains("&self.writer") && !body.contains("self.begin()"));
            if changes && !body.contains("crash::") {
                self.unseen.insert(format!("{}: {}", file.name, function.name));
            }
        }
    }

    /// The effect that a call names; or the function through which it is named, which is returned.
    fn named(&mut self, file: &File, call: &Call, carrier: &Carrier, sides: &[&str]) -> Option<Carrier> {
        let argument = call.arguments.get(carrier.argument).map_or("", String::as_str);
        if let Some(literal) = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            self.point(carrier.room, literal, sides, &file.name);
            return None;
        }
        if carrier.of_state
            && let Some(state) = argument.strip_prefix("State::")
        {
            self.point(carrier.room, &state.to_lowercase(), sides, &file.name);
            return None;
        }
        let (name, of_state) = match argument.strip_suffix(".as_str()") {
            Some(state) => (state, true),
            None => (argument, carrier.of_state),
        };
        let function = file.function_at(call.at);
        let place = function.and_then(|function| function.parameters.iter().position(|parameter| parameter == name));
        let (Some(function), Some(argument)) = (function, place) else {
            self.unclear.push(format!("{}: {}({})", file.name, carrier.function, call.arguments.join(", ")));
            return None;
        };
        Some(Carrier { function: function.name.clone(), argument, room: carrier.room, of_state })
    }

    fn point(&mut self, room: &str, effect: &str, sides: &[&str], file: &str) {
        for side in sides {
            self.points.entry(format!("{room}.{effect}.{side}")).or_default().insert(file.to_owned());
        }
    }
}

/// The endpoints that are asked by POST: as `Request::changes` has them.
fn questions(files: &[File]) -> BTreeSet<String> {
    let of = |file: &File| {
        let function = file.functions.iter().find(|function| function.name == "changes")?;
        let quoted = file.text[function.body.clone()].split('"').skip(1).step_by(2);
        Some(quoted.map(|name| format!("\"{name}\"")).collect())
    };
    let file = files.iter().find(|file| file.name == "rucio/request.rs");
    file.and_then(of).expect("request.rs of Rucio's client says what changes something in Rucio")
}

/// A call as it is written.
struct Call {
    at: usize,
    arguments: Vec<String>,
}

impl File {
    fn new(name: String, text: &str) -> Self {
        let bare = bare(text);
        // unit tests come last
        let end = bare.match_indices("#[cfg(test)]").find(|(at, _)| {
            let rest: String = bare[*at..].lines().skip(1).take(3).collect();
            rest.split_once("mod ").is_some_and(|(_, module)| module.trim_end().contains('{'))
        });
        let end = end.map_or(bare.len(), |(at, _)| at);
        let (text, bare) = (text[..end].to_owned(), bare[..end].to_owned());
        let functions = functions(&bare);
        Self { name, text, bare, functions }
    }

    /// The literal room of a call of a point.
    fn room(&self, call: &Call) -> &'static str {
        let rooms = ["audit", "disk", "ledger", "rucio"];
        let room = rooms.into_iter().find(|room| call.arguments[0] == format!("\"{room}\""));
        room.unwrap_or_else(|| panic!("{}: a new room, {:?}", self.name, call.arguments))
    }

    /// The innermost function around a place.
    fn function_at(&self, at: usize) -> Option<&Function> {
        let around = self.functions.iter().filter(|function| function.body.contains(&at));
        around.min_by_key(|function| function.body.len())
    }

    fn calls(&self, path: &str) -> Vec<Call> {
        let call = format!("{path}(");
        let starts = self.bare.match_indices(call.as_str()).filter(|(at, _)| !self.bare[..*at].ends_with(is_word));
        starts.map(|(at, _)| self.call(at, at + path.len())).collect()
    }

    /// Calls of a method of the ledger or of Rucio's client: of `self` in its own directory, of `ledger` anywhere.
    fn calls_of(&self, carrier: &Carrier) -> Vec<Call> {
        let calls = self.calls(&carrier.function).into_iter();
        let is_its = |call: &Call| {
            let Some(object) = self.bare[..call.at].strip_suffix('.') else { return false };
            let object = object.trim_end();
            let of = |word: &str| object.strip_suffix(word).is_some_and(|rest| !rest.ends_with(is_word));
            (of("self") && self.name.starts_with(&format!("{}/", carrier.room))) || of("ledger")
        };
        calls.filter(is_its).collect()
    }

    fn call(&self, at: usize, open: usize) -> Call {
        let inside = balanced(&self.bare, open);
        let parts = parts(&self.bare, inside, false).into_iter().map(|part| self.text[part].trim().to_owned());
        Call { at, arguments: parts.filter(|part| !part.is_empty()).collect() }
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The text with blanks for everything in comments and literals, byte by byte.
fn bare(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut bare = bytes.to_vec();
    let mut blank = |range: Range<usize>| bare[range].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let end = match rest {
            [b'/', b'/', ..] => at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
            [b'r', b'"', ..] => at + 2 + find(&rest[2..], b"\"") + 1,
            [b'r', b'#', b'"', ..] => at + 3 + find(&rest[3..], b"\"#") + 2,
            [b'"', ..] => at + 1 + string(&rest[1..]),
            [b'\'', b'\\', _, ..] => at + 3 + find(&rest[3..], b"'") + 1,
            [b'\'', letter, ..] => {
                let width = text[at + 1..].chars().next().map_or(1, char::len_utf8);
                // otherwise a lifetime
                if *letter != b'\'' && rest.get(1 + width) == Some(&b'\'') { at + width + 2 } else { at }
            }
            _ => at,
        };
        let is_raw = matches!(rest, [b'r', ..]) && at > 0 && is_word(char::from(bytes[at - 1]));
        if end > at && !is_raw {
            blank(at..end);
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8(bare).unwrap()
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap_or(bytes.len() - what.len())
}

/// How long a string is, with the quotation mark at its end.
fn string(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// What stands between the bracket at `open` and the one that closes it.
fn balanced(bare: &str, open: usize) -> Range<usize> {
    let mut depth = 0;
    for (at, byte) in bare.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + 1..at;
        }
    }
    open + 1..bare.len()
}

/// The parts between commas that no bracket encloses; among types, `<` is one.
fn parts(bare: &str, range: Range<usize>, types: bool) -> Vec<Range<usize>> {
    let (mut depth, mut from, mut parts) = (0, range.start, Vec::new());
    for at in range.clone() {
        match bare.as_bytes()[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b'<' if types => depth += 1,
            b'>' if types && bare.as_bytes()[at - 1] != b'-' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(from..at);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(from..range.end);
    parts
}

fn functions(bare: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    for (at, _) in bare.match_indices("fn ").filter(|(at, _)| !bare[..*at].ends_with(is_word)) {
        let name: String = bare[at + 3..].chars().take_while(|letter| is_word(*letter)).collect();
        let Some(open) = bare[at..].find('(').map(|open| at + open) else { continue };
        if name.is_empty() {
            continue;
        }
        let inside = balanced(bare, open);
        let after = inside.end + 1;
        // an array in what it returns has a semicolon too; nothing here does
        let Some(start) = bare[after..].find(['{', ';']).map(|start| after + start) else { continue };
        if bare.as_bytes()[start] == b';' {
            continue;
        }
        let parameters = parts(bare, inside, true).into_iter().filter_map(|part| {
            let (name, _) = bare[part].split_once(':')?;
            Some(name.trim().trim_start_matches("mut ").to_owned())
        });
        functions.push(Function { name, parameters: parameters.collect(), body: balanced(bare, start) });
    }
    functions
}

#[test]
fn a_name_is_found_through_whatever_hands_it_on_and_what_passes_no_point_is_seen() {
    let file = |name: &str, text: &str| File::new(name.to_owned(), text);
    let request = "fn changes(&self) -> bool { !matches!(self.endpoint, \"look\") }";
    let moves = r#"
        impl Ledger {
            async fn event(&self, id: i64, kind: &str) { crash::note(kind); }
            async fn step(&self, to: State) { self.event(1, to.as_str()).await } // self.event(1, "comment")
            async fn moved(&self) { self.step(State::Moved); self.event(1, "it's, moved") }
            async fn loose(&self) { self.run(&self.writer, "DELETE") }
            async fn odd(&self) { self.event(1, pick()) }
        }
        #[cfg(test)]
        mod tests { fn of_a_test() { self.event(1, "tested") } }
    "#;
    let rules = r#"
        fn update(&self, endpoint: &str, id: [&str; 2]) { Request::new(endpoint, "w", Method::PUT, id) }
        fn end(&self) { self.update("end", a) }
        fn look(&self) { Request::new("look", "w", Method::POST, id); Request::new("see", "w", Method::GET, id) }
    "#;
    let disk = r#"
        fn quiet() { rustix::fs::unlinkat(&a, '"', b) }
        fn seen<'a>(b: &'a str) { crash::before("disk", "cut"); rustix::fs::unlinkat(&a, b) }
    "#;
    let found = Source::of(&[
        file("rucio/request.rs", request),
        file("ledger/moves.rs", moves),
        file("rucio/rules.rs", rules),
        file("disk.rs", disk),
    ]);
    let points: Vec<&str> = found.points.keys().map(String::as_str).collect();
    let expected = [
        "disk.cut.before",
        "ledger.it's, moved.after",
        "ledger.it's, moved.before",
        "ledger.moved.after",
        "ledger.moved.before",
        "rucio.end.after",
        "rucio.end.before",
    ];
    assert_eq!(points, expected);
    assert_eq!(Vec::from_iter(&found.unseen), ["disk.rs: quiet", "ledger/moves.rs: loose"]);
    assert_eq!(found.unclear, ["ledger/moves.rs: event(1, pick())"]);
}
