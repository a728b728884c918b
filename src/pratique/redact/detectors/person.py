"""People's names that the words around them give away.

The rule: a title, an introduction, a label, a greeting or a closing announces a name; a
capitalised word alone is never one.
"""

import itertools
from collections.abc import Iterator
from itertools import takewhile

from pratique.redact.names import CASELESS, LAST_FIRST, LOWER, NAME, NOT_NAMES, trimmed, words_of
from pratique.redact.pattern import Keywords, Pattern
from pratique.redact.skeleton import LETTER, LOW, UP
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_TITLES = Keywords(
    "mr", "mrs", "ms", "miss", "mx", "dr", "doctor", "prof", "professor", "sir", "madam", "lady", "lord", "rev", "reverend", "father", "capt", "captain", "sgt", "sergeant", "lt", "col", "gen", "judge", "justice", "senator", "nurse", "attorney", "detective", "inspector", "officer", "aunt", "uncle", "mister", "messrs",
    "herr", "herrn", "frau", "fraulein", "hr", "fr", "dipl.-ing", "dipl-ing", "monsieur", "madame", "mademoiselle", "mme", "mlle", "docteur", "maitre", "senor", "senora", "senorita", "sr", "sra", "srta", "don", "dona", "doctora", "dra", "signor", "signora", "signorina", "signore", "sig", "sig.ra", "dott", "dott.ssa", "dottor", "dottoressa", "avv", "ing",
    "senhor", "senhora", "dom", "doutor", "doutora", "meneer", "mevrouw", "mevr", "dhr", "mw", "de heer", "pan", "pani", "panu", "pana", "herra", "rouva", "fru", "fröken", "froken", "pan", "paní", "domnul", "doamna", "dl", "dna", "bay", "bayan", "sayin", "bapak", "ibu", "pak", "bu", "ong", "ba", "anh", "chi", "gospodin", "gospoda", "gospodja", "kyrios", "kyria", "shri", "smt", "sri",
    "г-н", "г-жа", "господин", "госпожа", "гражданин", "гражданка", "доктор", "профессор", "пан", "пані", "пані", "господине", "товарищ", "κύριος", "κυρία", "κ.", "السيد", "السيدة", "الدكتور", "الدكتورة", "الأستاذ", "الأستاذة", "الآنسة", "מר", "גברת", "גב׳", "ד״ר", 'ד"ר', "श्री", "श्रीमती", "डॉ", "डॉ.", "คุณ", "นาย", "นาง", "นางสาว", "ด.ช.",
)  # fmt: skip
_INTRO = Keywords(
    "my name is", "my name's", "name is", "names is", "i am called", "i'm called", "my full name is", "full name", "fullname", "the name is", "legal name", "named", "call me", "known as", "goes by", "signed by", "signed", "yours truly", "attn", "attention", "c/o",
    "ich heisse", "ich heise", "mein name ist", "name ist", "je m'appelle", "mon nom est", "je me nomme", "s'appelle", "me llamo", "mi nombre es", "se llama", "su nombre es", "nombre es", "mi chiamo", "il mio nome e", "si chiama", "meu nome e", "o meu nome e", "me chamo", "chamo-me", "mijn naam is", "ik heet", "nazywam sie", "mam na imie", "jmenuji se", "volam sa", "jag heter", "mitt namn ar", "jeg heter", "jeg hedder", "mit navn er", "mitt navn er", "nimeni on", "olen", "a nevem", "nevem", "ma numesc", "numele meu este", "benim adim", "adim", "ismim", "nama saya", "nama saya adalah", "ten toi la", "toi ten la", "zovem se", "ime mi je", "me lene", "jina langu ni", "ang pangalan ko ay", "ako si",
    "меня зовут", "моё имя", "мое имя", "зовут", "по имени", "мене звати", "моє ім'я", "казвам се", "με λένε", "ονομάζομαι", "το όνομά μου είναι", "我叫", "我的名字是", "我是", "本人", "他叫", "她叫", "名字是", "名字叫", "私は", "私の名前は", "名前は", "氏名は", "제 이름은", "이름은", "저는", "나는", "اسمي", "أنا اسمي", "اسمه", "اسمها", "שמי", "קוראים לי", "השם שלי", "मेरा नाम", "นามว่า", "ผมชื่อ", "ฉันชื่อ", "ดิฉันชื่อ", "ชื่อ", "আমার নাম",
)  # fmt: skip
_LABELS = Keywords(
    "name", "first name", "firstname", "last name", "lastname", "surname", "given name", "family name", "middle name", "maiden name", "mother's maiden name", "full name", "fullname", "patient", "patient name", "customer", "customer name", "client", "client name", "employee", "employee name", "account holder", "cardholder", "cardholder name", "card holder", "holder", "beneficiary", "contact", "contact person", "contact name", "emergency contact", "next of kin", "author", "authored by", "applicant", "candidate", "student", "student name", "teacher", "tenant", "landlord", "owner", "recipient", "sender", "from", "to", "cc", "bcc", "signed", "signature", "signatory", "witness", "insured", "policyholder", "policy holder", "guest", "passenger", "traveler", "traveller", "driver", "manager", "supervisor", "assignee", "assigned to", "reporter", "reviewer", "reviewed by", "approved by", "approver", "requested by", "prepared by", "submitted by", "written by", "committer", "attendee", "attendees", "participants", "present", "attending", "in attendance", "team members", "physician", "doctor", "nurse", "attending", "referring physician", "surgeon", "provider", "borrower", "buyer", "seller", "payee", "payer", "plaintiff", "defendant", "spouse", "wife", "husband", "father", "mother", "guardian", "user", "user name", "username", "display name", "displayname", "caller", "agent", "speaker", "interviewer", "interviewee", "ship to", "bill to", "deliver to", "subject", "lead", "owner name",
    "vorname", "nachname", "familienname", "vor- und nachname", "patientin", "kunde", "kundin", "kundenname", "mitarbeiter", "mitarbeiterin", "ansprechpartner", "kontakt", "inhaber", "kontoinhaber", "karteninhaber", "empfanger", "absender", "versicherter", "antragsteller", "arzt", "unterschrift", "unterzeichner", "nom", "prenom", "nom complet", "nom et prenom", "nom de famille", "titulaire", "beneficiaire", "destinataire", "expediteur", "employe", "salarie", "signataire", "medecin", "assure", "nombre", "nombres", "apellido", "apellidos", "nombre completo", "nombre y apellidos", "paciente", "cliente", "titular", "beneficiario", "destinatario", "remitente", "empleado", "firmado", "firma", "medico", "contacto", "solicitante",
    "cognome", "nome", "nome e cognome", "nome completo", "paziente", "intestatario", "dipendente", "firmato", "mittente", "sobrenome", "nome do paciente", "funcionario", "assinado", "remetente", "naam", "voornaam", "achternaam", "klant", "patient naam", "medewerker", "ondertekend", "contactpersoon", "imie", "nazwisko", "imie i nazwisko", "pacjent", "klient", "podpis", "jmeno", "prijmeni", "jmeno a prijmeni", "meno", "priezvisko", "namn", "fornamn", "efternamn", "navn", "fornavn", "etternavn", "efternavn", "nimi", "etunimi", "sukunimi", "potilas", "nev", "beteg", "nume", "prenume", "nume si prenume", "pacient", "ad", "soyad", "ad soyad", "adi soyadi", "hasta", "musteri", "nama", "nama lengkap", "pasien", "ho ten", "ho va ten", "ten", "benh nhan", "ime", "prezime", "ime i prezime",
    "имя", "фамилия", "фио", "ф.и.о", "ф.и.о.", "пациент", "клиент", "сотрудник", "получатель", "отправитель", "подпись", "контактное лицо", "владелец", "заявитель", "ім'я", "прізвище", "піб", "пацієнт", "име", "姓名", "名字", "患者", "患者姓名", "客户", "联系人", "收件人", "寄件人", "签名", "持卡人", "员工", "申请人", "氏名", "お名前", "名前", "患者名", "患者氏名", "担当者", "担当", "お客様", "署名", "이름", "성명", "성함", "환자", "환자명", "고객", "담당자", "수신자", "서명", "الاسم", "الاسم الكامل", "اسم المريض", "المريض", "العميل", "المستلم", "التوقيع", "שם", "שם מלא", "השולח", "שולח", "נמען", "איש קשר", "שם פרטי", "שם משפחה", "מטופל", "לקוח", "חתימה", "όνομα", "επώνυμο", "ονοματεπώνυμο", "ασθενής", "πελάτης", "नाम", "मरीज", "रोगी", "ग्राहक", "ผู้ป่วย", "ลูกค้า", "ชื่อ-สกุล", "ชื่อผู้ป่วย",
)  # fmt: skip
_NEEDS_TWO = frozenset(
    b"from to cc bcc user author subject owner lead contact provider agent client driver username lead holder ad ten nama manager reporter assignee speaker subject ime name naam nimi nome nom nombre navn namn nume surname".split()
) - frozenset(b"surname".split())
_GREETING = Keywords(
    "dear", "hi", "hello", "hey", "good morning", "good afternoon", "good evening", "greetings", "liebe", "lieber", "hallo", "guten tag", "sehr geehrter", "sehr geehrte", "moin", "servus", "cher", "chere", "bonjour", "bonsoir", "salut", "hola", "querido", "querida", "estimado", "estimada", "buenos dias", "caro", "cara", "ciao", "gentile", "buongiorno", "salve", "egregio", "ola", "oi", "prezado", "prezada", "bom dia", "beste", "geachte", "drogi", "droga", "szanowny", "szanowna", "czesc", "witaj", "dzien dobry", "mily", "mila", "ahoj", "hej", "kara", "kare", "hei", "moi", "kedves", "draga", "buna", "merhaba", "sevgili", "halo", "selamat pagi", "yth", "kepada", "zdravo",
    "уважаемый", "уважаемая", "дорогой", "дорогая", "здравствуйте", "привет", "шановний", "шановна", "добрый день", "αγαπητέ", "αγαπητή", "γεια σου", "亲爱的", "尊敬的", "你好", "您好", "عزيزي", "عزيزتي", "מרבא", "שלום", "प्रिय", "नमस्ते", "สวัสดี", "เรียน", "안녕하세요",
)  # fmt: skip
_CLOSING = Keywords(
    "best regards", "kind regards", "warm regards", "warmest regards", "regards", "best wishes", "best", "sincerely", "sincerely yours", "yours sincerely", "yours faithfully", "yours truly", "respectfully", "respectfully yours", "cheers", "thanks", "thank you", "many thanks", "thanks and regards", "cordially", "love", "signed", "with gratitude", "take care", "all the best", "xoxo",
    "mit freundlichen grussen", "freundliche grusse", "viele grusse", "liebe grusse", "beste grusse", "herzliche grusse", "mfg", "hochachtungsvoll", "mit besten grussen", "vg", "lg", "gruss", "grusse", "schone grusse", "cordialement", "bien cordialement", "bien a vous", "sinceres salutations", "salutations", "amicalement", "respectueusement", "bises", "saludos", "saludos cordiales", "un saludo", "atentamente", "cordialmente", "un abrazo", "atte", "cordiali saluti", "distinti saluti", "saluti", "un caro saluto", "in fede", "atenciosamente", "abracos", "cumprimentos", "com os melhores cumprimentos", "att", "met vriendelijke groet", "met vriendelijke groeten", "vriendelijke groet", "groeten", "groetjes", "hoogachtend", "mvg", "pozdrawiam", "z powazaniem", "serdecznie pozdrawiam", "s pozdravem", "s uctou", "s pozdravom", "med vanliga halsningar", "med vanlig halsning", "vanliga halsningar", "mvh", "halsningar", "med vennlig hilsen", "vennlig hilsen", "hilsen", "med venlig hilsen", "venlig hilsen", "ystavallisin terveisin", "terveisin", "t", "udvozlettel", "tisztelettel", "cu stima", "cu respect", "saygilarimla", "saygilar", "sevgiler", "iyi calismalar", "hormat kami", "salam", "hormat saya", "tran trong", "s postovanjem", "lp",
    "с уважением", "с наилучшими пожеланиями", "всего доброго", "искренне ваш", "з повагою", "с поздравом", "с уважение", "με εκτίμηση", "φιλικά", "此致", "敬礼", "此致敬礼", "谢谢", "祝好", "敬具", "よろしくお願いします", "よろしくお願いいたします", "以上", "감사합니다", "올림", "드림", "مع تحياتي", "مع خالص التحية", "تحياتي", "بتقدير", "בברכה", "בכבוד רב", "सादर", "धन्यवाद", "भवदीय", "ด้วยความเคารพ", "ขอแสดงความนับถือ", "ขอบคุณ",
)  # fmt: skip
_SEPARATOR = Pattern(
    r"[\"']{0,2}\s{0,2}(?:[:=]|=>|-|>)\s{0,3}[\"']{0,2}|[\"']{0,2}\s{0,2}\|\s{0,2}"
)
_TITLE_GAP = Pattern(
    r"\.?\s{0,2}(?:(?:dr|prof|med|phil|rer|nat|ing|dipl|jur|h\.c|doctor|doktor|professor|mag|lic)\.?\s{0,2}){0,4}",
    ignore_case=True,
)
_LINK = Pattern(
    r"(?:\s{0,2}(?:[:,\-]|is|on|er|ar|ist|es|e|to|sa|hai)?\s{0,2}[\"'*]{0,2})?", ignore_case=True
)
_BREAK = Pattern(r"[ ]{0,3}[,.!;:\-\x01]{0,3}[ ]{0,3}(?:\r?\n[ \t>]{0,8}){0,3}[-~*_\x01 ]{0,4}")
_WEAK = Keywords(
    "i am", "i'm", "this is", "speaking with", "spoke with", "spoke to", "speak to", "speak with", "talk to", "talked to", "met with", "met", "meet", "meeting with", "ask for", "asked for", "on behalf of", "contact", "written by", "created by", "reported by", "assigned to", "approved by", "reviewed by", "signed by", "co-authored-by", "married to", "daughter of", "son of", "wife of", "husband of", "wife", "husband", "colleague", "applicant", "the applicant", "claimant", "plaintiff", "defendant", "witness", "passenger", "guest", "resident", "student", "teacher", "lawyer", "contractor", "landlord", "candidate", "borrower", "policyholder", "insured", "beneficiary", "cardholder", "account holder", "mother", "father", "daughter", "son", "sister", "roommate", "my friend", "patient", "customer", "employee", "manager", "neighbor", "neighbour", "brother", "sister", "friend", "boss", "tenant", "client", "email to", "call", "called", "emailed", "tell", "told", "invite", "invited", "interview with", "interviewed", "hired", "referred by", "diagnosed", "admitted", "discharged", "treated", "prescribed", "owned by", "belongs to", "registered to", "issued to", "addressed to", "payable to", "in the name of", "account of", "name of", "care of", "survived by", "accompanied by", "transfer to", "paid to", "pay", "sent by", "sent to", "send it to", "forward to", "deliver to", "delivered to",
    "ich bin", "hier ist", "hier spricht", "je suis", "ici", "soy", "habla", "sono", "sou", "eu sou", "ik ben", "jestem", "jsem", "jag ar", "jeg er", "olen", "vagyok", "ben", "saya", "das ist", "c'est", "es", "patientin", "unsere kollegin", "unser kollege", "mein chef", "meine kollegin", "meine frau", "mein mann", "ma femme", "mon mari", "ma collegue", "mon collegue", "mi esposa", "mi marido", "mia moglie", "mio marito", "minha esposa", "meu marido", "el paciente", "la paciente", "il paziente", "la paziente", "le patient", "la patiente", "o paciente", "a paciente", "der patient", "die patientin", "pacjent", "pacjentka", "paciente", "treffen mit", "gesprochen mit", "habe mit", "rendez-vous avec", "reunion con", "avec", "con", "mit", "met", "z panem", "z pania", "med", "com",
    "я", "это", "пациент", "пациентка", "клиент", "мой начальник", "моя жена", "мой муж", "гражданин", "гражданка", "коллега", "сотрудник", "είμαι ο", "είμαι η",
)  # fmt: skip
_HONORIFIC = (
    "さん",
    "様",
    "さま",
    "君",
    "くん",
    "ちゃん",
    "氏",
    "先生",
    "殿",
    "女士",
    "小姐",
    "씨",
    "님",
    "군",
    "양",
    "선생님",
    "교수",
    "주임",
    "经理",
    "總",
    "总",
    "医生",
    "老师",
    "教授",
    "同学",
    "师傅",
    "大夫",
    "博士",
)
_HAN_STOP = "我你他她的是在了和有人们這这那您請请谢們对对于与及说給给跟为為个個名叫很"
_HANGUL_TAILS = (
    "입니다",
    "이라고",
    "라고",
    "이고",
    "이며",
    "이에요",
    "예요",
    "님",
    "씨",
    "의",
    "은",
    "는",
    "이",
    "가",
)
_WORD_STOPS = frozenset(
    {
        "है",
        "हैं",
        "و",
        "من",
        "في",
        "את",
        "ואני",
        "אני",
        "وأنا",
        "ครับ",
        "ค่ะ",
        "และ",
        "और",
        "को",
        "ने",
        "رقم",
        "المريض",
    }
)
_MAX_HAN = 4
_MAX_NAME = 160


