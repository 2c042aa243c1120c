"""OpenAI's Whisper: dimensions, vocabulary, published checkpoints and graphs."""
