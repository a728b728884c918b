"""Passwords, PINs, codes and keys that the words around them announce.

The rule: what is assigned to a name that means a secret, or said to be one, is a secret,
unless it is code, a placeholder or plain prose about passwords.
"""

from collections.abc import Iterator

from pratique.redact.pattern import Keywords, Match, Pattern
from pratique.redact.skeleton import LETTER
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_STRONG = Pattern(
    r"(?:passwor[dt]|passwd|psswd|passphrase|pass_?phrase|pass_?code|kennwort|contrasena|contrasenya|wachtwoord|losenord|salasana|adgangskode|parola|haslo|jelszo|heslo|senha|mot_de_passe|motdepasse|mdp|palavra_passe"
    r"|secret|secret_?key|client_?secret|api_?key|api-key|apikey|access_?key(?:_id)?|private_?key|encryption_?key|signing_?key|master_?key|auth_?key|account_?key|app_?key|license_?key|storage_?key"
    r"|auth_?token|access_?token|refresh_?token|id_?token|session_?token|bearer_?token|api_?token|bot_?token|deploy_?token|personal_?token|x-auth-token|x-api-key|private-token|webhook_?secret|jwt_?secret"
    r"|credentials?|creds|pass|pwd|psw|pword|pw|_token|token|_key|psk|pre_?shared_?key|wpa_?key|community|otp|totp|seed[ _-]?phrase|seed words|mnemonic(?:[ _-]phrase)?|recovery[ _-]?phrase|backup[ _-]phrase|p[a@4][s$5]{2}w[o0]rd)"
    r"([a-z0-9_]{0,16})[\"'\])`*]{0,3}\s{0,3}(?::=|=>|={1,2}|:|>)\s{0,3}",
    ":",
    "=",
    ">",
    ignore_case=True,
)
_SAID = Keywords(
    "password", "passwords", "passwort", "passwd", "passphrase", "passcode", "kennwort", "contrasena", "contraseña", "clave", "clave de acceso", "mot de passe", "mdp", "senha", "palavra passe", "palavra-passe",
    "wachtwoord", "losenord", "salasana", "adgangskode", "passord", "parola", "parola d'ordine", "haslo", "jelszo", "heslo", "sifre", "sifresi", "sifrem", "kata sandi", "sandi", "mat khau", "lozinka", "geslo", "slaptazodis", "parole", "parool", "zaporka",
    "пароль", "паролем", "пароля", "лозинка", "парола", "pwd", "pw", "login", "passkey", "wifi key", "wifi password", "secret", "api key", "api token", "apikey", "access key", "access token", "auth token", "secret key", "security answer", "token",
    "secret access key", "encryption key", "private key", "license key", "bearer token", "session token", "refresh token", "client secret", "zugangsdaten", "schlussel", "passwortes", "codigo secreto", "cle api", "cle secrete", "clave api", "chiave", "chiave api", "token de acceso", "jeton",
    "密码", "密碼", "口令", "パスワード", "暗証番号", "비밀번호", "비번", "암호", "كلمة المرور", "كلمة السر", "סיסמה", "סיסמא", "הסיסמה", "κωδικός", "κωδικος", "पासवर्ड", "รหัสผ่าน", "mật khẩu", "密钥", "秘钥", "APIキー", "api密钥", "令牌", "ключ", "ключ api", "токен", "секрет", "секретный ключ",
)  # fmt: skip
_NUMERIC = Keywords(
    "pin", "pin code", "pincode", "pin number", "pin is", "geheimzahl", "code pin", "codigo pin", "otp", "otp code", "totp", "one time password", "one time code", "one time passcode", "verification code", "security code", "auth code", "authentication code",
    "confirmation code", "access code", "login code", "2fa code", "2fa", "mfa code", "sms code", "cvv", "cvc", "cvv2", "cvc2", "cvn", "puk", "tan", "bestatigungscode", "sicherheitscode", "prufcode", "prufziffer", "code de verification", "code de securite", "code d'acces", "codigo de verificacion", "codigo de seguridad",
    "codice di verifica", "codice di sicurezza", "codigo de verificacao", "verificatiecode", "beveiligingscode", "kod weryfikacyjny", "dogrulama kodu", "код подтверждения", "код из смс", "пин", "пин код", "пин-код", "код доступа", "door code", "gate code", "alarm code", "entry code", "turcode",
    "验证码", "驗證碼", "確認コード", "認証コード", "인증번호", "인증 코드", "رمز التحقق", "קוד אימות", "κωδικός pin", "backup code", "recovery code", "unlock code",
)  # fmt: skip
_LINK = Pattern(
    r"[\"'\])`*]{0,3}(?:\s{1,2}(?:for|to|of|de|del|pour|fur|per|para|on|at|von|voor|para o|para la|der|des|do|da|di|la|le|el|my|the|our|your|his|her)(?:\s{1,2}[^\s:=]{1,40}){1,4}?)?"
    r"(?:'s\s|\s{0,3}(?:(?:[:=]{1,2}|=>|->|-|>)\s{0,3}|(?:is|was|are|will be|ist|lautet|war|sei|est|etait|es|era|e|sara|jest|to|ar|er|var|on|byt|bylo|je|is set to|set to|has been set to|has been changed to|changed to|reset to|becomes|adalah|la)(?:\s{0,2}:)?(?: (?:now|jetzt|still|currently|temporarily|ahora|maintenant|just|simply|set to|changed to))?\s{1,3}|это\s{1,3}|—\s{0,2}))",
    ignore_case=True,
)
_PARTICLES = (
    "は",
    "が",
    "是",
    "为",
    "為",
    "이",
    "가",
    "은",
    "는",
    "هي",
    "هو",
    "היא",
    "είναι",
    "है",
    "คือ",
    ":",
    "：",
)
_NEXT_FIELD = Pattern(r"&(?:amp;)?[A-Za-z_][A-Za-z0-9_.\-\[\]]{0,40}=")
_ATTRIBUTE = Pattern(
    r"(?:key|name|id)\s?=\s?[\"'][^\"'<>]{0,60}(?:password|passwd|pwd|secret|token|api_?-?key)[\"']\s{1,4}value\s?=\s?[\"']([^\"'<>]{3,200})[\"']",
    "value",
    ignore_case=True,
)
_BARE = Pattern(r"[^\s\"'`<>;]{1,512}")
_CODE_DIGITS = Pattern(
    r"[\"'`*]{0,2}((?:\d[ \-]?){2,9}\d|[A-Z0-9]{4,5}-[A-Z0-9]{4,5}(?:-[A-Z0-9]{4,5})*)[#*]?(?:[^A-Za-z0-9]|$)"
)
_PHRASE = Pattern(r"[a-z]{3,12}(?:[ \-][a-z]{3,12}){2,23}(?:[.,;!\"'\r\n)]|$)")
_ELSEWHERE = Pattern(
    r"(?:length|len|min|max|count|name|file|path|field|policy|type|url|uri|expir|reset|hint|rule|limit|size|col|version|label|input|prompt|valid|error|change|age|ttl|arn|ref|required|enabled|env|ids?|_id|usage|auth|manager|store|hash|s|_s|ization|izer|ized|ic|index|embedding|word|strength|attempts|box|less|_type|budget|level|logprobs?|probs?|position|class|mask|_in|_out|_per)(?:[^a-z].*)?$",
    ignore_case=True,
)
_CODE = Pattern(
    r"(?:os\.|process\.|env[.\[(]|environ|getenv|config[.\[]|settings[.\[]|self\.|this\.|args\.|request\.|req\.|input\(|getpass|str\b|string\b|bytes\b|int\b|bool\b|optional|any\b|none\b|null\b|nil\b|true\b|false\b|undefined|required|vault|secrets?\.|secrets\[|data\.|var\.|local\.|ctx\.|params|form\.|user\.|hash|lambda|def\b|return|await|async|new |function|func|get|fetch|load|read|field\(|kwargs|parser|typing|type\b|union|list\[|dict\[|sys\.|\w+\(|tokenizer|model\.|\w+\.\w+\()",
    ignore_case=True,
)
_PLACEHOLDER = Pattern(
    r"(?:<[^<>]{0,60}>|\$\{?\(?[A-Za-z_][A-Za-z0-9_]*\}?\)?|\{\{?[^{}]{0,60}\}?\}|%[A-Za-z_]+%|%[sd]|\*{2,}|\.{2,}|x{4,}|X{4,}|_{3,}|-{2,}|•+|\x01+|your[_\- ].*|change[_\-]?(?:me|it|this).*|replace[_\-]?(?:me|this).*|insert[_\-].*|example.*|my[_\-](?:password|secret|token|key).*|\[(?:[A-Z_]{3,20}|redacted|hidden|filtered|masked)(?::[^\]]*)?\]|redacted|masked|hidden|@\w+|todo|tbd|n/a|na|</?[a-z|]+)[\"'.,;:!?)]*$",
    ignore_case=True,
)
_PROSE = frozenset(
    b"a about above account again all already also always an and any are as assert at authentication be been before below best between both but by can cannot case change changed changes characters check click compromised contains correct could credentials default did digits do does done each either email empty encrypted enter entered entry every example expire expired expires field fields for forgot forgotten from generated generator given good had has hash hashed hashing have having here hidden how however i if ignored important in incorrect input into invalid is it its just kept known leaked length letters like login long lost managed management manager masked may mentioned minimum mismatch missing must need needed needs never new no none not null of off ok old on once one only optional or our out pass raise print break continue elif else yield import class over please policies policy prompt protected protection provided public recommended recovery refused rejected remain remains required requirement requirements requires reset reuse rotate rotated rotation rules same saved secure security see sensitive sent set shared short should shown simple so some something special still stored strength strong stronger such text than that the their them then there these they this those to together too true try under unique until unless unset up update updated use used user username users using valid validation very via view was weak well were what when where whether which who why will with within without wrong you your shown resets managers fields".split()
) | frozenset(
    b"ist nicht falsch richtig muss wird wurde abgelaufen erforderlich und oder mit ein eine der die das vergessen andern incorrecto incorrecta invalida es obligatorio requerida debe no olvidada y o la el los incorrect oublie doit requis invalide et ou le les un une non valido errato obbligatorio deve scaduta e o il".split()
)
_LITTLE = frozenset(
    b"a an and are as at be been but by can cannot for from has have if in into is it may must need needs never no not of on only or our out pass raise print break continue elif else yield import class please required should so than that the their them then there these they this those to too until use used user using was were when where which will with without you your ist nicht muss wird und oder die das der es un una el la los et le les des est di il che con raise return else".split()
)
_MIN_SAID = 3
_MAX_READ = 512


