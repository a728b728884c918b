"""pratique: secure air-gapped model packaging and audit."""

__version__ = "0.1.0"
