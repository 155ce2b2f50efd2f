"""The processes of a workspace, as programs for the supervisor."""

from __future__ import annotations

import sys

from assay.bootstrap.bundles import bundle_folders
from assay.bootstrap.lifecycle import requested_model
from assay.supervisor.program import Program
from assay.workspace import Workspace


class ScorerCommand:
    """The command line of the scorer, which depends on whether there is a model.

    While a workspace has none, its scorer decides by rules alone. It goes on so, whatever is
    trained meanwhile, until somebody promotes a model: then it is started anew with it, since a
    model may need other features in memory than the rules do.
    """

    def __init__(self, workspace: Workspace, host: str) -> None:
        self._workspace, self._host = workspace, host
        self.rules_only = not bundle_folders(workspace)

    def outdated(self) -> bool:
        """Tell whether a model was promoted since it was started without one."""
        return self.rules_only and requested_model(self._workspace) is not None

    def __call__(self) -> list[str]:
        """Return the command line for the next start."""
        if self.outdated():
            self.rules_only = False
        rules = ["--rules-only"] if self.rules_only else []
        return [*_assay("serve", self._workspace), "--host", self._host, *rules]


def make_programs(
    workspace: Workspace, scorer: ScorerCommand, *, auto_sign_in: bool = False
) -> list[Program]:
    """Return scorer, worker and console, in the order in which they are shown."""
    settings = workspace.settings
    sign_in = ["--auto-sign-in"] if auto_sign_in else []
    worker, console = _assay("worker", workspace), [*_assay("console", workspace), *sign_in]
    return [
        Program("scorer", scorer, "ASSAY_PORT", settings.port, scorer.outdated),
        Program("worker", lambda: worker, "ASSAY_WORKER_PORT", settings.worker_port),
        Program("console", lambda: console, "ASSAY_CONSOLE_PORT", settings.console_port),
    ]


def _assay(verb: str, workspace: Workspace) -> list[str]:
    folder = str(workspace.path.resolve())
    return [sys.executable, "-m", "assay", verb, "--workspace", folder, "--json"]
