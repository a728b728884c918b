"""Texts that once slipped through or were harmed, one for each rule that mends them."""

import pytest

from pratique.redact import Redactor


@pytest.fixture(scope="module")
def redactor():
    return Redactor()


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("Best,\nJessica Reed\nAccount Manager\n858.750.0780", "858.750.0780"),
        ("CV\nTeresa White\nEngineer", "Teresa White"),
        ("919 Collins Ways Apt. 059, Vanessabury, SC 43247", "919 Collins"),
        ("Where: USNV Dickerson, FPO AA 76085.", "USNV Dickerson, FPO AA 76085"),
        ("PSC 1234, Box 5678, APO AE 09123", "PSC 1234"),
        ("Entrega: Fazenda Azevedo, 54, Floramar, 52517760 Cavalcanti", "52517760"),
        ("calle: Cañada de María Rocha 70 Piso 6 , Cantabria, 02268", "02268"),
        ("Bulevardul Nistor, Sandominic, 166324", "166324"),
        ("plac Konstytucji 3 Maja 26/55, 81-969 Jarocin", "Maja 26/55"),
        ("062, Madan Circle, Rajkot-665699", "665699"),
        ("Διεύθυνση: Ελληνοκάστρου 39,, 780 60 Άρτα", "Άρτα"),
        ("患者 福田 千代 様", "福田"),
        ("後藤 あすか様", "後藤 あすか"),
        ("氏名:斉藤 陽一 メール", "斉藤 陽一"),
        ("ich heisse German Zbinden", "German"),
        ("a.password=LJGnDJcy*PC1V&\nb=c", "PC1V&"),
        ('<add key="Password" value="correct-horse-battery" />', "horse"),
        ("Login: jane@example.net / correct-horse", "correct-horse"),
        ("Health plan member number P28715544", "P28715544"),
        ("Pasient Eva, fnr 06087018472", "06087018472"),
        ("ist unter 0356990003 erreichbar", "0356990003"),
        ("my email is smithandrew AT example [dot] org", "smithandrew"),
        ("born MDMuMDMuODE=", "MDMuMDMu"),
        ("this is Sabrina Jenkins from accounting", "Sabrina Jenkins"),
        ("Олимпий\n8 825 954 5993", "8 825 954 5993"),
        ("Chiami il 3882926459.", "3882926459"),
        ("Mi teléfono es +34 887 90 06 33.Call me", "887 90 06 33"),
        ("tel. +420 794 697 103U", "794 697 103"),
    ],
)
def test_is_hidden(redactor, text, hidden):
    outcome = redactor.redact(text)
    assert not outcome.withheld
    assert hidden in text
    assert hidden not in outcome.text


@pytest.mark.parametrize(
    "text",
    [
        "coverage: 97.3% (1204/1237 lines)",
        "The secret of good bread is time.",
        "java.lang.NullPointerException at com.acme.Foo.bar(Foo.java:42)",
        "PO 4500012345, line 10",
        "[3] H. Touvron et al. Llama 2, 2023.",
        "AUTH_TOKEN=changeme-in-production",
        "sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC",
        "El número de habitantes es 47.332.614.",
        "नमस्ते, मुझे एक कहानी सुनाओ।",
        "สวัสดี วันนี้อากาศดี",
    ],
)
def test_stays(redactor, text):
    assert redactor.redact(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "DNI es 12345678Z. Es +34 921 130 097.X",
        "CPF 123.456.789-09, 12 9267-9581",
        "MRN 123456 55 1234",
    ],
)
def test_a_token_ends_the_reach_of_the_word_before_it(redactor, text):
    once = redactor.redact(text).text
    assert redactor.redact(once).text == once
