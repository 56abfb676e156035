"""Where an endpoint is that has no address in the settings.

As users of the openai package expect, its variable OPENAI_BASE_URL holds then, from the environment or from `.env`. It is
looked at when a run starts, and what it says is written into the run's settings: a resumed run asks where it asked before,
whatever the variable says by then.
"""

from pydantic import TypeAdapter, ValidationError

from iteralign.endpoints.keys import BASE_URL_VARIABLE, OPENAI_URL, read_variable
from iteralign.errors import ConfigError
from iteralign.settings.calibration import calibration_of
from iteralign.settings.oracle import Address, EndpointSettings, OracleSettings
from iteralign.settings.settings import Settings


def with_addresses(settings: Settings) -> Settings:
    """The settings with the variable's address wherever the oracle's have none. Raises ConfigError."""
    return settings.model_copy(update={"oracle": addressed(settings.oracle)})


def completed(settings: Settings) -> Settings:
    """The settings as a run keeps them: with addresses, and with the content of the calibration in the place of its file,
    which may be another when the run is resumed. Raises ConfigError."""
    settings = with_addresses(settings)
    judge = settings.oracle.judge
    if judge is None or judge.calibration is None:
        return settings
    judge = judge.model_copy(update={"calibration": calibration_of(judge)})
    return settings.model_copy(update={"oracle": settings.oracle.model_copy(update={"judge": judge})})


def addressed(oracle: OracleSettings) -> OracleSettings:
    """The same for the oracle's settings alone. A guard without an address is a model loaded here, and stays one."""
    address = _from_environment()
    if address is None:
        return oracle

    def at(endpoint: EndpointSettings) -> EndpointSettings:
        return endpoint if endpoint.base_url is not None else endpoint.model_copy(update={"base_url": address})

    found = {
        "judge": None if oracle.judge is None else at(oracle.judge),
        "proposer": None if oracle.proposer is None else at(oracle.proposer),
        "panel": tuple(map(at, oracle.panel)),
    }
    try:  # two that differed by their addresses may be one now
        return OracleSettings.model_validate({**dict(oracle), **found})
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"oracle: {why} ({BASE_URL_VARIABLE} is the address of those that have none).") from error


def asked(oracle: OracleSettings) -> list[EndpointSettings]:
    """Judge, panel and proposer, each model once at each address; none where rules judge."""
    if oracle.kind == "rules":
        return []
    named = [one for one in (oracle.judge, *oracle.panel, oracle.proposer) if one is not None]
    return list({(one.model, one.base_url): one for one in reversed(named)}.values())[::-1]


def described(endpoint: EndpointSettings) -> str:
    """For a person, of an endpoint as the settings have it: `qwen2.5 at http://127.0.0.1:8000/v1 (OPENAI_BASE_URL)`."""
    if endpoint.base_url is not None:
        return f"{endpoint.model} at {endpoint.base_url}"
    address = _from_environment()
    return f"{endpoint.model} at " + (OPENAI_URL if address is None else f"{address} ({BASE_URL_VARIABLE})")


def _from_environment() -> str | None:
    address = read_variable(BASE_URL_VARIABLE)
    if address is None:
        return None
    try:
        return TypeAdapter(Address).validate_python(address).rstrip("/")
    except ValidationError as error:  # the address is not repeated: it may hold a password
        raise ConfigError(f"{BASE_URL_VARIABLE} {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None
