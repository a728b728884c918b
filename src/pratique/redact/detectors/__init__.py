"""The registry of detectors: one file each, named here or not run.

To add one: write ``redact/detectors/NAME.py`` with a class that has ``name`` and ``find(view)``
(see `pratique.redact.types.Detector`), its tests, and a line below.
"""

from pratique.redact.detectors.address import AddressDetector
from pratique.redact.detectors.birth import BirthDetector
from pratique.redact.detectors.card import CardDetector
from pratique.redact.detectors.cookie import CookieDetector
from pratique.redact.detectors.crypto import CryptoDetector
from pratique.redact.detectors.email import EmailDetector
from pratique.redact.detectors.gazetteer import GazetteerDetector
from pratique.redact.detectors.iban import IbanDetector
from pratique.redact.detectors.ip import IpDetector
from pratique.redact.detectors.keys import KeyDetector
from pratique.redact.detectors.mac import MacDetector
from pratique.redact.detectors.medical import MedicalDetector
from pratique.redact.detectors.national import NationalDetector
from pratique.redact.detectors.passport import PassportDetector
from pratique.redact.detectors.password import PasswordDetector
from pratique.redact.detectors.person import PersonDetector
from pratique.redact.detectors.phone import PhoneDetector
from pratique.redact.detectors.table import TableDetector
from pratique.redact.detectors.url import UrlDetector
from pratique.redact.types import Detector


def registered(*, gazetteer: bool = True) -> tuple[Detector, ...]:
    """Return the detectors that run, each made anew."""
    always: tuple[Detector, ...] = (
        UrlDetector(),
        CookieDetector(),
        KeyDetector(),
        PasswordDetector(),
        EmailDetector(),
        IpDetector(),
        MacDetector(),
        IbanDetector(),
        CardDetector(),
        CryptoDetector(),
        NationalDetector(),
        PassportDetector(),
        MedicalDetector(),
        BirthDetector(),
        TableDetector(),
        PhoneDetector(),
        AddressDetector(),
        PersonDetector(),
    )
    return (*always, GazetteerDetector()) if gazetteer else always
