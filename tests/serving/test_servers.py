"""Students behind servers: two replicas that load adapters, and llama.cpp's real one."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipeline.config.endpoint import ServedStudent
from pipeline.config.runtime import Runtime
from pipeline.config.server import Server as Settings
from pipeline.errors import ConfigError, EndpointError
from pipeline.execution import programs
from pipeline.execution.context import Context
from pipeline.execution.programs import Program
from pipeline.llm.call import prepare
from pipeline.models.generation import Task
from pipeline.reading import made
from pipeline.runs import known
from pipeline.runs.run import Run
from pipeline.runs.step import Step
from pipeline.serving import servers, students
from pipeline.serving.process import Server, answers, free_ports
from pipeline.serving.servers import gpus_of
from tests import ROOT
from tests.conftest import rows
from tests.models import small as models
from tests.small_run import manifest, run
from tests.whole.test_launched import until
from tests.whole.test_methods import flags

PYTHON = sys.executable
MOCK = f"{PYTHON} {ROOT}/tests/serving/mock_vllm.py {{model}} {{port}}"
LLAMA = f"{PYTHON} -m pipeline.serving.llama {{model}} {{port}}"
GREEDY = ["sample.temperature=0", "sample.k=1"]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def log(tmp_path, monkeypatch):
    """What the servers note; they see the test's environment as it is when this module is read."""
    path = tmp_path / "log.jsonl"
    path.touch()
    environment = {**os.environ, "MOCK_LOG": str(path), "PYTHONPATH": str(ROOT)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)  # which our own models set
    monkeypatch.setattr(programs, "ENVIRONMENT", environment)
    monkeypatch.setattr(servers, "ENVIRONMENT", environment)
    return path


