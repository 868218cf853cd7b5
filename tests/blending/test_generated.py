"""The committed code is what the committed proto gives."""

from importlib.metadata import version
from pathlib import Path

import pytest

from reclab.blending.blending_pb2_grpc import GRPC_GENERATED_VERSION
from reclab.blending.generate import PROTO, generate

COMMAND = "python -m reclab.blending.generate"
ROOT = Path(__file__).resolve().parents[2]


def test_generated_code_is_up_to_date(tmp_path: Path):
    pytest.importorskip("grpc_tools", reason="the dev extra has the compiler")
    if version("grpcio-tools") != GRPC_GENERATED_VERSION:
        pytest.skip(f"the code was written by grpcio-tools {GRPC_GENERATED_VERSION}")
    made = generate(ROOT, tmp_path)
    assert [path.name for path in made] == [
        "blending_pb2.py",
        "blending_pb2.pyi",
        "blending_pb2_grpc.py",
    ]
    for path in made:
        held = (ROOT / PROTO).parent / path.name
        assert held.read_text() == path.read_text(), f"run {COMMAND}: {held}"
