"""The HTTP front, over real HTTP to a real scorer process."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from assay.clock import SystemClock
from assay.simulation.player import play
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import Scenario

CARD_NUMBER = "4111111111111111"  # the well-known test number
NOW_MS = 1_780_272_000_000  # where the world of the tests ends


def transaction(number: str, **changes: Any) -> dict[str, Any]:
    base = {
        "transaction_id": f"app-{number}",
        "event_time": NOW_MS,
        "card_id": "card-app-1",
        "merchant_id": "merchant-1",
        "merchant_category": "5411",
        "amount_minor": 1500,
        "currency": "EUR",
        "channel": "pos",
    }
    return {k: v for k, v in (base | changes).items() if v is not None}


def ask(
    scorer: ScorerProcess,
    body: bytes,
    key: str | None,
    path: str = "/v1/decisions",
    method: str = "POST",
) -> tuple[int, dict[str, str], bytes]:
    address = urlsplit(scorer.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    connection.request(method, path, body=body, headers=headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), content


def decide(scorer: ScorerProcess, scenario: Scenario, document: Any) -> tuple[int, Any]:
    status, _, content = ask(scorer, json.dumps(document).encode(), scenario.api_key)
    return status, json.loads(content)


def test_a_transaction_gets_a_whole_decision(scorer: ScorerProcess, trained: Scenario) -> None:
    """An answer names action, score, versions, mode and leaf, and tells its latency apart."""
    body = json.dumps(transaction("whole")).encode()
    status, headers, content = ask(scorer, body, trained.api_key)
    decision = json.loads(content)
    assert status == 200
    assert "server-timing" in {name.lower() for name in headers}
    assert decision["action"] in {"approve", "challenge", "review", "decline"}
    assert 0 <= decision["score"] <= 1
    assert decision["mode"] == "full"
    assert decision["model"] == "boosting-0.1.0"
    assert len(decision["leaf"]) == 64
    assert all(decision[name] for name in ("decision_id", "policy", "feature_set", "runtime"))


def test_a_repeat_gets_the_same_bytes(scorer: ScorerProcess, trained: Scenario) -> None:
    """The same transaction sent again, even with its fields in another order, is not decided
    twice.
    """
    document = transaction("repeat")
    first = ask(scorer, json.dumps(document).encode(), trained.api_key)
    turned = dict(reversed(document.items()))
    second = ask(scorer, json.dumps(turned).encode(), trained.api_key)
    assert first[0] == second[0] == 200
    assert first[2] == second[2]


def test_a_repeat_in_flight_waits_for_the_first(scorer: ScorerProcess, trained: Scenario) -> None:
    """Many copies of one transaction at once get one decision, byte for byte."""
    body = json.dumps(transaction("flight")).encode()
    replies = play(scorer.url, trained.api_key, [body] * 40, connections=20)
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1


def test_same_id_with_another_body_is_a_conflict(scorer: ScorerProcess, trained: Scenario) -> None:
    """A transaction id answers for one body only, and the original stays as it was."""
    status, original = decide(scorer, trained, transaction("conflict"))
    refused, error = decide(scorer, trained, transaction("conflict", amount_minor=9_999))
    assert (status, refused) == (200, 409)
    assert error["error"]["code"] == "conflict"
    assert decide(scorer, trained, transaction("conflict")) == (200, original)


@pytest.mark.parametrize(
    ("changes", "field", "status"),
    [
        ({"colour": "red"}, "colour", 422),
        ({"amount_minor": "12"}, "amount_minor", 422),
        ({"amount_minor": -1}, "amount_minor", 422),
        ({"amount_minor": None}, "amount_minor", 422),
        ({"event_time": "2026-02-30T10:00:00Z"}, "event_time", 422),
        ({"event_time": "2026-02-20T10:00:00"}, "event_time", 422),
        ({"latitude": 91.0, "longitude": 0.0}, "latitude", 422),
        ({"currency": "XXQ"}, "currency", 422),
        ({"kind": "gift"}, "kind", 422),
        ({"card_id": None}, "card_id", 422),
        ({"merchant_time_zone": "Mars/Base"}, "merchant_time_zone", 422),
        ({"merchant_name": f"shop {CARD_NUMBER}"}, "merchant_name", 400),
        ({"merchant_id": CARD_NUMBER}, "merchant_id", 400),
        ({"transaction_id": "4111 1111 1111 1111"}, "transaction_id", 400),
    ],
)
def test_bad_input_names_the_field_in_one_shape(
    scorer: ScorerProcess, trained: Scenario, changes: dict[str, Any], field: str, status: int
) -> None:
    """A wrong field gets 400 or 422 with its name, what it was and what is accepted, and never
    a card number.
    """
    got, answer = decide(scorer, trained, transaction(f"bad-{field}", **changes))
    assert got == status
    error = answer["error"]
    assert set(error) == {"code", "message", "field", "got", "accepted"}
    assert error["field"] == field
    assert error["accepted"]
    assert CARD_NUMBER not in json.dumps(answer).replace(" ", "")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"amount_minor": NaN}', b"[" * 30_000],
)
def test_a_body_that_is_no_transaction_is_refused(
    scorer: ScorerProcess, trained: Scenario, body: bytes
) -> None:
    """Anything but a JSON object gets the same error shape, and the scorer lives on."""
    status, _, content = ask(scorer, body, trained.api_key)
    assert status == 422
    assert json.loads(content)["error"]["code"] == "bad_input"
    assert decide(scorer, trained, transaction("after-bad-body"))[0] == 200


def test_every_route_but_health_needs_a_key(scorer: ScorerProcess, trained: Scenario) -> None:
    """Without a valid key nothing is told, not even which paths exist."""
    body = json.dumps(transaction("nokey")).encode()
    for key in (None, "ak_wrong", trained.api_key[:-1] + "!"):
        for path in ("/v1/decisions", "/", "/v1/nothing", f"/v1/{CARD_NUMBER}"):
            status, _, content = ask(scorer, body, key, path)
            assert status == 401
            assert json.loads(content)["error"]["code"] == "unauthorised"
    assert ask(scorer, b"", None, "/health", "GET")[0] == 200


def test_a_card_number_in_a_path_is_not_echoed(scorer: ScorerProcess, trained: Scenario) -> None:
    """A path with a card number is refused as such, without repeating it."""
    status, _, content = ask(scorer, b"", trained.api_key, f"/v1/{CARD_NUMBER}", "GET")
    assert status == 400
    assert json.loads(content)["error"]["field"] == "path"
    assert CARD_NUMBER.encode() not in content
    assert ask(scorer, b"", trained.api_key, "/v1/nothing", "GET")[0] == 404


def test_counters_tell_what_was_done(scorer: ScorerProcess, trained: Scenario) -> None:
    """Decisions, late and future events, and every cap that was reached are counted."""
    late = transaction("counted", event_time=NOW_MS - 50 * 86_400_000)
    ahead = transaction("counted-2", event_time=SystemClock().now_ms() + 3_600_000)
    before = json.loads(ask(scorer, b"", trained.api_key, "/v1/counters", "GET")[2])
    assert decide(scorer, trained, late)[0] == decide(scorer, trained, ahead)[0] == 200
    after = json.loads(ask(scorer, b"", trained.api_key, "/v1/counters", "GET")[2])
    assert after["decisions"] == before["decisions"] + 2
    assert after["late"] == before["late"] + 1
    assert after["future"] == before["future"] + 1
    assert after["entities_refused"] == after["entity_events_refused"] == 0


def test_latencies_are_told(scorer: ScorerProcess, trained: Scenario) -> None:
    """Each decision is counted by how long it took, in cumulative buckets; nothing else is."""

    def latencies() -> list[int]:
        document = json.loads(ask(scorer, b"", trained.api_key, "/v1/counters", "GET")[2])
        assert document["errors"] == 0
        assert len(document["latency_ms"]["le"]) == len(document["latency_ms"]["counts"]) - 1
        return list(document["latency_ms"]["counts"])

    before = latencies()
    assert decide(scorer, trained, transaction("timed"))[0] == 200
    assert decide(scorer, trained, transaction("timed", amount_minor=-1))[0] == 422
    after = latencies()
    assert after[-1] == before[-1] + 1
    assert after == sorted(after)


def test_health_and_metrics(scorer: ScorerProcess, trained: Scenario) -> None:
    """Health names the versions in force without a key; metrics need one and agree with it."""
    health = json.loads(ask(scorer, b"", None, "/health", "GET")[2])
    assert (health["status"], health["model"], health["revision"]) == ("ok", "boosting-0.1.0", 0)
    assert (health["refused"], health["rules_only"]) == (None, False)
    assert 0 < health["started_ms"] <= SystemClock().now_ms()
    decision = decide(scorer, trained, transaction("health"))[1]
    assert all(health[name] == decision[name] for name in ("policy", "feature_set", "runtime"))
    assert ask(scorer, b"", None, "/metrics", "GET")[0] == 401
    status, headers, content = ask(scorer, b"", trained.api_key, "/metrics", "GET")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"assay_release_info{" in content
    assert b"assay_up 1.0" in content


def test_labels_are_accepted_or_refused_whole(scorer: ScorerProcess, trained: Scenario) -> None:
    """A body of labels is accepted as a whole, or refused with the row that is wrong."""
    good = {"transaction_id": "app-1", "fraud": True, "reported_at": NOW_MS}

    def labels(document: Any, path: str = "/v1/labels", key: str = "") -> tuple[int, Any]:
        body = json.dumps(document).encode()
        status, _, content = ask(scorer, body, key or trained.api_key, path)
        return status, json.loads(content)

    def reported() -> int:
        counters = ask(scorer, b"", trained.api_key, "/v1/counters", "GET")[2]
        return int(json.loads(counters)["label_reports"])

    before = reported()
    assert labels(good) == (202, {"accepted": 1})
    assert labels([good] * 3) == (202, {"accepted": 3})
    status, error = labels([good, good | {"fraud": "no"}])
    assert (status, error["error"]["field"]) == (422, "[1].fraud")
    status, error = labels([good | {"transaction_id": CARD_NUMBER}])
    assert (status, error["error"]["field"]) == (400, "[0].transaction_id")
    assert CARD_NUMBER not in json.dumps(error)
    assert labels([good] * 1001)[0] == 422
    assert labels([good] * 5000)[0] == 413
    assert labels(good, key="ak_wrong")[0] == 401
    assert ask(scorer, b"", trained.api_key, "/v1/labels", "GET")[0] == 405
    resolved = [{"report": 1, "fraud": True, "reported_ms": 1, "event": "AAAA"}]
    assert labels(resolved, "/v1/resolved-labels") == (
        403,
        {
            "error": {
                "code": "forbidden",
                "message": "this route is for Assay's own worker only",
            }
        },
    )
    assert reported() == before + 4


def test_limits_of_http(scorer: ScorerProcess, trained: Scenario) -> None:
    """A wrong method, a huge body and a body of unknown length are refused."""
    assert ask(scorer, b"", trained.api_key, method="GET")[0] == 405
    huge = json.dumps(transaction("huge", merchant_name="x" * 100_000)).encode()
    assert ask(scorer, huge, trained.api_key)[0] == 413
    address = urlsplit(scorer.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as raw:
        raw.sendall(
            b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
            b"authorization: Bearer " + trained.api_key.encode() + b"\r\n\r\n"
        )
        assert b" 411 " in raw.recv(200)


def test_a_client_that_leaves_does_not_lose_the_decision(
    scorer: ScorerProcess, trained: Scenario
) -> None:
    """A client that closes before its answer finds the decision made when it asks again."""
    body = json.dumps(transaction("gone")).encode()
    address = urlsplit(scorer.url)
    head = (
        f"POST /v1/decisions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
        f"authorization: Bearer {trained.api_key}\r\n\r\n"
    ).encode()
    with socket.create_connection((address.hostname, address.port)) as raw:
        raw.sendall(head + body)
    answers = {ask(scorer, body, trained.api_key)[2] for _ in range(5)}
    assert len(answers) == 1


def test_login_is_recorded_but_not_scored(scorer: ScorerProcess, trained: Scenario) -> None:
    """A kind that moves no money is answered without a score."""
    document = {
        "transaction_id": "app-login",
        "event_time": NOW_MS,
        "card_id": "card-app-1",
        "kind": "login",
    }
    status, decision = decide(scorer, trained, document)
    assert status == 200
    assert decision["score"] is None
    assert decision["action"] == "approve"


def test_live_traffic_is_decided_without_errors(scorer: ScorerProcess, trained: Scenario) -> None:
    """A world's next transactions all get decisions, and fraud is ranked above the rest."""
    bodies = trained.bodies()[:4000]
    replies = play(scorer.url, trained.api_key, bodies)
    assert {reply.status for reply in replies} == {200}
    ids = [reply.decision()["transaction_id"] for reply in replies]
    assert ids == trained.live["transaction_id"].to_list()[:4000]


