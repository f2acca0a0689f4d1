//! The shape of the house, checked: which room may use which, and what only some rooms may do.
//!
//! Sources are read as text, without comments and without their unit tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // tests may fail loudly

use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each room may use. `value` and `diagnostics` are the common ground of all rooms.
const ARROWS: &[(&str, &[&str])] = &[
    ("diagnostics", &[]),
    ("value", &[]),
    ("schema", &[]),
    ("model", &["schema"]),
    ("document", &["schema", "model"]),
    ("plan", &["model", "schema"]),
    ("control_plane", &["model", "schema"]),
    ("apply", &["plan", "control_plane", "model", "schema"]),
    ("report", &["plan", "model", "schema"]),
    ("dump", &["model", "schema"]),
    ("file", &["document", "model", "schema"]),
    ("dump", &["model", "schema"]),
    ("gateway", &["model", "schema"]),
    (
        "cli",
        &[
            "apply",
            "control_plane",
            "document",
            "dump",
            "file",
            "gateway",
            "model",
            "plan",
            "report",
            "schema",
        ],
    ),
];

/// Used by every room; `diagnostics` itself uses nothing and `value` only `diagnostics`.
const COMMON: [&str; 2] = ["value", "diagnostics"];

/// The most lines of a file.
const LONGEST: usize = 800;

/// A source file.
struct Source {
    /// Its path below `src`, with `/`.
    name: String,
    /// The whole text.
    text: String,
    /// The text without comments and unit tests, line by line as in the file.
    code: String,
}

impl Source {
    /// The room: the first folder, or the file's name for `lib` and `main`.
    fn room(&self) -> &str {
        self.name.split_once('/').map_or(self.name.trim_end_matches(".rs"), |(room, _)| room)
    }

    /// The lines of code that match, as `file:line: text`.
    fn hits(&self, pattern: &Regex) -> Vec<String> {
        let lines = self.code.lines().enumerate();
        lines
            .filter(|(_, line)| pattern.is_match(line))
            .map(|(index, line)| format!("{}:{}: {}", self.name, index + 1, line.trim()))
            .collect()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root().join("src"), "rs", &mut paths);
    assert!(paths.len() > 20, "the sources are not where they should be");
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().replace('\\', "/");
            // A file of unit tests is named so, or named by `#[cfg(test)] mod ...;`; both hold no code of the product.
            let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
            let code = if is_test { String::new() } else { code(&text) };
            Source { name, text, code }
        })
        .collect()
}

/// A text without comments and unit tests; every line keeps its number.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // The item under it: one line, or up to the brace that closes it at the same depth.
            let indent = line.len() - line.trim_start().len();
            code.push('\n');
            for inner in lines.by_ref() {
                code.push('\n');
                let ends = inner.len() - inner.trim_start().len() == indent && !inner.trim().is_empty();
                if ends && (inner.ends_with(';') || inner.ends_with('}')) {
                    break;
                }
            }
            continue;
        }
        if !line.trim_start().starts_with("//") {
            code.push_str(line);
        }
        code.push('\n');
    }
    code
}

fn none(faults: Vec<String>, rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let single = Regex::new(r"\bcrate::(\w+)").unwrap();
    let group = Regex::new(r"\bcrate::\{([^;]*)\}\s*;").unwrap();
    let member = Regex::new(r"(?:^|,)\s*(\w+)").unwrap();
    let nested = Regex::new(r"\{[^{}]*\}").unwrap();
    let (mut faults, mut seen) = (Vec::new(), BTreeSet::new());
    for source in sources() {
        let room = source.room().to_owned();
        if room == "lib" || room == "main" {
            continue;
        }
        let Some(allowed) = table.get(room.as_str()) else {
            faults.push(format!("{}: the room '{room}' is not in the table", source.name));
            continue;
        };
        let mut used: BTreeSet<String> =
            single.captures_iter(&source.code).map(|found| found[1].to_owned()).collect();
        for found in group.captures_iter(&source.code) {
            let flat = nested.replace_all(&found[1], "").into_owned();
            used.extend(member.captures_iter(&flat).map(|name| name[1].to_owned()));
        }
        for target in used {
            let common = COMMON.contains(&target.as_str()) && room != "diagnostics" && room != "value"
                || (room == "value" && target == "diagnostics");
            if target != room && !common && !allowed.contains(&target.as_str()) {
                faults.push(format!("{}: {room} may not use {target}", source.name));
            }
            seen.insert(target);
        }
    }
    assert!(seen.contains("diagnostics") && seen.contains("value"), "the arrows are not found");
    none(faults, "arrows that the table of rooms does not allow");
}

#[test]
fn only_cli_prints_reads_the_environment_and_exits() {
    let pattern = Regex::new(
        r"\b(e?println!|e?print!|dbg!|process::exit|process::abort|io::stdout|io::stderr|io::stdin|env::(var|vars|args|set_var|home_dir|current_dir)\w*)",
    )
    .unwrap();
    let outside = sources().into_iter().filter(|source| source.room() != "cli");
    none(
        outside.flat_map(|source| source.hits(&pattern)).collect(),
        "only cli prints, reads the environment and exits",
    );
}

