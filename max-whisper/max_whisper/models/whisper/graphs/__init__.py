"""What MAX compiles for Whisper: encoder and decoder, of MAX's own operations or of ours."""
