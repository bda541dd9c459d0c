"""The retriever: its losses by hand, its index against brute force, and the stage from bad input to
SIGKILL."""

import math
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from pipeline import standin
from pipeline.errors import DataError
from pipeline.judging import swiss
from pipeline.reading.made import as_made
from pipeline.retrieval import encoder, index
from pipeline.retrieval.searcher import Searcher
from pipeline.rows.row import make
from pipeline.rows.training import Retrieval
from pipeline.runs.run import Run
from pipeline.training.losses import retrieval
from tests import ROOT
from tests.conftest import rows
from tests.models.small import bert
from tests.small_run import manifest, run
from tests.training.test_dpo_trainer import log_probability

TRAINER = "max_steps=30, per_device_train_batch_size=8, learning_rate=0.05, logging_steps=5, save_steps=10"
RETRIEVER = f"retriever={{negatives=40, trainer={{{TRAINER}}}}}"


def flags(*settings):
    return [part for setting in (RETRIEVER, *settings) for part in ("--set", setting)]


# --- the losses, on two contexts with two own jokes each (the second has one) and two negatives


OWN = torch.tensor([[2.0, 1.0], [0.0, 5.0]])
NEGATIVES = torch.tensor([[0.0, 1.0], [1.0, float("-inf")]])
THERE = torch.tensor([[True, True], [True, False]])


def test_cross_entropy_of_each_own_joke_against_the_negatives():
    e = math.exp
    first = [-math.log(e(2) / (e(2) + e(0) + e(1))), -math.log(e(1) / (e(1) + e(0) + e(1)))]
    second = -math.log(e(0) / (e(0) + e(1)))
    found = retrieval.cross_entropy(OWN, NEGATIVES, THERE)
    assert found.tolist() == pytest.approx([sum(first) / 2, second])


def test_distillation_over_own_jokes_and_negatives():
    e = math.exp
    scores = torch.tensor([[math.log(3.0), 0.0], [7.0, float("-inf")]])  # softmax: 3/4 and 1/4; 1
    every = math.log(e(2) + e(1) + e(0) + e(1))
    expected = [-(0.75 * (2 - every) + 0.25 * (1 - every)), -(0 - math.log(e(0) + e(1)))]
    assert retrieval.distillation(OWN, NEGATIVES, scores, 1.0).tolist() == pytest.approx(expected)
    halved = retrieval.distillation(OWN, NEGATIVES, scores, 0.5)[
        0
    ].item()  # squared odds: 9/10 and 1/10
    assert halved == pytest.approx(-(0.9 * (2 - every) + 0.1 * (1 - every)))


def test_the_losses_have_gradients_where_jokes_are_missing():
    own = OWN.clone().requires_grad_(True)
    scores = torch.tensor([[0.0, 1.0], [0.0, float("-inf")]])
    loss = retrieval.distillation(own, NEGATIVES, scores, 1.0) + retrieval.cross_entropy(
        own, NEGATIVES, THERE
    )
    loss.sum().backward()
    assert torch.isfinite(own.grad).all()
    assert own.grad[1, 1] == 0


# --- the index


def random_vectors(count, dim=32, seed=0):
    found = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("exact_below", [10**9, 0])
def test_an_index_finds_what_brute_force_finds(exact_below, tmp_path):
    vectors, queries = random_vectors(5000), random_vectors(200, seed=1)
    ids = [f"j_{7 * number:012x}" for number in range(5000)]
    index.save(index.build(vectors, ids, exact_below), tmp_path / "index.faiss")
    found = index.load(tmp_path / "index.faiss")
    assert found.ntotal == len(ids)
    scores, near = index.search(found, queries, 10)
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    hits = [
        len({ids[place] for place in row} & set(of)) / 10
        for row, of in zip(best, near, strict=True)
    ]
    assert sum(hits) / len(hits) >= 0.98
    assert scores[0, 0] == pytest.approx(float(np.max(queries[0] @ vectors.T)), abs=1e-5)


