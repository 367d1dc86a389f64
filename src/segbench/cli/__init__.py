"""The `segbench` command."""

import sys

TRAINING = frozenset({"torch", "safetensors", "onnx", "onnxscript"})  # what training and export need

INTERRUPTED = 130


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
        if error.name not in TRAINING:
            raise
        print(f"segbench: this needs {error.name}: pip install 'segbench[train]'", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:  # Typer makes an exit of an interruption
            raise
        print("segbench: interrupted; what can go on does so with the same command", file=sys.stderr)  # noqa: T201
        sys.exit(INTERRUPTED)
