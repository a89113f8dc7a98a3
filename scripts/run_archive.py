"""Archives of runs and caches, for scripts/pack and scripts/unpack: a tar file, gzip or zstd, whose last member lists
the size and SHA-256 of every other. Both sides check every byte against that list."""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tarfile

MANIFEST = "ARCHIVE_MANIFEST.json"
PIECE = 1 << 20
MOST_MEMBERS = 1_000_000
MOST_MANIFEST = 1 << 28
# What is in use or half done: the lock of a run, checkpoints being written or deleted.
LEFT_OUT = ("LOCK",)
LEFT_OUT_PREFIXES = (".tmp-", ".trash-")


class Refused(Exception):
    """Something the user can mend; the number is the exit code."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def name_problem(name):
    """Why a name may not be unpacked; None if it may."""
    if not name or len(name.encode("utf-8", "surrogateescape")) > 4096:
        return "is empty or too long"
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in name):
        return "holds control characters or is not UTF-8"
    if name.startswith(("/", "~")) or "\\" in name or (len(name) > 1 and name[1] == ":"):
        return "is not relative"
    parts = name.split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
        return "leaves its folder or is not a plain path"
    return None


class HashingReader(io.RawIOBase):
    """Reads a file and hashes what passes."""

    def __init__(self, source):
        self.source, self.hash, self.count = source, hashlib.sha256(), 0

    def read(self, size=-1):
        data = self.source.read(size)
        self.hash.update(data)
        self.count += len(data)
        return data


@contextlib.contextmanager
def compressor(path, target):
    """A stream that packs into the open file `target`."""
    if path.endswith(".tar.gz"):
        import gzip
        with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6, mtime=0, filename="") as stream:
            yield stream
    elif path.endswith(".tar.zst"):
        with zstd("-q", "-T0", "-c", stdin=subprocess.PIPE, stdout=target) as process:
            yield process.stdin
    else:
        raise Refused(64, f"{path}: an archive's name ends in .tar.zst or .tar.gz")


@contextlib.contextmanager
def decompressor(path):
    if path.endswith(".tar.gz"):
        import gzip
        with gzip.open(path, "rb") as stream:
            yield stream
    elif path.endswith(".tar.zst"):
        with open(path, "rb") as source, zstd("-q", "-d", "-c", stdin=source, stdout=subprocess.PIPE) as process:
            yield process.stdout
    else:
        raise Refused(64, f"{path}: an archive's name ends in .tar.zst or .tar.gz")


@contextlib.contextmanager
def zstd(*options, stdin, stdout):
    if shutil.which("zstd") is None:
        raise Refused(64, "the program zstd is not there: install it (apt-get install zstd), or use .tar.gz")
    process = subprocess.Popen(["zstd", *options], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
    try:
        yield process
        for end in (process.stdin, process.stdout):
            if end is not None:
                end.close()
        said = process.stderr.read().decode(errors="replace").strip()
        if process.wait() != 0:
            raise Refused(74, f"zstd failed: {said}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for end in (process.stdin, process.stdout, process.stderr):
            if end is not None:
                with contextlib.suppress(BrokenPipeError):
                    end.close()


def files_below(folder):
    """(name in the archive, path) of every file, sorted; the folder's own name comes first."""
    root = pathlib.Path(os.path.abspath(folder))
    if not root.is_dir():
        raise Refused(66, f"{folder}: there is no such folder")
    found = []
    for where, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(LEFT_OUT_PREFIXES))
        for name in [*folders, *names]:
            path = pathlib.Path(where) / name
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise Refused(65, f"{path}: is a link or a special file, which an archive does not hold")
        for name in sorted(names):
            if name in LEFT_OUT or name.startswith(LEFT_OUT_PREFIXES):
                continue
            path = pathlib.Path(where) / name
            member = f"{root.name}/{path.relative_to(root).as_posix()}"
            if problem := name_problem(member):
                raise Refused(65, f"{path}: the name {problem}")
            found.append((member, path))
    return found


def add_file(tar, member, path):
    """Returns the entry of the manifest."""
    with open(path, "rb") as source:
        status = os.fstat(source.fileno())
        info = tarfile.TarInfo(member)
        info.size, info.mtime, info.mode = status.st_size, int(status.st_mtime), 0o644
        reader = HashingReader(source)
        try:
            tar.addfile(info, reader)
        except OSError as error:
            if reader.count < status.st_size and "unexpected end" in str(error):
                raise Refused(74, f"{path}: became shorter while it was read; is the run still going?") from None
            raise
        if os.fstat(source.fileno()).st_size != status.st_size:
            raise Refused(74, f"{path}: changed while it was read; is the run still going?")
    return {"bytes": reader.count, "sha256": reader.hash.hexdigest()}


