"""Caps, prices and forecasts."""

import json

import pytest

from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import BudgetError
from pipeline.execution.forecast import Dry, Forecast, of_requests
from pipeline.llm import money
from pipeline.llm.answer import Usage
from pipeline.llm.door import Door
from pipeline.llm.ledger import usage
from pipeline.runs.step import Step
from tests.bench.door import prepare
from tests.llm.conftest import answers_of
from tests.llm.test_door import bodies

PRICE = {"input": 1.0, "output": 2.0, "date": "2026-11-01"}


def endpoint(url="http://x", **more):
    return Endpoint(base_url=url, model="m", price={**PRICE, **more})


def test_what_an_answer_costs():
    took = Usage(1000, 500, 400)
    assert money.cost(endpoint(), took) == pytest.approx(2000 / 1e6)
    assert money.cost(endpoint(cached_input=0.5), took) == pytest.approx((600 + 200 + 1000) / 1e6)
    batch = endpoint(batch=0.5).model_copy(update={"mode": "batch"})
    assert money.cost(batch, took) == pytest.approx(1000 / 1e6)
    assert money.cost(endpoint(), Usage(1000, None)) is None
    assert money.cost(Endpoint(base_url="http://x", model="m"), took) is None
    assert money.cost(Endpoint(base_url="standin:", model="m"), took) == 0.0


@pytest.mark.parametrize("cap", ["budget", "step_budget"])
def test_a_cap_is_kept_over_restarts_and_across_steps(tmp_path, server, cap):
    def ask(step, rows):
        door = Door(tmp_path / "calls.sqlite", Runtime(concurrency=4, **{cap: 0.005}), "r", step)
        return list(
            answers_of(
                door, endpoint(server.url), bodies(*(f"row={row} {step}" for row in range(rows)))
            )
        )

    assert len(ask("teacher", 20)) == 20  # 120 micro-units each, 0.0024
    with pytest.raises(BudgetError, match=f"of its {cap} of 0.005 USD"):
        ask("teacher", 100)
    spent = usage(tmp_path / "calls.sqlite", "r", "teacher")["cost"]
    assert 0.0045 < spent <= 0.005
    assert server.counts["ok"] == usage(tmp_path / "calls.sqlite", "r")["calls"]
    if cap == "budget":
        with pytest.raises(BudgetError):
            ask("round-1/critic", 20)
    else:
        assert len(ask("round-1/critic", 20)) == 20


def test_a_forecast_before_and_after_answers(tmp_path, server):
    path, step, asked = (
        tmp_path / "calls.sqlite",
        Step("teacher"),
        bodies(*(f"row={row}" for row in range(40))),
    )
    before = of_requests(path, step, endpoint(server.url), asked)
    assert (before.calls, before.cached, before.fitted, before.completion) == (40, 0, 0, 40 * 100)
    assert not path.exists()
    list(answers_of(Door(path, Runtime(), "r", "teacher"), endpoint(server.url), asked[:10]))
    after = of_requests(path, step, endpoint(server.url), asked)
    assert (after.calls, after.cached, after.fitted) == (40, 10, 10)
    assert after.completion == 30 * 40  # the server writes 40 tokens
    assert after.prompt == pytest.approx(30 * 40, rel=0.05)
    assert after.cost == pytest.approx((after.prompt + 2 * after.completion) / 1e6)
    assert "fitted on 10 answers" in str(after)
    assert "USD at the prices of 2026-11-01" in str(after)


def test_unknown_prices_stay_unknown_in_the_total():
    known, unknown = (
        Forecast(endpoint(), 10, 0, 1000, 500, 0),
        Forecast(Endpoint(base_url="http://y", model="n"), 10, 0, 1000, 500, 0),
    )
    assert Dry(forecasts=[known]).total() == "In all about 0.0020 USD"
    assert (
        Dry(forecasts=[known, unknown]).total()
        == "In all about 0.0020 USD, and what n costs, which is unknown"
    )
    assert "unknown price" in str(unknown)
    assert (
        Dry(forecasts=[Forecast(Endpoint(base_url="standin:", model="s"), 1, 0, 1, 1, 0)]).total()
        == ""
    )


def test_a_dry_run_of_all_says_what_each_step_asks(cli, data):
    said = cli(
        "all",
        "--run",
        "v1",
        "--dry-run",
        "--set",
        "evaluate.best_of=3",
        "--set",
        "critic.pairs=all",
    )
    assert "would ask standin-teacher at standin: up to 1,800 times" in said
    assert (
        "would ask standin-critic at standin: up to 39,000 times" in said
    )  # 1,300 literals, 15 pairs, 2 orders
    assert (
        "would ask standin-judge at standin: up to 4,000 times" in said
    )  # 500 literals, 4 contestants
    assert (
        "would ask standin-critic at standin: up to 2,000 times" in said
    )  # best of 3: 2 meetings each
    assert not (data / "cache").exists()


