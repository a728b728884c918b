"""Keys and tokens that can be told by their own form: the usual providers', JWTs, key blocks.

The rule: a form that its issuer documents is a secret wherever it stands. Digests, UUIDs and
commit ids have no such form and stay.
"""

from pratique.redact.pattern import Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

# One alternative for each issuer's documented form; the comment names whose it is.
_FORMS = (
    r"gh[pousr]_[A-Za-z0-9]{20,255}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{22,255}",
    r"v1\.[0-9a-f]{40}",  # GitHub App, old
    r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[A-Za-z0-9_.\-]{16,300}",  # GitLab
    r"GR1348941[A-Za-z0-9_\-]{18,60}",
    r"hf_[A-Za-z0-9]{16,120}",  # Hugging Face
    r"api_org_[A-Za-z0-9]{20,120}",
    r"sk-(?:ant-|proj-|svcacct-|admin-|or-|live-|test-|lf-)?[A-Za-z0-9_\-]{16,300}",  # OpenAI, Anthropic, OpenRouter
    r"sess-[A-Za-z0-9]{20,100}",
    r"(?:sk|rk|pk)_(?:live|test|prod)_[A-Za-z0-9]{10,250}",  # Stripe
    r"whsec_[A-Za-z0-9+/=]{16,120}",
    r"(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|A3T[A-Z0-9])[A-Z0-9]{16}",  # AWS
    r"AIza[A-Za-z0-9_\-]{30,45}",  # Google
    r"ya29\.[A-Za-z0-9_\-.]{20,2000}",
    r"GOCSPX-[A-Za-z0-9_\-]{20,60}",
    r"1//0[A-Za-z0-9_\-]{30,200}",
    r"[0-9]{8,20}-[a-z0-9]{32}\.apps\.googleusercontent\.com",
    r"xox[abeoprs](?:\.xox[a-z])?-[A-Za-z0-9\-]{10,300}",  # Slack
    r"xapp-[0-9]-[A-Za-z0-9\-]{10,300}",
    r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_+\-]{20,200}",
    r"https://(?:(?:canary|ptb)\.)?discord(?:app)?\.com/api/(?:v[0-9]+/)?webhooks/[0-9]{10,25}/[A-Za-z0-9_\-]{20,120}",  # Discord
    r"[MNO][A-Za-z0-9_\-]{23,27}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,45}",
    r"https://[a-z0-9\-]{1,60}\.webhook\.office\.com/webhookb2/[A-Za-z0-9@/\-]{40,300}",
    r"[0-9]{8,12}:AA[A-Za-z0-9_\-]{30,40}",  # Telegram
    r"(?:AC|SK)[0-9a-f]{32}",  # Twilio
    r"SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{30,60}",  # SendGrid
    r"key-[0-9a-f]{32}",  # Mailgun
    r"[0-9a-f]{32}-us[0-9]{1,2}",  # Mailchimp
    r"xkeysib-[0-9a-f]{40,80}-[A-Za-z0-9]{10,30}",  # Brevo
    r"re_[A-Za-z0-9]{8}_[A-Za-z0-9]{20,40}",  # Resend
    r"sq0(?:atp|csp|idp)-[A-Za-z0-9_\-]{20,60}",  # Square
    r"EAAA[A-Za-z0-9_\-]{50,120}",
    r"EAA[A-Za-z0-9]{60,400}",  # Facebook
    r"IGQV[A-Za-z0-9_\-]{60,400}",
    r"shp(?:at|ca|pa|ss|tka)_[A-Fa-f0-9]{32}",  # Shopify
    r"do[opr]_v1_[a-f0-9]{40,80}",  # DigitalOcean
    r"dapi[a-f0-9]{32}(?:-[0-9])?",  # Databricks
    r"ATATT3[A-Za-z0-9_\-=]{40,300}",  # Atlassian
    r"ATBB[A-Za-z0-9]{20,60}",
    r"lin_(?:api|oauth)_[A-Za-z0-9]{30,80}",  # Linear
    r"secret_[A-Za-z0-9]{40,50}",  # Notion
    r"ntn_[A-Za-z0-9]{40,60}",
    r"fig[dou]r?_[A-Za-z0-9_\-]{30,60}",  # Figma
    r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}",  # Postman
    r"NR(?:AK|JS|II|RA)-[A-Za-z0-9\-]{20,60}",  # New Relic
    r"gl(?:sa|c)_[A-Za-z0-9+/=_]{20,300}",  # Grafana
    r"eyJrIjoi[A-Za-z0-9+/=]{30,300}",
    r"sntry[su]_[A-Za-z0-9+/=_\-]{20,300}",  # Sentry
    r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.\-]{20,80}",  # Doppler
    r"hv[sbr]\.[A-Za-z0-9_\-]{20,300}",  # Vault
    r"s\.[A-Za-z0-9]{24}",
    r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-=]{50,90}",  # Terraform
    r"npm_[A-Za-z0-9]{30,50}",  # npm
    r"pypi-AgE[A-Za-z0-9_\-]{30,300}",  # PyPI
    r"pypi-[A-Za-z0-9_\-]{50,300}",
    r"rubygems_[a-f0-9]{40,60}",
    r"cio[A-Za-z0-9]{32}",  # crates.io
    r"oy2[a-z0-9]{43}",  # NuGet
    r"dckr_(?:pat|oat)_[A-Za-z0-9_\-]{20,60}",  # Docker
    r"gsk_[A-Za-z0-9]{30,80}",  # Groq
    r"pplx-[A-Za-z0-9]{30,80}",  # Perplexity
    r"r8_[A-Za-z0-9]{30,50}",  # Replicate
    r"xai-[A-Za-z0-9]{40,120}",  # xAI
    r"nvapi-[A-Za-z0-9_\-]{40,90}",  # NVIDIA
    r"fw_[A-Za-z0-9]{22,40}",  # Fireworks
    r"tgp_v1_[A-Za-z0-9_\-]{30,60}",  # Together
    r"co_[A-Za-z0-9]{36,44}",
    r"pcsk_[A-Za-z0-9_]{40,90}",  # Pinecone
    r"lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}",  # LangSmith
    r"wandb_v1_[A-Za-z0-9_]{30,120}",
    r"sbp_[a-f0-9]{40}",  # Supabase
    r"sb_(?:secret|publishable)_[A-Za-z0-9_\-]{20,60}",
    r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.\-]{30,80}",  # PlanetScale
    r"vercel_[A-Za-z0-9_]{20,60}",
    r"nfp_[A-Za-z0-9]{36,50}",  # Netlify
    r"fo1_[A-Za-z0-9_\-]{40,60}",  # Fly
    r"FlyV1 [A-Za-z0-9_,+/=\-]{40,900}",
    r"rnd_[A-Za-z0-9]{20,40}",
    r"CCIPAT_[A-Za-z0-9_]{20,80}",  # CircleCI
    r"bkua_[a-z0-9]{40}",  # Buildkite
    r"LTAI[A-Za-z0-9]{12,26}",  # Alibaba
    r"AKID[A-Za-z0-9]{28,40}",  # Tencent
    r"AQVN[A-Za-z0-9_\-]{30,60}",  # Yandex
    r"t1\.[A-Za-z0-9_\-]{20,400}\.[A-Za-z0-9_\-]{80,100}",
    r"y0_[A-Za-z0-9_\-]{40,80}",
    r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}",  # Airtable
    r"PRIVATE-TOKEN: [A-Za-z0-9_\-]{16,80}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{50,70}",  # age
    r"ops_eyJ[A-Za-z0-9_\-]{60,2000}",  # 1Password
    r"A3-[A-Z0-9]{6}-[A-Z0-9]{6,11}(?:-[A-Z0-9]{5}){3,5}",
    r"xoxe-[0-9]-[A-Za-z0-9]{100,200}",
    r"0x[a-fA-F0-9]{64}",  # a raw Ethereum key, or a transaction: both link to a purse
    r"AAAAAAAAAAAAAAAAAAAAA[A-Za-z0-9%]{40,200}",  # X
    r"amzn\.mws\.[0-9a-f\-]{36}",
    r"FwoGZXIvYXdzE[A-Za-z0-9+/=]{80,1500}",
    r"IQoJb3JpZ2luX2Vj[A-Za-z0-9+/=]{80,1500}",
    r"eyJ[A-Za-z0-9_\-]{8,4000}\.[A-Za-z0-9_\-]{4,6000}(?:\.[A-Za-z0-9_\-]{0,6000}){0,3}",  # JWT, JWE
    r"\$(?:1|2[abxy]|5|6|7|y|gy|apr1|argon2(?:id|i|d)|scrypt|sha1|pbkdf2[a-z0-9\-]{0,12})\$[A-Za-z0-9./+=,$]{16,250}",  # password hashes
    r"pbkdf2_sha256\$[0-9]+\$[A-Za-z0-9./+=]{4,40}\$[A-Za-z0-9./+=]{20,90}",
    r"\{(?:SSHA|SHA|SMD5|CRYPT|PBKDF2)[0-9]{0,3}\}[A-Za-z0-9./+=$]{12,200}",
)  # fmt: skip


