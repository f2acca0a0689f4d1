//! `foredeck schema`: what a gateway serves, saved and shown again.

use crate::support::{Folder, Gateway, run};

#[test]
fn what_a_gateway_serves_is_saved_and_shown() {
    let gateway = Gateway::with(&["--flavor", "kong-3.10"]);
    let folder = Folder::new();
    let pull =
        gateway.run(&folder, &["schema", "pull", "-o", "pulled", "rate-limiting", "cors"], &[]).expect(0);
    assert!(pull.stdout.contains("2 plugins to pulled"), "{}", pull.stdout);
    let show = ["schema", "show", "cors", "--flavor", "kong-3.10"];
    let pulled = folder.run(&[&show[..], &["--schemas", "pulled"]].concat(), &[]).expect(0);
    assert_eq!(pulled.stdout, run(&show).expect(0).stdout);
    let missing = gateway.run(&folder, &["schema", "pull", "no-such-plugin"], &[]).expect(1);
    assert!(missing.stderr.contains("has no plugin 'no-such-plugin'"), "{}", missing.stderr);
    let nothing = folder.run(&["schema", "show", "cors", "--schemas", "nowhere"], &[]).expect(1);
    assert!(nothing.stderr.contains("nowhere holds no schemas"), "{}", nothing.stderr);
}

#[test]
fn names_and_fields_are_shown() {
    let names = run(&["schema", "show"]).expect(0).stdout;
    assert!(names.contains("  services\n") && names.contains("  ai-proxy\n") && names.contains("  hcv\n"));
    let fields = run(&["schema", "show", "rate-limiting"]).expect(0).stdout;
    assert!(fields.contains("config.redis.host"), "{fields}");
    let unknown = run(&["schema", "show", "rate-limitng"]).expect(1);
    assert!(unknown.stderr.contains("did you mean `rate-limiting`?"), "{}", unknown.stderr);
    assert!(
        unknown.stderr.contains("no kind, plugin, vault or partial 'rate-limitng'"),
        "{}",
        unknown.stderr
    );
}
