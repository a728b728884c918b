"""Licence words and texts to ids and categories."""

import pytest

from pratique.vet import licences


@pytest.mark.parametrize(
    ("said", "spdx", "category"),
    [
        ("apache-2.0", "Apache-2.0", "Permissive"),
        ("mit", "MIT", "Permissive"),
        ("MIT", "MIT", "Permissive"),
        ("gpl-3.0", "GPL-3.0-only", "Copyleft"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0", "Source-available"),
        ("bsd-3-clause", "BSD-3-Clause", "Permissive"),
        ("cc0-1.0", "CC0-1.0", "Public Domain"),
        ("llama3.1", None, licences.CUSTOM),
        ("gemma", None, licences.CUSTOM),
        ("openrail", None, licences.CUSTOM),
        ("other", None, licences.CUSTOM),
        ("unknown", None, licences.UNKNOWN),
        ("no-such-thing", None, licences.UNKNOWN),
    ],
)
def test_declared(said: str, spdx: str | None, category: str) -> None:
    found = licences.declared(said)
    assert (found.spdx, found.category) == (spdx, category)


def test_every_hub_tag_that_is_open_is_known() -> None:
    tags = (
        "apache-2.0 mit bigscience-bloom-rail-1.0 cc0-1.0 cc-by-4.0 cc-by-sa-4.0 cc-by-3.0 cc-by-2.0 bsd bsd-2-clause "
        "bsd-3-clause bsd-3-clause-clear gpl gpl-2.0 gpl-3.0 agpl-3.0 lgpl lgpl-2.1 lgpl-3.0 mpl-2.0 isc unlicense "
        "wtfpl zlib epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 ecl-2.0 artistic-2.0 afl-3.0 osl-3.0 ms-pl ncsa ofl-1.1 postgresql "
        "pddl odc-by odbl bsl-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 gfdl lppl-1.3c"
    ).split()
    unknown = [tag for tag in tags if licences.declared(tag).category == licences.UNKNOWN]
    assert not unknown


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("Apache License\n   Version 2.0, January 2004", "apache-2.0"),
        ("MIT License\n\nCopyright (c) 2020", "mit"),
        ("Permission is hereby granted, free of charge, to any person obtaining a copy", "mit"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE", "agpl-3.0"),
        ("GNU GENERAL PUBLIC LICENSE Version 3", "gpl-3.0"),
        ("Creative Commons Attribution-NonCommercial 4.0", "cc-by-nc-4.0"),
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", "llama"),
        ("All mine.", None),
    ],
)
def test_of_text(text: str, family: str | None) -> None:
    assert licences.of_text(text) == family


@pytest.mark.parametrize(
    ("key", "family", "same"),
    [("apache-2.0", "apache-2.0", True), ("mit", "apache-2.0", False), ("gpl-2.0", "gpl-3.0", True),
     ("bsd-simplified", "bsd-new", True), ("llama3", "llama", True), ("mit", "llama", False)],
)  # fmt: skip
def test_agree(key: str, family: str, same: bool) -> None:
    assert licences.agree(key, family) is same
