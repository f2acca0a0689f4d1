//! A plan or a result as text and JSON, with every secret shown as its origin.
