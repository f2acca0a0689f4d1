//! The command line itself: version, help, completion, mistakes, commands that are still to come.

use crate::support::run;

#[test]
fn version_is_one_line() {
    let output = run(&["version"]).expect(0);
    assert_eq!(output.stdout, concat!("foredeck ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(output.stderr, "");
}

#[test]
fn help_goes_to_standard_output() {
    let output = run(&["--help"]).expect(0);
    assert!(output.stdout.contains("Usage: foredeck"), "{output:?}");
    assert!(output.stdout.contains("no telemetry"), "{output:?}");
}

#[test]
fn completion_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let output = run(&["completion", shell]).expect(0);
        assert!(output.stdout.contains("konnect-control-plane-name"), "{shell}: {output:?}");
    }
    let output = run(&["completion", "tcsh"]).expect(1);
    assert!(output.stderr.contains("'tcsh'"), "{output:?}");
}

#[test]
fn mistakes_are_named_and_end_with_one() {
    let output = run(&["gatway"]).expect(1);
    assert!(output.stderr.contains("'gateway'"), "{output:?}");
    let output = run(&["version", "--kong-adr", "http://x"]).expect(1);
    assert!(output.stderr.contains("'--kong-addr'"), "{output:?}");
    assert_eq!(output.stdout, "");
    run(&[]).expect(1);
}

#[test]
fn commands_to_come_say_so_and_are_not_listed() {
    let output = run(&["file", "kong2tf", "-s", "kong.yaml", "--no-such-flag"]).expect(1);
    assert!(output.stderr.contains("`foredeck file kong2tf` is not available yet"), "{output:?}");
    let output = run(&["--help"]).expect(0);
    assert!(!output.stdout.contains("\n  ai "), "{output:?}");
}

#[test]
fn help_shows_examples_and_groups_of_flags() {
    let output = run(&["gateway", "sync", "--help"]).expect(0);
    for part in
        ["Examples:\n  foredeck gateway sync kong.yaml", "State files:", "Scope:", "Requests:", "Plan:"]
    {
        assert!(output.stdout.contains(part), "{part} is not in\n{}", output.stdout);
    }
}

/// What programs read may not be lost in silence; `| head` is no loss.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = crate::support::command();
    let output = command.args(["schema", "export"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot write standard output"), "{said}");
}
