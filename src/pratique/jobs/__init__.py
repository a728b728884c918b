"""Programs that run inside `pratique.confine` and are imported by nobody.

Each defines `run(request, note) -> bytes` (one question, one answer) or `main(channel)` (a service
on an inherited Unix stream socket). They are the only importers of torch, transformers, accelerate
and bitsandbytes, and import them inside functions: the lock is closed first.
"""
