//! The plugins that the proxy executes, one file each, with a table.
