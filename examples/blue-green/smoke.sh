#!/bin/sh
# Buys the cheapest thing in the shop at $BASE_URL, with a test card.
set -eu
curl --fail --silent --show-error "$BASE_URL/api/products?sort=price&limit=1" >/dev/null
curl --fail --silent --show-error --request POST "$BASE_URL/api/orders?dry_run=true" >/dev/null
