"""Settings -> objects: the only place that names backends. One `match` per seam; an unknown name lists the choices."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from iteralign import layout
from iteralign.constitution.doubles import Doubles
from iteralign.constitution.gate import Gate
from iteralign.constitution.given import read_constitution
from iteralign.constitution.review import FileReview, Reviewer
from iteralign.constitution.twins import Twins
from iteralign.endpoints.loopback import is_here
from iteralign.errors import ConfigError
from iteralign.interfaces import Judge, Oracle, Target, Trainer
from iteralign.prompts import load_template
from iteralign.prompts.forms import FormsByPrompt, PromptForm, prompt_form
from iteralign.records import Principle, RedTeamPrompt
from iteralign.redteam.chances import Weighing
from iteralign.redteam.forms import in_forms
from iteralign.redteam.growth import Growth
from iteralign.redteam.orders import FileOrder, Order, Seeking, Shuffled, groups_of
from iteralign.rundir.weights import RunWeights, SharedWeights
from iteralign.settings.calibration import calibration_of
from iteralign.settings.file import flat
from iteralign.settings.oracle import LOCAL, EndpointSettings, GuardSettings, OracleSettings
from iteralign.settings.settings import Settings
from iteralign.text.similarity import Similarity, by_embeddings, by_words
from iteralign.trainers.tracking import Tracking
from iteralign.weights.model import LocalModel
from iteralign.weights.storage import Storage

if TYPE_CHECKING:
    from iteralign.oracles.budget import Account
    from iteralign.oracles.cache import ReplyCache
    from iteralign.oracles.chat import Client
    from iteralign.oracles.guards import Family, GuardJudge
    from iteralign.oracles.llm import LLMOracle
    from iteralign.oracles.negotiation import Dialects
    from iteralign.oracles.probability import ProbabilityOracle
    from iteralign.targets.ray_pool import RayPool
    from iteralign.trainers.group import Group


def build_model(settings: Settings, run: Path | Storage | None = None) -> LocalModel:
    """The owner of the target's weights; loads nothing yet. `run`: the run directory, or what knows of its weights."""
    model = settings.model
    in_process = not settings.trains_apart
    shared = in_process and model.engine == "transformers"  # what generates has the weights that are trained
    here = in_process and settings.training.method == "full"
    return LocalModel(
        demo_model() if model.path == "demo" else model.path,
        root=Path() if run is None else RunWeights(run) if isinstance(run, Path) else run,
        device=model.device,  # type: ignore[arg-type]
        dtype="auto" if here and not shared else model.dtype,
        generating=None if shared else model.dtype,
        trust_remote_code=model.trust_remote_code,
        revision=model.revision,
        attention=model.attention,
        threads=settings.threads or "auto",
        full=here,
        elsewhere=settings.cluster.training_gpus is not None,
    )


def build_pool(settings: Settings) -> "RayPool | None":
    """The replicas of the target, which the trainer may have to know of; None where there are none. Starts nothing."""
    if settings.cluster.address is None:
        return None
    from iteralign.targets.ray_pool import RayPool

    return RayPool(settings.cluster, settings.model.device)


def build_target(settings: Settings, model: LocalModel, pool: "RayPool | None" = None) -> Target:
    """The model as something that answers."""
    match settings.model.engine:
        case "transformers" | "vllm" if (replicas := pool or build_pool(settings)) is not None:
            from iteralign.targets.cluster import ClusterTarget

            return ClusterTarget(model, replicas, partial(build_replica, settings))
        case "transformers":
            from iteralign.targets.transformers import TransformersTarget

            return TransformersTarget(model, batch_size=settings.model.batch_size)
        case "vllm":
            from iteralign.targets.vllm import VllmTarget

            rank = settings.training.lora_r if settings.training.method == "lora" else None
            parallel = settings.cluster.tensor_parallel
            return VllmTarget(
                model, settings.model.vllm, rank, {"tensor_parallel_size": parallel} if parallel > 1 else None
            )
        case "served":
            from iteralign.targets.served import ServedTarget

            return ServedTarget(model, settings.model.served)