def test_the_ledger_grows_over_restarts(server, data, cli):
    data.mkdir()
    url = server.url.removesuffix("/v1")
    price = 'teacher.endpoint.price={input=1.0, output=2.0, date="2026-11-01"}'
    server.reset({"latency_ms": 1.0, "numbered": 3, "poison": {"3": "500"}})
    command = prepare(data, url, 12, 4)[3:]
    flags = ["--set", price, "--set", "runtime.retries=0"]
    cli(*command, *flags, code=10)
    server.options.poison = {}
    said = cli(*command, *flags)
    spent = json.loads((data / "runs/bench/teacher/manifest.json").read_text())["spent"]
    assert spent == {
        "calls": 12,
        "prompt_tokens": 480,
        "completion_tokens": 480,
        "cost": pytest.approx(12 * 120 / 1e6),
        "currency": "USD",
    }
    assert "12" in cli("status", "--run", "bench")
    assert "Traceback" not in said


def test_a_cap_ends_the_run_whatever_the_amounts(tmp_path, server):
    """Sums of unequal amounts leave a rest that is not 0, and is nobody's."""
    door = Door(tmp_path / "calls.sqlite", Runtime(concurrency=8, budget=0.004), "r", "teacher")
    with pytest.raises(BudgetError):
        list(
            answers_of(
                door,
                endpoint(server.url),
                bodies(*(f"row={row} " + "x" * (row * 7 % 97) for row in range(200))),
            )
        )


def test_a_200_without_an_answer_is_paid_and_capped(tmp_path, server):
    server.options.poison = {"1": "null"}
    door = Door(tmp_path / "calls.sqlite", Runtime(budget=0.0005, retries=6), "r", "teacher")
    with pytest.raises(BudgetError):
        list(answers_of(door, endpoint(server.url), bodies("row=1")))
    spent = usage(tmp_path / "calls.sqlite", "r")
    assert spent["cost"] == pytest.approx(spent["calls"] * 120 / 1e6)
    assert 0.00012 <= spent["cost"] <= 0.0005
    assert server.counts["null"] == spent["calls"]


def test_two_processes_do_not_share_a_cap(tmp_path, server):
    first = answers_of(
        Door(tmp_path / "calls.sqlite", Runtime(budget=1.0), "r", "teacher"),
        endpoint(server.url),
        bodies("a", "b"),
    )
    next(first)
    second = Door(tmp_path / "calls.sqlite", Runtime(budget=1.0), "r", "round-1/critic")
    with pytest.raises(BudgetError, match="Another process spends the money of run r"):
        list(answers_of(second, endpoint(server.url), bodies("c")))
    assert len(list(first)) == 1
    assert len(list(answers_of(second, endpoint(server.url), bodies("c")))) == 1


def test_the_worst_is_the_worst():
    asked = {"messages": [], "max_tokens": 100}
    one = money.worst(endpoint(), "x" * 50, asked)
    assert one == pytest.approx((50 + 200) / 1e6)
    assert money.worst(endpoint(), "x" * 50, {**asked, "n": 8}) == pytest.approx((50 + 1600) / 1e6)
    assert money.worst(
        endpoint(), "", {"max_tokens": 100, "max_completion_tokens": 300}
    ) == pytest.approx(600 / 1e6)
    with pytest.raises(BudgetError, match="no limit on what is written"):
        money.worst(endpoint(), "", {"messages": []})


def test_a_dry_run_says_within_which_step_a_budget_ends():
    dry = Dry(
        by_step={
            Step("teacher"): [Forecast(endpoint(), 10, 0, 1000, 500, 0)],
            Step("critic", 1): [Forecast(endpoint(), 10, 0, 1000, 500, 0)],
        }
    )
    assert (
        dry.ends(0.01, 0.001) == "runtime.budget = 0.01, of which 0.0010 is spent, has room for it"
    )
    assert dry.ends(0.003, 0.0) == (
        "runtime.budget = 0.003, of which 0.0000 is spent, ends within round-1/critic"
    )
    assert dry.ends(0.003, 0.002).endswith("ends within teacher")


def test_what_a_model_answered_elsewhere_tells_of_a_step_that_has_none(tmp_path, server):
    path = tmp_path / "calls.sqlite"
    asked = bodies(*(f"row={row}" for row in range(10)))
    list(answers_of(Door(path, Runtime(), "r", "round-1/critic"), endpoint(server.url), asked))
    other = of_requests(path, Step("dpo", 1), endpoint(server.url), bodies("row=99"))
    assert (other.fitted, other.completion) == (10, 40)


def test_a_total_of_unknown_prices_alone_names_no_sum():
    unknown = Forecast(Endpoint(base_url="http://y", model="n"), 10, 0, 1000, 500, 0)
    assert Dry(forecasts=[unknown]).total() == (
        "In all what n costs, which is unknown: no endpoint has a price table"
    )
