"""One NSF award record, as the dumps or the awards API write it, into one row."""

from __future__ import annotations

import html
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from study.core import DataError

_AWARD_ID = re.compile(r"\d{7}")
_TAG = re.compile(r"</?(?:br|p|b|i|em|strong|sub|sup|ul|ol|li|div|span)\s*/?>", re.IGNORECASE)
_SLASHED = re.compile(r"(\d{2})/(\d{2})/(\d{4})")
_COLLABORATIVE = re.compile(r"collaborative", re.IGNORECASE)

Row = dict[str, Any]


def from_json(content: bytes, where: str) -> Row:
    """Return the row of a JSON record, of a yearly dump or of the API; ``where`` names it in errors."""
    try:
        record = json.loads(content)
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start} is not UTF-8; download the zip again.") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: broken JSON at character {error.pos} (line {error.lineno}): {error.msg}; "
            "download the zip again."
        ) from None
    if not isinstance(record, dict):
        raise DataError(f"{where}: holds no award; download the zip again.")
    return _checked(_from_api(record, where) if "id" in record else _from_dump(record, where), where)


def _from_dump(record: Mapping[str, Any], where: str) -> Row:
    awardee, performer = record.get("inst") or {}, record.get("perf_inst") or {}
    if isinstance(performer, list):
        performer = performer[0]
    try:
        return {
            "award_id": record["awd_id"],
            "title": record["awd_titl_txt"],
            "abstract": record["awd_abstract_narration"],
            "programme_elements": _coded(record["pgm_ele"], "pgm_ele_code", "pgm_ele_name"),
            "programme_references": _coded(record["pgm_ref"], "pgm_ref_code", "pgm_ref_txt"),
            "awardee": awardee["inst_name"],
            "performer": performer.get("perf_inst_name"),
            "city": awardee["inst_city_name"],
            "state": awardee["inst_state_code"],
            "country": awardee["inst_country_name"],
            "amount": record["awd_amount"],
            "amount_intended": record["tot_intn_awd_amt"],
            "effective": record["awd_eff_date"],
            "letter": record["awd_min_amd_letter_date"],
            "expires": record["awd_exp_date"],
            "instrument": record["awd_istr_txt"],
        }
    except KeyError as error:
        raise _missing(str(error), where) from None
    except (TypeError, AttributeError, IndexError):
        raise DataError(f"{where}: a field is no list of named values; download the zip again.") from None


def _from_api(record: Mapping[str, Any], where: str) -> Row:
    country = record.get("awardeeCountryCode")
    try:
        return {
            "award_id": record["id"],
            "title": record["title"],
            "abstract": record.get("abstractText"),
            "programme_elements": _codes(record.get("progEleCode")),
            "programme_references": _codes(record.get("progRefCode")),
            "awardee": record["awardeeName"],
            "performer": record.get("perfLocation"),
            "city": record.get("awardeeCity"),
            "state": record.get("awardeeStateCode"),
            "country": "United States" if country in (None, "US") else country,
            "amount": record["fundsObligatedAmt"],
            "amount_intended": record.get("estimatedTotalAmt"),
            "effective": record["startDate"],
            "letter": record.get("initAmendmentDate") or record.get("date"),
            "expires": record.get("expDate"),
            "instrument": record.get("transType"),
        }
    except KeyError as error:
        raise _missing(str(error), where) from None


def from_xml(content: bytes, where: str) -> Row:
    """Return the row of an XML record of a yearly dump; ``where`` names it in errors."""
    try:
        award = ElementTree.fromstring(content).find("Award")
    except ElementTree.ParseError as error:
        raise DataError(f"{where}: broken XML ({error}); download the zip again.") from None
    if award is None:
        raise DataError(f"{where}: holds no element Award; download the zip again.")

    def text(place: str, *, needed: bool = True) -> str | None:
        found = award.find(place)
        if found is None and needed:
            raise _missing(place, where)
        return None if found is None else found.text

    def coded(tag: str) -> str:
        return "|".join(
            f"{_clean(each.findtext('Code'))} {_clean(each.findtext('Text'))}" for each in award.findall(tag)
        )

    row = {
        "award_id": text("AwardID"),
        "title": text("AwardTitle"),
        "abstract": text("AbstractNarration"),
        "programme_elements": coded("ProgramElement"),
        "programme_references": coded("ProgramReference"),
        "awardee": text("Institution/Name"),
        "performer": None,
        "city": text("Institution/CityName"),
        "state": text("Institution/StateCode"),
        "country": text("Institution/CountryName"),
        "amount": text("AwardAmount"),
        "amount_intended": text("AwardTotalIntnAmount", needed=False),
        "effective": text("AwardEffectiveDate"),
        "letter": text("MinAmdLetterDate", needed=False),
        "expires": text("AwardExpirationDate"),
        "instrument": text("AwardInstrument/Value"),
    }
    return _checked(row, where)


def _checked(row: Row, where: str) -> Row:
    """Return a row with clean texts, dates and numbers."""
    number = str(row["award_id"])
    if _AWARD_ID.fullmatch(number) is None:
        raise DataError(f'{where}: award number "{number}" is no seven digits; download the zip again.')
    cleaned: Row = {"award_id": number}
    for name, value in row.items():
        if name in ("effective", "letter", "expires"):
            cleaned[name] = _day(value, name, where)
        elif name in ("amount", "amount_intended"):
            cleaned[name] = _dollars(value, name, where)
        elif name != "award_id":
            cleaned[name] = _clean(value)
    for name in ("title", "awardee", "effective"):
        if not cleaned[name]:
            raise DataError(f"{where}: {name} is empty; download the zip again.")
    cleaned["collaborative"] = bool(_COLLABORATIVE.match(cleaned["title"]))
    return cleaned


def _missing(field: str, where: str) -> DataError:
    return DataError(
        f"{where}: field {field.strip(chr(39))} is missing; has the publisher renamed it? Download the zip again."
    )


def _clean(value: Any) -> str:
    """Return a text without markup, character references and line breaks."""
    if value is None:
        return ""
    text = html.unescape(html.unescape(str(value)))
    return " ".join(_TAG.sub(" ", text).split())


def _coded(entries: Sequence[Mapping[str, Any]] | None, code: str, name: str) -> str:
    return "|".join(f"{_clean(entry[code])} {_clean(entry[name])}" for entry in entries or ())


def _codes(value: str | Sequence[str] | None) -> str:
    """Return the codes that the API gives as a list, or as one text with commas or spaces between them."""
    return "|".join(re.findall(r"\w+", value if isinstance(value, str) else " ".join(value or ())))


def _day(value: str | None, name: str, where: str) -> str:
    """Return a day as "YYYY-MM-DD": the dumps write 2016-03-15 in JSON and 03/15/2016 in XML."""
    text = _clean(value)
    if not text:
        return ""
    match = _SLASHED.fullmatch(text)
    try:
        return date.fromisoformat(f"{match[3]}-{match[1]}-{match[2]}" if match else text).isoformat()
    except ValueError:
        raise DataError(f'{where}: {name} "{text}" is no date; download the zip again.') from None


def _dollars(value: Any, name: str, where: str) -> float:
    text = _clean(value)
    if not text:
        return math.nan
    try:
        return float(text.replace(",", ""))
    except ValueError:
        raise DataError(f'{where}: {name} "{text}" is no number; download the zip again.') from None