def pack(folders, archive):
    members = [entry for folder in folders for entry in files_below(folder)]
    names = [member for member, _ in members]
    if len(set(names)) != len(names):
        raise Refused(64, "two of the folders have the same name; pack them separately")
    if not members:
        raise Refused(65, f"{' '.join(folders)}: there is nothing to pack")
    if os.path.lexists(archive):
        raise Refused(73, f"{archive}: is there already; choose another name or remove it")
    parent = os.path.dirname(os.path.abspath(archive))
    ending = ".tar.gz" if archive.endswith(".tar.gz") else ".tar.zst"
    temporary = os.path.join(parent, f".pack-{secrets.token_hex(8)}{ending if archive.endswith(ending) else ''}")
    try:
        with open(temporary, "xb") as target:
            with compressor(archive, target) as stream:
                with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                    files = {member: add_file(tar, member, path) for member, path in members}
                    manifest = {"format": "isogrid-archive", "format_version": 1, "files": files}
                    text = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
                    info = tarfile.TarInfo(MANIFEST)
                    info.size, info.mode = len(text), 0o644
                    tar.addfile(info, io.BytesIO(text))
            target.flush()
            os.fsync(target.fileno())
        check(temporary, files)
        os.rename(temporary, archive)
        sync_folder(parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    return files


def check(archive, expected):
    """Reads an archive again, as whoever unpacks it will."""
    def keep_nothing(name, reader, size):
        while reader.read(PIECE):
            pass

    if read_archive(archive, keep_nothing) != expected:
        raise Refused(74, f"{archive}: what was written is not what was read back")


def read_archive(archive, keep):
    """Calls keep(name, reader, size) for each file; returns the manifest once everything agrees with it."""
    seen, manifest = {}, None
    with decompressor(archive) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for info in tar:
                    if manifest is not None:
                        raise Refused(65, f"{archive}: something follows the manifest")
                    if len(seen) >= MOST_MEMBERS:
                        raise Refused(65, f"{archive}: has more than {MOST_MEMBERS} members")
                    shown = ascii(info.name)[:200]
                    if not info.isreg() or info.issparse():
                        raise Refused(65, f"{archive}: {shown} is a link, a folder or a special file; only files are allowed")
                    if problem := name_problem(info.name):
                        raise Refused(65, f"{archive}: the name {shown} {problem}")
                    if info.name in seen:
                        raise Refused(65, f"{archive}: {shown} is there twice")
                    reader = HashingReader(tar.extractfile(info))
                    if info.name == MANIFEST:
                        manifest = parse_manifest(archive, reader, info.size)
                        continue
                    keep(info.name, reader, info.size)
                    seen[info.name] = {"bytes": reader.count, "sha256": reader.hash.hexdigest()}
            while stream.read(PIECE):  # gzip and zstd check their own sums at the end
                pass
        except (tarfile.TarError, EOFError, OSError, UnicodeError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise Refused(65, f"{archive}: is damaged or no archive: {str(error)[:200]}") from None
    if manifest is None:
        raise Refused(65, f"{archive}: has no {MANIFEST}: cut off, or not made by scripts/pack")
    for name in sorted(manifest.keys() | seen.keys()):
        if manifest.get(name) != seen.get(name):
            raise Refused(65, f"{archive}: {ascii(name)[:200]} is missing, extra, or not as the manifest says")
    return seen


def parse_manifest(archive, reader, size):
    if size > MOST_MANIFEST:
        raise Refused(65, f"{archive}: its manifest has {size} bytes, more than {MOST_MANIFEST}")
    manifest = json.loads(reader.read(size))
    if not isinstance(manifest, dict) or manifest.get("format") != "isogrid-archive":
        raise Refused(65, f"{archive}: not an archive of scripts/pack")
    if manifest.get("format_version") != 1:
        raise Refused(65, f"{archive}: format_version {str(manifest.get('format_version'))[:40]}; this version reads 1")
    if not isinstance(manifest.get("files"), dict):
        raise Refused(65, f"{archive}: its manifest lists no files")
    return manifest["files"]


def unpack(archive, target):
    """Unpacks beside its place, checks everything, then moves it there. Returns the names that are new in `target`."""
    if not os.path.isfile(archive):
        raise Refused(66, f"{archive}: there is no such file")
    os.makedirs(target, exist_ok=True)
    temporary = os.path.join(target, f".unpack-{secrets.token_hex(8)}")
    os.mkdir(temporary, 0o700)

    def keep(name, reader, size):
        top = name.split("/", 1)[0]
        if os.path.lexists(os.path.join(target, top)):
            raise Refused(73, f"{os.path.join(target, top)}: is there already; unpack elsewhere or remove it")
        free = shutil.disk_usage(temporary).free
        if size > free:
            raise Refused(74, f"{ascii(name)[:200]}: needs {size} bytes, and {free} are free")
        path = os.path.join(temporary, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as output:
            while piece := reader.read(PIECE):
                output.write(piece)
            output.flush()
            os.fsync(output.fileno())

    try:
        read_archive(archive, keep)
        tops = sorted(os.listdir(temporary))
        for where, _, _ in os.walk(temporary):
            sync_folder(where)
        for top in tops:
            os.rename(os.path.join(temporary, top), os.path.join(target, top))
        sync_folder(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return tops


def sync_folder(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run(action):
    """Exit codes and messages as the trainer has them."""
    try:
        action()
    except Refused as error:
        print(error, file=sys.stderr)
        sys.exit(error.code)
    except OSError as error:
        print(f"{error.filename or 'the archive'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(74)
    except KeyboardInterrupt:
        sys.exit(130)