#[test]
fn exit_codes_are_decided_in_one_place() {
    let pattern = Regex::new(r"\bExitCode::(from|SUCCESS|FAILURE)|process::exit").unwrap();
    let outside = sources().into_iter().filter(|source| source.name != "cli/exit.rs");
    none(
        outside.flat_map(|source| source.hits(&pattern)).collect(),
        "outcomes become exit codes in cli/exit.rs",
    );
}

#[test]
fn only_the_source_room_opens_state_files() {
    // Who else reads files, and which.
    let others = [
        "document/source.rs",     // state files
        "cli/settings.rs",        // config file, certificates, tokens
        "cli/schema_folder.rs",   // schemas that a gateway served
        "cli/gateway/journal.rs", // lists the journals that runs left behind
        "cli/files.rs",           // writes dumps, plans, journals and records with mode 0600
    ];
    let pattern = Regex::new(r"\b(fs::read\w*|File::open|OpenOptions|read_dir)\b").unwrap();
    let rooms =
        ["schema", "model", "document", "plan", "report", "file", "cli", "value", "diagnostics", "apply"];
    let outside = sources()
        .into_iter()
        .filter(|source| rooms.contains(&source.room()) && !others.contains(&source.name.as_str()));
    none(
        outside.flat_map(|source| source.hits(&pattern)).collect(),
        "only document::source opens state files",
    );
}

#[test]
fn the_middle_does_no_input_or_output_and_never_awaits() {
    let pattern = Regex::new(
        r"\basync\b|\.await\b|\b(tokio|reqwest|hyper|std::fs|net::(Tcp|Udp|ToSocket)\w*|SystemTime::now|Instant::now)\b",
    )
    .unwrap();
    let middle =
        sources().into_iter().filter(|source| ["schema", "model", "plan", "value"].contains(&source.room()));
    none(middle.flat_map(|source| source.hits(&pattern)).collect(), "schema, model and plan are pure");
}

#[test]
fn no_decision_on_a_kinds_name() {
    let mut paths = Vec::new();
    files(&root().join("schemas/entities"), "yaml", &mut paths);
    let mut names: BTreeSet<String> =
        paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    // Where the table is not there yet, the names that everybody knows.
    names.extend(
        ["services", "routes", "consumers", "upstreams", "targets", "keyauth_credentials"].map(String::from),
    );
    let names = names.into_iter().collect::<Vec<_>>().join("|");
    let pattern = Regex::new(&format!(
        r#""({names})"\s*(=>|\||if\b.*=>)|\|\s*"({names})"|[=!]=\s*(&\*?)?"({names})"|"({names})"\s*[=!]="#
    ))
    .unwrap();
    let allowed = |source: &Source| {
        // The notation's words for where variants come from are the names of folders of schemas.
        source.name == "schema/notation.rs"
            || source.name.starts_with("schema/hooks")
            || source.name.starts_with("gateway/proxy")
            || source.name.starts_with("gateway/plugins")
    };
    let faults =
        sources().into_iter().filter(|source| !allowed(source)).flat_map(|source| source.hits(&pattern));
    none(faults.collect(), "differences between kinds are data of the table of kinds, not code");
}

#[test]
fn every_module_says_what_it_is_for() {
    let faults =
        sources().into_iter().filter(|source| !source.text.starts_with("//!")).map(|source| source.name);
    none(faults.collect(), "a module begins with `//!`");
}

#[test]
fn files_stay_short() {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "benches"] {
        files(&root().join(folder), "rs", &mut paths);
    }
    let faults = paths.iter().filter_map(|path| {
        let lines = std::fs::read_to_string(path).unwrap().lines().count();
        (lines > LONGEST).then(|| format!("{}: {lines} lines", path.display()))
    });
    none(faults.collect(), "no file is longer than 800 lines");
}

#[test]
fn lints_are_silenced_with_a_reason_only() {
    let pattern = Regex::new(r"#!?\[(allow|expect)\(").unwrap();
    let reason = Regex::new(r"//|reason\s*=").unwrap();
    let faults =
        sources().into_iter().flat_map(|source| source.hits(&pattern)).filter(|hit| !reason.is_match(hit));
    none(faults.collect(), "`#[allow]` needs a written reason on its line");
}

/// The checks above read code through [`code`]; this one checks the reader.
#[test]
fn the_reader_drops_comments_and_tests() {
    let text = "use a;\n// crate::x\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nfn g() {}\n";
    assert_eq!(code(text), "use a;\n\n\n\n\n\nfn g() {}\n");
    assert_eq!(code("#[cfg(test)]\nmod tests;\nfn g() {}\n"), "\n\nfn g() {}\n");
}
