#!/usr/bin/env python3
"""Redaction: time for 2 KB and for hostile 100 KB, coverage of the marked-up corpora.

Beside presidio (without a model), datafog and scrubadub where they are installed; CPU time of one
thread. Run: python benchmarks/redact.py
"""

import importlib.util
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pratique.redact import Redactor
from tests.support.redact_corpus import lines, marked, uncovered

PROSE = (
    "The committee met on Tuesday to discuss the new schedule. Several members asked whether the "
    "budget would allow for two more positions, and the chair answered that version 2.4.1 of the "
    "plan foresees it. Please send comments to jane.doe@example.com or call +1 415 555 0123. "
)
SIZE = 2048
HOSTILE = ("4 ", "password=", "Mr Mr ", "我叫", "a@", "0171 2345678, ", "%25", "12 Main Street, ")


def milliseconds(call, text, rounds=60):
    """Return median and 95th percentile of one call."""
    call(text)
    times = []
    for _ in range(rounds):
        start = time.thread_time()
        call(text)
        times.append((time.thread_time() - start) * 1e3)
    return statistics.median(times), sorted(times)[int(len(times) * 0.95)]


def presidio():
    """Presidio's recognisers on a blank pipeline: patterns and context, no model to download."""
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    class Blank(SpacyNlpEngine):
        def __init__(self):
            super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
            self.nlp = {"en": spacy.blank("en")}

        def load(self):
            """Nothing: the blank pipeline is there already."""

    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    engine = AnalyzerEngine(nlp_engine=Blank(), registry=registry, supported_languages=["en"])
    return lambda text: engine.analyze(text=text, language="en")


def peers():
    """Yield ``(name, call)`` for each peer that is installed; say which are not."""
    if importlib.util.find_spec("presidio_analyzer"):
        yield "presidio", presidio()
    if importlib.util.find_spec("scrubadub"):
        import scrubadub

        yield "scrubadub", scrubadub.clean
    if importlib.util.find_spec("datafog"):
        from datafog import DataFog

        fog = DataFog()
        yield "datafog", fog.scan_text if hasattr(fog, "scan_text") else fog.detect
    for name in ("presidio_analyzer", "scrubadub", "datafog"):
        if not importlib.util.find_spec(name):
            print(f"{name}: not installed, not measured")


def main():
    """Print the figures."""
    redactor = Redactor()
    prose = (PROSE * 20)[:SIZE]
    dense = " ".join(lines("harmless"))[:SIZE]
    base = None
    for name, call in (("pratique", redactor.redact), *peers()):
        for kind, text in (("prose", prose), ("dense", dense)):
            middle, high = milliseconds(call, text)
            base = base or middle
            print(
                f"{name:10s} {kind:6s} 2 KB: p50 {middle:6.2f} ms  p95 {high:6.2f} ms  ({middle / base:.1f}x)"
            )
    for unit in HOSTILE:
        start = time.thread_time()
        withheld = redactor.redact(unit * (100_000 // len(unit))).withheld
        print(f"hostile {unit!r:20} 100 KB: {time.thread_time() - start:.2f} s {withheld}")
    for name in ("plain", "plain2", "plain3", "obfuscated", "obfuscated2"):
        rows = marked(name)
        total = sum(len(spans) for _, spans in rows)
        missed = sum(len(uncovered(spans, redactor.spans(text))) for text, spans in rows)
        print(f"{name:12s} covered {total - missed} of {total}")
    for name in ("harmless", "harmless2", "harmless3"):
        rows = lines(name)
        print(f"{name:12s} touched {sum(bool(redactor.spans(t)) for t in rows)} of {len(rows)}")


if __name__ == "__main__":
    main()
