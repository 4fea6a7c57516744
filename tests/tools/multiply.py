#!/usr/bin/env python3
"""Multiplies what a replay left in a SQLite file of nta-daemon: to so many flows and alerts, spread over the time of the capture.

multiply.py FILE FLOWS ALERTS
"""

import sqlite3
import sys


def columns(database, table, number):
    return [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[1] != number]


def multiply(database, table, number, wanted, change):
    (there,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    names = columns(database, table, number)
    for copy in range(1, (wanted + there - 1) // there):
        values = ", ".join(change.get(name, name).format(copy=copy) for name in names)
        database.execute(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table} ORDER BY {number} LIMIT ?",
            (min(there, wanted - there * copy),),
        )


def main(path, flows, alerts):
    database = sqlite3.connect(path)
    # Identities are numbers of flows and 16 hexadecimal digits of alerts; sources differ, so that lists are not of one host.
    # A flow in fifty is large, as a network's are.
    large = {f"{side}_{what}": f"{side}_{what} + ({{copy}} % 50 = 0) * ({{copy}} + number % 7) * {by}"
             for side in ("orig", "resp") for what, by in (("packets", 1000), ("bytes", 1000000), ("ip_bytes", 960000))}
    multiply(database, "flows", "number", flows, {"id": "id + {copy} * 7919000001", **large})
    multiply(
        database,
        "detected_alerts",
        "number",
        alerts,
        {
            "id": "printf('%016x', {copy} * 65536 + number)",
            "severity": "{copy} % 4",
            "raised_ns": "raised_ns - {copy} * 1000",
            "source": "'10.' || ({copy} / 65536 % 256) || '.' || ({copy} / 256 % 256) || '.' || ({copy} % 256)",
        },
    )
    for name, table in (("flows", "flows"), ("alerts", "detected_alerts")):
        database.execute(f"UPDATE totals SET value = (SELECT count(*) FROM {table}) WHERE name = ?", (name,))
    database.commit()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