@pytest.fixture(scope="module")
def adapted(made):
    """A run whose student is an adapter."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HUMOR_DISTILL_DATA", str(made))
    run("sft", "--run", "served-lora", "--from", "v1", *flags(["student.lora={r=4}"]))
    patch.undo()
    return "served-lora"


def through(name, source, settings):
    """A round of a new run, and its evaluation."""
    for stage in ("sample", "critic", "dpo", "evaluate"):
        run(stage, "--run", name, "--from", source, *flags(settings))


def set_for_servers(monkeypatch, **values):
    for name, value in values.items():
        monkeypatch.setitem(programs.ENVIRONMENT, name, value)


def served(command, **more):
    keys = "".join(f", {key}={value}" for key, value in more.items())
    return f"runtime.server={{command={json.dumps(command)}{keys}}}"


def noted(log, what):
    return [line for line in rows(log) if what in line]


def alive():
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if "mock_vllm" in line and "ps -eo" not in line]


def test_adapters_are_loaded_into_every_replica(inside, log, adapted):
    command = f"{MOCK} --enable-lora"
    settings = [served(command, replicas=2), "evaluate.best_of=2"]
    through("served-stood", adapted, settings)
    starts = noted(log, "start")
    assert len(starts) == 4  # two for sample, and two for evaluate
    assert len({line["start"] for line in starts}) == 1  # the untrained student's
    loaded = noted(log, "adapter")
    names = list(dict.fromkeys(line["adapter"] for line in loaded))
    assert len(names) == 2  # sft's and round 1's
    in_evaluate = {line["port"] for line in starts[2:]}
    for name in names:
        ports = {line["port"] for line in loaded if line["adapter"] == name}
        assert ports >= in_evaluate
    assert {line["allowed"] for line in loaded} == {"1"}
    weights = [line["path"].rpartition("/runs/")[2] for line in loaded[::2]]
    assert weights == [
        "served-lora/sft/weights",
        "served-lora/sft/weights",
        "served-stood/round-1/dpo/weights",
    ]
    asked = noted(log, "request")
    assert {line["request"] for line in asked} - set(names) == {
        str(inside / "runs/served-stood/evaluate/programs.partial/student")  # the untrained one
    }
    answers = rows(inside / "runs/served-stood/evaluate/answers.jsonl")
    authors = ["base", "sft", "best-of-2", "round-1"]
    assert list(dict.fromkeys(row["author"] for row in answers)) == authors
    assert all(row["call"].startswith("c_") for row in answers)
    assert manifest(inside, "evaluate", "served-stood")["recipe"]["served"] == {}
    assert "served" not in manifest(inside, "evaluate")["recipe"]
    assert not alive()
    kept = json.loads((inside / "runs/served-stood/config.json").read_text())
    assert kept["runtime"]["server"]["command"] is None


def test_full_weights_are_served_one_after_another(inside, log):
    command = f"{MOCK} --enable-lora"
    through("served-whole", "v1", [served(command, gpus=2)])
    starts = noted(log, "start")
    assert len({line["start"] for line in starts[1:]}) == 3 == len(starts) - 1  # base, sft, round-1
    assert starts[0]["start"] == starts[2]["start"]  # sample's, of sft
    assert {line["gpus"] for line in starts} == {"0,1"}
    assert not noted(log, "adapter")


def test_answers_are_known_by_the_weights_wherever_they_are_served(inside, log):
    settings = [served(MOCK), "sample.temperature=0.9"]
    run("sample", "--run", "served-again", "--from", "v1", *flags(settings))
    number = len(noted(log, "request"))
    before = (inside / "runs/served-again/round-1/sample/records.jsonl").read_bytes()
    assert number == len(before.splitlines())
    assert not (inside / "runs/served-again/round-1/sample/programs.partial").exists()
    run("sample", "--run", "served-again", "--force", *flags(settings))
    assert len(noted(log, "request")) == number
    assert (inside / "runs/served-again/round-1/sample/records.jsonl").read_bytes() == before
    ports = {line["port"] for line in noted(log, "start")}
    assert len(ports) == 2
    seeds = [line["seed"] for line in noted(log, "request")]
    assert len(set(seeds)) > len(seeds) / 2


def test_a_replica_that_is_killed_costs_nothing(inside, log, monkeypatch):
    set_for_servers(monkeypatch, MOCK_DELAY="0.05")

    def kill():
        until(lambda: len(noted(log, "request")) > 10)
        os.kill(noted(log, "start")[0]["pid"], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    settings = [served(MOCK, replicas=2), "runtime.concurrency=4", "sample.temperature=0.8"]
    said = run("sample", "--run", "served-bereft", "--from", "v1", *flags(settings))
    thread.join()
    wanted = rows(inside / "runs/v1/round-1/sample/records.jsonl")
    made = rows(inside / "runs/served-bereft/round-1/sample/records.jsonl")
    assert "rests for 30 s" in said
    assert {row["literal_id"] for row in made} == {row["literal_id"] for row in wanted}
    assert len(made) == manifest(inside, "round-1/sample", "served-bereft")["spent"]["calls"]
    assert len(noted(log, "request")) <= len(made) + 4  # those on their way to it


def test_what_the_last_server_said_is_told_when_it_ends(inside, cli, log, monkeypatch):
    set_for_servers(monkeypatch, MOCK_DIES="1")
    settings = [
        served(MOCK),
        "sample.temperature=0.2",
        "runtime.retries=0",
        "runtime.concurrency=1",
    ]
    argv = ("--run", "served-last", "--from", "v1", *flags(settings))
    said = cli("sample", *argv, code=6)
    assert "a server ended with 3. Its last lines:\ntorch.OutOfMemoryError: CUDA out of mem" in said


def test_no_server_outlives_a_step_that_is_killed(inside, log):
    settings = [served(MOCK), "sample.temperature=0.7"]
    argv = ["sample", "--run", "served-killed", "--from", "v1", *flags(settings)]
    environment = {**os.environ, "MOCK_LOG": str(log), "MOCK_DELAY": "0.2"}
    child = subprocess.Popen(
        [PYTHON, "-m", "pipeline", *argv],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert until(lambda: len(noted(log, "request")) > 5)
    child.kill()
    child.wait()
    assert until(lambda: not alive(), 10)
    asked = len(noted(log, "request"))
    run("sample", "--run", "served-killed", "--from", "v1", *flags(settings))
    number = len(rows(inside / "runs/served-killed/round-1/sample/records.jsonl"))
    assert (
        asked - 40 < manifest(inside, "round-1/sample", "served-killed")["spent"]["calls"] <= number
    )
    assert len(noted(log, "request")) <= number + 33  # those on their way when it was killed


def test_greedy_answers_of_a_real_server_are_those_of_the_student_here(inside, log):
    run("sample", "--run", "served-here", "--from", "v1", *flags(GREEDY))
    run("sample", "--run", "served-there", "--from", "v1", *flags([*GREEDY, served(LLAMA)]))
    here, there = (
        {
            row["literal_id"]: row["text"]
            for row in rows(inside / f"runs/{name}/round-1/sample/records.jsonl")
        }
        for name in ("served-here", "served-there")
    )
    assert here == there


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        (['runtime.server={command="vllm serve {model}"}'], 3, "it names {model} and {port}: vllm"),
        (["runtime.server={}"], 3, "sample: [runtime.server] has neither urls nor a command, whic"),
        (['runtime.server={command="vlm {model} {port}"}'], 3, "there is no command 'vlm'"),
        (
            ['runtime.server={command="x {model} {port}", urls=["http://127.0.0.1:1/v1"]}'],
            3,
            "either command starts the servers, or they run at urls",
        ),
        (['runtime.server={urls=["http://127.0.0.1:1/v1"]}'], 3, "takes adapters alone"),
        ([served(MOCK), "sample.num_beams=4"], 3, "sample.num_beams is no key of the OpenAI"),
        ([served(f"env MOCK_FAILS=1 {MOCK}")], 6, "no kernel image is available"),
        (
            [served(f"{PYTHON} -c 'import time; time.sleep(60)' {{model}} {{port}}", patience=0.5)],
            6,
            "the server does not answer after",
        ),
    ],
)
def test_servers_that_cannot_be_had_are_named(inside, cli, log, settings, code, said):
    argv = ("--run", "served-none", "--from", "v1", *flags(settings))
    assert said in cli("sample", *argv, code=code)


def test_an_encoder_decoder_is_not_served(inside, cli, log, tmp_path):
    model = models.bart(tmp_path / "bart")
    settings = [f'student.model="{model}"', served(MOCK)]
    said = cli("sample", "--run", "served-bart", "--from", "v1", *flags(settings), code=3)
    assert "servers of the OpenAI chat protocol serve decoder-only students" in said


def test_servers_elsewhere_that_take_no_adapter_are_named(inside, cli, log, adapted, tmp_path):
    port = free_ports(1)[0]
    command = [PYTHON, f"{ROOT}/tests/serving/mock_vllm.py", str(models.MICRO), str(port)]
    with Server(command, port, tmp_path / "server.log") as server:
        server.wait(30, "elsewhere")
        settings = [f'runtime.server={{urls=["{server.url}"]}}']
        argv = ("--run", "served-elsewhere", "--from", adapted, *flags(settings))
        said = cli("sample", *argv, code=6)
    assert f"{server.url} does not load the adapter" in said
    assert "--enable-lora, VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, and --max-lora-rank" in said


@pytest.fixture
def afar(log, tmp_path):
    """The address of a server that runs elsewhere and takes adapters."""
    port = free_ports(1)[0]
    script = f"{ROOT}/tests/serving/mock_vllm.py"
    folder = os.path.relpath(models.MICRO, ROOT)  # as student.model says
    command = [PYTHON, script, folder, str(port), "--enable-lora"]
    with Server(command, port, tmp_path / "server.log") as server:
        server.wait(30, "elsewhere")
        yield server.url


def test_held_out_rates_and_try_ask_the_servers_that_run_elsewhere(
    inside, cli, log, adapted, afar, tmp_path, monkeypatch
):
    every = "{max_steps=4, learning_rate=1e-4, per_device_train_batch_size=4, max_length=96"
    settings = [
        f'runtime.server={{urls=["{afar}"]}}',
        "dpo.early_stopping={metric='fresh_wtr', patience=3, literals=6}",
        f"dpo.trainer={every}, eval_strategy='steps', eval_steps=2, logging_steps=1}}",
    ]
    for stage in ("sample", "critic", "dpo"):
        run(stage, "--run", "served-rated", "--from", adapted, *flags(settings))
    folder = inside / "runs/served-rated/round-1/dpo"
    curve = rows(folder / "curve.jsonl")
    rated = [row["step"] for row in curve if "eval_fresh_wtr" in row]
    assert rated == [0, 2, 4]
    loaded = [line["adapter"] for line in noted(log, "adapter")]
    asked = [line["request"] for line in noted(log, "request")]
    [sampled, *learning] = list(dict.fromkeys(loaded))
    assert [line["unloaded"] for line in noted(log, "unloaded")] == learning
    assert len(learning) == 3
    for name in learning:
        assert asked.count(name) == 6
    assert not list(folder.rglob("adapter"))
    run("evaluate", "--run", "served-rated", "--from", adapted, *flags(settings))

    before = len(noted(log, "request"))
    said = cli("try", "--run", "served-rated", "The kettle is on.")
    assert len(noted(log, "request")) == before + 3
    for student in ("base", "sft", "round-1"):
        assert re.search(rf"{student} .* The kettle is on\. [0-9a-f]{{6}}", said)

    monkeypatch.setattr(known, "list_path", lambda: tmp_path / "runs.jsonl")  # another machine's
    said = cli("try", "--run", "served-rated", "The kettle is on.", code=4)
    assert f"{afar} is asked, without a key" in said


def test_what_a_server_elsewhere_refuses_is_told_and_ends_nothing(
    inside, log, adapted, tmp_path, monkeypatch, capsys
):
    """While a student learns, one odd sentence is no reason to stop."""
    set_for_servers(monkeypatch, MOCK_REFUSES="8")
    port = free_ports(1)[0]
    script = f"{ROOT}/tests/serving/mock_vllm.py"
    folder = os.path.relpath(models.MICRO, ROOT)
    command = [PYTHON, script, folder, str(port), "--enable-lora"]
    with Server(command, port, tmp_path / "server.log") as server:
        server.wait(30, "elsewhere")
        config = made.as_made(Run(adapted))
        config = config.model_copy(
            update={"runtime": Runtime(server=Settings(urls=[server.url]), retries=0)}
        )
        context = Context(config, Run(adapted), Step("dpo", 1), {}, learning=True)
        asked = students.elsewhere(context)
        settings = config.evaluate.model_copy(update={"max_new_tokens": 23})  # asked by no other
        tasks = [Task(literal, "dpo", 0) for literal in context.literals("test")[:12]]
        adapter = inside / f"runs/{adapted}/sft/weights"
        first = asked.texts_once(adapter, tasks, settings)
        assert 0 < first.count("") < 12
        assert capsys.readouterr().err.count("this prompt is too odd") == first.count("")
        other = asked.endpoint(adapter)  # of another run, that learns beside it
        asked.texts_once(adapter, tasks, settings)
        assert asked.texts(other, tasks, settings) == first
    with pytest.raises(EndpointError):
        asked.texts(other, [Task(context.literals("ood")[0], "dpo", 0)], settings)
    beams = config.evaluate.model_copy(update={"num_beams": 4})
    context.config = config.model_copy(update={"evaluate": beams})
    assert students.elsewhere(context) is None


def test_a_request_that_failed_is_no_answer_and_is_asked_again(inside, cli, log, monkeypatch):
    """In evaluate, where an answer that is missing would have lost."""
    settings = [served(MOCK), "sample.temperature=0.6", "evaluate.temperature=0.6"]
    for stage in ("sample", "critic", "dpo"):
        run(stage, "--run", "served-odd", "--from", "v1", *flags(settings))
    argv = ("evaluate", "--run", "served-odd", "--from", "v1", *flags(settings))
    set_for_servers(monkeypatch, MOCK_REFUSES="1")
    said = cli(*argv, code=10)
    assert "calls failed for good" in said
    folder = inside / "runs/served-odd/evaluate"
    assert not (folder / "answers.jsonl").exists()
    set_for_servers(monkeypatch, MOCK_REFUSES="")
    run(*argv)
    assert all(row["text"] for row in rows(folder / "answers.jsonl"))
    assert "no_answer" not in manifest(inside, "evaluate", "served-odd")


def test_a_student_that_says_nothing_has_answered(inside, log, monkeypatch):
    """As one that is loaded here may."""
    set_for_servers(monkeypatch, MOCK_SILENT="4")
    settings = [served(MOCK), "sample.temperature=0.5"]
    run("sample", "--run", "served-mute", "--from", "v1", *flags(settings))
    texts = [row["text"] for row in rows(inside / "runs/served-mute/round-1/sample/records.jsonl")]
    assert 0 < texts.count("") < len(texts)
    run(
        "sample", "--run", "served-mute", "--force", "--from", "v1", *flags(settings)
    )  # from the cache
    again = [row["text"] for row in rows(inside / "runs/served-mute/round-1/sample/records.jsonl")]
    assert again == texts


def test_a_server_that_does_not_start_takes_no_complete_step_away(inside, cli, log):
    argv = ("sample", "--run", "served-safe", "--from", "v1")
    good = flags([served(MOCK), "sample.temperature=0.4"])
    run(*argv, *good)
    before = (inside / "runs/served-safe/round-1/sample/manifest.json").read_bytes()
    bad = flags([served(f"env MOCK_FAILS=1 {MOCK}"), "sample.temperature=0.4"])
    assert "no kernel image" in cli(*argv, "--force", *bad, code=6)
    folder = inside / "runs/served-safe/round-1/sample"
    assert (folder / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "manifest.json",
        "records.jsonl",
    ]
    # and without its command, which no run keeps, it is complete still
    assert "complete, nothing to do" in run(*argv[:3])


def test_answers_are_known_by_what_changes_them(inside, log):
    """Not by how evaluate decodes, which is in a generation config, nor by a version."""
    settings = [served(MOCK), "sample.temperature=0.3"]
    run("sample", "--run", "served-keyed", "--from", "v1", *flags(settings))
    asked = len(noted(log, "request"))
    settings += ["evaluate.temperature=0.9", "evaluate.max_new_tokens=20"]
    run("sample", "--run", "served-keyed-2", "--from", "v1", *flags(settings))
    assert len(noted(log, "request")) == asked
    recipe = manifest(inside, "round-1/sample", "served-keyed")["recipe"]
    assert recipe["served"] == {}
    settings[0] = served(MOCK, extra_body="{penalty=1}", omit='["top_k"]')
    run("sample", "--run", "served-keyed-3", "--from", "v1", *flags(settings))
    recipe = manifest(inside, "round-1/sample", "served-keyed-3")["recipe"]
    assert recipe["served"] == {"extra_body": {"penalty": 1}, "omit": ["top_k"]}


def test_servers_elsewhere_are_asked_what_they_make_of_a_prompt(
    inside, cli, log, adapted, tmp_path, monkeypatch
):
    set_for_servers(monkeypatch, MOCK_TOKENIZES="1")
    port = free_ports(1)[0]
    script = f"{ROOT}/tests/serving/mock_vllm.py"
    command = [PYTHON, script, str(models.MICRO), str(port), "--enable-lora"]
    with Server(command, port, tmp_path / "server.log") as server:
        server.wait(30, "elsewhere")
        settings = [f'runtime.server={{urls=["{server.url}"]}}']
        argv = ("--run", "served-afar", "--from", adapted, *flags(settings))
        said = cli("sample", *argv, code=6)
    assert "gives the student another prompt than its training did" in said


def test_replicas_keep_to_the_gpus_that_were_given(monkeypatch, log):
    settings = Settings(command="vllm {model} {port}", replicas=2, gpus=2)
    assert [gpus_of(settings, number) for number in range(2)] == [["0", "1"], ["2", "3"]]
    monkeypatch.setitem(programs.ENVIRONMENT, "CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert [gpus_of(settings, number) for number in range(2)] == [["4", "5"], ["6", "7"]]
    monkeypatch.setitem(programs.ENVIRONMENT, "CUDA_VISIBLE_DEVICES", "4,5,6")
    with pytest.raises(
        ConfigError, match="2 replicas of 2 GPUs each, and CUDA_VISIBLE_DEVICES = 4,"
    ):
        gpus_of(settings, 1)


def test_a_server_of_this_machine_is_asked_past_a_proxy(monkeypatch, log, tmp_path):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    port = free_ports(1)[0]
    command = [PYTHON, f"{ROOT}/tests/serving/mock_vllm.py", str(models.MICRO), str(port)]
    with Server(command, port, tmp_path / "server.log") as server:
        server.wait(30, "here")
    assert not answers(port)


def test_a_run_that_was_copied_here_says_which_servers_it_would_ask():
    settings = {"runtime": {"server": {"urls": ["http://gpu-1:8000/v1"]}}}
    assert known.reach(settings) == ["http://gpu-1:8000/v1 is asked, without a key"]


def test_the_key_of_an_answer_has_no_port():
    request = {"messages": [], "temperature": 0.0}

    def key(port, model, weights):
        endpoint = ServedStudent(
            base_url=f"http://127.0.0.1:{port}/v1", model=model, weights=weights
        )
        return prepare(endpoint, request)

    one = key(1, "/a/student", "x")
    assert one.key == key(2, "/b/student", "x").key
    assert one.key != key(1, "/a/student", "y").key
    assert json.loads(one.text)["model"] == "/a/student"


def test_a_server_that_ends_is_not_waited_for(tmp_path):
    command = [PYTHON, "-c", "print('out of memory'); raise SystemExit(3)"]
    began = time.monotonic()
    with Server(command, free_ports(1)[0], tmp_path / "log") as server:
        with pytest.raises(EndpointError, match="the server ended with 3. Its last lines:\nout of"):
            server.wait(60, "sample")
    assert time.monotonic() - began < 10
    assert isinstance(server._program, Program)
