//! The checked-in reference of commands and flags is the one that the program makes.

#[test]
fn the_reference_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md");
    let made = foredeck::cli::reference();
    if std::env::var_os("FOREDECK_UPDATE").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default().replace("\r\n", "\n");
    assert!(kept == made, "docs/reference.md is not current: run FOREDECK_UPDATE=1 cargo test reference");
}
