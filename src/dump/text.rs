//! Trees as text.

use crate::value::{Exposed, Value};
use std::str::FromStr;

/// The format of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// YAML in block style, lists not indented below their key.
    #[default]
    Yaml,
    /// JSON, two spaces a level.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Ok(Format::Yaml),
            "json" => Ok(Format::Json),
            _ => Err(format!("'{name}' is not one of yaml, json")),
        }
    }
}

/// A tree as text, secrets included: what is to be left out was taken out before.
pub fn text(tree: &Value, format: Format) -> Result<String, String> {
    match format {
        Format::Json => {
            let mut text = serde_json::to_string_pretty(&Exposed(tree)).map_err(|error| error.to_string())?;
            text.push('\n');
            Ok(text)
        }
        Format::Yaml => Ok(super::yaml::yaml(tree)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_is_laid_out_as_deck_does() {
        let tree = Value::from(json!({
            "_format_version": "3.0",
            "services": [{"name": "a", "port": 80, "path": "/x", "tags": ["on", "1", "x y"], "retries": null,
                          "routes": [{"paths": ["~/re$"]}], "empty": {}, "pem": "l1\nl2\n"}],
        }));
        let text = text(&tree, Format::Yaml).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn long_text_stays_on_its_line() {
        let long = "word ".repeat(60).trim_end().to_owned();
        let yaml = text(&Value::from(json!({"a": long})), Format::Yaml).unwrap();
        assert_eq!(yaml.trim_end().lines().count(), 1, "{yaml}");
    }
}
