"""``node.toml``: where the node listens, which model it uses, and where it sends reports.

Settings are checked as strictly as recipes: an unknown or impossible entry is an error that names it. With the
defaults, which are our choice, the node is closed to the network: it listens on loopback only, accepts only the AE
titles that are named, and has a limit for everything.
"""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from microcalc.domain import BenignFindings, Intent
from microcalc.errors import InputError
from microcalc.training.recipe import Count, CountOrNone, Positive
from microcalc.training.settings import first_fault, tuples_of
from microcalc.wording import reading_fault

MEBIBYTE = 1024 * 1024


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError("not an address or network such as 192.0.2.7 or 192.0.2.0/24") from None


File = Annotated[Path, Field(strict=False)]
AeTitle = Annotated[str, Field(pattern=r"^[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?$")]
"""1 to 16 ASCII characters without backslashes and without leading or trailing spaces (PS3.5 6.2)."""
Port = Annotated[int, Field(ge=1, le=65535)]
ListenPort = Annotated[int, Field(ge=0, le=65535)]
"""A port to listen on; 0 selects any free one."""
Network = Annotated[str, AfterValidator(_network)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


_PartT = TypeVar("_PartT", bound=_Part)


class Tls(_Part):
    """Our certificate and its key, and the authorities that must have issued the peer's certificate (PEM files)."""

    certificate: File
    key: File
    authorities: File


class Listen(_Part):
    """Who may send images, and the limits.

    Attributes
    ----------
    calling_ae_titles
        AE titles that may associate.
    networks
        Addresses that may connect; by default only this machine.
    tls
        If given, only TLS connections with a certificate of the sender are accepted.
    max_associations
        Largest number of simultaneous associations.
    max_pdu_bytes
        Largest size of a data PDU.
    max_file_mib
        Largest size of an image.
    idle_s
        A connection is closed after this time without data.
    """

    ae_title: AeTitle = "MICROCALC"
    address: str = "127.0.0.1"
    port: ListenPort = 11112
    calling_ae_titles: Annotated[tuple[AeTitle, ...], Field(min_length=1)]
    networks: Annotated[tuple[Network, ...], Field(min_length=1)] = ("127.0.0.0/8", "::1/128")
    tls: Tls | None = None
    max_associations: Annotated[int, Field(ge=1, le=100)] = 8
    max_pdu_bytes: Annotated[int, Field(ge=4096, le=MEBIBYTE)] = 131072
    max_file_mib: Annotated[int, Field(ge=1, le=1024)] = 160
    idle_s: Positive = 60.0


class Detect(_Part):
    """How images are analysed.

    Attributes
    ----------
    model
        As in ``microcalc detect --model``; a folder is relative to the settings file. By default the
        shipped model for the image's intent.
    intents
        Intents of the images that are accepted; others are refused when the association is negotiated.
    benign
        As in ``microcalc detect --benign``.
    workers, threads
        Number of processes, and of threads in each; 0 threads divides the cores among the processes.
    tries
        An image is reported as failed after this number of attempts without an answer of its worker, or without
        enough memory.
    image_s
        A worker is killed if an image takes longer.
    """

    model: str | None = None
    intents: Annotated[tuple[Intent, ...], Field(min_length=1)] = ("raw", "processed")
    benign: BenignFindings = "show"
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    threads: Annotated[int, Field(ge=0, le=64)] = 0
    tries: Count = 3
    image_s: Positive = 300.0


class Report(_Part):
    """When and how exams are reported.

    Attributes
    ----------
    kinds, codes
        As in ``microcalc detect --report`` and ``--codes``.
    wait_s
        An exam is reported when it had no new image for this time, or at once when it has CC and MLO of
        both breasts.
    """

    kinds: Annotated[tuple[Literal["sr", "tid1500", "gsps", "seg"], ...], Field(min_length=1)] = ("sr",)
    codes: Literal["sct", "srt"] = "sct"
    wait_s: Annotated[float, Field(ge=0)] = 120.0


class _Destination(_Part):
    """A destination; the wait between attempts doubles from ``first_wait_s`` to ``longest_wait_s``, without end."""

    timeout_s: Positive = 30.0
    first_wait_s: Positive = 2.0
    longest_wait_s: Positive = 300.0


class DicomDestination(_Destination):
    """A DICOM node to which reports are sent by C-STORE."""

    protocol: Literal["dicom"]
    ae_title: AeTitle
    address: str
    port: Port
    tls: Tls | None = None


class DicomWebDestination(_Destination):
    """A web server to which reports are sent by STOW-RS.

    Attributes
    ----------
    url
        URL of the service, such as ``https://pacs.example/dicom-web``.
    user, password_file
        For HTTP basic authentication; the password is the first line of the file.
    authorities
        Authorities that may have issued the server's certificate (PEM file); by default those of certifi.
    """

    protocol: Literal["dicomweb"]
    url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]
    user: str | None = None
    password_file: File | None = None
    authorities: File | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user or password_file is missing, expected both or neither")
        return self


Destination = Annotated[DicomDestination | DicomWebDestination, Field(discriminator="protocol")]


class Health(_Part):
    """Where health and metrics are served.

    Attributes
    ----------
    port
        TCP port; 0 selects any free one.
    stalled_s
        Health fails when work has been waiting for this time and none was completed.
    """

    address: str = "127.0.0.1"
    port: ListenPort = 11113
    stalled_s: Positive = 1200.0


class Storage(_Part):
    """What the node keeps on disk.

    Attributes
    ----------
    folder
        Folder of queue, images, reports and quarantine, relative to the settings file; created if necessary,
        accessible to the node's user only.
    free_mib
        Images are refused when less free space than this would remain.
    quarantine_mib
        Largest size of all quarantined files; beyond it only the reason is kept.
    """

    folder: File
    free_mib: CountOrNone = 512
    quarantine_mib: CountOrNone = 1024


class NodeSettings(_Part):
    """All settings of a node."""

    storage: Storage
    listen: Listen
    destination: Destination
    detect: Detect = Detect()
    report: Report = Report()
    health: Health = Health()


def load_settings(file: Path) -> NodeSettings:
    """Read ``node.toml``, and make its relative paths absolute.

    Raises
    ------
    InputError
        The file is missing or not TOML, or an entry is unknown, missing or impossible.
    """
    try:
        given = tuples_of(tomllib.loads(file.read_text(encoding="utf-8")))
        settings = NodeSettings.model_validate(given)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file.name}: not readable ({reading_fault(error)}), expected a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file.name}: not TOML ({error})") from error
    except ValidationError as error:
        raise InputError(f"{file.name}: {first_fault(error)}") from error
    return _absolute(settings, file.absolute().parent)


def _absolute(settings: NodeSettings, base: Path) -> NodeSettings:
    model = settings.detect.model
    if model is not None and (base / model).is_dir():
        model = str(base / model)
    return settings.model_copy(
        update={
            "storage": _paths_from(settings.storage, base),
            "listen": _paths_from(settings.listen, base),
            "destination": _paths_from(settings.destination, base),
            "detect": settings.detect.model_copy(update={"model": model}),
        }
    )


def _paths_from(part: _PartT, base: Path) -> _PartT:
    """Return settings in which every relative path, also of nested settings, is taken from the folder ``base``."""
    changed: dict[str, object] = {}
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Path):
            changed[name] = base / value
        elif isinstance(value, _Part):
            changed[name] = _paths_from(value, base)
    return part.model_copy(update=changed)
