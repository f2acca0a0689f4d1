//! `-W` and `-E`: which problems are errors and which are warnings.

use crate::diagnostics::{Code, Diagnostic, Severity, codes};

/// The flags.
#[derive(clap::Args, Clone, Default)]
pub struct Weights {
    /// Codes that are warnings in this run, by number or name (E0103, unknown-field); comma-separated, repeatable
    #[arg(short = 'W', long, alias = "warn", value_name = "CODES", value_delimiter = ',', value_parser = lenient)]
    errors_as_warnings: Vec<Code>,

    /// Codes that are errors in this run, by number or name; comma-separated, repeatable
    #[arg(short = 'E', long, alias = "error", value_name = "CODES", value_delimiter = ',', value_parser = known)]
    warnings_as_errors: Vec<Code>,
}

impl Weights {
    /// Weighs problems anew. With `strict` every warning is an error but those of `-W`, which wins over all else.
    pub fn weigh(&self, strict: bool, problems: &mut [Diagnostic]) {
        for problem in problems {
            problem.severity = match problem.severity {
                Severity::Error if self.errors_as_warnings.contains(&problem.code) => Severity::Warning,
                Severity::Warning if self.errors_as_warnings.contains(&problem.code) => Severity::Warning,
                Severity::Warning if strict || self.warnings_as_errors.contains(&problem.code) => {
                    Severity::Error
                }
                as_it_is => as_it_is,
            };
        }
    }
}

fn known(word: &str) -> Result<Code, String> {
    codes::find(word).ok_or_else(|| match codes::near(word) {
        Some(code) => format!("there is no such code; did you mean {} ({})?", code.number, code.name),
        None => "there is no such code; `foredeck explain` lists them".to_owned(),
    })
}

/// A code that may become a warning: what the gateway may see otherwise. A file that cannot be read, an entity that
/// stands twice or a value that is not there leaves nothing to go on with.
fn lenient(word: &str) -> Result<Code, String> {
    let code = known(word)?;
    let may_be = code.number.starts_with('W') || code.number.starts_with("E01") || code == codes::DANGLING;
    may_be.then_some(code).ok_or_else(|| format!("{code} cannot be a warning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighed(weights: &Weights, strict: bool) -> Vec<Severity> {
        let mut problems = [
            Diagnostic::error(codes::UNKNOWN_FIELD, "a"),
            Diagnostic::error(codes::WRONG_TYPE, "b"),
            Diagnostic::warning(codes::CLEAR_SECRET, "c"),
            Diagnostic::warning(codes::REGEX_PATH, "d"),
        ];
        weights.weigh(strict, &mut problems);
        problems.iter().map(|problem| problem.severity).collect()
    }

    #[test]
    fn codes_are_weighed_one_by_one() {
        use Severity::{Error, Warning};
        let weights = Weights {
            errors_as_warnings: vec![codes::UNKNOWN_FIELD, codes::CLEAR_SECRET],
            warnings_as_errors: vec![codes::CLEAR_SECRET, codes::REGEX_PATH],
        };
        assert_eq!(weighed(&weights, false), [Warning, Error, Warning, Error]);
        assert_eq!(weighed(&Weights::default(), false), [Error, Error, Warning, Warning]);
        assert_eq!(weighed(&Weights::default(), true), [Error; 4]);
        let only = Weights { errors_as_warnings: vec![codes::CLEAR_SECRET], ..Weights::default() };
        assert_eq!(weighed(&only, true), [Error, Error, Warning, Error]);
    }

    #[test]
    fn what_stops_reading_cannot_be_a_warning() {
        assert_eq!(lenient("E0103"), Ok(codes::UNKNOWN_FIELD));
        assert_eq!(lenient("route-regex-path-format"), Ok(codes::REGEX_PATH));
        assert!(lenient("E0002").is_err() && lenient("E0202").is_err() && lenient("E0301").is_err());
        assert!(known("E0301").is_ok());
        assert!(known("unknwon-field").is_err_and(|why| why.contains("E0103")));
    }
}
