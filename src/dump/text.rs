//! The text of a state file, written piece by piece so that neither its tree nor its text is ever there as a whole.

use super::yaml::yaml;
use crate::value::{Exposed, Map, Value};
use std::io::{self, Write};
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

/// Writes the members of a file's one object, secrets included: what is to be left out was taken out before.
/// Lists are written item by item.
pub(super) struct Pieces<'w> {
    out: &'w mut dyn Write,
    format: Format,
    /// What stands before the next member, and before the next item of a list.
    before: (&'static str, &'static str),
}

impl<'w> Pieces<'w> {
    pub fn new(out: &'w mut dyn Write, format: Format) -> Self {
        Pieces { out, format, before: ("{", "") }
    }

    /// A member that is not a list of many.
    pub fn member(&mut self, key: &str, value: Value) -> io::Result<()> {
        match self.format {
            Format::Yaml => {
                let members: Map = [(key.into(), value)].into_iter().collect();
                self.out.write_all(yaml(&Value::Object(members)).as_bytes())
            }
            Format::Json => {
                self.key(key)?;
                self.json(&value, 1)
            }
        }
    }

    /// Begins a list of at least one item.
    pub fn open(&mut self, key: &str) -> io::Result<()> {
        self.before.1 = "[";
        match self.format {
            Format::Yaml => writeln!(self.out, "{key}:"),
            Format::Json => self.key(key),
        }
    }

    /// The next item of the list.
    pub fn item(&mut self, item: Value) -> io::Result<()> {
        match self.format {
            // Items stand as far left as their list's key.
            Format::Yaml => self.out.write_all(yaml(&Value::Array(vec![item])).as_bytes()),
            Format::Json => {
                let before = std::mem::replace(&mut self.before.1, ",");
                write!(self.out, "{before}\n    ")?;
                self.json(&item, 2)
            }
        }
    }

    /// Ends the list.
    pub fn close(&mut self) -> io::Result<()> {
        match self.format {
            Format::Yaml => Ok(()),
            Format::Json => self.out.write_all(b"\n  ]"),
        }
    }

    /// Ends the file.
    pub fn end(self) -> io::Result<()> {
        match self.format {
            Format::Yaml => Ok(()),
            Format::Json => self.out.write_all(b"\n}\n"),
        }
    }

    fn key(&mut self, key: &str) -> io::Result<()> {
        let before = std::mem::replace(&mut self.before.0, ",");
        write!(self.out, "{before}\n  {}: ", Value::from(key))
    }

    /// A value so many levels deep; no text in JSON holds a line break.
    fn json(&mut self, value: &Value, level: usize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&Exposed(value))?;
        self.out.write_all(text.replace('\n', &format!("\n{}", "  ".repeat(level))).as_bytes())
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
        let text = yaml(&tree);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn pieces_of_json_are_what_a_whole_would_be() {
        let whole = json!({"_format_version": "3.0", "routes": [{"paths": ["/a", "/b"]}, {"name": "x\ny"}], "services": [{}]});
        let mut out = Vec::new();
        let mut pieces = Pieces::new(&mut out, Format::Json);
        for (key, value) in whole.as_object().unwrap() {
            match value.as_array() {
                None => pieces.member(key, Value::from(value.clone())).unwrap(),
                Some(items) => {
                    pieces.open(key).unwrap();
                    items.iter().for_each(|item| pieces.item(Value::from(item.clone())).unwrap());
                    pieces.close().unwrap();
                }
            }
        }
        pieces.end().unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{}\n", serde_json::to_string_pretty(&whole).unwrap())
        );
    }
}
