//! The one table of codes. Each has a page in `docs/errors`, and the build fails without it.

use std::fmt;

/// A stable name for one sort of problem: a letter and number (`E0103`) and a word (`unknown-field`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    /// `E` or `W` and four digits.
    pub number: &'static str,
    /// A few lower-case words joined by hyphens.
    pub name: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.name)
    }
}

/// The table of codes. Numbers are never given anew: scripts and suppressions name them.
/// 00xx reading files, 01xx schemas, 02xx references and identity, 03xx variables, 04xx plans, 05xx gateways, 06xx the command line.
pub mod codes {
    use super::Code;
    use crate::diagnostics::{Page, nearest};

    macro_rules! codes {
        ($($(#[$doc:meta])* $constant:ident = $number:literal $name:literal;)*) => {
            $($(#[$doc])* pub const $constant: Code = Code { number: $number, name: $name };)*
            /// Every code, in order of number, with its page.
            pub const ALL: &[Page] = &[$(Page {
                code: $constant,
                text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors/", $number, ".md")),
            }),*];
        };
    }

    codes! {
        /// A file, folder or standard input could not be read.
        UNREADABLE = "E0001" "unreadable-file";
        /// The text is not YAML or JSON.
        SYNTAX = "E0002" "syntax-error";
        /// A second document in one file.
        SECOND_DOCUMENT = "E0003" "second-document";
        /// A key that stands twice in one mapping.
        DUPLICATE_KEY = "E0004" "duplicate-key";
        /// `_format_version` is missing, of a wrong type, or not supported.
        FORMAT_VERSION = "E0005" "format-version";
        /// Two files contradict each other, or repeat each other's entities.
        MERGE = "E0006" "contradicting-files";
        /// Text, depth or expansion beyond what is read.
        TOO_LARGE = "E0007" "too-large";
        /// A value of the wrong type.
        WRONG_TYPE = "E0101" "wrong-type";
        /// A value outside what the schema allows.
        INVALID_VALUE = "E0102" "invalid-value";
        /// A field that the schema does not know.
        UNKNOWN_FIELD = "E0103" "unknown-field";
        /// A required field is missing.
        MISSING_FIELD = "E0104" "missing-field";
        /// Fields that contradict or require each other.
        FIELD_RULE = "E0105" "field-rule";
        /// A plugin that is not known.
        UNKNOWN_PLUGIN = "E0106" "unknown-plugin";
        /// A kind or feature that the chosen gateway does not have.
        NOT_SUPPORTED = "E0107" "not-supported";
        /// Limits that override those of a plugin for a consumer group, without the setting for it.
        POLICY_OVERRIDE = "E0108" "policy-override";
        /// A reference to an entity that does not exist.
        DANGLING = "E0201" "dangling-reference";
        /// Two entities with the same identity.
        DUPLICATE_ENTITY = "E0202" "duplicate-entity";
        /// Two entities with the same value in a field that must be unique.
        DUPLICATE_UNIQUE = "E0203" "duplicate-unique-value";
        /// A variable that is not set.
        UNSET_VARIABLE = "E0301" "unset-variable";
        /// An expression that cannot be read, or a value that its filter cannot turn.
        BAD_EXPRESSION = "E0302" "bad-expression";
        /// A plan that would delete more than was agreed to.
        REFUSED_DELETE = "E0401" "refused-delete";
        /// A plan that collides with an entity outside its scope.
        CONFLICT = "E0402" "conflict";
        /// A saved plan that no longer fits the control plane or the files.
        STALE_PLAN = "E0403" "stale-plan";
        /// The gateway could not be reached.
        UNREACHABLE = "E0501" "gateway-unreachable";
        /// The gateway refused the credentials.
        UNAUTHORIZED = "E0502" "unauthorized";
        /// The named control plane does not exist.
        NO_CONTROL_PLANE = "E0503" "no-control-plane";
        /// The gateway refused a request.
        REFUSED_REQUEST = "E0504" "refused-request";
        /// The gateway answered with something that is not its API.
        UNEXPECTED_ANSWER = "E0505" "unexpected-answer";
        /// The built-in gateway could not start.
        GATEWAY_START = "E0506" "gateway-start";
        /// A run that was interrupted before its end.
        INTERRUPTED = "E0507" "interrupted";
        /// Flags or settings that do not go together.
        USAGE = "E0601" "usage";
        /// A setting of a file that a flag replaces.
        OVERRIDDEN = "W0001" "setting-overridden";
        /// A field that is on its way out.
        DEPRECATED_FIELD = "W0101" "deprecated-field";
        /// A path that looks like a regular expression and is taken as plain text.
        REGEX_PATH = "W0102" "regex-path";
        /// Credentials that may travel over plain HTTP.
        PLAIN_HTTP = "W0103" "plain-http-credentials";
        /// A route that no request can reach because another takes them all.
        SHADOWED_ROUTE = "W0104" "shadowed-route";
        /// Shared plugin settings that no plugin uses.
        UNUSED_CONFIG = "W0201" "unused-plugin-config";
        /// A reference to a secret of a vault that the files do not hold.
        UNKNOWN_VAULT = "W0202" "unknown-vault";
        /// A plugin, or a field of one, that the built-in gateway keeps without effect.
        NOT_EXECUTED = "W0203" "not-executed";
        /// A secret written in clear into a state file.
        CLEAR_SECRET = "W0301" "secret-in-clear";
    }

    /// The names that decK's `-W` and `-E` take.
    const FORMER: [(&str, Code); 3] = [
        ("oidc-missing-required-config", MISSING_FIELD),
        ("rla-consumer-groups-deprecated", POLICY_OVERRIDE),
        ("route-regex-path-format", REGEX_PATH),
    ];

    /// The page of a code by its number, in capitals or not, or by its name.
    pub fn page(word: &str) -> Option<&'static Page> {
        ALL.iter().find(|page| page.code.number.eq_ignore_ascii_case(word) || page.code.name == word)
    }

    /// A code by its number, its name or decK's name for it.
    pub fn find(word: &str) -> Option<Code> {
        let former = FORMER.iter().find(|(name, _)| *name == word).map(|(_, code)| *code);
        page(word).map(|page| page.code).or(former)
    }

    /// The code whose number or name is nearest to a word, when one is near enough to be meant.
    pub fn near(word: &str) -> Option<Code> {
        let word = word.to_ascii_lowercase();
        let numbers: Vec<String> = ALL.iter().map(|page| page.code.number.to_ascii_lowercase()).collect();
        let words = numbers.iter().map(String::as_str).chain(ALL.iter().map(|page| page.code.name));
        nearest(&word, words).and_then(find)
    }
}

#[cfg(test)]
mod tests {
    use super::codes;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_unique_and_its_page_is_its_own() {
        let numbers: BTreeSet<&str> = codes::ALL.iter().map(|page| page.code.number).collect();
        let names: BTreeSet<&str> = codes::ALL.iter().map(|page| page.code.name).collect();
        assert_eq!((numbers.len(), names.len()), (codes::ALL.len(), codes::ALL.len()));
        for page in codes::ALL {
            assert!(page.text.starts_with(&format!("# {}: ", page.code)), "{}", page.code);
            assert!(!page.title().is_empty() && !page.title().ends_with('.'), "{}", page.code);
        }
        assert!(codes::ALL.is_sorted_by_key(|page| (!page.code.number.starts_with('E'), page.code.number)));
    }

    #[test]
    fn codes_are_found_by_number_and_name() {
        assert_eq!(codes::find("e0103"), Some(codes::UNKNOWN_FIELD));
        assert_eq!(codes::find("unknown-field"), Some(codes::UNKNOWN_FIELD));
        assert_eq!(codes::find("route-regex-path-format"), Some(codes::REGEX_PATH));
        assert_eq!(codes::find("E9999"), None);
        assert_eq!(codes::near("unknwon-field"), Some(codes::UNKNOWN_FIELD));
        assert_eq!(codes::near("secret"), None);
    }
}
