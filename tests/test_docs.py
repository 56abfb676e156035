"""The docs say what is true: their Python runs, their links lead somewhere, recipes load, generated pages are current."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from iteralign.records import Record
from iteralign.settings.renamed import RENAMED
from iteralign.settings.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "iteralign"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = {
    "demo.yaml",
    "tiny-cpu.yaml",
    "laptop.yaml",
    "laptop-base.yaml",
    "single-gpu-lora.yaml",
    "8-gpu-full.yaml",
    "8-gpu-lora.yaml",
    "2-node-70b-lora.yaml",
    "paper.yaml",
}

named = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text_of(page), flags=re.MULTILINE | re.DOTALL)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", without_code(text_of(page)), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def recipe_files() -> list[Path]:
    return sorted(path for path in (ROOT / "recipes").rglob("*.yaml") if path.is_file())


@pytest.mark.parametrize(
    "page", [page for page in PAGES if python_blocks(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    """All blocks of a page, one after another in one process, in a directory that has only the recipes."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    script = tmp_path / "blocks.py"
    script.write_text("\n\n".join(python_blocks(page)), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "OMP_NUM_THREADS": "1"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip()


def test_readme_and_extending_have_python_blocks() -> None:
    assert {page.name for page in PAGES if python_blocks(page)} >= {"README.md", "extending.md", "quickstart.md"}


@named
def test_every_fence_names_its_language_and_closes(page: Path) -> None:
    fences = re.findall(r"^```(.*)$", text_of(page), flags=re.MULTILINE)
    assert len(fences) % 2 == 0
    assert all(fence in {"python", "sh", "text", "yaml", "bibtex"} for fence in fences[::2])
    assert all(fence == "" for fence in fences[1::2])


@named
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}"


@named
def test_named_paths_of_the_repository_exist(page: Path) -> None:
    for path in re.findall(r"`((?:src|docs|tests|recipes|benchmarks)/[\w./-]*)`", text_of(page)):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


def test_readme_links_every_page_of_docs() -> None:
    links = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", text_of(ROOT / "README.md")))
    assert links >= {"quickstart.md", "algorithm.md", "run-directory.md", "oracles.md", "extending.md", "cli.md"}
    assert links >= {"glossary.md", "paper-notes.md", "log.md"}


def test_the_file_map_names_every_part_of_the_package() -> None:
    begin = text_of(ROOT / "README.md").split("## File map")[1].split("\n## ")[0]
    mapped = set(re.findall(r"`src/iteralign/([\w.]+)/?`", begin))
    rooms = [path for path in PACKAGE.iterdir() if path.is_dir() and not path.name.startswith("__")]
    parts = {path.name for path in rooms if any(path.glob("[a-z]*.*"))}
    assert mapped >= parts | {"algorithm.py", "records.py", "interfaces.py", "fakes.py"}


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md", "docs/oracles.md", "docs/run-directory.md"])
def test_commands_in_the_docs_exist(name: str) -> None:
    known = re.findall(r"^## iteralign (.+)$", text_of(ROOT / "docs" / "cli.md"), flags=re.MULTILINE)
    for line in re.findall(r"^(?:\S+=\S+ )?iteralign (.+)$", text_of(ROOT / name), flags=re.MULTILINE):
        words = line.split()
        assert words[0] in known or " ".join(words[:2]) in known, line


@named
def test_settings_named_in_the_docs_exist(page: Path) -> None:
    sections = "model|data|oracle|form|rounds|constitution|sampling|revision|training|measure|guard_rails|lookahead"
    for key in re.findall(rf"`((?:{sections})\.[a-z_.]+)(?:[:=][^`]*)?`", text_of(page)):
        if not key.endswith((".py", ".jsonl", ".txt", ".yaml", ".md")):
            told = page.name == "CHANGELOG.md" and key in RENAMED
            assert told or has_setting(key), f"{page.name} names the setting {key}"


def has_setting(key: str) -> bool:
    section: object = Settings
    for name in key.split("."):
        fields = getattr(section, "model_fields", {})
        if name not in fields:
            return False
        annotation = fields[name].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        section = next((option for option in options if hasattr(option, "model_fields")), None)
    return True


def test_the_recipes_are_these() -> None:
    assert {str(path.relative_to(ROOT / "recipes")) for path in recipe_files()} == RECIPES


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_recipes_load_and_begin_with_their_launch_line(recipe: str) -> None:
    path = ROOT / "recipes" / recipe
    first = text_of(path).splitlines()[0]
    launch = "iteralign demo" if recipe == "demo.yaml" else f"iteralign run recipes/{recipe}"
    assert first in (f"# {launch}", f"# OPENAI_API_KEY=... {launch}")
    settings = load_settings(path)
    assert load_settings(settings.model_dump(mode="json")) == settings
    assert ("OPENAI_API_KEY" in first) == (settings.oracle.judge is not None and settings.oracle.judge.base_url is None)


def test_the_kuberay_job_has_our_ray_and_the_gpus_of_the_recipe_that_it_names() -> None:
    text = text_of(ROOT / "docs" / "kuberay.yaml")
    cluster = yaml.safe_load(text)["spec"]["rayClusterSpec"]
    assert f"ray=={cluster['rayVersion']}" in text_of(ROOT / "constraints.txt").split()
    (named,) = re.findall(r"recipes/[\w-]+\.yaml", text)
    wanted = load_settings(ROOT / named).cluster
    (workers,) = cluster["workerGroupSpecs"]
    limits = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert workers["replicas"] * int(limits["nvidia.com/gpu"]) == wanted.replicas * wanted.tensor_parallel


