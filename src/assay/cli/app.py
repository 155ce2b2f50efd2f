"""The program ``assay``: its verbs, and one line for every error."""

from __future__ import annotations

import os
import sys

import typer

from assay.cli import bench, decide, demo, import_, init, key, replay, serve, train
from assay.errors import AssayError

app = typer.Typer(
    help="Decides, while a card payment waits, whether it is fraud.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("init")(init.init)
app.command("import")(import_.import_file)
app.command("train")(train.train)
app.command("serve")(serve.serve)
app.command("decide")(decide.decide)
app.command("replay")(replay.replay)
app.add_typer(key.app, name="key")
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the program; an expected error is one line on stderr and exit code 1."""
    if sys.flags.optimize:
        sys.exit("assay: started with -O, which strips assertions; accepted: without it")
    debug = "ASSAY_DEBUG" in os.environ
    try:
        app()
    except AssayError as error:
        if debug:
            raise
        sys.exit(f"assay: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
