"""Where the files beside the code lie: the zoo, recipes, export profiles, deployment and table definitions.

An editable install reads the folders at the top of the repository; a wheel carries them below the package.
"""

from pathlib import Path

from segbench.errors import InputError

FOLDERS = ("model_zoo", "train", "export", "serve", "evaluate")


def folder(name: str) -> Path:
    """Folder `name` of `FOLDERS`, as installed."""
    package = Path(__file__).resolve().parent
    for base in (package / "_resources", package.parent.parent):
        if (base / name).is_dir():
            return base / name
    raise InputError(f"the folder {name!r} is missing from this installation: install segbench again")
