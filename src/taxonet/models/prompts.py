"""Names of taxa as sentences for a text tower."""

from collections.abc import Mapping, Sequence
from typing import Literal

from taxonet.errors import ConfigError
from taxonet.taxonomy import Taxonomy

NameForm = Literal["scientific", "path", "common"]
PLACE = "{name}"


def prompts(
    taxonomy: Taxonomy,
    *,
    templates: Sequence[str] = ("a photo of a {name}",),
    form: NameForm = "scientific",
    common: Mapping[str, str] | None = None,
) -> list[tuple[str, ...]]:
    """Return what a text tower is told of every node, a sentence for each template.

    Args:
        taxonomy: The tree, of n nodes.
        templates: Sentences with ``{name}`` where the name goes.
        form: ``scientific`` is the node's own name, ``path`` all names from below the root to it, a
            name that begins with the one above it standing for both, and ``common`` the common name
            where there is one.
        common: Common names by scientific name.

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
    names = _names(taxonomy, form, common or {})
    found = [tuple(template.replace(PLACE, name) for template in templates) for name in names]
    return [("",) * len(templates), *found[1:]]


def _names(taxonomy: Taxonomy, form: NameForm, common: Mapping[str, str]) -> list[str]:
    names = [str(name) for name in taxonomy.names]
    if form == "common":
        return [common.get(name, name) for name in names]
    if form == "scientific":
        return names
    paths = [""]
    for node in range(1, len(taxonomy)):  # parents come before their children
        parent = int(taxonomy.parent[node])
        above, own = paths[parent], names[node]
        if parent and own.startswith(names[parent] + " "):
            above = above.removesuffix(names[parent]).rstrip()
        paths.append(f"{above} {own}".strip())
    return paths
