"""What schemathesis is told of what the service asks for and no schema can say. ``test_fuzzing.py`` hands it over."""

from __future__ import annotations

import itertools
from typing import Any

import schemathesis

SERIAL = itertools.count()
KEY = "Idempotency-Key"
KEY_CHARACTERS_MAX = 255


@schemathesis.hook
def before_call(_context: object, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """Write whole numbers without a point, and use no key twice: it would be refused with another body."""
    case.body = without_point(case.body)
    if case.meta and case.meta.generation.mode.is_positive and case.headers and KEY in case.headers:
        case.headers[KEY] = f"{next(SERIAL)}-{case.headers[KEY]}"[:KEY_CHARACTERS_MAX]


def without_point(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """Return JSON with 1.0 written as 1, which is the same number to a schema."""
    match value:
        case dict():
            return {name: without_point(each) for name, each in value.items()}
        case list():
            return [without_point(each) for each in value]
        case float() if value.is_integer():
            return int(value)
    return value