def test_the_largest_id_comes_back():
    vectors = random_vectors(2)
    found = index.build(vectors, ["j_ffffffffffff", "j_000000000000"], 10)
    _, near = index.search(found, vectors, 5)
    assert [row[0] for row in near] == ["j_ffffffffffff", "j_000000000000"]
    assert [len(row) for row in near] == [2, 2]


def test_ranks_and_figures():
    assert encoder.figures([1, 2, 4]) == {
        "contexts": 3, "recall_at_1": pytest.approx(1 / 3), "mrr": pytest.approx((1 + 0.5 + 0.25) / 3)
    }  # fmt: skip


def test_a_joke_about_another_sentence_that_is_as_near_comes_first():
    """One context whose joke two others share, and one whose joke is its own."""
    texts = ["l_1", "l_2", "l_3"]
    jokes = {"l_1": "the same", "l_2": "the same", "l_3": "another"}
    held_out = [
        make(
            Retrieval,
            literal_id=of,
            literal=of,
            joke_ids=["j_" + of],
            jokes=[jokes[of]],
            scores=None,
        )
        for of in texts
    ]

    class Encoder:
        vectors = {"the same": [0.6, 0.8], "another": [1.0, 0.0]}
        vectors |= {"l_1": [0.6, 0.8], "l_2": [0.0, 1.0], "l_3": [1.0, 0.0]}

        def encode(self, given, **_):
            return np.array([self.vectors[text] for text in given])

    assert encoder.ranks(Encoder(), held_out, []) == [2, 2, 1]


# --- the stage


