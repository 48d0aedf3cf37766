"""Recordings in the dialects of many loggers, spreadsheets and countries, made from one truth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = datetime(2026, 11, 20, 8, tzinfo=UTC)
STEP = timedelta(minutes=10)
TIMES = [FIRST + n * STEP for n in range(40)]
NAMES = ("flow", "temp", "pressure")
# From below to above 1000, so that thousands are grouped in some rows only.
VALUES = [(970.25 + 1.5 * n, 20.5 + 0.25 * n, 4.208 + 0.001 * n) for n in range(40)]
Row = tuple[datetime, tuple[float, ...]]
ROWS: list[Row] = list(zip(TIMES, VALUES, strict=True))


class Dialect(NamedTuple):
    """A file, what is said about it beside its name, and the cause if it must be refused."""

    data: bytes
    options: dict[str, Any]
    refused: str = ""
    name: str = "run.csv"
    rows: list[Row] = ROWS  # what must come out


def number(value: float, decimal: str = ".") -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".").replace(".", decimal)


def _month(moment: datetime, names: str) -> str:
    return names.split()[moment.month - 1]


_EN = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_DE = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
_FR = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre"
_ES = "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"


def _ampm(moment: datetime, form: str) -> str:
    hour = moment.hour % 12 or 12
    return moment.strftime(form).replace("@h", str(hour))


def _noon(moment: datetime) -> str:
    return "上午" if moment.hour < 12 else "下午"


def _serial(moment: datetime, epoch: datetime = datetime(1899, 12, 30, tzinfo=UTC)) -> float:
    return (moment - epoch).total_seconds() / 86400


TIME_FORMS: dict[str, Callable[[datetime], str]] = {
    "iso": lambda t: t.strftime("%Y-%m-%dT%H:%M:%S"),
    "iso with zone": lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "small t and z": lambda t: t.strftime("%Y-%m-%dt%H:%M:%Sz"),
    "blank": lambda t: t.strftime("%Y-%m-%d %H:%M:%S"),
    "milliseconds": lambda t: t.strftime("%Y-%m-%d %H:%M:%S.000"),
    "comma before milliseconds": lambda t: (
        t.strftime("%Y-%m-%d %H:%M:%S").replace(",", "") + ".000"
    ),
    "offset": lambda t: (t + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00"),
    "offset in words": lambda t: (t + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S CET"),
    "utc in words": lambda t: t.strftime("%Y-%m-%d %H:%M:%S UTC"),
    "basic": lambda t: t.strftime("%Y%m%dT%H%M%SZ"),
    "short hour": lambda t: f"{t:%Y-%m-%d} {t.hour}:{t:%M:%S}",
    "minutes only": lambda t: t.strftime("%Y-%m-%d %H:%M"),
    "year first, slashes": lambda t: t.strftime("%Y/%m/%d %H:%M:%S"),
    "year first, short": lambda t: f"{t.year}/{t.month}/{t.day} {t:%H:%M}",
    "year first, points": lambda t: t.strftime("%Y.%m.%d. %H:%M:%S"),
    "German": lambda t: t.strftime("%d.%m.%Y %H:%M:%S"),
    "German, short": lambda t: t.strftime("%d.%m.%y %H:%M"),
    "German, blanks": lambda t: t.strftime("%d. %m. %Y %H:%M:%S"),
    "Finnish": lambda t: f"{t.day}.{t.month}.{t.year} {t:%H.%M.%S}",
    "British": lambda t: t.strftime("%d/%m/%Y %H:%M:%S"),
    "Dutch": lambda t: t.strftime("%d-%m-%Y %H:%M:%S"),
    "American": lambda t: _ampm(t, "%m/%d/%Y @h:%M:%S %p"),
    "American, small": lambda t: _ampm(t, "%m/%d/%Y @h:%M:%S ") + f"{t:%p}".lower()[0] + ".m.",
    "American, narrow blank": lambda t: _ampm(t, "%m/%d/%Y, @h:%M:%S\u202f%p").replace(",", ""),
    "American, 24 hours": lambda t: t.strftime("%m/%d/%Y %H:%M"),
    "month by name": lambda t: f"{t.day}-{_month(t, _EN)}-{t:%Y %H:%M:%S}",
    "month first by name": lambda t: _ampm(t, f"{_month(t, _EN)} {t.day} %Y @h:%M:%S %p"),
    "month in German": lambda t: f"{t.day}. {_month(t, _DE)} {t:%Y %H:%M:%S}",
    "month in French": lambda t: f"{t.day} {_month(t, _FR)} {t:%Y %H:%M:%S}",
    "month in Spanish": lambda t: f"{t.day} de {_month(t, _ES)} de {t:%Y %H:%M:%S}",
    "asctime": lambda t: f"Fri {_month(t, _EN)} {t.day} {t:%H:%M:%S %Y}",
    "web server": lambda t: f"{t.day}/{_month(t, _EN)}/{t:%Y:%H:%M:%S} +0000",
    "Japanese": lambda t: f"{t.year}年{t.month}月{t.day}日 {t:%H時%M分%S秒}",
    "Chinese, noon": lambda t: (
        f"{t.year}年{t.month}月{t.day}日 {_noon(t)}{t.hour % 12 or 12}:{t:%M:%S}"
    ),
    "Chinese, slashes": lambda t: (
        f"{t.year}/{t.month}/{t.day} {_noon(t)} {t.hour % 12 or 12}:{t:%M}"
    ),
    "Korean": lambda t: f"{t.year}년 {t.month}월 {t.day}일 {t:%H:%M:%S}",
    "seconds": lambda t: f"{t.timestamp():.0f}",
    "seconds and a half": lambda t: f"{t.timestamp():.1f}",
    "milliseconds since": lambda t: f"{t.timestamp() * 1e3:.0f}",
    "microseconds since": lambda t: f"{t.timestamp() * 1e6:.0f}",
    "nanoseconds since": lambda t: f"{t.timestamp() * 1e9:.0f}",
    "all digits": lambda t: t.strftime("%Y%m%d%H%M%S"),
    "all digits, no seconds": lambda t: t.strftime("%Y%m%d%H%M"),
    "serial days": lambda t: f"{_serial(t):.8f}",
}


def wide(
    form: Callable[[datetime], str] = TIME_FORMS["iso with zone"],
    *,
    sep: str = ",",
    decimal: str = ".",
    head: str = "time,flow,temp,pressure",
    rows: list[Row] = ROWS,
    quote: str = "",
    eol: str = "\n",
    cell: Callable[[float], str] | None = None,
) -> str:
    """One row a time, one column a signal."""
    write = cell or (lambda value: number(value, decimal))
    lines = [head.replace(",", sep)]
    for moment, values in rows:
        cells = [form(moment), *(write(value) for value in values)]
        lines.append(sep.join(f"{quote}{one}{quote}" for one in cells))
    return eol.join(lines) + eol


def long(head: str, *, sep: str = ",", label: str = "{}", more: str = "") -> str:
    """One row a value."""
    lines = [head]
    for moment, values in ROWS:
        for name, value in zip(NAMES, values, strict=True):
            stamp = TIME_FORMS["iso with zone"](moment)
            lines.append(sep.join((stamp, label.format(name), number(value))) + more)
    return "\n".join(lines) + "\n"


def _grouped(group: str, decimal: str) -> Callable[[float], str]:
    def write(value: float) -> str:
        text = f"{value:,.3f}"
        return text.replace(",", "#").replace(".", decimal).replace("#", group)

    return write


def text(
    body: str,
    encoding: str = "utf-8",
    *,
    refused: str = "",
    rows: list[Row] = ROWS,
    **options: Any,
) -> Dialect:
    return Dialect(body.encode(encoding), options, refused, rows=rows)


def _at(first: datetime, step: timedelta, n: int = 40) -> list[Row]:
    return [(first + k * step, VALUES[k]) for k in range(n)]


def _influx() -> str:
    head = (
        "#group,false,false,true,true\n#datatype,string,long,dateTime:RFC3339,double\n"
        "#default,_result,,,\n,result,table,_time,_value,_field\n"
    )
    lines = [
        f",,0,{TIME_FORMS['iso with zone'](t)},{number(v)},{n}"
        for t, values in ROWS
        for n, v in zip(NAMES, values, strict=True)
    ]
    return head + "\n".join(lines) + "\n"


def make_dialects() -> dict[str, Dialect]:
    """All of them by name."""
    found: dict[str, Dialect] = {}
    for name, form in TIME_FORMS.items():
        found[f"{name}; point"] = text(wide(form))
        if name != "seconds and a half":
            found[f"{name}; comma"] = text(wide(form, sep=";", decimal=","))
    return found | _layouts() | _refused()


def _layouts() -> dict[str, Dialect]:
    german = TIME_FORMS["German"]
    iso = TIME_FORMS["iso"]
    body = wide()
    first, rest = body.split("\n", 1)
    early = _at(datetime(2026, 4, 3, 8, tzinfo=UTC), STEP)
    night = _at(datetime(2026, 4, 3, 22, tzinfo=UTC), STEP)
    same = _at(datetime(2026, 4, 4, 8, tzinfo=UTC), STEP)
    return {
        "byte order mark": text("\ufeff" + body),
        "utf-16": text(body, "utf-16"),
        "utf-16 without mark": text(body, "utf-16-le"),
        "latin-1": text(wide(head="time,flow,temp,pressure,°C"), "latin-1"),
        "Shift JIS": text(wide(TIME_FORMS["Japanese"], head="日時,flow,temp,pressure"), "cp932"),
        "GBK": text(wide(TIME_FORMS["Japanese"], head="时间,flow,temp,pressure"), "gb18030"),
        "tab": text(wide(sep="\t")),
        "bar": text(wide(sep="|")),
        "semicolon and point": text(wide(sep=";")),
        "carriage returns": text(wide(eol="\r\n")),
        "old Mac": text(wide(eol="\r")),
        "all quoted": text(wide(quote='"', head='"time","flow","temp","pressure"')),
        "quoted decimal commas": text(
            wide(quote='"', decimal=",", head='"time","flow","temp","pressure"')
        ),
        "sep line": text("sep=;\r\n" + wide(german, sep=";", decimal=",", eol="\r\n")),
        "comments": text("# logger 7\n# line 3\n" + first + "\n# started\n" + rest),
        "header in a comment": text("# made by a logger\n#" + body),
        "title filled up with empty cells": text("Plant North,,,\n" + body),
        "title, then units below": text("Plant North,,,\n" + first + "\n,m3/h,°C,bar\n" + rest),
        "groups above the names": text(",pump A,,\n" + body),
        "units in the cells": text(
            wide(german, sep=";", cell=lambda v: f"{number(v, ',')} m³/h"),
        ),
        "units in the cells, point": text(wide(cell=lambda v: f"{number(v)} bar")),
        "preamble": text("Serial;4711\nSite;North\n\n" + wide(sep=";")),
        "units below": text(first + "\n,m3/h,°C,bar\n" + rest),
        "units and kinds below": text(first + "\n,m3/h,°C,bar\n-,float,float,float\n" + rest),
        "units in the names": text(wide(head="Zeit,Flow [m3/h],Temp (°C),Pressure {bar}")),
        "other case": text(wide(head="TIMESTAMP,FLOW,Temp,PRESSURE")),
        "names with the asset": text(wide(head="time,P1.flow,P1/temp,P1 Pressure [bar]")),
        "header over two lines": text(
            wide(german, sep=";", decimal=",", head='Zeit,"Flow\n[m3/h]",temp,pressure')
        ),
        "header again and again": text(body + body.replace(rest, "")),
        "trailing separators": text("\n".join(line + ";" for line in wide(sep=";").splitlines())),
        "separators in rows alone": text(first + "\n" + rest.replace("\n", ",\n")),
        "index column": text(
            "".join(f",{x}\n" if not k else f"{k},{x}\n" for k, x in enumerate(body.splitlines()))
        ),
        "newest first": text(wide(rows=ROWS[::-1])),
        "two columns of time": text(
            wide(
                lambda t: f"{t:%d.%m.%Y};{t:%H:%M:%S}",
                sep=";",
                decimal=",",
                head="Datum,Uhrzeit,flow,temp,pressure",
            )
        ),
        "two columns, named": text(
            wide(lambda t: f"{t:%d/%m/%Y},{t:%H:%M:%S}", head="a,b,flow,temp,pressure"), time="a+b"
        ),
        "blank separator": text(wide(sep=" ", head="time,flow,temp,pressure")),
        "no header": text(rest, header=False, columns={"flow": "2", "temp": "3", "pressure": "4"}),
        "time anywhere": text(
            "\n".join(
                ",".join([*line.split(",")[1:], line.split(",")[0]])
                for line in wide(head="when,flow,temp,pressure").splitlines()
            )
        ),
        "grouped by comma": text(wide(sep=";", cell=_grouped(",", "."))),
        "grouped by point": text(wide(german, sep=";", cell=_grouped(".", ","))),
        "grouped by blank": text(wide(german, sep=";", cell=_grouped("\u202f", ","))),
        "grouped by apostrophe": text(wide(german, sep=";", cell=_grouped("'", "."))),
        "typographic minus": text(wide(cell=lambda v: number(v).replace("-", "\u2212"))),
        "exponents": text(wide(cell=lambda v: f"{v:.6e}")),
        "exponents with comma": text(wide(sep=";", cell=lambda v: f"{v:.6e}".replace(".", ","))),
        "NUL bytes of a power cut": text(
            body.replace("\n2026-11-20T09", "\n" + 4 * "\0" + "2026-11-20T09", 1)
        ),
        "stray quote in a note": text(
            "\n".join(
                f'{line},"opened' if k == 3 else f"{line},note"
                for k, line in enumerate(body.splitlines())
            )
        ),
        "long": text(long("time,tag,value")),
        "long, quality in words": text(
            long("timestamp;tagname;value;quality", sep=";", more=";Good")
        ),
        "long, quality of OPC Classic": text(long("ts,name,val,quality", more=",192")),
        "long, German": text(long("Zeit;Messstelle;Wert", sep=";", label="P1.{}")),
        "long, named": text(long("a,b,c"), time="a", signal_column="b", value_column="c"),
        "InfluxDB": text(_influx()),
        "British within one night": text(wide(TIME_FORMS["British"], rows=night), rows=night),
        "local time": text(wide(lambda t: iso(t + timedelta(hours=1))), timezone="Europe/Berlin"),
        "offset of the recording": text(
            wide(lambda t: iso(t - timedelta(hours=5))), timezone="-05:00"
        ),
        "serial days since 1904": text(
            wide(lambda t: f"{_serial(t, datetime(1904, 1, 1, tzinfo=UTC)):.8f}"),
            time_format="excel1904",
        ),
        "milliseconds by the name": text(
            wide(TIME_FORMS["milliseconds since"], head="time [ms],flow,temp,pressure")
        ),
        "day like month": text(wide(TIME_FORMS["British"], rows=same), rows=same),
        "minutes by the name": text(
            wide(lambda t: f"{t.timestamp() / 60:.0f}", head="time [min],flow,temp,pressure")
        ),
        "order said": text(
            wide(TIME_FORMS["British"], rows=early),
            time_format="dmy",
            rows=early,
        ),
        "decimal said": text(
            wide(sep=";", cell=lambda v: f"{v:.3f}".replace(".", ",")), decimal=","
        ),
    }


def _refused() -> dict[str, Dialect]:
    early = _at(datetime(2026, 4, 3, 8, tzinfo=UTC), STEP)
    daily = _at(datetime(2026, 4, 1, 8, tzinfo=UTC), timedelta(days=1), 12)
    gap = "".join(f"2026-03-29 02:{n}:00,1.5,2.5,3.5\n" for n in range(10, 60, 10))
    whole = wide(sep=";", rows=ROWS[:15], cell=lambda v: f"{v:.3f}".replace(".", ","))
    return {
        "day or month": text(wide(TIME_FORMS["British"], rows=early), refused="no row shows which"),
        "day or month, American": text(
            wide(TIME_FORMS["American"], rows=early), refused="set it: time_format"
        ),
        "day or month, one row a day": text(
            wide(TIME_FORMS["British"], rows=daily), refused="no row shows which"
        ),
        "year or day": text(
            wide(lambda t: t.strftime("%d/%m/%y %H:%M"), rows=early), refused="no row shows which"
        ),
        "year or day, British": text(
            wide(lambda t: t.strftime("%d/%m/%y %H:%M:%S")), refused="no row shows which"
        ),
        "Buddhist years": text(
            wide(lambda t: f"{t.day:02}/{t.month:02}/{t.year + 543} {t:%H:%M:%S}"),
            refused="not a time",
        ),
        "thousands or decimals, with a unit": text(
            wide(sep=";", rows=ROWS[:15], cell=lambda v: f"{v:.3f} bar".replace(".", ",")),
            refused="may be several",
        ),
        "thousands or decimals": text(whole, refused="may be several"),
        "decimal commas between commas": text(
            wide(decimal=",", rows=[(t, tuple(x + 0.125 for x in v)) for t, v in ROWS]),
            refused="more cells than the header",
        ),
        "days or seconds": text(
            wide(lambda t: f"{_serial(t):.2f}"), refused="may be days of a spreadsheet or seconds"
        ),
        "times without a date": text(
            wide(lambda t: t.strftime("%H:%M:%S")), refused="without a date"
        ),
        "rounded by a spreadsheet": text(
            wide(lambda t: f"{t.timestamp() * 1e3:.5E}"), refused="not a time"
        ),
        "an hour that never came": text(
            "time,flow,temp,pressure\n" + gap, refused="does not exist", timezone="Europe/Berlin"
        ),
        "ten digits": text(wide(lambda t: t.strftime("%y%m%d%H%M")), refused="may mean several"),
        "twelve digits": text(
            wide(lambda t: t.strftime("%y%m%d%H%M%S")), refused="may mean several times"
        ),
        "twelve hours": text(
            wide(lambda t: f"{t:%Y-%m-%d} {t.hour % 12 or 12:02}:{t:%M}"), refused="AM or PM"
        ),
        "day numbers of MATLAB": text(
            wide(lambda t: f"{_serial(t) + 693960:.8f}"), refused="may be MATLAB day numbers"
        ),
        "Julian days": text(
            wide(lambda t: f"{_serial(t) + 2415018.5:.8f}"), refused="may be Julian day numbers"
        ),
        "counts of 100 ns since year 1": text(
            wide(lambda t: f"{t.timestamp() * 1e7 + 621355968 * 10**9:.0f}"),
            refused="may mean several",
        ),
        "single quotes": text(
            wide(quote="'", head="'time','flow','temp','pressure'"), refused="not a time"
        ),
        "halves of numbers below no name": text(
            wide(
                lambda t: f"{t:%Y-%m-%d %H:%M}",
                decimal=",",
                head="time,flow,temp,pressure,,,",
                rows=[(t, tuple(x + 0.125 for x in v)) for t, v in ROWS],
            ),
            refused="more cells than the header",
        ),
        "thousands by a letter": text(
            wide(cell=lambda v: f"{v / 1000:.3f}k"), refused="text in 40 of 40 rows"
        ),
        "no times": text(
            "\n".join(line.split(",", 1)[1] for line in wide().splitlines()),
            refused="no column contains times",
        ),
        "no year": text(wide(lambda t: t.strftime("%d.%m. %H:%M:%S")), refused="not a time"),
        "no date at all": text(wide(lambda _: "yesterday"), refused="not a time"),
        "quality good or bad": text(
            long("time,tag,value,quality", more=",0"), refused="may be good"
        ),
        "other names": text(wide(head="time,a,b,c"), refused="needs flow, temp, pressure"),
        "two columns for one": text(
            wide(head="time,Flow [m3/h],FLOW (l/s),pressure"), refused="may be one signal"
        ),
        "no header, not said": text(wide().split("\n", 1)[1], refused="no header"),
        "empty": text("", refused="empty"),
        "Parquet": Dialect(b"PAR1" + bytes(50), {}, "Parquet", "run.parquet"),
        "old Excel": Dialect(b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(50), {}, "old Excel workbook"),
        "JSON": text('{"time": 1, "flow": 2}\n', refused="is JSON"),
        "HTML": text("<table><tr><td>1</td></tr></table>", refused="HTML"),
        "binary": Dialect(bytes(range(256)) * 8, {}, "is not a text"),
        "broken zip": Dialect(b"PK\x03\x04" + bytes(50), {}, "damaged zip"),
    }
