"""lab.cache: built once, checked, rebuilt when damaged, safe for two at once."""

import multiprocessing
import time
from pathlib import Path

import pytest

from reclab.lab import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep/a.bin").write_bytes(b"x" * 1000)


def refuse(folder: Path) -> None:
    raise AssertionError("must not build again")


def test_a_second_call_does_not_build():
    folder = cache.built("thing", "v1", fill)
    assert cache.built("thing", "v1", refuse) == folder


@pytest.mark.parametrize("harm", ["shorten", "flip", "remove", "manifest", "no manifest"])
def test_damage_is_noticed_named_and_mended(harm):
    folder = cache.built("thing", "v1", fill)
    file = folder / "deep/a.bin"
    match harm:
        case "shorten":
            file.write_bytes(b"x" * 999)
        case "flip":
            file.write_bytes(b"x" * 500 + b"y" + b"x" * 499)
        case "remove":
            file.unlink()
        case "manifest":
            (folder / cache.MANIFEST).write_text("{half")
        case "no manifest":
            (folder / cache.MANIFEST).unlink()
    said: list[str] = []
    assert cache.built("thing", "v1", fill, said.append) == folder
    assert "building it again" in said[0]
    assert cache.damage(folder) is None


def test_a_failed_build_leaves_nothing_behind(own_cache):
    def fail(folder: Path) -> None:
        fill(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.built("thing", "v1", fail)
    assert [f.name for f in own_cache.iterdir()] in ([], ["thing.lock"])


def test_what_an_interrupted_build_left_is_cleared(own_cache):
    own_cache.mkdir()
    (own_cache / ".thing-dead").mkdir()
    cache.built("thing", "v1", fill)
    assert not (own_cache / ".thing-dead").exists()


def _open_slowly(root: str, counter: str) -> None:
    import os

    os.environ["RECLAB_CACHE"] = root

    def build(folder: Path) -> None:
        time.sleep(0.3)
        with open(counter, "a") as f:
            f.write("built\n")
        fill(folder)

    cache.built("thing", "v1", build)


def test_two_processes_build_once(own_cache, tmp_path):
    context = multiprocessing.get_context("spawn")
    counter = str(tmp_path / "count")
    args = (str(own_cache), counter)
    both = [context.Process(target=_open_slowly, args=args) for _ in range(2)]
    for p in both:
        p.start()
    for p in both:
        p.join(60)
    assert [p.exitcode for p in both] == [0, 0]
    assert Path(counter).read_text() == "built\n"


def test_old_versions_are_pruned(own_cache):
    for version in range(6):
        cache.built("thing", f"v{version}", fill)
    assert len(list(own_cache.glob("thing-v*"))) == cache.KEEP


def test_the_code_version_follows_the_sources():
    assert cache.code_version(["core"]) == cache.code_version(["core"])
    assert cache.code_version(["core"]) != cache.code_version(["core", "lab"])
