"""Macro recall of a chat model, photo by photo, as the definition reads."""


def macro_recall(truth: list[str | None], named: list[str | None]) -> float:
    """Return the mean over true taxa of the share of their photos that are named right."""
    right: dict[str, list[bool]] = {}
    for true_name, name in zip(truth, named, strict=True):
        if true_name is not None:
            right.setdefault(true_name, []).append(name == true_name)
    recalls = [sum(hits) / len(hits) for hits in right.values()]
    return sum(recalls) / len(recalls)


def group_of(images: int, few_below: int, many_above: int) -> str:
    """Return the shot group of a taxon with some training photos."""
    if images > many_above:
        return "many"
    return "few" if images < few_below else "medium"