def build_replica(settings: Settings, root: Path, arithmetic: Mapping[str, Any]) -> tuple[Target, Callable[[], object]]:
    """The target of one replica, in the process that Ray gives it, and what takes its weights off the GPU. `root`: where the
    run's weights lie. Raises TargetError where this machine does not see them."""
    model = build_model(settings, SharedWeights(root, arithmetic))
    alone = settings.model_copy(update={"cluster": settings.cluster.model_copy(update={"address": None})})
    return build_target(alone, model), model.set_aside


def build_tracking(settings: Settings, directory: Path) -> Tracking:
    """The trackers of the run in `directory`. Raises MissingExtraError."""
    return Tracking(
        settings.training.report_to,
        directory,
        settings.name or directory.resolve().name,
        flat(settings.model_dump(mode="json")),
    )


def build_trainer(
    settings: Settings,
    model: LocalModel,
    tracking: Tracking | None = None,
    pool: "RayPool | None" = None,
    group: "Group | None" = None,
) -> Trainer:
    """Fine-tuning in this process, or in several: those of a `group` that is there already, or of its own."""
    probe = settings.model.engine == "vllm"
    if group is not None or settings.trains_apart:
        from iteralign.trainers.distributed import DistributedTrainer

        group = group or build_group(settings, model, pool)
        return DistributedTrainer(model, settings.training, settings.seed, group, tracking, probe)
    match settings.training.method:
        case "lora" | "full":
            from iteralign.trainers.objectives import TRAINERS

            return TRAINERS[settings.training.objective](model, settings.training, settings.seed, tracking, probe)


def build_group(settings: Settings, model: LocalModel, pool: "RayPool | None" = None) -> "Group":
    """The processes that train together, which start at their first job."""
    if settings.cluster.training_gpus is None:
        from iteralign.trainers.local_group import LocalGroup

        return LocalGroup(settings.training.processes, model.device)
    from iteralign.trainers.ray_group import RayGroup

    beside = pool.places if pool is not None and settings.cluster.colocate else None
    return RayGroup(settings.cluster, settings.model.device, beside)


def build_oracle(settings: OracleSettings, seed: int, directory: Path | None = None) -> Oracle:
    """The judge and proposer. `directory` is the run's, where calls are accounted for."""
    oracle = _own_oracle(settings, seed, directory)
    if not settings.guards:
        return oracle
    from iteralign.oracles.guards import JudgeAndProposer, Panel

    judges: list[Judge] = [build_guard(guard, settings.cache) for guard in settings.guards]
    if settings.guards_and_judge:
        judges.append(oracle)
    return JudgeAndProposer(Panel(judges, ", ".join(settings.judge_names)) if len(judges) > 1 else judges[0], oracle)


def build_guard(settings: GuardSettings, cache: bool = True) -> "GuardJudge":
    """A guard model as judge; a local one is loaded at its first judgement."""
    from iteralign.oracles.guards import GuardJudge
    from iteralign.oracles.guards.judge import ask_server, ask_target, forget_asked

    kind = build_family(settings)
    if settings.base_url is not None:
        from iteralign.oracles.cache import ReplyCache
        from iteralign.oracles.client import ChatClient

        client = ChatClient(settings.endpoint, cache=ReplyCache() if cache else None)
        return GuardJudge(kind, ask_server(client), settings.model, forget_asked(client))
    from iteralign.targets.transformers import TransformersTarget

    model = build_guard_model(settings)
    return GuardJudge(kind, ask_target(TransformersTarget(model), model), settings.model)


def build_family(settings: GuardSettings) -> "Family":
    """What the guard is asked, and how its replies are read."""
    from iteralign.oracles.guards.families import family

    return family(settings.family, settings.policy)


