//! Turns the schemas of `schemas/` into JSON at build time, one constant a folder, so that the program reads them
//! without a YAML parser and parses only the ones that a run asks for.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=schemas");
    println!("cargo:rerun-if-changed=build.rs");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("schemas");
    let mut out = String::new();
    for (folder, constant) in [
        ("entities", "ENTITIES"),
        ("gateway", "GATEWAY"),
        ("plugins", "PLUGINS"),
        ("partners", "PARTNERS"),
        ("vaults", "VAULTS"),
        ("partials", "PARTIALS"),
    ] {
        writeln!(out, "pub(super) const {constant}: &[Bundled] = &[")?;
        for (name, json) in schemas(&root.join(folder))? {
            let word = |word: &str| json.get(word).and_then(serde_json::Value::as_str).unwrap_or_default();
            let text = serde_json::to_string(&json)?;
            writeln!(
                out,
                "    Bundled {{ name: {name:?}, since: {:?}, until: {:?}, text: {text:?} }},",
                word("since"),
                word("until")
            )?;
        }
        writeln!(out, "];")?;
    }
    let lists = plugin_lists(&root.join("entities"))?;
    writeln!(out, "pub(super) const PLUGIN_LISTS: &[&str] = &{lists:?};")?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("schemas.rs"), out)?;
    Ok(())
}

/// The keys of the lists of state files that hold plugins.
fn plugin_lists(entities: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let key = |(name, json): (String, serde_json::Value)| {
        let holds_plugins =
            json.pointer("/subschema/of").and_then(serde_json::Value::as_str) == Some("plugins");
        let key = json.pointer("/file/key").and_then(serde_json::Value::as_str).map(str::to_owned);
        holds_plugins.then(|| key.unwrap_or(name))
    };
    Ok(schemas(entities)?.into_iter().filter_map(key).collect())
}

/// The schemas of a folder by file name, sorted; a folder that is not there holds none.
fn schemas(folder: &Path) -> Result<Vec<(String, serde_json::Value)>, Box<dyn Error>> {
    let mut out = Vec::new();
    if !folder.is_dir() {
        return Ok(out);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let json: serde_json::Value =
            serde_saphyr::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        out.push((name, json));
    }
    out.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(out)
}
