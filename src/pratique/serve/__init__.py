"""Serve an admitted model: a supervisor that keeps a confined worker alive, a gateway in front of it.

The gateway holds the socket, the keys and the records and never imports torch; the worker holds the
model and can open no connection, read no key and touch no record.
"""
