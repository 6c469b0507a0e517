"""Every canonical definition that the decoder knows has its function, or is refused when a component is validated."""

from __future__ import annotations

import pytest

from p3host.binary.definitions import CanonKind
from p3host.binary.validate_canon import BUILTINS as CHECKS
from p3host.binary.validate_canon import unsupported
from p3host.component.bindings import BUILTINS


@pytest.mark.parametrize("kind", list(CanonKind), ids=lambda kind: kind.name)
def test_every_built_in_is_bound_or_refused(kind: CanonKind) -> None:
    assert (kind in BUILTINS) != (CHECKS.get(kind) is unsupported)
