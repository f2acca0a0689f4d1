//! State files: sources, YAML and JSON to nodes that know their place, variables, `_info`, merging.