def test_the_demo_recipe_is_the_packaged_one() -> None:
    assert text_of(ROOT / "recipes" / "demo.yaml") == text_of(PACKAGE / "cli" / "demo.yaml")


def test_the_paper_recipe_has_the_released_hyperparameters() -> None:
    paper = load_settings(ROOT / "recipes" / "paper.yaml")
    assert (paper.rounds.prompts, paper.rounds.min_failures, paper.revision.tries) == (20, 1, 1)
    sampling = paper.sampling
    assert (sampling.max_new_tokens, sampling.temperature, sampling.frequency_penalty) == (500, 0.0, 0.5)
    assert sampling.stop == ("\n\n",)
    assert not paper.constitution.gate.enabled and not paper.constitution.doubles
    training = paper.training
    assert (training.method, training.processes, training.batch_size, training.epochs) == ("full", 8, 1, 3)
    assert (training.learning_rate, training.warmup_ratio, training.weight_decay) == (2e-6, 0.03, 0.0)
    assert (training.scheduler, training.max_length, training.gradient_checkpointing) == ("cosine", 4096, True)
    assert (training.replay, training.benign_share, training.min_benign, paper.data.benign) == (0, 0, 0, None)


def test_init_writes_settings_that_load() -> None:
    path = PACKAGE / "cli" / "init.yaml"
    assert load_settings(path).oracle.judge is not None
    sections = {name for name, field in Settings.model_fields.items() if hasattr(field.annotation, "model_fields")}
    assert sections <= set(yaml.safe_load(text_of(path)))


def test_init_shows_defaults_where_it_shows_nothing_else() -> None:
    """A key that the file gives for explanation alone has the default value; these few are chosen."""
    path = PACKAGE / "cli" / "init.yaml"
    chosen = {
        "data.shuffle",
        "data.held_out_limit",
        "data.benign",
        "sampling.stop",
        "model.path",
        "data.prompts",
        "oracle.judge",
    }
    given = load_settings(path)
    plain = load_settings({"model": {"path": "x"}, "data": {"prompts": "x"}, "oracle": {"judge": {"model": "x"}}})
    for name in Settings.model_fields:
        ours, theirs = getattr(given, name), getattr(plain, name)
        keys = type(ours).model_fields if hasattr(type(ours), "model_fields") else [""]
        for key in keys:
            label = f"{name}.{key}" if key else name
            if label not in chosen:
                assert getattr(ours, key, ours) == getattr(theirs, key, theirs), label


def test_settings_that_init_shows_as_off_exist() -> None:
    """Uncommenting a line of init.yaml gives a setting, not an unknown key."""
    section = ""
    for line in text_of(PACKAGE / "cli" / "init.yaml").splitlines():
        if match := re.match(r"([a-z_]+):", line):
            section = match[1]
        if match := re.match(r"  # ([a-z_]+): ", line):
            assert has_setting(f"{section}.{match[1]}"), line
        if match := re.match(r"# ([a-z_]+): ", line):
            assert match[1] in Settings.model_fields, line


def test_the_command_line_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert text_of(ROOT / "docs" / "cli.md") == module.page(), "run: python docs/make_cli.py"


def test_the_glossary_has_every_record() -> None:
    words = text_of(ROOT / "docs" / "glossary.md").lower()
    names = [kind.__name__ for kind in Record.__subclasses__() if kind.__module__ == "iteralign.records"]
    missing = [name for name in names if re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).split()[-1].lower() not in words]
    assert set(missing) <= {"Turn", "Sampling", "Generation"}


def test_the_run_directory_page_has_every_name() -> None:
    from iteralign import layout

    page = text_of(ROOT / "docs" / "run-directory.md")
    names = [value for key, value in vars(layout).items() if key.isupper() and isinstance(value, str) and "." in value]
    names += [f"{name}.json" for name in layout.STAGES] + [layout.begun_with(name) for name in layout.PROMPT_SETS]
    assert not [name for name in names if name not in page]


def test_the_citation_names_the_paper_and_this_version() -> None:
    import iteralign

    citation = yaml.safe_load(text_of(ROOT / "CITATION.cff"))
    assert citation["version"] == iteralign.__version__
    paper = citation["preferred-citation"]
    assert len(paper["authors"]) == 8
    assert paper["authors"][0]["family-names"] == "Chen"


@pytest.mark.parametrize("path", [*PAGES, *recipe_files(), PACKAGE / "cli" / "init.yaml"], ids=lambda path: path.name)
def test_no_page_names_a_place_of_one_machine(path: Path) -> None:
    assert not re.search(r"/(?:work|root|home|tmp)/", text_of(path))


def test_the_package_exports_lazily() -> None:
    """`import iteralign` loads nothing, and no module hides a name of the package."""
    code = """
import sys, iteralign
assert not [name for name in ("pydantic", "torch", "iteralign.runs.run") if name in sys.modules]
import iteralign.runs.run as _; from iteralign.cli import app
from iteralign import run, Target; from iteralign.runs.progress import Silent
assert run.__name__ == "run" and callable(run) and iteralign.run is run is iteralign.runs.run.run
assert all(getattr(iteralign, name) is not None for name in iteralign.__all__) and set(iteralign.__all__) <= set(dir(iteralign))
assert "torch" not in sys.modules
try: iteralign.nothing
except AttributeError: pass
else: raise SystemExit("an unknown name was found")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
