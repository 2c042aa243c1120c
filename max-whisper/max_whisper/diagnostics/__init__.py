"""What a user runs to see for themselves: the demo, and parity with openai-whisper by layer and by option."""