class PasswordDetector:
    """Finds secrets by the words that announce them."""

    name = "password"

    def find(self, view: View) -> list[Span]:
        """Return secret spans; see `Detector.find`."""
        spans = [
            *_assigned(view),
            *_said(view),
            *_codes(view),
            *_options(view),
            *_bare(view),
            *_pairs(view),
        ]
        return [Span(start, end, EntityType.SECRET) for start, end in spans]


_WEAK_NAMES = frozenset(
    b"token _token _key pass community secret pw credential credentials creds otp".split()
)
_NEVER_INSIDE = frozenset(b"pass pw otp creds psk community".split())


def _is_other_name(view: View, match: Match, name: bytes) -> bool:
    """Turn down names that go on or begin otherwise: passport, password_length, bypass."""
    skeleton = view.skeleton
    start, (more, end) = match.start(), match.span(1)
    suffix = skeleton[more:end].strip(b"_").lower()
    if skeleton[more : more + 1].islower() and suffix != b"s":
        return True
    if suffix == b"id":
        return not name.startswith(b"access")
    if suffix and _ELSEWHERE.regexp.match(suffix):
        return True
    if start and chr(skeleton[start - 1]).isalpha() and name in _NEVER_INSIDE:
        return True
    is_tag = skeleton[match.end() - 1 : match.end()] == b">"
    return is_tag and b"<" not in skeleton[max(0, start - 40) : start]


