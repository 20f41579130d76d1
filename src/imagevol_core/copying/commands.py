"""The commands that copy, as data: they are built here and run elsewhere."""

from __future__ import annotations

import math
import re

from imagevol_core.copying.facts import QEMU_NAMES, Copy, CopyTarget, ZeroHandling

_MIB = 1 << 20
_BLOCKSIZE = re.compile(r"\+?\d+([KMGTPEZYRQ]i?)?")  # that Cinder takes, and no `k`; else it is 1M


def clears_unseen(copy: Copy, zeros: ZeroHandling) -> bool:
    """Whether qemu-img would clear ranges of the target, which may hold anything, and believe what it is told."""
    return zeros is ZeroHandling.PUNCH and not copy.same_bytes and copy.target.exists and copy.writes == "raw"


def convert(copy: Copy, zeros: ZeroHandling) -> tuple[str, ...]:
    """Give the command of qemu-img that makes the target from the source."""
    source, target = copy.source, copy.target
    skips, raw_device = zeros is ZeroHandling.SKIP, target.block_device is True and copy.writes == "raw"
    return (
        *copy.settings.prefix,
        *("qemu-img", "convert"),
        *_secret("source", source.key_file),
        *_secret("target", target.key_file),
        *(("--image-opts",) if source.key_file else ("-f", str(copy.reads))),
        *("-O", str(copy.writes)),
        *_if(target.exists, "-n"),  # or qemu-img would make it again, and a file lose what it has
        *_if(skips, "--target-is-zero"),
        *_if(target.direct_io is True, "-t", "none"),
        *_if(source.direct_io is True, "-T", "none"),
        *_if(zeros is ZeroHandling.WRITE or clears_unseen(copy, zeros), "-S", "0"),
        *_if(copy.compresses, "-c"),
        *_if(raw_device and not copy.compresses, "-W"),  # where no file system has to keep them together
        *_target_options(target),
        f"driver=luks,key-secret=source,file.filename={_escaped(source.path)}" if source.key_file else source.path,
        target.path,
    )


def _target_options(target: CopyTarget) -> tuple[str, ...]:
    options = {"subformat": target.subformat, "key-secret": "target" if target.key_file else None}
    if target.key_file and target.cipher:
        cipher = target.cipher
        options |= {"cipher-alg": cipher.algorithm, "cipher-mode": cipher.mode, "ivgen-alg": cipher.ivgen}
    if target.exists:
        return ()  # it exists: the options to create it come too late
    text = ",".join(f"{key}={_escaped(value)}" for key, value in options.items() if value is not None)
    return _if(bool(text), "-o", text)


def _secret(name: str, key_file: str | None) -> tuple[str, ...]:
    """The passphrase by the name of its file: an argv is there for every user of the host to read."""
    if key_file is None:
        return ()
    return ("--object", f"secret,id={name},format=raw,file={_escaped(key_file)}")


def _escaped(text: str) -> str:
    """As qemu reads it in a list of options, where a comma begins the next one."""
    return text.replace(",", ",,")


def _if(condition: bool, *arguments: str) -> tuple[str, ...]:
    return arguments if condition else ()


# What Cinder 29.0.0 runs.


def convert_upstream(copy: Copy, zeros: ZeroHandling) -> tuple[str, ...]:
    """Give the command of qemu-img that Cinder 29.0.0 runs."""
    source, target = copy.source, copy.target
    cache = _if(target.block_device is True and target.direct_io is True, "-t", "none")
    sparse = _if(zeros is ZeroHandling.WRITE, "-S", "0")
    if source.key_file is not None:  # and no prefix: it is not throttled
        return (
            *("qemu-img", "convert", *cache, *sparse),
            *("--object", f"secret,id=sec1,format=raw,file={source.key_file}"),
            *("--object", f"secret,id=sec2,format=raw,file={target.key_file}"),
            "--image-opts",
            f"encrypt.format=luks,encrypt.key-secret=sec1,file.filename={source.path}",
            *("-O", "luks", "-o", "key-secret=sec2", target.path),
        )
    out = _FIXUP.get(target.format, target.format)
    declared = "" if copy.uploads else source.declared_format or ""
    named = declared.lower() not in ("", "ami")
    return (
        *copy.settings.prefix,
        *("qemu-img", "convert", "-O", out, *cache, *sparse),
        *_if(target.compress and out == "qcow2" and copy.uploads, "-c"),
        *_if(bool(target.subformat) and not copy.uploads, "-o", f"subformat={target.subformat}"),
        *_if(named, "-f", _FIXUP.get(declared, declared)),
        *_luks_upstream(target, out),
        *(source.path, target.path),
    )


def _luks_upstream(target: CopyTarget, out: str) -> tuple[str, ...]:
    if out != "luks":
        return ()
    cipher = target.cipher
    text = f"cipher-alg={cipher.algorithm},cipher-mode={cipher.mode},ivgen-alg={cipher.ivgen}" if cipher else ""
    secret = f"secret,id=luks_sec,format=raw,file={target.key_file}"
    return (*_if(bool(text), "-o", text), "--object", secret, "-o", "key-secret=luks_sec")


def dd(copy: Copy, _zeros: ZeroHandling) -> tuple[str, ...]:
    """Give the command of dd that Cinder 29.0.0 runs where qemu-img is not installed."""
    source, target = copy.source, copy.target
    count = math.ceil(float(source.size_bytes or 0) / _MIB) * _MIB  # which loses the last byte of 2**53 + 1
    blocksize = copy.settings.dd_blocksize
    if blocksize.startswith("0") or not _BLOCKSIZE.fullmatch(blocksize):
        blocksize = "1M"
    return (
        *copy.settings.prefix,
        *("dd", f"if={source.path}", f"of={target.path}", f"count={count}", f"bs={blocksize}"),
        "iflag=count_bytes,direct" if source.direct_io is True else "iflag=count_bytes",
        *_if(target.direct_io is True, "oflag=direct"),
    )


_FIXUP = {name: QEMU_NAMES[name] for name in ("iso", "vhd", "ploop")}