class PersonDetector:
    """Finds names in context."""

    name = "person"

    def find(self, view: View) -> list[Span]:
        """Return name spans; see `Detector.find`."""
        spans = [
            *_titled(view),
            *_owners(view),
            *_introduced(view),
            *_labelled(view),
            *_letters(view),
            *_weak(view),
        ]
        if not view.latin_only:
            spans += _honoured(view)
        return [Span(start, end, EntityType.PERSON) for start, end in spans]


def _named(view: View, at: int, *, least: int = 1, lower: bool = False) -> tuple[int, int] | None:
    """Return the name that begins at ``at``, if one does."""
    stop = min(len(view.skeleton), at + _MAX_NAME)
    match = LAST_FIRST.at(view, at, stop) or NAME.at(view, at, stop)
    if match:
        if least > 1 and _begins_with_common(view, *match.span()):
            return None
        span = trimmed(view, *match.span())
        if (
            span
            and span[0] - at <= 12
            and len(words_of(view, *span)) >= least
            and _is_name(view, *span)
        ):
            return span
        return None
    if not view.latin_only and (match := CASELESS.at(view, at, stop)):
        return _caseless(view, *match.span())
    if lower and (match := LOWER.at(view, at, stop)):
        span = trimmed(view, *match.span())
        if span and span[0] == at:
            return span
    return None


