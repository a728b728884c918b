"""Numbers for Prometheus, in its text format 0.0.4. No label ever holds text from a client."""

import bisect
from collections.abc import Iterable
from typing import Final

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
Labels = tuple[tuple[str, str], ...]


class _Histogram:
    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """Counters, gauges and histograms by name and label."""

    def __init__(self) -> None:
        self._help: dict[str, tuple[str, str]] = {}
        self._values: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {}

    def describe(self, name: str, kind: str, text: str) -> None:
        """Declare a metric; undeclared names cannot be used."""
        self._help[name] = (kind, text)
        if kind == "histogram":
            self._histograms[name] = {}
        else:
            self._values[name] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Raise a counter."""
        values = self._values[name]
        key = tuple(sorted(labels.items()))
        values[key] = values.get(key, 0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._values[name][tuple(sorted(labels.items()))] = value

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram."""
        key = tuple(sorted(labels.items()))
        self._histograms[name].setdefault(key, _Histogram(_SECONDS)).add(seconds)

    def render(self) -> str:
        """Return everything as Prometheus reads it."""
        lines: list[str] = []
        for name, (kind, text) in self._help.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            if kind == "histogram":
                for labels, histogram in self._histograms[name].items():
                    lines += _histogram(name, labels, histogram)
            else:
                lines += [
                    f"{name}{_labels(labels)} {_number(value)}"
                    for labels, value in self._values[name].items()
                ]
        return "\n".join(lines) + "\n"


def _histogram(name: str, labels: Labels, histogram: _Histogram) -> Iterable[str]:
    running = 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        running += count
        yield f"{name}_bucket{_labels((*labels, ('le', str(bound))))} {running}"
    yield f"{name}_sum{_labels(labels)} {_number(histogram.total)}"
    yield f"{name}_count{_labels(labels)} {running}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    inner = ",".join(
        '{}="{}"'.format(k, v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for k, v in labels
    )
    return "{" + inner + "}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def gateway_metrics() -> Metrics:
    """Return the registry with everything that the gateway counts."""
    metrics = Metrics()
    for name, kind, text in (
        ("requests_total", "counter", "Requests by route and status"),
        ("refusals_total", "counter", "Requests refused, by code"),
        ("prompt_tokens_total", "counter", "Prompt tokens, those that were kept included"),
        (
            "cached_tokens_total",
            "counter",
            "Prompt tokens kept from earlier requests of the same key",
        ),
        ("completion_tokens_total", "counter", "Tokens generated"),
        ("request_seconds", "histogram", "Time from the request's arrival to its last byte"),
        ("first_token_seconds", "histogram", "Time from the request's arrival to its first token"),
        ("requests_in_flight", "gauge", "Requests that have not been answered in full"),
        ("batch_size", "gauge", "Sequences that run together"),
        ("requests_waiting", "gauge", "Requests whose prompt has not been computed"),
        ("kv_tokens", "gauge", "Cache cells in use"),
        ("worker_resident_bytes", "gauge", "Memory that the worker holds"),
        ("worker_peak_bytes", "gauge", "Most memory that the worker held"),
        ("worker_restarts_total", "counter", "Workers started again after a crash"),
        ("rung", "gauge", "1 for the rung in use"),
        ("converted", "gauge", "1 while the weights in use are converted, not commit-proved"),
        ("ready", "gauge", "1 while a worker is ready"),
    ):
        metrics.describe(f"pratique_{name}", kind, text)
    return metrics
