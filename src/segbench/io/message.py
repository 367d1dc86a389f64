"""What a file or a library says, made fit for one line on a terminal."""

LONGEST = 200


def line(error: BaseException) -> str:
    """The message of an error of a library, in one short line."""
    return printable(str(error))[:LONGEST] or type(error).__name__


def printable(text: str) -> str:
    """`text` in one line: names in a file may hold anything, also what a terminal would obey."""
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