_KEYS = Pattern(rf"(?:^|[^A-Za-z0-9_])({'|'.join(_FORMS)})")
_BLOCK = Pattern(
    r"-{3,5}\s?BEGIN (?:[A-Z0-9]+ ){0,4}(?:PRIVATE KEY|SECRET KEY)(?: BLOCK)?\s?-{3,5}", "begin"
)
_BLOCK_END = Pattern(
    r"-{3,5}\s?END (?:[A-Z0-9]+ ){0,4}(?:PRIVATE KEY|SECRET KEY)(?: BLOCK)?\s?-{3,5}", "end"
)
_PUTTY = Pattern(
    r"(?:PuTTY-User-Key-File-\d|Private-Lines: \d+)[^\r\n]*(?:\r?\n[^\r\n]+)+", "private-lines"
)
_HEADER = Pattern(
    r"(?:^|[^A-Za-z])(?:proxy-)?authorization[\"']?\s{0,3}(?:[:=]|=>|,)\s{0,3}[\"']?\s{0,2}"
    r"((?:(?:basic|bearer|token|digest|negotiate|ntlm|apikey|api-key|aws4-hmac-sha256|hmac|key|oauth|jwt|hawk|ssws)\s{1,3})?[^\r\n\"']{6,4000})",
    "authorization",
    ignore_case=True,
)
_SCHEME = Pattern(
    r"(?:^|[^A-Za-z])((?:bearer|basic)\s{1,3}(?:token\s)?[\"']?([A-Za-z0-9._~+/\-]{8,}={0,3}))",
    "bearer",
    "basic",
    ignore_case=True,
)
_PLACEHOLDER = Pattern(
    r"(?:(?:basic|bearer|token)\s{1,3})?(?:<[^<>]{1,60}>|\$\{?\(?[A-Za-z_]|\{\{?[^{}]{1,60}\}|\*{3,}|\.{3}|x{6,}|your|none|null|\[[A-Z_]{3,20}[\]:]|f?[\"']|header|required|\{)",
    ignore_case=True,
)
_PAIR = Pattern(r"(?:^|[^A-Za-z0-9/+=])([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)")
_AWS = Pattern(
    r"aws.{0,20}?(?:secret|private).{0,40}?[\"'\s:=>]([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)",
    "aws",
    ignore_case=True,
)
_AZURE = Pattern(
    r"(?:AccountKey|SharedAccessKey|SharedAccessSignature|sig|EndpointKey|InstrumentationKey)=([A-Za-z0-9+/%=._\-]{16,})",
    "key=",
    "sig=",
    "signature=",
    ignore_case=True,
)
_WIREGUARD = Pattern(
    r"(?:PrivateKey|PresharedKey)\s{0,3}=\s{0,3}([A-Za-z0-9+/]{42,43}={0,2})", "key"
)
_CLI = Pattern(
    r"(?:^|\s)(?:-u|--user|--proxy-user)[ =]([\"']?)([^\s:\"']{1,64}:[^\s\"']{2,128})",
    "-u",
    "--user",
    "--proxy-user",
)
_DOCKER_AUTH = Pattern(r"\"auth\"\s{0,3}:\s{0,3}\"([A-Za-z0-9+/=]{8,400})\"", '"auth"')


