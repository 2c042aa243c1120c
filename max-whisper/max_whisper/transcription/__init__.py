"""Recordings to segments: windows one after the other, speech in chunks, many recordings at once."""
