"""The invented taxonomy, and a morphology that is inherited down it with variation.

Every trait lives in [0, 1]. Siblings take their parent's traits plus offsets that are spread
evenly (as sister species that share a meadow differ), wide between families, narrower between
genera, narrow between species; individuals scatter around their species.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from taxonet.data.flora.config import FloraConfig
from taxonet.data.flora.names import family_name, genus_name, species_name
from taxonet.seeds import generator

Habit = Literal["shoot", "rosette", "tuft"]
LeafForm = Literal["simple", "trifoliate", "pinnate", "palmate"]
Novelty = Literal["known", "known genus", "unknown genus"]
FlowerForm = Literal["star", "daisy", "bell", "spike", "umbel", "lipped"]

GENUS_SPREAD = 0.22
SPECIES_SPREAD = 0.10
PLANT_SPREAD = 0.03

# What trait value 0 and trait value 1 mean. Lengths are in units of the plant's height.
TRAITS: dict[str, tuple[float, float]] = {
    "leaf_length": (0.26, 0.46),
    "leaf_width": (0.22, 0.80),  # over the length
    "leaf_widest": (0.28, 0.68),  # along the length, from the base
    "leaf_tip": (0.55, 1.7),  # 0.55 blunt, 1.7 drawn out
    "leaf_base": (0.0, 1.0),  # 0 wedge-shaped, 1 heart-shaped
    "leaf_angle": (0.55, 1.35),  # radians from the stem
    "leaf_droop": (0.0, 0.55),
    "leaf_colour": (0.0, 1.0),  # along the leaf palette
    "leaf_number": (0.0, 1.0),
    "teeth_depth": (-0.10, 0.38),  # below 0: entire margin
    "teeth_number": (3.0, 8.0),  # on each side
    "vein_contrast": (0.05, 0.75),
    "pale_margin": (-0.9, 0.9),  # below 0: none
    "leaflets": (0.0, 1.0),
    "stem_colour": (0.0, 1.0),
    "stem_width": (0.010, 0.022),
    "petal_colour": (0.0, 1.0),  # along the petal palette
    "petal_width": (0.3, 0.85),  # over the length
    "petal_widest": (0.42, 0.82),
    "petal_notch": (-0.6, 0.9),  # below 0: none
    "petal_number": (0.0, 1.0),
    "flower_size": (0.12, 0.19),
    "flower_number": (0.0, 1.0),
    "eye_colour": (0.0, 1.0),  # along the eye palette
    "eye_size": (0.16, 0.42),  # over the flower's radius
    "throat": (-0.7, 1.0),  # second colour at the base of the petals; below 0: none
}
# How much more or less than other traits these differ between genera, and between species:
# genera are told apart by their foliage, sister species rather by their colours of flower.
LABILITY: dict[str, tuple[float, float]] = {
    "leaf_colour": (1.5, 0.6),
    "leaf_width": (1.3, 0.8),
    "pale_margin": (1.5, 0.5),
    "petal_number": (1.3, 0.7),
    "petal_colour": (1.0, 1.4),
    "eye_colour": (1.0, 1.4),
}
_SPREADS = np.array([LABILITY.get(trait, (1.0, 1.0)) for trait in TRAITS]).T
_GENUS_SPREADS, _SPECIES_SPREADS = GENUS_SPREAD * _SPREADS[0], SPECIES_SPREAD * _SPREADS[1]
_POSITION = {trait: position for position, trait in enumerate(TRAITS)}
_LOW, _HIGH = np.array(list(TRAITS.values())).T


class Forms(NamedTuple):
    """The forms that a whole family shares."""

    habit: Habit
    leaves_at_node: int
    leaf: LeafForm
    flower: FlowerForm


@dataclass(frozen=True, eq=False)
class Morphology:
    """How a taxon, or one plant of it, looks.

    Args:
        forms: The forms of its family.
        traits: One value in [0, 1] for each of ``TRAITS``, in that order.
    """

    forms: Forms
    traits: NDArray[np.float64]

    def __getitem__(self, trait: str) -> float:
        """Return a trait in its own units."""
        at = _POSITION[trait]
        return float(_LOW[at] + self.traits[at] * (_HIGH[at] - _LOW[at]))

    def plant(self, rng: np.random.Generator) -> "Morphology":
        """Return one individual, scattered around this species."""
        offsets = rng.normal(0.0, PLANT_SPREAD, len(self.traits))
        return Morphology(self.forms, _folded(self.traits + offsets))


@dataclass(frozen=True, eq=False)
class Species:
    """One species of the flora."""

    name: str
    genus: str
    family: str
    novelty: Novelty
    morphology: Morphology


def grow_tree(config: FloraConfig) -> list[Species]:
    """Return all species, family by family and genus by genus.

    ``novelty`` says whether a species is a class (``known``), or else whether its genus has one.
    """
    family_of_genus = _spread_over(config.genera, config.families)
    family_of_genus += [i % config.families for i in range(config.unknown_genera)]
    rng = generator("flora names", config.seed)
    taken: set[str] = set()
    genus_names = [genus_name(rng, taken) for _ in family_of_genus]
    # The first genus of a family is its type, after which the family is named.
    family_names = [
        family_name(genus_names[family_of_genus.index(i)]) for i in range(config.families)
    ]
    genus_of_species, novelties = _places(config)
    taken = set()
    species_names = [species_name(rng, genus_names[g], taken) for g in genus_of_species]
    morphologies = _evolve(config, family_of_genus, genus_of_species)
    species = [
        Species(name, genus_names[g], family_names[family_of_genus[g]], novelty, morphology)
        for name, g, novelty, morphology in zip(
            species_names, genus_of_species, novelties, morphologies, strict=True
        )
    ]
    return sorted(species, key=lambda one: (one.family, one.genus, one.name))


def _places(config: FloraConfig) -> tuple[list[int], list[Novelty]]:
    """Return the genus of every species, and whether it is known."""
    in_new = config.unknown_species // 2
    in_old = config.unknown_species - in_new
    order = generator("flora unknown", config.seed).permutation(config.genera)
    genera = _spread_over(config.species, config.genera)
    genera += [int(order[i % config.genera]) for i in range(in_old)]
    genera += [config.genera + i // 2 for i in range(in_new)]
    novelties: list[Novelty] = ["known"] * config.species
    novelties += ["known genus"] * in_old
    novelties += ["unknown genus"] * in_new
    return genera, novelties


def _spread_over(children: int, parents: int) -> list[int]:
    """Return the parent of each child: parents in order, with equal numbers or one more.

    Examples:
        >>> _spread_over(7, 3)
        [0, 0, 0, 1, 1, 2, 2]
    """
    return sorted(i % parents for i in range(children))


def _evolve(
    config: FloraConfig, family_of_genus: list[int], genus_of_species: list[int]
) -> list[Morphology]:
    """Return the morphology of every species."""
    rng = generator("flora traits", config.seed)
    ranks = rng.permuted(np.tile(np.arange(config.families), (len(TRAITS), 1)), axis=1).T
    families = (ranks + rng.uniform(0.2, 0.8, ranks.shape)) / config.families
    genera = _displaced(families, family_of_genus, _GENUS_SPREADS, rng)
    species = _displaced(genera, genus_of_species, _SPECIES_SPREADS, rng)
    forms = _family_forms(config)
    return [
        Morphology(forms[family_of_genus[g]], traits)
        for g, traits in zip(genus_of_species, species, strict=True)
    ]


def _displaced(
    parents: NDArray[np.float64],
    parent_of: list[int],
    spreads: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the traits of children, whose offsets are normal and even among siblings."""
    children = np.empty((len(parent_of), parents.shape[1]))
    for parent in range(len(parents)):
        siblings = np.flatnonzero(np.array(parent_of) == parent)
        ranks = np.tile(np.arange(len(siblings)), (parents.shape[1], 1))
        shares = (rng.permuted(ranks, axis=1).T + rng.uniform(0.3, 0.7, ranks.T.shape)) / max(
            len(siblings), 1
        )
        children[siblings] = _folded(parents[parent] + spreads * ndtri(shares))
    return children


def _family_forms(config: FloraConfig) -> list[Forms]:
    """Return a form of each kind for every family, each form about equally often."""
    rng = generator("flora forms", config.seed)
    habits: list[Habit] = ["shoot", "rosette", "shoot", "tuft"]
    leaves: list[LeafForm] = ["simple", "pinnate", "simple", "palmate", "trifoliate"]
    flowers: list[FlowerForm] = ["star", "daisy", "bell", "spike", "umbel", "lipped"]
    cycles = [rng.permutation(n) for n in (len(habits), len(leaves), len(flowers), 3)]
    forms = []
    for i in range(config.families):
        habit, leaf, flower, nodes = (int(cycle[i % len(cycle)]) for cycle in cycles)
        # The leaves of a tuft are blades of grass.
        leaf_form = "simple" if habits[habit] == "tuft" else leaves[leaf]
        forms.append(Forms(habits[habit], nodes + 1, leaf_form, flowers[flower]))
    return forms


def _folded(traits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reflect values at 0 and 1, so that none is lost to clipping."""
    return np.asarray(1.0 - np.abs(1.0 - np.abs(traits) % 2.0))