class KeyDetector:
    """Finds secrets by their form."""

    name = "keys"

    def find(self, view: View) -> list[Span]:
        """Return secret spans; see `Detector.find`."""
        found = [
            Span.of(m.span(1), EntityType.SECRET)
            for m in _KEYS.matches(view)
            if _varied(view, *m.span(1))
        ]
        found += self._blocks(view)
        if b"AKIA" in view.skeleton or b"ASIA" in view.skeleton:
            # An access key id is seldom written without the key that belongs to it.
            found += [
                Span.of(m.span(1), EntityType.SECRET)
                for m in _PAIR.matches(view)
                if _varied(view, *m.span(1))
            ]
        for pattern in (_AWS, _AZURE, _WIREGUARD, _DOCKER_AUTH):
            found += [Span.of(m.span(1), EntityType.SECRET) for m in pattern.matches(view)]
        for match in _CLI.matches(view):
            found.append(Span.of(match.span(2), EntityType.SECRET))
        for match in _HEADER.matches(view):
            start, end = match.span(1)
            if not _PLACEHOLDER.at(view, start) and _dense(view.skeleton[start:end]):
                found.append(Span(start, end, EntityType.SECRET))
        for match in _SCHEME.matches(view):
            start, end = match.span(2)
            token = view.skeleton[start:end]
            if not _PLACEHOLDER.at(view, start) and _dense(token):
                found.append(Span(match.start(1), end, EntityType.SECRET))
        return found

    @staticmethod
    def _blocks(view: View) -> list[Span]:
        found = []
        at = 0
        for match in _BLOCK.matches(view):
            if match.start() < at:
                continue
            close = next(_BLOCK_END.matches(view, match.end()), None)
            # A block without its end was cut: all that follows may be key.
            at = close.end() if close else len(view.text)
            if _is_key_block(view.skeleton[match.end() : at]):
                found.append(Span(match.start(), at, EntityType.SECRET))
        found += [Span.of(match.span(), EntityType.SECRET) for match in _PUTTY.matches(view)]
        return found


