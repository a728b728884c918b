"""What it means that a tokenizer, its forms, its model and its template belong together.

Pure rules: parsed values in, problems out. The checks in `pratique.vet.checks` find the files, call
these, and turn each problem into a finding.
"""
