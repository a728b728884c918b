"""The only place that composes verbs."""
