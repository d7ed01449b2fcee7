"""Meaning of a column's name: English words for labels, scenarios, users, items, times and people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

LABEL_WORDS = (
    *("click", "clicked", "clk", "conversion", "converted", "convert", "conv", "purchase", "purchased", "buy"),
    *("bought", "sale", "sold"),
    *("order", "ordered", "pay", "paid", "cart", "like", "liked", "share", "shared", "follow", "followed", "comment"),
    *("commented", "forward", "favorite", "favourite", "subscribed", "long_view", "install", "installed", "download"),
    *("finish", "finished", "booked", "label", "target", "outcome", "response", "y", "ctr", "cvr", "ctcvr", "engaged"),
    *("clickthrough", "clickthru", "wishlist", "wishlisted", "bookmark", "bookmarked", "saved", "viewed", "opened"),
    *("dislike", "disliked", "hate", "hated", "unsubscribed"),
)
SCENARIO_WORDS = (
    *("scenario", "domain", "country", "market", "site", "channel", "surface", "tab", "region", "shop", "store"),
    "locale",
)
USER_WORDS = (
    *("user", "customer", "member", "visitor", "account", "client", "buyer", "consumer", "person", "viewer", "player"),
    *("subscriber", "household", "uid", "device", "cookie", "session"),
)
ITEM_WORDS = (
    *("item", "product", "goods", "sku", "video", "article", "ad", "doc", "document", "brand", "category", "cate"),
    *("shop", "store", "merchant", "movie", "book", "song", "track", "music", "news", "campaign", "creative"),
    *("advertiser", "publisher", "topic", "tag", "genre"),
)
ID_WORDS = ("id", "key", "hash", "uuid", "guid", "code", "no", "nr", "number", "pseudo", "encrypted", "index", "name")
PERSONAL_WORDS = (
    *("email", "mail", "phone", "mobile", "telephone", "tel", "address", "addr", "street", "postcode", "zip", "ip"),
    *("username", "firstname", "lastname", "fullname", "surname", "nickname", "passport", "ssn", "iban", "birth"),
    *("birthday", "birthdate", "dob", "latitude", "longitude", "lat", "lon", "lng", "gps"),
)
DAY_WORDS = ("date", "day", "dt", "ds")
TIME_WORDS = ("timestamp", "time", "datetime", "ts", "epoch", "unix", "at", "ms")
ITEM_DAY_WORDS = (
    *("release", "released", "register", "registered", "registration", "join", "joined", "signup", "publish"),
    *("published", "upload", "uploaded", "launch", "launched", "expire", "expires", "expiry", "birth"),
    *("first", "last", "since", "updated", "modified"),
)
"""Words for a time of a user or an item, not of an impression."""
AFTERWARDS_WORDS = (*LABEL_WORDS, "dwell", "watch", "watched", "play", "played", "stay", "spent", "revenue")

_NAMED = ("first", "last", "full", "middle", "given", "family", *USER_WORDS)


def words(name: str) -> list[str]:
    """Split a name into words and numbers.

    >>> words("userId_7d")
    ['user', 'id', '7', 'd']
    """
    return re.findall(r"[a-z]+|\d+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower())


def spoken(name: str, vocabulary: Sequence[str]) -> str | None:
    """Return the first word of a vocabulary that a name contains, in the singular, plural or past.

    >>> spoken("is_long_view", LABEL_WORDS)
    'long_view'
    >>> spoken("isclick", LABEL_WORDS), spoken("clickflag", LABEL_WORDS)
    ('click', 'click')
    """
    found = words(name)
    pairs = [f"{first}_{second}" for first, second in pairwise(found)]
    bare = [re.sub(r"^(?:is|has)|(?:flag|label|s)$", "", word) for word in found]
    said = {*found, *pairs, *bare, *(word.removesuffix("s") for word in found)}
    past = {word.removesuffix("ed") for word in found}
    return next((word for each in (said, past) for word in vocabulary if word in each), None)


def subject(name: str, vocabulary: Sequence[str]) -> str | None:
    """Return the word of a vocabulary with which a name ends, ignoring words such as ``id``.

    >>> subject("userId", USER_WORDS), subject("user_age", USER_WORDS)
    ('user', None)
    """
    found = [word for word in words(name) if word not in ID_WORDS and not word.isdigit()]
    if not found:
        return None
    endings = {found[-1], found[-1].removesuffix("s"), found[-1].removesuffix("id")}
    return next((word for word in vocabulary if word in endings), None)


def personal(name: str) -> str | None:
    """Return the word that shows that a column may identify a person by more than a pseudonymous id."""
    found = words(name)
    if "name" in found and (len(found) == 1 or spoken(name, _NAMED) is not None):
        return "name"
    return spoken(name, PERSONAL_WORDS)
