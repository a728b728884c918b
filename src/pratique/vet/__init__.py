"""The gate: default deny by role and strict parse. No network, no torch, no repository code is run."""
