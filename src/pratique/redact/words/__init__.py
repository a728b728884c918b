"""Words and forms of the detectors whose lists would hide their code."""
