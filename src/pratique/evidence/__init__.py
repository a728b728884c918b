"""Values → standard documents: SARIF, CycloneDX ML-BOM, HTML report. Pure."""
