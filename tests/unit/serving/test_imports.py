from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
import retrieval.serving, retrieval.cli.main
for module in pkgutil.walk_packages(retrieval.serving.__path__, "retrieval.serving."):
    importlib.import_module(module.name)
retrieval.cli.main.build_app()
heavy = {"torch", "matplotlib", "onnx"} & set(sys.modules)
assert not heavy, heavy
names = {f"retrieval.training.{name}" for name in ("config", "losses", "negatives", "popularity")}  # settings, names
training = {name for name in sys.modules if name.startswith("retrieval.training.")} - names
assert not training, training
"""


def test_nothing_that_serves_imports_torch() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CLIENT = """
import sys
import retrieval.serving.wire.ann_client
loaded = {"retrieval.index._native", "retrieval.index.shard", "retrieval.serving.ann", "onnxruntime"} & set(sys.modules)
assert not loaded, loaded
"""


def test_a_client_of_ann_hosts_loads_no_search_core() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", CLIENT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
