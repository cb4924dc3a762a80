"""The bill of materials: which distributions, which versions, which hashes, who needs whom (CycloneDX 1.6, JSON)."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from hashlib import file_digest
from typing import TYPE_CHECKING, Any

from package.parts import PRODUCT, needs_of_the_product, parts

if TYPE_CHECKING:
    from importlib.metadata import PackageMetadata
    from pathlib import Path

    from package.parts import Part


def write_bill(path: Path, wheel: Path, when: int) -> Path:
    """Write it; the same bytes for the same lock, wheel and time."""
    with wheel.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    version = wheel.name.split("-")[1]
    used = parts()
    refs = {part.name: f"pkg:pypi/{part.name}@{part.found.version}" for part in used}
    own = f"pkg:pypi/{PRODUCT}@{version}"
    told: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, own + digest)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(when, UTC).isoformat().replace("+00:00", "Z"),
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": PRODUCT,
                "version": version,
                "purl": own,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "hashes": [{"alg": "SHA-256", "content": digest}],
            },
        },
        "components": [_component(part, refs[part.name]) for part in used],
        "dependencies": [
            {"ref": own, "dependsOn": [refs[name] for name in needs_of_the_product()]},
            *({"ref": refs[part.name], "dependsOn": [refs[name] for name in part.needs]} for part in used),
        ],
    }
    path.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    return path


def _component(part: Part, ref: str) -> dict[str, Any]:
    """One distribution. `hashes`: of each file that the lock permits, for any of them may have been installed."""
    return {
        "type": "library",
        "bom-ref": ref,
        "name": part.name,
        "version": part.found.version,
        "purl": ref,
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": one} for one in part.sha256],
        **_licences(part.found.metadata),
    }


def _licences(told: PackageMetadata) -> dict[str, Any]:
    if expression := told.get("License-Expression"):
        return {"licenses": [{"expression": expression}]}
    named = [one.rpartition(" :: ")[2] for one in told.get_all("Classifier") or () if one.startswith("License :: ")]
    named = [one for one in named if one != "OSI Approved"] or [(told.get("License") or "").partition("\n")[0].strip()]
    return {"licenses": [{"license": {"name": one}} for one in sorted(set(named)) if one]} if any(named) else {}
