"""``python -m reclab.blending.generate``: writes the code of blending.proto anew (needs the dev
extra). Its files are committed, so that running the package needs no compiler."""

import sys
from importlib import resources
from pathlib import Path

PROTO = "reclab/blending/blending.proto"


def generate(root: Path, out: Path) -> list[Path]:
    """Compile the proto of the checkout at ``root``; the files lie under ``out``."""
    from grpc_tools import protoc

    wellknown = resources.files("grpc_tools") / "_proto"
    flags = [f"--{kind}={out}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    if protoc.main(["protoc", f"-I{root}", f"-I{wellknown}", *flags, PROTO]):
        raise SystemExit(f"protoc refused {PROTO}: its message is above")
    return sorted((out / PROTO).parent.glob("blending_pb2*"))


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[2]
    sys.stdout.writelines(f"{path.relative_to(here)}\n" for path in generate(here, here))
