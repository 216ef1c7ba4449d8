"""``node.toml``: where the node listens, what it detects with, and where reports go.

Strict, as a recipe is: an unknown or impossible entry is an error that names it. What may be left
out keeps the node closed to the world: it listens on loopback only, to the AE titles that are
named, and everything has a limit. The defaults are ours.
"""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from microcalc.domain import Intent
from microcalc.errors import InputError
from microcalc.training.recipe import Count, CountOrNone, Positive, first_fault, tuples_of

MEBIBYTE = 1024 * 1024


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError("not an address or network such as 192.0.2.7 or 192.0.2.0/24") from None


File = Annotated[Path, Field(strict=False)]
AeTitle = Annotated[str, Field(pattern=r"^[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?$")]
"""1 to 16 characters of ASCII without backslash, no blanks around (PS3.5 6.2)."""
Port = Annotated[int, Field(ge=1, le=65535)]
ListenPort = Annotated[int, Field(ge=0, le=65535)]
"""0: any free one."""
Network = Annotated[str, AfterValidator(_network)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


_PartT = TypeVar("_PartT", bound=_Part)


class Tls(_Part):
    """Our certificate and its key, and the authorities that the other side's certificate must come from (PEM)."""

    certificate: File
    key: File
    authorities: File


class Listen(_Part):
    """Who may send, and how much.

    Attributes
    ----------
    calling_ae_titles
        Only these may associate.
    networks
        Only from these addresses; by default this machine alone.
    tls
        Given: only TLS with a certificate of the sender is spoken.
    max_associations
        At once.
    max_pdu_bytes
        Of one PDU of data.
    max_file_mib
        Of one image.
    idle_s
        A connection that is silent so long is closed.
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
    """What is done with an image.

    Attributes
    ----------
    model
        As of ``microcalc detect --model``; a folder is relative to the settings' file. Left out: the
        shipped model of the image's intent.
    intents
        Which images are taken; others are refused when the association begins.
    workers, threads
        Processes, and threads of each; 0 threads: the cores shared out.
    tries
        An image whose worker ended without an answer so often is reported as failed.
    image_s
        A worker that takes longer is ended.
    """

    model: str | None = None
    intents: Annotated[tuple[Intent, ...], Field(min_length=1)] = ("raw", "processed")
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    threads: Annotated[int, Field(ge=0, le=64)] = 0
    tries: Count = 3
    image_s: Positive = 300.0


class Report(_Part):
    """When an exam is reported, and how.

    Attributes
    ----------
    kinds, codes
        As of ``microcalc detect --report`` and ``--codes``.
    wait_s
        An exam is reported when no image of it came for so long, or at once when it has CC and MLO of
        both sides.
    """

    kinds: Annotated[tuple[Literal["sr", "tid1500", "gsps", "seg"], ...], Field(min_length=1)] = ("sr",)
    codes: Literal["sct", "srt"] = "sct"
    wait_s: Annotated[float, Field(ge=0)] = 120.0


class _Destination(_Part):
    """Waits between tries grow from ``first_wait_s`` twofold to ``longest_wait_s``; they never end."""

    timeout_s: Positive = 30.0
    first_wait_s: Positive = 2.0
    longest_wait_s: Positive = 300.0


class DicomDestination(_Destination):
    """A node that reports are sent to by C-STORE."""

    protocol: Literal["dicom"]
    ae_title: AeTitle
    address: str
    port: Port
    tls: Tls | None = None


class DicomWebDestination(_Destination):
    """A server that reports are sent to by STOW-RS.

    Attributes
    ----------
    url
        Of the service, such as ``https://pacs.example/dicom-web``.
    user, password_file
        For HTTP basic authentication; the password is the first line of the file.
    authorities
        That the server's certificate comes from (PEM); left out: those of certifi.
    """

    protocol: Literal["dicomweb"]
    url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]
    user: str | None = None
    password_file: File | None = None
    authorities: File | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("one of user and password_file is missing")
        return self


Destination = Annotated[DicomDestination | DicomWebDestination, Field(discriminator="protocol")]


class Health(_Part):
    """Where health and metrics are told.

    Attributes
    ----------
    port
        0: any free one.
    stalled_s
        Health fails when work waits and nothing of it was done for so long.
    """

    address: str = "127.0.0.1"
    port: ListenPort = 11113
    stalled_s: Positive = 1200.0


class Storage(_Part):
    """What the node keeps on disc.

    Attributes
    ----------
    folder
        Queue, images, reports, quarantine; made if need be, for the node's user alone. Relative to the
        settings' file.
    free_mib
        Images are refused when less than this would be left.
    quarantine_mib
        Of files in quarantine; beyond, the reason is kept without the file.
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
    """Read ``node.toml``; its relative paths become absolute.

    Raises
    ------
    InputError
        No such file, not TOML, or an entry is unknown, missing or impossible.
    """
    try:
        given = tuples_of(tomllib.loads(file.read_text(encoding="utf-8")))
        settings = NodeSettings.model_validate(given)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file.name}: not readable ({type(error).__name__}), expected a TOML file") from error
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
    """The part with every relative path counted from a folder, in the parts within it too."""
    changed: dict[str, object] = {}
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Path):
            changed[name] = base / value
        elif isinstance(value, _Part):
            changed[name] = _paths_from(value, base)
    return part.model_copy(update=changed)
