"""Which names are other names of which taxa, as a table of synonyms says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from taxonet.errors import TaxonomyError
from taxonet.taxonomy.names import fold_name
from taxonet.taxonomy.tables import Table, TableSource, read

NAME_COLUMN, ACCEPTED_COLUMN = "name", "accepted"


@dataclass(frozen=True)
class Synonyms:
    """The accepted names that a name leads to; without a table, every name is its own.

    A name may stand in several rows: its taxon has been divided. A row that accepts the name
    itself says that one of the parts kept it. An accepted name may be accepted as another one in
    its turn. Names are compared as `fold_name` gives them.

    Args:
        table: For each folded name the folded names of its rows.

    Examples:
        >>> import pandas as pd
        >>> rows = [("Acer dasycarpum", "Acer saccharinum"), ("Rosa sp.", "Rosa sp."),
        ...         ("Rosa sp.", "Rosa nova")]
        >>> table = Synonyms.from_table(pd.DataFrame(rows, columns=["name", "accepted"]))
        >>> sorted(table.accepted("acer_dasycarpum")), sorted(table.accepted("Rosa sp."))
        (['acer saccharinum'], ['rosa nova', 'rosa sp.'])
        >>> sorted(table.accepted("Acer rubrum"))
        ['acer rubrum']
    """

    table: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def from_table(cls, source: TableSource) -> Self:
        """Read a table with the columns ``name`` and ``accepted``; others are left alone.

        Raises:
            TaxonomyError: The file cannot be read, a column is missing, a cell is empty, or names
                lead round in a circle; the message names the row or the name.
        """
        rows = read(source, has_header=lambda _: True)
        names, accepted = _texts(rows, NAME_COLUMN), _texts(rows, ACCEPTED_COLUMN)
        table: dict[str, set[str]] = {}
        for position, (name, target) in enumerate(zip(names, accepted, strict=True)):
            if not name or not target:
                raise TaxonomyError(
                    f"A synonym needs a name and an accepted name, but {rows.row(position)} has "
                    f"{name!r} and {target!r}. Fill in the cell or remove the row."
                )
            table.setdefault(fold_name(name), set()).add(fold_name(target))
        found = cls({name: frozenset(targets) for name, targets in table.items()})
        for name in found.table:
            found.accepted(name)  # a circle is better found now than at one taxon of many
        return found

    def accepted(self, name: str) -> frozenset[str]:
        """Return the folded accepted names of a name; its own folded form where none is known.

        Raises:
            TaxonomyError: The table leads from the name round in a circle.
        """
        start = fold_name(name)
        found: set[str] = set()
        seen, ahead = {start}, [start]
        while ahead:
            here = ahead.pop()
            targets = self.table.get(here, frozenset((here,)))
            if here in targets:
                found.add(here)
            ahead += targets - seen
            seen |= targets
        if not found:
            raise TaxonomyError(
                f"The synonyms of {name!r} lead round in a circle ({', '.join(sorted(seen))}) and "
                "to no accepted name. Remove one of the rows."
            )
        return frozenset(found)


def _texts(rows: Table, column: str) -> list[str]:
    vocabulary: dict[str, int] = {}
    codes = rows.encode(column, vocabulary)
    texts = [*vocabulary, ""]  # the last stands for the code -1 of an empty cell
    return [texts[code] for code in codes.tolist()]
