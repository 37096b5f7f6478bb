#!/bin/sh
# Dumps the shop's database of namespace $1 before release $2 touches it.
set -eu
kubectl --namespace "$1" exec deploy/postgres -- pg_dump --format=custom shop >"shop-before-$2.dump"
