#!/bin/sh
# A private authority, and a certificate for NATS servers that it signed:
#
#   sh nats-certificates.sh <folder> <name>…
#
# The names are those by which BUS_URL and the routes of a cluster call the servers; an address counts as well. The folder
# then has ca.pem (BUS_CA), server.pem and server-key.pem. The authority's key is removed, so nobody can sign another
# certificate with it. To renew: remove the folder, run this again, and replace the servers and their clients.
set -eu
folder=$1
shift
if [ -e "$folder/server.pem" ]; then exit 0; fi
umask 077
mkdir -p "$folder"

names=
for name in "$@"; do
  case $name in
    *:* | *[0-9].*[0-9].*[0-9].*[0-9]) kind=IP ;;
    *) kind=DNS ;;
  esac
  names="$names${names:+,}$kind:$name"
done

key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
# shellcheck disable=SC2086
openssl req -x509 $key -days 825 -subj '/CN=NATS for Glimpse' -keyout "$folder/ca-key.pem" -out "$folder/ca.pem"
# shellcheck disable=SC2086
openssl req $key -subj '/CN=nats' -keyout "$folder/server-key.pem" -out "$folder/server.csr"
printf 'subjectAltName=%s\n' "$names" > "$folder/extensions"
openssl x509 -req -days 825 -in "$folder/server.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca-key.pem" \
  -CAcreateserial -extfile "$folder/extensions" -out "$folder/certificate.pem"
rm -f "$folder/ca-key.pem" "$folder/server.csr" "$folder/extensions" "$folder/ca.srl"
# Clients read only this one.
chmod 755 "$folder"
chmod 644 "$folder/ca.pem"
# Last, because it says that all is there.
mv "$folder/certificate.pem" "$folder/server.pem"
