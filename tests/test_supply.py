from __future__ import annotations

import json
import re

import pytest
import supply


def test_the_bill_of_materials_is_of_the_locked_versions_and_has_no_address() -> None:
    text = supply.SBOM.read_text(encoding="utf-8")
    bill = json.loads(text)
    assert [part["purl"] for part in bill["components"]] == [line.purl for line in supply.locked()]
    assert len(bill["components"]) > 100
    assert "//" not in text
    assert "timestamp" not in text


def test_every_line_of_the_lock_is_read() -> None:
    lock = (supply.ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert len(supply.locked()) == len(re.findall(r"^[A-Za-z0-9]", lock, re.MULTILINE))


def test_the_licences_are_those_of_the_bill_and_ask_nothing_of_who_depends() -> None:
    assert supply.LICENCES.read_text(encoding="utf-8") == supply.licences(
        supply.SBOM.read_text(encoding="utf-8")
    )
    for part in json.loads(supply.SBOM.read_text(encoding="utf-8"))["components"]:
        assert not re.search(r"\b[AL]?GPL", part["licenses"][0]["expression"]), part["name"]


def test_what_is_needed_to_run_is_in_the_bill_and_its_graph_has_no_loose_ends() -> None:
    bill = json.loads(supply.SBOM.read_text(encoding="utf-8"))
    known = {part["bom-ref"] for part in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert {each["ref"] for each in bill["dependencies"]} == known
    assert {ref for each in bill["dependencies"] for ref in each["dependsOn"]} <= known
    scopes = {part["name"]: part["scope"] for part in bill["components"]}
    assert (scopes["numpy"], scopes["certifi"], scopes["pytest"]) == ("required", "required", "optional")


@pytest.mark.parametrize("said", ["GPL-3.0-only", "Proprietary", "", "MIT AND LGPL-2.1"])
def test_a_licence_that_was_not_thought_about_stops_the_bill(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class About(dict[str, str]):
        def get_all(self, _: str) -> list[str]:
            return []

    monkeypatch.setattr(supply, "metadata", lambda _: About({"License-Expression": said}))
    with pytest.raises(SystemExit, match="see what it asks"):
        supply.licence("anything")
