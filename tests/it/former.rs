//! The commands at the top that decK had before it had groups: they do what they did, and say where they went.

use crate::support::{Folder, Gateway};

const STATE: &str = "_format_version: \"3.0\"\nservices: [{name: a, host: h}]\n";

#[test]
fn former_commands_work_and_name_their_successors() {
    let gateway = Gateway::start();
    let folder = Folder::with("kong.yaml", STATE);
    folder.write("other.yaml", "_format_version: \"3.0\"\nservices: [{name: b, host: h}]\n");
    let run = |arguments: &[&str], code| {
        let output = gateway.run(&folder, arguments, &[]).expect(code);
        assert!(output.stderr.contains("is now `foredeck "), "{output:?}");
        output
    };
    run(&["ping"], 0);
    // The file is kong.yaml unless -s names others.
    run(&["diff", "--non-zero-exit-code"], 2);
    assert!(run(&["sync"], 0).stdout.contains("creating service a"));
    assert!(
        run(&["sync", "-s", "kong.yaml", "--state", "other.yaml"], 0).stdout.contains("creating service b")
    );
    run(&["diff", "-s", "kong.yaml,other.yaml", "--non-zero-exit-code"], 0);
    let valid = run(&["validate", "-w", "blue", "--parallelism", "5"], 0);
    assert!(valid.stdout.contains("1 entity in 1 file"), "{valid:?}");
    run(&["validate", "--online", "--parallelism", "5"], 0);
    run(&["dump", "--yes"], 0);
    let dumped = std::fs::read_to_string(folder.path().join("kong.yaml")).unwrap();
    assert!(dumped.contains("name: b"), "{dumped}");
    run(&["reset", "-f"], 0);
}

#[test]
fn former_commands_are_not_listed() {
    let output = crate::support::run(&["--help"]).expect(0);
    for name in ["sync", "diff", "dump", "validate", "reset", "ping", "convert"] {
        assert!(!output.stdout.contains(&format!("\n  {name} ")), "{output:?}");
    }
}
