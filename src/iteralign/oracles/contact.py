"""One model at one endpoint, asked as it wants to be asked: what it turns out not to know is left out and remembered.

Nothing is tried again here that failed in a way that may pass; that is the client's.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from iteralign.endpoints.endpoint import Endpoint
from iteralign.endpoints.failures import Inaccessible, Refused, Rejected, Transient
from iteralign.oracles.calls import Answer, call
from iteralign.oracles.chat import ChatRequest
from iteralign.oracles.model_names import is_another
from iteralign.oracles.negotiation import (
    LADDER,
    Dialect,
    Dialects,
    Structure,
    is_too_long,
    kept_form,
    negotiate,
    refuses_effort,
)

_log = logging.getLogger(__name__)

_MOST_CHANGES = 8


class Contact:
    """Safe for threads. `effort` is the reasoning effort asked for; `section` is where its setting stands."""

    def __init__(self, endpoint: Endpoint, model: str, dialects: Dialects, effort: str | None, section: str) -> None:
        self.model = model
        self.settled = False
        """Whether the endpoint was met in this process, so that what it takes is known."""
        self._warned = False
        self._lock = threading.Lock()
        self._endpoint = endpoint
        self._dialects = dialects
        self._effort = effort
        self._section = section
        self.dialect = dialects.get(endpoint.base_url, model) or Dialect()

    def settle(self, ask: Callable[[Structure], bool | None]) -> None:
        """Find out by `ask` in which form replies can be had. What is known from an earlier process is only tried again.

        Raises what a call raises.
        """
        known = self._dialects.get(self._endpoint.base_url, self.model)
        self.dialect = known or self.dialect
        structure, obeyed = negotiate(ask, None if known is None else known.structure)
        self._learn(replace(self.dialect, structure=structure, obeyed=obeyed))
        self.settled = True

    def probed(self, request: ChatRequest, structure: Structure) -> tuple[bool | None, Answer | None]:
        """Whether the reply to the probe kept the form, and that reply. Raises what a call raises."""
        try:
            answer = self.call(request, structure)
        except Refused:
            return None, None
        except Transient as problem:
            if problem.few:  # an answer, if a useless one
                return (None if structure == "plain" else False), None
            raise
        return kept_form(structure, answer), answer

    def call(self, request: ChatRequest, structure: Structure | None = None) -> Answer:
        """Send a request, in the form that was found at the first contact or, for a probe, in the given one.

        Raises Transient, Refused, Rejected or Inaccessible.
        """
        for _ in range(_MOST_CHANGES):
            dialect = self.dialect
            try:
                answer = self._send(request, dialect, structure or dialect.structure)
            except Rejected as problem:
                self._raise_if_effort_is_refused(problem)
                simpler = dialect.without(problem.detail)
                if simpler is not None:
                    self._learn(simpler)
                elif dialect is self.dialect:  # else another thread has met the same meanwhile
                    if structure is not None:
                        raise
                    return self._loosened(request, dialect, problem)
            else:
                self._hear(answer)
                return answer
        raise Rejected("it refuses each way in which it was asked")

    def _hear(self, answer: Answer) -> None:
        """Learn from an answer, and warn once where another model gave it."""
        heard = self.dialect.heard(answer)
        if is_another(self.model, answer.model) and not is_another(self.model, heard.model):
            heard = replace(heard, model=answer.model)
        self._learn(heard)
        with self._lock:
            strange = is_another(self.model, heard.model) and not self._warned
            self._warned = self._warned or strange
        if strange:
            _log.warning(
                "%s was asked for at %s, and %s answers. Where that is no alias, check the settings and the server.",
                *(self.model, self._endpoint.base_url, heard.model),
            )

    def _send(self, request: ChatRequest, dialect: Dialect, structure: Structure) -> Answer:
        return call(self._endpoint, dialect.payload(self.model, request, structure, self._effort))

    def _loosened(self, request: ChatRequest, dialect: Dialect, problem: Rejected) -> Answer:
        """The answer in a looser form than was refused. Raises the refusal where that was about something else."""
        if request.schema is None or request.raw or is_too_long(problem.detail):
            raise problem
        for form in LADDER[LADDER.index(dialect.structure) + 1 :]:
            with suppress(Rejected):
                answer = self._send(request, dialect, form)
                if not dialect.obeyed:  # one that was seen to work is kept: it is this request that it does not fit
                    self._learn(replace(self.dialect, structure=form, obeyed=None))
                return answer
        raise problem

    def _raise_if_effort_is_refused(self, problem: Rejected) -> None:
        if self._effort is not None and refuses_effort(problem.detail):
            setting = f"{self._section}.reasoning_effort"
            raise Inaccessible(f"it does not take {setting}: {self._effort} ({problem}). Change it, or leave it out")

    def _learn(self, dialect: Dialect) -> None:
        if dialect != self.dialect or self._dialects.get(self._endpoint.base_url, self.model) is None:
            self.dialect = dialect
            self._dialects.put(self._endpoint.base_url, self.model, dialect)
