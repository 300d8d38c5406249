"""What a server says of its own failure, whatever the status it comes with."""

from collections.abc import Mapping


def words_of_failure(content: object) -> str | None:
    """Return a server's message about its failure, in the form that both protocols give it.

    Args:
        content: What JSON held: a reply, or a part of one.

    Returns:
        The message; None where there is no error.

    Examples:
        >>> words_of_failure({"error": {"code": 502, "message": "overloaded"}})
        'overloaded'
        >>> words_of_failure({"error": "overloaded"}), words_of_failure({"error": None})
        ('overloaded', None)
    """
    # Some servers send an empty error with every good reply.
    if not isinstance(content, Mapping) or not (error := content.get("error")):
        return None
    said = error.get("message") if isinstance(error, Mapping) else error
    return said if said and isinstance(said, str) else "it does not say why"
