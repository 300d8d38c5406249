"""Names of taxa as sentences for a text tower."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from taxonet.errors import ConfigError
from taxonet.taxonomy import Taxonomy

NameForm = Literal["scientific", "path", "common"]
PLACE = "{name}"
Fits = Callable[[Sequence[str]], Sequence[bool]]
"""Whether each text is read to its end."""


def prompts(
    taxonomy: Taxonomy,
    *,
    templates: Sequence[str] = ("a photo of a {name}",),
    form: NameForm = "scientific",
    common: Mapping[str, str] | None = None,
    fits: Fits | None = None,
) -> list[tuple[str, ...]]:
    """Return what a text tower is told of every node, a sentence for each template.

    Args:
        taxonomy: The tree, of n nodes.
        templates: Sentences with ``{name}`` where the name goes.
        form: ``scientific`` is the node's own name, ``path`` all names from below the root to it, a
            name that begins with the one above it standing for both, and ``common`` the common name
            where there is one.
        common: Common names by scientific name.
        fits: Whether texts are read to their ends, such as `TextTower.fits`. Names are left out
            from the top of a path until they are: its end is the taxon's own name.

    Returns:
        n tuples in node order; the root's are empty texts.

    Raises:
        ConfigError: No template, or one without ``{name}``.

    Examples:
        >>> tree = Taxonomy.from_edges([("life", "Fagaceae"), ("Fagaceae", "Quercus"),
        ...                             ("Quercus", "Quercus robur")])
        >>> prompts(tree, templates=("a {name}",))[2:]
        [('a Quercus',), ('a Quercus robur',)]
        >>> prompts(tree, templates=("a {name}",), form="path")[2:]
        [('a Fagaceae Quercus',), ('a Fagaceae Quercus robur',)]
        >>> prompts(tree, templates=("{name}",), form="common",
        ...         common={"Quercus robur": "English oak"})[2:]
        [('Quercus',), ('English oak',)]
    """
    wrong = [template for template in templates if PLACE not in template]
    if wrong or not templates:
        raise ConfigError(
            f"Prompts need a template, each with {PLACE} in it, but got "
            f"{wrong[0] if wrong else 'none'!r}."
        )
    if form == "path":
        paths = _paths(taxonomy)
        if fits is not None:
            _shorten(paths, templates, fits)
        names = [" ".join(path) for path in paths]
    else:
        told = common if form == "common" and common is not None else {}
        names = [told.get(name, name) for name in map(str, taxonomy.names)]
    found = [_sentences(templates, name) for name in names]
    return [("",) * len(templates), *found[1:]]


def _sentences(templates: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(template.replace(PLACE, name) for template in templates)


def _paths(taxonomy: Taxonomy) -> list[tuple[str, ...]]:
    """Return the names from below the root to each node."""
    names = [str(name) for name in taxonomy.names]
    paths: list[tuple[str, ...]] = [()]
    for node in range(1, len(taxonomy)):  # parents come before their children
        parent = int(taxonomy.parent[node])
        above, own = paths[parent], names[node]
        if parent and own.startswith(names[parent] + " "):
            above = above[:-1]
        paths.append((*above, own))
    return paths


def _shorten(paths: list[tuple[str, ...]], templates: Sequence[str], fits: Fits) -> None:
    """Leave out names from the top of paths until all their sentences fit."""
    waiting = [node for node, path in enumerate(paths) if len(path) > 1]
    while waiting:
        texts = [text for node in waiting for text in _sentences(templates, " ".join(paths[node]))]
        fit = np.reshape(np.asarray(fits(texts)), (len(waiting), -1)).all(axis=1)
        too_long = np.asarray(waiting)[~fit].tolist()
        for node in too_long:
            paths[node] = paths[node][1:]
        waiting = [node for node in too_long if len(paths[node]) > 1]
