#!/bin/bash
# list_components.sh FOLDER: the wheels that the folder's libraries came in, a package URL a line.
set -euo pipefail
names=$(ls "$1")
for record in "$DIME_DEPS"/torch/*.dist-info/RECORD; do
  if cut -d , -f 1 "$record" | sed 's,.*/,,' | grep -xF "$names" >/dev/null; then
    awk '/^Name: / { name = $2 } /^Version: / { version = $2 } /^$/ { exit }
         END { print "pkg:pypi/" tolower(name) "@" version }' "$(dirname "$record")/METADATA"
  fi
done
