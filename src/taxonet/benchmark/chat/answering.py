"""From a photo to what the model names in it, by way of the cache."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from taxonet.benchmark.chat.asking import Asker, ForbiddenError, NoReplyError
from taxonet.benchmark.chat.budget import Budget
from taxonet.benchmark.chat.cache import AnswerCache, Finished
from taxonet.benchmark.chat.parsing import Naming, ReplyReader
from taxonet.benchmark.chat.photos import photo_to_send
from taxonet.benchmark.chat.questions import Question
from taxonet.data.decoding import BrokenImage
from taxonet.data.table import ImageTable
from taxonet.errors import ConfigError
from taxonet.files import readable_path


@dataclass(frozen=True)
class AskedAs:
    """What all questions of a run have in common.

    Args:
        protocol: Name of the wire format.
        model: Name of the model.
        system: The persona.
        user: What is asked.
        max_side: Longest side of the photos as sent, in pixels.
        temperature: Sampling temperature; None leaves it to the endpoint.
        settings: Further keys of the request.
    """

    protocol: str
    model: str
    system: str
    user: str
    max_side: int
    temperature: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def question(self, jpeg: bytes) -> Question:
        """Return the question about one photo."""
        return Question(
            self.protocol, self.model, self.system, self.user, jpeg, self.temperature, self.settings
        )


@dataclass(frozen=True)
class AnsweredPhoto:
    """What came of asking about a photo.

    Args:
        naming: What is named, or why nothing is.
        digest: The question, by which the cache has the model's words; None where none was asked.
        input_tokens: Tokens of the question, where the endpoint counted them.
        output_tokens: Tokens of the reply.
    """

    naming: Naming
    digest: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class Answering:
    """Asks about photos; may be used by several threads at once.

    Equal questions, such as those of two copies of a photo, are asked once.

    Args:
        table: The photos.
        asked_as: What all questions have in common.
        asker: Sends what the cache does not have.
        cache: Finished questions.
        budget: What they cost.
        reader: Reads the replies.
        retry_failed: Ask again what got no reply before.
    """

    def __init__(
        self,
        table: ImageTable,
        asked_as: AskedAs,
        *,
        asker: Asker,
        cache: AnswerCache,
        budget: Budget,
        reader: ReplyReader,
        retry_failed: bool = False,
    ) -> None:
        self._table, self._asked_as = table, asked_as
        self._asker, self._cache, self._budget = asker, cache, budget
        self._reader, self._retry_failed = reader, retry_failed
        self._locks: dict[str, Lock] = {}
        self._decoding = Lock()

    def answer(self, row: int) -> AnsweredPhoto:
        """Return what the model names in the photo of a row.

        Raises:
            ConfigError, DataError: The run cannot go on; see `Asker` and `Budget`.
        """
        try:
            question = self._question(row)
        except BrokenImage as error:
            return AnsweredPhoto(Naming("unreadable", reason=error.reason))
        digest = question.digest
        try:
            with self._locks.setdefault(digest, Lock()):
                finished = self._finished(question, digest)
        except ForbiddenError as error:
            photo = readable_path(self._table.name(row))
            raise ConfigError(
                f"{error} Or a filter of the endpoint refused this one photo, {photo}: if others "
                "are answered without it, leave it out."
            ) from None
        if finished.reply is None:
            return AnsweredPhoto(Naming("no reply", reason=finished.failure), digest)
        self._budget.add(digest, finished.reply)
        return AnsweredPhoto(
            self._reader.read(finished.reply),
            digest,
            finished.reply.input_tokens,
            finished.reply.output_tokens,
        )

    def count_kept(self, row: int) -> None:
        """Count what the answer about the photo of a row cost, if an earlier call left one.

        Raises:
            ConfigError, DataError: See `Budget` and `AnswerCache`.
        """
        with suppress(BrokenImage):
            digest = self._question(row).digest
            kept = self._kept(digest)
            if kept is not None and kept.reply is not None:
                self._budget.add(digest, kept.reply)

    def _question(self, row: int) -> Question:
        # One at a time: a large photo takes much memory, and the decoder keeps warnings quiet by
        # what all threads share.
        with self._decoding:
            jpeg = photo_to_send(self._table.source(row), max_side=self._asked_as.max_side)
        return self._asked_as.question(jpeg)

    def _finished(self, question: Question, digest: str) -> Finished:
        stored = self._kept(digest)
        if stored is not None and (stored.reply is not None or not self._retry_failed):
            return stored
        self._budget.require_room()
        try:
            finished = Finished(reply=self._asker.ask(question))
        except NoReplyError as error:
            finished = Finished(failure=str(error))
        self._cache.put(digest, finished)
        return finished

    def _kept(self, digest: str) -> Finished | None:
        kept = self._cache.get(digest)
        if kept is not None and kept.reply is not None:
            # Else a photo that a filter refuses would end each call that begins with it.
            self._asker.note_earlier_answer()
        return kept
