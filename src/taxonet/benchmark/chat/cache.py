"""Answers on disk, so that no question is ever paid for twice."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from taxonet.benchmark.chat.questions import Reply
from taxonet.errors import DataError
from taxonet.files import read_json, write_json


@dataclass(frozen=True)
class Finished:
    """How a question ended: with a reply, or with the reason why there is none.

    Args:
        reply: What the model said.
        failure: Why nothing came, after all attempts.
    """

    reply: Reply | None = None
    failure: str | None = None


@dataclass(frozen=True)
class _Record:
    version: Literal[1]
    reply: Reply | None
    failure: str | None


_RECORD = TypeAdapter(_Record)


class AnswerCache:
    """A folder with one small file for each finished question, by the question's digest.

    A file is whole or absent, also after a kill. It holds the reply and no key, photo or path.

    Args:
        folder: Where the files are; made when the first answer comes.

    Examples:
        >>> import tempfile
        >>> cache = AnswerCache(Path(tempfile.mkdtemp()))
        >>> cache.put("ab12", Finished(Reply("Acer")))
        >>> cache.get("ab12").reply.text, cache.get("cd34")
        ('Acer', None)
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, digest: str) -> Finished | None:
        """Return how a question ended; None where it was never asked to the end.

        Raises:
            DataError: The file is damaged.
        """
        path = self._path(digest)
        if not path.exists():
            return None
        try:
            record = _RECORD.validate_python(read_json(path))
        except ValueError:  # no JSON, or JSON of another form
            raise DataError(
                f"{path} is no answer that this version wrote: remove the file, and its photo is "
                "asked about again."
            ) from None
        return Finished(record.reply, record.failure)

    def put(self, digest: str, finished: Finished) -> None:
        """Keep how a question ended; when this returns, it is on the disk."""
        write_json(self._path(digest), {"version": 1, **asdict(finished)})

    def _path(self, digest: str) -> Path:
        # 256 folders: some file systems are slow with a million files in one.
        return self._folder / digest[:2] / f"{digest}.json"
