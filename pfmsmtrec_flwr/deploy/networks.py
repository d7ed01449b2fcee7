"""Networks from which runs may be started."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from pfmsmtrec_flwr.errors import UserError


def admission_from(networks: str) -> Callable[[str], bool]:
    """Return the function that says whether an address lies in one of some networks.

    Parameters
    ----------
    networks
        Addresses and networks, separated by commas: ``127.0.0.0/8,10.1.2.3``.

    Raises
    ------
    UserError
        One of them is neither.

    Examples
    --------
    >>> admits = admission_from("127.0.0.0/8,10.1.2.3")
    >>> admits("127.0.0.1"), admits("10.1.2.3"), admits("10.1.2.4"), admits("")
    (True, True, False, False)
    """
    try:
        known = [ipaddress.ip_network(each.strip()) for each in networks.split(",") if each.strip()]
    except ValueError as error:
        raise UserError(f"--control-from: {error}; expected addresses or networks such as 127.0.0.0/8") from None

    def admits(address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        plain = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped else found
        return any(plain in network for network in known)

    return admits
