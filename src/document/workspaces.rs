//! One run over several workspaces: the files of each on their own.

use super::build::CONFIG_NAME;
use super::settings::{self, CUSTOM, META};
use super::{Document, Documents, Node};
use crate::diagnostics::Diagnostic;
use std::collections::BTreeSet;

impl Documents {
    /// Splits the files by their `_workspace`, in the order in which the workspaces are first named, so that each
    /// workspace can be planned on its own. One part when `-w` settles the workspace or the files name one at most.
    ///
    /// Beside files of several workspaces, a file without `_workspace` belongs to the default workspace when it holds
    /// entities, and to every workspace when it holds only what entities share (`_info`, `_plugin_configs`).
    pub fn by_workspace(mut self) -> Vec<Documents> {
        let mut names: Vec<Option<String>> = Vec::new();
        for document in self.documents.iter().filter(|document| !is_shared(document)) {
            if !names.contains(&document.workspace) {
                names.push(document.workspace.clone());
            }
        }
        if names.iter().flatten().count() < 2 || self.options.workspace.is_some() {
            return vec![self];
        }
        let (shared, own): (Vec<Document>, Vec<Document>) =
            std::mem::take(&mut self.documents).into_iter().partition(is_shared);
        let mut parts: Vec<Vec<Document>> = names.iter().map(|_| shared.clone()).collect();
        for document in own {
            let at = names.iter().position(|name| *name == document.workspace);
            if let Some(part) = at.and_then(|at| parts.get_mut(at)) {
                part.push(document);
            }
        }
        // Of a source that could not be read nobody knows the workspace: the first part tells of it.
        let mut problems = std::mem::take(&mut self.problems);
        problems.truncate(self.of_texts);
        let mut texts: Vec<Vec<Diagnostic>> = Vec::new();
        for part in parts.iter().skip(1) {
            let (here, rest) = problems.into_iter().partition(|problem| concerns(problem, part));
            texts.push(here);
            problems = rest;
        }
        texts.insert(0, problems);
        let used: Vec<BTreeSet<String>> = parts.iter().map(|part| configs(part)).collect();
        let parts = parts.into_iter().zip(texts).enumerate();
        parts
            .map(|(n, (documents, problems))| {
                let others = used.iter().enumerate().filter(|(other, _)| *other != n);
                let used_elsewhere = others.flat_map(|(_, names)| names.iter().cloned()).collect();
                Documents { used_elsewhere, ..self.part(documents, problems) }
            })
            .collect()
    }

    /// Documents of the same run with the settings of these files alone.
    fn part(&self, mut documents: Vec<Document>, mut problems: Vec<Diagnostic>) -> Documents {
        let (options, of_texts) = (self.options.clone(), problems.len());
        let settings = settings::read(&mut documents, &options, &mut problems);
        let (sources, incomplete) = (self.sources.clone(), self.incomplete);
        let used_elsewhere = BTreeSet::new();
        Documents { documents, options, settings, problems, of_texts, sources, incomplete, used_elsewhere }
    }
}

/// The names of the settings under `_plugin_configs` that plugins of some files use.
fn configs(part: &[Document]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut waiting: Vec<&Node> = part.iter().map(|document| &document.root).collect();
    while let Some(node) = waiting.pop() {
        names.extend(node.get(CONFIG_NAME).and_then(Node::text).map(str::to_owned));
        waiting.extend(node.members().iter().map(|member| &member.value).chain(node.items()));
    }
    names
}

/// Whether a file holds no entities and names no workspace.
fn is_shared(document: &Document) -> bool {
    let holds_none = |key: &str| META.contains(&key) && key != CUSTOM;
    document.workspace.is_none() && document.root.members().iter().all(|member| holds_none(&member.key))
}

/// Whether a problem stands in a file of the part, and in none that other parts share.
fn concerns(problem: &Diagnostic, part: &[Document]) -> bool {
    let file = problem.place.as_ref().map(|place| &place.file);
    part.iter().any(|document| Some(document.text.name()) == file && !is_shared(document))
}

#[cfg(test)]
mod tests {
    use crate::document::{Documents, Options, read};

    fn folder(files: &[(&str, &str)], options: Options) -> Documents {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), format!("_format_version: \"3.0\"\n{text}")).unwrap();
        }
        read(&[folder.path().display().to_string()], &mut std::io::empty(), options)
    }

    const FILES: &[(&str, &str)] = &[
        ("a.yaml", "_workspace: blue\nservices: [{name: a, host: a.test}]\n"),
        ("b.yaml", "_workspace: green\n_info: {select_tags: [g]}\nservices: [{name: b, host: b.test}]\n"),
        ("c.yaml", "_workspace: blue\nservices: [{name: c, host: c.test}]\nservices: []\n"),
        ("d.yaml", "services: [{name: d, host: d.test}]\n"),
        ("e.yaml", "_plugin_configs: {limits: {minute: 1}}\n"),
    ];

    #[test]
    fn each_workspace_has_its_files_settings_and_problems() {
        let parts = folder(FILES, Options::default()).by_workspace();
        let shown: Vec<_> = parts
            .iter()
            .map(|part| {
                let codes: Vec<_> = part.diagnostics().iter().map(|problem| problem.code.number).collect();
                let settings = part.settings();
                (settings.workspace.as_deref(), part.documents().len(), settings.scopes.concat().len(), codes)
            })
            .collect();
        let want = [(Some("blue"), 3, 0, vec!["E0004"]), (Some("green"), 2, 1, vec![]), (None, 2, 0, vec![])];
        assert_eq!(shown, want);
    }

    #[test]
    fn one_workspace_is_one_part() {
        let whole = folder(&FILES[2..], Options::default());
        assert_eq!(whole.by_workspace().len(), 1);
        let flag = Options { workspace: Some("red".into()), ..Options::default() };
        let parts = folder(FILES, flag).by_workspace();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].settings().workspace.as_deref(), Some("red"));
    }

    #[test]
    fn shared_settings_that_one_workspace_uses_are_used() {
        let options = Options { lint: true, ..Options::default() };
        let documents = folder(
            &[
                ("a.yaml", "_workspace: a\nplugins: [{name: rate-limiting, _config: one}]\n"),
                ("b.yaml", "_workspace: b\nservices: [{name: s, host: h}]\n"),
                ("c.yaml", "_plugin_configs: {one: {minute: 5}, none: {minute: 5}}\n"),
            ],
            options,
        );
        let schemas = crate::schema::Schemas::bundled(crate::schema::Flavor::Kong314);
        for part in documents.by_workspace() {
            let told: Vec<String> = part.build(&schemas).diagnostics.into_iter().map(|p| p.message).collect();
            assert_eq!(told, ["no plugin uses the settings `none`"]);
        }
    }
}
