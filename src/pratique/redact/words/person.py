"""Words that stand before and behind the names of people, in some thirty languages.

The rule: lists and forms only; what a hit is worth is decided in `pratique.redact.detectors.person`.
"""

from pratique.redact.pattern import Keywords, Pattern

TITLES = Keywords(
    "mr", "mrs", "ms", "miss", "mx", "dr", "doctor", "prof", "professor", "sir", "madam", "lady", "lord", "rev", "reverend", "father", "capt", "captain", "sgt", "sergeant", "lt", "col", "gen", "judge", "justice", "senator", "nurse", "attorney", "detective", "inspector", "officer", "aunt", "uncle", "mister", "messrs",
    "herr", "herrn", "frau", "fraulein", "hr", "fr", "dipl.-ing", "dipl-ing", "monsieur", "madame", "mademoiselle", "mme", "mlle", "docteur", "maitre", "senor", "senora", "senorita", "sr", "sra", "srta", "don", "dona", "doctora", "dra", "signor", "signora", "signorina", "signore", "sig", "sig.ra", "dott", "dott.ssa", "dottor", "dottoressa", "avv", "ing",
    "senhor", "senhora", "dom", "doutor", "doutora", "meneer", "mevrouw", "mevr", "dhr", "mw", "de heer", "pan", "pani", "panu", "pana", "herra", "rouva", "fru", "fröken", "froken", "pan", "paní", "domnul", "doamna", "dl", "dna", "bay", "bayan", "sayin", "bapak", "ibu", "pak", "bu", "ong", "ba", "anh", "chi", "gospodin", "gospoda", "gospodja", "kyrios", "kyria", "shri", "smt", "sri",
    "г-н", "г-жа", "господин", "госпожа", "гражданин", "гражданка", "доктор", "профессор", "пан", "пані", "пані", "господине", "товарищ", "κύριος", "κυρία", "κ.", "السيد", "السيدة", "الدكتور", "الدكتورة", "الأستاذ", "الأستاذة", "الآنسة", "מר", "גברת", "גב׳", "ד״ר", 'ד"ר', "श्री", "श्रीमती", "डॉ", "डॉ.", "คุณ", "นาย", "นาง", "นางสาว", "ด.ช.",
)  # fmt: skip
INTRO = Keywords(
    "my name is", "my name's", "name is", "names is", "i am called", "i'm called", "my full name is", "full name", "fullname", "the name is", "legal name", "named", "call me", "known as", "goes by", "signed by", "signed", "yours truly", "attn", "attention", "c/o",
    "ich heisse", "ich heise", "mein name ist", "name ist", "je m'appelle", "mon nom est", "je me nomme", "s'appelle", "me llamo", "mi nombre es", "se llama", "su nombre es", "nombre es", "mi chiamo", "il mio nome e", "si chiama", "meu nome e", "o meu nome e", "me chamo", "chamo-me", "mijn naam is", "ik heet", "nazywam sie", "mam na imie", "jmenuji se", "volam sa", "jag heter", "mitt namn ar", "jeg heter", "jeg hedder", "mit navn er", "mitt navn er", "nimeni on", "olen", "a nevem", "nevem", "ma numesc", "numele meu este", "benim adim", "adim", "ismim", "nama saya", "nama saya adalah", "ten toi la", "toi ten la", "zovem se", "ime mi je", "me lene", "jina langu ni", "ang pangalan ko ay", "ako si",
    "меня зовут", "моё имя", "мое имя", "зовут", "по имени", "мене звати", "моє ім'я", "казвам се", "με λένε", "ονομάζομαι", "το όνομά μου είναι", "我叫", "我的名字是", "我是", "本人", "他叫", "她叫", "名字是", "名字叫", "私は", "私の名前は", "名前は", "氏名は", "제 이름은", "이름은", "저는", "나는", "اسمي", "أنا اسمي", "اسمه", "اسمها", "שמי", "קוראים לי", "השם שלי", "मेरा नाम", "นามว่า", "ผมชื่อ", "ฉันชื่อ", "ดิฉันชื่อ", "ชื่อ", "আমার নাম",
)  # fmt: skip
LABELS = Keywords(
    "name", "first name", "firstname", "last name", "lastname", "surname", "given name", "family name", "middle name", "maiden name", "mother's maiden name", "full name", "fullname", "patient", "patient name", "customer", "customer name", "client", "client name", "employee", "employee name", "account holder", "cardholder", "cardholder name", "card holder", "holder", "beneficiary", "contact", "contact person", "contact name", "emergency contact", "next of kin", "author", "authored by", "applicant", "candidate", "student", "student name", "teacher", "tenant", "landlord", "owner", "recipient", "sender", "from", "to", "cc", "bcc", "signed", "signature", "signatory", "witness", "insured", "policyholder", "policy holder", "guest", "passenger", "traveler", "traveller", "driver", "manager", "supervisor", "assignee", "assigned to", "reporter", "reviewer", "reviewed by", "approved by", "approver", "requested by", "prepared by", "submitted by", "written by", "committer", "attendee", "attendees", "participants", "present", "attending", "in attendance", "team members", "physician", "doctor", "nurse", "attending", "referring physician", "surgeon", "provider", "borrower", "buyer", "seller", "payee", "payer", "plaintiff", "defendant", "spouse", "wife", "husband", "father", "mother", "guardian", "user", "user name", "username", "display name", "displayname", "caller", "agent", "speaker", "interviewer", "interviewee", "ship to", "bill to", "deliver to", "subject", "lead", "owner name",
    "vorname", "nachname", "familienname", "vor- und nachname", "patientin", "kunde", "kundin", "kundenname", "mitarbeiter", "mitarbeiterin", "ansprechpartner", "kontakt", "inhaber", "kontoinhaber", "karteninhaber", "empfanger", "absender", "versicherter", "antragsteller", "arzt", "unterschrift", "unterzeichner", "nom", "prenom", "nom complet", "nom et prenom", "nom de famille", "titulaire", "beneficiaire", "destinataire", "expediteur", "employe", "salarie", "signataire", "medecin", "assure", "nombre", "nombres", "apellido", "apellidos", "nombre completo", "nombre y apellidos", "paciente", "cliente", "titular", "beneficiario", "destinatario", "remitente", "empleado", "firmado", "firma", "medico", "contacto", "solicitante",
    "cognome", "nome", "nome e cognome", "nome completo", "paziente", "intestatario", "dipendente", "firmato", "mittente", "sobrenome", "nome do paciente", "funcionario", "assinado", "remetente", "naam", "voornaam", "achternaam", "klant", "patient naam", "medewerker", "ondertekend", "contactpersoon", "imie", "nazwisko", "imie i nazwisko", "pacjent", "klient", "podpis", "jmeno", "prijmeni", "jmeno a prijmeni", "meno", "priezvisko", "namn", "fornamn", "efternamn", "navn", "fornavn", "etternavn", "efternavn", "nimi", "etunimi", "sukunimi", "potilas", "nev", "beteg", "nume", "prenume", "nume si prenume", "pacient", "ad", "soyad", "ad soyad", "adi soyadi", "hasta", "musteri", "nama", "nama lengkap", "pasien", "ho ten", "ho va ten", "ten", "benh nhan", "ime", "prezime", "ime i prezime",
    "имя", "фамилия", "фио", "ф.и.о", "ф.и.о.", "пациент", "клиент", "сотрудник", "получатель", "отправитель", "подпись", "контактное лицо", "владелец", "заявитель", "ім'я", "прізвище", "піб", "пацієнт", "име", "姓名", "名字", "患者", "患者姓名", "客户", "联系人", "收件人", "寄件人", "签名", "持卡人", "员工", "申请人", "氏名", "お名前", "名前", "患者名", "患者氏名", "担当者", "担当", "お客様", "署名", "이름", "성명", "성함", "환자", "환자명", "고객", "담당자", "수신자", "서명", "الاسم", "الاسم الكامل", "اسم المريض", "المريض", "العميل", "المستلم", "التوقيع", "שם", "שם מלא", "השולח", "שולח", "נמען", "איש קשר", "שם פרטי", "שם משפחה", "מטופל", "לקוח", "חתימה", "όνομα", "επώνυμο", "ονοματεπώνυμο", "ασθενής", "πελάτης", "नाम", "मरीज", "रोगी", "ग्राहक", "ผู้ป่วย", "ลูกค้า", "ชื่อ-สกุล", "ชื่อผู้ป่วย",
)  # fmt: skip
NEEDS_TWO = frozenset(
    b"from to cc bcc user author subject owner lead contact provider agent client driver username lead holder ad ten nama manager reporter assignee speaker subject ime name naam nimi nome nom nombre navn namn nume surname".split()
) - frozenset(b"surname".split())
GREETING = Keywords(
    "dear", "hi", "hello", "hey", "good morning", "good afternoon", "good evening", "greetings", "liebe", "lieber", "hallo", "guten tag", "sehr geehrter", "sehr geehrte", "moin", "servus", "cher", "chere", "bonjour", "bonsoir", "salut", "hola", "querido", "querida", "estimado", "estimada", "buenos dias", "caro", "cara", "ciao", "gentile", "buongiorno", "salve", "egregio", "ola", "oi", "prezado", "prezada", "bom dia", "beste", "geachte", "drogi", "droga", "szanowny", "szanowna", "czesc", "witaj", "dzien dobry", "mily", "mila", "ahoj", "hej", "kara", "kare", "hei", "moi", "kedves", "draga", "buna", "merhaba", "sevgili", "halo", "selamat pagi", "yth", "kepada", "zdravo",
    "уважаемый", "уважаемая", "дорогой", "дорогая", "здравствуйте", "привет", "шановний", "шановна", "добрый день", "αγαπητέ", "αγαπητή", "γεια σου", "亲爱的", "尊敬的", "你好", "您好", "عزيزي", "عزيزتي", "מרבא", "שלום", "प्रिय", "नमस्ते", "สวัสดี", "เรียน", "안녕하세요",
)  # fmt: skip
CLOSING = Keywords(
    "best regards", "kind regards", "warm regards", "warmest regards", "regards", "best wishes", "best", "sincerely", "sincerely yours", "yours sincerely", "yours faithfully", "yours truly", "respectfully", "respectfully yours", "cheers", "thanks", "thank you", "many thanks", "thanks and regards", "cordially", "love", "signed", "with gratitude", "take care", "all the best", "xoxo",
    "mit freundlichen grussen", "freundliche grusse", "viele grusse", "liebe grusse", "beste grusse", "herzliche grusse", "mfg", "hochachtungsvoll", "mit besten grussen", "vg", "lg", "gruss", "grusse", "schone grusse", "cordialement", "bien cordialement", "bien a vous", "sinceres salutations", "salutations", "amicalement", "respectueusement", "bises", "saludos", "saludos cordiales", "un saludo", "atentamente", "cordialmente", "un abrazo", "atte", "cordiali saluti", "distinti saluti", "saluti", "un caro saluto", "in fede", "atenciosamente", "abracos", "cumprimentos", "com os melhores cumprimentos", "att", "met vriendelijke groet", "met vriendelijke groeten", "vriendelijke groet", "groeten", "groetjes", "hoogachtend", "mvg", "pozdrawiam", "z powazaniem", "serdecznie pozdrawiam", "s pozdravem", "s uctou", "s pozdravom", "med vanliga halsningar", "med vanlig halsning", "vanliga halsningar", "mvh", "halsningar", "med vennlig hilsen", "vennlig hilsen", "hilsen", "med venlig hilsen", "venlig hilsen", "ystavallisin terveisin", "terveisin", "t", "udvozlettel", "tisztelettel", "cu stima", "cu respect", "saygilarimla", "saygilar", "sevgiler", "iyi calismalar", "hormat kami", "salam", "hormat saya", "tran trong", "s postovanjem", "lp",
    "с уважением", "с наилучшими пожеланиями", "всего доброго", "искренне ваш", "з повагою", "с поздравом", "с уважение", "με εκτίμηση", "φιλικά", "此致", "敬礼", "此致敬礼", "谢谢", "祝好", "敬具", "よろしくお願いします", "よろしくお願いいたします", "以上", "감사합니다", "올림", "드림", "مع تحياتي", "مع خالص التحية", "تحياتي", "بتقدير", "בברכה", "בכבוד רב", "सादर", "धन्यवाद", "भवदीय", "ด้วยความเคารพ", "ขอแสดงความนับถือ", "ขอบคุณ",
)  # fmt: skip
SEPARATOR = Pattern(r"[\"']{0,2}\s{0,2}(?:[:=]|=>|-|>)\s{0,3}[\"']{0,2}|[\"']{0,2}\s{0,2}\|\s{0,2}")
TITLE_GAP = Pattern(
    r"\.?\s{0,2}(?:(?:dr|prof|med|phil|rer|nat|ing|dipl|jur|h\.c|doctor|doktor|professor|mag|lic)\.?\s{0,2}){0,4}",
    ignore_case=True,
)
LINK = Pattern(
    r"(?:\s{0,2}(?:[:,\-]|is|on|er|ar|ist|es|e|to|sa|hai)?\s{0,2}[\"'*]{0,2})?", ignore_case=True
)
BREAK = Pattern(r"[ ]{0,3}[,.!;:\-\x01]{0,3}[ ]{0,3}(?:\r?\n[ \t>]{0,8}){0,3}[-~*_\x01 ]{0,4}")
WEAK = Keywords(
    "i am", "i'm", "this is", "speaking with", "spoke with", "spoke to", "speak to", "speak with", "talk to", "talked to", "met with", "met", "meet", "meeting with", "ask for", "asked for", "on behalf of", "contact", "written by", "created by", "reported by", "assigned to", "approved by", "reviewed by", "signed by", "co-authored-by", "married to", "daughter of", "son of", "wife of", "husband of", "wife", "husband", "colleague", "applicant", "the applicant", "claimant", "plaintiff", "defendant", "witness", "passenger", "guest", "resident", "student", "teacher", "lawyer", "contractor", "landlord", "candidate", "borrower", "policyholder", "insured", "beneficiary", "cardholder", "account holder", "mother", "father", "daughter", "son", "sister", "roommate", "my friend", "patient", "customer", "employee", "manager", "neighbor", "neighbour", "brother", "sister", "friend", "boss", "tenant", "client", "email to", "call", "called", "emailed", "tell", "told", "invite", "invited", "interview with", "interviewed", "hired", "referred by", "diagnosed", "admitted", "discharged", "treated", "prescribed", "owned by", "belongs to", "registered to", "issued to", "addressed to", "payable to", "in the name of", "account of", "name of", "care of", "survived by", "accompanied by", "transfer to", "paid to", "pay", "sent by", "sent to", "send it to", "forward to", "deliver to", "delivered to",
    "ich bin", "hier ist", "hier spricht", "je suis", "ici", "soy", "habla", "sono", "sou", "eu sou", "ik ben", "jestem", "jsem", "jag ar", "jeg er", "olen", "vagyok", "ben", "saya", "das ist", "c'est", "es", "patientin", "unsere kollegin", "unser kollege", "mein chef", "meine kollegin", "meine frau", "mein mann", "ma femme", "mon mari", "ma collegue", "mon collegue", "mi esposa", "mi marido", "mia moglie", "mio marito", "minha esposa", "meu marido", "el paciente", "la paciente", "il paziente", "la paziente", "le patient", "la patiente", "o paciente", "a paciente", "der patient", "die patientin", "pacjent", "pacjentka", "paciente", "treffen mit", "gesprochen mit", "habe mit", "rendez-vous avec", "reunion con", "avec", "con", "mit", "met", "z panem", "z pania", "med", "com",
    "я", "это", "пациент", "пациентка", "клиент", "мой начальник", "моя жена", "мой муж", "гражданин", "гражданка", "коллега", "сотрудник", "είμαι ο", "είμαι η",
)  # fmt: skip
HONORIFIC = (
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
HAN_STOP = "我你他她的是在了和有人们這这那您請请谢們对对于与及说給给跟为為个個名叫很"
HANGUL_TAILS = (
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
WORD_STOPS = frozenset(
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
MAX_NAME = 160
