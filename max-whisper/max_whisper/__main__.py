"""`python -m max_whisper`: the command line without its script."""

from max_whisper.cli import main

if __name__ == "__main__":
    main()
