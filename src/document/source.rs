//! Opening what the user named: files, folders, standard input. The only place that opens state files.

use super::options::Variables;
use crate::diagnostics::{Diagnostic, Place, Position, SourceMap, codes};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest source in bytes.
pub const LARGEST: u64 = 128 * 1024 * 1024;
/// The most files of one run.
const MOST_FILES: usize = 100_000;
/// The deepest folder below a named one.
const DEEPEST: usize = 64;
/// The names of state files in a folder end so.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// The name of standard input.
pub const STDIN: &str = "-";

/// What was opened.
#[derive(Default)]
pub struct Opened {
    /// Name and text of each source, in the order in which they count.
    pub texts: Vec<(Arc<str>, Arc<str>)>,
    /// What could not be opened or is not text.
    pub problems: Vec<Diagnostic>,
    /// The texts of sources that are broken, for showing lines.
    pub broken: SourceMap,
}

/// Opens every input: `-` is standard input, a folder stands for the state files in it and below, sorted by path.
/// A file that is named twice is read once.
pub fn open(inputs: &[String], stdin: &mut dyn Read) -> Opened {
    let mut opened = Opened::default();
    let mut seen = BTreeSet::new();
    let standard = [STDIN.to_owned()];
    let inputs = if inputs.is_empty() { &standard } else { inputs };
    for input in inputs {
        if input == STDIN {
            if seen.insert(PathBuf::from(STDIN)) {
                opened.read(STDIN.into(), stdin);
            }
            continue;
        }
        let mut files = Vec::new();
        let path = Path::new(input);
        if path.is_dir() {
            let mut folders = BTreeSet::new();
            opened.list(path, 0, &mut folders, &mut files);
            if files.is_empty() {
                opened.problems.push(
                    Diagnostic::error(codes::UNREADABLE, format!("the folder {input} holds no state file"))
                        .at(whole(input))
                        .help("state files in a folder end in .yaml, .yml or .json"),
                );
            }
        } else {
            files.push(path.to_owned());
        }
        for file in files {
            let known = std::fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
            if seen.insert(known) {
                opened.file(&file);
            }
        }
    }
    opened
}

/// Adds the variables of a file in dotenv form; those that are set already keep their values.
pub fn env_file(path: &str, variables: &mut Variables) -> Result<(), Diagnostic> {
    let unreadable = |why: String| {
        Diagnostic::error(codes::UNREADABLE, format!("cannot read {path}: {why}")).at(whole(path))
    };
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    for pair in dotenvy::from_read_iter(file.take(LARGEST)) {
        let (name, value) = pair.map_err(|error| match error {
            // The line itself may hold a secret.
            dotenvy::Error::LineParse(_, _) => unreadable("a line is not of the form NAME=value".into()),
            dotenvy::Error::Io(error) => unreadable(error.to_string()),
            _ => unreadable("it is not of the form NAME=value".into()),
        })?;
        variables.add(name, value);
    }
    Ok(())
}

/// The start of a source, for problems that concern all of it.
pub fn whole(name: &str) -> Place {
    let start = Position { line: 1, column: 1, offset: 0 };
    Place { file: name.into(), start, end: start }
}

impl Opened {
    fn list(&mut self, folder: &Path, depth: usize, seen: &mut BTreeSet<PathBuf>, files: &mut Vec<PathBuf>) {
        let name = folder.display().to_string();
        let known = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        // A link back to a folder that was read already is not followed again.
        if !seen.insert(known) {
            return;
        }
        if depth > DEEPEST {
            self.fail(codes::TOO_LARGE, &name, format!("{name} is more than {DEEPEST} folders deep"));
            return;
        }
        let entries = match std::fs::read_dir(folder).and_then(|all| all.collect::<Result<Vec<_>, _>>()) {
            Ok(entries) => entries,
            Err(error) => {
                self.fail(codes::UNREADABLE, &name, format!("cannot read the folder {name}: {error}"));
                return;
            }
        };
        let mut paths: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
        paths.sort();
        for path in paths {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if path.is_dir() {
                self.list(&path, depth + 1, seen, files);
            } else if ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
                // Reading a pipe or a device in a folder might never end. A link that leads nowhere is told on opening.
                if std::fs::metadata(&path).is_ok_and(|known| !known.is_file()) {
                    let name = path.display().to_string();
                    self.fail(codes::UNREADABLE, &name, format!("{name} is no regular file"));
                    continue;
                }
                if files.len() == MOST_FILES {
                    self.fail(codes::TOO_LARGE, &name, format!("more than {MOST_FILES} state files"));
                    return;
                }
                files.push(path);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let name: Arc<str> = path.display().to_string().into();
        match std::fs::File::open(path) {
            Ok(mut file) => self.read(name, &mut file),
            Err(error) => {
                let problem = format!("cannot read {name}: {}", plain_words(&error));
                self.fail(codes::UNREADABLE, &name, problem);
            }
        }
    }

    fn read(&mut self, name: Arc<str>, input: &mut dyn Read) {
        let mut bytes = Vec::new();
        if let Err(error) = input.take(LARGEST + 1).read_to_end(&mut bytes) {
            let source = if &*name == STDIN { "standard input" } else { &name };
            let problem = format!("cannot read {source}: {}", plain_words(&error));
            self.fail(codes::UNREADABLE, &name, problem);
            return;
        }
        if bytes.len() as u64 > LARGEST {
            let problem = format!("{name} is larger than {} MiB", LARGEST / 1024 / 1024);
            self.fail(codes::TOO_LARGE, &name, problem);
            return;
        }
        if bytes.starts_with(b"\xEF\xBB\xBF") {
            bytes.drain(..3);
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.texts.push((name, text.into())),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let utf16 = matches!(error.as_bytes(), [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]);
                let text: Arc<str> = String::from_utf8_lossy(error.as_bytes()).into();
                let shown = super::text::Text::new(name.clone(), text.clone());
                let end = offset + char::REPLACEMENT_CHARACTER.len_utf8();
                let help = if utf16 {
                    "this looks like UTF-16; save the file as UTF-8"
                } else {
                    "save the file as UTF-8"
                };
                let problem = Diagnostic::error(codes::SYNTAX, "the text is not valid UTF-8")
                    .at(shown.place(super::text::Span::new(offset, end)))
                    .help(help);
                for span in super::broken::values(&shown, std::slice::from_ref(&problem)) {
                    self.broken.conceal(&shown.place(span));
                }
                self.problems.push(problem);
                self.broken.insert(name, text);
            }
        }
    }

    fn fail(&mut self, code: crate::diagnostics::Code, source: &str, message: String) {
        self.problems.push(Diagnostic::error(code, message).at(whole(source)));
    }
}

fn plain_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file or folder".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}
