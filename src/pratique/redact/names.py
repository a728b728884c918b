"""The shape of people's names, shared by the detectors that look for them.

The rule: a name is a run of capitalised words, initials and the small words that join them;
words that only look like names (days, teams, products) are cut off.
"""

from pratique.redact.pattern import Pattern
from pratique.redact.skeleton import LETTER, LOW, UP
from pratique.redact.view import View

_CAP = rf"[{UP}][{LETTER}]*(?:['\-][{LETTER}]+)*"
_MORE = rf"[{LETTER}]*(?:['\-][{LETTER}]+)*"
_INITIAL = rf"[{UP}]\."
_JOIN = r"(?:van|von|vom|de|der|den|del|della|dello|degli|di|da|do|dos|das|du|des|la|las|los|le|el|al|bin|ibn|bint|binti|ben|bat|abu|abd|zu|zum|zur|ter|ten|te|af|av|y|e|van der|van den|van de|de la|de los|de las|von der|della)"
_WORD = rf"(?:{_CAP}|{_INITIAL})"
NAME = Pattern(
    rf"{_WORD}(?:(?:[ ]{{1,2}}|-)(?:(?:{_JOIN}|[dl]')[ ]?){{0,3}}{_WORD}){{0,5}}(?:,? (?:Jr|Sr|PhD|MD|II|III|IV)\b\.?)?"
)
LAST_FIRST = Pattern(
    rf"{_CAP}(?:[ \-]{_CAP})?, [{UP}][{LOW}]{_MORE}(?: (?:{_CAP}|{_INITIAL})){{0,2}}"
)
LOWER = Pattern(rf"[{LOW}][{LETTER}'\-]+(?: [{LOW}][{LETTER}'\-]+){{0,2}}")
CASELESS = Pattern(r"[\x82][\x82'\-]*(?: [\x82][\x82'\-]*){0,3}")
_PIECE = Pattern(rf"[{LETTER}]+(?:['\-][{LETTER}]+)*\.?")

# Capitalised words that begin or end a run but belong to no name.
NOT_NAMES = frozenset(
    b"""a about access account accounts action address admin administration administrator after agent ai air all also am an and answer any api app april are area as ask assistant at august author automatic bank
    base be before best big black block board bot box branch build building bus business but by call campus can card care case center central centre chair change chapter check chief church city class client cloud club co code college colleague colleagues
    come commit committee community company computer conference contact control core corp corporation council country county court create customer customers daily data database date day days dear debian december default delete department deploy desk dev
    developer developers development device did dir director directory do doc docker docs does don down east edit editor email employee engine engineer engineering english enter error estate europe european event every everybody everyone example
    fast february federal field figure file files final find fire first fix flight floor folks food for foundation founder france free french friday friend friends from fund further game general german germany get git given global gmbh go good google got government great green
    group guest guide had hall happy has have he head health hello help her here hi high him his home hospital host hotel house how human i id if image important in inc info information inn input inside install institute internal international internet invoice is island issue it its
    january job join july june just key kind kindly king know lab label lake language large last later learning left legal let level library license light like limited line link linux list little live load local log login long look ltd
    madam mail main make man manager many march market master may maybe me meeting member memory merge message microsoft minister ministry mode model monday month more morning most mountain mr mrs ms museum my name national need network new news next night no north not note november now
    number object october of off office officer ok on once one online only open operator or order organization other our out over page parent park part partner party patient payment people person phone plan platform play please point police policy port post president press price private problem process product
    professor program project public python queen question quick read ready real red regards release remote reply report request research response rest return review right river road room root run safe said same san saturday save say school science script search second secretary section security see
    sell send senior september server service services session set she shop should show sign since sincerely single sir site small so society software some somebody someone something south space special sql staff standard start state states station status step still stop store street student students subject such sunday support system
    table take team teams tech technical technology tell test text than thank thanks that the their them then there these they thing think this those three thursday time title to today token tomorrow too tool total town trade train training transfer tree true try tuesday two type ubuntu union united university unix up update upon us use user users using valley value version very
    via video view visit was water way we web website wednesday week welcome well were west what when where which white who whom why wifi will windows with without word work worker workers world would year yes yesterday york you your yours zone
    mama papa mom dad sirs hr it qa ceo cto cfo kunde kunden kundin damen herren team kollegen alle zusammen client clients cliente clientes equipe equipo tous toutes madame monsieur senor senora signore herr frau und oder ich wir sie ihr bitte danke mit fur der die das ein eine est et je nous vous merci bonjour hallo hola buenos estimado estimada gracias por favor
    beach river falls bay hills bridge airport springs heights valley creek mountain peninsula harbor canyon desert ocean sea gulf strait kingdom empire dynasty stadium square avenue metro cathedral castle palace airlines motors labs systems technologies software solutions industries academy orchestra theatre theater cup league award prize day effect theorem lemma algorithm distribution process method equation constant matrix transform filter tree sort search protocol license licence standard edition pro plus mini ultra max lite studio code suite enterprise premium ruby java javascript typescript linux windows macos android iphone ipad chrome firefox safari oracle redis kafka jenkins docker kubernetes lambda
    mrn dob ssn iban tel email fax nhs dni nie cpf pin otp url http https json xml sql csv pdf usa uk eu
    into onto santa claus kong star wars episode management vlan rfc
    hiring recruiter recruitment committee whoever concern occupant resident homeowner subscriber valued""".split()
)


_JOINS = frozenset(
    b"van von vom de der den del della dello degli di da do dos das du des la las los le el al bin ibn bint binti ben bat abu abd zu zum zur ter ten te af av y e i".split()
)
_ARTICLES = frozenset(
    b"le la les el los las il lo gli der die das den dem de het een un une uno una".split()
)
ALSO_NAMES = frozenset(
    b"an so le hai ho my may king church hall park young long black white green brown rich march price west north day page field wood woods stone bush hill rose little good small key bell banks marks jenkins max".split()
)


def trimmed(view: View, start: int, end: int) -> tuple[int, int] | None:
    """Cut off words at both ends that belong to no name; None when nothing is left."""
    pieces = [m.span() for m in _PIECE.regexp.finditer(view.skeleton, start, end)]
    words = [view.skeleton[a:b].rstrip(b".").lower() for a, b in pieces]
    if words and words[0] == b"the":
        return None
    first = 0
    while first < len(words) and words[first] in NOT_NAMES:
        first += 1
    last = first
    while last < len(words) and (
        words[last] not in NOT_NAMES
        or (last > first and (words[last] in ALSO_NAMES or words[last] in _JOINS))
    ):
        last += 1
    while (
        last > first
        and words[last - 1] in _JOINS
        and view.skeleton[pieces[last - 1][0] : pieces[last - 1][0] + 1].islower()
    ):
        last -= 1
    if first == last or (last - first == 1 and words[first] in _ARTICLES):
        return None
    stop = pieces[last - 1][1]
    if view.skeleton[stop - 1 : stop] == b"." and stop - pieces[last - 1][0] > 3:
        stop -= 1
    return pieces[first][0], stop


def words_of(view: View, start: int, end: int) -> list[tuple[int, int]]:
    """Return where the words of a run stand."""
    return [m.span() for m in _PIECE.regexp.finditer(view.skeleton, start, end)]