@pytest.fixture(scope="module")
def retrieved(made):
    """The small run with a retriever and its evaluation, called found."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HUMOR_DISTILL_DATA", str(made))
    run("all", "--run", "found", "--from", "v1", *flags())
    patch.undo()
    return made


def test_its_rows_are_the_teacher_s_jokes_and_validation_is_held_out(retrieved, inside):
    folder = retrieved / "runs/found/retriever"
    found, held_out = rows(folder / "records.jsonl"), rows(folder / "validation.jsonl")
    told = {row["id"]: row for row in rows(retrieved / "runs/found/teacher/records.jsonl")}
    split = {row["id"]: row["split"] for name in ("train", "validation") for row in literals(name)}
    assert {split[row["literal_id"]] for row in found} == {"train"}
    assert {split[row["literal_id"]] for row in held_out} == {"validation"}
    for row in found + held_out:
        assert row["schema"] == "retrieval/1"
        assert row["jokes"] == [told[joke]["text"] for joke in row["joke_ids"]]
        assert {told[joke]["literal_id"] for joke in row["joke_ids"]} == {row["literal_id"]}
        assert row["scores"] is None
    made = manifest(retrieved, "retriever", "found")
    assert made["index"] == {"jokes": sum(len(row["jokes"]) for row in found), "exact": True}
    assert made["held_out"]["contexts"] == len(held_out)
    assert 0 < made["held_out"]["recall_at_1"] <= made["held_out"]["mrr"] <= 1
    assert "retriever: whole" in run("verify", "--run", "found")
    assert found[0]["jokes"][0][:12] in run("show", found[0]["id"], "--run", "found")
    assert "literal" in run("show", "--run", "found", "--stage", "retriever")


def literals(name):
    return rows(ROOT / f"data/literals/{name}.jsonl")


def test_a_literal_whose_joke_is_in_the_set_finds_it(retrieved, inside):
    made = Run("found")
    searcher = Searcher(made, as_made(made))
    learned = rows(retrieved / "runs/found/retriever/records.jsonl")
    found = searcher.nearest([row["literal"] for row in learned])
    assert all(one.joke_id in row["joke_ids"] for one, row in zip(found, learned, strict=True))
    assert all(0 < one.cosine <= 1.0001 for one in found)


def test_it_is_a_contestant_of_evaluate_and_of_try(retrieved, inside):
    answers = rows(retrieved / "runs/found/evaluate/answers.jsonl")
    known = {
        text
        for row in rows(retrieved / "runs/found/retriever/records.jsonl")
        for text in row["jokes"]
    }
    own = [row for row in answers if row["author"] == "retriever"]
    assert len(own) == len([row for row in answers if row["author"] == "sft"])
    assert {row["text"] for row in own} <= known
    metrics = rows(retrieved / "runs/found/evaluate/metrics.jsonl")
    assert "retriever" in {row["contestant"] for row in metrics}
    learned = rows(retrieved / "runs/found/retriever/records.jsonl")[0]["literal"]
    assert learned[:20] in run("try", "--run", "found", learned).split("retriever")[-1]
    said = run("report", "--run", "found")
    assert said.startswith("round-1 ties or beats its teacher")
    assert "answers are a training joke word for word" not in said
    assert "retriever" in (retrieved / "runs/found/report.html").read_text()


@pytest.mark.parametrize("scores", ["ll", "mi"])
def test_likelihood_scores_are_those_of_the_scorer(inside, scores):
    name = f"scores-{scores}"
    run("retriever", "--run", name, "--from", "v1", *flags(f"retriever.scores={scores}"))
    weights = inside / "runs/v1/sft/weights"
    tokenizer = AutoTokenizer.from_pretrained(weights)
    row = rows(inside / f"runs/{name}/retriever/records.jsonl")[0]
    for joke, score in zip(row["jokes"], row["scores"], strict=True):
        expected = log_probability(
            weights, f"<|user|>Say it with a joke: {row['literal']}<|assistant|>", joke
        )
        if scores == "mi":
            expected -= log_probability(weights, "<|user|>Say it with a joke:<|assistant|>", joke)
        length = len(tokenizer(joke + tokenizer.eos_token)["input_ids"])
        assert score == pytest.approx(expected / length, abs=2e-3)
    assert {"ce", "kd"} <= rows(inside / f"runs/{name}/retriever/curve.jsonl")[0].keys()


def test_the_critic_s_scores_are_those_of_its_verdicts(inside):
    run("retriever", "--run", "scores-critic", "--from", "v1", *flags("retriever.scores=critic"))
    folder = inside / "runs/scores-critic/retriever"
    verdicts = {(row["a"], row["b"]): row["p_a"] for row in rows(folder / "selection.jsonl")}
    row = next(row for row in rows(folder / "records.jsonl") if len(row["jokes"]) == 3)
    ids = row["joke_ids"]
    judged = [(a, b, verdicts[ids[a], ids[b]]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert row["scores"] == pytest.approx(list(swiss.scores(3, judged)[0]))
    assert all(order["call"] for row in rows(folder / "selection.jsonl") for order in row["orders"])
    assert "retriever: whole" in run("verify", "--run", "scores-critic")


def test_a_student_s_jokes_are_searched_too(inside):
    run(
        "retriever",
        "--run",
        "students",
        "--from",
        "v1",
        *flags('retriever.jokes=["teacher", "student"]'),
    )
    found = rows(inside / "runs/students/retriever/records.jsonl")
    sampled = {row["id"] for row in rows(inside / "runs/v1/round-1/sample/records.jsonl")}
    assert any(set(row["joke_ids"]) & sampled for row in found)
    assert all(len(row["jokes"]) == len(set(row["jokes"])) for row in found)
    assert "same joke" in manifest(inside, "retriever", "students")["dropped"]


def test_a_bert_of_two_layers_is_trained_and_found(inside, tmp_path):
    """MiniLM's architecture, made at random: sentence-transformers puts mean pooling on it."""
    bert(tmp_path / "bert")
    settings = flags(f"retriever.model={tmp_path / 'bert'}", "retriever.trainer.learning_rate=1e-3")
    run("retriever", "--run", "bert", "--from", "v1", *settings)
    made = manifest(inside, "retriever", "bert")
    assert made["recipe"]["retriever"]["sha256"]["model"]
    assert made["held_out"]["recall_at_1"] > 0.2
    assert "retriever" in run("try", "--run", "bert", "The kettle is on.")
    encoder_flags = ["--set", f"evaluate.encoder={tmp_path / 'bert'}"]
    run("evaluate", "--run", "embedded", "--from", "v1", *encoder_flags)
    assert manifest(inside, "evaluate", "embedded")["recipe"]["evaluate"]["encoder_sha256"]
    figures = [
        row for row in rows(inside / "runs/embedded/evaluate/metrics.jsonl") if not row["vs"]
    ]
    assert all(0 < row["embedding_diversity"] < 1 for row in figures)
    plain = {row["id"]: row for row in rows(inside / "runs/v1/evaluate/metrics.jsonl")}
    for row in figures:  # what is near counts as one
        assert row["effective"] <= plain[row["id"]]["effective"] + 1e-9
        assert plain[row["id"]]["embedding_diversity"] is None