def _assigned(view: View) -> Iterator[tuple[int, int]]:
    read = 0  # what is part of a value announces no other: each character is read once
    for match in _STRONG.matches(view):
        start = match.start()
        if start < read:
            continue
        name = view.skeleton[start : match.start(1)].lower()
        if _is_other_name(view, match, name):
            continue
        if name.startswith(
            (b"passphrase", b"pass_phrase", b"seed", b"mnemonic", b"recovery", b"password")
        ) and (phrase := _phrase(view, match.end())):
            yield phrase
        elif value := _value(view, match.end()):
            read = value[1]
            if name not in _WEAK_NAMES or _dense(view, *value):
                yield value


def _said(view: View) -> Iterator[tuple[int, int]]:
    read = 0
    for start, end in _SAID.hits(view):
        if start < read:
            continue
        link = _LINK.at(view, end)
        at = link.end() if link else _after_particle(view, end)
        if at is None:
            continue
        value = _value(view, at)
        if value is None:
            continue
        read = value[1]
        if phrase := _phrase(view, at):
            yield phrase
        elif (
            _tells(view, *value, word=_SURE.before(view, end, 0) is not None)
            or (
                link
                and link.group().strip().endswith((b":", b"="))
                and value[1] - value[0] >= _MIN_SAID
                and _ends(view, value[1])
            )
        ) and (not _word_is(view, end, b"login") or _dense(view, *value)):
            yield value


