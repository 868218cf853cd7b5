"""A real JupyterLab over a copy of notebooks, and a reader who drives it in headless Chromium.

One server and one page serve all tests here; the theme is changed as a reader would change it.
Set RECLAB_SHOTS to a folder to keep a picture of every screen.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
SCROLLER = (
    "(document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer')"
    " || document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook'))"
)
KERNEL_READY = """() => {
  const open = window.jupyterapp.shell.currentWidget;
  const kernel = open && open.sessionContext && open.sessionContext.session
    && open.sessionContext.session.kernel;
  return kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
WATCH_PAINTS = (HERE / "watch_paints.js").read_text(encoding="utf-8")
PLOTS = (HERE / "plots.js").read_text(encoding="utf-8")


def chromium_path() -> str | None:
    """Where Chromium is on this machine, or None."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    return None


class Lab:
    """A JupyterLab over ``folder``, with its settings, runtime and user folders in ``work``."""

    def __init__(self, folder: Path, work: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = work / "lab.log"
        self._process = self._start(folder, work)
        self._wait()

    def _start(self, folder: Path, work: Path) -> subprocess.Popen[bytes]:
        settings = work / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        no_news = '{"fetchNews": "false", "checkForUpdates": false}'
        (settings / "notification.jupyterlab-settings").write_text(no_news, encoding="utf-8")
        places = {
            "JUPYTERLAB_SETTINGS_DIR": work / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": work / "workspaces",
            "JUPYTER_RUNTIME_DIR": work / "runtime",
            "JUPYTER_CONFIG_DIR": work / "config",
            "IPYTHONDIR": work / "ipython",
            "PYTHONPATH": ROOT,
        }
        command = [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser"]
        command += [f"--port={self.port}", "--ServerApp.token=", "--ServerApp.password="]
        command += [f"--ServerApp.root_dir={folder}", "--expose-app-in-browser"]
        env = {**os.environ, **{name: str(place) for name, place in places.items()}}
        with self.log_file.open("wb") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=env, start_new_session=True
            )

    def _wait(self) -> None:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"{self.url}/api", timeout=2):
                    return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.5)
        self.stop()
        raise RuntimeError(f"JupyterLab did not start:\n{self.log_file.read_text()[-2000:]}")

    def stop(self) -> None:
        """End the server and its kernels: asked first, then killed."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sign)
                self._process.wait(15)
                return
            except (subprocess.TimeoutExpired, ProcessLookupError):
                continue


class Reader:
    """What a reader does in JupyterLab, and what is seen."""

    def __init__(self, page: Any, url: str, shots: Path | None) -> None:
        self.page, self.url, self.shots = page, url, shots
        self.errors: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)[:400]))

    def _on_console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text[:400])

    def open(self, path: str) -> None:
        """Open a notebook in a fresh page; what was said on the console before is forgotten."""
        self.page.goto(f"{self.url}/lab/tree/{path}?reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=90_000)
        self.page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
        self.page.wait_for_function(KERNEL_READY, timeout=90_000)
        self.page.wait_for_timeout(1000)
        if self.page.locator(".jp-FileBrowser").first.is_visible():
            self.command("application:toggle-left-area")
        self.errors.clear()

    def command(self, name: str, limit_s: float = 60, **args: Any) -> bool:
        """Run a command of JupyterLab; False when it took longer than the limit."""
        return self.page.evaluate(
            """async ([name, args, limit]) => {
              const run = window.jupyterapp.commands.execute(name, args);
              const late = new Promise(done => setTimeout(() => done(false), limit));
              return await Promise.race([run.then(() => true), late]);
            }""",
            [name, args, limit_s * 1000],
        )

    def theme(self, name: str) -> None:
        """Change to the theme ``"light"`` or ``"dark"``."""
        words = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}[name]
        self.command("apputils:change-theme", theme=words)
        self.page.wait_for_timeout(1000)

    def run_all(self, limit_s: float = 300) -> bool:
        """Run all cells; False when that took too long."""
        done = self.command("notebook:run-all-cells", limit_s)
        self.page.wait_for_timeout(2000)
        return done

    def close_kernel(self) -> None:
        """End the notebook's kernel; nothing is saved."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.wait_for_timeout(500)

    def cells(self) -> list[dict[str, Any]]:
        """The notebook's cells as JSON."""
        return self.page.evaluate("""() => {
          const cells = window.jupyterapp.shell.currentWidget.content.model.cells;
          return Array.from({length: cells.length}, (_, i) => cells.get(i).toJSON());
        }""")

    def error_cells(self) -> list[str]:
        """First line and error of each cell that failed."""
        return [
            f"{''.join(cell['source']).splitlines()[0]}: {output['ename']}: {output['evalue']}"
            for cell in self.cells()
            for output in cell.get("outputs", [])
            if output["output_type"] == "error"
        ]

    def screens(self, name: str = "") -> list[dict[str, Any]]:
        """Go through the notebook screen by screen, since Lab draws only what is in view. Returns
        the plots that were seen, each once; keeps pictures when asked."""
        seen: dict[str, dict[str, Any]] = {}
        self.page.evaluate(f"{SCROLLER}.scrollTop = 0")
        for n in range(1, 80):
            for plot in self._drawn():
                if plot["width"] > 0 or plot["id"] not in seen:  # 0: it was scrolled away
                    seen[plot["id"]] = plot  # the last look counts: a plot that comes into view
                    # is drawn at its old size first
            if self.shots and name:
                self.page.screenshot(path=str(self.shots / f"{name}_{n:02d}.png"))
            moved = self.page.evaluate(
                f"() => {{ const s = {SCROLLER}, y = s.scrollTop;"
                " s.scrollTop = y + s.clientHeight * 0.9; return s.scrollTop - y; }"
            )
            if moved < 4:
                break
        return list(seen.values())

    def _drawn(self, within_s: float = 4) -> list[dict[str, Any]]:
        """The plots, as soon as all in view have marks and fill their box, which takes a busy
        machine its time; as they are when they never do."""
        for _ in range(round(within_s / 0.3)):
            self.page.wait_for_timeout(300)
            plots = self.page.evaluate(PLOTS)
            if all(p["marks"] and abs(p["width"] - p["box"]) <= 24 for p in plots if p["width"]):
                break
        return plots

    def explorer_handles(self) -> Iterator[Any]:
        """The handle of every slider of every explorer, each in view when it is yielded."""
        self.page.evaluate(f"{SCROLLER}.scrollTop = 0")
        this_time = time.monotonic()
        for _ in range(80):
            self.page.wait_for_timeout(250)
            for handle in self.page.locator(".reclab-explorer .noUi-handle").element_handles():
                if handle.evaluate("(e, now) => e.at !== now && !!(e.at = now)", this_time):
                    handle.scroll_into_view_if_needed()
                    yield handle
            moved = self.page.evaluate(
                f"() => {{ const s = {SCROLLER}, y = s.scrollTop;"
                " s.scrollTop = y + s.clientHeight * 0.9; return s.scrollTop - y; }"
            )
            if moved < 4:
                return

    def move(self, handle: Any, key: str) -> "Move":
        """Press a key on a slider, and on the Run button where the explorer has one, as a reader
        with a keyboard does."""
        before = self._beside(handle)
        handle.focus()
        self.page.evaluate(WATCH_PAINTS)
        self.page.keyboard.press(key)
        for _ in range(10):
            self.page.wait_for_timeout(100)
            now = self._beside(handle)
            if now["spoken"] != before["spoken"]:
                break
        else:  # it stands at its end
            return Move(now["label"], now["spoken"], before["number"], now["number"], None)
        run = handle.evaluate_handle(
            "e => e.closest('.reclab-explorer').querySelector('.reclab-run')"
        ).as_element()
        if run:
            self.page.wait_for_timeout(300)
            run.focus()
            self.page.keyboard.press("Enter")
        took = None
        try:
            self.page.wait_for_function("window.tookMs !== null", timeout=8000, polling=20)
            took = self.page.evaluate("window.tookMs")
        except (
            Exception
        ) as error:  # playwright's own class; named so that playwright stays optional
            if type(error).__name__ != "TimeoutError":
                raise
        self.page.wait_for_timeout(300)
        after = self._beside(handle)
        return Move(after["label"], after["spoken"], before["number"], after["number"], took)

    @staticmethod
    def _beside(handle: Any) -> dict[str, str]:
        return handle.evaluate("""e => ({
          label: e.getAttribute('aria-label') || '',
          spoken: e.getAttribute('aria-valuetext') || '',
          number: e.closest('.widget-hbox').querySelector('input').value,
        })""")