def build_guard_model(settings: GuardSettings) -> LocalModel:
    """The owner of a local guard's weights; loads nothing yet."""
    return LocalModel(
        settings.model,
        root=Path(),
        device=settings.device,  # type: ignore[arg-type]
        dtype=settings.dtype,
        threads="kept",  # the target's
    )


def _own_oracle(settings: OracleSettings, seed: int, directory: Path | None) -> Oracle:
    match settings.kind:
        case "rules":
            from iteralign.oracles.rules import RuleOracle

            return RuleOracle(settings.max_principles, seed)
        case "openai":
            return build_llm_oracle(settings, directory)


def shares_a_cpu(settings: Settings, model: LocalModel | None) -> bool:
    """Whether the target and a judge's server would compute on this machine's CPU at once, where each takes the processor
    from the other (docs/performance.md). `model`: the target's, where it is in this process."""
    if model is None or settings.model.engine == "served" or settings.cluster.address is not None:
        return False
    oracle = settings.oracle
    judges = [one.base_url for one in (oracle.judge, *oracle.panel, *oracle.guards) if one is not None]
    return any(url is not None and is_here(url) for url in judges) and model.arithmetic.device == "cpu"


def build_form(settings: Settings, model: LocalModel) -> PromptForm:
    """The prompt form; `chat` asks the tokenizer for its template. Raises ConfigError."""
    how = settings.form
    form = prompt_form(how.name, how.texts, model.render_chat if how.name == "chat" else None)
    return form if how.principles == "auto" else form.placing(how.principles)


def build_trial_principle(settings: Settings) -> Principle:
    """What places are tried with where the run was given no principles."""
    text = load_template("trial_principle", set(), settings.form.texts).text
    return Principle(id="trial", text=text, round=-1)


def build_forms(settings: Settings, model: LocalModel, own: PromptForm) -> PromptForm:
    """The run's own form, with the others that prompts are asked in."""
    texts, names = settings.form.texts, settings.redteam.forms
    others: dict[str, PromptForm] = {
        name: prompt_form(name, texts, model.render_chat if name == "chat" else None) for name in names
    }
    return FormsByPrompt(own, others) if others else own


def build_order(settings: Settings, prompts: Sequence[RedTeamPrompt]) -> Order:
    """In which order the run asks its prompts."""
    size = settings.rounds.prompts
    prompts = in_forms(prompts, settings.redteam.forms)
    groups = groups_of(prompts, size, settings.rounds.limit)
    match settings.redteam.order:
        case "file":
            return FileOrder(groups)
        case "shuffled":
            return Shuffled(prompts, size, len(groups), settings.redteam, settings.seed)
        case "seeking":
            return Seeking(prompts, size, len(groups), settings.redteam, settings.seed, Weighing())


def build_growth(settings: Settings, oracle: Oracle, known: Sequence[RedTeamPrompt]) -> Growth | None:
    """What writes new prompts; None where none are asked for."""
    if not settings.redteam.grow:
        return None
    return Growth(oracle, settings.redteam.grow, known, build_similarity(settings), settings.seed)


def build_constitution(settings: Settings) -> list[Principle]:
    """The principles that the run starts with; none unless the settings name a file."""
    file = settings.constitution.file
    return [] if file is None else read_constitution(file)


def build_reviewer(settings: Settings, directory: Path) -> Reviewer | None:
    """A person's review lies in the run directory; None where nobody is asked."""
    return FileReview(directory) if settings.constitution.review == "required" else None


def build_doubles(settings: Settings) -> Doubles | None:
    """When two principles are looked at together; None where only a text that is there word for word is a double."""
    chosen = settings.constitution
    return Doubles(chosen, build_similarity(settings)) if chosen.doubles else None


def build_twins(settings: Settings, oracle: Oracle, known: Sequence[RedTeamPrompt]) -> Twins | None:
    """What writes harmless twins of failures, near none of `known`; None where none are asked for."""
    count = settings.constitution.twins
    return Twins(oracle, count, known, build_similarity(settings), settings.seed) if count else None