_SURE = Keywords(
    "password", "passwort", "passwd", "pass", "passcode", "kennwort", "contrasena", "mot de passe", "mdp", "senha", "wachtwoord", "losenord", "salasana", "adgangskode", "passord", "haslo", "jelszo", "heslo", "sifre", "sifrem", "sifresi", "parola", "clave", "pw", "pwd", "пароль", "пароля", "паролем", "лозинка", "密码", "パスワード", "비밀번호", "비번",
)  # fmt: skip
_DIRECT = Pattern(rf"(?:\s[{LETTER}]{{1,12}}){{0,2}}?\s[\"'`]?([^\s\"'`]{{6,64}})")
_NAMED_PAIR = Pattern(
    r"(?:credentials?|creds|login|log-?in|logon|user/pass(?:word)?|username/password|account|zugangsdaten|identifiants|credenciales|credenziali)[\"']?\s{0,2}(?:[:=]|is|are)\s{0,2}([^\s/:\"',]{2,40})\s?[/:|]\s?([^\s/\"',]{4,64})",
    ignore_case=True,
)


def _bare(view: View) -> Iterator[tuple[int, int]]:
    """Read "use pass Spring2024! to unlock": no link, so the value itself must be telling."""
    for _, end in _SURE.hits(view):
        match = _DIRECT.at(view, end, min(len(view.skeleton), end + _MAX_READ))
        if (
            match
            and _mixed(match.group(1).rstrip(b".,;:)"))
            and not _harmless(view, *match.span(1))
        ):
            yield match.span(1)


def _mixed(token: bytes) -> bool:
    """Letters, digits and a third kind, or eight letters and digits; no path, call or version."""
    digits = any(0x30 <= c <= 0x39 for c in token)
    letters = any(0x61 <= c <= 0x7A for c in token)
    third = any(0x41 <= c <= 0x5A for c in token) or any(c in b"!@#$%^&*+~" for c in token)
    if b"/" in token or b"(" in token or b"=" in token or token.count(b".") > 1:
        return False
    return digits and letters and (third or len(token) >= 8) and b"_" not in token


def _pairs(view: View) -> Iterator[tuple[int, int]]:
    for match in _NAMED_PAIR.matches(view):
        if not _harmless(view, *match.span(2)) and (
            b"@" in match.group(1) or _tells(view, *match.span(2))
        ):
            yield match.span(2)


def _codes(view: View) -> Iterator[tuple[int, int]]:
    for start, end in _NUMERIC.hits(view):
        link = _LINK.at(view, end)
        at = link.end() if link else _after_particle(view, end)
        if at is None:
            at = end + (view.skeleton[end : end + 1] == b" ")
            if at == end:
                continue
        match = _CODE_DIGITS.at(view, at)
        if match and (len(match.group(1)) > _MIN_SAID or view.lowered[start : start + 2] == b"cv"):
            first, last = match.span(1)
            yield first, last + (view.skeleton[last : last + 1] in {b"#", b"*"})


_FLAG = Pattern(
    r"(?:^|\s)(?:--(?:password|passwd|pass|pwd|token|secret|api-key|apikey|passphrase|db-password|access-token|auth-token|client-secret|secret-key|private-key|key)[ =]|sshpass -p ?|-a(?: )|(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\r\n]{0,80}? -p|identified (?:with \S+ )?by |password )([\"']?)([^\s\"']{3,200})",
    "-",
    "identified",
    "password",
    ignore_case=True,
)
_HTTP_FIELD = Pattern(
    r"x-[a-z\-]{0,30}(?:key|token|secret|auth)[a-z\-]{0,10}[\"']?\s{0,2}[:=]\s{0,2}[\"']?([^\s\"']{8,500})",
    "x-",
    ignore_case=True,
)


def _options(view: View) -> Iterator[tuple[int, int]]:
    for match in _FLAG.matches(view):
        start, end = match.span(2)
        flag = view.skeleton[match.start() : match.start(1)].strip().lower()
        if (
            not _harmless(view, start, end)
            and (
                flag.startswith((b"--pass", b"sshpass", b"mysql", b"maria", b"identified"))
                or _dense(view, start, end)
            )
            and (flag != b"-a" or b"redis" in view.skeleton[max(0, start - 80) : start])
        ):
            yield start, end
    for pattern in (_HTTP_FIELD, _ATTRIBUTE):
        for match in pattern.matches(view):
            if not _harmless(view, *match.span(1)):
                yield match.span(1)


def _after_particle(view: View, end: int) -> int | None:
    text = view.text
    for gap in (0, 1):
        for particle in _PARTICLES:
            if text.startswith(particle, end + gap):
                at = end + gap + len(particle)
                while at < len(text) and text[at] in " :：":
                    at += 1
                return at
    return None


