#!/bin/sh
# Fails when more than share $1 of the last five minutes' requests were answered with an error.
set -eu
rate=$(curl --fail --silent "https://metrics.example.com/api/ledger/error-rate?window=5m")
awk -v rate="$rate" -v most="$1" 'BEGIN { exit !(rate <= most) }'
