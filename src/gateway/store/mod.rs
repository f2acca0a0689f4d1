//! Entities in SQLite: three generic tables.
