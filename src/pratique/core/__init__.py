"""Frozen values that every room shares. No I/O, nothing but the standard library and pydantic."""
