#!/bin/sh
# Brings the model and gallery of ARTIFACTS_URL into the volume: an archive of model/ and gallery/,
# checked against ARTIFACTS_SHA256 before it is unpacked. Where the volume has it already, nothing is
# fetched. A pod that dies here leaves nothing half done: `current` is a link, put in place last.
#
# ARTIFACTS_DIR is the volume; NETRC a netrc(5) file, empty if the store asks for no credentials.
set -eu
: "${ARTIFACTS_URL:?}" "${ARTIFACTS_SHA256:?}" "${ARTIFACTS_DIR:=/data}" "${NETRC:=/secrets/netrc}"
cd "$ARTIFACTS_DIR"

if [ ! -f "$ARTIFACTS_SHA256/complete" ]; then
  # Whatever is here is an older version or half of one. The last one in use stays until the link moves.
  in_use=$(readlink current || true)
  for old in ./*; do
    case "${old#./}" in current | lost+found | "${in_use:-current}") ;; *) rm -rf "$old" ;; esac
  done
  echo "fetching $ARTIFACTS_URL"
  curl --fail --silent --show-error --location --retry 5 --netrc-file "$NETRC" \
    --output archive.part "$ARTIFACTS_URL"
  if ! echo "$ARTIFACTS_SHA256  archive.part" | sha256sum -c - >/dev/null; then
    echo "the archive's SHA-256 is $(sha256sum archive.part | cut -d ' ' -f 1), not $ARTIFACTS_SHA256" >&2
    rm archive.part
    exit 1
  fi
  mkdir unpacked.part
  tar -xzf archive.part -C unpacked.part
  rm archive.part
  for part in model/config.json gallery/gallery.json; do
    [ -f "unpacked.part/$part" ] || { echo "the archive has no $part" >&2; exit 1; }
  done
  mv unpacked.part "$ARTIFACTS_SHA256"
  touch "$ARTIFACTS_SHA256/complete"
fi
ln -sfn "$ARTIFACTS_SHA256" current.part
mv -T current.part current
for old in ./*; do
  case "${old#./}" in current | lost+found | "$ARTIFACTS_SHA256") ;; *) rm -rf "$old" ;; esac
done
echo "$ARTIFACTS_DIR/current is $ARTIFACTS_SHA256"
