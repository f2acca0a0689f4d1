//! The user's guide: its links lead somewhere, and its commands are commands.

use crate::support::run;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// README.md and the pages of docs, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = std::fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.chain([Path::new(ROOT).join("README.md")]);
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn links_lead_somewhere() {
    let (mut broken, mut seen) = (Vec::new(), 0);
    for (path, text) in pages() {
        for part in text.split("](").skip(1) {
            let Some((target, _)) = part.split_once(')') else { continue };
            let file = target.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            seen += 1;
            if !path.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty() && seen > 10, "{seen} links, broken: {broken:#?}");
}

/// The command lines that start with `foredeck` in code blocks, by their words.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let mut lines = Vec::new();
    for block in joined.split("```").skip(1).step_by(2) {
        for line in block.lines() {
            let line = line.split(" #").next().unwrap().trim().trim_start_matches("- ");
            let line = ["run: ", "script: ", "entry: "]
                .iter()
                .fold(line, |line, word| line.trim_start_matches(word));
            let words = line.split_whitespace().map(str::to_owned);
            let words: Vec<String> =
                words.take_while(|word| !["|", ">", ">>", "&", "&&"].contains(&&**word)).collect();
            if words.first().is_some_and(|word| word == "foredeck") {
                lines.push(words);
            }
        }
    }
    lines
}

#[test]
fn commands_and_flags_exist() {
    let mut helps = std::collections::BTreeMap::new();
    let mut unknown = Vec::new();
    for (path, text) in pages() {
        for words in command_lines(&text) {
            let grouped = words.get(1).is_some_and(|word| ["gateway", "file", "schema"].contains(&&**word));
            let command: Vec<&str> =
                words.iter().skip(1).take(if grouped { 2 } else { 1 }).map(String::as_str).collect();
            let help = helps
                .entry(command.join(" "))
                .or_insert_with(|| run(&[&command[..], &["--help"]].concat()).expect(0).stdout);
            let flags = words.iter().filter(|word| word.starts_with("--"));
            let missing = flags.filter(|flag| {
                let name = flag.split('=').next().unwrap();
                !help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == name)
            });
            unknown.extend(missing.map(|flag| format!("{}: {flag} in {words:?}", path.display())));
        }
    }
    assert!(unknown.is_empty() && helps.len() > 8, "{unknown:#?} {:?}", helps.keys());
}
