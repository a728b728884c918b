"""Medical record, patient and health insurance numbers.

The rule: numbers with a form of their own (US Medicare, NHS with its checksum) are taken where
they stand near health words or in full form; others need the word that announces them.
"""

from stdnum.gb import nhs

from pratique.redact.pattern import Keywords, Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_WORDS = Keywords(
    "mrn", "medical record", "medical record number", "medical record no", "medical record #", "med rec", "medical number", "medical id", "patient id", "patient number", "patient no", "patient identifier", "patient #", "patient file", "patient record", "hospital number", "hospital no", "hospital id", "hospital record", "chart number", "chart no", "chart #", "chart", "case file", "health record", "health record number", "ehr", "emr", "encounter number", "encounter id", "admission number", "admission no", "visit number", "accession number", "specimen id",
    "nhs", "nhs number", "nhs no", "chi number", "hsc number", "medicare", "medicare number", "medicare id", "mbi", "hicn", "medicaid", "medicaid id", "health card", "health card number", "ohip", "health insurance", "health insurance number", "health insurance id", "insurance id", "insurance member id", "member id", "member number", "member no", "health plan", "plan number", "insurance number", "insurance policy number", "subscriber id", "beneficiary id", "phn", "personal health number", "ihi", "dva", "health id", "nhi", "nhi number", "dea", "dea number", "rx number", "prescription number", "rx", "npi",
    "patientennummer", "patienten nr", "patienten id", "patientenakte", "patienten-nr", "fallnummer", "aktenzeichen der klinik", "krankenaktennummer", "krankenakte", "versichertennummer", "krankenversicherungsnummer", "krankenversichertennummer", "kvnr", "versicherten nr", "krankenkasse", "krankenkassennummer", "versichertennr", "kassennummer", "e-card",
    "dossier medical", "numero de dossier", "numero de dossier medical", "numero patient", "numero de patient", "ipp", "carte vitale", "ins", "assurance maladie", "ramq", "numero d'assure", "historia clinica", "numero de historia clinica", "numero de historia", "nhc", "numero de paciente", "expediente medico", "expediente clinico", "tarjeta sanitaria", "cip", "numero de afiliacion", "nuss", "cartella clinica", "numero cartella", "numero cartella clinica", "numero paziente", "codice paziente", "codice sanitario",
    "prontuario", "numero do prontuario", "prontuario medico", "cartao nacional de saude", "cns", "sus", "cartao sus", "numero de utente", "utente", "processo clinico", "patientnummer", "patientnr", "dossiernummer", "patientendossier", "zorgnummer", "polisnummer", "journalnummer", "journalnr", "patientjournal", "potilasnumero", "potilastunnus", "numer pacjenta", "karta pacjenta", "historia choroby", "numer historii choroby", "numer kartoteki", "cislo pacienta", "hasta no", "hasta numarasi", "dosya no", "protokol no", "nomor rekam medis", "rekam medis", "bpjs", "ma benh nhan", "so benh an", "cislo pojistence", "dosar medical", "fisa pacient",
    "медкарта", "медицинская карта", "номер медкарты", "медицинской карты", "история болезни", "истории болезни", "полис омс", "омс", "номер полиса", "пациент №", "амбулаторная карта", "медична картка", "病历号", "门诊号", "医保卡号", "社保号", "挂号", "健保卡號", "病歷號", "病案号", "就诊卡号", "患者编号", "病历", "住院号", "患者番号", "診察券番号", "カルテ番号", "カルテ", "保険証番号", "被保険者番号", "患者id", "患者ID", "환자번호", "차트번호", "등록번호", "건강보험", "의무기록번호", "رقم الملف الطبي", "رقم المريض", "الملف الطبي", "السجل الطبي", "מספר תיק רפואי", "תיק רפואי", "מספר מטופל", "αριθμός φακέλου", "αρ. μητρώου", "रोगी संख्या", "मरीज", "เลขที่ผู้ป่วย", "HN",
)  # fmt: skip
_NUMBER = Pattern(
    r"[\s:.#=\-()\[\]\"'\x01\x82\x85>/|*]{0,8}(?:(?:is|was|ist|lautet|est|es|e|jest|number|no|nr|num|nummer|numero|n|id|identifier|file|record|code|for|is:|on file|n\.|nro|номер|на|:)[\s:.#=\-\"'\x01]{1,4}){0,4}"
    r"([A-Z0-9]{0,8}[\-/_.#]?[A-Z]{0,4}[\-/_ ]?\d[A-Z0-9]*(?:[\-/._ ][A-Z]{0,4}\d[A-Z0-9]*)*(?:[\- ][A-Z]{1,3})?)(?:[^A-Za-z0-9]|$)",
    ignore_case=True,
)
_GAP = Pattern(
    r"[^\n\d\]]{0,28}?[^A-Za-z0-9]([A-Z]{0,5}[\-/]?\d[A-Z0-9]*(?:[\-/ ]\d[A-Z0-9]*)*)(?:[^A-Za-z0-9]|$)"
)
_MARKED = Pattern(
    r"(?:^|[^A-Za-z0-9])((?:MRN|PAT|PID|HN|EMR|EHR|NHI|UHID|MED|PT)[\-_#/]{1,2}[A-Z]{0,3}-?\d[A-Z0-9\-]{4,14})(?:[^A-Za-z0-9]|$)",
    ignore_case=True,
)
_MBI = Pattern(
    r"(?:^|[^A-Za-z0-9\-])([1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y]{2}\d{2})(?:[^A-Za-z0-9\-]|$)"
)
_NHS = Pattern(r"(?:^|[^A-Za-z0-9\-.])(\d{3}[ ]\d{3}[ ]\d{4})(?:[^A-Za-z0-9\-]|$)")
_REACH = 90
_MIN_DIGITS = 4
_MAX_SIZE = 28


class MedicalDetector:
    """Finds numbers of patients."""

    name = "medical"

    def find(self, view: View) -> list[Span]:
        """Return number spans; see `Detector.find`."""
        spans = [m.span(1) for p in (_MBI, _MARKED) for m in p.matches(view)]
        spans += [
            m.span(1)
            for m in _NHS.matches(view)
            if nhs.is_valid(m.group(1).decode("ascii")) and _WORDS.near(view, *m.span(1))
        ]
        for start, end in _WORDS.hits(view):
            if start and chr(view.skeleton[start - 1]).isdigit():
                continue  # two letters in a digest
            if span := _announced(view, end):
                spans.append(span)
        return [Span(start, end, EntityType.MEDICAL_ID) for start, end in spans]


def _announced(view: View, end: int) -> tuple[int, int] | None:
    limit = min(len(view.skeleton), end + _REACH)
    for pattern in (_NUMBER, _GAP):
        match = pattern.at(view, end, limit)
        if not match:
            continue
        start, stop = match.span(1)
        token = match.group(1)
        digits = sum(0x30 <= c <= 0x39 for c in token)
        if digits < _MIN_DIGITS or len(token) > _MAX_SIZE or _is_date(token):
            continue
        tail = token.rpartition(b" ")[2]
        if b" " in token and tail.isalpha() and not tail.isupper():
            stop -= len(tail) + 1
        return start, stop
    return None


def _is_date(token: bytes) -> bool:
    parts = token.replace(b"/", b"-").replace(b".", b"-").split(b"-")
    return (
        len(parts) == 3
        and all(p.isdigit() for p in parts)
        and sorted(map(len, parts)) in ([2, 2, 4], [1, 2, 4], [1, 1, 4])
    )
