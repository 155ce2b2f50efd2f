"""The program ``assay``: its verbs, and one line for every error."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from assay import __version__
from assay.cli import (
    audit,
    bench,
    console,
    dataset,
    decide,
    demo,
    features,
    import_,
    init,
    key,
    label,
    model,
    monitor,
    replay,
    serve,
    standby,
    train,
    up,
    worker,
)
from assay.errors import AssayError


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"assay {__version__}")
        raise typer.Exit


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
app.command("up")(up.up)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("console")(console.console)
app.command("decide")(decide.decide)
app.command("replay")(replay.replay)
app.command("label")(label.label)
app.command("monitor")(monitor.monitor)
app.add_typer(model.app, name="model")
app.add_typer(dataset.app, name="dataset")
app.add_typer(features.app, name="features")
app.add_typer(audit.app, name="audit")
app.add_typer(standby.app, name="standby")
app.add_typer(key.app, name="key")
app.add_typer(bench.app, name="bench")


@app.callback()
def version(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Decide, while a card payment waits, whether it is fraud."""


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
    except (OSError, UnicodeDecodeError) as error:
        if debug:
            raise
        sys.exit(f"assay: {_reason(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    from assay.ingest.firewall import masked

    if isinstance(error, UnicodeDecodeError):
        return f"a file is not UTF-8 text (byte {error.start}); accepted: UTF-8"
    return f"{masked(str(error.filename or ''))}: {error.strerror or type(error).__name__}"
