//! What is legal and probably not meant: warnings.

use super::super::Documents;
use super::Made;
use super::collect::Collected;
use crate::diagnostics::Diagnostic;
use crate::schema::Schemas;

/// Looks for what is legal and probably not meant.
pub(super) fn lint(
    _documents: &Documents,
    _schemas: &Schemas,
    _collected: &Collected<'_>,
    _made: &[Made],
    _problems: &mut Vec<Diagnostic>,
) {
}
