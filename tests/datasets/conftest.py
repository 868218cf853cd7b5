"""Tiny data sets in the publishers' own formats, written by the tests themselves."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("RECLAB_SHARED", Path(__file__).resolve().parents[3] / "shared"))


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """The folder of a shared data set; skips, naming it, where it is absent."""

    def find(name: str) -> Path:
        folder = SHARED / "data" / name
        if not folder.exists():
            pytest.skip(f"shared data {name!r} is absent (set RECLAB_SHARED)")
        return folder

    return find


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch) -> None:
    """Rejected rows of a test go to the test's folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary")))


def write(path: Path, text: str | bytes, encoding: str = "utf8") -> Path:
    """Write text, gzipped where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode(encoding) if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


GLOBO_HEADER = (
    "user_id,session_id,session_start,session_size,click_article_id,click_timestamp,"
    "click_environment,click_deviceGroup,click_os,click_country,click_region,click_referrer_type\n"
)
NOON = 1_507_636_800_000  # 2017-10-10 12:00 UTC


@pytest.fixture
def globo(tmp_path: Path) -> Path:
    folder = tmp_path / "globo"
    for hour, rows in enumerate(
        [
            f"7,1,{NOON},2,30,{NOON + 1000},4,1,17,1,25,2\n"
            f"7,1,{NOON},2,10,{NOON + 9000},4,1,17,1,25,2\n",
            f"5,2,{NOON + 5000},2,30,{NOON + 6000},4,1,17,1,21,2\n"
            f"5,2,{NOON + 5000},2,20,{NOON + 50_000_000},4,1,17,1,9,2\n",
        ]
    ):
        write(folder / "clicks" / f"clicks_hour_{hour:03d}.csv", GLOBO_HEADER + rows)
    write(
        folder / "articles_metadata.csv",
        "article_id,category_id,created_at_ts,publisher_id,words_count\n"
        f"10,0,{NOON - 86_400_000},0,168\n"
        f"20,2,{NOON},0,189\n30,1,{NOON - 1},0,250\n40,2,{NOON},0,1\n",
    )
    return folder


RATINGS = [(196, 242, 3, 881250949), (186, 242, 5, 891717742), (196, 51, 4, 881250949)]
GENRE_FLAGS = {
    242: "0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0",
    51: "0|0|0|0|0|0|0|0|1|0|0|0|0|0|1|0|0|1|1",
}


@pytest.fixture
def ml_100k(tmp_path: Path) -> Path:
    folder = tmp_path / "ml-100k"
    write(folder / "u.data", "".join("\t".join(map(str, row)) + "\n" for row in RATINGS))
    write(
        folder / "u.item",
        f"51|Légendes (1994)|01-Jan-1994||http://x/|{GENRE_FLAGS[51]}\n"
        f"242|Kolya (1996)|24-Jan-1997||http://y/|{GENRE_FLAGS[242]}\n",
        "latin-1",
    )
    write(
        folder / "u.user", "186|39|F|executive|00000\n196|49|M|writer|55105\n200|7|X|none|T8H1N\n"
    )
    return folder


@pytest.fixture
def ml_atomic(tmp_path: Path) -> Path:
    folder = tmp_path / "atomic"
    rows = "".join("\t".join(map(str, row)) + "\n" for row in reversed(RATINGS))
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    write(folder / "ml-100k.inter.gz", header + rows)
    write(
        folder / "ml-100k.item",
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "51\tLégendes\t1994\tDrama Romance Western War\n242\tKolya\t1996\tComedy\n",
    )
    write(
        folder / "ml-100k.user",
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        "186\t39\tF\texecutive\t00000\n196\t49\tM\twriter\t55105\n200\t7\tX\tnone\tT8H1N\n",
    )
    return folder


@pytest.fixture
def ml_small(tmp_path: Path) -> Path:
    folder = tmp_path / "ml-latest-small"
    write(
        folder / "ratings.csv",
        "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,3,0.5,964981247\n2,11,3.5,964982224\n",
    )
    write(
        folder / "movies.csv",
        "movieId,title,genres\n1,Toy Story (1995),Adventure|Animation|Children\n"
        '3,"American President, The (1995)",Comedy|Romance\n'
        '11,"Say ""Hi"" (1995)",(no genres listed)\n',
    )
    return folder


BEIJING_8AM = 1_649_894_400_000  # 2022-04-14 08:00 in Beijing, midnight in Greenwich
KUAIRAND_HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab\n"
)


@pytest.fixture
def kuairand(tmp_path: Path) -> Path:
    folder = tmp_path / "KuaiRand-Pure" / "data"
    write(
        folder / "log_standard_4_08_to_4_21_pure.csv",
        KUAIRAND_HEADER
        + f"3,9,20220414,800,{BEIJING_8AM},1,1,0,0,1,0,1,20500,20000,0,0,0,0,1\n"
        + f"3,2,20220414,800,{BEIJING_8AM},0,0,0,0,0,0,0,900,20000,0,0,0,0,1\n",
    )
    write(
        folder / "log_random_4_22_to_5_08_pure.csv",
        KUAIRAND_HEADER
        + f"4,2,20220414,700,{BEIJING_8AM - 1},1,0,1,1,0,0,0,6500,20000,0,0,0,1,1\n",
    )
    write(
        folder / "user_features_pure.csv",
        "user_id,user_active_degree,follow_user_num,follow_user_num_range,fans_user_num,"
        "friend_user_num,register_days\n"
        '3,full_active,514,500+,150,34,799\n4,UNKNOWN,5,"(0,10]",0,0,6\n8,UNKNOWN,5,"(0,10]",0,0,90\n',
    )
    write(
        folder / "video_features_basic_pure.csv",
        "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
        "server_width,server_height,music_id,music_type,tag\n"
        "2,77,NORMAL,2022-04-13,LongImport,0.0,20000.0,720.0,1280.0,91,9.0,39\n"
        '9,78,AD,,Kmovie,0.0,,720.0,1280.0,92,,"39,4"\n5,79,NORMAL,2022-04-14,Web,0.0,7000.0,7,1,9,,\n',
    )
    return folder.parent


@pytest.fixture
def kuairec(tmp_path: Path) -> Path:
    folder = tmp_path / "KuaiRec 2.0" / "data"
    header = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
    write(
        folder / "big_matrix.csv",
        header
        + "0,3,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.27\n"
        + "0,1,1000,30000,2020-07-05 00:13:41.297,20200705,1593879221.297,0.03\n"
        + "0,1,1000,30000,2020-07-05 00:13:41.297,20200705,1593879221.297,0.03\n",
    )
    write(
        folder / "small_matrix.csv",
        header + "1,3,5000,10867,,,,0.46\n2,1,19000,30000,,,1593879221.0,0.6\n",
    )
    write(
        folder / "user_features.csv",
        "user_id,user_active_degree,register_days\n0,high_active,107\n",
    )
    write(folder / "item_categories.csv", 'video_id,feat\n1,"[27, 9]"\n3,[8]\n')
    write(
        folder / "item_daily_features.csv",
        "video_id,date,author_id,upload_dt,video_duration,like_cnt,comment_cnt,share_cnt\n"
        "1,20200705,5,2020-03-30,30000.0,10,1,0\n1,20200706,5,2020-03-30,30000.0,7,0,2\n"
        "3,20200705,6,2020-03-31,,1,1,1\n",
    )
    write(
        folder / "kuairec_caption_category.csv",
        "video_id,manual_cover_text,caption,topic_tag,first_level_category_id,"
        "first_level_category_name\n"
        '1,UNKNOWN,"one\ntwo, ""three""",[],27,高新数码\n3,UNKNOWN,,[],8,颜值\n',
    )
    return folder.parent