def _begins_with_common(view: View, start: int, end: int) -> bool:
    first = words_of(view, start, end)[:1]
    return (
        bool(first) and view.skeleton[first[0][0] : first[0][1]].lower().rstrip(b".") in NOT_NAMES
    )


def _is_name(view: View, start: int, end: int) -> bool:
    """Turn down identifiers, constants and calls."""
    skeleton = view.skeleton
    after = skeleton[end : end + 2]
    if after[:1] in {b"(", b"_", b"[", b"=", b"{"} or (
        after[:1] in {b".", b":", b"/", b"@"} and after[1:2].isalnum()
    ):
        return False
    if end - start <= 3 and skeleton[start:end].isupper():
        return False
    if skeleton[start - 1 : start] in {b"_", b"@", b"$", b"#"}:
        return False
    if after[:1].isdigit():
        return False
    word = skeleton[start:end]
    inner = sum(1 for a, b in itertools.pairwise(word) if 0x61 <= a <= 0x7A and 0x41 <= b <= 0x5A)
    return inner == 0 or word[:2] in {b"Mc", b"Ma", b"De", b"Di", b"La", b"Le", b"O'", b"Van"}


def _caseless(view: View, start: int, end: int) -> tuple[int, int] | None:
    """A name in a script without case: two to four characters of Han, or up to four words."""
    first = view.text[start]
    if _is_han(first):
        return _han_name(view, start, end)
    if "\uac00" <= first <= "\ud7a3":
        return _hangul_name(view.text[start:end].split(" ")[0], start)
    keep = list(takewhile(lambda w: w not in _WORD_STOPS, view.text[start:end].split(" ")[:4]))
    size = len(" ".join(keep))
    return (start, start + size) if size >= 2 else None


