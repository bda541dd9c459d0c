"""What vLLM answers, without a model: `python tests/serving/mock_vllm.py FOLDER PORT [--enable-lora]`.

Every line of the file that MOCK_LOG names is one thing that happened: a start (with the folder's
weights), an adapter, a request. MOCK_DELAY is how many seconds a request takes.
"""

import hashlib
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER, PORT = Path(sys.argv[1]), int(sys.argv[2])
ADAPTERS: set[str] = set()
LOCK = threading.Lock()


def note(**what):
    line = json.dumps({"port": PORT, "pid": os.getpid(), **what}) + "\n"
    with open(os.environ["MOCK_LOG"], "a") as file:
        file.write(line)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.reply(200 if self.path == "/health" else 404, {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/load_lora_adapter":
            name, path = body["lora_name"], Path(body["lora_path"])
            if "--enable-lora" not in sys.argv or not (path / "adapter_config.json").exists():
                self.reply(404, {"detail": "Not Found"})
            elif name in ADAPTERS:
                self.reply(400, {"message": f"The lora adapter '{name}' has already been loaded."})
            else:
                ADAPTERS.add(name)
                note(
                    adapter=name,
                    path=str(path),
                    allowed=os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
                )
                self.reply(200, {})
            return
        if self.path == "/v1/unload_lora_adapter":
            ADAPTERS.discard(body["lora_name"])
            note(unloaded=body["lora_name"])
            self.reply(200, {})
            return
        if self.path == "/tokenize" and "MOCK_TOKENIZES" in os.environ:
            self.reply(200, {"tokens": [1, 2, 3]})
            return
        if body["model"] not in {str(FOLDER), *ADAPTERS}:
            self.reply(404, {"message": f"The model `{body['model']}` does not exist."})
            return
        if os.environ.get("MOCK_DIES"):
            print("torch.OutOfMemoryError: CUDA out of memory", flush=True)
            os._exit(3)
        time.sleep(float(os.environ.get("MOCK_DELAY", "0")))
        with LOCK:
            note(request=body["model"], seed=body.get("seed"))
        asked = body["messages"][0]["content"]
        digest = hashlib.sha256(json.dumps([asked, body.get("seed")]).encode()).hexdigest()
        text = f"{asked.partition(': ')[2]} {digest[:6]}"
        if digest < os.environ.get("MOCK_SILENT", ""):
            text = ""
        if digest < os.environ.get("MOCK_REFUSES", ""):
            self.reply(400, {"message": "this prompt is too odd"})
            return
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": 5, "completion_tokens": 5}
        self.reply(200, {"id": "x", "choices": [choice], "usage": usage})


if os.environ.get("MOCK_FAILS"):
    sys.exit("CUDA error: no kernel image is available")
weights = FOLDER / "model.safetensors"
note(
    start=hashlib.sha256(weights.read_bytes()).hexdigest(),
    gpus=os.environ.get("CUDA_VISIBLE_DEVICES"),
)
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
