"""The `segbench` command."""

import sys

# what is not in the base install, and the extra that brings it
EXTRAS = {"onnx": "cpu", "torch": "train", "safetensors": "train", "onnxscript": "train"}


def main() -> None:
    """Runs the command; what a user caused is one line on standard error and exit code 2."""
    from segbench.cli.app import app
    from segbench.errors import SegbenchError

    try:
        app()
    except SegbenchError as error:
        line = " ".join(str(error).split())
        print(f"segbench: {line}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        print(f"segbench: this needs {error.name}: pip install 'segbench[{EXTRAS[error.name]}]'", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        print("segbench: interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
