"""HTML pages that contain all their parts: texts and data are inserted into a template."""

import json
from collections.abc import Mapping
from typing import Any


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Insert parts into a template.

    Args:
        template: HTML in which `<!--{name}-->` stands for the part of that name.
        parts: The parts, which are inserted as they are.
    """
    before, *rest = template.split("<!--{")
    return before + "".join(parts[name] + after for name, _, after in (piece.partition("}-->") for piece in rest))


def embedded_json(data: Any) -> str:
    """Return JSON in which no HTML parser can find the end of the script or a comment."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
