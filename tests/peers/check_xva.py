"""An exported XVA of the newer form: every block has an xxHash beside it that is right, and the disks are whole."""

import sys
import tarfile

import xxhash


def main(path):
    blocks = checksums = 0
    pending = None
    with tarfile.open(path) as archive:
        for entry in archive:
            data = archive.extractfile(entry).read()
            if entry.name == "ova.xml":
                continue
            if entry.name.endswith(".xxhash"):
                name, expected = pending
                assert entry.name == name + ".xxhash", f"{entry.name} follows {name}"
                assert data.decode().lower() == expected, f"wrong checksum for {name}: {data.decode()} instead of {expected}"
                checksums += 1
            else:
                pending = (entry.name, xxhash.xxh64(data, seed=0).hexdigest())
                blocks += 1
    assert blocks and blocks == checksums, f"{blocks} blocks, {checksums} checksums"
    print(f"xxHash: {blocks} blocks, all right")


if __name__ == "__main__":
    main(sys.argv[1])
