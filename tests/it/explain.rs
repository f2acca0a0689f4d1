//! `foredeck explain`: every page's example has the fault that the page is about and no other, and its repair has
//! none. `FOREDECK_UPDATE=1` writes what the examples give into the pages.

use crate::support::{Folder, Gateway, run};
use foredeck::diagnostics::{Diagnostic, Format, Page, codes, render};
use foredeck::document::{Options, Unset, Variables, read};
use foredeck::schema::{Flavor, Schemas};
use std::sync::Arc;

/// The variables of the examples that are set.
const VARIABLES: [(&str, &str); 1] = [("AMY_KEY", "not-shown")];
/// Codes whose fault no command can bring about by itself.
const WITHOUT_EXAMPLE: [&str; 4] = ["E0403", "E0504", "E0505", "E0507"];

/// A fenced block: the word after the fence, the name of a file if one follows, and the lines.
struct Block<'a> {
    word: &'a str,
    file: &'a str,
    text: &'a str,
}

/// The blocks under a heading of a page.
fn blocks<'a>(page: &'a Page, heading: &str) -> Vec<Block<'a>> {
    let section = page.text.split("\n## ").find_map(|part| part.strip_prefix(heading)).unwrap_or_default();
    let mut blocks = Vec::new();
    let mut rest = section;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (head, after) = after.split_once('\n').expect("a fence has a line");
        // An empty block ends right after its first line.
        let (text, after) = match after.strip_prefix("```") {
            Some(after) => ("", after),
            None => after.split_once("\n```").expect("a fence is closed"),
        };
        let (word, file) = head.split_once(' ').unwrap_or((head, "kong.yaml"));
        blocks.push(Block { word, file, text });
        rest = after;
    }
    blocks
}

/// Writes the files of some blocks.
fn files(blocks: &[Block<'_>]) -> Folder {
    let folder = Folder::new();
    for block in blocks.iter().filter(|block| block.word == "yaml") {
        folder.write(block.file, &format!("{}\n", block.text));
    }
    folder
}

/// What `file validate` finds in the files of some blocks, and how it shows it.
fn validate(blocks: &[Block<'_>]) -> (Vec<Diagnostic>, String) {
    let folder = files(blocks);
    let variables = VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = Options {
        variables: Arc::new(Variables::new(variables)),
        unset: Unset::Warn,
        lint: true,
        ..Options::default()
    };
    let path = folder.path().display().to_string();
    let loaded = read(std::slice::from_ref(&path), &mut std::io::empty(), options)
        .build(&Schemas::bundled(Flavor::Kong314));
    let shown = render(&loaded.diagnostics, &loaded.sources, Format::Text, false);
    (loaded.diagnostics, shown.replace(&format!("{path}/"), ""))
}

fn numbers(problems: &[Diagnostic]) -> Vec<&str> {
    problems.iter().map(|problem| problem.code.number).collect()
}

#[test]
fn every_example_has_its_fault_and_every_repair_has_none() {
    for page in codes::ALL {
        let (number, example, repair) = (page.code.number, blocks(page, "Example"), blocks(page, "Repair"));
        let count = |word: &str| example.iter().filter(|block| block.word == word).count();
        let (frames, commands) = (count("text"), count("console"));
        let expected = if WITHOUT_EXAMPLE.contains(&number) { 0 } else { 1 };
        assert_eq!(frames + commands, expected, "{number}: one block shows what is said");
        if frames == 1 {
            assert_eq!(example.last().map(|block| block.word), Some("text"), "{number}");
            let (problems, shown) = validate(&example);
            assert_eq!(numbers(&problems), [number], "the example of {number}: {shown}");
            let kept = example.last().map(|block| block.text).unwrap_or_default();
            if std::env::var_os("FOREDECK_UPDATE").is_some() {
                let text = page.text.replacen(
                    &format!("```text\n{kept}{}```", if kept.is_empty() { "" } else { "\n" }),
                    &format!("```text\n{}\n```", shown.trim_end()),
                    1,
                );
                let path = format!("{}/docs/errors/{number}.md", env!("CARGO_MANIFEST_DIR"));
                std::fs::write(path, text).unwrap();
            } else {
                let hint = "run FOREDECK_UPDATE=1 cargo test explain";
                assert_eq!(kept, shown.trim_end(), "the page of {number} is not current: {hint}");
            }
        }
        if repair.iter().any(|block| block.word == "yaml") {
            let (problems, shown) = validate(&repair);
            assert_eq!(numbers(&problems), [""; 0], "the repair of {number}: {shown}");
        }
    }
}

#[test]
fn the_commands_of_the_pages_give_their_codes() {
    const TOKEN: &str = "a-token";
    let gateway = Gateway::with(&["--admin-token", TOKEN, "--konnect-token", TOKEN]);
    for page in codes::ALL {
        let example = blocks(page, "Example");
        let Some(console) = example.iter().find(|block| block.word == "console") else { continue };
        let folder = files(&example);
        let env = match console.text.contains("konnect") {
            true => [("DECK_KONNECT_TOKEN", TOKEN), ("DECK_KONNECT_ADDR", &*gateway.konnect)],
            false => [("DECK_KONG_ADMIN_TOKEN", TOKEN), ("DECK_KONG_ADDR", &*gateway.admin)],
        };
        let commands: Vec<&str> =
            console.text.lines().filter_map(|l| l.strip_prefix("$ foredeck ")).collect();
        assert!(!commands.is_empty(), "{}", page.code);
        for (index, command) in commands.iter().enumerate() {
            let arguments: Vec<&str> = command.split(' ').collect();
            let output = folder.run(&arguments, &env);
            let said = output.all().contains(&format!("[{}]", page.code.number));
            assert_eq!(said, index + 1 == commands.len(), "{}: {command}: {output:#?}", page.code);
        }
        let login = [("DECK_KONG_ADMIN_TOKEN", TOKEN)];
        gateway.run(&folder, &["gateway", "reset", "--force"], &login).expect(0);
    }
}

#[test]
fn a_code_is_explained_by_number_and_by_name() {
    let by_number = run(&["explain", "e0103"]).expect(0);
    assert!(by_number.stdout.starts_with("# E0103 unknown-field: "), "{by_number:#?}");
    assert_eq!(run(&["explain", "unknown-field"]).expect(0).stdout, by_number.stdout);
    let list = run(&["explain"]).expect(0).stdout;
    assert_eq!(list.lines().count(), codes::ALL.len());
    let unknown = run(&["explain", "E0193"]).expect(1);
    assert!(unknown.stderr.contains("did you mean E0103 (unknown-field)?"), "{unknown:#?}");
}
