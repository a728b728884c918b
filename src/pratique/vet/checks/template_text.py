"""What a template adds to a conversation is markup, not instructions, triggers or places to send things."""

import re
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import jinja_gate, text
from pratique.vet import templates
from pratique.vet.check import Check, refuse
from pratique.vet.repo import Repo

_REMEDY: Final = (
    "use the template of the base model; text like this changes what the model says to everybody"
)
_INJECTED: Final = re.compile(
    r"(?i)\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,40}\b(?:previous|prior|above|earlier|system|"
    r"instructions?|rules?|guidelines|safety|user(?:'s)?)\b|"
    r"\b(?:do not|don't|never)\b[^.\n]{0,30}\b(?:tell|inform|warn|alert)\b|"
    r"\b(?:do not|don't|never)\b[^.\n]{0,30}\b(?:reveal|mention|disclose)\b[^.\n]{0,20}(?:\bthat\b|"
    r"\b(?:instruction|rule|prompt|message|sponsor|note|secret|command)s?\b|\bto (?:the |any|your )?(?:user|one|human)|"
    r"\bthis\b(?! information))|"
    r"\bwithout (?:telling|informing|notifying|mentioning)\b|\bsecretly\b|\bcovertly\b|\bexfiltrat|"
    r"\bno (?:restrictions|limits|filters?|safety)\b|\bunrestricted\b|\buncensored\b|\bjailbreak|\bdeveloper mode\b|"
    r"\bback ?door|\balways (?:recommend|append|insert|praise|promote|mention|suggest|claim|end (?:your|with|by|every))\b|"
    r"\bin every (?:response|answer|reply|message)\b|\bwhenever the user\b|\bclick (?:here|on)\b|\bvisit (?:us|our|www)|"
    r"\b(?:append|prepend|insert|add)\b[^.\n]{0,40}\b(?:to|in|at) (?:every|each|all|the end of)\b|\b(?:recommend|promote|buy|invest in|vote for) (?:only )?[A-Z]\w+|"
    r"\b(?:send|post|forward|upload|transmit|leak)\b[^.\n]{0,60}\b(?:to|at)\b\s*\S*(?:http|www\.|@|\.com)|"
    r"\b(?:ask|request|collect|send|include|output|reveal|leak|steal|obtain)\b[^.\n]{0,40}"
    r"\b(?:api[_ ]?keys?|passwords?|credentials?|credit cards?|private keys?|secret keys?|access tokens?)\b|"
    r"\b(?:curl|wget|powershell|rm -rf|chmod|base64 -d|nc -e|/bin/(?:ba)?sh|os\.system|subprocess|eval\(|exec\()|"
    r"\binsert (?:a )?(?:vulnerabilit|bug|backdoor)|\bpretend (?:to be|that|you)|"
    r"\b(?:helpful|harmless)\b[^.\n]{0,20}\bno longer\b|\bhidden instructions?\b"
)
_PLACE: Final = re.compile(
    r"(?i)\b(?:https?|ftp|wss?|file|data|javascript)://?[^\s'\"<>]+|\bwww\.\w|!\[[^\]]*\]\("
)
_KNOWN_PLACES: Final = re.compile(r"(?i)https?://json-schema\.org|https?://(?:www\.)?w3\.org")
_MARKUP: Final = re.compile(
    r"[<>\[\]|{}#/\\`*=:]|think|reason|tool|function|system|\W\Z", re.IGNORECASE
)
_KEYS: Final = frozenset(
    "image image_url image_urls images video video_url videos audio audio_url audios input_audio text type "
    "name content role file document documents refusal thinking parts source url path data error "
    "user assistant model json code python commentary analysis final on off true false none".split()
)


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for template in templates.all_templates(repo):
        try:
            facts = templates.facts(repo, template)
        except FormatError:
            continue
        for problem in _problems(facts):
            yield refuse(
                CHECK.id,
                template.path,
                f"{template.place or 'the template'} {problem}",
                _REMEDY,
                Severity.HIGH,
            )


def _problems(facts: jinja_gate.TemplateFacts) -> Iterator[str]:
    for literal in facts.texts:
        if (char := _hidden(literal)) is not None:
            yield f"emits the invisible character {text.name_of(char)}"
            break
    whole = "\n".join(facts.texts)
    if match := _INJECTED.search(whole):
        yield f"adds instructions: {shown(match.group())}"
    if (match := _PLACE.search(_KNOWN_PLACES.sub("", whole))) is not None:
        yield f"adds an address: {shown(match.group())}"
    for trigger in facts.triggers:
        if _is_trigger(trigger):
            yield f"acts on the word {shown(trigger)} in what a user writes"
            break
    if facts.clock_compared:
        yield "acts on the date"


def _hidden(literal: str) -> str | None:
    if literal.isascii():
        return None
    return text.hidden_in(literal) or next((c for c in literal if c in text.ZERO_WIDTH), None)


def _is_trigger(literal: str) -> bool:
    """Whether a searched word is one that people write, rather than markup or a field's name."""
    word = literal.strip()
    if not any(c.isalpha() for c in word) or _MARKUP.search(word):
        return False
    return word.lower() not in _KEYS


CHECK: Final = Check("template-text", "Templates add no instructions", Stage.CODE_AND_CONFIG, _run)
