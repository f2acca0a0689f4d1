//! The process's environment, read once and passed on as a value.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The environment variables of a run. Those that are not UTF-8 are left out.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The process's own.
    pub fn of_process() -> Self {
        let pairs = std::env::vars_os();
        Environment(
            pairs
                .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
                .collect(),
        )
    }

    /// The text of a variable, also an empty one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Sets a variable for this run only; the process's environment stays as it is.
    pub fn set(&mut self, name: &str, text: &str) {
        self.0.insert(name.to_owned(), text.to_owned());
    }

    /// The folder for what a program keeps between runs, as the XDG base directories have it.
    pub fn state_folder(&self) -> Option<PathBuf> {
        let set = self.get("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        set.or_else(|| Some(self.home()?.join(".local/state"))).map(|state| state.join("foredeck"))
    }

    /// The user's home folder.
    pub fn home(&self) -> Option<PathBuf> {
        ["HOME", "USERPROFILE"]
            .iter()
            .find_map(|name| self.get(name))
            .filter(|t| !t.is_empty())
            .map(PathBuf::from)
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Environment(pairs.into_iter().collect())
    }
}
