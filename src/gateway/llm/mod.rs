//! AI providers, one file each: requests and answers between OpenAI's format and theirs.
