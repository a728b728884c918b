"""Path + trust + policy → AdmittedBundle. Start with `admit.py`: it is short and numbered."""