def test_idle_connections_do_not_block(scorer: ScorerProcess, trained: Scenario) -> None:
    """Connections that never finish their headers leave the scorer free to answer others."""

    async def idle() -> int:
        address = urlsplit(scorer.url)
        pairs = [await asyncio.open_connection(address.hostname, address.port) for _ in range(100)]
        for _, writer in pairs:
            writer.write(b"POST /v1/dec")
        status, _ = await asyncio.to_thread(decide, scorer, trained, transaction("idle"))
        for _, writer in pairs:
            writer.close()
        return status

    assert asyncio.run(idle()) == 200


def look_up(scorer: ScorerProcess, key: str | None, decision_id: str) -> tuple[int, Any]:
    status, _, content = ask(scorer, b"", key, f"/v1/decisions/{decision_id}", "GET")
    return status, json.loads(content)


def test_a_decision_is_told_again(scorer: ScorerProcess, trained: Scenario) -> None:
    """Everything journalled of a decision is told by its id, the answer byte for byte."""
    body = json.dumps(transaction("told", merchant_name="corner shop")).encode()
    _, _, answered = ask(scorer, body, trained.api_key)
    decision = json.loads(answered)
    status, _, content = ask(
        scorer, b"", trained.api_key, f"/v1/decisions/{decision['decision_id']}", "GET"
    )
    told = json.loads(content)
    assert status == 200
    assert answered in content
    assert told["decision"] == decision
    assert told["decision"]["decision_id"].endswith(f"-{told['arrival']}")
    assert told["versions"]["model"] == decision["model"]
    assert told["versions"]["arrival"] < told["arrival"]
    assert told["transaction"]["transaction_id"] == "app-told"
    assert told["transaction"]["card_id"] != "card-app-1"
    assert told["flags"] == []
    assert len(told["features"]) > 50
    assert all(isinstance(name, str) for name in told["features"])


