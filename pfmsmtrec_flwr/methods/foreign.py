"""Methods that are not of this package: what a file or another package must define."""

from __future__ import annotations

import re

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods.base import CentralMethod, FederatedMethod, Method

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def foreign_method(found: object, source: str) -> Method:
    """Return what a file or a package defines, if it is a method whose name can be one.

    Parameters
    ----------
    found
        Object that should be a method.
    source
        File or package that defines it, for the message of an error.

    Raises
    ------
    UserError
        It is no method, or of a name that cannot be.
    """
    if not isinstance(found, FederatedMethod | CentralMethod):
        raise UserError(f"{source}: METHOD is a {type(found).__name__}, expected a FederatedMethod")
    if not _NAME.fullmatch(found.name) or found.name in RunConfig.model_fields:
        raise UserError(
            f"{source}: got the name '{found.name}', expected lower-case letters, digits and '-', "
            f"and none of {', '.join(RunConfig.model_fields)}"
        )
    return found


def announced_method(name: str, source: str, found: object) -> Method:
    """Return the method that another package announces under a name.

    Raises
    ------
    UserError
        It is no method, or has another name.
    """
    method = foreign_method(found, source)
    if method.name != name:
        raise UserError(f"{source}: its METHOD has the name '{method.name}', expected the announced one")
    return method