# --- bad input


def refused(cli, *settings, code, name="bad"):
    return cli("retriever", "--run", name, "--from", "v1", *flags(*settings), code=code)


def test_one_joke_per_literal_has_none_to_tell_apart(inside, cli):
    settings = flags("teacher.jokes=1", "retriever.scores=ll")
    cli("teacher", "--run", "one", "--from", "v1", *settings)
    cli("sft", "--run", "one", *settings)
    said = cli("retriever", "--run", "one", *settings, code=4)
    assert "every literal has one joke" in said
    assert "Set teacher.jokes above 1 and run humor-distill teacher --run one --force" in said
    assert "--set retriever.scores=none" in said


def test_too_few_literals_are_refused(inside, cli):
    settings = flags("literals.limit={train=1}")
    cli("teacher", "--run", "few", "--from", "v1", *settings)
    said = cli("retriever", "--run", "few", *settings, code=4)
    assert "there are jokes about 1 train literals, and a retriever needs two" in said
    assert "humor-distill teacher --run few --force" in said


def test_a_student_that_nobody_samples_is_refused(inside, cli):
    said = refused(cli, 'retriever.jokes=["student"]', 'rounds=[{objective="ft"}]', code=3)
    assert "no round samples a student's jokes" in said


def test_models_that_are_not_there_are_refused(inside, cli):
    said = refused(cli, "retriever.model=no/such/encoder", code=8)
    assert "retriever.model = 'no/such/encoder'" in said
    said = refused(
        cli, "retriever.scores=ll", "retriever.scorer=no/such/teacher", code=8, name="bad-scorer"
    )
    assert "retriever.scorer = 'no/such/teacher'" in said


def test_a_typo_in_its_trainer_is_refused(inside, cli):
    said = refused(cli, "retriever.trainer.learning_rat=1", code=3, name="typo")
    assert "[retriever.trainer]: unknown key 'learning_rat'" in said