def _is_key_block(body: bytes) -> bool:
    """A header that is only mentioned, in code or prose, has no key behind it."""
    run = 0
    for byte in body[:4000]:
        run = run + 1 if chr(byte).isalnum() or byte in b"+/=" else 0
        if run >= 16:
            return True
    return False


def _varied(view: View, start: int, end: int) -> bool:
    """Turn down placeholders such as ``sk-xxxxxxxxxxxxxxxxxxxx`` and words such as ``sk-learn-…``."""
    token = view.skeleton[start:end]
    tail = token[4:]
    if len(set(tail.lower())) < 6:
        return False
    if token.startswith((b"0x", b"$", b"https", b"{", b"-")):
        return True
    return any(0x30 <= c <= 0x39 for c in token) or (
        any(0x41 <= c <= 0x5A for c in tail)
        and any(0x61 <= c <= 0x7A for c in tail)
        and b"-" not in tail.strip(b"-")[:12]
    )


def _dense(value: bytes) -> bool:
    """Tell a token from words: a digit, a padding, mixed case inside, or one long run."""
    token = max(value.split(), key=len, default=b"")
    if len(token) >= 24 or any(0x30 <= c <= 0x39 for c in token) or token.endswith(b"="):
        return True
    inner = token[1:]
    return any(0x41 <= c <= 0x5A for c in inner) and any(0x61 <= c <= 0x7A for c in inner)
