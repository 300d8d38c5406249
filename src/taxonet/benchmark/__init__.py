"""Other ways to name photos, judged by the protocol that classifiers are judged by."""
