"""A small tree with an only child and leaves at two depths, for tests of decisions."""

from taxonet.taxonomy import Taxonomy

# Breadth-first:        0 root
#                 1 a             2 b
#             3 a1   4 a2         5 b1      <- b has the single child b1, which has b2 alone
#         6 x  7 y                8 b2
TREE = Taxonomy.from_edges(
    [
        ("root", "a"),
        ("root", "b"),
        ("a", "a1"),
        ("a", "a2"),
        ("b", "b1"),
        ("a1", "x"),
        ("a1", "y"),
        ("b1", "b2"),
    ]
)
A, B, A1, A2, B1, X, Y, B2 = range(1, 9)