def build_gate(settings: Settings) -> Gate:
    """What a principle has to show."""
    return Gate(settings.constitution.gate, settings.seed, build_similarity(settings))


def build_similarity(settings: Settings) -> Similarity:
    """How alike two texts are; loads nothing yet."""
    model = settings.constitution.embeddings
    return by_words if model is None else by_embeddings(model)


def demo_model() -> str:
    """Directory of the model that ships with iteralign."""
    return str(Path(__file__).parents[1] / "demo" / "model")


def build_llm_oracle(settings: OracleSettings, directory: Path | None = None) -> "LLMOracle":
    """A language model as judge and proposer. Raises ConfigError without an endpoint."""
    from iteralign.oracles.llm import LLMOracle

    if settings.judge is not None and settings.judge.method == "probability":
        return build_probability_oracle(settings, directory)
    return LLMOracle(settings, *_clients(settings, directory))


def build_probability_oracle(settings: OracleSettings, directory: Path | None = None) -> "ProbabilityOracle":
    """The same, judging by one token. Raises ConfigError without an endpoint."""
    from iteralign.oracles.probability import ProbabilityOracle

    judge, proposer, _ = _clients(settings, directory)
    return ProbabilityOracle(
        settings, judge, proposer, None if settings.judge is None else calibration_of(settings.judge)
    )


def _clients(settings: OracleSettings, directory: Path | None) -> "tuple[Client, Client, list[Client]]":
    """Judge, proposer and panel. Raises ConfigError."""
    from iteralign.oracles.budget import Account
    from iteralign.oracles.negotiation import Dialects
    from iteralign.oracles.prices import load_prices

    if settings.judge is None:
        raise ConfigError("oracle.judge: an endpoint must be given where oracle.kind is openai.")
    cache = _cache(settings, directory)
    account = None
    if directory is not None:
        account = Account(
            directory / layout.CALLS,
            prices=load_prices(settings.prices_file),
            token_budget=settings.token_budget,
            cost_budget=settings.cost_budget,
        )
    shared = _Shared(cache, account, Dialects(None if directory is None else directory / layout.ENDPOINTS))
    judge = _client(settings.judge, "judge", shared)
    proposer = judge if settings.proposer is None else _client(settings.proposer, "proposer", shared)
    panel = [_client(endpoint, f"panel[{number}]", shared) for number, endpoint in enumerate(settings.panel)]
    return judge, proposer, panel


def _cache(settings: OracleSettings, directory: Path | None = None) -> "ReplyCache | None":
    from iteralign.oracles.cache import ReplyCache

    if settings.cache:
        return ReplyCache()
    # Not shared with other runs; but a resumed run must not pay twice.
    return None if directory is None else ReplyCache(directory / layout.REPLIES)


class _Shared(NamedTuple):
    """What all clients of an oracle have in common."""

    cache: "ReplyCache | None"
    account: "Account | None"
    dialects: "Dialects"


def _client(endpoint: EndpointSettings, role: str, shared: _Shared) -> "Client":
    from iteralign.oracles.client import ChatClient

    if endpoint.base_url == LOCAL:
        return _local_client(endpoint, role, shared)
    return ChatClient(endpoint, section=f"oracle.{role}", **shared._asdict())


def build_oracle_model(endpoint: EndpointSettings) -> LocalModel:
    """The owner of the weights of an oracle's model that is asked in this process; loads nothing yet."""
    return LocalModel(endpoint.model, root=Path(), threads="kept")  # the target's


def _local_client(endpoint: EndpointSettings, role: str, shared: _Shared) -> "Client":
    from iteralign.oracles.local import LocalClient
    from iteralign.targets.transformers import TransformersTarget

    model = build_oracle_model(endpoint)
    target = TransformersTarget(model)
    return LocalClient(
        endpoint,
        model,
        target,
        target.first_tokens,
        section=f"oracle.{role}",
        cache=shared.cache,
        account=shared.account,
    )