def _value(view: View, start: int) -> tuple[int, int] | None:
    """Return where the value that begins at ``start`` stands, or None when it is no secret."""
    skeleton = view.skeleton
    opener = skeleton[start : start + 1]
    while opener in {b"*", b"("} and skeleton[start + 1 : start + 2] not in {b"*", b""}:
        start += 1
        opener = skeleton[start : start + 1]
    if opener in {b'"', b"'", b"`"}:
        line = skeleton.find(b"\n", start)
        close = skeleton.find(opener, start + 1, line if line > 0 else len(skeleton))
        while close > 0 and skeleton[close - 1 : close] == b"\\":
            close = skeleton.find(opener, close + 1, line if line > 0 else len(skeleton))
        if 0 < close - start <= 600:
            inside = (start + 1, close)
            quoted = close - start - 1 >= _MIN_SAID and not _harmless(view, *inside)
            return inside if quoted else None
        start += 1
    match = _BARE.at(view, start)
    if not match:
        return None
    end = match.end()
    if following := _NEXT_FIELD.regexp.search(match.group()):
        end = start + following.start()
    while end > start and skeleton[end - 1] in b".,;:!?)]}*":
        if (
            skeleton[end - 1] == 0x21
            and end - start < 24
            and skeleton[end : end + 1] in {b"\n", b"", b",", b".", b'"'}
        ):
            break  # a final exclamation mark is often part of the password
        end -= 1
    if end - start < _MIN_SAID or _harmless(view, start, end):
        return None
    return start, end


def _harmless(view: View, start: int, end: int) -> bool:
    token = view.skeleton[start : min(end, start + _MAX_READ)]
    word = token.strip(b".,;:!?\"'()").lower()
    if not word or word in _PROSE or _PLACEHOLDER.regexp.match(token):
        return True
    if (
        view.skeleton[end : end + 1] == b"("
        and token.replace(b".", b"").replace(b"_", b"").isalnum()
    ):
        return True
    code = _CODE.regexp.match(token + view.skeleton[end : end + 2])
    return bool(code) and not (token[-1:].isdigit() and b"(" not in token and b"." not in token)


def _tells(view: View, start: int, end: int, *, word: bool = True) -> bool:
    """Say whether a value said in prose reads like a secret; a mere word only where ``word``."""
    token = view.skeleton[start : min(end, start + _MAX_READ)]
    quoted = (
        view.skeleton[start - 1 : start] in {b'"', b"'", b"`"}
        and view.skeleton[end : end + 1] == view.skeleton[start - 1 : start]
    )
    if quoted:
        return True
    if any(0x30 <= c <= 0x39 for c in token):
        return not token.isdigit() or len(token) >= 4
    if any(c in b"!@#$%^&*_+=~?" for c in token[1:]):
        return True
    if any(0x41 <= c <= 0x5A for c in token[1:]) and not token.isupper():
        return True
    return word and len(token) >= 4 and _ends(view, end) and token.isalpha()


def _ends(view: View, end: int) -> bool:
    """Whether the sentence, line or clause ends here."""
    rest = view.skeleton[end : end + 2]
    return (
        not rest.strip()
        or rest[:1] in {b",", b";", b"\n", b"\r", b'"', b"'", b")", b"!", b"?", b"|", b"<"}
        or (rest[:1] == b"." and not rest[1:].strip())
    )


def _dense(view: View, start: int, end: int) -> bool:
    """A value of a name that also has harmless meanings must look random."""
    token = view.skeleton[start:end]
    if len(token) < 8 or b"<" in token or b"|" in token or b"://" in token:
        return False
    digits = sum(0x30 <= c <= 0x39 for c in token)
    letters = sum(chr(c).isalpha() for c in token)
    if digits and letters and token.count(b".") < 3 and token.count(b"/") < 4:
        return digits >= 2 or len(token) < 24
    return any(c in b"!@#$%^&*" for c in token[1:]) and b"(" not in token


def _word_is(view: View, end: int, word: bytes) -> bool:
    return view.skeleton[max(0, end - len(word)) : end].lower() == word


def _phrase(view: View, start: int) -> tuple[int, int] | None:
    """A passphrase: three words or more, none of them the small words of a sentence."""
    if view.skeleton[start : start + 1] in {b'"', b"'"}:
        start += 1
    match = _PHRASE.at(view, start)
    if not match:
        return None
    end = match.end()
    while end > start and not chr(view.skeleton[end - 1]).isalpha():
        end -= 1
    words = view.skeleton[start:end].replace(b"-", b" ").split()
    return (start, end) if not any(w in _LITTLE for w in words) else None
