"""Made-up tables in the exact layouts in which the public data sets are downloaded."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd


def columns_of(header: str) -> list[str]:
    """Return the names of a header."""
    return header.split()


SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
"""Real samples, where they are."""

ALIEXPRESS_CODES = (10, 4, 7, 2, 21, 7, 50, 8, 7, 2, 2, 2, 2, 2, 2, 2)
"""Values of categorical_1 .. categorical_16."""
ALIEXPRESS_COLUMNS = [
    "search_id",
    *(f"categorical_{number}" for number in range(1, 17)),
    *(f"numerical_{number}" for number in range(1, 64)),
    "click",
    "conversion",
]
RAW_USER = [*range(2, 9), 32, 33]
"""Columns of the raw user table that are categorical_1 .. categorical_9."""
RAW_ITEM = [19, 34, 35, 36, 40, 41, 42]
"""Columns of the raw item table that are categorical_10 .. categorical_16."""

VIDEO = ["user_id", "item_id", "click", "follow", "like", "share", "video_category", "watching_times", "gender", "age"]
ARTICLE = columns_of(
    "user_id item_id click gender age exposure_count click_count like_count comment_count read_percentage "
    "item_score1 item_score2 category_second category_first item_score3"
)
ARTICLE_QK = [*ARTICLE, *["read", "read_time", "share", "like", "follow", "favorite"]]

ALI_CCP_COLUMNS = columns_of(
    "click purchase 101 121 122 124 125 126 127 128 129 205 206 207 210 216 508 509 702 853 301 109_14 110_14 "
    "127_14 150_14 D109_14 D110_14 D127_14 D150_14 D508 D509 D702 D853"
)

KUAIRAND_LOG = columns_of(
    "user_id video_id date hourmin time_ms is_click is_like is_follow is_comment is_forward is_hate long_view "
    "play_time_ms duration_ms profile_stay_time comment_stay_time is_profile_enter is_rand tab"
)
KUAIRAND_USERS = [
    *["user_id", "user_active_degree", "is_lowactive_period", "is_live_streamer", "is_video_author", "follow_user_num"],
    *["follow_user_num_range", "fans_user_num", "fans_user_num_range", "friend_user_num", "friend_user_num_range"],
    *["register_days", "register_days_range"],
    *(f"onehot_feat{number}" for number in range(18)),
]
KUAIRAND_VIDEOS = columns_of(
    "video_id author_id video_type upload_dt upload_type visible_status video_duration server_width server_height "
    "music_id music_type tag"
)

BOOK_COUNTRIES = ["usa", "canada", "united kingdom", "germany", "australia", "spain"]


def aliexpress_frame(rows: int, seed: int) -> pd.DataFrame:
    """One country's impressions: about eight items on a page, clicks and, of these, purchases."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"search_id": np.sort(draw.integers(0, max(2, rows // 8), rows))})
    pages = frame["search_id"].to_numpy()
    for number, codes in enumerate(ALIEXPRESS_CODES, start=1):
        of_user = number <= len(RAW_USER)
        values = draw.integers(0, codes, rows)
        frame[f"categorical_{number}"] = values[pages] if of_user else values
    numbers = np.round(draw.random((rows, 63)) * (draw.random((rows, 63)) < 0.6), 6)
    numbers[:, :23] = numbers[pages, :23]
    frame[[f"numerical_{number}" for number in range(1, 64)]] = numbers
    frame["click"] = (draw.random(rows) < 0.2 + 0.3 * numbers[:, 30]).astype(int)
    frame["conversion"] = frame["click"] * (draw.random(rows) < 0.4).astype(int)
    return frame[ALIEXPRESS_COLUMNS]


