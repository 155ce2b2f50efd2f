"""Measures a real scorer under the load of a native tool on the same machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.training import train_model
from assay.clock import SystemClock
from assay.errors import SettingsError, UnavailableError
from assay.records import DAY_MS
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import prepare
from assay.simulation.world_settings import WorldSettings

HISTORY_ROWS = 200_000
WARM_ROWS = 2_000
ROWS_PER_S = 16_000
"""Transactions prepared for each second, so that none has to be sent twice."""


def measure(
    folder: Path, *, seconds: int, connections: int, progress: Progress = quiet
) -> dict[str, Any]:
    """Prepare a workspace, start the scorer, load it, and return the figures.

    Raises
    ------
    SettingsError
        If wrk is not installed.
    UnavailableError
        If the load tool fails.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SettingsError("wrk is not installed; accepted: on PATH (Debian: apt-get install wrk)")
    live_rows = ROWS_PER_S * seconds
    end_ms = SystemClock().now_ms()
    settings = WorldSettings(
        start_ms=end_ms - 120 * DAY_MS,
        end_ms=end_ms,
        transactions=HISTORY_ROWS + live_rows,
        customers=20_000,
    )
    scenario = prepare(folder, settings, live_rows, progress)
    train_model(scenario.workspace, progress=progress)
    bodies = folder / "bodies.jsonl"
    bodies.write_bytes(b"\n".join(scenario.bodies()))
    os.sync()  # else the disk writes what the preparation left while the load is measured
    with ScorerProcess(folder) as scorer:
        progress(f"load for {seconds} s", 0, 0)
        cpu_s = scorer.cpu_s()
        figures = _run_wrk(wrk, scorer.url, bodies, scenario.api_key, seconds, connections)
        cpu_s = scorer.cpu_s() - cpu_s
        scorer.stop()
    decisions = figures["decisions"]
    journal = sum(path.stat().st_size for path in scenario.workspace.journal.iterdir())
    return figures | {
        "server_cpu_us_per_decision": round(cpu_s * 1e6 / max(decisions, 1), 1),
        "journal_bytes_per_decision": round(journal / max(decisions, 1)),
        "connections": connections,
        "history": scenario.history_rows,
        "machine": machine(),
    }


def _run_wrk(
    wrk: str, url: str, bodies: Path, key: str, seconds: int, connections: int
) -> dict[str, Any]:
    with as_file(files("assay.simulation") / "load.lua") as script:
        done = subprocess.run(  # noqa: S603 — a tool found on PATH, our own arguments
            [
                *(wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"),
                *("--latency", "-s", str(script), url, "--", str(bodies)),
            ],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"ASSAY_API_KEY": key},
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("figures ")]
    if done.returncode != 0 or not lines:
        raise UnavailableError(f"wrk failed: {(done.stderr or done.stdout).strip()[-300:]}")
    requests, took_us, status, socket, p50, p99, p999, longest = map(int, lines[0].split()[1:])
    return {
        "decisions_per_s": round((requests - status) / (took_us / 1e6)),
        "p50_ms": p50 / 1000,
        "p99_ms": p99 / 1000,
        "p999_ms": p999 / 1000,
        "max_ms": longest / 1000,
        "decisions": requests - status,
        "errors": status + socket,
    }


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    processor = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": processor[0] if processor else platform.processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
