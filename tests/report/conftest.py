"""A finished run on fakes, and a headless Chromium where there is one."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Verdict
from iteralign.runs.parts import Parts
from iteralign.runs.run import start_run
from iteralign.settings.settings import load_settings

SMALL: dict[str, Any] = {
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "limit": 40, "held_out": 0.4, "benign_limit": 20},
    "oracle": {"kind": "rules"},
    "rounds": {"prompts": 4},
}


def learns(text: str, checkpoint: Checkpoint) -> str:
    """Goes along with bad questions until it is trained or given principles; answers harmless ones."""
    if "a bad question" not in text:
        return f"A friendly answer of {len(text)} letters."
    return DECLINES if checkpoint.examples > 0 or "follow these principles" in text.lower() else COMPLIES


HOSTILE = (
    "</script><script>document.title='owned'</script>",
    '<img src=x onerror="document.title=1"><iframe src="https://example.org"></iframe>',
    "{{ 7 * 7 }} {% for x in y %} ${alert(1)} `",
    "<!-- --><![CDATA[ ]]><style>body{display:none}</style>",
    "\u202eright to left\u202c שלום عليكم \u2028 \u2029 \x00 \x1b[31m",
    "\"'><svg/onload=alert(1)> &amp; &lt;b&gt; \\u003c",
)


class ScoringTarget(FakeTarget):
    """A fake that can also say how likely it finds a text."""

    can_score = True

    def score(self, inputs: Any, completions: Any) -> list[float]:
        return [-0.5 - 0.01 * (index % 4) for index in range(len(inputs))]


def fake_run(directory: Path, **settings: Any) -> Path:
    """A whole run on fakes."""
    start_run(load_settings(small(directory.parent) | settings), directory, parts=fake_parts(directory))
    return directory


def fake_parts(directory: Path, answer: Callable[[str, Checkpoint], str] = learns) -> Parts:
    """A target, which learns by itself; an oracle that minds what COMPLIES says; a trainer that trains nothing."""
    base = Checkpoint(kind="base", path="base")
    oracle = FakeOracle(lambda response: "unacceptable" if response.text == COMPLIES else "acceptable")
    return Parts(ScoringTarget(answer), oracle, FakeTrainer(directory), prompt_form("plain"), base)


def small(place: Path) -> dict[str, Any]:
    """Settings with 40 bad questions and 30 harmless ones, written to `place`."""
    for name, count in (("bad", 40), ("harmless", 30)):
        lines = [json.dumps({"question": f"This is a {name} question, number {n}?"}) for n in range(count)]
        (place / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    data = {"prompts": str(place / "bad.jsonl"), "held_out": 0.4, "benign": str(place / "harmless.jsonl")}
    return SMALL | {"data": data | {"benign_held_out": 0.5}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose prompts, answers, categories and reasons are all hostile."""
    place = tmp_path_factory.mktemp("hostile")
    texts = [text.replace("\x00", "") for text in HOSTILE]  # the loader refuses it in a question; an answer may have it
    rows = [{"question": f"{texts[n % 6]} number {n}", "category": texts[n % 6]} for n in range(24)]
    (place / "red.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    class Oracle(FakeOracle):
        def judge(self, responses: Any) -> list[Verdict]:
            return [one.model_copy(update={"reason": HOSTILE[0]}) for one in super().judge(responses)]

    def answer(text: str, checkpoint: Checkpoint) -> str:
        declines = checkpoint.examples > 0 or "follow these principles" in text.lower()
        return DECLINES if declines else "".join(HOSTILE)

    run = place / "run"
    parts = Parts(
        FakeTarget(answer), Oracle(), FakeTrainer(run), prompt_form("plain"), Checkpoint(kind="base", path="base")
    )
    data = {"prompts": str(place / "red.jsonl"), "held_out": 0.5, "benign_limit": 10}
    rails = {"over_refusal": None, "collapse": None}
    start_run(load_settings(SMALL | {"data": data, "guard_rails": rails}), run, parts=parts)
    return run


Browser = Callable[..., str]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """(file, script=...) -> the text that the script returns, run in the page by a headless Chromium; without a script the
    page's markup after loading. Skips where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    profile = tmp_path_factory.mktemp("chromium")

    def dumped(path: Path, script: str | None = None, width: int = 1200) -> str:
        shown = path
        if script is not None:
            shown = path.with_name(f"{path.stem}-driven.html")
            shown.write_text(driven(path.read_text(encoding="utf-8"), script), encoding="utf-8")
        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"]
        command += [f"--user-data-dir={profile}", f"--window-size={width},900", "--virtual-time-budget=5000"]
        done = subprocess.run(
            [*command, shown.as_uri()], capture_output=True, text=True, timeout=120, check=True, encoding="utf-8"
        )
        if script is None:
            return done.stdout
        found = re.search(r'<pre id="outcome">(.*?)</pre>', done.stdout, flags=re.DOTALL)
        assert found is not None, done.stderr[-2000:]
        return html.unescape(found[1])

    return dumped


def driven(page: str, script: str) -> str:
    """The page with one more script behind its own, which its policy is made to allow by a nonce; the policy else stays."""
    page = page.replace("script-src ", "script-src 'nonce-test' ", 1)
    runs = f"""<script nonce="test">
      const found = (() => {{ try {{ {script} }} catch (error) {{ return "error: " + error; }} }})();
      const place = document.createElement("pre");
      place.id = "outcome"; place.textContent = String(found); document.body.append(place);
    </script>"""
    return page.replace("</body>", runs + "</body>")
