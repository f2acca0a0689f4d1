//! A folder of schemas as a gateway served them: `kinds/NAME.json` and `plugins/NAME.json`.

use super::settings::read_small;
use crate::diagnostics::{Diagnostic, codes};
use crate::schema::{Flavor, Schemas};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The largest schema that is read, in bytes.
const LARGEST: u64 = 4 << 20;
/// The most schemas that one folder may hold.
const MOST: usize = 2_000;
const KINDS: &str = "kinds";
const PLUGINS: &str = "plugins";

type ByName = BTreeMap<String, Json>;

/// The bundled schemas of a flavor with those of a folder, if one is given, over them.
pub fn load(flavor: Flavor, folder: Option<&Path>) -> Result<Arc<Schemas>, Diagnostic> {
    let bundled = Schemas::bundled(flavor);
    let Some(folder) = folder else { return Ok(bundled) };
    let (kinds, plugins) = (read(&folder.join(KINDS))?, read(&folder.join(PLUGINS))?);
    if kinds.is_empty() && plugins.is_empty() {
        let message = format!("{} holds no schemas", folder.display());
        return Err(Diagnostic::error(codes::UNREADABLE, message)
            .help("`foredeck schema pull` saves a gateway's schemas to a folder"));
    }
    bundled
        .with_live(&kinds, &plugins)
        .map(Arc::new)
        .map_err(|fault| Diagnostic::error(codes::SYNTAX, format!("{}: {fault}", folder.display())))
}

/// The schemas of one part of the folder; none when the part is not there.
fn read(folder: &Path) -> Result<ByName, Diagnostic> {
    let fault = |path: &Path, error: &dyn std::fmt::Display| {
        Diagnostic::error(codes::UNREADABLE, format!("{} cannot be read: {error}", path.display()))
    };
    let mut out = ByName::new();
    if !folder.is_dir() {
        return Ok(out);
    }
    for entry in fs::read_dir(folder).map_err(|error| fault(folder, &error))? {
        let path = entry.map_err(|error| fault(folder, &error))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        if out.len() >= MOST {
            let message = format!("{} holds more than {MOST} schemas", folder.display());
            return Err(Diagnostic::error(codes::TOO_LARGE, message));
        }
        let text = read_small(&path, LARGEST)?;
        let json = serde_json::from_str(&text).map_err(|error| fault(&path, &error))?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        out.insert(name.unwrap_or_default(), json);
    }
    Ok(out)
}

/// Saves schemas to a folder, and makes the folder when it is not there.
pub fn save(folder: &Path, kinds: &ByName, plugins: &ByName) -> Result<(), Diagnostic> {
    for (part, schemas) in [(KINDS, kinds), (PLUGINS, plugins)] {
        let part = folder.join(part);
        let fault = |error: std::io::Error| {
            Diagnostic::error(codes::UNREADABLE, format!("cannot write to {}: {error}", part.display()))
        };
        fs::create_dir_all(&part).map_err(fault)?;
        // A gateway's names must not lead out of the folder.
        for (name, json) in schemas.iter().filter(|(name, _)| is_plain(name)) {
            fs::write(part.join(format!("{name}.json")), format!("{json:#}\n")).map_err(fault)?;
        }
    }
    Ok(())
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let schema = json!({"fields": [{"config": {"type": "record", "required": true, "fields": [
            {"size": {"type": "integer", "between": [1, 9]}}]}}]});
        let plugins = [("of-our-own".to_owned(), schema), ("../out".to_owned(), json!({}))].into();
        save(folder.path(), &ByName::new(), &plugins).unwrap();
        let schemas = load(Flavor::Kong314, Some(folder.path())).unwrap();
        assert!(schemas.plugin("of-our-own").is_some() && schemas.plugin("../out").is_none());
        assert!(!folder.path().join("out.json").exists());
        let empty = tempfile::tempdir().unwrap();
        assert!(load(Flavor::Kong314, Some(empty.path())).is_err());
        fs::write(folder.path().join("plugins/bad.json"), "{").unwrap();
        let problem = load(Flavor::Kong314, Some(folder.path())).unwrap_err();
        assert!(problem.message.contains("bad.json"), "{}", problem.message);
    }
}