def test_other_ids_are_not_found(scorer: ScorerProcess, trained: Scenario) -> None:
    """Foreign, malformed and unknown ids give 404, a boot record's too; a card number is refused
    as everywhere, and nobody asks without a key.
    """
    _, decision = decide(scorer, trained, transaction("known"))
    name, _, number = decision["decision_id"].rpartition("-")
    key = trained.api_key
    for unknown in (
        "",
        "x",
        f"{name}-",
        f"{name}-0",
        f"{name}-0{number}",
        f"{name}-{int(number) + 1_000_000}",
        f"{name}-{'9' * 30}",
        f"{name}-{number}/features",
        f"aaaaaaaaaaaaaaaa-{number}",
        f"{name}--{number}",
    ):
        status, answer = look_up(scorer, key, unknown)
        assert (status, answer["error"]["code"]) == (404, "not_found"), unknown
    boot = look_up(scorer, key, decision["decision_id"])[1]["versions"]["arrival"]
    assert look_up(scorer, key, f"{name}-{boot}")[0] == 404
    status, answer = look_up(scorer, key, CARD_NUMBER)
    assert status == 400
    assert CARD_NUMBER not in json.dumps(answer)
    assert look_up(scorer, None, decision["decision_id"])[0] == 401
    status, _, _ = ask(scorer, b"{}", key, f"/v1/decisions/{decision['decision_id']}", "POST")
    assert status == 405
