//! A mock AI provider that speaks OpenAI's and Anthropic's APIs.
