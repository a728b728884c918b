"""Words and forms of postal addresses.

The rule: patterns only; what a match is worth is decided in `pratique.redact.detectors.address`.
"""

from pratique.redact.pattern import Keywords, Pattern
from pratique.redact.skeleton import LETTER, UP

CAP = rf"[{UP}][{LETTER}'\-]*\.?"
_ANY = rf"[{LETTER}][{LETTER}'\-]*\.?"
_NO = r"\d{1,5}(?:\s?[A-Za-z](?:[^A-Za-z]|$))?"
_EN = "Street|St|Avenue|Ave|Av|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Square|Sq|Terrace|Ter|Way|Parkway|Pkwy|Circle|Cir|Highway|Hwy|Crescent|Cres|Close|Grove|Gardens|Row|Mews|Trail|Trl|Alley|Plaza|Loop|Run|Pike|Turnpike|Crossing|Xing|Path|Walk|Broadway|Quay|Esplanade|Parade|Hill|Rise|View|Ridge|Heights|Point|Bend|Cove|Green|Meadow|Meadows|Park|Pass|Route|Mall|Station|Village|Manor|Springs|Field|Fields|Forest|Estate|Estates|Island|Isle|Junction|Key|Knoll|Lake|Landing|Loaf|Lodge|Mill|Mission|Motorway|Mount|Mountain|Neck|Orchard|Oval|Overpass|Port|Prairie|Radial|Ramp|Ranch|Rapid|Rest|River|Shoal|Shore|Skyway|Spur|Stravenue|Stream|Summit|Throughway|Trace|Track|Trafficway|Tunnel|Underpass|Union|Valley|Viaduct|Ville|Vista|Wells|Glen|Glens|Ford|Fork|Fort|Freeway|Garden|Gateway|Harbor|Haven|Hollow|Inlet|Cape|Causeway|Center|Cliff|Club|Common|Corner|Course|Creek|Curve|Dale|Dam|Divide|Expressway|Extension|Fall|Falls|Ferry|Flat|Bayou|Beach|Bluff|Bottom|Branch|Bridge|Brook|Burg|Bypass|Camp|Canyon|Crest|Crossroad|Forge|Land|Light|Lock|Passage|Pine|Plain|Rue|Marg|Nagar|Chowk|Bagh"
WEAK_EN = frozenset(
    b"av run view point pass key port union rest track trace branch center club course curve fall falls fork forest fort gateway route station lake light mission bridge camp common extension flat bottom path tunnel walk loop stream summit field fields plaza row circle mount mountain green park hill ford burg ville village dam ramp range divide junction inlet island corner cape valley way drive square place close crest crossroad forge land light lock passage pine plain rue".split()
)
NUMBER_FIRST = Pattern(
    rf"(\d{{1,6}}(?:[A-Za-z]|\s?[\-/]\s?\d{{1,4}}[A-Za-z]?|\s1/2)?),?\s{{1,2}}(?:(?:[NSEW]|N\.?[EW]|S\.?[EW]|North|South|East|West)\.?\s)?"
    rf"((?:(?:{CAP}|\d{{1,3}}(?:st|nd|rd|th|ST|ND|RD|TH)|of|the)\s){{0,4}}?(?:{CAP}|\d{{1,3}}(?:st|nd|rd|th|ST|ND|RD|TH)))\s({_EN})s?(?:[^{LETTER}]|$)"
    rf"(?:\.?\s?(?:[NSEW]|N\.?[EW]|S\.?[EW]|North|South|East|West|Central)(?:[^{LETTER}]|$))?"
)
BROADWAY = Pattern(
    rf"\d{{1,5}}\s(?:Broadway|Piccadilly|Strand|Whitehall|Cheapside)(?:[^{LETTER}]|$)"
)
FR = Pattern(
    rf"\d{{1,4}}(?:\s?(?:bis|ter|quater|[A-D]))?,?\s{{1,2}}(?:rue|avenue|av\.?|ave|boulevard|boul|bd|blvd|place|pl|chemin|ch|impasse|imp|allees?|quai|cours|route|rte|square|passage|ruelle|residence|sentier|faubourg|fg|esplanade|villa|cite|lotissement|montee|voie|rond-point|promenade|hameau|cour|via|rue)\.?"
    rf"\s(?:(?:de|du|des|de la|de l'|d'|l'|la|le|les|aux|au|a|en|sur|sous|saint|sainte)\s?){{0,3}}{_ANY}(?:\s(?:(?:de|du|des|la|le|les|et|en|l'|d'|sur|sous)\s?){{0,3}}[{UP}0-9][{LETTER}0-9'\-]*){{0,4}}",
    "ru",
    "av",
    "b",
    "pl",
    "ch",
    "imp",
    "al",
    "q",
    "co",
    "r",
    "s",
    "pas",
    "f",
    "v",
    "m",
    "l",
    "h",
    "e",
    "cit",
    "p",
    ignore_case=True,
)
TYPE_FIRST = Pattern(
    rf"(?:^|[^{LETTER}])((?:calle|c/|cl\.|avda?\.?|avenida|av\.|plaza|plza|pza\.?|paseo|p\.?o\s|pso|carrera|cra\.?|kr|carretera|ctra\.?|camino|ronda|travesia|calzada|blvd\.?|boulevard|callejon|jiron|jr\.|pasaje|urb\.?|urbanizacion|colonia|col\.|carrer|passeig|rambla|placa|via|viale|v\.le|piazza|p\.za|piazzale|corso|c\.so|largo|vicolo|strada|contrada|lungomare|borgo|galleria|salita|rua|r\.|travessa|praca|pca|alameda|al\.|estrada|rodovia|quadra|ladeira|beco|largo|ul\.|ulica|aleja|aleje|os\.|osiedle|pl\.|plac|str\.|strada|bulevardul|bd\.|calea|sos\.|soseaua|aleea|intrarea|splaiul|jl\.|jalan|jln|gang|gg\.|lorong|duong|pho|so nha|ulice|nam\.|namesti|trida|tr\.|namestie|cesta|trg|bulevar|rr\.|rruga|улица|улицы|улице|ул\.|ул|проспект|пр-т|пр-кт|просп\.?|пр\.|переулок|пер\.|набережная|наб\.|шоссе|ш\.|бульвар|б-р|площадь|пл\.|проезд|вул\.|вулиця|провулок|пров\.|бул\.|жк|микрорайон|мкр\.?|barrio|sector|phase|block|plot|house|flat|canada de|canada del|glorieta|pasadizo|acceso|vial|cuesta|peatonal|cerrada|circunvalacion|privada|viaducto|prolongacion|andador|retorno|periferico|fazenda|sitio|chacara|condominio|conjunto|residencial|loteamento|morro|parque|recanto|setor|trevo|vereda|viela|vila|nucleo|favela|ladeira|esplanada|lagoa|jardim|chemin|rotonda|stretto|canale|incrocio)"
    rf"\s{{0,2}}[^\n;:|<>{{}}=@\"]{{2,60}}?[,\s]\s{{0,2}}(?:n[o.]?\.?\s?|nr\.?\s?|no[.:]?\s?|num\.?\s?|numero\s|#\s?|д\.?\s?|дом\s|буд\.?\s?|bl\.?\s?|lt\.?\s?)?\d{{1,5}}(?:[\-/.]\d{{1,5}})?(?:\s?[A-Za-zА-яа-я](?:[^{LETTER}]|$))?)".replace(
        "А-яа-я", r"\xC0-\xFF"
    ),
    ignore_case=True,
)
COMPOUND = Pattern(
    rf"((?:(?:{CAP}|am|an der|an|auf|im|in der|zum|zur|alte|neue|de|van|den|der|het)\s){{0,3}}[{UP}][{LETTER}\-]*(?:str(?:as+e|\.|asse)?|gasse|weg|platz|allee|damm|ufer|ring|steig|chaussee|stieg|graben|markt|hof|berg|wall|kamp|pfad|promenade|straat|gracht|laan|plein|kade|dijk|singel|steeg|dreef|hof|gatan|gata|gatu|gaten|vagen|vag|veien|vei|vegen|gate|gade|vej|vaenget|alle|torv|torg|torget|katu|tie|kuja|polku|tori|bulevardi|utca|ut|utja|ter|tere|krt|korut|setany|strasze))\s{{1,2}}(\d{{1,4}}(?:\s?[\-/]\s?\d{{1,4}})?\s?(?:[a-zA-Z](?:\s\d{{1,3}})?(?:[^{LETTER}]|$))?)"
)
SPLIT = Pattern(
    rf"((?:{CAP}\s){{1,3}}(?:Strase|Strasse|Str\.|Weg|Gasse|Platz|Allee|Damm|Ufer|Ring|Gate|Gade|Vej|Vei|gate|gade|vei|vej|gata|vag|Gata|katu|tie|utca|u\.|ut|ter|korut|krt\.|fasor|Caddesi|Cad\.|Cd\.|Caddesi,|Sokak|Sokagi|Sok\.|Sk\.|Bulvari|Blv\.|Mahallesi|Mah\.|Street|Road|Lane|Avenue|straat|laan|plein|namesti|namestie|nam\.|ulice|trida|tr\.|ulica|cesta|trg|ulita|bulevar|aleja|katu|tanav|iela|gatve|utja),?\s{{1,2}}(?:[^\n\d]{{0,30}}(?:No|no|Nr|nr)[:.]?\s?)?\d{{1,5}}(?:\s?[\-/]\s?\d{{1,4}})?\s?(?:[a-zA-Z](?:[^{LETTER}]|$))?)"
)
PREPOSED = Pattern(
    rf"((?:Am|An der|An den|Auf der|Auf dem|Im|In der|In den|Zum|Zur|Unter den|Unter der|Hinter der|Vor dem|Bei der|Beim|Alter|Alte|Neuer|Neue|Grosse|Kleine|Obere|Untere|Lange)\s(?:{CAP}\s){{1,2}}\d{{1,4}}\s?[a-z]?),?\s\d{{4,5}}\s{CAP}"
)
BOX = Pattern(
    rf"(?:^|[^{LETTER}])((?:p\.?\s?o\.?\s?box|post office box|po box|postfach|boite postale|b\.?p\.|bp|cs|apartado(?: de correos| postal)?|apdo\.?(?: postal)?|casella postale|c\.p\.|caixa postal|postbus|postboks|box|pl|skrytka pocztowa|p\.?k\.?|gpo box|private bag|locked bag|casilla|а/я|абонентский ящик|postilokero)\s{{1,2}}(?:no\.?\s?|n\.?\s?)?#?\d{{2,6}}(?:[\- ]\d{{2,4}}){{0,3}})(?:[^0-9]|$)",
    "box",
    "post",
    "b",
    "apartado",
    "apdo",
    "cas",
    "caixa",
    "c",
    "pl",
    "skrytka",
    "p",
    "bag",
    "а",
    ignore_case=True,
)
POST = r"(?:[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}|[A-Z]\d[A-Z]\s?\d[A-Z]\d|\d{5}-\d{4}|\d{5}-?\d{3}|\d{2}-\d{3}|\d{3}\s\d{2}|\d{4}-\d{3}|\d{4}\s?[A-Z]{2}(?:[^A-Za-z]|$)|(?:[A-Z]{1,2}-)?\d{4,6}|[A-Z]{3}\s?\d{4}|\d{3}-\d{4}|Eircode\s)"
UNIT = Pattern(
    r"[,\s]{1,3}\d{1,2}[oa]\.?\s?(?:[a-z]|izda|izq|dcha|dta|esq|dir)?\.?(?:[,\s]|$)|[,\s]{0,3}(?:-\s)?(?:apt|apartment|apto|appt|app|suite|ste|unit|flat|floor|fl|room|rm|bldg|building|block|blk|#|wohnung|whg|piso|puerta|pta|planta|escalera|esc|bajo|interno|int|scala|bloco|bl|andar|casa|cs|etage|etg|stock|og|bus|bte|boite|batiment|bat|esc|m|lok|lgh|tv|th|daire|d|kat|k|no|ap|et|sc|кв|квартира|корп|корпус|к|стр|офис|оф|эт|под|пом|д|дом|tower|level|dept|depto|lot|lt|bsn|rt|rw|phong|tang|dpto|local|lote|manzana|mz|of|oficina|edificio|edif)\.?:?\s{0,2}#?[A-Za-z]?[\-]?\d{1,5}[A-Za-z0-9]{0,2}[o]?(?:\s?(?:floor|fl|piso|etage|andar|og|izq|dcha|kat|stock))?\.?(?:[,\s]|$)",
    ignore_case=True,
)
_TOWN = rf"[{UP}][{LETTER}'\-.]*(?:(?:\s|-|/)(?:(?:de|del|della|di|da|do|dos|das|du|la|le|les|los|las|el|am|an|der|den|im|in|of|on|upon|the|sur|sous|en|les|ob|bei|v|pod|nad|nam|i|y|e|g\.|г\.)\s){{0,3}}[{UP}][{LETTER}'\-.]*){{0,3}}"
_LAZY_TOWN = _TOWN.removesuffix("{0,3}") + "{0,3}?"
SEGMENTS = (
    # Streets named after a day: plac 3 Maja 26, Calle 20 de Noviembre 5.
    Pattern(rf"\s(?:de\s)?{CAP}\s\d{{1,4}}(?:/\d{{1,4}})?(?:,|\n|$)"),
    Pattern(rf"(?:,\s{{0,3}}|\s){_TOWN}\s?[\-–]\s?\d{{6}}(?:[^0-9]|$)"),
    Pattern(
        rf"(?:,\s{{0,3}}|\n\s{{0,4}}|\s[\-/]\s|\s){_LAZY_TOWN}(?:,|\s[\-–])?\s{{1,2}}(?:[A-Z]{{2,3}},?\s{{1,2}})?{POST}"
    ),
    Pattern(
        rf"[,\s]{{0,3}}(?:-\s)?(?:г\.|город|м\.|с\.|пос\.|обл\.|kec\.|kel\.|kab\.|kota|dist\.?|distrito|district)\s?{_TOWN}",
        ignore_case=False,
    ),
    Pattern(
        rf"(?:,?\s{{1,3}}|,)(?:[\-–]\s)?{POST}(?:\s{{1,2}}{_TOWN}(?:\s\d{{1,2}})?)?(?:\s(?:Cedex|CEDEX)(?:\s\d{{1,2}})?)?(?:\s[A-Z]{{1,2}}(?:[^{LETTER}]|$))?"
    ),
    Pattern(
        rf"(?:,\s{{0,3}}|\n\s{{0,4}}|\s[\-/]\s|\s?/)(?:{_TOWN})(?:,?\s{{1,2}}{POST}|,?\s{{1,2}}\(?[A-Z]{{2,3}}\)?,?\s{{1,2}}{POST}|,?\s{{1,2}}\(?[A-Z]{{2,3}}(?:\)|[^A-Za-z0-9]|$))?"
    ),
    Pattern(rf"\s{_TOWN},?\s{{1,2}}[A-Z]{{2,3}}[,\s]{{1,2}}{POST}"),
    Pattern(rf"\s{_TOWN},?\s{{1,2}}{POST}"),
    Pattern(r"\s\([A-Z]{2}\)"),
)
MAX_SEGMENTS = 7
MAX_LINE = 176
STOP = frozenset(
    b"please call phone tel email the this that i we my his her he she it and or but if when dob born date name patient ssn fax mobile contact ask thanks thank best regards sincerely delivery deliver send bitte telefon und tel. mail e-mail for from with mon tue wed thu fri sat sun january february march april june july august september october november december geboren ne nee fecha nacido dni next please, our your they you order account card iban can is was will invoice mr mrs ms dr herr frau customer ref".split()
)
LABEL = Keywords(
    "address", "home address", "mailing address", "postal address", "street address", "shipping address", "billing address", "delivery address", "residential address", "current address", "lives at", "living at", "live at", "resides at", "residing at", "reside at", "residence", "located at", "ship to", "deliver to", "send it to", "mail to", "delivered to", "shipped to", "move to", "moved to", "addr",
    "adresse", "anschrift", "wohnhaft in", "wohnhaft", "wohnt in der", "wohnt in", "wohne in der", "wohne", "lieferadresse", "rechnungsadresse", "wohnadresse", "postanschrift", "adresse postale", "domicile", "domicilie", "demeurant", "demeurant au", "habite au", "habite", "j'habite au", "residant au", "direccion", "domicilio", "vive en", "vivo en", "con domicilio en", "residente en", "indirizzo", "residente in", "abita in", "abito in", "residenza", "endereco", "morada", "reside na", "mora na", "moro na", "residente na", "adres", "woonachtig", "woont op", "woon op", "adres zamieszkania", "zamieszkaly", "zamieszkala", "mieszka przy", "mieszkam przy", "adresa", "bydliste", "trvale bydliste", "adress", "bostadsadress", "osoite", "kotiosoite", "lakcim", "cim", "alamat", "dia chi", "ikamet adresi", "adresi", "bor pa", "bor i", "asuu osoitteessa",
    "адрес", "адресу", "проживает", "проживающий", "проживаю", "живёт", "живу", "прописан", "адреса", "мешкає", "地址", "住址", "住所", "お届け先", "送付先", "주소", "거주지", "배송지", "العنوان", "عنوان", "يسكن في", "כתובת", "גר ברחוב", "διεύθυνση", "पता", "ที่อยู่", "ঠিকানা",
)  # fmt: skip
NOT_POSTAL = Pattern(
    r"(?:ip|ipv4|ipv6|mac|e-?mail|mail|web|wallet|memory|bitcoin|btc|eth|ethereum|virtual|physical|base|return|bind|listen|network|server|url|host|bus|hardware|start|end|contract|crypto|remote|local|source|destination|broadcast|loopback|multicast|mac-?|site|smtp)[ _\-]?$",
    ignore_case=True,
)
LINE = Pattern(
    r"[\"'\]]{0,2}\s{0,2}(?:(?:[:=\-]|is|ist|lautet|est|es|e|jest|:|-)\s{0,3})?[\"']?\s{0,2}([^\n;|<>{}\"@=]{6,160})"
)
EAST = (
    r"(?:〒?\s?\d{3}[-−]?\d{4}\s*)?(?:東京都|北海道|京都府|大阪府|[\p{Han}]{2,3}県|[\p{Han}]{1,4}市)[\p{Han}\p{Hiragana}\p{Katakana}ーヶケ々]{1,20}[市区町村郡丁台町][\p{Han}\p{Hiragana}\p{Katakana}ーヶケ々]{0,12}\s?\d{1,4}(?:\s?(?:[-−ー]|丁目|番地|番|号|の)\s?\d{0,4}){0,4}(?:号室|号|番地|階)?(?:[\s　]?[\p{Han}\p{Katakana}A-Za-zー]{1,16}\s?\d{1,4}(?:号室|号|階|F)?)?"
    r"|〒\s?\d{3}[-−]?\d{4}\s*[\p{Han}\p{Hiragana}\p{Katakana}ー\d\-−]{4,40}"
    r"|(?:中国)?(?:[\p{Han}]{2,7}(?:省|自治区|特别行政区))?(?:[\p{Han}]{2,6}[市州盟])?(?:[\p{Han}]{1,6}[区县縣區旗鎮镇乡鄉])?[\p{Han}]{1,12}(?:路|街|巷|弄|大道|胡同|道|村|里|段)[\p{Han}]{0,6}\d{1,5}(?:[号號弄巷](?:之\d+)?)?(?:[\p{Han}A-Za-z]{0,10}\d{1,5}[\p{Han}]{0,3}){0,4}"
    r"|(?:\(?\d{5}\)?\s)?(?:서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충청|충북|충남|전라|전북|전남|경상|경북|경남|제주)[\p{Hangul}]{0,6}(?:\s[\p{Hangul}\d]{1,10}(?:시|군|구|동|읍|면|리|가)){0,4}\s?[\p{Hangul}\d]{1,14}(?:로|길|동|가)\s?(?:\d{1,4}(?:번?길\s?\d{0,4})?(?:-\d{1,4})?)(?:번지)?(?:[\s,]+[\p{Hangul}A-Za-z]{0,10}\s?\d{1,4}(?:동|호|층)){0,3}"
    r"|(?:شارع|طريق|حي|جادة)\s[\p{Arabic}\s]{2,40}?[،,]?\s?(?:رقم\s|مبنى\s|عمارة\s)?\d{1,5}(?:[،,]\s?[\p{Arabic}\s]{2,30}){0,3}(?:\s\d{4,6})?"
    r"|\d{1,5}\s(?:شارع|طريق)\s[\p{Arabic}\s]{2,30}(?:[،,]\s?[\p{Arabic}\s]{2,30}){0,3}"
    r"|(?:רחוב|רח'|רח׳|שדרות|שד'|דרך|סמטת)\s[\p{Hebrew}\s\"'׳״-]{2,30}?\s\d{1,4}(?:/\d{1,3})?(?:,?\s(?:דירה|קומה)\s\d{1,3})?(?:,\s?[\p{Hebrew}\s-]{2,20}){0,2}(?:\s\d{5,7})?"
    r"|(?:Οδός|οδός|οδό|Λεωφόρος|Λεωφ\.|Λ\.|Πλατεία)\s[\p{Greek}\s.]{2,30}?\s\d{1,4}(?:,?\s(?:\d{3}\s?\d{2}\s)?[\p{Greek}]{3,20}){0,2}(?:,?\s\d{3}\s?\d{2})?"
    r"|[\p{Greek}]{4,20}\s\d{1,4},\s?(?:\d{3}\s?\d{2}\s)?[\p{Greek}]{3,20}(?:\s\d{3}\s?\d{2})?"
    r"|\d{1,4}[,/]?\s?[\p{Devanagari}\s.]{2,30}(?:मार्ग|रोड|गली|नगर|सड़क|स्ट्रीट|कॉलोनी)(?:,\s?[\p{Devanagari}\s]{2,20}){0,3}(?:[\s,\-]*\d{6})?"
    r"|\d{1,4}(?:/\d{1,4})?\s?(?:หมู่\s?\d+\s?|ซอย\S*\s?\d*\s?)?(?:ถนน|ถ\.)\s?[\p{Thai}]{2,20}(?:\s(?:แขวง|เขต|ตำบล|อำเภอ|จังหวัด|ต\.|อ\.|จ\.)?\s?[\p{Thai}]{2,20}){0,5}(?:\s\d{5})?"
)
_EAST_HINT = "路街巷道村里号市区県町丁〒로길동가شطحרדשסΟοΛΠमरोथถ,"
