"""The only parsers of hostile bytes: bytes in, frozen values out, with limits on size and depth.

Nothing here executes, imports or unpickles what it reads; every refusal is a FormatError.
"""
