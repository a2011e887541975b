#!/usr/bin/env python3
"""Writes the bill of materials of an image of dime_server, as SPDX 2.3 in JSON.

    scripts/image_sbom.py --root ROOT --name dime:cpu --version 0.1.0 --out dime-cpu.spdx.json

ROOT is the image's root file system, or a folder with the files that are read of it: what Debian's
package manager knows (var/lib/dpkg/status), and what the programs and /opt/dime/lib hold besides
(opt/dime/components and components.cuda, package URLs). Standard library only.
"""
import argparse
import datetime
import hashlib
import json
import pathlib
import re
import sys
import urllib.parse


def read_packages(root):
    """The installed distribution packages: (name, version, package URL)."""
    text = (root / "var/lib/dpkg/status").read_text(encoding="utf-8")
    for entry in text.split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", entry, flags=re.MULTILINE))
        if fields.get("Status") != "install ok installed":
            continue
        name, version = fields["Package"], fields["Version"]
        quoted = urllib.parse.quote(version, safe="")
        yield name, version, f"pkg:deb/debian/{name}@{quoted}?arch={fields['Architecture']}"


def read_components(root):
    """The same of what comes from elsewhere."""
    own, cuda = root / "opt/dime/components", root / "opt/dime/components.cuda"
    for path in [own, cuda] if cuda.exists() else [own]:
        for line in path.read_text(encoding="utf-8").split():
            match = re.fullmatch(r"(pkg:(?:[\w.+-]+/)+([\w.+-]+)@)(\S+)", line)
            if match is None:
                raise ValueError(f"{path}: {line!r} is no package URL")
            start, name, version = match.groups()
            yield name, version, start + urllib.parse.quote(version, safe="")


def document(name, version, components, created):
    """The SPDX document: the image, and what it contains."""
    listing = json.dumps([name, version, components])
    image = {"SPDXID": "SPDXRef-Image", "name": name, "versionInfo": version,
             "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
             "licenseDeclared": "Apache-2.0", "licenseConcluded": "NOASSERTION",
             "copyrightText": "NOASSERTION", "primaryPackagePurpose": "CONTAINER"}
    packages, relationships = [image], [
        {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
         "relatedSpdxElement": "SPDXRef-Image"}]
    for number, (part, part_version, url) in enumerate(components, start=1):
        identifier = f"SPDXRef-Package-{number}"
        packages.append({
            "SPDXID": identifier, "name": part, "versionInfo": part_version,
            "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
            "licenseDeclared": "NOASSERTION", "licenseConcluded": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                              "referenceLocator": url}]})
        relationships.append({"spdxElementId": "SPDXRef-Image", "relationshipType": "CONTAINS",
                              "relatedSpdxElement": identifier})
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{name} {version}",
        # Told apart by content, as the format asks.
        "documentNamespace": "urn:dime:sbom:" + hashlib.sha256(listing.encode()).hexdigest(),
        "creationInfo": {"created": created, "creators": ["Tool: dime-image-sbom"]},
        "packages": packages, "relationships": relationships,
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Writes an image's bill of materials (SPDX 2.3).")
    parser.add_argument("--root", type=pathlib.Path, required=True, help="the image's root file system")
    parser.add_argument("--name", required=True, help="the image's name")
    parser.add_argument("--version", required=True, help="the version of dime in it")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the file to write")
    options = parser.parse_args(arguments)
    try:
        components = sorted(set(read_packages(options.root)) | set(read_components(options.root)))
        created = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = json.dumps(document(options.name, options.version, components, created), indent=1)
        options.out.write_text(text + "\n", encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.out}: {len(components)} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
