"""No command sends a terminal what a server, a model, a file or a stranger's run has in its texts."""

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.runs.manifest import seal
from pipeline.terminal import CONTROL
from tests.conftest import rows
from tests.synthetic import CONFIG, make_run

NASTY = "\x1b]0;owned\x07 \x9b31m\r \x7f \u202eevil\u2066 \u2028 [bold]x[/]"
NAMES = {"id", "schema", "split", "role", "aspect", "outcome", "shown", "answer", "vs", "judge"}
"""Keys of rows that readers tell kinds by; what they hold is from a list, and checked."""


def poisoned(value, key=""):
    """The value with every free text in it followed by control characters."""
    if isinstance(value, dict):
        return {name: poisoned(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, key) for inner in value]
    if isinstance(value, str) and key not in NAMES and not re.fullmatch(r"[a-z]_\w{12}", value):
        return value + NASTY
    return value


def poison_rows(path):
    lines = [json.dumps(poisoned(row), ensure_ascii=False) + "\n" for row in rows(path)]
    path.write_text("".join(lines), "utf-8")


def poison_manifest(path):
    manifest = json.loads(path.read_text())
    manifest["dropped"] = {reason + NASTY: count for reason, count in manifest["dropped"].items()}
    manifest["spent"]["currency"] = NASTY
    manifest["prompts"] = poisoned(manifest["prompts"])
    manifest["made_with"] = poisoned(manifest["made_with"])
    for section in ("teacher", "critic", "judge", "student"):
        for table in (recipe := manifest["recipe"].get(section) or {}), recipe.get("endpoint", {}):
            if "model" in table:
                table["model"] += NASTY
    path.write_text(json.dumps({**manifest, "seal": seal(manifest)}))


def poison_config(path):
    config = json.loads(path.read_text())
    for section in ("teacher", "critic", "judge"):
        config[section]["endpoint"]["model"] += NASTY
    path.write_text(json.dumps(config))


@pytest.fixture
def nasty(data):
    """A run all of whose texts hold control characters, another as it was, and one of such a name."""
    folder = make_run("nasty", 60)
    make_run("plain", 60)
    for path in folder.rglob("*.jsonl"):
        if path.name != "curve.jsonl":
            poison_rows(path)
    poison_rows(data / "literals-nasty.jsonl")
    for path in folder.rglob("manifest.json"):
        poison_manifest(path)
    poison_config(folder / "config.json")
    (folder / f"stray{NASTY.replace('/', '')}").write_text("x")
    (data / f"runs/{NASTY.replace('/', '')}").mkdir()
    return folder


def clean(said):
    assert CONTROL.findall(said) == []
    return said


SHOWN = [
    ["status"],
    ["status", "--run", "nasty"],
    ["show", "--run", "nasty", "--stage", "teacher"],
    ["show", "--run", "nasty", "--stage", "critic", "--dropped"],
    ["show", "--run", "nasty", "--stage", "evaluate"],
    ["diff", "nasty", "plain"],
    ["report", "--run", "nasty", "--against", "plain"],
    ["export", "--run", "nasty", "--rows", "OUT"],
    ["tables", "--prefix", "nasty", "--out", "OUT"],
    ["all", "--run", "new", "--from", "nasty", "--dry-run"],
]


@pytest.mark.parametrize("argv", SHOWN, ids=" ".join)
def test_what_a_run_says_is_shown_as_escapes(cli, nasty, tmp_path, argv):
    said = clean(cli(*[str(tmp_path / "out") if word == "OUT" else word for word in argv]))
    if argv[0] not in ("tables", "export", "all"):
        assert "\\u001b]0;owned\\u0007" in said.replace("\n", "")


def test_faults_and_lives_are_shown_as_escapes(cli, nasty):
    said = clean(cli("verify", "--run", "nasty", code=5))
    assert "stray\\u001b]0;owned" in said
    verdict = rows(nasty / "round-1/critic/records.jsonl")[0]
    clean(cli("show", verdict["id"], "--run", "nasty"))
    clean(cli("show", NASTY, "--run", "nasty", code=3))
    clean(cli("show", "--run", NASTY, "--stage", "teacher", code=3))
    clean(cli("teacher", "--run", "nasty", "--set", f"{NASTY}=1", code=3))
    clean(cli("teacher", "--run", "x", "--config", f"/{NASTY}", code=3))


def test_what_is_imported_is_shown_as_escapes(cli, tmp_path):
    name = NASTY.replace("/", "")
    path = tmp_path / f"{name}.jsonl"
    path.write_text(json.dumps({f"text{NASTY}": f"The kettle is {NASTY} on.", "split": NASTY}))
    clean(cli("import", path, "--split", "train", "--out", tmp_path / "x.jsonl", code=5))
    field = f"text{NASTY}"
    to = ["--field", field, "--out", tmp_path / f"{name}-out.jsonl"]
    clean(cli("import", path, "--split-field", "split", *to, code=5))
    said = clean(cli("import", path, "--split", "train", *to))
    assert "\\u001b]0;owned" in said
    clean(cli("init", tmp_path / name))
    clean(cli("init", tmp_path / name, code=3))


class Refusing(BaseHTTPRequestHandler):
    """Answers everything with a status and control characters."""

    status = 400

    def do_POST(self):
        message = f"no {NASTY} model"
        body = json.dumps({"error": {"message": message}}, ensure_ascii=False).encode()
        if self.status == 200:
            body = NASTY.encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("status", [200, 401, 500])
def test_what_a_server_says_is_shown_as_escapes(cli, data, tmp_path, monkeypatch, status):
    monkeypatch.setattr("pipeline.llm.asking.SHORTEST_WAIT", 0.01)
    monkeypatch.setattr("pipeline.llm.asking.BACKOFF", 0.01)
    monkeypatch.setattr(Refusing, "status", status)
    make_run("v1", 60)
    path = tmp_path / "c.toml"
    path.write_text(CONFIG.format(literals=data / "literals-v1.jsonl"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        endpoint = (
            f'{{base_url="http://127.0.0.1:{server.server_port}/v1", model={json.dumps(NASTY)}}}'
        )
        flags = ["--set", f"teacher.endpoint={endpoint}", "--set", "runtime.retries=1"]
        said = cli("teacher", "--run", "v2", "--config", path, *flags, code=6)
        server.shutdown()
        thread.join()
    assert "]0;owned\\" in clean(said)


def test_a_bug_is_shown_as_escapes_too(nasty, tmp_path):
    """What a process prints as it ends has passed through the same streams."""
    code = (
        "import sys; from pipeline import __main__ as m, terminal\n"
        "def run(args): raise RuntimeError(args.run)\n"
        "m._run = run\n"
        f"sys.exit(m.main(['status', '--run', {NASTY!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 1
    said = done.stderr.decode()
    assert said.startswith("Traceback")
    assert "\\u001b]0;owned" in clean(said)