@dataclass(frozen=True)
class Move:
    """One key press on a slider: its label and the value as a screen reader gets them, the number
    beside it before and after, and the ms from the key to the repaint (None: no repaint)."""

    label: str
    spoken: str
    before: str
    after: str
    ms: float | None


@pytest.fixture(scope="session")
def chromium() -> str:
    """Chromium's path; skips where it is not installed."""
    pytest.importorskip("playwright", reason="needs playwright: pip install playwright")
    found = chromium_path()
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium, or install Google Chrome")
    return found


@pytest.fixture(scope="session")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of notebooks/ and, beside it, the demonstration notebook, saved as lessons are."""
    folder = tmp_path_factory.mktemp("tree")
    if (ROOT / "notebooks").is_dir():
        shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    (folder / "demo").mkdir()
    for name in ("demo_explorer.py", "demo_notebook.py"):
        shutil.copy(HERE / name, folder / "demo" / name)
    run = [sys.executable, "demo_notebook.py"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(run, cwd=folder / "demo", env=env, check=True, timeout=120)
    return folder


@pytest.fixture(scope="session")
def reader(
    chromium: str, notebooks: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    """A page of a running JupyterLab over the copies."""
    from playwright.sync_api import sync_playwright

    shots = Path(os.environ["RECLAB_SHOTS"]) if "RECLAB_SHOTS" in os.environ else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    lab = Lab(notebooks, tmp_path_factory.mktemp("lab"))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            yield Reader(page, lab.url, shots)
            browser.close()
    finally:
        lab.stop()
