#!/bin/sh
# Fails unless image $1 carries a signature of SIGNING_KEY. Both secrets arrive as variables, never as arguments.
set -eu
export COSIGN_PASSWORD=""
printf '%s' "$REGISTRY_TOKEN" | cosign login registry.example.com --username robot --password-stdin
exec cosign verify --key env://SIGNING_KEY "$1"
