"""The tree of taxa: reading, writing, moving about in it, and matching names to it.

What needs torch is in :mod:`taxonet.taxonomy.propagate`, which this package does not import.
"""

from taxonet.taxonomy.comparison import Counterpart, TaxonomyComparison, compare_taxonomies
from taxonet.taxonomy.matching import LabelMatch, NameReport, UnknownName, match_labels
from taxonet.taxonomy.names import clean_name, fold_name, near_misses
from taxonet.taxonomy.selection import lies_under, taxa_named
from taxonet.taxonomy.synonyms import Synonyms
from taxonet.taxonomy.tree import Taxonomy

__all__ = [
    "Counterpart",
    "LabelMatch",
    "NameReport",
    "Synonyms",
    "Taxonomy",
    "TaxonomyComparison",
    "UnknownName",
    "clean_name",
    "compare_taxonomies",
    "fold_name",
    "lies_under",
    "match_labels",
    "near_misses",
    "taxa_named",
]
