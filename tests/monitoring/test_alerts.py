from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, select

from assay.control.database import open_control
from assay.control.schema import ALERTS, FINDINGS
from assay.monitoring.alerts import replace_findings, settle_alerts, settle_system
from assay.monitoring.finding import Finding


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    engine = open_control(tmp_path_factory.mktemp("alerts") / "control.sqlite")
    with engine.connect() as found:
        yield found
    engine.dispose()


def settle(connection: Connection, model: str, now_ms: int, *values: float) -> list[Any]:
    findings = [Finding("feature_drift", f"f{i}", v, 0.25, 2000) for i, v in enumerate(values)]
    settle_alerts(connection, model, findings, now_ms * 10, now_ms)
    return list(connection.execute(select(ALERTS).order_by(ALERTS.c.id)))


def test_an_alert_has_one_life(connection: Connection) -> None:
    """It opens above the threshold, keeps its worst moment, and closes well below it only."""
    connection.execute(delete(ALERTS))
    assert settle(connection, "m", 1, 0.1, 0.25) == []
    (alert,) = settle(connection, "m", 2, 0.1, 0.3)
    assert (alert.stream_ms, alert.opened_ms, alert.value) == (20, 2, 0.3)
    (alert,) = settle(connection, "m", 3, 0.5, 0.3)
    assert (alert.opened_ms, alert.value) == (2, 0.5)
    assert "2 of 2 features" in alert.message
    (alert,) = settle(connection, "m", 4, 0.1, 0.24)
    assert (alert.closed_ms, alert.value) == (None, 0.5)
    (alert,) = settle(connection, "m", 5)
    assert alert.closed_ms is None
    (alert,) = settle(connection, "m", 6, 0.1, 0.19)
    assert alert.closed_ms == 6
    assert len(settle(connection, "m", 7, 0.3)) == 2


def test_another_model_closes_the_alerts_of_the_first(connection: Connection) -> None:
    """About a model that decides no more nothing new is known, so its alert ends."""
    connection.execute(delete(ALERTS))
    settle(connection, "m-1", 1, 0.3)
    old, new = settle(connection, "m-2", 2, 0.3)
    assert (old.closed_ms, new.model, new.closed_ms) == (2, "m-2", None)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.floats(0, 1), max_size=3))))
def test_at_most_one_alert_is_open(
    connection: Connection, looks: list[tuple[str, list[float]]]
) -> None:
    """Whatever is found in whatever order, one alert at most is open, and of the model in force."""
    connection.execute(delete(ALERTS))
    for now_ms, (model, values) in enumerate(looks):
        alerts = settle(connection, model, now_ms, *values)
        still = [alert for alert in alerts if alert.closed_ms is None]
        assert [alert.model for alert in still] in ([], [model])


def test_findings_are_those_of_the_last_look(connection: Connection) -> None:
    """A look leaves nothing of the look before."""
    for value in (0.1, 0.2):
        found = [Finding("score_drift", "score", value, 0.25, 7)]
        replace_findings(connection, "m", found, 1, 2, 3)
    rows = list(connection.execute(select(FINDINGS)))
    assert [(row.value, row.rows, row.from_ms, row.to_ms) for row in rows] == [(0.2, 7, 1, 2)]
    replace_findings(connection, "m", [], 1, 2, 3)
    assert list(connection.execute(select(FINDINGS))) == []


def test_an_alert_about_the_system_outlives_every_model(connection: Connection) -> None:
    """It opens with its cause, follows its words, and closes with it; switches leave it alone."""
    connection.execute(delete(ALERTS))

    def system(now_ms: int, **causes: str | None) -> list[tuple[Any, ...]]:
        settle_system(connection, causes, now_ms * 10, now_ms)
        names = (ALERTS.c.monitor, ALERTS.c.message, ALERTS.c.opened_ms, ALERTS.c.closed_ms)
        return [tuple(row) for row in connection.execute(select(*names).order_by(ALERTS.c.id))]

    assert system(1, disk=None, stalled=None) == []
    assert system(2, disk="85 %") == [("disk", "85 %", 2, None)]
    for now_ms, model in enumerate(("m-1", "m-2"), 3):
        assert len(settle(connection, model, now_ms, 0.3)) == now_ms - 1
    assert system(5, disk="86 %", stalled=None)[0] == ("disk", "86 %", 2, None)
    assert system(6, stalled=None)[0] == ("disk", "86 %", 2, None)
    assert system(7, disk=None)[0] == ("disk", "86 %", 2, 7)
    assert system(8, disk="90 %")[-1] == ("disk", "90 %", 8, None)
