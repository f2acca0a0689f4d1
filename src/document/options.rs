//! What a run says about reading: variables, tags, workspace.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

/// Which spellings of variables are expanded (`--env-expansion`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expansion {
    /// Both spellings.
    #[default]
    All,
    /// Only decK's `${{ env "NAME" }}`.
    Deck,
    /// Only `$NAME` and `${NAME}`.
    Shell,
    /// None: the text stays as it is.
    Off,
}

impl Expansion {
    /// Every choice and its name.
    pub const NAMES: [(&'static str, Expansion); 4] = [
        ("all", Expansion::All),
        ("deck", Expansion::Deck),
        ("shell", Expansion::Shell),
        ("off", Expansion::Off),
    ];

    /// Whether `${{ env "NAME" }}` is expanded.
    pub fn deck(self) -> bool {
        matches!(self, Expansion::All | Expansion::Deck)
    }

    /// Whether `$NAME` is expanded.
    pub fn shell(self) -> bool {
        matches!(self, Expansion::All | Expansion::Shell)
    }
}

impl FromStr for Expansion {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Expansion::NAMES.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, expansion)| *expansion)
            .ok_or_else(|| format!("'{name}' is not one of {}", Expansion::NAMES.map(|(n, _)| n).join(", ")))
    }
}

/// What becomes of a variable that is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unset {
    /// An error at its place.
    #[default]
    Error,
    /// A warning at its place; the value counts as unknown and is not checked.
    Warn,
    /// No variable is looked up: expressions stay in the values as they are written.
    Keep,
}

/// The variables of a run, by name.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Variables from pairs of name and value; later ones win.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Variables(pairs.into_iter().collect())
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Adds a variable unless it is set already.
    pub fn add(&mut self, name: String, value: String) {
        self.0.entry(name).or_insert(value);
    }

    /// The names, sorted; for finding one that was meant.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl std::fmt::Debug for Variables {
    /// Names only: values may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// How the state files of a run are read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which spellings of variables are expanded.
    pub expansion: Expansion,
    /// The variables: those of the environment, then those of `--env-file`.
    pub variables: Arc<Variables>,
    /// What becomes of unset ones.
    pub unset: Unset,
    /// `-w`: wins over `_workspace`, with a warning.
    pub workspace: Option<String>,
    /// `--select-tag`: wins over `_info.select_tags`, with a warning when they differ.
    pub select_tags: Vec<String>,
    /// References that the files do not satisfy are left for the gateway to answer (`gateway apply`).
    pub partial: bool,
    /// Look also for what is legal and probably not meant.
    pub lint: bool,
}