def _han_name(view: View, start: int, end: int) -> tuple[int, int] | None:
    text = view.text
    stop = start
    while stop < min(end, start + _MAX_HAN) and text[stop] not in _HAN_STOP:
        if not (_is_han(text[stop]) or _is_kana(text[stop]) or text[stop] == " "):
            break
        stop += 1
    for mark in _HONORIFIC:
        if (found := text.find(mark, start + 1, stop + 2)) > 0:
            stop = min(stop, found)
    while stop > start and text[stop - 1] == " ":
        stop -= 1
    return (start, stop) if stop - start >= 2 else None


def _hangul_name(word: str, start: int) -> tuple[int, int] | None:
    tail = next((t for t in _HANGUL_TAILS if word.endswith(t) and len(word) - len(t) >= 2), "")
    size = min(len(word) - len(tail), 5)
    return (start, start + size) if size >= 2 else None


def _is_han(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff" or char == "々"


def _is_kana(char: str) -> bool:
    return "\u3040" <= char <= "\u30ff"


def _titled(view: View) -> Iterator[tuple[int, int]]:
    for start, end in _TITLES.hits(view):
        word = view.skeleton[start:end]
        if (
            word.islower()
            and word
            not in {
                b"herr",
                b"frau",
                b"mr",
                b"mrs",
                b"dr",
                b"pan",
                b"pani",
                b"signor",
                b"signora",
                b"sig",
                b"dott",
                b"don",
                b"senor",
                b"senora",
                b"monsieur",
                b"madame",
                b"mme",
                b"dhr",
                b"mevrouw",
                b"meneer",
            }
            and view.text[start].isascii()
        ):
            continue
        gap = _TITLE_GAP.at(view, end)
        at = gap.end() if gap else end
        if at == end and view.skeleton[end - 1] < 0x82 and view.text[end - 1].isascii():
            continue
        if span := _named(view, at):
            yield span


_OWNER = Pattern(
    rf"(?:^|[^{LETTER}])([{UP}][{LOW}]+)'s (?:iPhone|iPad|phone|laptop|MacBook|Mac|Android|Galaxy|Pixel|mobile|desk|birthday|wife|husband|son|daughter|mother|father|email|e-mail|account|address|number|passport|salary|diagnosis|password|medical|doctor|house|home|apartment|boss)",
    "'s",
)


def _owners(view: View) -> Iterator[tuple[int, int]]:
    for match in _OWNER.matches(view):
        if span := trimmed(view, *match.span(1)):
            yield span


def _introduced(view: View) -> Iterator[tuple[int, int]]:
    for start, end in _INTRO.hits(view):
        link = _LINK.at(view, end)
        at = link.end() if link else end
        if at < len(view.skeleton) and view.skeleton[at] == 0x20:
            at += 1
        strong = view.skeleton[start:end].lower()
        if span := _named(
            view,
            at,
            lower=not (link and {*link.group()} & {*b"\"'*"})
            and strong.endswith(
                (b"name is", b"heise", b"appelle", b"llamo", b"chiamo", b"is", b"name's")
            ),
        ):
            yield span


def _labelled(view: View) -> Iterator[tuple[int, int]]:
    for start, end in _LABELS.hits(view):
        separator = _SEPARATOR.at(view, end)
        foreign = view.skeleton[end - 1] == 0x82
        if not separator and not foreign:
            continue
        at = separator.end() if separator else end
        word = view.skeleton[start:end].lower()
        quoted = separator is not None and view.skeleton[at - 1 : at] in {b'"', b"'"}
        mark = separator.group() if separator else b""
        if (b"-" in mark and b":" not in mark) or (b"=" in mark and not quoted) or b">" in mark:
            least = 2
        else:
            least = 2 if word in _NEEDS_TWO else 1
        if start and view.skeleton[start - 1 : start] in {b"-", b"_", b"."} and least == 1:
            least = 2
        if span := _named(view, at, least=least):
            yield span
            yield from _listed(view, span[1])


def _listed(view: View, end: int) -> Iterator[tuple[int, int]]:
    """More names after a first one: ``Attendees: Jane Roe, John Doe and Max Mustermann``."""
    for _ in range(12):
        match = _AND.at(view, end)
        span = _named(view, match.end(), least=2) if match else None
        if span is None:
            return
        yield span
        end = span[1]


_AND = Pattern(r",? (?:and|und|et|y|e|en|og|och|i|и) |[,;] ")


def _letters(view: View) -> Iterator[tuple[int, int]]:
    for _, end in _GREETING.hits(view):
        gap = (
            end + 1
            if view.skeleton[end : end + 1] == b" "
            else end + 2
            if view.skeleton[end : end + 2] == b", "
            else 0
        )
        span = _named(view, gap) if gap else None
        if span and (
            len(words_of(view, *span)) > 1
            or view.skeleton[span[1] : span[1] + 1]
            in {b",", b"!", b"\n", b"", b":", b".", b";", b"-"}
            or view.skeleton[span[1] : span[1] + 2] == b" -"
        ):
            yield span
    for start, end in _CLOSING.hits(view):
        match = _BREAK.at(view, end)
        if not match or match.end() == end:
            continue
        mark = match.group()
        if b"\n" not in mark and b"," not in mark and b"-" not in mark:
            continue
        span = _named(view, match.end())
        if span is None or (
            start and view.skeleton[start - 1 : start] not in {b"\n", b" ", b".", b"\t", b'"'}
        ):
            continue
        line = view.skeleton[span[1] : span[1] + 2]
        if b"\n" in mark or line[:1] in {b"", b"\n", b".", b",", b"\r", b'"'}:
            yield span


def _weak(view: View) -> Iterator[tuple[int, int]]:
    """Two words or more, neither of them common, after words that often announce a person."""
    for start, end in _WEAK.hits(view):
        gap = (
            1
            if view.skeleton[end : end + 1] == b" "
            else 2
            if view.skeleton[end : end + 2] == b", "
            else 0
        )
        if not gap:
            continue
        word = view.skeleton[start:end].lower()
        if word in _SMALL:
            continue
        span = _named(view, end + gap, least=2)
        if (
            span
            and len(words_of(view, *span)) <= 4
            and not view.skeleton[span[0] : span[1]].isupper()
        ):
            yield span


_SMALL = frozenset(
    b"es con mit met med com ben saya avec ici z contact call pay tell meet client sou".split()
) | {"я".encode("cp1251"), "это".encode("cp1251")}


def _honoured(view: View) -> Iterator[tuple[int, int]]:
    """Names in Han, kana or Hangul before a word of respect: 田中さん, 王先生, 김철수 씨."""
    text = view.text
    for mark in _HONORIFIC:
        at = text.find(mark)
        while at >= 0:
            stop = at - 1 if at and text[at - 1] == " " else at
            start = stop
            hangul = stop > 0 and "\uac00" <= text[stop - 1] <= "\ud7a3"
            while (
                start > 0
                and stop - start < (5 if hangul else 6)
                and (
                    "\uac00" <= text[start - 1] <= "\ud7a3"
                    if hangul
                    else (_is_han(text[start - 1]) and text[start - 1] not in _HAN_STOP)
                )
            ):
                start -= 1
            if (2 if hangul else 1) <= stop - start <= (4 if hangul else 5):
                yield start, stop
            at = text.find(mark, at + 1)
