"""HTTP in front of the worker: OpenAI's forms, strict fields, keys, limits, records. Never torch."""
