"""Text to token ids and back: prompts, tokenizers, stop rules."""
