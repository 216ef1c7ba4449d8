"""The database of the queue: its tables, its version, and the migration from the first version.

The first version identified an image by UID and model. Images without a report wait for analysis again after the
migration; ``settle`` reads the headers of their files, which are still named by UID and model.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from microcalc.errors import InputError

VERSION: Final = 2
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS image (
    uid TEXT PRIMARY KEY, model TEXT NOT NULL, intent TEXT NOT NULL, exam TEXT NOT NULL, place TEXT NOT NULL,
    received REAL NOT NULL, turn INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
    tries INTEGER NOT NULL DEFAULT 0, put_back INTEGER NOT NULL DEFAULT 0, reason TEXT, report TEXT
);
CREATE INDEX IF NOT EXISTS image_turn ON image (turn);
CREATE INDEX IF NOT EXISTS image_state ON image (state);
CREATE INDEX IF NOT EXISTS image_report ON image (report);
CREATE TABLE IF NOT EXISTS history (
    uid TEXT NOT NULL, model TEXT NOT NULL, report TEXT NOT NULL, PRIMARY KEY (uid, model)
);
CREATE INDEX IF NOT EXISTS history_report ON history (report);
CREATE TABLE IF NOT EXISTS report (
    uid TEXT PRIMARY KEY, first TEXT NOT NULL, made REAL NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', sent REAL,
    tries INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0, reason TEXT
);
CREATE INDEX IF NOT EXISTS report_due ON report (due) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS quarantine (
    sha256 TEXT PRIMARY KEY, received REAL NOT NULL, bytes INTEGER NOT NULL, reason TEXT NOT NULL
);
"""
_FROM_FIRST: Final = """
ALTER TABLE image RENAME TO old_image;
ALTER TABLE report RENAME TO old_report;
DROP INDEX image_waiting;
DROP INDEX image_unreported;
DROP INDEX report_waiting;
{tables}
INSERT INTO history SELECT uid, model, report FROM old_image WHERE report IS NOT NULL;
INSERT OR IGNORE INTO image (uid, model, intent, exam, place, received, turn)
    SELECT uid, model, intent, uid, place, received, rowid FROM old_image
    WHERE report IS NULL AND state <> 'quarantined';
INSERT OR IGNORE INTO image (uid, model, intent, exam, place, received, turn, state, reason, report)
    SELECT uid, model, intent, uid, place, received, rowid,
        CASE WHEN report IS NULL THEN 'quarantined' ELSE 'reported' END, reason, report
    FROM old_image WHERE report IS NOT NULL OR state = 'quarantined' ORDER BY report IS NULL, rowid DESC;
INSERT INTO report (uid, first, made, state, sent, tries, reason)
    SELECT uid, uid, made, CASE WHEN sent IS NULL THEN 'waiting' ELSE 'sent' END, sent, tries, reason FROM old_report;
DROP TABLE old_image;
DROP TABLE old_report;
"""


def open_database(file: Path) -> sqlite3.Connection:
    """Open the database of the queue; create it or migrate it to this version if necessary.

    Raises
    ------
    InputError
        The file is damaged, was written by a later version, or belongs to another program.
    """
    db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # in WAL mode NORMAL would lose the last changes
        if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError
        _migrate(db, file.name)
    except sqlite3.DatabaseError as error:
        db.close()
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise  # the disk is full, or fails
        raise InputError(
            f"{file.name}: damaged, expected the queue of a node; if it is moved away, with {file.name}-wal and "
            "-shm, the images in the folder are queued again at the next start"
        ) from None
    except BaseException:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection, name: str) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    tables = {str(table) for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    first = {"image", "report", "quarantine"}
    if version > VERSION or (tables and tables != first):
        raise InputError(f"{name}: version {version} of another program, expected the queue of this one")
    script = _FROM_FIRST.format(tables=_TABLES) if tables else _TABLES
    with closing(db.cursor()) as cursor:
        cursor.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {VERSION}; COMMIT;")
