"""Checks of what a user gives, and the words in which a wrong value is told."""


def one_line(text: object, limit: int = 200) -> str:
    """`text` with its white space folded, cut at `limit` characters: foreign words inside one of our messages."""
    folded = " ".join(str(text).split())
    return folded if len(folded) <= limit else folded[: limit - 3] + "..."
