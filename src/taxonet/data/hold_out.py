"""Whole taxa kept from training, so that there are photos of unknown taxa to judge by."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taxonet.data.table import ImageTable
from taxonet.errors import DataError
from taxonet.taxonomy import Taxonomy, lies_under, taxa_named


def images_of_taxa(table: ImageTable, taxonomy: Taxonomy, taxa: Sequence[str]) -> NDArray[np.bool_]:
    """Say which images are of some taxa or of one below them; `split_images` can hold them out.

    An image that is labelled above a taxon, such as with its genus, may or may not show it, and
    does not count. Nor do unlabelled images.

    Args:
        table: Images with labels.
        taxonomy: Where the labels are names.
        taxa: Each ``rank=name``; several add up.

    Returns:
        Booleans ``(N,)``.

    Raises:
        ConfigError: A taxon that the taxonomy does not have; with the nearest name.
        TaxonomyError: Labels that no name of the taxonomy matches.
        DataError: A taxon without images, or no labelled image of any other.

    Examples:
        >>> import pandas as pd
        >>> names = {"genus": ["Rosa", "Rosa", "Acer"], "species": ["R. canina", "R. alba", "A. x"]}
        >>> tree = Taxonomy.from_table(pd.DataFrame(names))
        >>> frame = pd.DataFrame({"image": ["a", "b", "c"], "taxon": ["R. alba", "A. x", "Rosa"]})
        >>> images_of_taxa(ImageTable(frame), tree, ["species=R. alba"]).tolist()
        [True, False, False]
        >>> images_of_taxa(ImageTable(frame), tree, ["genus=Rosa"]).tolist()
        [True, False, True]
    """
    labelled = table.frame["taxon"].notna().to_numpy()
    nodes = taxonomy.resolve(table.frame["taxon"][labelled].tolist())
    found = np.zeros(len(nodes), dtype=bool)
    for text in taxa:
        of_taxon = lies_under(taxonomy, nodes, taxa_named(taxonomy, text))
        if not of_taxon.any():
            raise DataError(
                f"No image is of {text}, so there is nothing to hold out. Leave it out, or name "
                "a taxon that has images."
            )
        found |= of_taxon
    if found.all():
        raise DataError(
            f"All {len(found)} labelled images are of {' or '.join(taxa)}, and nothing is left to "
            "train on. Hold out fewer taxa."
        )
    held_out = np.zeros(len(table), dtype=bool)
    held_out[labelled] = found
    return held_out
