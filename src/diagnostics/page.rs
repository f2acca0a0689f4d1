//! The pages that explain codes (`docs/errors`): what a problem means, an example of it, and its repair.

use super::Code;

/// A code's page.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The code.
    pub code: Code,
    /// The page, in Markdown. Its first line reads `# NUMBER NAME: title`.
    pub text: &'static str,
}

impl Page {
    /// The code in a few words.
    pub fn title(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or_default();
        first.split_once(": ").map_or(first, |(_, title)| title)
    }
}