@pytest.mark.parametrize("library", ["faiss", "sentence_transformers"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    inside, cli, monkeypatch, library
):
    monkeypatch.setitem(sys.modules, library, None)
    said = refused(cli, code=3, name="without")
    assert f"the retriever needs {library}: pip install 'humor-distill[retriever]'" in said


def test_a_run_without_a_retriever_has_no_such_stage(inside, cli):
    said = cli("retriever", "--run", "v1", code=3)
    assert "retriever: the configuration has no [retriever]" in said


def test_an_index_of_a_kind_that_opens_further_files_is_refused(tmp_path):
    import faiss

    vectors = np.eye(8, dtype=np.float32)
    coarse = faiss.IndexFlatIP(8)
    other = faiss.IndexIVFFlat(coarse, 8, 2, faiss.METRIC_INNER_PRODUCT)
    other.train(vectors)
    inside = faiss.IndexIDMap(other)
    inside.add_with_ids(vectors, np.arange(8))
    for number, made in enumerate((coarse, inside)):
        path = tmp_path / f"{number}.faiss"
        faiss.write_index(made, str(path))
        with pytest.raises(DataError, match="no index that the retriever stage makes"):
            index.load(path)


def test_an_index_older_than_its_jokes_is_refused(apart, cli):
    cli("retriever", "--run", "v1", *flags())
    cli("teacher", "--run", "v1", "--force", *flags("teacher.temperature=0.7"))
    old = "the index is older than its jokes: teacher was made anew"
    said = cli("evaluate", "--run", "v1", "--force", *flags(), code=4)
    assert old in said
    assert "humor-distill retriever --run v1 --force" in said
    said = cli("try", "--run", "v1", "The kettle is on.")
    assert "without retriever" in said
    assert old in said
    assert "round-1" in said


def test_a_changed_index_is_refused(apart, cli):
    cli("retriever", "--run", "v1", *flags())
    path = apart / "runs/v1/retriever/index.faiss"
    path.write_bytes(path.read_bytes()[:-4] + b"0000")
    assert "is not what its manifest records" in cli("try", "--run", "v1", "The kettle is on.")
    assert "index.faiss: its SHA-256 is not the manifest's" in cli("verify", "--run", "v1", code=5)


def test_another_kind_of_index_makes_evaluate_another_recipe(apart, cli):
    cli("retriever", "--run", "v1", *flags())
    cli("evaluate", "--run", "v1", "--force", *flags())
    cli("retriever", "--run", "v1", "--force", *flags("retriever.exact_below=0"))
    assert "inputs.retriever.index" in cli(
        "evaluate", "--run", "v1", *flags("retriever.exact_below=0"), code=4
    )


def test_what_its_trainer_cannot_have_is_refused_before_anything_is_made(small, inside, cli):
    settings = flags('retriever.trainer.eval_strategy="epoch"')
    said = cli("all", "--run", "early", "--config", small, *settings, code=3)
    assert "[retriever.trainer] eval_strategy: nothing is evaluated in training" in said
    assert not (inside / "runs/early/teacher").exists()


def test_failed_verdicts_are_asked_again_before_anything_is_learned(apart, cli, monkeypatch):
    """One pair in five gets an answer that says nothing until the server is well again."""
    sick, asked = [True], []

    def respond(body):
        asked.append(body)
        status, answer = standin.respond(body)
        if sick[0] and standin.chance("sick", body["messages"][0]["content"]) < 0.2:
            return 500, {"error": {"message": "out of order"}}
        return status, answer

    server = standin.server(0, respond)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    settings = flags(
        "retriever.scores=critic", f'critic.endpoint={{base_url="{url}", model="standin-critic"}}'
    )
    settings += ["--set", "runtime.retries=0"]
    said = cli("retriever", "--run", "sick", "--from", "v1", *settings, code=10)
    folder = apart / "runs/sick/retriever"
    assert "calls failed for good" in said
    assert not (folder / "weights").exists()
    first, sick[0] = len(asked), False
    cli("retriever", "--run", "sick", *settings)
    assert 0 < len(asked) - first < first
    row = rows(folder / "records.jsonl")[0]
    assert len(rows(folder / "selection.jsonl")) > len(rows(folder / "records.jsonl"))
    assert len(row["scores"]) == len(row["jokes"])
    server.shutdown()
    server.server_close()


# --- SIGKILL


def test_a_killed_retriever_goes_on_to_the_same_weights(inside):
    settings = flags(
        "retriever.scores=ll", "retriever.trainer.max_steps=100", "retriever.trainer.save_steps=10"
    )
    run("retriever", "--run", "undisturbed", "--from", "v1", *settings)
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "retriever",
        "--run",
        "killed",
        "--from",
        "v1",
        *settings,
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ}
    )
    step = inside / "runs/killed/retriever"
    while process.poll() is None and not list(step.glob("checkpoints/checkpoint-*")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (step / "manifest.json").exists(), "it was done before it could be killed"
    said = run("retriever", "--run", "killed", *settings)
    assert "going on" in said
    ours, theirs = (manifest(inside, "retriever", name) for name in ("killed", "undisturbed"))
    assert ours["weights"] == theirs["weights"]
    assert (ours["sha256"], ours["files"]["index.faiss"]) == (
        theirs["sha256"],
        theirs["files"]["index.faiss"],
    )


def test_nothing_of_it_is_imported_without_it(inside):
    script = (
        "import sys; from pipeline.__main__ import main; assert main(['try', '--run', 'v1', 'Tea "
        "is on.']) == 0; "
        "print([name for name in ('faiss', 'sentence_transformers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")