def aliexpress(folder: Path, countries: Sequence[str] = ("NL", "ES", "FR", "US", "RU"), rows: int = 600) -> Path:
    """The preprocessed layout."""
    for seed, country in enumerate(countries):
        own = folder / f"AliExpress_{country}"
        own.mkdir(parents=True)
        aliexpress_frame(rows, 2 * seed).to_csv(own / "train.csv", index=False)
        aliexpress_frame(rows // 2, 2 * seed + 1).to_csv(own / "test.csv", index=False)
    return folder


def aliexpress_raw(folder: Path, countries: Sequence[str] = ("NL", "ES", "FR", "US", "RU"), rows: int = 600) -> Path:
    """The raw layout with the same impressions, each table zipped by itself as in the download."""
    for seed, country in enumerate(countries):
        own = folder / f"aliexpress_{country}_datasets"
        own.mkdir(parents=True)
        for part, frame in (
            ("train", aliexpress_frame(rows, 2 * seed)),
            ("test", aliexpress_frame(rows // 2, 2 * seed + 1)),
        ):
            users, items = raw_tables(frame)
            write_zipped(own / f"{country.lower()}_user_{part}.zip", users)
            write_zipped(own / f"{country.lower()}_item_{part}.zip", items)
    return folder


def raw_tables(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take impressions apart into a row for each page and a row for each item shown."""
    users = pd.DataFrame({1: frame["search_id"]})
    for number, column in enumerate(RAW_USER, start=1):
        users[column] = frame[f"categorical_{number}"]
    for number, column in enumerate(range(9, 32), start=1):
        users[column] = frame[f"numerical_{number}"]
    items = pd.DataFrame({1: frame["search_id"]})
    for number, column in enumerate(RAW_ITEM, start=10):
        items[column] = frame[f"categorical_{number}"]
    for number, column in enumerate([each for each in range(2, 49) if each not in RAW_ITEM], start=24):
        items[column] = frame[f"numerical_{number}"]
    items[49] = frame["click"] + frame["conversion"]
    return users[list(range(1, 34))].drop_duplicates(1), items[list(range(1, 50))]


def write_zipped(path: Path, frame: pd.DataFrame) -> None:
    """Write a table without a header line into an archive of its own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}.csv", frame.to_csv(index=False, header=False))


def video_frame(rows: int, seed: int) -> pd.DataFrame:
    """Impressions of videos; some users have several rows with one item, and clicked only some of them."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(0, index=range(rows), columns=VIDEO)
    frame["user_id"] = np.sort(draw.integers(1, rows // 10, rows))
    frame["item_id"] = draw.integers(1, 400, rows)
    frame["click"] = draw.integers(0, 2, rows)
    for label in ("follow", "like", "share"):
        frame[label] = frame["click"] * draw.integers(0, 2, rows)
    frame["video_category"] = draw.choice(["0", "1", "\\N"], rows)
    frame["watching_times"] = frame["click"]
    frame["gender"] = frame["user_id"] % 3
    frame["age"] = frame["user_id"] % 8
    again = frame.sample(rows // 20, random_state=seed)
    return pd.concat([frame, again.assign(click=1 - again["click"], like=0)]).sort_values("user_id", kind="stable")


def article_frame(rows: int, seed: int, columns: Sequence[str]) -> pd.DataFrame:
    """Clicked articles; as published, labels of the large file are written with a fraction."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(0, index=range(rows), columns=list(columns))
    frame["user_id"] = np.sort(draw.integers(1, rows // 5, rows))
    frame["item_id"] = draw.integers(1000, 1080, rows)
    frame["click"] = 1.0
    frame["gender"] = frame["user_id"] % 3
    frame["age"] = frame["user_id"] % 8
    for column in ("exposure_count", "click_count", "like_count", "comment_count", "read_percentage"):
        frame[column] = draw.integers(0, 100, rows)
    item = frame["item_id"].to_numpy()
    frame["category_first"] = 100 + item % 9
    frame["category_second"] = np.where(item % 7 == 0, "\\N", (10_000 + item % 40).astype(str))
    for number in (1, 2, 3):
        frame[f"item_score{number}"] = np.round((item * number % 13) / 13, 4)
    for label in ("read", "share", "like", "follow", "favorite"):
        if label in frame:
            frame[label] = draw.integers(0, 2, rows).astype(float)
    return frame


def tenrec(folder: Path, rows: int = 900) -> Path:
    """The four raw files."""
    folder.mkdir(parents=True, exist_ok=True)
    video_frame(rows, 0).to_csv(folder / "QB-video.csv", index=False)
    video_frame(2 * rows, 1).to_csv(folder / "QK-video.csv", index=False)
    article_frame(rows // 2, 2, ARTICLE).to_csv(folder / "QB-article.csv", index=False)
    article_frame(rows, 3, ARTICLE_QK).to_csv(folder / "QK-article.csv", index=False)
    return folder


def tenrec_ctr(folder: Path, rows: int = 1500) -> Path:
    """The file with the last ten videos beside each impression."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(4)
    frame = video_frame(rows, 4)
    for number in range(1, 11):
        frame[f"hist_{number}"] = draw.integers(0, 300, len(frame)) * (draw.random(len(frame)) > 0.02)
    frame.to_csv(folder / "ctr_data_1M.csv", index=False)
    return folder


def ali_ccp(folder: Path, rows: int = 900) -> Path:
    """The three files of torch-rechub."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (part, count) in enumerate({"train": rows, "val": rows // 3, "test": rows // 3}.items()):
        draw = np.random.default_rng(seed)
        frame = pd.DataFrame(index=range(count), columns=ALI_CCP_COLUMNS)
        for column in ALI_CCP_COLUMNS[2:]:
            frame[column] = (
                np.round(draw.random(count) * 3, 5) if column.startswith("D") else draw.integers(0, 8, count)
            )
        frame["101"] = draw.integers(0, 60, count)
        frame["205"] = draw.integers(0, 500, count)
        frame["124"] = draw.integers(0, 3, count)
        frame["128"] = draw.integers(0, 2, count)
        frame["301"] = draw.integers(1, 4, count)
        frame["click"] = (draw.random(count) < 0.4).astype(int)
        frame["purchase"] = frame["click"] * draw.integers(0, 2, count)
        frame.to_csv(folder / f"ali_ccp_{part}.csv", index=False)
    return folder


def kuairand(folder: Path, version: str = "pure", days: Sequence[Sequence[int]] | None = None, rows: int = 900) -> Path:
    """The official files of one version; by default each of the two logs has two days."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    first, second = days or ([20220420, 20220421], [20220507, 20220508])
    logs = {
        "log_standard_4_08_to_4_21": first,
        "log_standard_4_22_to_5_08": second,
        "log_random_4_22_to_5_08": [20220422],
    }
    for name, own in logs.items():
        kuairand_log(rows, own, draw).to_csv(folder / f"{name}_{version}.csv", index=False)
    kuairand_users(draw).to_csv(folder / f"user_features_{version}.csv", index=False)
    kuairand_videos(draw).to_csv(folder / f"video_features_basic_{version}.csv", index=False)
    return folder


def kuairand_log(rows: int, days: Sequence[int], draw: np.random.Generator) -> pd.DataFrame:
    """One log, ordered by day."""
    frame = pd.DataFrame(0, index=range(rows), columns=KUAIRAND_LOG)
    frame["user_id"] = draw.integers(0, 50, rows)
    frame["video_id"] = draw.integers(0, 80, rows)
    frame["date"] = np.sort(draw.choice(days, rows))
    frame["hourmin"] = draw.integers(0, 24, rows) * 100
    frame["tab"] = draw.choice([0, 1, 2, 4, 6, 11], rows)
    for label in ("is_click", "long_view", "is_like"):
        frame[label] = draw.integers(0, 2, rows)
    return frame


def kuairand_users(draw: np.random.Generator) -> pd.DataFrame:
    """The table of users."""
    frame = pd.DataFrame(0, index=range(50), columns=KUAIRAND_USERS)
    frame["user_id"] = range(50)
    frame["user_active_degree"] = draw.choice(["full_active", "UNKNOWN"], 50)
    frame["is_live_streamer"] = draw.choice([-124, 1], 50)
    frame["follow_user_num"] = draw.integers(0, 5000, 50)
    frame["follow_user_num_range"] = draw.choice(["0", "(0,10]", "500+"], 50)  # a comma within quotes
    frame["register_days"] = draw.choice([-124, 100], 50)
    frame["onehot_feat4"] = draw.choice([0.0, 14.0, np.nan], 50)
    return frame


def kuairand_videos(draw: np.random.Generator) -> pd.DataFrame:
    """The table of videos."""
    frame = pd.DataFrame(0, index=range(80), columns=KUAIRAND_VIDEOS)
    frame["video_id"] = range(80)
    frame["author_id"] = draw.integers(0, 10**7, 80)
    frame["video_type"] = draw.choice(["NORMAL", "AD", "UNKNOWN"], 80)
    frame["upload_dt"] = "2022-04-10"
    frame["upload_type"] = "Web"
    frame["video_duration"] = draw.choice([5000.0, 10633.0, np.nan], 80)
    frame["music_id"] = 9_000_000_000 + draw.integers(0, 3, 80)
    frame["tag"] = draw.choice(["39", "3,39", "11,2,68", ""], 80)
    return frame


MOVIELENS_GENRES = [
    *["unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"],
    *["Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"],
]


def movielens_frames(users: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Ratings, people and films; a user is of each age from 10 to 69."""
    draw = np.random.default_rng(0)
    people = pd.DataFrame({"user_id:token": np.arange(1, users + 1), "age:token": np.arange(10, 10 + users)})
    people["gender:token"] = draw.choice(["M", "F"], users)
    people["occupation:token"] = draw.choice(["none", "writer", "healthcare"], users)
    people["zip_code:token"] = "T8H1N"
    genres = ["Drama", "Children's Comedy", "Sci-Fi War Film-Noir", "unknown"]
    films = pd.DataFrame({"item_id:token": np.arange(1, 41), "movie_title:token_seq": 'A "Film" (Name)'})
    films["release_year:token"] = draw.choice(["1995", "1922", ""], 40)
    films["class:token_seq"] = draw.choice(genres, 40)
    ratings = pd.DataFrame({"user_id:token": np.repeat(np.arange(1, users + 1), 20)})
    ratings["item_id:token"] = draw.integers(1, 41, len(ratings))
    ratings["rating:float"] = draw.integers(1, 6, len(ratings))
    ratings["timestamp:float"] = draw.permutation(len(ratings)) + 881_250_949
    return ratings.sample(frac=1, random_state=0), people, films


def movielens(folder: Path, users: int = 60) -> Path:
    """MovieLens-100K as RecBole's atomic files."""
    folder.mkdir(parents=True)
    for name, frame in zip(("inter", "user", "item"), movielens_frames(users), strict=True):
        frame.to_csv(folder / f"ml-100k.{name}", sep="\t", index=False, quoting=3)
    return folder


def movielens_official(folder: Path, users: int = 60) -> Path:
    """The same ratings in GroupLens's own layout: no header lines, genres as flags."""
    folder.mkdir(parents=True)
    ratings, people, films = movielens_frames(users)
    ratings.to_csv(folder / "u.data", sep="\t", index=False, header=False)
    people.to_csv(folder / "u.user", sep="|", index=False, header=False)
    year = films["release_year:token"]
    official = films[["item_id:token"]].assign(
        title='L\u00e9on, a "Film" (Name)',
        day=("01-Jan-" + year).where(year != "", ""),
        video="",
        url="http://x.org/?a",
    )
    for genre in MOVIELENS_GENRES:
        official[genre] = [int(genre in own.split()) for own in films["class:token_seq"]]
    official.to_csv(folder / "u.item", sep="|", index=False, header=False, quoting=3, encoding="latin-1")
    return folder


def book_crossing(folder: Path, users: int = 240) -> Path:
    """The three files of the extract, with blanks and quotes in their values; user u is from country u % 8."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    people = pd.DataFrame({"User-ID": np.arange(1, users + 1), "User-City": "somewhere"})
    people["User-State"] = draw.choice([" ontario", " n/a", " "], users)
    countries = [*(f' {name}"' for name in BOOK_COUNTRIES), ' italy"', ""]
    people["User-Country"] = [countries[number % 8] for number in people["User-ID"]]
    people["User-Age"] = draw.choice(["", "34", '34"', "209", "0"], users)
    books = pd.DataFrame({"ISBN": [f"0{number:08}X" for number in range(60)]})
    books["Book-Title"] = 'A "Title", and more'
    books["Book-Author"] = draw.choice(["Amy Tan", "AMY TAN", "E. Ibbotson"], 60)
    books["Year-Of-Publication"] = draw.choice([0, 1971, 2003], 60)
    books["Book-Publisher"] = draw.choice(["Rowohlt Tb.", "Harper, Row & Co"], 60)
    ratings = pd.DataFrame({"User-ID": np.repeat(people["User-ID"], 10)})
    ratings["ISBN"] = draw.choice(books["ISBN"], len(ratings))
    ratings["Book-Rating"] = draw.integers(1, 11, len(ratings))
    for name, frame in (("Ratings", ratings.sample(frac=1, random_state=0)), ("Users", people), ("Books", books)):
        frame.to_csv(folder / f"BX-{name}.csv", index=False, lineterminator="\r\n")
    return folder
