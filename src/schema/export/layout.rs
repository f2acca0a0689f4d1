//! JSON as people read it: what fits a line stands on one.

use serde_json::Value as Json;

/// The longest line, in bytes, unless a single scalar is longer.
const WIDTH: usize = 110;

/// A text of JSON, indented by two, with a line break at its end.
pub fn layout(json: &Json) -> String {
    let mut out = String::new();
    put(json, 0, 0, &mut out);
    out.push('\n');
    out
}

/// Writes a value that begins `before` bytes after the indentation of its line.
fn put(json: &Json, depth: usize, before: usize, out: &mut String) {
    let short = json.to_string();
    if depth * 2 + before + short.len() <= WIDTH {
        out.push_str(&short);
        return;
    }
    let indent = "  ".repeat(depth + 1);
    let parts: Vec<(String, &Json)> = match json {
        Json::Object(members) => {
            let key = |key: &String| format!("{}: ", Json::from(key.as_str()));
            members.iter().map(|(name, member)| (key(name), member)).collect()
        }
        Json::Array(items) => items.iter().map(|item| (String::new(), item)).collect(),
        _ => Vec::new(),
    };
    if parts.is_empty() {
        out.push_str(&short);
        return;
    }
    let (open, close) = if json.is_object() { ('{', '}') } else { ('[', ']') };
    out.push(open);
    for (n, (lead, part)) in parts.iter().enumerate() {
        out.push_str(if n == 0 { "\n" } else { ",\n" });
        out.push_str(&indent);
        out.push_str(lead);
        put(part, depth + 1, lead.len() + 1, out);
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn short_values_stand_on_one_line_and_all_values_are_kept() {
        let json = json!({"a": {"b": [1, 2, {}]}, "long": vec!["some words"; 20], "z": []});
        let text = layout(&json);
        assert!(text.contains("\n  \"a\":"), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(text.parse::<Json>().unwrap(), json);
    }
}
