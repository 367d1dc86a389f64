"""Libraries that the base install leaves out."""

from segbench.errors import InputError


def missing(library: str, where: str) -> InputError:
    """The one line that says which library is not installed and what to type."""
    return InputError(f"{where}: reading this needs the library {library}: pip install 'segbench[formats]'")
